//! Which shards a replica takes and gives up: a pure function of the fleet as the database shows it, so that all replicas agree.
//!
//! Each replica has its share, and the shares differ by one shard at most. Only what is above a share moves, and what is free; so a
//! replica that joins gets exactly its share, and one that goes leaves every other shard where it is.

use std::cmp::Reverse;

use crate::store::shards::{FleetView, Replica, SHARD_COUNT, Shard};

/// Bots whose polls a replica hands over at once. Each of them is connected anew elsewhere, so they move a few at a time.
const MAX_BOTS_MOVED_AT_ONCE: usize = 200;

/// What one replica does next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ShardMoves {
    /// Free shards to take.
    pub(crate) take: Vec<Shard>,
    /// Own shards above this replica's share. They are given up a few at a time, once their pollers have ended.
    pub(crate) surplus: Vec<Shard>,
    /// Whether this replica has its share, and so has nothing to wait for.
    pub(crate) settled: bool,
}

/// Decides for the replica that looks. A replica whose lease is over gets nothing more, and keeps what it has until it is removed.
pub(crate) fn plan_moves(view: &FleetView) -> ShardMoves {
    let members: Vec<&Replica> = view
        .replicas
        .iter()
        .filter(|r| r.expires_in.is_some() || r.id == view.own_id)
        .collect();
    let Some(own) = members.iter().position(|r| r.id == view.own_id) else {
        return ShardMoves::default();
    };
    let shares = shares(&members);
    let owned = members[own].shards.len();
    let missing = |n: usize| shares[n].saturating_sub(members[n].shards.len());
    // The free shards are dealt out in the order of the replicas, so that two do not reach for the same one.
    let dealt_before: usize = (0..own).map(missing).sum();
    let take: Vec<Shard> = free_shards(view)
        .skip(dealt_before)
        .take(missing(own))
        .collect();
    let surplus = members[own].shards.iter().skip(shares[own]);
    ShardMoves {
        take,
        surplus: surplus.copied().collect(),
        settled: owned == shares[own],
    }
}

/// The first of these shards, as far as their bots may move at once; one in any case.
pub(crate) fn first_to_release(surplus: &[Shard], bots: impl Fn(Shard) -> usize) -> &[Shard] {
    let mut moved = 0;
    let fits = surplus.iter().take_while(|shard| {
        moved += bots(**shard);
        moved <= MAX_BOTS_MOVED_AT_ONCE
    });
    let count = fits.count().max(1).min(surplus.len());
    &surplus[..count]
}

/// How many shards each replica shall have. What does not divide stays with those that have the most already.
fn shares(members: &[&Replica]) -> Vec<usize> {
    let (all, count) = (usize::from(SHARD_COUNT), members.len());
    let mut by_size: Vec<usize> = (0..count).collect();
    by_size.sort_by_key(|n| (Reverse(members[*n].shards.len()), members[*n].id));
    let mut shares = vec![all / count; count];
    for n in by_size.into_iter().take(all % count) {
        shares[n] += 1;
    }
    shares
}

fn free_shards(view: &FleetView) -> impl Iterator<Item = Shard> {
    let mut free = vec![true; usize::from(SHARD_COUNT)];
    for shard in view.replicas.iter().flat_map(|r| &r.shards) {
        // A later version may have more.
        if let Some(is_free) = free.get_mut(usize::from(shard.0)) {
            *is_free = false;
        }
    }
    Shard::all().filter(move |shard| free[usize::from(shard.0)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::store::shards::ReplicaId;

    /// A fleet as the database keeps it.
    #[derive(Debug, Clone, Default)]
    struct Fleet {
        next_id: i64,
        replicas: BTreeMap<i64, Vec<Shard>>,
    }

    impl Fleet {
        fn of(replicas: usize) -> Self {
            let mut fleet = Self::default();
            for _ in 0..replicas {
                fleet.join();
            }
            fleet.settle();
            fleet
        }

        fn join(&mut self) {
            self.next_id += 1;
            self.replicas.insert(self.next_id, Vec::new());
        }

        /// The `n`th replica goes, and its shards are free.
        fn leave(&mut self, n: usize) {
            let id = *self.replicas.keys().nth(n).expect("a replica");
            self.replicas.remove(&id);
        }

        fn view(&self, own_id: i64) -> FleetView {
            let replicas = self.replicas.iter().map(|(id, shards)| Replica {
                id: ReplicaId(*id),
                expires_in: Some(Duration::from_secs(3)),
                shards: shards.clone(),
            });
            FleetView {
                own_id: ReplicaId(own_id),
                replicas: replicas.collect(),
            }
        }

        fn owners(&self) -> BTreeMap<Shard, i64> {
            let pairs = self.replicas.iter();
            pairs
                .flat_map(|(id, shards)| shards.iter().map(|shard| (*shard, *id)))
                .collect()
        }

        /// Each replica looks and moves in turn. Whether anything moved.
        fn round(&mut self) -> bool {
            let mut moved = false;
            for id in self.replicas.keys().copied().collect::<Vec<_>>() {
                let moves = plan_moves(&self.view(id));
                moved |= !moves.take.is_empty() || !moves.surplus.is_empty();
                let shards = self.replicas.get_mut(&id).expect("it");
                shards.retain(|shard| !moves.surplus.contains(shard));
                shards.extend(moves.take);
                shards.sort_unstable();
            }
            moved
        }

        fn settle(&mut self) {
            for _ in 0..10 * SHARD_COUNT {
                if !self.round() {
                    return;
                }
            }
            panic!("the fleet does not settle: {self:?}");
        }

        fn sizes(&self) -> Vec<usize> {
            self.replicas.values().map(Vec::len).collect()
        }
    }

    fn moved(before: &BTreeMap<Shard, i64>, after: &BTreeMap<Shard, i64>) -> Vec<(Shard, i64)> {
        let pairs = before
            .iter()
            .filter(|(shard, id)| after.get(shard) != Some(id));
        pairs.map(|(shard, id)| (*shard, *id)).collect()
    }

    #[test]
    fn only_replica_takes_every_shard_at_once() {
        let mut fleet = Fleet::default();
        fleet.join();
        assert!(fleet.round());
        assert_eq!(fleet.sizes(), [256]);
        assert!(plan_moves(&fleet.view(1)).settled);
    }

    #[test]
    fn replica_that_joins_gets_its_share_and_nothing_else_moves() {
        let mut fleet = Fleet::of(2);
        let before = fleet.owners();
        fleet.join();
        fleet.settle();
        assert_eq!(fleet.sizes(), [86, 85, 85]);
        assert_eq!(moved(&before, &fleet.owners()).len(), 85);
    }

    #[test]
    fn shards_of_a_lost_replica_are_shared_out_in_one_look() {
        let mut fleet = Fleet::of(3);
        let before = fleet.owners();
        fleet.leave(1);
        fleet.round();
        assert_eq!(fleet.sizes(), [128, 128]);
        let moved = moved(&before, &fleet.owners());
        assert!(moved.iter().all(|(_, owner)| *owner == 2), "{moved:?}");
    }

    #[test]
    fn expired_replica_keeps_its_shards_until_it_is_removed() {
        let mut view = Fleet::of(2).view(1);
        view.replicas[1].expires_in = None;
        let moves = plan_moves(&view);
        assert!(moves.take.is_empty() && moves.surplus.is_empty());
        view.replicas.truncate(1);
        assert_eq!(plan_moves(&view).take.len(), 128);
    }

    #[test]
    fn few_bots_move_at_once_and_at_least_one_shard() {
        let surplus: Vec<Shard> = (0..50).map(Shard).collect();
        let released = |bots: usize| first_to_release(&surplus, |_| bots).len();
        assert_eq!([0, 1, 10, 100, 4_000].map(released), [50, 50, 20, 2, 1]);
        assert!(first_to_release(&[], |_| 1).is_empty());
    }

    #[test]
    fn replica_that_is_not_registered_does_nothing() {
        assert_eq!(plan_moves(&Fleet::of(2).view(9)), ShardMoves::default());
    }

    proptest! {
        #[test]
        fn every_fleet_settles_balanced_with_minimal_moves(
            changes in proptest::collection::vec((any::<bool>(), 0_usize..8), 1..12)
        ) {
            let mut fleet = Fleet::of(1);
            for (joins, n) in changes {
                let before = fleet.owners();
                let gone = if joins || fleet.replicas.len() == 1 {
                    fleet.join();
                    None
                } else {
                    let n = n % fleet.replicas.len();
                    let id = *fleet.replicas.keys().nth(n).expect("it");
                    fleet.leave(n);
                    Some(id)
                };
                fleet.settle();
                let sizes = fleet.sizes();
                prop_assert_eq!(sizes.iter().sum::<usize>(), usize::from(SHARD_COUNT));
                let (least, most) = (sizes.iter().min(), sizes.iter().max());
                prop_assert!(most.unwrap() - least.unwrap() <= 1, "{sizes:?}");
                let moved = moved(&before, &fleet.owners());
                match gone {
                    // Nobody is disturbed but by the loss of what was lost.
                    Some(gone) => prop_assert!(moved.iter().all(|(_, owner)| *owner == gone)),
                    None => prop_assert_eq!(moved.len(), sizes[sizes.len() - 1]),
                }
            }
        }

        #[test]
        fn no_two_replicas_reach_for_the_same_free_shard(lost in 0_usize..5) {
            let mut fleet = Fleet::of(5);
            fleet.leave(lost);
            let mut taken = std::collections::BTreeSet::new();
            for id in fleet.replicas.keys() {
                for shard in plan_moves(&fleet.view(*id)).take {
                    prop_assert!(taken.insert(shard));
                }
            }
            prop_assert!(taken.len() >= 51);
        }
    }
}
