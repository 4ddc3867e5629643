//! Who owns a bot when several connectors hold its token: the oldest one whose token Telegram accepts.
//!
//! A claim counts from the moment the token is given, so that a younger connector does not connect first only to be cut off; it
//! ends when Telegram refuses the token, and with suspension or deletion. Then the next takes over by itself.

use parking_lot::Mutex;
use std::collections::HashMap;

use jiff::Timestamp;

use crate::identity::{BotId, ConnectorRef, ConnectorUid};

/// Older comes first; where the second is the same, the uid decides.
type AgeRank = (Timestamp, ConnectorUid);

#[derive(Debug, Clone)]
struct OwnershipClaim {
    rank: AgeRank,
    connector: ConnectorRef,
    accepted: bool,
}

/// Whose the bot is, as one connector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BotOwner {
    /// This connector's.
    ThisConnector,
    /// An older connector's, whose token Telegram has accepted.
    OlderConnector(ConnectorRef),
    /// An older connector's, unless Telegram refuses its token.
    Undecided,
}

#[derive(Debug, Default)]
struct OwnershipTable {
    /// The oldest first. Nearly always there is one, for which a tree would keep room for eleven.
    by_bot: HashMap<BotId, Vec<OwnershipClaim>>,
    by_connector: HashMap<ConnectorUid, (BotId, AgeRank)>,
}

/// All claims.
#[derive(Debug, Default)]
pub(super) struct BotOwnership(Mutex<OwnershipTable>);

impl BotOwnership {
    /// Claims a bot, giving up another that the connector held. Whose it is, and the connectors for which that may have changed.
    pub(super) fn claim(
        &self,
        connector: &ConnectorRef,
        created: Timestamp,
        bot: BotId,
        accepted: bool,
    ) -> (BotOwner, Vec<ConnectorUid>) {
        let mut table = self.lock();
        let mut affected = Vec::new();
        if table
            .by_connector
            .get(&connector.uid)
            .is_some_and(|(held, _)| *held != bot)
        {
            affected = table.release(&connector.uid);
        }
        let rank = (created, connector.uid.clone());
        table
            .by_connector
            .insert(connector.uid.clone(), (bot, rank.clone()));
        let claims = table
            .by_bot
            .entry(bot)
            .or_insert_with(|| Vec::with_capacity(1));
        let claim = OwnershipClaim {
            rank,
            connector: connector.clone(),
            accepted,
        };
        let (position, changed) = match find(claims, &claim.rank) {
            Ok(position) => {
                let before = std::mem::replace(&mut claims[position], claim);
                (position, before.accepted != accepted)
            }
            Err(position) => {
                claims.insert(position, claim);
                (position, true)
            }
        };
        if changed {
            affected.extend(uids(&claims[position + 1..]));
        }
        let first = &claims[0];
        let owner = if position == 0 {
            BotOwner::ThisConnector
        } else if first.accepted {
            BotOwner::OlderConnector(first.connector.clone())
        } else {
            BotOwner::Undecided
        };
        (owner, affected)
    }

    /// Gives up what a connector claims; the connectors for which that changes something.
    pub(super) fn release(&self, connector: &ConnectorUid) -> Vec<ConnectorUid> {
        self.lock().release(connector)
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, OwnershipTable> {
        self.0.lock()
    }
}

impl OwnershipTable {
    fn release(&mut self, connector: &ConnectorUid) -> Vec<ConnectorUid> {
        let Some((bot, rank)) = self.by_connector.remove(connector) else {
            return Vec::new();
        };
        let Some(claims) = self.by_bot.get_mut(&bot) else {
            return Vec::new();
        };
        let mut affected = Vec::new();
        if let Ok(position) = find(claims, &rank) {
            claims.remove(position);
            affected = uids(&claims[position..]).collect();
        }
        if claims.is_empty() {
            self.by_bot.remove(&bot);
        }
        affected
    }
}

/// Where the claim of this rank is, or belongs.
fn find(claims: &[OwnershipClaim], rank: &AgeRank) -> Result<usize, usize> {
    claims.binary_search_by(|claim| claim.rank.cmp(rank))
}

fn uids(claims: &[OwnershipClaim]) -> impl Iterator<Item = ConnectorUid> {
    claims.iter().map(|claim| claim.connector.uid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(name: &str) -> ConnectorRef {
        ConnectorRef {
            namespace: "ns".into(),
            name: name.into(),
            uid: name.into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const BOT: BotId = BotId(8);

    #[test]
    fn oldest_connector_owns_the_bot_and_the_next_takes_over() {
        let ownership = BotOwnership::default();
        let (young, old) = (connector("young"), connector("old"));
        assert_eq!(
            ownership.claim(&young, at(20), BOT, true).0,
            BotOwner::ThisConnector
        );
        let (owner, affected) = ownership.claim(&old, at(10), BOT, true);
        assert_eq!(owner, BotOwner::ThisConnector);
        assert_eq!(affected, vec![young.uid.clone()]);
        assert_eq!(
            ownership.claim(&young, at(20), BOT, true).0,
            BotOwner::OlderConnector(old.clone())
        );
        assert_eq!(ownership.release(&old.uid), vec![young.uid.clone()]);
        assert_eq!(
            ownership.claim(&young, at(20), BOT, true).0,
            BotOwner::ThisConnector
        );
    }

    #[test]
    fn unaccepted_claim_only_makes_younger_connectors_wait() {
        let ownership = BotOwnership::default();
        let (young, old) = (connector("young"), connector("old"));
        ownership.claim(&old, at(10), BOT, false);
        assert_eq!(
            ownership.claim(&young, at(20), BOT, true).0,
            BotOwner::Undecided
        );
        let (_, affected) = ownership.claim(&old, at(10), BOT, true);
        assert_eq!(affected, vec![young.uid.clone()], "it is decided now");
        let (_, affected) = ownership.claim(&old, at(10), BOT, true);
        assert!(affected.is_empty(), "nothing new");
    }

    #[test]
    fn uid_decides_between_connectors_of_the_same_second() {
        let ownership = BotOwnership::default();
        ownership.claim(&connector("b"), at(10), BOT, true);
        assert_eq!(
            ownership.claim(&connector("a"), at(10), BOT, true).0,
            BotOwner::ThisConnector
        );
    }

    #[test]
    fn changed_token_releases_the_old_bot() {
        let ownership = BotOwnership::default();
        let (first, second) = (connector("first"), connector("second"));
        ownership.claim(&first, at(1), BOT, true);
        ownership.claim(&second, at(2), BOT, true);
        let (_, affected) = ownership.claim(&first, at(1), BotId(9), true);
        assert_eq!(affected, vec![second.uid.clone()]);
        assert_eq!(
            ownership.claim(&second, at(2), BOT, true).0,
            BotOwner::ThisConnector
        );
    }
}
