//! What a turn changes in the session of its chat.

use super::BatchHandler;
use crate::assistant::Assistant;
use crate::history::{ChatMessage, Role};
use crate::pipeline::decide::history;
use crate::pipeline::decide::session::SessionStep;
use crate::pipeline::work::ask::AssistantAnswer;
use crate::store::{Change, Session, TokenCounts};

/// A question that was asked, as far as its session needs to know it.
pub(super) struct AskedQuestion {
    /// What it does to the session.
    pub(super) step: SessionStep,
    pub(super) text: String,
    /// Where it was too long with more: with how many exchanges of history it was asked in the end. Those before them go.
    pub(super) exchanges_kept: Option<usize>,
    /// Whoever else's words are in `text`, by their ids.
    pub(super) speakers: Vec<i64>,
}

impl BatchHandler<'_> {
    pub(super) fn start_session(&mut self) {
        let number = self.lane.session_count + 1;
        let began = Session {
            number,
            key: self.session_key(),
            began_at: self.lead().date,
            state: None,
            exchanges: 0,
            tokens: TokenCounts::default(),
            history: Vec::new(),
        };
        self.lane.add_change(Change::BeginSession {
            number,
            key: began.key.clone(),
            began_at: began.began_at,
        });
        self.lane.session_count = number;
        self.lane.session = Some(began);
    }

    /// Begins the session of a question that has its own. It begins before the question is asked, and not again when that is retried.
    pub(super) fn start_session_once(&mut self) {
        let key = self.session_key();
        if self.lane.session.as_ref().is_none_or(|s| s.key != key) {
            self.start_session();
        }
    }

    /// Named after the message that begins it: the same however often that message is tried.
    pub(super) fn session_key(&self) -> String {
        let key = self.lane.key;
        let first = match self.decided() {
            Some(decided) => decided.id.clone(),
            None => self.first().update_id.to_string(),
        };
        format!("telegram-{}-{}-{}-{first}", key.bot, key.chat, key.topic)
    }

    /// The exchange goes into the session, or into none.
    pub(super) fn record_exchange(
        &mut self,
        assistant: &dyn Assistant,
        asked: AskedQuestion,
        answer: &AssistantAnswer,
    ) {
        // An empty answer is an answer: asking again for ever would block what stands behind it.
        let answer_text = answer.recorded_text();
        let empty = answer_text.trim().is_empty();
        let at = self.lead().date;
        let message = self.first().id;
        match asked.step {
            SessionStep::Stateless => {
                if self.lane.session.take().is_some() {
                    self.lane.add_change(Change::EndSession);
                }
            }
            SessionStep::Begin => {
                self.end_read_along();
                self.start_session();
            }
            SessionStep::Continue => self.end_read_along(),
        }
        if let Some(session) = &mut self.lane.session {
            let kept = assistant.needs_history() && !empty;
            // Numbers of exchanges that are kept have no gaps: what goes is named by them.
            session.exchanges += i64::from(kept || !assistant.needs_history());
            let usage = answer.usage.unwrap_or_default();
            let tokens = session.tokens.plus(usage.input, usage.output);
            session.tokens = tokens;
            session.state = answer.state.clone().or(session.state.take());
            let most = history::max_exchanges(self.connector.session.max_messages) as usize;
            let (number, session_number) = (session.exchanges, session.number);
            if let Some(exchanges) = asked.exchanges_kept {
                let over = session.history.len().saturating_sub(2 * exchanges);
                session.history.drain(..over);
            }
            if kept {
                session.history.extend([
                    ChatMessage {
                        role: Role::User,
                        text: asked.text.clone(),
                    },
                    ChatMessage {
                        role: Role::Assistant,
                        text: answer_text.to_owned(),
                    },
                ]);
                let over = session.history.len().saturating_sub(2 * most);
                session.history.drain(..over);
            }
            let shortened = history::bound_bytes(&mut session.history);
            let oldest_kept = (shortened || asked.exchanges_kept.is_some())
                .then(|| number - i64::try_from(session.history.len() / 2).unwrap_or(0) + 1);
            self.lane.add_change(Change::Exchange {
                session: session_number,
                number,
                asked: kept.then_some(asked.text),
                answered: kept.then(|| answer_text.to_owned()),
                state: answer.state.clone(),
                tokens,
                at,
                oldest_kept,
                message,
                speakers: asked.speakers,
            });
        }
    }
}
