//! Handles one message: from its plan to what is written and delivered.

use std::time::{Duration, Instant};

use super::ask::{self, Answer, BrokenOff};
use super::deliver::{self, Delivery, dead_letter};
use super::lane::{Lane, Wait, Worked};
use super::message::{File, Incoming, Unreadable};
use super::plan::{self, Plan, language};
use super::rate::Rate;
use super::session::{self, SessionStep};
use super::texts::{Texts, texts};
use super::{denied, render};
use crate::assistant::{Asker, Assistant, Question, Role, Turn};
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

/// How long a message waits for an assistant that is not there, should the change be missed.
const WITHOUT_ASSISTANT: Duration = Duration::from_mins(1);

/// One message with everything around it.
struct Handling<'a> {
    lane: &'a mut Lane,
    connector: &'a ResolvedConnector,
    message: &'a WaitingMessage,
    incoming: Incoming,
}

/// Handles a message.
pub(super) async fn message(
    lane: &mut Lane,
    connector: &ResolvedConnector,
    message: &WaitingMessage,
) -> Worked<Handled> {
    let incoming = match Incoming::parse(&message.json) {
        Ok(incoming) => incoming,
        // A kind that was not asked for, in no chat: nobody waits for an answer.
        Err(Unreadable::NoChat) => {
            lane.work.metrics.updates(UpdateOutcome::Ignored, 1);
            lane.change(Change::Finish {
                message: message.id,
            });
            return Ok(Handled::Done);
        }
        Err(unreadable) => {
            let reason = unreadable.to_string();
            dead_letter(lane, connector, &reason);
            lane.change(Change::Bury {
                message: message.id,
                reason,
            });
            return Ok(Handled::Done);
        }
    };
    let plan = plan::plan(connector, &incoming);
    let mut handling = Handling {
        lane,
        connector,
        message,
        incoming,
    };
    handling.carry_out(plan).await
}

impl Handling<'_> {
    async fn carry_out(&mut self, plan: Plan) -> Worked<Handled> {
        match plan {
            Plan::Ignore => {
                self.count(UpdateOutcome::Ignored);
                self.finish();
                Ok(Handled::Done)
            }
            Plan::Leave => {
                self.count(UpdateOutcome::Ignored);
                if let Err(error) = self.connector.bot.leave_chat(self.incoming.chat.id).await {
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
            Plan::Ask { text, picture } => {
                let Some(assistant) = self.connector.assistant.clone() else {
                    return Ok(Handled::Wait(Wait::ForConnector(WITHOUT_ASSISTANT)));
                };
                match self.rate() {
                    Rate::Within => self.ask(&*assistant, text, picture).await,
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
        self.lane.work.metrics.updates(outcome, 1);
    }

    fn finish(&mut self) {
        self.lane.change(Change::Finish {
            message: self.message.id,
        });
    }

    fn texts(&self) -> &'static Texts {
        texts(language(&self.incoming))
    }

    /// A further attempt at the same message does not count again.
    fn rate(&self) -> Rate {
        match &self.incoming.sender {
            Some(sender) if self.message.attempts == 0 => self.lane.work.rates.count(
                self.lane.key.bot,
                sender.id,
                self.incoming.date,
                self.connector.messages_per_minute,
            ),
            _ => Rate::Within,
        }
    }

    /// In a group the reply shows what it replies to.
    fn reply_to(&self) -> Option<i64> {
        self.incoming
            .message_id
            .filter(|_| !self.incoming.is_private())
    }

    async fn deny(&mut self) -> Worked<Handled> {
        self.count(UpdateOutcome::Denied);
        let (lane, connector) = (&mut *self.lane, self.connector);
        if let Some(record) = denied::record(connector, lane.key.bot, &self.incoming) {
            lane.change(Change::Denied(Box::new(record)));
        }
        match denied::notice(connector, &self.incoming) {
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
        let waiting = waiting(self.message.id, &parts, self.lane.work.clock.now());
        let is_notice = unless_noticed_since.is_some();
        self.lane.change(Change::Reply {
            message: self.message.id,
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
            began_at: self.incoming.date,
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
            key.bot, key.chat, key.topic, self.message.update_id
        )
    }

    async fn ask(
        &mut self,
        assistant: &dyn Assistant,
        text: String,
        picture: Option<File>,
    ) -> Worked<Handled> {
        let began = self.lane.session.as_ref().map(|s| s.began_at);
        let step = session::decide(self.connector.session.duration, began, self.incoming.date);
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
            pictures: match picture {
                Some(file) if assistant.takes_pictures() => ask::picture(self.connector, &file)
                    .await
                    .into_iter()
                    .collect(),
                _ => Vec::new(),
            },
            idempotency_key: format!("telegram-{}-{}", self.lane.key.bot, self.message.update_id),
        };
        let uid = &self.connector.connector.uid;
        let began = Instant::now();
        let answered = ask::ask(assistant, question, self.connector, self.lane.key).await;
        let took = began.elapsed();
        let work = &self.lane.work;
        match answered {
            Ok(answer) => {
                work.metrics
                    .assistant_answered(assistant.protocol(), "ok", took);
                work.observations.assistant_succeeded(uid);
                self.answered(assistant, step, text, answer).await
            }
            Err(broken) => {
                let result = broken.error.fault.label();
                work.metrics
                    .assistant_answered(assistant.protocol(), result, took);
                work.observations.assistant_failed(
                    uid,
                    broken.error.fault,
                    broken.error.detail.clone(),
                );
                self.failed(broken).await
            }
        }
    }

    async fn answered(
        &mut self,
        assistant: &dyn Assistant,
        step: SessionStep,
        asked: String,
        answer: Answer,
    ) -> Worked<Handled> {
        // An empty answer is an answer: asking again for ever would block what stands behind it.
        let empty = answer.text.trim().is_empty();
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
                    Turn {
                        role: Role::User,
                        text: asked.clone(),
                    },
                    Turn {
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
                state: answer.state,
                at: self.incoming.date,
            });
        }
        let mut parts = render::markdown(&answer.text, self.reply_to());
        if parts.is_empty() {
            parts = render::plain(&self.texts().empty_answer, self.reply_to());
        }
        self.reply(parts, None).await
    }

    async fn failed(&mut self, broken: BrokenOff) -> Worked<Handled> {
        let BrokenOff { error, text } = broken;
        let again = self.lane.work.limits.retry.after_assistant(
            &error,
            self.message.attempts,
            rand::random(),
        );
        self.count(UpdateOutcome::Failed);
        if let Some(wait) = again {
            tracing::info!(%error, attempts = self.message.attempts + 1, "the assistant is asked again later");
            self.lane.change(Change::Attempted {
                message: self.message.id,
            });
            return Ok(Handled::Wait(Wait::For(wait)));
        }
        let reason = format!("the assistant failed: {error}");
        dead_letter(self.lane, self.connector, &reason);
        let said = self.texts();
        let parts = if text.trim().is_empty() {
            render::plain(&said.assistant_unavailable, self.reply_to())
        } else {
            render::markdown(&format!("{text}\n\n{}", said.broken_off), self.reply_to())
        };
        self.apologize(parts, reason).await
    }

    /// The user is told, and the message becomes a dead letter.
    async fn apologize(&mut self, parts: Vec<Part>, reason: String) -> Worked<Handled> {
        let waiting = waiting(self.message.id, &parts, self.lane.work.clock.now());
        self.lane.change(Change::Reply {
            message: self.message.id,
            parts,
            unless_noticed_since: None,
        });
        self.lane.change(Change::Bury {
            message: self.message.id,
            reason,
        });
        self.lane.write().await?;
        match deliver::deliver(self.lane, self.connector, waiting).await? {
            Delivery::Ended { .. } => Ok(Handled::Done),
            Delivery::Wait(wait) => Ok(Handled::Wait(wait)),
        }
    }

    fn asker(&self) -> Asker {
        let sender = self.incoming.sender.as_ref();
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
