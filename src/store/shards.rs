//! Shards: fixed groups of bots, each polled by at most one replica at a time, and the leases by which replicas share them.
//!
//! A replica is a row with a lease by the database's clock; a shard is owned by a replica's row. Whoever finds a lease over deletes the row and
//! frees its shards, and a late renewal of it fails: the row's number is the fence, since it is never given twice.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::identity::{BotId, ConnectorUid};

/// How many shards there are. Stored in the database (one row each): it must never change.
pub(crate) const SHARD_COUNT: u16 = 256;

/// A group of bots that moves from replica to replica as a whole; below [`SHARD_COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u16);

impl Shard {
    /// The shard of a bot. All replicas of all versions must agree on it.
    pub fn of(bot: BotId) -> Self {
        // Bots that were made one after the other have ids close to each other: the multiplication spreads them (Knuth, 6.4).
        let spread = bot.0.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let number = (spread >> 32) % u64::from(SHARD_COUNT);
        Self(u16::try_from(number).expect("less than the count, which is a u16"))
    }

    /// All shards.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARD_COUNT).map(Self)
    }
}

/// The number of a replica's row: one life of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(pub i64);

/// One replica as the database shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its number.
    pub id: ReplicaId,
    /// How long its lease still lasts by the database's clock; `None` if it is over.
    pub expires_in: Option<Duration>,
    /// The shards that it owns.
    pub shards: Vec<Shard>,
}

/// All replicas and what they own, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetView {
    /// The replica that looks.
    pub own_id: ReplicaId,
    /// Every replica, by its number; the one that looks is among them.
    pub replicas: Vec<Replica>,
}

impl FleetView {
    /// The shards of the replica that looks.
    pub fn own_shards(&self) -> impl Iterator<Item = Shard> + '_ {
        let own = self.replicas.iter().filter(|r| r.id == self.own_id);
        own.flat_map(|r| r.shards.iter().copied())
    }
}

/// What the poller of a connector observed, for the leader, who may be another replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedObservation {
    /// The connector whose poller it is.
    pub connector: ConnectorUid,
    /// The shard of its bot. Only the replica that owns it is believed.
    pub shard: Shard,
    /// Which token it is about, as a fingerprint that tells nothing of the token.
    pub token_fingerprint: i64,
    /// The facts as JSON; no token, no key and no chat text in them.
    pub facts: String,
}

/// Up to where observations were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObservationCursor(pub i64);

/// One replica's side of the shards in a store that several processes work on.
#[async_trait]
pub trait ShardLeases: Send + Sync + 'static {
    /// Registers this replica, or prolongs its lease to `lease` from now, and shows the fleet. [`FleetView::own_id`] is another one than before
    /// when the lease was over and somebody has taken the shards.
    ///
    /// # Errors
    /// [`StoreError`]; then the lease is not known to be prolonged.
    async fn renew(&self, lease: Duration) -> Result<FleetView, StoreError>;

    /// Removes replicas whose lease is over, and frees their shards. Whether there were any.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove_expired(&self) -> Result<bool, StoreError>;

    /// Takes those of these shards that are free. Which they were.
    ///
    /// # Errors
    /// [`StoreError`]; then some may have been taken, which [`renew`](Self::renew) shows.
    async fn take(&self, shards: &[Shard]) -> Result<Vec<Shard>, StoreError>;

    /// Gives shards up; nothing of them may be polled here any more.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release(&self, shards: &[Shard]) -> Result<(), StoreError>;

    /// Gives all shards up and ends the registration.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn leave(&self) -> Result<(), StoreError>;

    /// Writes observations; those of shards that this replica does not own are dropped, and those that say nothing new write nothing.
    ///
    /// # Errors
    /// [`StoreError`]; then none is written.
    async fn write_observations(&self, observed: &[SharedObservation]) -> Result<(), StoreError>;

    /// The observations of all replicas that have changed since `cursor` (the default: all), and the next cursor.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn observations_since(
        &self,
        cursor: ObservationCursor,
    ) -> Result<(Vec<SharedObservation>, ObservationCursor), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bots_are_spread_evenly_over_the_shards() {
        for step in [1, 2, 256, 1_000] {
            let mut count = vec![0_u32; usize::from(SHARD_COUNT)];
            for n in 0..25_600 {
                count[usize::from(Shard::of(BotId(8_400_000_000 + n * step)).0)] += 1;
            }
            let (least, most) = (count.iter().min(), count.iter().max());
            assert!(
                least > Some(&50) && most < Some(&200),
                "ids {step} apart: {least:?} to {most:?} bots of 100 in a shard"
            );
        }
    }

    #[test]
    fn shard_of_a_bot_never_changes() {
        let shards = [1, 84, 8_400_000_001].map(|id| Shard::of(BotId(id)).0);
        assert_eq!(
            shards,
            [185, 221, 210],
            "other versions of the operator run beside this one"
        );
    }
}
