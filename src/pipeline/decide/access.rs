//! Who may write. It fails closed: what the deciding list does not name is denied (API.md, access levels).

use jiff::Timestamp;

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

/// Decides about a sender, the same way in private chats and in groups. An entry names nobody from its end on, whenever the list was read.
///
/// A message without a sender is denied at every level. So is, at level `Open`, a bot: "anyone" means people, and two
/// bots that answer each other never stop; a list may name a bot.
pub fn decide(policy: &AccessPolicy, sender: Option<&Sender>, now: Timestamp) -> AccessDecision {
    let Some(sender) = sender else {
        return AccessDecision::Denied;
    };
    let allowed = match policy.level {
        AccessLevel::Open => !sender.is_bot,
        AccessLevel::Company | AccessLevel::AgentEnabled | AccessLevel::Specific => {
            lists_id(policy, sender.id, now)
                || lists_username(policy, sender, now)
                || (policy.takes_grants && sender.is_granted)
        }
    };
    if allowed {
        AccessDecision::Allowed
    } else {
        AccessDecision::Denied
    }
}

/// Whether it takes a look at the grants to decide about a sender.
pub(crate) fn asks_for_grants(policy: &AccessPolicy, sender: &Sender, now: Timestamp) -> bool {
    policy.takes_grants && decide(policy, Some(sender), now) == AccessDecision::Denied
}

fn lists_id(policy: &AccessPolicy, id: i64, now: Timestamp) -> bool {
    policy.ids.contains(&id) && holds(policy.ends.ids.get(&id), now)
}

fn lists_username(policy: &AccessPolicy, sender: &Sender, now: Timestamp) -> bool {
    // Without usernames in the list there is nothing to allocate for: the common case.
    let Some(username) = sender
        .username
        .as_deref()
        .filter(|_| !policy.usernames.is_empty())
    else {
        return false;
    };
    let username = username.to_ascii_lowercase();
    policy.usernames.contains(&username) && holds(policy.ends.usernames.get(&username), now)
}

/// Whether an entry with this end, if it has one, still names its user.
fn holds(end: Option<&Timestamp>, now: Timestamp) -> bool {
    end.is_none_or(|end| now < *end)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;
    use crate::registry::AccessEnds;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn policy(level: AccessLevel) -> AccessPolicy {
        AccessPolicy {
            level,
            ids: Arc::new(HashSet::from([42])),
            usernames: Arc::new(HashSet::from(["ann_example".to_owned()])),
            ends: Arc::default(),
            takes_grants: false,
        }
    }

    fn sender(id: i64, username: Option<&str>) -> Sender {
        Sender {
            id,
            is_bot: false,
            username: username.map(str::to_owned),
            name: "Ann".to_owned(),
            language_code: None,
            is_granted: false,
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
            decide(&policy(level), Some(&sender(id, username)), NOW),
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
        assert_eq!(decide(&policy(level), None, NOW), AccessDecision::Denied);
    }

    #[test]
    fn open_level_allows_people_and_denies_bots() {
        let anyone = sender(7, None);
        assert_eq!(
            decide(&policy(AccessLevel::Open), Some(&anyone), NOW),
            AccessDecision::Allowed
        );
        let bot = Sender {
            is_bot: true,
            ..anyone
        };
        assert_eq!(
            decide(&policy(AccessLevel::Open), Some(&bot), NOW),
            AccessDecision::Denied
        );
    }

    #[rstest]
    #[case::granted(true, true, AccessDecision::Allowed)]
    #[case::list_takes_no_grants(false, true, AccessDecision::Denied)]
    #[case::without_grant(true, false, AccessDecision::Denied)]
    fn grant_is_an_entry_of_a_list_that_takes_grants(
        #[case] takes_grants: bool,
        #[case] is_granted: bool,
        #[case] expected: AccessDecision,
        #[values(AccessLevel::Company, AccessLevel::AgentEnabled, AccessLevel::Specific)]
        level: AccessLevel,
    ) {
        let policy = AccessPolicy {
            takes_grants,
            ..policy(level)
        };
        let sender = Sender {
            is_granted,
            ..sender(7, None)
        };
        assert_eq!(
            asks_for_grants(&policy, &sender, NOW),
            takes_grants && !is_granted
        );
        assert_eq!(decide(&policy, Some(&sender), NOW), expected);
    }

    #[test]
    fn empty_list_denies_everybody() {
        let nobody = AccessPolicy {
            level: AccessLevel::Company,
            ids: Arc::default(),
            usernames: Arc::default(),
            ends: Arc::default(),
            takes_grants: false,
        };
        assert_eq!(
            decide(&nobody, Some(&sender(42, Some("ann_example"))), NOW),
            AccessDecision::Denied
        );
    }

    #[rstest]
    #[case::before_both_ends(0, 42, None, AccessDecision::Allowed)]
    #[case::id_ended_to_the_instant(10, 42, None, AccessDecision::Denied)]
    #[case::username_goes_on(10, 42, Some("Ann_Example"), AccessDecision::Allowed)]
    #[case::username_ended(20, 42, Some("Ann_Example"), AccessDecision::Denied)]
    #[case::entry_without_end(30, 7, None, AccessDecision::Allowed)]
    fn ended_entry_admits_nobody(
        #[case] seconds: i64,
        #[case] id: i64,
        #[case] username: Option<&str>,
        #[case] expected: AccessDecision,
    ) {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let ends = AccessEnds {
            ids: HashMap::from([(42, at(10))]),
            usernames: HashMap::from([("ann_example".to_owned(), at(20))]),
        };
        let policy = AccessPolicy {
            ids: Arc::new(HashSet::from([42, 7])),
            ends: Arc::new(ends),
            ..policy(AccessLevel::Company)
        };
        let sender = sender(id, username);
        assert_eq!(decide(&policy, Some(&sender), at(seconds)), expected);
    }
}
