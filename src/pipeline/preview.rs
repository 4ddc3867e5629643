//! An answer shown while it is written: when to say "typing…", when to show how far it has come, and how.
//!
//! A pure state machine over instants: [`Preview::next`] says what to do or until when to wait, [`Preview::done`] takes what became
//! of it. In a private chat the text shows as a draft (`sendMessageDraft`), which vanishes by itself when the real message comes;
//! where there are no drafts (groups, older servers) as a message that is edited, and deleted when the real one has been sent. A
//! preview is a courtesy: whatever goes wrong with it, the answer itself is the outbox's to deliver.

use std::time::Duration;

use tokio::time::Instant;

use crate::telegram::TelegramError;

/// A quick answer needs no "typing…".
const BEFORE_TYPING: Duration = Duration::from_millis(300);
/// "typing…" shows for 5 s (TELEGRAM.md, Limits).
const BETWEEN_TYPING: Duration = Duration::from_millis(4500);
/// From the first words to the first preview: an answer that is there by then needs none. What is left to a second and a half is
/// for the bot's pace and the way to Telegram.
const BEFORE_PREVIEW: Duration = Duration::from_millis(800);
/// At most one preview a second in a chat with one user (TELEGRAM.md, Limits).
const BETWEEN_PREVIEWS: Duration = Duration::from_secs(1);
/// At most 20 messages and edits a minute in a group; a third of them is left to the answers.
const BETWEEN_PREVIEWS_IN_GROUP: Duration = Duration::from_millis(4500);
/// A draft vanishes after 30 s (TELEGRAM.md, Limits): it is shown again while the assistant pauses.
const DRAFT_LASTS: Duration = Duration::from_secs(20);
/// After so many failures in a row there are no more previews of this answer.
const FAILURES: u32 = 3;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant, unless the answer is complete.
    Wait(Instant),
    /// Say "typing…".
    Typing,
    /// Show the text so far as a draft.
    Draft,
    /// Show the text so far as a message; [`Preview::sent`] takes its id.
    Send,
    /// Show the text so far in this message.
    Edit(i64),
}

/// How the text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Drafts,
    Edits,
    /// No longer: it is not possible or not worth it.
    Nothing,
}

/// How far the showing of one answer has come.
#[derive(Debug, Clone)]
pub struct Preview {
    by: By,
    between: Duration,
    /// When "typing…" is to be said next.
    typing: Instant,
    /// When the first words came.
    words: Option<Instant>,
    /// When something was last shown, and how long the text was.
    shown: Option<(Instant, usize)>,
    /// The same, before the step that was last given.
    shown_before: Option<(Instant, usize)>,
    /// Nothing is sent before this: Telegram asked for it.
    held: Instant,
    message: Option<i64>,
    /// Some words show.
    visible: bool,
    failures: u32,
}

impl Preview {
    /// The preview of an answer that the assistant is asked for now.
    pub fn new(now: Instant, private_chat: bool) -> Self {
        Self {
            by: if private_chat { By::Drafts } else { By::Edits },
            between: if private_chat {
                BETWEEN_PREVIEWS
            } else {
                BETWEEN_PREVIEWS_IN_GROUP
            },
            typing: now + BEFORE_TYPING,
            words: None,
            shown: None,
            shown_before: None,
            held: now,
            message: None,
            visible: false,
            failures: 0,
        }
    }

    /// What to do now, when the text so far has `length` bytes (0: nothing but white space).
    ///
    /// After any step but `Wait` and `Typing`, call [`Self::done`] (or [`Self::sent`], [`Self::put_off`]) before asking again;
    /// "typing…" may be on its way meanwhile.
    pub fn next(&mut self, now: Instant, length: usize) -> Step {
        if length > 0 {
            self.words.get_or_insert(now);
        }
        if now < self.held {
            return Step::Wait(self.held);
        }
        let due = self.due(length);
        if due.is_some_and(|due| due <= now) {
            self.shown_before = self.shown.replace((now, length));
            return match (self.by, self.message) {
                (By::Drafts, _) => Step::Draft,
                (_, Some(message)) => Step::Edit(message),
                (_, None) => Step::Send,
            };
        }
        // "typing…" goes on until the reader sees words.
        let typing = self.shown.is_none().then_some(self.typing);
        if typing.is_some_and(|typing| typing <= now) {
            self.typing = now + BETWEEN_TYPING;
            return Step::Typing;
        }
        let look_again = now + self.between;
        Step::Wait(due.into_iter().chain(typing).fold(look_again, Instant::min))
    }

    /// When the text is to be shown, as it stands.
    fn due(&self, length: usize) -> Option<Instant> {
        let words = self.words.filter(|_| self.by != By::Nothing)?;
        let Some((shown, shown_length)) = self.shown else {
            return Some(words + BEFORE_PREVIEW);
        };
        if shown_length != length {
            Some(shown + self.between)
        } else if self.by == By::Drafts {
            Some(shown + DRAFT_LASTS)
        } else {
            None
        }
    }

    /// What became of a step.
    pub fn done(&mut self, now: Instant, step: Step, result: Result<(), &TelegramError>) {
        if step == Step::Typing {
            self.typing = now + BETWEEN_TYPING;
        } else if let Some((at, _)) = &mut self.shown {
            // The pace counts from when Telegram had it: a slow call must not bring the next one closer.
            *at = now;
        }
        let error = match result {
            Ok(()) | Err(TelegramError::NotModified) => {
                if step != Step::Typing {
                    self.failures = 0;
                    self.visible = true;
                }
                return;
            }
            Err(error) => error,
        };
        if let TelegramError::RateLimited(wait) = error {
            self.held = now + *wait;
            // Whoever was told to slow down does.
            self.between *= 2;
            return;
        }
        if step == Step::Typing {
            return;
        }
        self.failures += 1;
        let refused = matches!(
            error,
            TelegramError::Refused { .. } | TelegramError::NotFound
        );
        self.by = match (self.by, error) {
            // A server that does not know drafts, or a chat where there are none.
            (By::Drafts, _) if refused => By::Edits,
            // A message that may have been sent could not be edited or deleted: its id is unknown.
            (By::Edits, _) if refused || step == Step::Send => By::Nothing,
            (
                _,
                TelegramError::Forbidden(_)
                | TelegramError::ChatNotFound
                | TelegramError::MigratedTo(_)
                | TelegramError::Unauthorized,
            ) => By::Nothing,
            _ if self.failures >= FAILURES => By::Nothing,
            (by, _) => by,
        };
        if self.by == By::Edits && step == Step::Draft {
            // What the draft did not show is due at once.
            self.shown = None;
        }
    }

    /// The step was not taken: there is no room for it before `until`.
    pub fn put_off(&mut self, until: Instant) {
        self.shown = self.shown_before;
        self.held = self.held.max(until);
    }

    /// Whether nothing of the answer shows yet.
    pub fn is_first(&self) -> bool {
        !self.visible
    }

    /// What became of [`Step::Send`], if it was sent.
    pub fn sent(&mut self, message_id: i64) {
        self.failures = 0;
        self.visible = true;
        self.message = Some(message_id);
    }

    /// The message that shows the preview, to be deleted once the real answer has been sent.
    pub fn message(&self) -> Option<i64> {
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays an answer of which `text(t)` bytes are there after `t` milliseconds, looking whenever the preview wants to, and
    /// writes down what it did when.
    struct Play {
        start: Instant,
        now: u64,
        preview: Preview,
        done: Vec<(u64, Step)>,
    }

    impl Play {
        fn new(private_chat: bool) -> Self {
            let start = Instant::now();
            Self {
                start,
                now: 0,
                preview: Preview::new(start, private_chat),
                done: Vec::new(),
            }
        }

        fn until(
            &mut self,
            end: u64,
            text: impl Fn(u64) -> usize,
            result: impl Fn(Step) -> Result<i64, TelegramError>,
        ) -> &mut Self {
            while self.now < end {
                let now = self.start + Duration::from_millis(self.now);
                match self.preview.next(now, text(self.now)) {
                    Step::Wait(until) => {
                        assert!(until > now, "a wait that is none would spin");
                        // New words wake the preview at any time; looking too often must do no harm.
                        let wait = u64::try_from((until - now).as_millis()).unwrap_or(50);
                        self.now += wait.clamp(1, 50);
                    }
                    step => {
                        self.done.push((self.now, step));
                        match result(step) {
                            Ok(id) if step == Step::Send => self.preview.sent(id),
                            result => {
                                self.preview.done(now, step, result.as_ref().map(|_| ()));
                            }
                        }
                    }
                }
            }
            self
        }

        fn times(&self, wanted: impl Fn(Step) -> bool) -> Vec<u64> {
            self.done
                .iter()
                .filter(|(_, step)| wanted(*step))
                .map(|(at, _)| *at)
                .collect()
        }
    }

    #[allow(
        clippy::unnecessary_wraps,
        reason = "it stands for a call that can fail"
    )]
    fn fine(_: Step) -> Result<i64, TelegramError> {
        Ok(77)
    }

    /// The first words after 2 s, then 40 bytes a second.
    fn steady(at: u64) -> usize {
        usize::try_from(at.saturating_sub(1_950) / 25).expect("small")
    }

    #[test]
    fn typing_shows_while_the_assistant_thinks_and_a_quick_answer_has_none() {
        let mut play = Play::new(true);
        play.until(14_000, |_| 0, fine);
        assert_eq!(
            play.times(|s| s == Step::Typing),
            [300, 4_800, 9_300, 13_800]
        );
        assert_eq!(play.done.len(), 4);
        assert!(Play::new(true).until(290, |_| 5, fine).done.is_empty());
    }

    #[test]
    fn the_first_words_show_within_a_second_and_a_half_and_then_once_a_second() {
        let mut play = Play::new(true);
        play.until(12_000, steady, fine);
        let drafts = play.times(|s| s == Step::Draft);
        assert!((2_700..=2_900).contains(&drafts[0]), "{drafts:?}");
        assert!(drafts.len() >= 9, "{drafts:?}");
        assert!(
            drafts.windows(2).all(|d| d[1] - d[0] >= 1_000),
            "{drafts:?}"
        );
        assert_eq!(play.times(|s| s == Step::Typing).last(), Some(&300));
        assert_eq!(play.preview.message(), None);
    }

    #[test]
    fn what_there_is_no_room_for_is_shown_as_soon_as_there_is() {
        let mut play = Play::new(true);
        play.until(3_400, steady, fine);
        let last = *play.times(|s| s == Step::Draft).last().expect("one");
        let due = play.start + Duration::from_millis(last + 1_000);
        assert_eq!(play.preview.next(due, 500), Step::Draft);
        play.preview.put_off(due + Duration::from_millis(700));
        play.now = last + 1_000;
        play.until(12_000, steady, fine);
        let drafts = play.times(|s| s == Step::Draft);
        let next = drafts.iter().find(|at| **at > last).expect("one");
        assert!((last + 1_700..=last + 1_760).contains(next), "{drafts:?}");
    }

    #[test]
    fn the_first_words_do_not_wait_for_a_slow_typing() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut preview = Preview::new(start, true);
        assert_eq!(preview.next(at(400), 0), Step::Typing);
        // It has not ended when the first words come, nor when they are due.
        assert_eq!(preview.next(at(500), 1), Step::Wait(at(1_300)));
        assert!(preview.is_first());
        assert_eq!(preview.next(at(1_300), 9), Step::Draft);
        preview.done(at(1_350), Step::Draft, Ok(()));
        assert!(!preview.is_first());
    }

    #[test]
    fn words_that_telegram_did_not_take_are_still_the_first() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut preview = Preview::new(start, true);
        assert!(matches!(preview.next(at(100), 1), Step::Wait(_)));
        assert_eq!(preview.next(at(1_000), 9), Step::Draft);
        preview.done(at(1_000), Step::Draft, Err(&TelegramError::Server(502)));
        assert!(preview.is_first());
    }

    #[test]
    fn a_slow_call_does_not_bring_the_next_one_closer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut preview = Preview::new(start, true);
        assert_eq!(preview.next(at(400), 0), Step::Typing);
        preview.done(at(400), Step::Typing, Ok(()));
        assert!(matches!(preview.next(at(500), 1), Step::Wait(_)));
        assert_eq!(preview.next(at(1_500), 9), Step::Draft);
        preview.done(at(2_100), Step::Draft, Ok(()));
        assert_eq!(preview.next(at(2_500), 99), Step::Wait(at(3_100)));
        assert_eq!(preview.next(at(3_100), 99), Step::Draft);
    }

    #[test]
    fn a_draft_is_shown_again_before_it_vanishes() {
        let mut play = Play::new(true);
        play.until(65_000, |at| usize::from(at > 1_000), fine);
        let drafts = play.times(|s| s == Step::Draft);
        assert_eq!(drafts.len(), 4, "{drafts:?}");
        assert!(
            drafts.windows(2).all(|d| d[1] - d[0] < 25_000),
            "{drafts:?}"
        );
    }

    #[test]
    fn a_group_sees_one_message_that_is_edited_less_than_20_times_a_minute() {
        let mut play = Play::new(false);
        play.until(62_000, steady, fine);
        assert_eq!(play.times(|s| s == Step::Send).len(), 1);
        let edits = play.times(|s| s == Step::Edit(77));
        assert!((10..20).contains(&edits.len()), "{edits:?}");
        assert!(play.times(|s| s == Step::Draft).is_empty());
        assert_eq!(play.preview.message(), Some(77));
    }

    #[test]
    fn a_server_without_drafts_gets_edits_at_most_once_a_second() {
        let refused = |step| match step {
            Step::Draft => Err(TelegramError::Refused {
                code: 404,
                description: "Not Found: method not found".into(),
            }),
            _ => Ok(77),
        };
        let mut play = Play::new(true);
        play.until(10_000, steady, refused);
        assert_eq!(play.times(|s| s == Step::Draft).len(), 1);
        assert_eq!(play.times(|s| s == Step::Send).len(), 1);
        let edits = play.times(|s| matches!(s, Step::Edit(_)));
        assert!(edits.len() >= 5, "{edits:?}");
        assert!(edits.windows(2).all(|e| e[1] - e[0] >= 1_000), "{edits:?}");
    }

    #[test]
    fn a_429_is_obeyed_and_slows_the_rest_down() {
        let mut play = Play::new(true);
        play.until(4_000, steady, |step| match step {
            Step::Draft => Err(TelegramError::RateLimited(Duration::from_secs(10))),
            _ => Ok(0),
        });
        let held = play.now;
        play.until(30_000, steady, fine);
        let drafts = play.times(|s| s == Step::Draft);
        let after: Vec<_> = drafts.iter().filter(|at| **at > held).copied().collect();
        assert!(after[0] - drafts[0] >= 10_000, "{drafts:?}");
        assert!(after.windows(2).all(|d| d[1] - d[0] >= 2_000), "{drafts:?}");
        assert!(
            play.times(|s| s == Step::Typing)
                .iter()
                .all(|at| *at < held || *at > after[0] - 100)
        );
    }

    #[test]
    fn a_user_who_blocked_the_bot_and_a_send_that_may_have_arrived_end_the_preview() {
        for error in [
            TelegramError::Forbidden("blocked".into()),
            TelegramError::ChatNotFound,
        ] {
            let mut play = Play::new(true);
            play.until(20_000, steady, |step| match step {
                Step::Draft => Err(error.clone()),
                _ => Ok(0),
            });
            assert_eq!(play.times(|s| s == Step::Draft).len(), 1, "{error:?}");
        }
        let mut play = Play::new(false);
        play.until(20_000, steady, |step| match step {
            Step::Send => Err(TelegramError::Ambiguous("lost".into())),
            _ => Ok(0),
        });
        assert_eq!(play.times(|s| s == Step::Send).len(), 1);
    }

    #[test]
    fn a_server_that_is_down_is_not_asked_for_ever() {
        let mut play = Play::new(true);
        play.until(60_000, steady, |_| Err(TelegramError::Server(502)));
        assert_eq!(play.times(|s| s == Step::Draft).len(), 3);
    }
}
