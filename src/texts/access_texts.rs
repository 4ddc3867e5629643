//! What is said when somebody asks for access: to them, and to the approvers.

use jiff::Timestamp;
use serde::Deserialize;

/// The words around a request for access, in one language.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTexts {
    /// The button under a denial.
    pub ask: String,
    /// Shown for a moment to who tapped it: the approvers are asked. At most 200 characters, as the next two.
    pub asked: String,
    /// The same where the last request is not decided yet.
    pub waiting: String,
    /// The same where they asked too often.
    pub too_many: String,
    /// The outcome: without end.
    pub allowed: String,
    allowed_until: String,
    /// The outcome.
    pub refused: String,
    notice: String,
    /// A button.
    pub allow: String,
    allow_one_day: String,
    allow_days: String,
    /// A button.
    pub refuse: String,
    /// A button.
    pub mute: String,
    /// Stands under the notice behind the name of who decided, as the next three.
    pub decided_allowed: String,
    decided_until: String,
    /// The same.
    pub decided_refused: String,
    /// The same.
    pub decided_muted: String,
    /// Stands under the notice: nobody decided.
    pub expired: String,
}

/// Who asks for access, as the approvers see it.
#[derive(Debug, Clone, Copy)]
pub struct AskingUser<'a> {
    /// First and last name.
    pub name: &'a str,
    /// With @; `-` where there is none.
    pub username: &'a str,
    /// Telegram's id.
    pub id: i64,
    /// The access level that denied them.
    pub level: &'a str,
    /// Namespace and name.
    pub connector: &'a str,
}

impl AccessTexts {
    /// The outcome for the asker: allowed, and until when.
    pub fn allowed(&self, until: Option<Timestamp>) -> String {
        with_date(until, &self.allowed, &self.allowed_until)
    }

    /// The same for the approvers.
    pub(crate) fn decided_allowed(&self, until: Option<Timestamp>) -> String {
        with_date(until, &self.decided_allowed, &self.decided_until)
    }

    /// The button that grants access for so many days.
    pub(crate) fn allow_days(&self, days: u32) -> String {
        match days {
            1 => self.allow_one_day.clone(),
            _ => self.allow_days.replace("{days}", &days.to_string()),
        }
    }

    /// What the approvers are asked, each value marked by `mark`. What people chose themselves is put in last: no placeholder in it counts.
    pub fn notice(&self, user: AskingUser<'_>, mark: impl Fn(&str) -> String) -> String {
        self.notice
            .replace("{id}", &mark(&user.id.to_string()))
            .replace("{level}", &mark(user.level))
            .replace("{connector}", &mark(user.connector))
            .replace("{username}", &mark(user.username))
            .replace("{name}", &mark(user.name))
    }
}

fn with_date(until: Option<Timestamp>, without: &str, with: &str) -> String {
    until.map_or_else(
        || without.to_owned(),
        |until| with.replace("{date}", &until.strftime("%Y-%m-%d %H:%M UTC").to_string()),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::texts::languages;

    use super::*;

    #[test]
    fn every_language_has_every_text_of_a_request() {
        let until = Some(Timestamp::from_second(1_800_000_000).expect("a time"));
        for (code, texts) in languages() {
            let texts = &texts.access;
            let user = AskingUser {
                name: "{id} Eve",
                username: "@eve_example",
                id: 6666,
                level: "Company",
                connector: "acme/support",
            };
            let notice = texts.notice(user, |value| format!("<{value}>"));
            for value in [
                "<{id} Eve>",
                "<@eve_example>",
                "<6666>",
                "<Company>",
                "<acme/support>",
            ] {
                assert!(notice.contains(value), "{code}: {notice}");
            }
            for text in [&texts.asked, &texts.waiting, &texts.too_many] {
                assert!((1..=200).contains(&text.chars().count()), "{code}: {text}");
            }
            let buttons = [
                texts.ask.clone(),
                texts.allow.clone(),
                texts.allow_days(1),
                texts.allow_days(30),
                texts.refuse.clone(),
                texts.mute.clone(),
            ];
            for text in &buttons {
                assert!((1..=40).contains(&text.chars().count()), "{code}: {text}");
            }
            let dated = [texts.allowed(until), texts.decided_allowed(until)];
            assert!(
                dated
                    .iter()
                    .all(|text| text.contains("2027-01-15 08:00 UTC")),
                "{dated:?}"
            );
            let undated = [
                texts.allowed(None),
                texts.refused.clone(),
                texts.decided_allowed(None),
                texts.decided_refused.clone(),
                texts.decided_muted.clone(),
                texts.expired.clone(),
            ];
            let all: Vec<_> = buttons.iter().chain(&dated).chain(&undated).collect();
            assert!(
                all.iter().all(|t| !t.trim().is_empty() && !t.contains('{')),
                "{code}"
            );
            assert_eq!(
                all.iter().collect::<HashSet<_>>().len(),
                all.len(),
                "{code}"
            );
        }
    }
}
