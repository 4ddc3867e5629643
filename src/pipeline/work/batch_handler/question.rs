//! What an assistant is asked about a turn: its words, its pictures, who asks, and as much of the session as has room.

use super::BatchHandler;
use crate::assistant::{
    Assistant, EarlierMessage, Picture, Question, QuestionContext, QuestionFile, Sender,
    text_with_read_along,
};
use crate::history::ChatMessage;
use crate::pipeline::decide::assistant_input::{self, AssistantInput};
use crate::pipeline::decide::attachment_check::{UnreadableAttachment, may_be_text};
use crate::pipeline::decide::estimate::estimate_question_tokens;
use crate::pipeline::decide::session::SessionStep;
use crate::pipeline::decide::{decision, history, user_decision};
use crate::pipeline::message::incoming_update::{Content, TelegramFile};
use crate::pipeline::work::{ask, attachments, documents};
use crate::store::Session;

/// What a turn asks, whatever of its session goes with it.
pub(super) struct QuestionInput {
    /// What the turn does to its session.
    pub(super) step: SessionStep,
    parts: Vec<InputPart>,
    pictures: Vec<Picture>,
    files: Vec<QuestionFile>,
    /// What was said in the group before.
    pub(super) read_along: Vec<EarlierMessage>,
}

/// What one message of the turn asks.
struct InputPart {
    /// Which of the batch's members it is.
    member: usize,
    /// What was heard or read in its file.
    file_text: Option<String>,
    /// Its picture does not go with the question.
    is_blind: bool,
}

impl BatchHandler<'_> {
    /// The session that the question goes on with.
    pub(super) fn current_session(&self, step: SessionStep) -> Option<&Session> {
        let session = self.lane.session.as_ref();
        session.filter(|_| step == SessionStep::Continue)
    }

    /// The history that is sure to go with a question: so many exchanges, or as many as there are, unless the question takes more than half of
    /// `maxTokens`. What is not in it is quoted rather than missing.
    fn history_to_refer_to(&self, step: SessionStep, exchanges: Option<usize>) -> &[ChatMessage] {
        let session = self.current_session(step);
        let history = session.map_or(&[][..], |session| &session.history);
        let exchanges = match (exchanges, self.connector.session.max_tokens) {
            (Some(exchanges), _) => exchanges,
            (None, Some(tokens)) => history::exchanges_within(history, u64::from(tokens / 2)),
            (None, None) => return history,
        };
        history::newest_exchanges(history, exchanges)
    }

    /// The words of the question. `exchanges`: with how many of history it is asked, where that is fewer than at first.
    pub(super) fn input_text(&self, input: &QuestionInput, exchanges: Option<usize>) -> String {
        let history = self.history_to_refer_to(input.step, exchanges);
        let context = decision::input_context(self.connector, history);
        let texts = input.parts.iter().map(|part| {
            let member = &self.batch.members[part.member];
            let incoming = &member.update.incoming;
            let text = match (
                &part.file_text,
                member.update.input(self.connector, history),
            ) {
                (Some(words), _) => assistant_input::with_file_text(incoming, context, words),
                // A question about a picture that is not there must say that there is one.
                (None, _) if part.is_blind => {
                    assistant_input::with_unsupported_picture(incoming, context)
                }
                (None, AssistantInput::Text { text, .. }) => text,
                (None, _) => String::new(),
            };
            (member.relation, text)
        });
        let texts: Vec<_> = texts.collect();
        let texts: Vec<_> = texts.iter().map(|(r, text)| (*r, text.as_str())).collect();
        assistant_input::join_texts(&texts)
    }

    /// The words of the question with what was said before it, as the history keeps them.
    pub(super) fn full_text(&self, input: &QuestionInput, exchanges: Option<usize>) -> String {
        let text = self.input_text(input, exchanges);
        text_with_read_along(&input.read_along, &text).into_owned()
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
                let text = self.full_text(input, None);
                let question =
                    estimate_question_tokens(&text, input.pictures.len() + input.files.len());
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
            text: self.input_text(input, (attempt > 1).then_some(exchanges)),
            pictures: input.pictures.clone(),
            files: input.files.clone(),
            wants_progress: self.connector.answers.progress,
            context: QuestionContext {
                read_along: input.read_along.clone(),
                ..self.question_context()
            },
            action: self
                .decided()
                .map(|decided| user_decision::action(&decided)),
            offers_buttons: self.connector.answers.buttons,
            idempotency_key: match attempt {
                1 => key,
                _ => format!("{key}-{attempt}"),
            },
        }
    }

    /// Fetches what the assistant is asked: the words of all messages, and their pictures as far as it takes any. An error is of the only
    /// message there is; where there are others, they are asked about.
    pub(super) async fn build_input(
        &self,
        supports_pictures: bool,
        step: SessionStep,
    ) -> Result<QuestionInput, UnreadableAttachment> {
        let history = self.history_to_refer_to(step, None);
        let mut parts = Vec::new();
        let mut pictures = Vec::new();
        let mut files: Vec<QuestionFile> = Vec::new();
        for (number, member) in self.batch.members.iter().enumerate() {
            let incoming = &member.update.incoming;
            let mut part = InputPart {
                member: number,
                file_text: None,
                is_blind: false,
            };
            match member.update.input(self.connector, history) {
                AssistantInput::Text { picture, .. } => {
                    let seen = match &picture {
                        Some(file) if supports_pictures => {
                            ask::download_picture(self.connector, file).await
                        }
                        _ => None,
                    };
                    let is_shown =
                        matches!(incoming.content, Content::Photo(_) | Content::Document(_));
                    part.is_blind = picture.is_some() && seen.is_none() && is_shown;
                    pictures.extend(seen);
                }
                input @ (AssistantInput::Transcribe(_) | AssistantInput::ReadFile(_)) => {
                    let words = match &input {
                        AssistantInput::ReadFile(file)
                            if self.connector.files.to_assistant && !may_be_text(file) =>
                        {
                            self.add_file(&mut files, file).await
                        }
                        _ => {
                            let (lane, connector) = (&*self.lane, self.connector);
                            attachments::attachment_text(lane, connector, incoming, &input).await
                        }
                    };
                    // A round video is heard, and seen as its still.
                    if let (Ok(_), true, Some(still)) = (
                        &words,
                        supports_pictures,
                        assistant_input::still_of(&incoming.content),
                    ) {
                        pictures.extend(ask::download_picture(self.connector, still).await);
                    }
                    part.file_text = Some(match words {
                        Ok(words) => words,
                        Err(unreadable) if self.batch.members.len() == 1 => {
                            return Err(unreadable);
                        }
                        Err(_) => attachments::UNREADABLE_PLACEHOLDER.to_owned(),
                    });
                }
                // Of an album, what cannot be seen is left out.
                AssistantInput::Empty | AssistantInput::Unsupported => continue,
            }
            parts.push(part);
        }
        Ok(QuestionInput {
            step,
            parts,
            pictures,
            files,
            read_along: Vec::new(),
        })
    }

    /// Fetches a file that goes with the question as it is, as far as there is room beside the others. What stands for it among the words.
    async fn add_file(
        &self,
        files: &mut Vec<QuestionFile>,
        file: &TelegramFile,
    ) -> Result<String, UnreadableAttachment> {
        let taken: u64 = files.iter().map(|f| f.bytes.len() as u64).sum();
        let room = self.connector.files.max_bytes.saturating_sub(taken);
        let file = documents::question_file(self.connector, file, room).await?;
        let words = format!("[file: {}]", file.name);
        files.push(file);
        Ok(words)
    }

    /// Names the question: the same however often it is asked, and another as soon as there is more or less in it.
    pub(super) fn idempotency_key(&self) -> String {
        let bot = self.lane.key.bot;
        if let Some(decided) = self.decided() {
            return format!("telegram-{bot}-decision-{}", decided.id);
        }
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
