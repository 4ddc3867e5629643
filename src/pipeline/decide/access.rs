//! Who may write. It fails closed: what the deciding list does not name is denied (API.md, access levels).

use crate::api::connector::AccessLevel;
use crate::pipeline::message::incoming_update::Sender;
use crate::registry::AccessPolicy;

/// What the access level says about a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessDecision {
    /// The message goes to the assistant.
    Allowed,
    /// It does not.
    Denied,
}

/// Decides about a sender, the same way in private chats and in groups.
///
/// A message without a sender is denied at every level. So is, at level `Open`, a bot: "anyone" means people, and two
/// bots that answer each other never stop; a list may name a bot.
pub fn decide(policy: &AccessPolicy, sender: Option<&Sender>) -> AccessDecision {
    let Some(sender) = sender else {
        return AccessDecision::Denied;
    };
    let allowed = match policy.level {
        AccessLevel::Open => !sender.is_bot,
        AccessLevel::Company | AccessLevel::AgentEnabled | AccessLevel::Specific => {
            policy.ids.contains(&sender.id) || lists_username(policy, sender)
        }
    };
    if allowed {
        AccessDecision::Allowed
    } else {
        AccessDecision::Denied
    }
}

fn lists_username(policy: &AccessPolicy, sender: &Sender) -> bool {
    // Without usernames in the list there is nothing to allocate for: the common case.
    !policy.usernames.is_empty()
        && sender
            .username
            .as_deref()
            .is_some_and(|name| policy.usernames.contains(&name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;

    fn policy(level: AccessLevel) -> AccessPolicy {
        AccessPolicy {
            level,
            ids: Arc::new(HashSet::from([42])),
            usernames: Arc::new(HashSet::from(["ann_example".to_owned()])),
        }
    }

    fn sender(id: i64, username: Option<&str>) -> Sender {
        Sender {
            id,
            is_bot: false,
            username: username.map(str::to_owned),
            name: "Ann".to_owned(),
            language_code: None,
        }
    }

    #[rstest]
    #[case::named_by_id(42, None, AccessDecision::Allowed)]
    #[case::named_by_username_whatever_its_case(7, Some("Ann_Example"), AccessDecision::Allowed)]
    #[case::not_named(7, None, AccessDecision::Denied)]
    #[case::another_username(7, Some("ann_example2"), AccessDecision::Denied)]
    #[case::empty_username(7, Some(""), AccessDecision::Denied)]
    fn access_list_decides(
        #[case] id: i64,
        #[case] username: Option<&str>,
        #[case] expected: AccessDecision,
        #[values(AccessLevel::Company, AccessLevel::AgentEnabled, AccessLevel::Specific)]
        level: AccessLevel,
    ) {
        assert_eq!(
            decide(&policy(level), Some(&sender(id, username))),
            expected
        );
    }

    #[rstest]
    fn message_without_sender_is_denied_at_every_level(
        #[values(
            AccessLevel::Open,
            AccessLevel::Company,
            AccessLevel::AgentEnabled,
            AccessLevel::Specific
        )]
        level: AccessLevel,
    ) {
        assert_eq!(decide(&policy(level), None), AccessDecision::Denied);
    }

    #[test]
    fn open_level_allows_people_and_denies_bots() {
        let anyone = sender(7, None);
        assert_eq!(
            decide(&policy(AccessLevel::Open), Some(&anyone)),
            AccessDecision::Allowed
        );
        let bot = Sender {
            is_bot: true,
            ..anyone
        };
        assert_eq!(
            decide(&policy(AccessLevel::Open), Some(&bot)),
            AccessDecision::Denied
        );
    }

    #[test]
    fn empty_list_denies_everybody() {
        let nobody = AccessPolicy {
            level: AccessLevel::Company,
            ids: Arc::default(),
            usernames: Arc::default(),
        };
        assert_eq!(
            decide(&nobody, Some(&sender(42, Some("ann_example")))),
            AccessDecision::Denied
        );
    }
}
