//! Asks the assistant: the picture fetched, the answer gathered to its end, and shown while it is written.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::message::File;
use super::show;
use super::work::Work;
use crate::assistant::{AnswerPart, Assistant, AssistantError, Picture, Question};
use crate::observation::AssistantFault;
use crate::registry::ResolvedConnector;
use crate::store::LaneKey;

/// No assistant may take longer, whatever its own limit is (API.md: `timeoutSeconds` is at most 600).
const LONGEST: Duration = Duration::from_secs(630);
/// The biggest picture that goes with a question.
const PICTURE_BYTES: usize = 10 << 20;
/// The longest answer that is delivered, in bytes; what a model writes beyond it is cut off.
const ANSWER_BYTES: usize = 128 << 10;

/// An answer to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The text, as far as it came.
    pub(super) text: String,
    /// What the assistant wants back with the next question.
    pub(super) state: Option<String>,
}

/// An answer that did not come to its end.
#[derive(Debug)]
pub(super) struct BrokenOff {
    /// Why.
    pub(super) error: AssistantError,
    /// What had come.
    pub(super) text: String,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Asked<I> {
    /// A whole answer.
    Answered(Answer),
    /// The assistant failed.
    BrokenOff(BrokenOff),
    /// Somebody ended it; with what had come by then.
    Interrupted(I, Answer),
}

impl<I> Asked<I> {
    /// In one word, for traces.
    fn label(&self) -> &'static str {
        match self {
            Self::Answered(_) => "ok",
            Self::BrokenOff(broken) => broken.error.fault.label(),
            Self::Interrupted(..) => "stopped",
        }
    }
}

/// Asks; in the chat "typing…" shows meanwhile, and then what has come of the answer. The assistant is no longer asked once
/// `interrupted` is.
pub(super) async fn ask<I>(
    work: &Work,
    assistant: &dyn Assistant,
    question: Question,
    connector: &ResolvedConnector,
    lane: LaneKey,
    interrupted: impl Future<Output = I>,
) -> Asked<I> {
    let (words, shown) = watch::channel(String::new());
    let so_far = shown.clone();
    let state = Mutex::new(None);
    let span = tracing::debug_span!(
        "assistant",
        otel.kind = "client",
        protocol = assistant.protocol(),
        result = tracing::field::Empty
    );
    let asking = async {
        tokio::select! {
            answer = gather(assistant, question, words, &state).instrument(span.clone()) => match answer {
                Ok(answer) => Asked::Answered(answer),
                Err(broken) => Asked::BrokenOff(broken),
            },
            by = interrupted => Asked::Interrupted(by, Answer {
                text: so_far.borrow().clone(),
                state: state.lock().unwrap_or_else(PoisonError::into_inner).take(),
            }),
        }
    };
    let (asked, ()) = tokio::join!(asking, show::show(work, &connector.bot, lane, shown));
    span.record("result", asked.label());
    asked
}

/// Gathers the answer; `words` grows with it, and goes when it is complete. `told` is what the assistant wants back, should the
/// answer be ended before.
async fn gather(
    assistant: &dyn Assistant,
    question: Question,
    words: watch::Sender<String>,
    told: &Mutex<Option<String>>,
) -> Result<Answer, BrokenOff> {
    let deadline = Instant::now() + LONGEST;
    let mut answer = Answer::default();
    let late = || AssistantError {
        fault: AssistantFault::Unreachable,
        retryable: true,
        timed_out: true,
        retry_after: None,
        detail: format!("no whole answer within {} s", LONGEST.as_secs()),
    };
    let whole = tokio::time::timeout_at(deadline, async {
        let mut parts = assistant.ask(question).await?;
        let mut shown = 0;
        loop {
            let part = match parts.next().now_or_never() {
                Some(part) => part,
                None => {
                    // What came at once is shown at once.
                    if shown < answer.text.len() {
                        words.send_modify(|words| words.push_str(&answer.text[shown..]));
                        shown = answer.text.len();
                    }
                    parts.next().await
                }
            };
            match part {
                None => break,
                Some(part) => match part? {
                    AnswerPart::Text(text) => answer.text.push_str(&text),
                    AnswerPart::SessionState(state) => {
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
                        answer.state = Some(state);
                    }
                },
            }
            if answer.text.len() > ANSWER_BYTES {
                let cut = (0..=ANSWER_BYTES)
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
    .unwrap_or_else(|_| Err(late()));
    match whole {
        Ok(()) => Ok(answer),
        Err(error) => Err(BrokenOff {
            error,
            text: answer.text,
        }),
    }
}

/// Fetches a picture from Telegram; `None` where that fails: the question goes without it.
pub(super) async fn picture(connector: &ResolvedConnector, file: &File) -> Option<Picture> {
    match connector.bot.download(&file.id, PICTURE_BYTES).await {
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
