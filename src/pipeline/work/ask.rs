//! Asks the assistant: the picture fetched, the answer gathered to its end, and shown while it is written.

use parking_lot::Mutex;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use crate::assistant::{
    AnswerPart, Assistant, AssistantError, Citation, FailureKind, Picture, Question,
    QuestionProgress, TokenUsage, Truncation,
};
use crate::pipeline::message::incoming_update::TelegramFile;
use crate::pipeline::send::preview_sender;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::registry::ResolvedConnector;
use crate::store::LaneKey;

/// No assistant may take longer, whatever its own limit is (API.md: `timeoutSeconds` is at most 600).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(630);
/// The biggest picture that goes with a question.
const MAX_PICTURE_BYTES: usize = 10 << 20;
/// The longest answer that is delivered, in bytes; what a model writes beyond it is cut off.
const MAX_ANSWER_BYTES: usize = 128 << 10;

/// The most sources that are kept of one answer.
const MAX_CITATIONS: usize = 50;

/// The biggest state that is kept of a session, in bytes (API.md).
pub(crate) const MAX_STATE_BYTES: usize = 64 << 10;

/// How an answer ended.
#[derive(Debug, Default)]
pub(crate) enum AnswerEnd {
    /// The assistant said all that it had to say.
    #[default]
    Complete,
    /// The assistant ended it before it was whole.
    Truncated(Truncation),
    /// It was longer than what is delivered of one ([`MAX_ANSWER_BYTES`]).
    Cut,
    /// It broke off, for this reason.
    Broken(AssistantError),
}

impl AnswerEnd {
    /// The end in snake case: the metric label `result`.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Complete => "ok",
            Self::Truncated(Truncation::Length) => "truncated_length",
            Self::Truncated(Truncation::Filter) => "truncated_filter",
            Self::Cut => "cut",
            Self::Broken(_) => "broken",
        }
    }
}

/// What came of an answer. Without text only if it ended [`AnswerEnd::Complete`].
#[derive(Debug, Default)]
pub(crate) struct AssistantAnswer {
    /// The text, as far as it came.
    pub(crate) text: String,
    /// Whether that is all.
    pub(crate) end: AnswerEnd,
    /// The sources that it names, each once.
    pub(crate) citations: Vec<Citation>,
    /// What it cost, where the assistant says so.
    pub(crate) usage: Option<TokenUsage>,
    /// What the assistant wants back with the next question.
    pub(crate) state: Option<String>,
    /// It wanted so many bytes back, which is more than is kept.
    pub(crate) oversized_state: Option<usize>,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum AskOutcome<I> {
    /// An answer, whole or not.
    Answered(AssistantAnswer),
    /// The assistant failed before it said anything.
    Failed(AssistantError),
    /// Somebody ended it; with what had come by then.
    Interrupted(I, AssistantAnswer),
}

impl AssistantAnswer {
    fn add_citation(&mut self, citation: Citation) {
        let known = self.citations.iter().any(|known| known.url == citation.url);
        if !known && self.citations.len() < MAX_CITATIONS {
            self.citations.push(citation);
        }
    }

    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }
}

impl<I> AskOutcome<I> {
    /// In snake case: the metric label `result`, and that of traces.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Answered(answer) if answer.is_empty() => "empty",
            Self::Answered(answer) => answer.end.label(),
            Self::Failed(error) => error.kind.label(),
            Self::Interrupted(..) => "stopped",
        }
    }
}

/// For whom the assistant is asked, and where.
pub(crate) struct AskContext<'a> {
    pub(crate) connector: &'a ResolvedConnector,
    pub(crate) lane: LaneKey,
    /// Whether the answer is shown while it is written.
    pub(crate) previews: bool,
}

/// Asks; in the chat "typing…" shows meanwhile, and then what has come of the answer. The assistant is no longer asked once
/// `interrupted` is.
pub(crate) async fn ask<I>(
    pipeline: &PipelineState,
    assistant: &dyn Assistant,
    question: Question,
    context: &AskContext<'_>,
    interrupted: impl Future<Output = I>,
) -> AskOutcome<I> {
    let (text_sender, shown) = watch::channel(String::new());
    let so_far = shown.clone();
    let session_state = Mutex::new(None);
    let span = tracing::debug_span!(
        "assistant",
        otel.kind = "client",
        protocol = assistant.protocol(),
        result = tracing::field::Empty
    );
    let asking = async {
        tokio::select! {
            answer = collect_answer(assistant, question, text_sender, &session_state).instrument(span.clone()) => match answer {
                Ok(answer) => AskOutcome::Answered(answer),
                Err(error) => AskOutcome::Failed(error),
            },
            interruption = interrupted => AskOutcome::Interrupted(interruption, AssistantAnswer {
                text: so_far.borrow().clone(),
                state: session_state.lock().take(),
                ..AssistantAnswer::default()
            }),
        }
    };
    let (asked, ()) = tokio::join!(asking, async {
        if context.previews {
            preview_sender::show_preview(pipeline, &context.connector.bot, context.lane, shown)
                .await;
        }
    });
    span.record("result", asked.label());
    asked
}

/// Gathers the answer; `text_sender` grows with it, and goes when it is complete. `session_state` is what the assistant wants back, should the
/// answer be ended before. An error is that of an answer without any text.
async fn collect_answer(
    assistant: &dyn Assistant,
    question: Question,
    text_sender: watch::Sender<String>,
    session_state: &Mutex<Option<String>>,
) -> Result<AssistantAnswer, AssistantError> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut answer = AssistantAnswer::default();
    let reading = read_answer(
        assistant,
        question,
        &text_sender,
        session_state,
        &mut answer,
    );
    let read = tokio::time::timeout_at(deadline, reading)
        .await
        .unwrap_or_else(|_| Err(timeout_error()));
    match read {
        Err(error) if answer.is_empty() => return Err(error),
        Err(error) => {
            answer.end = AnswerEnd::Broken(error.at_progress(QuestionProgress::Begun));
        }
        Ok(()) => {}
    }
    cut_long_text(&mut answer);
    Ok(answer)
}

/// Reads the answer's parts to its end, its error, or the length beyond which nothing is delivered.
async fn read_answer(
    assistant: &dyn Assistant,
    question: Question,
    text_sender: &watch::Sender<String>,
    session_state: &Mutex<Option<String>>,
    answer: &mut AssistantAnswer,
) -> Result<(), AssistantError> {
    let mut parts = assistant.ask(question).await?;
    // How much of the text the reader of `text_sender` has.
    let mut sent_length = 0;
    while answer.text.len() <= MAX_ANSWER_BYTES {
        let part = match parts.next().now_or_never() {
            Some(part) => part,
            None => {
                // What came at once is shown at once.
                if sent_length < answer.text.len() {
                    text_sender.send_modify(|text| text.push_str(&answer.text[sent_length..]));
                    sent_length = answer.text.len();
                }
                parts.next().await
            }
        };
        let Some(part) = part else {
            return Ok(());
        };
        match part? {
            AnswerPart::Text(text) => answer.text.push_str(&text),
            AnswerPart::Rewrite(text) => {
                text_sender.send_replace(text.clone());
                sent_length = text.len();
                answer.text = text;
            }
            AnswerPart::SessionState(state) if state.len() > MAX_STATE_BYTES => {
                answer.oversized_state = Some(state.len());
            }
            AnswerPart::SessionState(state) => {
                *session_state.lock() = Some(state.clone());
                answer.state = Some(state);
            }
            AnswerPart::Citation(citation) => answer.add_citation(citation),
            AnswerPart::Usage(usage) => answer.usage = Some(usage),
            AnswerPart::Truncated(truncation) => answer.end = AnswerEnd::Truncated(truncation),
        }
    }
    Ok(())
}

fn cut_long_text(answer: &mut AssistantAnswer) {
    if answer.text.len() > MAX_ANSWER_BYTES {
        let cut = answer.text.floor_char_boundary(MAX_ANSWER_BYTES);
        answer.text.truncate(cut);
        answer.end = AnswerEnd::Cut;
    }
}

fn timeout_error() -> AssistantError {
    AssistantError {
        kind: FailureKind::TimedOut,
        progress: QuestionProgress::Uncertain,
        retry_after: None,
        detail: format!("no whole answer within {} s", ANSWER_TIMEOUT.as_secs()),
    }
}

/// Fetches a picture from Telegram; `None` where that fails: the question goes without it.
pub(crate) async fn download_picture(
    connector: &ResolvedConnector,
    file: &TelegramFile,
) -> Option<Picture> {
    match connector.bot.download(&file.id, MAX_PICTURE_BYTES).await {
        Ok(bytes) => Some(Picture {
            media_type: file
                .media_type
                .clone()
                .unwrap_or_else(|| "image/jpeg".into()),
            bytes,
        }),
        Err(error) => {
            tracing::warn!(%error, "a picture could not be fetched; the question goes without it");
            None
        }
    }
}
