//! What was said in the group before a turn, and not to the bot (`groups.readAlong`): it goes with the turn's question, once in a session.

use super::BatchHandler;
use crate::assistant::EarlierMessage;
use crate::pipeline::claim::lane_worker::LaneResult;
use crate::pipeline::decide::read_along;
use crate::store::Change;

impl BatchHandler<'_> {
    /// What goes with the turn's question, oldest first.
    pub(super) async fn read_along(&self) -> LaneResult<Vec<EarlierMessage>> {
        let Some(most) = read_along::most_messages(self.connector, self.lead()) else {
            return Ok(Vec::new());
        };
        let pipeline = &self.lane.pipeline;
        let kept = pipeline.store.read_along(self.lane.claim.lane).await?;
        let before = self.first_message_id().unwrap_or(i64::MAX);
        let (connector, now) = (self.connector, pipeline.clock.now());
        Ok(read_along::earlier_messages(
            connector,
            kept,
            (before, most),
            now,
        ))
    }

    /// Nothing that was said up to now is read along any more: the session knows it, or a new one begins.
    pub(super) fn end_read_along(&mut self) {
        if read_along::most_messages(self.connector, self.lead()).is_some()
            && let Some(until) = self.first_message_id()
        {
            self.lane.add_change(Change::EndReadAlong(until));
        }
    }

    fn first_message_id(&self) -> Option<i64> {
        let members = self.batch.members.iter();
        members.filter_map(|m| m.update.incoming.message_id).min()
    }
}
