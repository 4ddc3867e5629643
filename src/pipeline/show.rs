//! Shows an answer in its chat while it is written, as [`super::preview`] decides.

use std::pin::pin;
use std::time::{Duration, Instant as StdInstant};

use futures::FutureExt as _;
use futures::future::{Fuse, FusedFuture as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::preview::{Preview, Step};
use super::work::Work;
use crate::store::LaneKey;
use crate::telegram::{Bot, MessageText, NewMessage, TelegramError, markdown};

/// How long a preview that is on its way may hold up the complete answer: overtaking it would show the draft after the answer.
const OVERTIME: Duration = Duration::from_secs(2);
/// The same of a "typing…", which would show behind the answer for five seconds.
const TYPING_OVERTIME: Duration = Duration::from_millis(200);

/// Shows the text that `words` grows to until its sender is gone, and takes a preview that is a message away again.
pub(super) async fn show(
    work: &Work,
    bot: &Bot,
    lane: LaneKey,
    mut words: watch::Receiver<String>,
) {
    let screen = Screen {
        work,
        bot,
        chat_id: lane.chat,
        thread_id: (lane.topic != 0).then_some(lane.topic),
        draft_id: i64::from(rand::random_range(1..i32::MAX)),
    };
    let mut preview = Preview::new(Instant::now(), lane.chat > 0);
    // On its way beside everything else: a slow one must hold up neither the first words nor the answer.
    let mut typing = pin!(Fuse::terminated());
    loop {
        let length = words.borrow_and_update().trim().len();
        match preview.next(Instant::now(), length) {
            Step::Wait(until) => {
                tokio::select! {
                    () = sleep_until(until) => {}
                    changed = words.changed() => if changed.is_err() { break },
                    said = &mut typing, if !typing.is_terminated() => {
                        screen.took(&mut preview, Step::Typing, &said);
                    }
                }
            }
            Step::Typing => typing.set(screen.typing().fuse()),
            step => {
                let text = words.borrow().clone();
                let mut rest = words.clone();
                let complete = async {
                    while rest.changed().await.is_ok() {}
                    sleep(OVERTIME).await;
                };
                tokio::select! {
                    () = screen.take(&mut preview, step, &text) => {}
                    () = complete => break,
                }
            }
        }
    }
    if !typing.is_terminated() {
        // Whatever becomes of it, the answer follows.
        let _ = timeout(TYPING_OVERTIME, typing).await;
    }
    if let Some(message) = preview.message() {
        // What is left behind is the beginning of an answer that follows.
        let delete = bot.delete_message(lane.chat, message);
        if let Ok(Err(error)) = timeout(OVERTIME, delete).await {
            tracing::info!(%error, "a preview could not be taken away");
        }
    }
}

struct Screen<'a> {
    work: &'a Work,
    bot: &'a Bot,
    chat_id: i64,
    thread_id: Option<i64>,
    draft_id: i64,
}

/// What became of a step: the id of a new message.
type Put = Result<Option<i64>, TelegramError>;

impl Screen<'_> {
    async fn typing(&self) -> Put {
        let (bot, chat) = (self.bot.id(), self.chat_id);
        match self.work.throttle.wait(bot, chat, Instant::now()) {
            // Where nothing may be written nobody needs to see that something is.
            Some(_) => Ok(None),
            None => self.put(Step::Typing, MessageText::Plain("")).await,
        }
    }

    async fn take(&self, preview: &mut Preview, step: Step, text: &str) {
        let (bot, chat, now) = (self.bot.id(), self.chat_id, Instant::now());
        let throttle = &self.work.throttle;
        let result = if let Some(part) = markdown::render(text).pop() {
            if let Err(until) = throttle.preview(bot, chat, preview.is_first(), now) {
                preview.put_off(until);
                return;
            }
            // Of a long answer the end is shown: that is where it grows.
            match self.put(step, MessageText::Html(&part.html)).await {
                Err(TelegramError::CantParseEntities(_)) => {
                    self.put(step, MessageText::Plain(&part.plain)).await
                }
                result => result,
            }
        } else {
            Ok(None)
        };
        self.took(preview, step, &result);
    }

    /// Takes down what became of a step.
    fn took(&self, preview: &mut Preview, step: Step, result: &Put) {
        let now = Instant::now();
        if let Err(TelegramError::RateLimited(wait)) = result {
            let throttle = &self.work.throttle;
            throttle.throttled(self.bot.id(), self.chat_id, *wait, now);
        }
        if let Ok(Some(message)) = result {
            preview.sent(*message);
        }
        if let Err(error) = result {
            tracing::debug!(%error, "the answer is not shown while it is written");
        }
        preview.done(now, step, result.as_ref().map(|_| ()));
    }

    /// Does a step and counts it; returns the id of a new message.
    async fn put(&self, step: Step, text: MessageText<'_>) -> Put {
        let method = match step {
            Step::Draft => "sendMessageDraft",
            Step::Edit(_) => "editMessageText",
            Step::Send => "sendMessage",
            Step::Typing | Step::Wait(_) => "sendChatAction",
        };
        let metrics = &self.work.metrics;
        let began = StdInstant::now();
        let result = self.call(step, text).await;
        let label = result.as_ref().map_or_else(TelegramError::label, |_| "ok");
        metrics.record_telegram_call(method, label, began.elapsed());
        if let Err(TelegramError::RateLimited(wait)) = &result {
            metrics.record_throttling(method, *wait);
        }
        result
    }

    async fn call(&self, step: Step, text: MessageText<'_>) -> Put {
        let nothing = |()| None;
        match step {
            Step::Draft => {
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
            Step::Edit(message) => {
                let edited = self.bot.edit_message_text(self.chat_id, message, text);
                edited.await.map(nothing)
            }
            Step::Send => {
                let message = NewMessage {
                    chat_id: self.chat_id,
                    thread_id: self.thread_id,
                    text,
                    reply_to: None,
                    link_preview: false,
                };
                self.bot.send_message(&message).await.map(Some)
            }
            Step::Typing => {
                let typing = self.bot.send_typing(self.chat_id, self.thread_id);
                typing.await.map(nothing)
            }
            Step::Wait(_) => Ok(None),
        }
    }
}
