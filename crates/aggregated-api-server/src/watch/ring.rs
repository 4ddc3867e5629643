//! The latest changes of a resource, each written once for all that watch it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::encoding;
use crate::negotiation::Representation;
use crate::resource::{Change, Changes};
use crate::served::Served;

/// A change, and its object as JSON in each form that was asked for.
#[derive(Debug)]
pub(super) struct SharedChange {
    pub change: Change,
    written: [OnceLock<Bytes>; Representation::COUNT],
}

impl SharedChange {
    pub(super) fn new(change: Change) -> Self {
        Self {
            change,
            written: Default::default(),
        }
    }

    pub(super) fn revision(&self) -> i64 {
        match &self.change {
            Change::Present(object) => object.revision,
            Change::Deleted(gone) => gone.revision,
        }
    }

    /// The object as JSON.
    pub(super) fn written(&self, served: &Served, representation: Representation) -> Bytes {
        let write = || {
            let object = encoding::change(served, &self.change, representation);
            Bytes::from(object.to_string())
        };
        self.written[representation.index()]
            .get_or_init(write)
            .clone()
    }
}

/// What a watch finds in the ring.
#[derive(Debug)]
pub(super) enum Found {
    /// It is behind the ring and has to ask the storage itself.
    Behind,
    /// The changes after its position, and up to where they reach.
    Changes(Vec<Arc<SharedChange>>, i64),
    /// The storage was put back to an earlier state: nothing that the watch knows holds any more.
    Reset,
}

/// The latest changes.
#[derive(Debug)]
pub(super) struct ChangeRing {
    changes: VecDeque<Arc<SharedChange>>,
    capacity: usize,
    /// Every change after this revision, up to [`complete_to`](Self::complete_to), is here.
    start: i64,
    complete_to: i64,
    /// Raised when the storage was put back.
    epoch: u64,
}

impl ChangeRing {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            capacity,
            start: 0,
            complete_to: 0,
            epoch: 0,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn complete_to(&self) -> i64 {
        self.complete_to
    }

    /// Begins anew at a revision.
    pub(super) fn restart(&mut self, revision: i64) {
        self.changes.clear();
        self.start = revision;
        self.complete_to = revision;
    }

    /// Takes what has changed since [`complete_to`](Self::complete_to); says whether there was anything.
    pub(super) fn push(&mut self, changes: Changes) -> bool {
        if changes.complete_to < self.complete_to || changes.oldest > self.complete_to {
            self.epoch += 1;
            self.restart(changes.complete_to);
            return true;
        }
        let moved = changes.complete_to > self.complete_to;
        self.complete_to = changes.complete_to;
        for change in changes.changes {
            self.changes.push_back(Arc::new(SharedChange::new(change)));
        }
        while self.changes.len() > self.capacity
            && let Some(oldest) = self.changes.pop_front()
        {
            self.start = oldest.revision();
        }
        moved
    }

    pub(super) fn after(&self, position: i64, epoch: u64) -> Found {
        if epoch != self.epoch {
            return Found::Reset;
        }
        if position < self.start {
            return Found::Behind;
        }
        let first = self
            .changes
            .partition_point(|change| change.revision() <= position);
        let changes = self.changes.range(first..).cloned().collect();
        Found::Changes(changes, self.complete_to.max(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Object;

    fn changes(revisions: &[i64], complete_to: i64) -> Changes {
        let object = |revision: &i64| {
            Change::Present(Object {
                revision: *revision,
                ..Object::default()
            })
        };
        Changes {
            changes: revisions.iter().map(object).collect(),
            complete_to,
            oldest: 0,
        }
    }

    fn revisions(found: Found) -> Vec<i64> {
        match found {
            Found::Changes(changes, _) => changes.iter().map(|one| one.revision()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_is_older_than_the_ring_is_behind() {
        let mut ring = ChangeRing::new(3);
        ring.restart(10);
        assert!(ring.push(changes(&[11, 12, 12, 13], 20)));
        assert_eq!(revisions(ring.after(12, 0)), [13]);
        assert_eq!(revisions(ring.after(11, 0)), [12, 12, 13]);
        assert!(matches!(ring.after(10, 0), Found::Behind));
        assert!(!ring.push(changes(&[], 20)), "nothing new");
        assert!(matches!(ring.after(25, 0), Found::Changes(none, 25) if none.is_empty()));
    }

    #[test]
    fn a_storage_that_was_put_back_resets_all() {
        let mut ring = ChangeRing::new(3);
        ring.restart(10);
        ring.push(changes(&[], 9));
        assert!(matches!(ring.after(10, 0), Found::Reset));
        assert!(matches!(ring.after(9, ring.epoch()), Found::Changes(..)));
    }
}
