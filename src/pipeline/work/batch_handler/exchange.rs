//! A turn that goes to the assistant: the question, and what becomes of it when it is answered, broken off or interrupted.

use std::time::Instant;

use super::{BatchHandler, HandleOutcome};
use crate::assistant::{
    Assistant, AssistantError, AssistantFault, FailureKind, Picture, Question, Sender, Truncation,
};
use crate::pipeline::claim::lane_worker::{LaneResult, LaneWait};
use crate::pipeline::decide::assistant_input::{self, AssistantInput, InputContext};
use crate::pipeline::decide::attachment_check::UnreadableAttachment;
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::decide::decision;
use crate::pipeline::decide::interruption::Interruption;
use crate::pipeline::decide::session::{self, SessionStep};
use crate::pipeline::message::incoming_update::Content;
use crate::pipeline::send::deliver::{self, DeliveryProgress, report_dead_letter};
use crate::pipeline::send::{citations, localize, render};
use crate::pipeline::work::ask::{self, AnswerEnd, AskContext, AskOutcome, AssistantAnswer};
use crate::pipeline::work::attachments;
use crate::pipeline::work::inbox_watch;
use crate::store::{Change, ReplyPart, Session, WaitingMessage};
use crate::telemetry::metrics::UpdateOutcome;

/// Stands under an answer that was stopped; the same in every language.
const ENDED: &str = "⏹";

impl BatchHandler<'_> {
    pub(super) async fn ask(&mut self, assistant: &dyn Assistant) -> LaneResult<HandleOutcome> {
        let pipeline = self.lane.pipeline.clone();
        let ids: Vec<i64> = self.messages.iter().map(|m| m.id).collect();
        let date = self.lead().date;
        let began = self.lane.session.as_ref().map(|s| s.began_at);
        let step = session::decide(self.connector.session.duration, began, date);
        let mut running = pipeline.running_answers.register(self.lane.claim.lane);
        let asked = tokio::select! {
            asked = self.build_input(assistant.supports_pictures(), step) => asked,
            // While a voice message is written down, say.
            interruption = inbox_watch::wait_for_interruption(&mut running, self.connector, &ids) => return self.handle_interruption(interruption, "").await,
        };
        let (text, pictures) = match asked {
            Ok(question) => question,
            Err(unreadable) => {
                return self.reply_with(&CannedReply::Unreadable(unreadable)).await;
            }
        };
        let current = self.current_session(step);
        let question = Question {
            sender: self.sender(),
            connector: self.connector.connector_ref.to_string().into(),
            session_id: current.map_or_else(|| self.session_key(), |s| s.key.clone()),
            session_state: current.and_then(|s| s.state.clone()),
            history: current.map(|s| s.history.clone()).unwrap_or_default(),
            text: text.clone(),
            pictures,
            idempotency_key: self.idempotency_key(),
        };
        let uid = &self.connector.connector_ref.uid;
        let interrupted = inbox_watch::wait_for_interruption(&mut running, self.connector, &ids);
        let began = Instant::now();
        let (connector, key) = (self.connector, self.lane.key);
        let previews = self.crashes() == 0;
        let asking = AskContext {
            connector,
            lane: key,
            previews,
        };
        let answered = ask::ask(&pipeline, assistant, question, &asking, interrupted).await;
        drop(running);
        let (protocol, result) = (assistant.protocol(), answered.label());
        pipeline
            .metrics
            .record_assistant_exchange(protocol, result, began.elapsed());
        match answered {
            AskOutcome::Answered(answer) => self.handle_answer(assistant, step, text, answer).await,
            AskOutcome::Failed(error) => {
                pipeline.observations.record_assistant_failure(
                    uid,
                    error.fault(),
                    error.detail.clone(),
                );
                self.handle_failure(error).await
            }
            AskOutcome::Interrupted(interruption, answer) => {
                if !answer.is_empty() {
                    self.record_exchange(assistant, step, text, &answer);
                }
                self.handle_interruption(interruption, &answer.text).await
            }
        }
    }

    /// What the assistant said is recorded and delivered; what is not whole is marked, for the user and in the history.
    async fn handle_answer(
        &mut self,
        assistant: &dyn Assistant,
        step: SessionStep,
        asked: String,
        mut answer: AssistantAnswer,
    ) -> LaneResult<HandleOutcome> {
        self.observe_answer(&answer);
        if let Some(mark) = self.end_mark(&answer.end) {
            answer.text = format!("{}\n\n{mark}", answer.text.trim_end());
        }
        self.record_exchange(assistant, step, asked, &answer);
        let mut parts = self.answer_parts(&answer.text).await;
        citations::append_sources(
            &mut parts,
            &answer.text,
            &answer.citations,
            self.texts(),
            render::MAX_ANSWER_PARTS,
        );
        if parts.is_empty() {
            parts = self.canned_parts(&CannedReply::EmptyAnswer);
        }
        match answer.end {
            AnswerEnd::Broken(error) => {
                self.count(UpdateOutcome::Failed);
                let reason = format!("the answer broke off: {error}");
                report_dead_letter(self.lane, self.connector, &reason);
                self.reply_and_dead_letter(parts, reason).await
            }
            AnswerEnd::Complete | AnswerEnd::Truncated(_) | AnswerEnd::Cut => {
                self.store_and_send_reply(parts, None).await
            }
        }
    }

    /// Tells the controller how the exchange went.
    fn observe_answer(&self, answer: &AssistantAnswer) {
        let observations = &self.lane.pipeline.observations;
        let uid = &self.connector.connector_ref.uid;
        match (&answer.end, answer.oversized_state) {
            (AnswerEnd::Broken(error), _) => {
                observations.record_assistant_failure(uid, error.fault(), error.detail.clone());
            }
            (_, Some(bytes)) => observations.record_assistant_failure(
                uid,
                AssistantFault::Failing,
                format!(
                    "the answer's state of {bytes} bytes is not kept: at most {} are",
                    ask::MAX_STATE_BYTES
                ),
            ),
            _ if answer.is_empty() => {
                tracing::warn!(connector = %self.connector.connector_ref, "the assistant's answer was empty");
                observations.record_assistant_failure(
                    uid,
                    AssistantFault::Failing,
                    "the answer was empty; look into the assistant's log".to_owned(),
                );
            }
            _ => observations.record_assistant_success(uid),
        }
    }

    /// What stands under an answer that is not whole, in the user's language.
    fn end_mark(&self, end: &AnswerEnd) -> Option<&'static str> {
        let texts = self.texts();
        match end {
            AnswerEnd::Complete => None,
            AnswerEnd::Truncated(Truncation::Length) => Some(&texts.truncated_length),
            AnswerEnd::Truncated(Truncation::Filter) => Some(&texts.truncated_filter),
            AnswerEnd::Cut => Some(&texts.answer_cut),
            AnswerEnd::Broken(_) => Some(&texts.broken_off),
        }
    }

    /// The session that the question goes on with.
    fn current_session(&self, step: SessionStep) -> Option<&Session> {
        let session = self.lane.session.as_ref();
        session.filter(|_| step == SessionStep::Continue)
    }

    /// What the assistant is asked: the words of all messages, and their pictures as far as it takes any. An error is of the only
    /// message there is; where there are others, they are asked about.
    async fn build_input(
        &self,
        supports_pictures: bool,
        step: SessionStep,
    ) -> Result<(String, Vec<Picture>), UnreadableAttachment> {
        let session = self.current_session(step);
        let history = session.map_or(&[][..], |session| &session.history);
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
        Ok((assistant_input::join_texts(&texts), pictures))
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

    /// What was shown stays, marked as ended; a `/stop` is confirmed and settled together with it. A `/new` comes next by itself.
    async fn handle_interruption(
        &mut self,
        interruption: Interruption,
        shown: &str,
    ) -> LaneResult<HandleOutcome> {
        let mut replies = Vec::new();
        if !shown.trim().is_empty() {
            let text = format!("{}\n\n{ENDED}", shown.trim_end());
            let parts = self.answer_parts(&text).await;
            replies.push((self.first().id, parts));
        }
        if let Interruption::Stop {
            command,
            id,
            stopped_with,
        } = interruption
        {
            let reply_to = command.message_id.filter(|_| !command.is_private());
            let text = localize::localize(&CannedReply::Stopped, localize::texts_of(&command));
            replies.push((id, render::plain_parts(&text, reply_to)));
            self.messages.extend(
                stopped_with
                    .into_iter()
                    .chain([id])
                    .map(|id| WaitingMessage {
                        id,
                        ..WaitingMessage::default()
                    }),
            );
        }
        let mut parts = Vec::new();
        for (message, reply) in replies {
            parts.extend(self.add_reply(message, reply, None));
        }
        self.finish_messages();
        self.lane.write_changes().await?;
        match deliver::deliver_parts(self.lane, self.connector, parts).await? {
            DeliveryProgress::Finished { .. } => {
                self.count(UpdateOutcome::Answered);
                Ok(HandleOutcome::Done)
            }
            DeliveryProgress::Wait(wait) => Ok(HandleOutcome::Wait(wait)),
        }
    }

    /// The assistant said nothing: the question is asked again later, or given up.
    async fn handle_failure(&mut self, error: AssistantError) -> LaneResult<HandleOutcome> {
        let attempts = self.first().attempts;
        let retry = self.lane.pipeline.limits.retry;
        let again = retry.after_assistant_error(&error, attempts, rand::random());
        self.count(UpdateOutcome::Failed);
        if let Some(wait) = again {
            tracing::info!(%error, attempts = attempts + 1, "the assistant is asked again later");
            for message in &self.messages {
                let message = message.id;
                self.lane.add_change(Change::Attempted { message });
            }
            return Ok(HandleOutcome::Wait(LaneWait::AssistantRetry(wait)));
        }
        let reason = format!("the assistant failed: {error}");
        report_dead_letter(self.lane, self.connector, &reason);
        let reply = match error.kind {
            FailureKind::TimedOut => CannedReply::TimedOut,
            _ => CannedReply::AssistantUnavailable,
        };
        let parts = self.canned_parts(&reply);
        self.reply_and_dead_letter(parts, reason).await
    }

    /// The user is told, and the message becomes a dead letter.
    pub(super) async fn reply_and_dead_letter(
        &mut self,
        parts: Vec<ReplyPart>,
        reason: String,
    ) -> LaneResult<HandleOutcome> {
        let waiting = self.add_reply(self.first().id, parts, None);
        for message in &self.messages {
            self.lane.add_change(Change::DeadLetter {
                message: message.id,
                reason: reason.clone(),
            });
        }
        self.lane.write_changes().await?;
        match deliver::deliver_parts(self.lane, self.connector, waiting).await? {
            DeliveryProgress::Finished { .. } => Ok(HandleOutcome::Done),
            DeliveryProgress::Wait(wait) => Ok(HandleOutcome::Wait(wait)),
        }
    }
}
