//! Who must not be written to at the moment: a chat that Telegram asked to leave alone, or a bot as a whole.
//!
//! Telegram's 429 does not say whether it means the chat or the bot. One chat's 429 is taken to mean that chat; a second
//! chat's while the first still waits means the bot.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::identity::BotId;

/// Waits in force, in memory: after a restart Telegram says so again.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    bots: Mutex<HashMap<BotId, Waits>>,
}

#[derive(Debug, Default)]
struct Waits {
    whole_bot: Option<Instant>,
    chats: HashMap<i64, Instant>,
}

impl Throttle {
    /// Telegram asked to wait.
    pub(super) fn throttled(&self, bot: BotId, chat: i64, wait: Duration, now: Instant) {
        let until = now + wait;
        let mut bots = self.lock();
        let waits = bots.entry(bot).or_default();
        waits.chats.retain(|_, until| *until > now);
        if waits.chats.keys().any(|other| *other != chat) {
            waits.whole_bot = waits.whole_bot.max(Some(until));
        }
        waits.chats.insert(chat, until);
    }

    /// The bot as a whole is left alone.
    pub(super) fn park(&self, bot: BotId, wait: Duration, now: Instant) {
        let mut bots = self.lock();
        let waits = bots.entry(bot).or_default();
        waits.whole_bot = waits.whole_bot.max(Some(now + wait));
    }

    /// The bot's token has changed: whatever it waited for is over.
    pub(super) fn clear(&self, bot: BotId) {
        self.lock().remove(&bot);
    }

    /// How long this chat must still be left alone.
    pub(super) fn wait(&self, bot: BotId, chat: i64, now: Instant) -> Option<Duration> {
        let mut bots = self.lock();
        let waits = bots.get_mut(&bot)?;
        let until = waits.whole_bot.max(waits.chats.get(&chat).copied());
        let wait = until
            .and_then(|until| until.checked_duration_since(now))
            .filter(|w| !w.is_zero());
        if wait.is_none() {
            waits.chats.remove(&chat);
            if waits.chats.is_empty() && waits.whole_bot.is_none_or(|until| until <= now) {
                bots.remove(&bot);
            }
        }
        wait
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BotId, Waits>> {
        self.bots
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: BotId = BotId(1);
    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn one_chats_429_holds_that_chat_for_exactly_that_long() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.throttled(BOT, 7, MINUTE, now);
        assert_eq!(throttle.wait(BOT, 7, now), Some(MINUTE));
        assert_eq!(throttle.wait(BOT, 8, now), None);
        assert_eq!(throttle.wait(BotId(2), 7, now), None);
        assert_eq!(throttle.wait(BOT, 7, now + MINUTE), None);
    }

    #[test]
    fn two_chats_429_hold_the_bot() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.throttled(BOT, 7, MINUTE, now);
        throttle.throttled(BOT, 8, MINUTE, now);
        assert_eq!(throttle.wait(BOT, 9, now), Some(MINUTE));
        assert_eq!(throttle.wait(BotId(2), 9, now), None);
    }

    #[test]
    fn one_chats_429s_one_after_the_other_never_hold_the_bot() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.throttled(BOT, 7, MINUTE, now);
        throttle.throttled(BOT, 8, MINUTE, now + MINUTE);
        assert_eq!(throttle.wait(BOT, 9, now + MINUTE), None);
    }
}
