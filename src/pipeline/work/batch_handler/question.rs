//! What an assistant is asked about a turn: its words, its pictures, who asks, and as much of the session as has room.

use super::BatchHandler;
use crate::assistant::{Assistant, Picture, Question, Sender};
use crate::history::ChatMessage;
use crate::pipeline::decide::assistant_input::{self, AssistantInput, InputContext};
use crate::pipeline::decide::attachment_check::UnreadableAttachment;
use crate::pipeline::decide::estimate::estimate_question_tokens;
use crate::pipeline::decide::session::SessionStep;
use crate::pipeline::decide::{decision, history};
use crate::pipeline::message::incoming_update::Content;
use crate::pipeline::work::{ask, attachments};
use crate::store::Session;

/// What a turn asks, whatever of its session goes with it.
pub(super) struct QuestionInput {
    /// What the turn does to its session.
    pub(super) step: SessionStep,
    pub(super) text: String,
    pub(super) pictures: Vec<Picture>,
}

impl BatchHandler<'_> {
    /// The session that the question goes on with.
    pub(super) fn current_session(&self, step: SessionStep) -> Option<&Session> {
        let session = self.lane.session.as_ref();
        session.filter(|_| step == SessionStep::Continue)
    }

    /// The history that goes with a question that takes no more than half of `maxTokens`: what is not in it is quoted rather than missing.
    fn history_sure_to_be_sent(&self, step: SessionStep) -> &[ChatMessage] {
        let session = self.current_session(step);
        let history = session.map_or(&[][..], |session| &session.history);
        match self.connector.session.max_tokens {
            None => history,
            Some(tokens) => {
                let exchanges = history::exchanges_within(history, u64::from(tokens / 2));
                history::newest_exchanges(history, exchanges)
            }
        }
    }

    /// How many exchanges of the session's history go with the question: as many as `maxTokens` has room for beside it.
    pub(super) fn exchanges_to_send(
        &self,
        assistant: &dyn Assistant,
        input: &QuestionInput,
    ) -> usize {
        let session = self.current_session(input.step);
        let Some(session) = session.filter(|_| assistant.needs_history()) else {
            return 0;
        };
        match self.connector.session.max_tokens {
            None => session.history.len() / 2,
            Some(tokens) => {
                let question = estimate_question_tokens(&input.text, input.pictures.len());
                let room = u64::from(tokens).saturating_sub(question);
                history::exchanges_within(&session.history, room)
            }
        }
    }

    /// The question with so many exchanges of history. Each `attempt` (from 1) is another request.
    pub(super) fn question(
        &self,
        input: &QuestionInput,
        exchanges: usize,
        attempt: u32,
    ) -> Question {
        let session = self.current_session(input.step);
        let history = session.map_or(&[][..], |s| &s.history);
        let key = self.idempotency_key();
        Question {
            sender: self.sender(),
            connector: self.connector.connector_ref.to_string().into(),
            session_id: session.map_or_else(|| self.session_key(), |s| s.key.clone()),
            session_state: session.and_then(|s| s.state.clone()),
            history: history::newest_exchanges(history, exchanges).to_vec(),
            text: input.text.clone(),
            pictures: input.pictures.clone(),
            idempotency_key: match attempt {
                1 => key,
                _ => format!("{key}-{attempt}"),
            },
        }
    }

    /// What the assistant is asked: the words of all messages, and their pictures as far as it takes any. An error is of the only
    /// message there is; where there are others, they are asked about.
    pub(super) async fn build_input(
        &self,
        supports_pictures: bool,
        step: SessionStep,
    ) -> Result<QuestionInput, UnreadableAttachment> {
        let history = self.history_sure_to_be_sent(step);
        let context = InputContext {
            bot: decision::bot_identity(self.connector),
            history,
        };
        let mut texts = Vec::new();
        let mut pictures = Vec::new();
        for member in &self.batch.members {
            let (text, picture) = match member.update.input(self.connector, history) {
                AssistantInput::Text { text, picture } => (text, picture),
                input @ (AssistantInput::Transcribe(_) | AssistantInput::ReadFile(_)) => {
                    let (lane, incoming) = (&*self.lane, &member.update.incoming);
                    let words =
                        match attachments::attachment_text(lane, self.connector, incoming, &input)
                            .await
                        {
                            Ok(words) => words,
                            Err(unreadable) if self.batch.members.len() == 1 => {
                                return Err(unreadable);
                            }
                            Err(_) => attachments::UNREADABLE_PLACEHOLDER.to_owned(),
                        };
                    (
                        assistant_input::with_file_text(incoming, context, &words),
                        None,
                    )
                }
                // Of an album, what cannot be seen is left out.
                AssistantInput::Empty | AssistantInput::Unsupported => continue,
            };
            let incoming = &member.update.incoming;
            let seen = match &picture {
                Some(file) if supports_pictures => {
                    ask::download_picture(self.connector, file).await
                }
                _ => None,
            };
            let text = match (&picture, &seen, &incoming.content) {
                // A question about a picture that is not there must say that there is one.
                (Some(_), None, Content::Photo(_) | Content::Document(_)) => {
                    assistant_input::with_unsupported_picture(incoming, context)
                }
                _ => text,
            };
            texts.push((member.relation, text));
            pictures.extend(seen);
        }
        let texts: Vec<_> = texts
            .iter()
            .map(|(relation, t)| (*relation, t.as_str()))
            .collect();
        Ok(QuestionInput {
            step,
            text: assistant_input::join_texts(&texts),
            pictures,
        })
    }

    /// Names the question: the same however often it is asked, and another as soon as there is more or less in it.
    fn idempotency_key(&self) -> String {
        let bot = self.lane.key.bot;
        let ids = self.messages.iter().map(|m| m.update_id.to_string());
        format!("telegram-{bot}-{}", ids.collect::<Vec<_>>().join("-"))
    }

    fn sender(&self) -> Sender {
        let sender = self.lead().sender.as_ref();
        Sender {
            id: sender.map_or(0, |s| s.id),
            name: sender.map(|s| s.name.clone()).unwrap_or_default(),
            username: sender.and_then(|s| s.username.clone()),
            language_code: sender.and_then(|s| s.language_code.clone()),
        }
    }
}
