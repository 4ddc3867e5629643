//! Whether Telegram limits a bot as a whole. Its 429 does not say so: it is inferred, and the inference must cost little where it is wrong.
//!
//! Two chats that were within their own limits and got a 429 at about the same time mean the bot. Then everybody waits for a moment, however
//! long Telegram asked those two to wait, and one message is sent as a probe: if Telegram accepts it the limit is over.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// 429s of two chats mean the bot if they come within this time; for as long a pause is remembered that nothing was sent after.
const INFERENCE_WINDOW: Duration = Duration::from_secs(5);
/// How long at most a bot pauses before the next probe.
pub(super) const MAX_BOT_PAUSE: Duration = Duration::from_secs(3);
/// How long the result of a probe is waited for before the next one.
pub(super) const PROBE_TIME: Duration = Duration::from_millis(300);

/// What is known of a limit of one bot.
#[derive(Debug, Default)]
pub(super) struct BotLimit {
    /// The chats whose 429 their own pace does not explain, and when it came; of the inference window.
    unexplained: HashMap<i64, Instant>,
    /// `Some` while a limit of the bot is inferred.
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Pause {
    /// Until then nobody sends.
    until: Instant,
    /// The chat that was let through after it, and until when its result is waited for.
    probe: Option<(i64, Instant)>,
}

impl BotLimit {
    /// A chat that was within its own limits got a 429.
    pub(super) fn record_unexplained(&mut self, chat: i64, wait: Duration, now: Instant) {
        self.unexplained
            .retain(|_, at| now.saturating_duration_since(*at) < INFERENCE_WINDOW);
        self.unexplained.insert(chat, now);
        // Of the bot's limit each further 429 tells, too: it came in spite of the pause.
        if self.unexplained.len() > 1 || self.pause.is_some() {
            let until = now + wait.min(MAX_BOT_PAUSE);
            let before = self.pause.take().map(|pause| pause.until);
            self.pause = Some(Pause {
                until: before.map_or(until, |before| before.max(until)),
                probe: None,
            });
        }
    }

    /// A chat got a 429 that its own pace explains. As a probe it has told nothing: another one may be sent at once.
    pub(super) fn record_explained(&mut self, chat: i64) {
        if let Some(pause) = &mut self.pause
            && pause.probe.is_some_and(|(probing, _)| probing == chat)
        {
            pause.probe = None;
        }
    }

    /// Telegram accepted a message: if it was the probe, the limit is over.
    pub(super) fn record_accepted(&mut self, chat: i64) {
        let probed = |pause: &mut Pause| pause.probe.is_some_and(|(probing, _)| probing == chat);
        if self.pause.take_if(probed).is_some() {
            self.unexplained.clear();
        }
    }

    /// Lets a message through, as the probe if one is due.
    ///
    /// # Errors
    /// When to ask again.
    pub(super) fn admit(&mut self, chat: i64, now: Instant) -> Result<(), Instant> {
        self.forget_old_pause(now);
        let Some(pause) = &mut self.pause else {
            return Ok(());
        };
        if pause.until > now {
            return Err(pause.until);
        }
        match pause.probe {
            Some((_, until)) if until > now => Err(until),
            _ => {
                pause.probe = Some((chat, now + PROBE_TIME));
                Ok(())
            }
        }
    }

    /// Until when what is no answer has to wait: it is no probe, and lets one go first.
    pub(super) fn courtesy_waits_until(&self, now: Instant) -> Option<Instant> {
        let pause = self.pause.as_ref()?;
        let until = match pause.probe {
            Some((_, until)) => until,
            None => pause.until + PROBE_TIME,
        };
        (until > now).then_some(until)
    }

    /// A pause that nobody waited for is over, and so is one whose probes are never answered.
    fn forget_old_pause(&mut self, now: Instant) {
        self.pause
            .take_if(|pause| pause.until + INFERENCE_WINDOW <= now);
    }

    pub(super) fn is_idle(&mut self, now: Instant) -> bool {
        self.forget_old_pause(now);
        let over = |at: &Instant| now.saturating_duration_since(*at) >= INFERENCE_WINDOW;
        self.pause.is_none() && self.unexplained.values().all(over)
    }
}
