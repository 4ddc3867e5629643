//! Who owns a bot when several connectors hold its token: the oldest one whose token Telegram accepts.
//!
//! A claim counts from the moment the token is given, so that a younger connector does not connect first only to be cut off; it
//! ends when Telegram refuses the token, and with suspension or deletion. Then the next takes over by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::identity::{BotId, ConnectorRef, ConnectorUid};

/// Older comes first; where the second is the same, the uid decides.
type Rank = (Timestamp, ConnectorUid);

#[derive(Debug, Clone)]
struct Claim {
    connector: ConnectorRef,
    accepted: bool,
}

/// Whose the bot is, as one connector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// This connector's.
    Mine,
    /// An older connector's, whose token Telegram has accepted.
    Other(ConnectorRef),
    /// An older connector's, unless Telegram refuses its token.
    Undecided,
}

#[derive(Debug, Default)]
struct Book {
    by_bot: HashMap<BotId, BTreeMap<Rank, Claim>>,
    by_connector: HashMap<ConnectorUid, (BotId, Rank)>,
}

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<Book>);

impl Claims {
    /// Claims a bot, giving up another that the connector held. Whose it is, and the connectors for which that may have changed.
    pub(super) fn claim(
        &self,
        connector: &ConnectorRef,
        created: Timestamp,
        bot: BotId,
        accepted: bool,
    ) -> (Owner, Vec<ConnectorUid>) {
        let mut book = self.lock();
        let mut affected = Vec::new();
        if book
            .by_connector
            .get(&connector.uid)
            .is_some_and(|(held, _)| *held != bot)
        {
            affected = book.release(&connector.uid);
        }
        let rank = (created, connector.uid.clone());
        book.by_connector
            .insert(connector.uid.clone(), (bot, rank.clone()));
        let claims = book.by_bot.entry(bot).or_default();
        let claim = Claim {
            connector: connector.clone(),
            accepted,
        };
        let before = claims.insert(rank.clone(), claim);
        if before.is_none_or(|b| b.accepted != accepted) {
            affected.extend(younger(claims, &rank));
        }
        let owner = match claims.first_key_value() {
            Some((first, _)) if *first == rank => Owner::Mine,
            Some((_, first)) if first.accepted => Owner::Other(first.connector.clone()),
            _ => Owner::Undecided,
        };
        (owner, affected)
    }

    /// Gives up what a connector claims; the connectors for which that changes something.
    pub(super) fn release(&self, connector: &ConnectorUid) -> Vec<ConnectorUid> {
        self.lock().release(connector)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn release(&mut self, connector: &ConnectorUid) -> Vec<ConnectorUid> {
        let Some((bot, rank)) = self.by_connector.remove(connector) else {
            return Vec::new();
        };
        let Some(claims) = self.by_bot.get_mut(&bot) else {
            return Vec::new();
        };
        claims.remove(&rank);
        let affected = younger(claims, &rank);
        if claims.is_empty() {
            self.by_bot.remove(&bot);
        }
        affected
    }
}

fn younger(claims: &BTreeMap<Rank, Claim>, rank: &Rank) -> Vec<ConnectorUid> {
    claims
        .range((
            std::ops::Bound::Excluded(rank.clone()),
            std::ops::Bound::Unbounded,
        ))
        .map(|((_, uid), _)| uid.clone())
        .collect()
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
    fn the_older_keeps_the_bot_and_when_it_goes_the_next_takes_over() {
        let claims = Claims::default();
        let (young, old) = (connector("young"), connector("old"));
        assert_eq!(claims.claim(&young, at(20), BOT, true).0, Owner::Mine);
        let (owner, affected) = claims.claim(&old, at(10), BOT, true);
        assert_eq!(owner, Owner::Mine);
        assert_eq!(affected, vec![young.uid.clone()]);
        assert_eq!(
            claims.claim(&young, at(20), BOT, true).0,
            Owner::Other(old.clone())
        );
        assert_eq!(claims.release(&old.uid), vec![young.uid.clone()]);
        assert_eq!(claims.claim(&young, at(20), BOT, true).0, Owner::Mine);
    }

    #[test]
    fn a_claim_that_telegram_has_not_confirmed_only_makes_the_younger_wait() {
        let claims = Claims::default();
        let (young, old) = (connector("young"), connector("old"));
        claims.claim(&old, at(10), BOT, false);
        assert_eq!(claims.claim(&young, at(20), BOT, true).0, Owner::Undecided);
        let (_, affected) = claims.claim(&old, at(10), BOT, true);
        assert_eq!(affected, vec![young.uid.clone()], "it is decided now");
        let (_, affected) = claims.claim(&old, at(10), BOT, true);
        assert!(affected.is_empty(), "nothing new");
    }

    #[test]
    fn where_the_second_is_the_same_the_uid_decides() {
        let claims = Claims::default();
        claims.claim(&connector("b"), at(10), BOT, true);
        assert_eq!(
            claims.claim(&connector("a"), at(10), BOT, true).0,
            Owner::Mine
        );
    }

    #[test]
    fn another_token_gives_the_old_bot_up() {
        let claims = Claims::default();
        let (first, second) = (connector("first"), connector("second"));
        claims.claim(&first, at(1), BOT, true);
        claims.claim(&second, at(2), BOT, true);
        let (_, affected) = claims.claim(&first, at(1), BotId(9), true);
        assert_eq!(affected, vec![second.uid.clone()]);
        assert_eq!(claims.claim(&second, at(2), BOT, true).0, Owner::Mine);
    }
}
