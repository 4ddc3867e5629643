//! Who must not be written to at the moment: a chat that Telegram asked to leave alone, or a bot as a whole; and which previews
//! of answers there is room for.
//!
//! A 429 holds its chat for as long as Telegram asks. Whether it means the bot too is inferred in [`bot_limit`], from chats alone that were
//! within their own limits: a busy group must not silence the bot for everybody.
//!
//! Answers are sent when they are there, and obey Telegram's 429. Previews are a courtesy and must never provoke one: they stay
//! within Telegram's limits (30 messages a second per bot, about one a second per chat, 20 a minute per group) together with the
//! answers, which go first.

mod bot_limit;
mod pace;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use self::bot_limit::BotLimit;
use self::pace::SendPace;
use crate::identity::BotId;

/// Waits in force, in memory: after a restart Telegram says so again.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    bots: Mutex<HashMap<BotId, BotThrottle>>,
}

#[derive(Debug, Default)]
struct BotThrottle {
    /// Its token is refused: nothing is sent until then.
    paused_until: Option<Instant>,
    /// Telegram asked to leave these chats alone.
    chat_until: HashMap<i64, Instant>,
    limit: BotLimit,
    pace: SendPace,
}

impl BotThrottle {
    /// Until when the chat, or the bot for what its token is refused, must be left alone.
    fn held_until(&self, chat: i64, now: Instant) -> Option<Instant> {
        let chat_until = self.chat_until.get(&chat).copied();
        self.paused_until
            .max(chat_until)
            .filter(|until| *until > now)
    }
}

impl Throttle {
    /// Telegram asked to wait.
    pub(crate) fn record_rate_limit(&self, bot: BotId, chat: i64, wait: Duration, now: Instant) {
        let mut bots = self.lock();
        let bot_throttle = bots.entry(bot).or_default();
        bot_throttle.chat_until.retain(|_, until| *until > now);
        bot_throttle.chat_until.insert(chat, now + wait);
        if bot_throttle.pace.is_over_chat_limit(chat, now) {
            bot_throttle.limit.record_explained(chat);
        } else {
            bot_throttle.limit.record_unexplained(chat, wait, now);
        }
    }

    /// Telegram accepted a message.
    pub(crate) fn record_accepted(&self, bot: BotId, chat: i64) {
        if let Some(bot_throttle) = self.lock().get_mut(&bot) {
            bot_throttle.limit.record_accepted(chat);
        }
    }

    /// The bot as a whole is left alone.
    pub(crate) fn pause_bot(&self, bot: BotId, wait: Duration, now: Instant) {
        let mut bots = self.lock();
        let bot_throttle = bots.entry(bot).or_default();
        bot_throttle.paused_until = bot_throttle.paused_until.max(Some(now + wait));
    }

    /// Records that a message is being sent to a chat, if it may be.
    ///
    /// # Errors
    /// How long it has to wait before it asks again.
    pub(crate) fn reserve_send(&self, bot: BotId, chat: i64, now: Instant) -> Result<(), Duration> {
        let mut bots = self.lock();
        let bot_throttle = bots.entry(bot).or_default();
        let admitted = match bot_throttle.held_until(chat, now) {
            Some(until) => Err(until),
            None => bot_throttle.limit.admit(chat, now),
        };
        admitted.map_err(|until| until.saturating_duration_since(now))?;
        bot_throttle.pace.record_sent(chat, now);
        Ok(())
    }

    /// Takes the room for a preview, the `first` of its answer or a further one.
    ///
    /// # Errors
    /// There is none before that instant.
    pub(crate) fn reserve_preview(
        &self,
        bot: BotId,
        chat: i64,
        first: bool,
        now: Instant,
    ) -> Result<(), Instant> {
        if let Some(wait) = self.remaining_wait(bot, chat, now) {
            return Err(now + wait);
        }
        let mut bots = self.lock();
        let pace = &mut bots.entry(bot).or_default().pace;
        if let Some(at) = pace.next_preview_at(chat, first, now) {
            return Err(at);
        }
        pace.record_sent(chat, now);
        pace.record_preview(chat, now);
        Ok(())
    }

    /// The bot's token has changed: whatever it waited for is over.
    pub(crate) fn clear(&self, bot: BotId) {
        self.lock().remove(&bot);
    }

    /// How long this chat must still be left alone by what is no answer.
    pub(crate) fn remaining_wait(&self, bot: BotId, chat: i64, now: Instant) -> Option<Duration> {
        let mut bots = self.lock();
        let bot_throttle = bots.get_mut(&bot)?;
        let until = bot_throttle
            .held_until(chat, now)
            .max(bot_throttle.limit.courtesy_waits_until(now));
        if until.is_none() {
            bot_throttle.chat_until.retain(|_, until| *until > now);
            let paused = bot_throttle.paused_until.is_some_and(|until| until > now);
            if bot_throttle.chat_until.is_empty()
                && !paused
                && bot_throttle.limit.is_idle(now)
                && bot_throttle.pace.is_idle(now)
            {
                bots.remove(&bot);
            }
        }
        until.map(|until| until.saturating_duration_since(now))
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<BotId, BotThrottle>> {
        self.bots.lock()
    }
}
