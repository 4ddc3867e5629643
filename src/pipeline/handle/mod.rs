//! Handles one turn: from its plan to what is written and delivered.

mod exchange;
mod session;

use std::time::Duration;

use super::content::Bond;
use super::deliver::{self, Delivery, dead_letter};
use super::lane::{Lane, Wait, Worked};
use super::message::{Incoming, Unreadable};
use super::plan::{Plan, language};
use super::rate::Rate;
use super::texts::{Texts, texts};
use super::turn::{self, Circumstances, Turn, Waiting};
use super::{denied, render};
use crate::registry::ResolvedConnector;
use crate::store::{Change, Part, WaitingMessage, WaitingPart};
use crate::telemetry::metrics::UpdateOutcome;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    /// It is done; the last changes are noted in the lane.
    Done,
    /// It, or its reply, has to wait.
    Wait(Wait),
}

/// How long a message waits for an assistant that is not there, should the change be missed.
const WITHOUT_ASSISTANT: Duration = Duration::from_mins(1);

/// One turn with everything around it.
struct Handling<'a> {
    lane: &'a mut Lane,
    connector: &'a ResolvedConnector,
    turn: Turn,
    /// All messages that are settled with it; at least one.
    messages: Vec<WaitingMessage>,
}

/// Handles the turn that comes next, and takes what is settled with it out of `waiting` (at least one).
pub(super) async fn next(
    lane: &mut Lane,
    connector: &ResolvedConnector,
    waiting: &mut Vec<Waiting>,
) -> Worked<Handled> {
    let circumstances = Circumstances {
        connector,
        now: lane.work.clock.now(),
        follow_up: lane.work.limits.follow_up,
    };
    let mut admitted = 1;
    let turn = turn::next(&circumstances, waiting, |incoming| {
        let room = incoming.sender.as_ref().is_some_and(|sender| {
            let (bot, limit) = (lane.key.bot, connector.messages_per_minute);
            let rates = &lane.work.rates;
            rates.has_room(bot, sender.id, incoming.date, limit, admitted)
        });
        admitted += u32::from(room);
        room
    });
    let Some(turn) = turn else {
        let first = waiting.remove(0);
        unreadable(lane, connector, first);
        return Ok(Handled::Done);
    };
    if let Some(wait) = turn.ready_in {
        return Ok(Handled::Wait(Wait::For(wait)));
    }
    let mut messages = Vec::with_capacity(turn.settles.len());
    let mut n = 0;
    waiting.retain_mut(|w| {
        let settled = turn.settles.contains(&n);
        n += 1;
        if settled {
            messages.push(std::mem::take(&mut w.message));
        }
        !settled
    });
    let mut handling = Handling {
        lane,
        connector,
        turn,
        messages,
    };
    handling.carry_out().await
}

fn unreadable(lane: &mut Lane, connector: &ResolvedConnector, waiting: Waiting) {
    let message = waiting.message.id;
    match waiting.incoming {
        Err(unreadable) if unreadable != Unreadable::NoChat => {
            let reason = unreadable.to_string();
            dead_letter(lane, connector, &reason);
            lane.change(Change::Bury { message, reason });
        }
        // A kind that was not asked for, in no chat: nobody waits for an answer.
        _ => {
            lane.work.metrics.count_updates(UpdateOutcome::Ignored, 1);
            lane.change(Change::Finish { message });
        }
    }
}

impl Handling<'_> {
    async fn carry_out(&mut self) -> Worked<Handled> {
        if let Some(stop) = &self.turn.stop {
            let text = &texts(language(stop)).stopped;
            return self.say(text).await;
        }
        match self.turn.plan.clone() {
            Plan::Ignore => {
                self.count(UpdateOutcome::Ignored);
                self.finish();
                Ok(Handled::Done)
            }
            Plan::Leave => {
                self.count(UpdateOutcome::Ignored);
                if let Err(error) = self.connector.bot.leave_chat(self.lane.key.chat).await {
                    tracing::info!(%error, "a group that the connector does not name cannot be left");
                }
                self.finish();
                Ok(Handled::Done)
            }
            Plan::Deny => self.deny().await,
            Plan::Say(text) => self.say(&text).await,
            Plan::NewSession(text) => {
                self.begin_session();
                self.say(&text).await
            }
            Plan::Stop => {
                let text = &self.texts().nothing_to_stop;
                self.say(text).await
            }
            Plan::Ask(_) => {
                let Some(assistant) = self.connector.assistant.clone() else {
                    return Ok(Handled::Wait(Wait::ForConnector(WITHOUT_ASSISTANT)));
                };
                match self.rate() {
                    Rate::Within => self.ask(&*assistant).await,
                    Rate::FirstBeyond => {
                        let text = self.texts().rate_limited.clone();
                        self.say(&text).await
                    }
                    Rate::Beyond => {
                        self.count(UpdateOutcome::Ignored);
                        self.finish();
                        Ok(Handled::Done)
                    }
                }
            }
        }
    }

    fn count(&self, outcome: UpdateOutcome) {
        self.lane
            .work
            .metrics
            .count_updates(outcome, self.messages.len());
    }

    /// The number of the reply, and of the session that begins here: the first message's.
    fn first(&self) -> &WaitingMessage {
        &self.messages[0]
    }

    fn lead(&self) -> &Incoming {
        self.turn.lead()
    }

    fn finish(&mut self) {
        for member in &self.turn.members {
            let at = (self.lane.key.bot, member.incoming.update_id);
            self.lane.work.heard.forget(at);
        }
        for message in &self.messages {
            let message = message.id;
            self.lane.change(Change::Finish { message });
        }
    }

    fn texts(&self) -> &'static Texts {
        texts(language(self.lead()))
    }

    /// What was said counts, an album or a paste once; a further attempt at it does not count again.
    fn rate(&self) -> Rate {
        if self.first().attempts > 0 {
            return Rate::Within;
        }
        let count = |said: &Incoming| {
            let sender = said.sender.as_ref()?;
            let (bot, limit) = (self.lane.key.bot, self.connector.messages_per_minute);
            let rates = &self.lane.work.rates;
            Some(rates.count(bot, sender.id, said.date, limit))
        };
        let rate = count(&self.turn.members[0].incoming).unwrap_or(Rate::Within);
        for member in &self.turn.members {
            if member.bond == Bond::FollowUp {
                // It was let in because there was room.
                count(&member.incoming);
            }
        }
        rate
    }

    /// In a group the reply shows what it replies to.
    fn reply_to(&self) -> Option<i64> {
        let lead = self.lead();
        lead.message_id.filter(|_| !lead.is_private())
    }

    async fn deny(&mut self) -> Worked<Handled> {
        self.count(UpdateOutcome::Denied);
        let (lane, connector, said) = (&mut *self.lane, self.connector, self.turn.lead());
        let work = &lane.work;
        work.observations
            .denied(&connector.connector.uid, work.clock.now());
        if let Some(record) = denied::record(connector, lane.key.bot, said) {
            lane.change(Change::Denied(Box::new(record)));
        }
        match denied::notice(connector, said) {
            Some(text) if !text.is_empty() => {
                let since = lane.work.clock.now().checked_sub(denied::BETWEEN_NOTICES);
                let parts = render::plain(&text, self.reply_to());
                self.reply(parts, Some(since.unwrap_or(jiff::Timestamp::MIN)))
                    .await
            }
            _ => {
                self.finish();
                Ok(Handled::Done)
            }
        }
    }

    /// The bot's own words.
    async fn say(&mut self, text: &str) -> Worked<Handled> {
        let parts = render::plain(text, self.reply_to());
        self.reply(parts, None).await
    }

    /// Stores the reply, and that the message is done with, and only then sends it.
    async fn reply(
        &mut self,
        parts: Vec<Part>,
        unless_noticed_since: Option<jiff::Timestamp>,
    ) -> Worked<Handled> {
        let is_notice = unless_noticed_since.is_some();
        let waiting = self.note_reply(self.first().id, parts, unless_noticed_since);
        self.finish();
        if !self.lane.write().await?.reply_stored {
            return Ok(Handled::Done);
        }
        match deliver::deliver(self.lane, self.connector, waiting).await? {
            Delivery::Ended { whole } => {
                if whole && !is_notice {
                    self.count(UpdateOutcome::Answered);
                }
                Ok(Handled::Done)
            }
            Delivery::Wait(wait) => Ok(Handled::Wait(wait)),
        }
    }

    /// Notes a reply to be stored; returns what is to be sent of it once it is.
    fn note_reply(
        &mut self,
        message: i64,
        parts: Vec<Part>,
        unless_noticed_since: Option<jiff::Timestamp>,
    ) -> Vec<WaitingPart> {
        let stored_at = self.lane.work.clock.now();
        let waiting = (0..).zip(&parts).map(|(number, part)| WaitingPart {
            reply: message,
            number,
            part: part.clone(),
            attempts: 0,
            ambiguous: false,
            stored_at,
        });
        let waiting = waiting.collect();
        self.lane.change(Change::Reply {
            message,
            parts,
            unless_noticed_since,
        });
        waiting
    }
}
