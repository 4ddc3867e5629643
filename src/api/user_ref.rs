//! One Telegram user as a person names one on the command line: by id or by @username.

use std::fmt;

use super::user_list::{UserEntry, normalize_username};

/// A user as the command line names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRef {
    /// The numeric id, which never changes.
    Id(i64),
    /// A username without @, in the case in which it was written.
    Username(String),
}

/// The longest id that Telegram's documentation allows has 52 significant bits.
const MAX_USER_ID: i64 = 4_503_599_627_370_495;

impl std::str::FromStr for UserRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(username) = text.strip_prefix('@') {
            let fits = (5..=32).contains(&username.len())
                && username
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_');
            return if fits {
                Ok(Self::Username(username.to_owned()))
            } else {
                Err("a username is @ and 5 to 32 letters, digits or underscores".to_owned())
            };
        }
        match text.parse::<i64>() {
            Ok(id) if (1..=MAX_USER_ID).contains(&id) => Ok(Self::Id(id)),
            Ok(id) if id < 0 => Err(
                "a negative id is a group's: write the user's own id, which the bot shows them after /id"
                    .to_owned(),
            ),
            _ => Err(
                "write the user's numeric id, which the bot shows them after /id, or @username"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for UserRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Username(username) => write!(f, "@{username}"),
        }
    }
}

impl UserRef {
    /// Whether an entry names this user. An id says nothing about an entry by username, nor the other way round.
    pub(crate) fn is_in(&self, entry: &UserEntry) -> bool {
        match self {
            Self::Id(id) => entry.id == Some(*id),
            Self::Username(username) => {
                entry.normalized_username().as_deref() == Some(&normalize_username(username))
            }
        }
    }

    /// A new list entry for the user.
    pub(crate) fn entry(&self, until: Option<&str>, note: Option<&str>) -> UserEntry {
        let (id, username) = match self {
            Self::Id(id) => (Some(*id), None),
            Self::Username(username) => (None, Some(username.clone())),
        };
        UserEntry {
            id,
            username,
            until: until.map(str::to_owned),
            note: note.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("424242", Ok("424242"))]
    #[case("@Ann_Example", Ok("@Ann_Example"))]
    #[case("-1001234567890", Err("group"))]
    #[case("0", Err("numeric id"))]
    #[case("ann_example", Err("@username"))]
    #[case("@ann", Err("5 to 32"))]
    #[case("@ann example", Err("5 to 32"))]
    #[case("9007199254740993", Err("numeric id"))]
    fn user_is_an_id_or_a_username(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        match (text.parse::<UserRef>(), expected) {
            (Ok(user), Ok(shown)) => assert_eq!(user.to_string(), shown),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}
