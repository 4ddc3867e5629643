//! Who must not be written to at the moment: a chat that Telegram asked to leave alone, or a bot as a whole; and which previews
//! of answers there is room for.
//!
//! Telegram's 429 does not say whether it means the chat or the bot. One chat's 429 is taken to mean that chat; a second
//! chat's while the first still waits means the bot.
//!
//! Answers are sent when they are there, and obey Telegram's 429. Previews are a courtesy and must never provoke one: they stay
//! within Telegram's limits (30 messages a second per bot, about one a second per chat, 20 a minute per group) together with the
//! answers, which go first.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::identity::BotId;

/// A bot's previews and answers together are at most 20 a second, as long as there are previews among them: a third of what
/// Telegram takes is left to answers that come all at once.
const BETWEEN: Duration = Duration::from_millis(50);
/// So far may a bot be ahead of that pace: what is shown first of an answer goes before what only goes on.
const AHEAD_FIRST: Duration = Duration::from_millis(400);
const AHEAD: Duration = Duration::from_millis(100);
/// Between two previews in a chat.
const BETWEEN_IN_CHAT: Duration = Duration::from_secs(1);
/// A group takes 20 a minute; this many may be there before another preview, so that answers and their last previews have room.
const IN_GROUP: usize = 14;
const MINUTE: Duration = Duration::from_mins(1);

/// Waits in force, in memory: after a restart Telegram says so again.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    bots: Mutex<HashMap<BotId, Waits>>,
}

#[derive(Debug, Default)]
struct Waits {
    whole_bot: Option<Instant>,
    chats: HashMap<i64, Instant>,
    pace: Pace,
}

/// What a bot has sent lately.
#[derive(Debug, Default)]
struct Pace {
    /// When the bot would be done with it at an even pace.
    paid_until: Option<Instant>,
    /// The last preview of each chat, of the last second.
    previews: HashMap<i64, Instant>,
    /// What went to each group in the last minute.
    groups: HashMap<i64, VecDeque<Instant>>,
}

impl Pace {
    /// From when on another preview fits in.
    fn room(&mut self, chat: i64, first: bool, now: Instant) -> Option<Instant> {
        let ahead = if first { AHEAD_FIRST } else { AHEAD };
        let bot = self.paid_until.and_then(|paid| paid.checked_sub(ahead));
        let chats = self.previews.get(&chat).map(|last| *last + BETWEEN_IN_CHAT);
        let group = self.groups.get_mut(&chat).and_then(|sent| {
            sent.retain(|at| now.saturating_duration_since(*at) < MINUTE);
            let over = sent.len().checked_sub(IN_GROUP)?;
            Some(*sent.get(over)? + MINUTE)
        });
        bot.max(chats).max(group).filter(|at| *at > now)
    }

    fn sent(&mut self, chat: i64, now: Instant) {
        self.paid_until = Some(self.paid_until.map_or(now, |paid| paid.max(now)) + BETWEEN);
        if chat < 0 {
            self.groups.entry(chat).or_default().push_back(now);
        }
        if self.groups.len() > 100 {
            let lately = |at: &Instant| now.saturating_duration_since(*at) < MINUTE;
            self.groups
                .retain(|_, sent| sent.back().is_some_and(lately));
        }
    }

    fn preview(&mut self, chat: i64, now: Instant) {
        self.previews
            .retain(|_, last| now.saturating_duration_since(*last) < BETWEEN_IN_CHAT);
        self.previews.insert(chat, now);
    }

    fn is_quiet(&self, now: Instant) -> bool {
        let over = |last: &Instant| now.saturating_duration_since(*last) >= BETWEEN_IN_CHAT;
        self.paid_until.is_none_or(|paid| paid <= now)
            && self.previews.values().all(over)
            && self.groups.is_empty()
    }
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

    /// Something is being sent to a chat.
    pub(super) fn sent(&self, bot: BotId, chat: i64, now: Instant) {
        self.lock().entry(bot).or_default().pace.sent(chat, now);
    }

    /// Takes the room for a preview, the `first` of its answer or a further one.
    ///
    /// # Errors
    /// There is none before that instant.
    pub(super) fn preview(
        &self,
        bot: BotId,
        chat: i64,
        first: bool,
        now: Instant,
    ) -> Result<(), Instant> {
        if let Some(wait) = self.wait(bot, chat, now) {
            return Err(now + wait);
        }
        let mut bots = self.lock();
        let pace = &mut bots.entry(bot).or_default().pace;
        if let Some(at) = pace.room(chat, first, now) {
            return Err(at);
        }
        pace.sent(chat, now);
        pace.preview(chat, now);
        Ok(())
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
            let over = waits.whole_bot.is_none_or(|until| until <= now);
            if waits.chats.is_empty() && over && waits.pace.is_quiet(now) {
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

    /// Asks for room for a preview in each of these chats every 10 ms; gives how many there was room for.
    fn shown(throttle: &Throttle, chats: &[i64], from: Instant, seconds: u32) -> usize {
        let looks = (0..100 * seconds).map(|n| from + n * Duration::from_millis(10));
        looks
            .map(|now| {
                let room = |chat: &&i64| throttle.preview(BOT, **chat, false, now).is_ok();
                chats.iter().filter(room).count()
            })
            .sum()
    }

    #[test]
    fn previews_are_one_a_second_in_a_chat_and_twenty_a_second_of_a_bot() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(shown(&throttle, &[7], now, 10), 10);
        let fifty: Vec<i64> = (100..150).collect();
        let shown = shown(&throttle, &fifty, now + MINUTE, 10);
        assert!((195..=205).contains(&shown), "{shown}");
    }

    #[test]
    fn answers_take_the_room_of_previews() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..40 {
            throttle.sent(BOT, n, now);
        }
        assert_eq!(
            throttle.preview(BOT, 7, true, now),
            Err(now + 40 * BETWEEN - AHEAD_FIRST)
        );
        assert!(throttle.preview(BotId(2), 7, true, now).is_ok());
    }

    #[test]
    fn a_group_keeps_room_for_answers_whatever_its_topics_show() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(shown(&throttle, &[-7], now, 55), IN_GROUP);
        throttle.sent(BOT, -7, now + Duration::from_secs(55));
        let later = now + MINUTE;
        assert!(throttle.preview(BOT, -7, false, later).is_err());
        assert_eq!(shown(&throttle, &[-7], now + 2 * MINUTE, 55), IN_GROUP);
    }

    #[test]
    fn no_preview_is_shown_where_telegram_asked_to_wait() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.throttled(BOT, 7, MINUTE, now);
        assert_eq!(throttle.preview(BOT, 7, true, now), Err(now + MINUTE));
        assert_eq!(throttle.preview(BOT, 8, true, now), Ok(()));
    }

    #[test]
    fn one_chats_429s_one_after_the_other_never_hold_the_bot() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.throttled(BOT, 7, MINUTE, now);
        throttle.throttled(BOT, 8, MINUTE, now + MINUTE);
        assert_eq!(throttle.wait(BOT, 9, now + MINUTE), None);
    }
}
