//! The pending updates of a bot: numbered, kept for 24 hours, confirmed by a higher offset or one by one.
//!
//! Follows `TQueue` of `TDLib`. Pure: the caller passes the time.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Age in seconds at which an update expires.
pub(super) const RETENTION_SECONDS: i64 = 24 * 60 * 60;
/// Limit of pending updates per bot; further ones are dropped, as in Telegram.
const CAPACITY: usize = 100_000;
/// Limit of a `getUpdates` response in bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 22;
/// An offset further than this beyond the newest update is ignored.
const MAX_OFFSET_AHEAD: i64 = 10;

/// A pending update.
#[derive(Debug, Clone)]
pub(super) struct QueuedUpdate {
    /// The chat; a webhook gets the updates of one lane one after the other.
    pub lane: i64,
    /// Unix seconds.
    pub expires: i64,
    /// The whole update as JSON, beginning with its id.
    pub json: Arc<str>,
}

/// Pending updates by id.
#[derive(Debug)]
pub(super) struct UpdateQueue {
    next: i64,
    pending: BTreeMap<i64, QueuedUpdate>,
    /// No pending update expires before; spares a look at each.
    first_expiry: i64,
}

impl UpdateQueue {
    pub(super) fn starting_at(first: i64) -> Self {
        Self {
            next: first,
            pending: BTreeMap::new(),
            first_expiry: i64::MAX,
        }
    }

    /// Appends an update: `rest` is the update object without its id and braces (`"message":{…}`).
    /// `None`: the update is too old or the queue is full, and the update is dropped.
    pub(super) fn push_until(
        &mut self,
        rest: &str,
        lane: i64,
        expires: i64,
        now: i64,
    ) -> Option<i64> {
        if self.pending.len() >= CAPACITY || expires <= now {
            return None;
        }
        let id = self.next;
        self.next += 1;
        self.first_expiry = self.first_expiry.min(expires);
        let json = format!("{{\"update_id\":{id},{rest}}}").into();
        self.pending.insert(
            id,
            QueuedUpdate {
                lane,
                expires,
                json,
            },
        );
        Some(id)
    }

    /// Sets the id of the next update, as Telegram does after an idle week.
    pub(super) fn set_next_id(&mut self, next: i64) {
        self.next = next;
    }

    pub(super) fn expire(&mut self, now: i64) {
        if self.first_expiry > now {
            return;
        }
        self.pending.retain(|_, update| update.expires > now);
        let expiries = self.pending.values().map(|update| update.expires);
        self.first_expiry = expiries.min().unwrap_or(i64::MAX);
    }

    /// `getUpdates`: confirms everything below `offset`, and returns up to `limit` updates from there.
    ///
    /// `repeat` selects confirmed updates to return once more, for the fault of that name.
    pub(super) fn confirm_and_read(
        &mut self,
        offset: i64,
        limit: usize,
        mut repeat: impl FnMut(&QueuedUpdate) -> bool,
    ) -> Vec<(i64, QueuedUpdate)> {
        let mut again = Vec::new();
        let mut from = offset;
        if offset < 0 {
            let keep = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            while self.pending.len() > keep {
                self.pending.pop_first();
            }
        }
        if offset <= 0 || offset > self.next + MAX_OFFSET_AHEAD {
            from = i64::MIN;
        } else {
            self.confirm(offset, |id, update| {
                if again.len() < limit && repeat(&update) {
                    again.push((id, update));
                }
            });
        }
        let mut bytes = 0;
        let left = limit - again.len();
        let fresh = self
            .pending
            .range(from..)
            .take(left)
            .take_while(|(_, update)| {
                bytes += update.json.len() + 50;
                bytes < MAX_RESPONSE_BYTES
            })
            .map(|(id, update)| (*id, update.clone()));
        again.extend(fresh);
        again
    }

    /// Whether an update is pending from `offset` on.
    pub(super) fn has_from(&self, offset: i64) -> bool {
        let from = if offset <= 0 || offset > self.next + MAX_OFFSET_AHEAD {
            i64::MIN
        } else {
            offset
        };
        self.pending.range(from..).next().is_some()
    }

    fn confirm(&mut self, offset: i64, mut on_removed: impl FnMut(i64, QueuedUpdate)) {
        while let Some(first) = self.pending.first_entry() {
            if *first.key() >= offset {
                break;
            }
            let (id, update) = first.remove_entry();
            on_removed(id, update);
        }
    }

    /// The first update from `id` on.
    pub(super) fn next_from(&self, id: i64) -> Option<(i64, &QueuedUpdate)> {
        self.pending.range(id..).next().map(|(id, u)| (*id, u))
    }

    pub(super) fn get(&self, id: i64) -> Option<&QueuedUpdate> {
        self.pending.get(&id)
    }

    /// Removes one update, which a webhook has acknowledged.
    pub(super) fn remove(&mut self, id: i64) -> Option<QueuedUpdate> {
        self.pending.remove(&id)
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends an update that is kept as long as a message of this date.
    fn push(queue: &mut UpdateQueue, rest: &str, date: i64, now: i64) -> Option<i64> {
        queue.push_until(rest, 1, date + RETENTION_SECONDS, now)
    }

    fn queue_of(count: i64) -> UpdateQueue {
        let mut queue = UpdateQueue::starting_at(100);
        for _ in 0..count {
            push(&mut queue, "\"message\":{}", 0, 0).expect("kept");
        }
        queue
    }

    fn ids(updates: Vec<(i64, QueuedUpdate)>) -> Vec<i64> {
        updates.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn higher_offset_confirms_and_a_lower_one_restores_nothing() {
        let mut queue = queue_of(4);
        assert_eq!(
            ids(queue.confirm_and_read(0, 100, |_| false)),
            [100, 101, 102, 103]
        );
        assert_eq!(ids(queue.confirm_and_read(102, 100, |_| false)), [102, 103]);
        assert_eq!(ids(queue.confirm_and_read(100, 100, |_| false)), [102, 103]);
        assert_eq!(
            ids(queue.confirm_and_read(104, 100, |_| false)),
            [] as [i64; 0]
        );
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn an_offset_far_in_the_future_confirms_nothing() {
        let mut queue = queue_of(2);
        assert_eq!(
            ids(queue.confirm_and_read(5000, 100, |_| false)),
            [100, 101]
        );
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_negative_offset_removes_all_but_the_last() {
        let mut queue = queue_of(5);
        assert_eq!(ids(queue.confirm_and_read(-2, 100, |_| false)), [103, 104]);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn updates_expire_after_a_day_counted_from_their_date() {
        let mut queue = queue_of(1);
        push(&mut queue, "\"message\":{}", 10, 10).expect("kept");
        queue.expire(RETENTION_SECONDS);
        assert_eq!(queue.len(), 1);
        queue.expire(RETENTION_SECONDS + 10);
        assert_eq!(queue.len(), 0);
        assert_eq!(
            push(&mut queue, "\"message\":{}", 0, RETENTION_SECONDS),
            None
        );
    }

    #[test]
    fn an_update_that_expires_sooner_than_earlier_ones_goes_alone() {
        let mut queue = queue_of(1);
        queue
            .push_until("\"callback_query\":{}", 1, 150, 0)
            .expect("kept");
        queue.expire(149);
        assert_eq!(queue.len(), 2);
        queue.expire(150);
        assert_eq!(queue.len(), 1);
        assert!(queue.get(100).is_some());
    }

    #[test]
    fn repeat_selects_confirmed_updates_to_return_again() {
        let mut queue = queue_of(3);
        assert_eq!(
            ids(queue.confirm_and_read(102, 100, |_| true)),
            [100, 101, 102]
        );
        assert_eq!(ids(queue.confirm_and_read(102, 100, |_| true)), [102]);
    }

    #[test]
    fn get_updates_response_stays_below_four_megabytes() {
        let mut queue = UpdateQueue::starting_at(1);
        let rest = format!("\"message\":\"{}\"", "x".repeat(1 << 20));
        for _ in 0..6 {
            push(&mut queue, &rest, 0, 0).expect("kept");
        }
        assert_eq!(queue.confirm_and_read(0, 100, |_| false).len(), 3);
    }
}
