//! Shows an answer in its chat while it is written, as [`crate::pipeline::send::preview`] decides.

use std::pin::pin;
use std::time::{Duration, Instant as StdInstant};

use futures::FutureExt as _;
use futures::future::{Fuse, FusedFuture as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::pipeline::send::preview::{Preview, PreviewStep};
pub(crate) use crate::pipeline::send::preview_text::PreviewText;
use crate::pipeline::send::preview_text::ShownText;
use crate::pipeline::send::render;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::store::LaneKey;
use crate::telegram::{Bot, MessageText, NewMessage, TelegramError};

/// How long a preview that is on its way may hold up the complete answer: overtaking it would show the draft after the answer.
const PREVIEW_GRACE: Duration = Duration::from_secs(2);
/// The same of a "typing…", which would show behind the answer for five seconds.
const TYPING_GRACE: Duration = Duration::from_millis(200);

/// Where an answer is shown, and whether more of it than that it is on its way.
pub(crate) struct PreviewTarget<'a> {
    pub(crate) bot: &'a Bot,
    pub(crate) lane: LaneKey,
    /// Its text shows while it is written.
    pub(crate) streaming: bool,
}

/// Shows the text that `text_so_far` grows to until its sender is gone, and takes a preview that is a message away again.
pub(crate) async fn show_preview(
    pipeline: &PipelineState,
    target: &PreviewTarget<'_>,
    mut text_so_far: watch::Receiver<PreviewText>,
) {
    let PreviewTarget { bot, lane, .. } = *target;
    let sender = PreviewSender {
        pipeline,
        bot,
        chat_id: lane.chat,
        thread_id: lane.thread_id(),
        direct_messages_topic_id: lane.direct_messages_topic_id(),
        draft_id: i64::from(rand::random_range(1..i32::MAX)),
    };
    let mut preview = Preview::new(Instant::now(), lane.chat > 0);
    if !target.streaming {
        preview.show_typing_only();
    }
    // On its way beside everything else: a slow one must hold up neither the first words nor the answer.
    let mut typing = pin!(Fuse::terminated());
    let mut length = VisibleLength::default();
    loop {
        length.update(&text_so_far.borrow_and_update());
        match preview.next_step(Instant::now(), length.version()) {
            PreviewStep::Wait(until) => {
                tokio::select! {
                    () = sleep_until(until) => {}
                    changed = text_so_far.changed() => if changed.is_err() { break },
                    result = &mut typing, if !typing.is_terminated() => {
                        sender.handle_result(&mut preview, PreviewStep::Typing, &result);
                    }
                }
            }
            PreviewStep::Typing => typing.set(sender.send_typing().fuse()),
            step => {
                let text = text_so_far.borrow().shown();
                let mut remaining = text_so_far.clone();
                let complete = async {
                    while remaining.changed().await.is_ok() {}
                    sleep(PREVIEW_GRACE).await;
                };
                tokio::select! {
                    () = sender.take_step(&mut preview, step, text) => {}
                    () = complete => break,
                }
            }
        }
    }
    if !typing.is_terminated() {
        // Whatever becomes of it, the answer follows.
        let _ = timeout(TYPING_GRACE, typing).await;
    }
    if let Some(message) = preview.message_id() {
        // What is left behind is the beginning of an answer that follows.
        let delete = bot.delete_message(lane.chat, message);
        if let Ok(Err(error)) = timeout(PREVIEW_GRACE, delete).await {
            tracing::info!(%error, "a preview could not be taken away");
        }
    }
}

/// The length of a growing text without the white space at its end. Each byte is looked at once, however small the pieces are that it grows by.
#[derive(Debug, Default)]
struct VisibleLength {
    /// 0: nothing but white space.
    bytes: usize,
    searched: usize,
    /// How often progress changed, while there is nothing else.
    progress_changes: usize,
}

impl VisibleLength {
    fn update(&mut self, so_far: &PreviewText) {
        self.progress_changes = so_far.progress_changes;
        let text = &so_far.text;
        let new = text.get(self.searched..).unwrap_or_default().trim_end();
        if !new.is_empty() {
            self.bytes = self.searched + new.len();
        }
        self.searched = text.len();
    }

    /// Another number whenever something else is to be shown; 0 where there is nothing.
    fn version(&self) -> usize {
        match (self.bytes, self.progress_changes) {
            (0, 0) => 0,
            (0, changes) => usize::MAX - changes,
            (bytes, _) => bytes,
        }
    }
}

struct PreviewSender<'a> {
    pipeline: &'a PipelineState,
    bot: &'a Bot,
    chat_id: i64,
    thread_id: Option<i64>,
    direct_messages_topic_id: Option<i64>,
    draft_id: i64,
}

/// What became of a step: the id of a new message.
type StepResult = Result<Option<i64>, TelegramError>;

impl PreviewSender<'_> {
    async fn send_typing(&self) -> StepResult {
        let (bot, chat) = (self.bot.id(), self.chat_id);
        match self
            .pipeline
            .throttle
            .remaining_wait(bot, chat, Instant::now())
        {
            // Where nothing may be written nobody needs to see that something is.
            Some(_) => Ok(None),
            None => {
                self.call_and_record(PreviewStep::Typing, MessageText::Plain(""))
                    .await
            }
        }
    }

    async fn take_step(&self, preview: &mut Preview, step: PreviewStep, text: ShownText) {
        let (bot, chat, now) = (self.bot.id(), self.chat_id, Instant::now());
        let throttle = &self.pipeline.throttle;
        // Whether there is room for it comes first: rendering for nothing is what a flood of texts would cost most.
        if let Err(until) = throttle.reserve_preview(bot, chat, preview.is_first(), now) {
            preview.postpone(until);
            return;
        }
        // Of a long answer the end is shown: that is where it grows.
        let rendered = match &text {
            ShownText::Progress(progress) => {
                let text = MessageText::Plain(progress);
                let result = self.call_and_record(step, text).await;
                self.handle_result(preview, step, &result);
                return;
            }
            ShownText::Answer(text) => render::last_part(text).await,
        };
        let result = match rendered {
            None => Ok(None),
            Some(part) => {
                let html = MessageText::Html(&part.html);
                match self.call_and_record(step, html).await {
                    Err(TelegramError::CantParseEntities(_)) => {
                        self.call_and_record(step, MessageText::Plain(&part.plain))
                            .await
                    }
                    result => result,
                }
            }
        };
        self.handle_result(preview, step, &result);
    }

    /// Takes down what became of a step.
    fn handle_result(&self, preview: &mut Preview, step: PreviewStep, result: &StepResult) {
        let now = Instant::now();
        if let Err(TelegramError::RateLimited(wait)) = result {
            let throttle = &self.pipeline.throttle;
            throttle.record_rate_limit(self.bot.id(), self.chat_id, *wait, now);
        }
        if let Ok(Some(message)) = result {
            preview.on_sent(*message);
        }
        if let Err(error) = result {
            tracing::debug!(%error, "the answer is not shown while it is written");
        }
        preview.on_result(now, step, result.as_ref().map(|_| ()));
    }

    /// Does a step and counts it; returns the id of a new message.
    async fn call_and_record(&self, step: PreviewStep, text: MessageText<'_>) -> StepResult {
        let method = match step {
            PreviewStep::Draft => "sendMessageDraft",
            PreviewStep::Edit(_) => "editMessageText",
            PreviewStep::Send => "sendMessage",
            PreviewStep::Typing | PreviewStep::Wait(_) => "sendChatAction",
        };
        let metrics = &self.pipeline.metrics;
        let began = StdInstant::now();
        let result = self.call(step, text).await;
        let label = result.as_ref().map_or_else(TelegramError::label, |_| "ok");
        metrics.record_telegram_call(method, label, began.elapsed());
        if let Err(TelegramError::RateLimited(wait)) = &result {
            metrics.record_throttling(method, *wait);
        }
        result
    }

    async fn call(&self, step: PreviewStep, text: MessageText<'_>) -> StepResult {
        let nothing = |()| None;
        match step {
            PreviewStep::Draft => {
                let Self {
                    chat_id,
                    thread_id,
                    draft_id,
                    ..
                } = *self;
                let shown = self
                    .bot
                    .send_message_draft(chat_id, thread_id, draft_id, text);
                shown.await.map(nothing)
            }
            PreviewStep::Edit(message) => {
                let edited = self.bot.edit_message_text(self.chat_id, message, text);
                edited.await.map(nothing)
            }
            PreviewStep::Send => {
                let message = NewMessage {
                    chat_id: self.chat_id,
                    thread_id: self.thread_id,
                    direct_messages_topic_id: self.direct_messages_topic_id,
                    text,
                    reply_to: None,
                    silent: false,
                    link_preview: false,
                    keyboard: None,
                };
                self.bot.send_message(&message).await.map(Some)
            }
            // `sendChatAction` cannot name a topic of direct messages.
            PreviewStep::Typing if self.direct_messages_topic_id.is_some() => Ok(None),
            PreviewStep::Typing => {
                let typing = self.bot.send_typing(self.chat_id, self.thread_id);
                typing.await.map(nothing)
            }
            PreviewStep::Wait(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_at_the_end_does_not_count() {
        let mut length = VisibleLength::default();
        let mut so_far = PreviewText::default();
        for (piece, bytes) in [
            (" \n", 0),
            ("é", 4),
            ("  ", 4),
            ("", 4),
            ("\n", 4),
            ("x ", 8),
        ] {
            so_far.text.push_str(piece);
            length.update(&so_far);
            assert_eq!(length.bytes, bytes, "{:?}", so_far.text);
        }
    }
}
