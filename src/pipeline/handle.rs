//! Handles one turn: from its plan to what is written and delivered.

use std::time::{Duration, Instant};

use super::ask::{self, Answer, Asked, BrokenOff};
use super::attached::Mute;
use super::content::{self, Bond, Gist};
use super::deliver::{self, Delivery, dead_letter};
use super::interrupt::Interruption;
use super::lane::{Lane, Wait, Worked};
use super::message::{Content, Incoming, Unreadable};
use super::plan::{self, Plan, language};
use super::rate::Rate;
use super::session::{self, SessionStep};
use super::texts::{Texts, texts};
use super::turn::{self, Circumstances, Turn, Waiting};
use super::{attached, denied, render};
use crate::assistant::{self, Asker, Assistant, Picture, Question, Role};
use crate::registry::ResolvedConnector;
use crate::store::{Change, Part, Session, WaitingMessage, WaitingPart};
use crate::telemetry::metrics::UpdateOutcome;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    /// It is done; the last changes are noted in the lane.
    Done,
    /// It, or its reply, has to wait.
    Wait(Wait),
}

/// Stands under an answer that was stopped; the same in every language.
const ENDED: &str = "⏹";
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
            lane.work.metrics.updates(UpdateOutcome::Ignored, 1);
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
        self.lane.work.metrics.updates(outcome, self.messages.len());
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
        let message = self.first().id;
        let waiting = waiting(message, &parts, self.lane.work.clock.now());
        let is_notice = unless_noticed_since.is_some();
        self.lane.change(Change::Reply {
            message,
            parts,
            unless_noticed_since,
        });
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

    fn begin_session(&mut self) {
        let number = self.lane.sessions + 1;
        let began = Session {
            number,
            key: self.session_key(),
            began_at: self.lead().date,
            state: None,
            exchanges: 0,
            history: Vec::new(),
        };
        self.lane.change(Change::BeginSession {
            number,
            key: began.key.clone(),
            began_at: began.began_at,
        });
        self.lane.sessions = number;
        self.lane.session = Some(began);
    }

    /// Named after the message that begins it: the same however often that message is tried.
    fn session_key(&self) -> String {
        let key = self.lane.key;
        format!(
            "telegram-{}-{}-{}-{}",
            key.bot,
            key.chat,
            key.topic,
            self.first().update_id
        )
    }

    /// Names the question: the same however often it is asked, and another as soon as there is more or less in it.
    fn idempotency_key(&self) -> String {
        let bot = self.lane.key.bot;
        let ids = self.messages.iter().map(|m| m.update_id.to_string());
        format!("telegram-{bot}-{}", ids.collect::<Vec<_>>().join("-"))
    }

    /// What the assistant is asked: the words of all messages, and their pictures as far as it takes any. An error is of the only
    /// message there is; where there are others, they are asked about.
    async fn question(&self, takes_pictures: bool) -> Result<(String, Vec<Picture>), Mute> {
        let me = plan::me(self.connector);
        let mut texts = Vec::new();
        let mut pictures = Vec::new();
        for member in &self.turn.members {
            let (text, picture) = match content::gist(&member.incoming, me) {
                Gist::Ask { text, picture } => (text, picture),
                gist @ (Gist::Hear(_) | Gist::Read(_)) => {
                    let (lane, said) = (&*self.lane, &member.incoming);
                    let words = match attached::words(lane, self.connector, said, &gist).await {
                        Ok(words) => words,
                        Err(mute) if self.turn.members.len() == 1 => return Err(mute),
                        Err(_) => attached::UNREAD.to_owned(),
                    };
                    (content::with_words_of_file(said, me, &words), None)
                }
                // Of an album, what cannot be seen is left out.
                Gist::Nothing | Gist::Unsupported => continue,
            };
            let said = &member.incoming;
            let seen = match &picture {
                Some(file) if takes_pictures => ask::picture(self.connector, file).await,
                _ => None,
            };
            let text = match (&picture, &seen, &said.content) {
                // A question about a picture that is not there must say that there is one.
                (Some(_), None, Content::Photo(_) | Content::Document(_)) => {
                    content::with_unseen_picture(said, me)
                }
                _ => text,
            };
            texts.push((member.bond, text));
            pictures.extend(seen);
        }
        let texts: Vec<_> = texts.iter().map(|(bond, t)| (*bond, t.as_str())).collect();
        Ok((content::together(&texts), pictures))
    }

    async fn ask(&mut self, assistant: &dyn Assistant) -> Worked<Handled> {
        let work = self.lane.work.clone();
        let ids: Vec<i64> = self.messages.iter().map(|m| m.id).collect();
        let mut running = work.interruptions.answering(self.lane.claim.lane);
        let asked = tokio::select! {
            asked = self.question(assistant.takes_pictures()) => asked,
            // While a voice message is written down, say.
            by = running.interrupted(self.connector, &ids) => return self.interrupted(by, "").await,
        };
        let (text, pictures) = match asked {
            Ok(question) => question,
            Err(mute) => {
                let sentence = mute.sentence(self.texts());
                return self.say(sentence).await;
            }
        };
        let date = self.lead().date;
        let began = self.lane.session.as_ref().map(|s| s.began_at);
        let step = session::decide(self.connector.session.duration, began, date);
        let current = self
            .lane
            .session
            .as_ref()
            .filter(|_| step == SessionStep::Continue);
        let question = Question {
            asker: self.asker(),
            connector: self.connector.connector.to_string().into(),
            session_id: current.map_or_else(|| self.session_key(), |s| s.key.clone()),
            session_state: current.and_then(|s| s.state.clone()),
            history: current.map(|s| s.history.clone()).unwrap_or_default(),
            text: text.clone(),
            pictures,
            idempotency_key: self.idempotency_key(),
        };
        let uid = &self.connector.connector.uid;
        let interrupted = running.interrupted(self.connector, &ids);
        let began = Instant::now();
        let (connector, key) = (self.connector, self.lane.key);
        let answered = ask::ask(&work, assistant, question, connector, key, interrupted).await;
        drop(running);
        let took = began.elapsed();
        let protocol = assistant.protocol();
        match answered {
            Asked::Answered(answer) => {
                work.metrics.assistant_answered(protocol, "ok", took);
                work.observations.assistant_succeeded(uid);
                self.note_exchange(assistant, step, text, &answer);
                let mut parts = render::markdown(&answer.text, self.reply_to());
                if parts.is_empty() {
                    parts = render::plain(&self.texts().empty_answer, self.reply_to());
                }
                self.reply(parts, None).await
            }
            Asked::BrokenOff(broken) => {
                let result = broken.error.fault.label();
                work.metrics.assistant_answered(protocol, result, took);
                work.observations.assistant_failed(
                    uid,
                    broken.error.fault,
                    broken.error.detail.clone(),
                );
                self.failed(broken).await
            }
            Asked::Interrupted(by, answer) => {
                work.metrics.assistant_answered(protocol, "stopped", took);
                if !answer.text.trim().is_empty() {
                    self.note_exchange(assistant, step, text, &answer);
                }
                self.interrupted(by, &answer.text).await
            }
        }
    }

    /// What was shown stays, marked as ended; a `/stop` is confirmed and settled together with it. A `/new` comes next by itself.
    async fn interrupted(&mut self, by: Interruption, shown: &str) -> Worked<Handled> {
        let mut replies = Vec::new();
        if !shown.trim().is_empty() {
            let text = format!("{}\n\n{ENDED}", shown.trim_end());
            replies.push((self.first().id, render::markdown(&text, self.reply_to())));
        }
        if let Interruption::Stop { command, id, with } = by {
            let reply_to = command.message_id.filter(|_| !command.is_private());
            let text = &texts(language(&command)).stopped;
            replies.push((id, render::plain(text, reply_to)));
            self.messages
                .extend(with.into_iter().chain([id]).map(|id| WaitingMessage {
                    id,
                    ..WaitingMessage::default()
                }));
        }
        let now = self.lane.work.clock.now();
        let mut parts = Vec::new();
        for (message, reply) in replies {
            parts.extend(waiting(message, &reply, now));
            self.lane.change(Change::Reply {
                message,
                parts: reply,
                unless_noticed_since: None,
            });
        }
        self.finish();
        self.lane.write().await?;
        match deliver::deliver(self.lane, self.connector, parts).await? {
            Delivery::Ended { .. } => {
                self.count(UpdateOutcome::Answered);
                Ok(Handled::Done)
            }
            Delivery::Wait(wait) => Ok(Handled::Wait(wait)),
        }
    }

    /// The exchange goes into the session, or into none.
    fn note_exchange(
        &mut self,
        assistant: &dyn Assistant,
        step: SessionStep,
        asked: String,
        answer: &Answer,
    ) {
        // An empty answer is an answer: asking again for ever would block what stands behind it.
        let empty = answer.text.trim().is_empty();
        let at = self.lead().date;
        match step {
            SessionStep::Alone => {
                if self.lane.session.take().is_some() {
                    self.lane.change(Change::EndSession);
                }
            }
            SessionStep::Begin => self.begin_session(),
            SessionStep::Continue => {}
        }
        if let Some(session) = &mut self.lane.session {
            let kept = assistant.wants_history() && !empty;
            session.exchanges += 1;
            session.state = answer.state.clone().or(session.state.take());
            let most = super::history::exchanges(self.connector.session.max_messages) as usize;
            let (number, session_number) = (session.exchanges, session.number);
            if kept {
                session.history.extend([
                    assistant::Turn {
                        role: Role::User,
                        text: asked.clone(),
                    },
                    assistant::Turn {
                        role: Role::Assistant,
                        text: answer.text.clone(),
                    },
                ]);
                let over = session.history.len().saturating_sub(2 * most);
                session.history.drain(..over);
            }
            self.lane.change(Change::Exchange {
                session: session_number,
                number,
                asked: kept.then_some(asked),
                answered: kept.then(|| answer.text.clone()),
                state: answer.state.clone(),
                at,
            });
        }
    }

    async fn failed(&mut self, broken: BrokenOff) -> Worked<Handled> {
        let BrokenOff { error, text } = broken;
        let attempts = self.first().attempts;
        let retry = self.lane.work.limits.retry;
        let again = retry.after_assistant(&error, attempts, rand::random());
        self.count(UpdateOutcome::Failed);
        if let Some(wait) = again {
            tracing::info!(%error, attempts = attempts + 1, "the assistant is asked again later");
            for message in &self.messages {
                let message = message.id;
                self.lane.change(Change::Attempted { message });
            }
            return Ok(Handled::Wait(Wait::ToAskAgain(wait)));
        }
        let reason = format!("the assistant failed: {error}");
        dead_letter(self.lane, self.connector, &reason);
        let said = self.texts();
        let parts = if text.trim().is_empty() {
            let sentence = if error.too_slow {
                &said.timed_out
            } else {
                &said.assistant_unavailable
            };
            render::plain(sentence, self.reply_to())
        } else {
            render::markdown(&format!("{text}\n\n{}", said.broken_off), self.reply_to())
        };
        self.apologize(parts, reason).await
    }

    /// The user is told, and the message becomes a dead letter.
    async fn apologize(&mut self, parts: Vec<Part>, reason: String) -> Worked<Handled> {
        let message = self.first().id;
        let waiting = waiting(message, &parts, self.lane.work.clock.now());
        self.lane.change(Change::Reply {
            message,
            parts,
            unless_noticed_since: None,
        });
        for message in &self.messages {
            self.lane.change(Change::Bury {
                message: message.id,
                reason: reason.clone(),
            });
        }
        self.lane.write().await?;
        match deliver::deliver(self.lane, self.connector, waiting).await? {
            Delivery::Ended { .. } => Ok(Handled::Done),
            Delivery::Wait(wait) => Ok(Handled::Wait(wait)),
        }
    }

    fn asker(&self) -> Asker {
        let sender = self.lead().sender.as_ref();
        Asker {
            id: sender.map_or(0, |s| s.id),
            name: sender.map(|s| s.name.clone()).unwrap_or_default(),
            username: sender.and_then(|s| s.username.clone()),
            language_code: sender.and_then(|s| s.language_code.clone()),
        }
    }
}

fn waiting(reply: i64, parts: &[Part], stored_at: jiff::Timestamp) -> Vec<WaitingPart> {
    (0..)
        .zip(parts)
        .map(|(number, part)| WaitingPart {
            reply,
            number,
            part: part.clone(),
            attempts: 0,
            ambiguous: false,
            stored_at,
        })
        .collect()
}
