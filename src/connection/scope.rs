//! Which bots this process may connect.

use std::collections::BTreeSet;

use crate::identity::BotId;
use crate::store::shards::Shard;

/// Which bots may be connected.
#[derive(Debug, Default)]
pub(super) enum ConnectionScope {
    /// None: another process leads, or this one stops.
    #[default]
    Nothing,
    /// All: this process leads.
    Everything,
    /// Those of the shards that this process holds.
    Shards(BTreeSet<Shard>),
}

impl ConnectionScope {
    /// Whether this bot may be connected.
    pub(super) fn includes(&self, bot: BotId) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Shards(shards) => shards.contains(&Shard::of(bot)),
        }
    }

    pub(super) fn add(&mut self, added: &[Shard]) {
        match self {
            Self::Shards(shards) => shards.extend(added),
            Self::Nothing | Self::Everything => {
                *self = Self::Shards(added.iter().copied().collect());
            }
        }
    }

    /// Takes shards away.
    pub(super) fn remove(&mut self, removed: &[Shard]) {
        if let Self::Shards(shards) = self {
            shards.retain(|shard| !removed.contains(shard));
        }
    }
}
