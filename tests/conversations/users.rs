//! Who takes part: one person per language, all of them allowed unless the script says otherwise, and Eve, who is not.

use bot_api_simulator::{Simulator, User};

/// Name, id, language.
const USERS: [(&str, i64, &str); 8] = [
    ("ann", 1001, "en"),
    ("ivo", 1002, "it"),
    ("dora", 1003, "de"),
    ("sol", 1004, "es"),
    ("fleur", 1005, "fr"),
    ("paulo", 1006, "pt-br"),
    ("vera", 1007, "ru"),
    ("eve", 6666, "en"),
];

/// A person's id.
pub(crate) fn id(name: &str) -> Result<i64, String> {
    USERS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, id, _)| *id)
        .ok_or_else(|| {
            let names: Vec<_> = USERS.iter().map(|(name, ..)| *name).collect();
            format!("nobody is called {name:?}; there are {}", names.join(", "))
        })
}

/// Everybody but Eve.
pub(crate) fn trusted() -> Vec<i64> {
    USERS
        .iter()
        .map(|(_, id, _)| *id)
        .filter(|id| *id != crate::test_env::EVE)
        .collect()
}

/// Makes them known to Telegram: `ann` is "Ann", speaks English and is @`ann_example`.
pub(crate) fn introduce(telegram: &Simulator) {
    for (name, id, language) in USERS {
        let mut shown = name.to_owned();
        shown[..1].make_ascii_uppercase();
        let mut user = User::new(id, &shown).username(&format!("{name}_example"));
        user.language_code = Some(language.to_owned());
        telegram.add_user(user);
    }
}
