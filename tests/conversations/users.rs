//! The users of the scripts: one per language, allowed by default, and Eve, who is denied.

use bot_api_simulator::{Simulator, User};

/// The user that is another bot.
const BOT: &str = "robo";

/// Name, id, language.
const USERS: [(&str, i64, &str); 9] = [
    ("ann", 1001, "en"),
    ("ivo", 1002, "it"),
    ("dora", 1003, "de"),
    ("sol", 1004, "es"),
    ("fleur", 1005, "fr"),
    ("paulo", 1006, "pt-br"),
    ("vera", 1007, "ru"),
    (BOT, 1008, "en"),
    ("eve", 6666, "en"),
];

/// A user's id.
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

/// The ids of all users but Eve.
pub(crate) fn allowed_ids() -> Vec<i64> {
    USERS
        .iter()
        .map(|(_, id, _)| *id)
        .filter(|id| *id != crate::test_env::EVE)
        .collect()
}

/// Adds all users to the simulator: `ann` has the first name "Ann", the username `ann_example` and the language `en`.
pub(crate) fn register_all(telegram: &Simulator) {
    for (name, id, language) in USERS {
        let mut first_name = name.to_owned();
        first_name[..1].make_ascii_uppercase();
        let mut user = User::new(id, &first_name).username(&format!("{name}_example"));
        user.language_code = Some(language.to_owned());
        user.is_bot = name == BOT;
        telegram.add_user(user);
    }
}
