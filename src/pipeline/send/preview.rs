//! An answer shown while it is written: when to say "typing…", when to show how far it has come, and how.
//!
//! A pure state machine over instants: [`Preview::next_step`] says what to do or until when to wait, [`Preview::on_result`] takes what became
//! of it. In a private chat the text shows as a draft (`sendMessageDraft`), which vanishes by itself when the real message comes;
//! where there are no drafts (groups, older servers) as a message that is edited, and deleted when the real one has been sent. A
//! preview is a courtesy: whatever goes wrong with it, the answer itself is the outbox's to deliver.

use std::time::Duration;

use tokio::time::Instant;

use crate::telegram::TelegramError;

/// A quick answer needs no "typing…".
const TYPING_DELAY: Duration = Duration::from_millis(300);
/// "typing…" shows for 5 s (TELEGRAM.md, Limits).
const TYPING_INTERVAL: Duration = Duration::from_millis(4500);
/// From the first words to the first preview: an answer that is there by then needs none. What is left to a second and a half is
/// for the bot's pace and the way to Telegram.
const FIRST_PREVIEW_DELAY: Duration = Duration::from_millis(800);
/// At most one preview a second in a chat with one user (TELEGRAM.md, Limits).
const PREVIEW_INTERVAL: Duration = Duration::from_secs(1);
/// At most 20 messages and edits a minute in a group; a third of them is left to the answers.
const GROUP_PREVIEW_INTERVAL: Duration = Duration::from_millis(4500);
/// A draft vanishes after 30 s (TELEGRAM.md, Limits): it is shown again while the assistant pauses.
const DRAFT_REFRESH_INTERVAL: Duration = Duration::from_secs(20);
/// After so many failures in a row there are no more previews of this answer.
const MAX_FAILURES: u32 = 3;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreviewStep {
    /// Nothing before this instant, unless the answer is complete.
    Wait(Instant),
    /// Say "typing…".
    Typing,
    /// Show the text so far as a draft.
    Draft,
    /// Show the text so far as a message; [`Preview::on_sent`] takes its id.
    Send,
    /// Show the text so far in this message.
    Edit(i64),
}

/// How the text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PreviewMode {
    Drafts,
    Edits,
    /// No longer: it is not possible or not worth it.
    Off,
}

/// How far the showing of one answer has come.
#[derive(Debug, Clone)]
pub struct Preview {
    mode: PreviewMode,
    interval: Duration,
    /// When "typing…" is to be said next.
    next_typing_at: Instant,
    /// When the first words came.
    first_text_at: Option<Instant>,
    /// When something was last shown, and how long the text was.
    last_shown: Option<(Instant, usize)>,
    /// The same, before the step that was last given.
    previously_shown: Option<(Instant, usize)>,
    /// Nothing is sent before this: Telegram asked for it.
    paused_until: Instant,
    message_id: Option<i64>,
    /// Some words show.
    visible: bool,
    failures: u32,
}

impl Preview {
    /// The preview of an answer that the assistant is asked for now.
    pub fn new(now: Instant, private_chat: bool) -> Self {
        Self {
            mode: if private_chat {
                PreviewMode::Drafts
            } else {
                PreviewMode::Edits
            },
            interval: if private_chat {
                PREVIEW_INTERVAL
            } else {
                GROUP_PREVIEW_INTERVAL
            },
            next_typing_at: now + TYPING_DELAY,
            first_text_at: None,
            last_shown: None,
            previously_shown: None,
            paused_until: now,
            message_id: None,
            visible: false,
            failures: 0,
        }
    }

    /// Nothing shows but "typing…".
    pub fn show_typing_only(&mut self) {
        self.mode = PreviewMode::Off;
    }

    /// What to do now, when the text so far has `length` bytes (0: nothing but white space).
    ///
    /// After any step but `Wait` and `Typing`, call [`Self::on_result`] (or [`Self::on_sent`], [`Self::postpone`]) before asking again;
    /// "typing…" may be on its way meanwhile.
    pub fn next_step(&mut self, now: Instant, length: usize) -> PreviewStep {
        if length > 0 {
            self.first_text_at.get_or_insert(now);
        }
        if now < self.paused_until {
            return PreviewStep::Wait(self.paused_until);
        }
        let due = self.due(length);
        if due.is_some_and(|due| due <= now) {
            self.previously_shown = self.last_shown.replace((now, length));
            return match (self.mode, self.message_id) {
                (PreviewMode::Drafts, _) => PreviewStep::Draft,
                (_, Some(message)) => PreviewStep::Edit(message),
                (_, None) => PreviewStep::Send,
            };
        }
        // "typing…" goes on until the reader sees words.
        let typing = self.last_shown.is_none().then_some(self.next_typing_at);
        if typing.is_some_and(|typing| typing <= now) {
            self.next_typing_at = now + TYPING_INTERVAL;
            return PreviewStep::Typing;
        }
        let look_again = now + self.interval;
        PreviewStep::Wait(due.into_iter().chain(typing).fold(look_again, Instant::min))
    }

    /// When the text is to be shown, as it stands.
    fn due(&self, length: usize) -> Option<Instant> {
        let words = self
            .first_text_at
            .filter(|_| self.mode != PreviewMode::Off)?;
        let Some((shown, shown_length)) = self.last_shown else {
            return Some(words + FIRST_PREVIEW_DELAY);
        };
        if shown_length != length {
            Some(shown + self.interval)
        } else if self.mode == PreviewMode::Drafts {
            Some(shown + DRAFT_REFRESH_INTERVAL)
        } else {
            None
        }
    }

    /// What became of a step.
    pub fn on_result(
        &mut self,
        now: Instant,
        step: PreviewStep,
        result: Result<(), &TelegramError>,
    ) {
        if step == PreviewStep::Typing {
            self.next_typing_at = now + TYPING_INTERVAL;
        } else if let Some((at, _)) = &mut self.last_shown {
            // The pace counts from when Telegram had it: a slow call must not bring the next one closer.
            *at = now;
        }
        let error = match result {
            Ok(()) | Err(TelegramError::NotModified) => {
                if step != PreviewStep::Typing {
                    self.failures = 0;
                    self.visible = true;
                }
                return;
            }
            Err(error) => error,
        };
        if let TelegramError::RateLimited(wait) = error {
            self.paused_until = now + *wait;
            // Whoever was told to slow down does.
            self.interval *= 2;
            return;
        }
        if step == PreviewStep::Typing {
            return;
        }
        self.failures += 1;
        let refused = matches!(
            error,
            TelegramError::Refused { .. } | TelegramError::NotFound
        );
        self.mode = match (self.mode, error) {
            // A server that does not know drafts, or a chat where there are none.
            (PreviewMode::Drafts, _) if refused => PreviewMode::Edits,
            // A message that may have been sent could not be edited or deleted: its id is unknown.
            (PreviewMode::Edits, _) if refused || step == PreviewStep::Send => PreviewMode::Off,
            (
                _,
                TelegramError::Forbidden(_)
                | TelegramError::ChatNotFound
                | TelegramError::MigratedTo(_)
                | TelegramError::ThreadNotFound
                | TelegramError::TopicClosed
                | TelegramError::Unauthorized,
            ) => PreviewMode::Off,
            _ if self.failures >= MAX_FAILURES => PreviewMode::Off,
            (mode, _) => mode,
        };
        if self.mode == PreviewMode::Edits && step == PreviewStep::Draft {
            // What the draft did not show is due at once.
            self.last_shown = None;
        }
    }

    /// The step was not taken: there is no room for it before `until`.
    pub fn postpone(&mut self, until: Instant) {
        self.last_shown = self.previously_shown;
        self.paused_until = self.paused_until.max(until);
    }

    /// Whether nothing of the answer shows yet.
    pub fn is_first(&self) -> bool {
        !self.visible
    }

    /// What became of [`PreviewStep::Send`], if it was sent.
    pub fn on_sent(&mut self, message_id: i64) {
        self.failures = 0;
        self.visible = true;
        self.message_id = Some(message_id);
    }

    /// The message that shows the preview, to be deleted once the real answer has been sent.
    pub fn message_id(&self) -> Option<i64> {
        self.message_id
    }
}

#[cfg(test)]
mod tests;
