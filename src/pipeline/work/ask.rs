//! Asks the assistant: the picture fetched, the answer gathered to its end, and shown while it is written.

mod buttons_block;
mod data_uri_filter;
mod linked_files;

use parking_lot::Mutex;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;
use tracing::Instrument;

use crate::assistant::{
    AnswerPart, ApprovalRequest, Assistant, AssistantError, Choice, FailureKind, OfferedFile,
    Picture, Progress, Question, QuestionProgress, TokenUsage, Truncation,
};
use crate::pipeline::decide::assistant_input::is_picture_type;
use crate::pipeline::message::incoming_update::TelegramFile;
use crate::pipeline::send::citations::CitationList;
use crate::pipeline::send::preview_sender::{self, PreviewTarget, PreviewText};
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::registry::ResolvedConnector;
use crate::store::LaneKey;
use crate::texts::texts_for;
use buttons_block::ButtonsBlock;
pub(crate) use data_uri_filter::AnswerFile;
use data_uri_filter::{DataUriFilter, PlaceholderWords};
use linked_files::fetch_linked_files;

/// No assistant may take longer, whatever its own limit is (API.md: `timeoutSeconds` is at most 600).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(630);
/// The biggest picture that goes with a question.
const MAX_PICTURE_BYTES: usize = 10 << 20;
/// The longest answer that is delivered, in bytes; what a model writes beyond it is cut off. What a data URI held does not count.
const MAX_ANSWER_BYTES: usize = 128 << 10;

/// The most tokens of one answer that are believed in each direction: sums of them cannot overflow.
const MAX_TOKENS: u64 = 1 << 32;

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

/// What came of an answer. Without text only if it ended [`AnswerEnd::Complete`] or [`AnswerEnd::Truncated`].
#[derive(Debug, Default)]
pub(crate) struct AssistantAnswer {
    /// The text, as far as it came; in the place of each file its name.
    pub(crate) text: String,
    /// The files that it holds, in their order; none unless they are to be sent.
    pub(crate) files: Vec<AnswerFile>,
    /// The memory that the fetched ones take.
    room: Vec<OwnedSemaphorePermit>,
    /// Whether that is all.
    pub(crate) end: AnswerEnd,
    /// The sources that it names.
    pub(crate) citations: CitationList,
    /// What it cost, where the assistant says so.
    pub(crate) usage: Option<TokenUsage>,
    /// What the assistant wants back with the next question.
    pub(crate) state: Option<String>,
    /// It wanted so many bytes back, which is more than is kept.
    pub(crate) oversized_state: Option<usize>,
    /// The buttons that it offers.
    pub(crate) choice: Option<Choice>,
    /// What it wants to have approved.
    pub(crate) approval: Option<ApprovalRequest>,
    /// The text with its block of buttons, where it had one: what the model wrote.
    written: Option<String>,
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
    /// Whether it asks for a decision.
    pub(crate) fn asks(&self) -> bool {
        self.choice.is_some() || self.approval.is_some()
    }

    /// The text as the history has it.
    pub(crate) fn recorded_text(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }

    /// Makes a block of buttons at the end of the text the buttons that it offers.
    fn take_buttons_block(&mut self) {
        let split = ButtonsBlock::default().split(&self.text);
        // What stands for a file is no button.
        let split =
            split.filter(|(text, _)| self.files.iter().all(|f| f.placeholder.end <= text.len()));
        if let Some((text, choice)) = split {
            let text = text.to_owned();
            self.written = Some(std::mem::replace(&mut self.text, text));
            self.choice.get_or_insert(choice);
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
            Self::Answered(answer)
                if answer.is_empty() && matches!(answer.end, AnswerEnd::Complete) =>
            {
                "empty"
            }
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
    let (text_sender, shown) = watch::channel(PreviewText::default());
    let so_far = shown.clone();
    let language = question.sender.language_code.as_deref();
    let max_file_bytes = context.connector.answers.max_file_bytes;
    let reader = TextReader::new(language, max_file_bytes, text_sender);
    let known = Mutex::new(KnownSoFar::default());
    let span = tracing::debug_span!(
        "assistant",
        otel.kind = "client",
        protocol = assistant.protocol(),
        result = tracing::field::Empty
    );
    // Boxed, because it is big, and moved with all that waits for it.
    let answering = Box::pin(async {
        let mut answer = collect_answer(assistant, question, reader, &known).await?;
        if let Some(max_bytes) = max_file_bytes {
            answer.room =
                fetch_linked_files(pipeline, assistant, &mut answer.files, max_bytes).await;
        }
        Ok(answer)
    });
    let asking = async {
        tokio::select! {
            answer = answering.instrument(span.clone()) => match answer {
                Ok(answer) => AskOutcome::Answered(answer),
                Err(error) => AskOutcome::Failed(error),
            },
            interruption = interrupted => {
                let KnownSoFar { state, usage } = known.lock().clone();
                AskOutcome::Interrupted(interruption, AssistantAnswer {
                    text: so_far.borrow().text.clone(),
                    state,
                    usage,
                    ..AssistantAnswer::default()
                })
            }
        }
    };
    let (asked, ()) = tokio::join!(asking, async {
        if context.previews {
            let target = PreviewTarget {
                bot: &context.connector.bot,
                lane: context.lane,
                streaming: context.connector.answers.streaming,
            };
            preview_sender::show_preview(pipeline, &target, shown).await;
        }
    });
    span.record("result", asked.label());
    let usage = known.lock().usage;
    if let Some(TokenUsage { input, output }) = usage {
        pipeline
            .metrics
            .count_assistant_tokens(assistant.protocol(), input, output);
    }
    asked
}

/// What an answer has brought beside its text, should it be ended before its end.
#[derive(Debug, Clone, Default)]
struct KnownSoFar {
    /// What the assistant wants back.
    state: Option<String>,
    usage: Option<TokenUsage>,
}

/// Gathers the answer; `text_sender` grows with it, and goes when it is complete. An error is that of an answer without any text.
async fn collect_answer(
    assistant: &dyn Assistant,
    question: Question,
    mut reader: TextReader,
    known: &Mutex<KnownSoFar>,
) -> Result<AssistantAnswer, AssistantError> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let offers_buttons = question.offers_buttons;
    reader.buttons_block = offers_buttons.then(ButtonsBlock::default);
    let mut answer = AssistantAnswer::default();
    let reading = read_answer(assistant, question, &mut reader, known, &mut answer);
    let read = tokio::time::timeout_at(deadline, reading)
        .await
        .unwrap_or_else(|_| Err(timeout_error()));
    (answer.text, answer.files) = reader.finish();
    match read {
        Err(error) if answer.is_empty() => return Err(error),
        Err(error) => {
            answer.end = AnswerEnd::Broken(error.at_progress(QuestionProgress::Begun));
        }
        Ok(()) => {}
    }
    cut_long_text(&mut answer);
    if offers_buttons && matches!(answer.end, AnswerEnd::Complete) {
        answer.take_buttons_block();
    }
    Ok(answer)
}

/// The text of an answer as it grows, and its files, which are no part of it.
struct TextReader {
    words: PlaceholderWords<'static>,
    /// The biggest file that is wanted; `None`: none are.
    max_file_bytes: Option<usize>,
    filter: DataUriFilter<'static>,
    text: String,
    shown: watch::Sender<PreviewText>,
    /// How much of the text is shown.
    shown_length: usize,
    /// A block of buttons at its end, which is not shown.
    buttons_block: Option<ButtonsBlock>,
}

impl TextReader {
    fn new(
        language_code: Option<&str>,
        max_file_bytes: Option<usize>,
        shown: watch::Sender<PreviewText>,
    ) -> Self {
        let texts = texts_for(language_code);
        let words = PlaceholderWords {
            picture: &texts.picture,
            file: &texts.file,
        };
        Self {
            words,
            max_file_bytes,
            filter: DataUriFilter::new(words).collecting_files(max_file_bytes),
            text: String::new(),
            shown,
            shown_length: 0,
            buttons_block: None,
        }
    }

    fn push(&mut self, text: &str) {
        self.filter.push(text, &mut self.text);
    }

    fn push_file(&mut self, file: OfferedFile) {
        self.filter.push_file(file, &mut self.text);
    }

    fn rewrite(&mut self, text: &str) {
        self.filter = DataUriFilter::new(self.words).collecting_files(self.max_file_bytes);
        self.text.clear();
        self.filter.push(text, &mut self.text);
        if let Some(block) = &mut self.buttons_block {
            *block = ButtonsBlock::default();
        }
        self.shown_length = self.visible_length();
        let visible = &self.text[..self.shown_length];
        self.shown
            .send_modify(|shown| visible.clone_into(&mut shown.text));
    }

    /// How much of the text may be shown.
    fn visible_length(&mut self) -> usize {
        match &mut self.buttons_block {
            Some(block) => block.shown_length(&self.text),
            None => self.text.len(),
        }
    }

    /// Shows what is not shown yet.
    fn show(&mut self) {
        let visible = self.visible_length();
        if self.shown_length < visible {
            let new = &self.text[self.shown_length..visible];
            self.shown.send_modify(|shown| shown.text.push_str(new));
            self.shown_length = visible;
        }
    }

    fn show_progress(&self, progress: &Progress) {
        self.shown.send_modify(|shown| shown.add_progress(progress));
    }

    fn finish(mut self) -> (String, Vec<AnswerFile>) {
        self.filter.finish(&mut self.text);
        (self.text, self.filter.into_files())
    }
}

/// Reads the answer's parts to its end, its error, or the length beyond which nothing is delivered.
async fn read_answer(
    assistant: &dyn Assistant,
    question: Question,
    reader: &mut TextReader,
    known: &Mutex<KnownSoFar>,
    answer: &mut AssistantAnswer,
) -> Result<(), AssistantError> {
    let mut parts = assistant.ask(question).await?;
    while reader.text.len() <= MAX_ANSWER_BYTES {
        let part = match parts.next().now_or_never() {
            Some(part) => part,
            None => {
                // What came at once is shown at once.
                reader.show();
                parts.next().await
            }
        };
        let Some(part) = part else {
            return Ok(());
        };
        // Thousands of small parts may be there at once: others get their turn between.
        consume_budget().await;
        match part? {
            AnswerPart::Text(text) => reader.push(&text),
            AnswerPart::Rewrite(text) => reader.rewrite(&text),
            AnswerPart::File(file) => reader.push_file(file),
            AnswerPart::SessionState(state) if state.len() > MAX_STATE_BYTES => {
                answer.oversized_state = Some(state.len());
            }
            AnswerPart::SessionState(state) => {
                known.lock().state = Some(state.clone());
                answer.state = Some(state);
            }
            AnswerPart::Citation(citation) => answer.citations.push(citation),
            AnswerPart::Usage(usage) => {
                let usage = bounded_usage(usage);
                known.lock().usage = Some(usage);
                answer.usage = Some(usage);
            }
            AnswerPart::Progress(progress) => reader.show_progress(&progress),
            AnswerPart::Truncated(truncation) => answer.end = AnswerEnd::Truncated(truncation),
            AnswerPart::Choice(choice) => answer.choice = Some(choice),
            AnswerPart::Approval(request) => answer.approval = Some(request),
        }
    }
    Ok(())
}

/// Numbers come from outside: what no answer can cost is not believed.
fn bounded_usage(usage: TokenUsage) -> TokenUsage {
    TokenUsage {
        input: usage.input.min(MAX_TOKENS),
        output: usage.output.min(MAX_TOKENS),
    }
}

fn cut_long_text(answer: &mut AssistantAnswer) {
    if answer.text.len() > MAX_ANSWER_BYTES {
        let cut = answer.text.floor_char_boundary(MAX_ANSWER_BYTES);
        answer.text.truncate(cut);
        answer.files.retain(|file| file.placeholder.end <= cut);
        if !matches!(answer.end, AnswerEnd::Broken(_)) {
            answer.end = AnswerEnd::Cut;
        }
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

/// Fetches a picture from Telegram; `None` where that fails, and where it is something else: the question goes without it.
pub(crate) async fn download_picture(
    connector: &ResolvedConnector,
    file: &TelegramFile,
) -> Option<Picture> {
    match connector.bot.download(&file.id, MAX_PICTURE_BYTES).await {
        Ok(bytes) => {
            let media_type = picture_type(file, &bytes);
            if media_type.is_none() {
                tracing::warn!(
                    "a file is not the picture that it is called; the question goes without it"
                );
            }
            media_type.map(|media_type| Picture { media_type, bytes })
        }
        Err(error) => {
            tracing::warn!(%error, "a picture could not be fetched; the question goes without it");
            None
        }
    }
}

/// What a picture is by its first bytes, or as Telegram says where these say nothing; `None` if it is something else.
fn picture_type(file: &TelegramFile, bytes: &[u8]) -> Option<String> {
    let named = file.media_type.as_deref().unwrap_or("image/jpeg");
    match infer::get(bytes).map(|found| found.mime_type()) {
        None => Some(named.to_owned()),
        Some(found) if is_picture_type(found) => Some(found.to_owned()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_answer_that_is_too_long_stays_broken() {
        let mut answer = AssistantAnswer {
            text: "x".repeat(MAX_ANSWER_BYTES + 1),
            end: AnswerEnd::Broken(timeout_error()),
            ..AssistantAnswer::default()
        };
        cut_long_text(&mut answer);
        assert_eq!(answer.text.len(), MAX_ANSWER_BYTES);
        assert!(matches!(answer.end, AnswerEnd::Broken(_)));
    }
}
