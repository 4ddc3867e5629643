//! Asks the assistant: the picture fetched, the answer gathered to its end, and shown while it is written.

use parking_lot::Mutex;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use crate::assistant::AssistantFault;
use crate::assistant::{AnswerPart, Assistant, AssistantError, Picture, Question};
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

/// The biggest state that is kept of a session, in bytes (API.md).
pub(crate) const MAX_STATE_BYTES: usize = 64 << 10;

/// An answer to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AssistantAnswer {
    /// The text, as far as it came.
    pub(crate) text: String,
    /// What the assistant wants back with the next question.
    pub(crate) state: Option<String>,
    /// It wanted so many bytes back, which is more than is kept.
    pub(crate) oversized_state: Option<usize>,
}

/// An answer that did not come to its end.
#[derive(Debug)]
pub(crate) struct FailedAnswer {
    /// Why.
    pub(crate) error: AssistantError,
    /// What had come.
    pub(crate) text: String,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum AskOutcome<I> {
    /// A whole answer.
    Answered(AssistantAnswer),
    /// The assistant failed.
    Failed(FailedAnswer),
    /// Somebody ended it; with what had come by then.
    Interrupted(I, AssistantAnswer),
}

impl<I> AskOutcome<I> {
    /// In one word, for traces.
    fn label(&self) -> &'static str {
        match self {
            Self::Answered(_) => "ok",
            Self::Failed(failed) => failed.error.fault.label(),
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
                Err(failed) => AskOutcome::Failed(failed),
            },
            interruption = interrupted => AskOutcome::Interrupted(interruption, AssistantAnswer {
                text: so_far.borrow().clone(),
                state: session_state.lock().take(),
                oversized_state: None,
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
/// answer be ended before.
async fn collect_answer(
    assistant: &dyn Assistant,
    question: Question,
    text_sender: watch::Sender<String>,
    session_state: &Mutex<Option<String>>,
) -> Result<AssistantAnswer, FailedAnswer> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut answer = AssistantAnswer::default();
    let timeout_error = || AssistantError {
        fault: AssistantFault::Unreachable,
        retryable: true,
        timed_out: true,
        retry_after: None,
        detail: format!("no whole answer within {} s", ANSWER_TIMEOUT.as_secs()),
    };
    let whole = tokio::time::timeout_at(deadline, async {
        let mut parts = assistant.ask(question).await?;
        let mut sent_length = 0;
        loop {
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
            match part {
                None => break,
                Some(part) => match part? {
                    AnswerPart::Text(text) => answer.text.push_str(&text),
                    AnswerPart::SessionState(state) if state.len() > MAX_STATE_BYTES => {
                        answer.oversized_state = Some(state.len());
                    }
                    AnswerPart::SessionState(state) => {
                        *session_state.lock() = Some(state.clone());
                        answer.state = Some(state);
                    }
                },
            }
            if answer.text.len() > MAX_ANSWER_BYTES {
                let cut = (0..=MAX_ANSWER_BYTES)
                    .rev()
                    .find(|at| answer.text.is_char_boundary(*at));
                answer.text.truncate(cut.unwrap_or(0));
                answer.text.push('…');
                break;
            }
        }
        Ok(())
    })
    .await
    .unwrap_or_else(|_| Err(timeout_error()));
    match whole {
        Ok(()) => Ok(answer),
        Err(error) => Err(FailedAnswer {
            error,
            text: answer.text,
        }),
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
