//! What was said in the group before a turn, and not to the bot (`groups.readAlong`): it goes with the turn's question, once in a session.

use std::collections::HashSet;

use super::BatchHandler;
use crate::assistant::EarlierMessage;
use crate::pipeline::claim::lane_worker::LaneResult;
use crate::pipeline::decide::read_along;
use crate::pipeline::work::grants::GrantLookup;
use crate::store::Change;

impl BatchHandler<'_> {
    /// What goes with the turn's question, oldest first; and the ids of whoever may have said it.
    pub(super) async fn read_along(&self) -> LaneResult<(Vec<EarlierMessage>, Vec<i64>)> {
        let Some(most) = read_along::most_messages(self.connector, self.lead()) else {
            return Ok((Vec::new(), Vec::new()));
        };
        let pipeline = &self.lane.pipeline;
        let kept = pipeline.store.read_along(self.lane.claim.lane).await?;
        let before = self.first_message_id().unwrap_or(i64::MAX);
        let (connector, now) = (self.connector, pipeline.clock.now());
        let speakers = kept.iter().map(|message| message.user_id).collect();
        let grants = GrantLookup::of(self.lane);
        let mut granted = HashSet::new();
        for user in read_along::asks_for_grants(connector, &kept, now) {
            if grants.has_grant(user).await? {
                granted.insert(user);
            }
        }
        let messages = read_along::earlier_messages(connector, kept, &granted, (before, most), now);
        Ok((messages, speakers))
    }

    /// Whoever else's words the turn's question holds, by their ids: those of `read_along`, and those whom its messages answer.
    pub(super) fn speakers(&self, read_along: Vec<i64>) -> Vec<i64> {
        let members = self.batch.members.iter();
        let answered = members.filter_map(|member| member.update.incoming.reply_to.as_ref());
        let answered = answered.filter_map(|reply_to| Some(reply_to.sender.as_ref()?.id));
        let mut speakers = read_along;
        speakers.extend(answered);
        speakers.sort_unstable();
        speakers.dedup();
        speakers
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
