//! A turn that goes to the assistant: the question is asked, with less history where it is too long, and what becomes of it is handled.

use std::sync::Arc;
use std::time::Instant;

use super::question::QuestionInput;
use super::session::AskedQuestion;
use super::{BatchHandler, HandleOutcome};
use crate::assistant::{Assistant, AssistantFault, FailureKind, Question, Truncation};
use crate::pipeline::claim::lane_worker::LaneResult;
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::decide::interruption::Interruption;
use crate::pipeline::decide::{history, session};
use crate::pipeline::send::deliver::{self, DeliveryProgress, report_dead_letter};
use crate::pipeline::send::{citations, localize, receipt, render};
use crate::pipeline::state::running_answers::RunningAnswer;
use crate::pipeline::work::ask::{self, AnswerEnd, AskContext, AskOutcome, AssistantAnswer};
use crate::pipeline::work::grants::GrantLookup;
use crate::pipeline::work::inbox_watch;
use crate::store::WaitingMessage;
use crate::telemetry::outcomes::UpdateOutcome;

/// Stands under an answer that was stopped, for the user and in the history; the same in every language.
const ENDED: &str = "⏹";

impl BatchHandler<'_> {
    pub(super) async fn ask(
        &mut self,
        assistant: &Arc<dyn Assistant>,
    ) -> LaneResult<HandleOutcome> {
        let pipeline = self.lane.pipeline.clone();
        let ids: Vec<i64> = self.messages.iter().map(|m| m.id).collect();
        let date = self.lead().date;
        let began = self.lane.session.as_ref().map(|s| s.began_at);
        let step = session::decide(self.connector.session.duration, began, date);
        if self.first().attempts == 0 && self.crashes() == 0 {
            let (chat, message) = (self.lane.key.chat, self.lead().message_id);
            receipt::set_receipt(&pipeline, self.connector, chat, message);
        }
        let (read_along, said_by) = self.read_along().await?;
        let grants = GrantLookup {
            pipeline: &pipeline,
            connector: self.lane.claim.connector,
        };
        let mut running = pipeline.running_answers.register(self.lane.claim.lane);
        let asked = tokio::select! {
            asked = self.build_input(assistant.supports_pictures(), step) => asked,
            // While a voice message is written down, say.
            interruption = inbox_watch::wait_for_interruption(&mut running, self.connector, grants, &ids) => return self.handle_interruption(interruption, "").await,
        };
        let input = match asked {
            Ok(mut input) => {
                input.read_along = read_along;
                input
            }
            Err(unreadable) => {
                return self.reply_with(&CannedReply::Unreadable(unreadable)).await;
            }
        };
        if let Some(reached) = self.count_question().await? {
            // Others asked the last questions of the day meanwhile.
            return self.refuse_for_today(reached).await;
        }
        let (outcome, exchanges_kept) = self
            .ask_within_context(&**assistant, &input, &mut running, &ids)
            .await;
        drop(running);
        let asked = AskedQuestion {
            step,
            text: self.full_text(&input, exchanges_kept),
            exchanges_kept,
            speakers: self.speakers(said_by),
        };
        self.observe_key(assistant, &outcome).await;
        self.count_tokens(&outcome);
        match outcome {
            AskOutcome::Answered(answer) => self.handle_answer(&**assistant, asked, answer).await,
            AskOutcome::Failed(error) => self.handle_failure(assistant, step, error).await,
            AskOutcome::Interrupted(interruption, mut answer) => {
                if !answer.is_empty() {
                    add_mark(&mut answer.text, ENDED);
                    self.record_exchange(&**assistant, asked, &answer);
                }
                self.handle_interruption(interruption, &answer.text).await
            }
        }
    }

    /// Asks with the history that there is, and at once with less of it where the question is too long. With how many exchanges the last attempt
    /// was made, if with fewer than the first.
    async fn ask_within_context(
        &self,
        assistant: &dyn Assistant,
        input: &QuestionInput,
        running: &mut RunningAnswer<'_>,
        ids: &[i64],
    ) -> (AskOutcome<Interruption>, Option<usize>) {
        let mut exchanges = self.exchanges_to_send(assistant, input);
        let mut kept = None;
        let mut attempt = 1;
        loop {
            let question = self.question(input, exchanges, attempt);
            let grants = GrantLookup::of(self.lane);
            let interrupted =
                inbox_watch::wait_for_interruption(running, self.connector, grants, ids);
            let outcome = self.exchange(assistant, question, interrupted).await;
            let fewer = match &outcome {
                AskOutcome::Failed(error) if error.is_too_long() => {
                    history::fewer_exchanges(exchanges, attempt)
                }
                _ => None,
            };
            let Some(fewer) = fewer else {
                return (outcome, kept);
            };
            tracing::info!(
                exchanges,
                fewer,
                "the question is too long for the assistant; it is asked again with less history"
            );
            exchanges = fewer;
            kept = Some(fewer);
            attempt += 1;
        }
    }

    /// Asks once.
    async fn exchange(
        &self,
        assistant: &dyn Assistant,
        question: Question,
        interrupted: impl Future<Output = Interruption>,
    ) -> AskOutcome<Interruption> {
        let pipeline = &self.lane.pipeline;
        let context = AskContext {
            connector: self.connector,
            lane: self.lane.key,
            previews: self.crashes() == 0,
        };
        let began = Instant::now();
        let outcome = ask::ask(pipeline, assistant, question, &context, interrupted).await;
        pipeline.metrics.record_assistant_exchange(
            assistant.protocol(),
            outcome.label(),
            began.elapsed(),
        );
        outcome
    }

    /// What the assistant said is recorded and delivered; what is not whole is marked, for the user and in the history.
    async fn handle_answer(
        &mut self,
        assistant: &dyn Assistant,
        asked: AskedQuestion,
        mut answer: AssistantAnswer,
    ) -> LaneResult<HandleOutcome> {
        self.observe_answer(&answer);
        if let Some(mark) = self.end_mark(&answer.end)
            && !answer.is_empty()
        {
            add_mark(&mut answer.text, mark);
        }
        self.record_exchange(assistant, asked, &answer);
        let mut parts = self.answer_parts_with_files(&answer).await;
        let spoken_text = self.text_to_speak(&answer, &parts);
        citations::append_sources(
            &mut parts,
            &answer.text,
            &answer.citations,
            self.texts(),
            render::MAX_ANSWER_PARTS,
        );
        if matches!(answer.end, AnswerEnd::Complete) {
            self.add_question(&mut parts, &answer);
        }
        if let Some(text) = spoken_text {
            Box::pin(self.add_speech(&mut parts, &text)).await;
        }
        if let Some(expired) = self.expiry_part() {
            parts.insert(0, expired);
        }
        if parts.is_empty() {
            parts = self.canned_parts(&reply_to_no_text(&answer.end));
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
            (AnswerEnd::Truncated(Truncation::Filter), None) => {
                observations.record_assistant_success(uid);
            }
            (end, None) if answer.is_empty() && !answer.asks() => {
                let detail = match end {
                    AnswerEnd::Truncated(_) => {
                        "the answer reached its limit of length before it said anything; raise that limit at the assistant"
                    }
                    _ => "the answer was empty; look into the assistant's log",
                };
                tracing::warn!(connector = %self.connector.connector_ref, detail, "the assistant said nothing");
                let fault = AssistantFault::Failing;
                observations.record_assistant_failure(uid, fault, detail.to_owned());
            }
            (_, None) => observations.record_assistant_success(uid),
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

    /// What was shown stays; a `/stop` is confirmed and settled together with it. A `/new` comes next by itself.
    async fn handle_interruption(
        &mut self,
        interruption: Interruption,
        shown: &str,
    ) -> LaneResult<HandleOutcome> {
        let mut replies = Vec::new();
        if !shown.trim().is_empty() {
            let parts = self.answer_parts(shown).await;
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
}

/// What is said in the place of an answer without text.
fn reply_to_no_text(end: &AnswerEnd) -> CannedReply {
    match end {
        AnswerEnd::Truncated(Truncation::Filter) => {
            CannedReply::AssistantFailed(FailureKind::Filtered)
        }
        AnswerEnd::Truncated(Truncation::Length) => {
            CannedReply::AssistantFailed(FailureKind::TooLarge)
        }
        AnswerEnd::Complete | AnswerEnd::Cut | AnswerEnd::Broken(_) => CannedReply::EmptyAnswer,
    }
}

/// Puts below a text why it is no whole answer.
fn add_mark(text: &mut String, mark: &str) {
    text.truncate(text.trim_end().len());
    text.push_str("\n\n");
    text.push_str(mark);
}
