//! Who must not be written to at the moment: a chat that Telegram asked to leave alone, or a bot as a whole; and which previews
//! of answers there is room for.
//!
//! Telegram's 429 does not say whether it means the chat or the bot. One chat's 429 is taken to mean that chat; a second
//! chat's while the first still waits means the bot.
//!
//! Answers are sent when they are there, and obey Telegram's 429. Previews are a courtesy and must never provoke one: they stay
//! within Telegram's limits (30 messages a second per bot, about one a second per chat, 20 a minute per group) together with the
//! answers, which go first.

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::identity::BotId;

/// A bot's previews and answers together are at most 20 a second, as long as there are previews among them: a third of what
/// Telegram takes is left to answers that come all at once.
const SEND_INTERVAL: Duration = Duration::from_millis(50);
/// So far may a bot be ahead of that pace: what is shown first of an answer goes before what only goes on.
const FIRST_PREVIEW_BURST: Duration = Duration::from_millis(400);
const PREVIEW_BURST: Duration = Duration::from_millis(100);
/// Between two previews in a chat.
const CHAT_PREVIEW_INTERVAL: Duration = Duration::from_secs(1);
/// A group takes 20 a minute. What only goes on is shown while there were fewer than this many, what is shown first of an answer
/// while there were fewer than that many: so the growing of one answer never delays that the next one shows at all, and the rest
/// is left to the answers.
const GROUP_PREVIEWS_PER_MINUTE: usize = 12;
const GROUP_FIRST_PREVIEWS_PER_MINUTE: usize = 17;
const MINUTE: Duration = Duration::from_mins(1);

/// Waits in force, in memory: after a restart Telegram says so again.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    bots: Mutex<HashMap<BotId, BotThrottle>>,
}

#[derive(Debug, Default)]
struct BotThrottle {
    bot_until: Option<Instant>,
    chat_until: HashMap<i64, Instant>,
    pace: SendPace,
}

/// What a bot has sent lately.
#[derive(Debug, Default)]
struct SendPace {
    /// When the bot would be done with it at an even pace.
    paced_until: Option<Instant>,
    /// The last preview of each chat, of the last second.
    previews: HashMap<i64, Instant>,
    /// What went to each group in the last minute.
    groups: HashMap<i64, VecDeque<Instant>>,
}

impl SendPace {
    /// From when on another preview fits in.
    fn next_preview_at(&mut self, chat: i64, first: bool, now: Instant) -> Option<Instant> {
        let (ahead, in_group) = if first {
            (FIRST_PREVIEW_BURST, GROUP_FIRST_PREVIEWS_PER_MINUTE)
        } else {
            (PREVIEW_BURST, GROUP_PREVIEWS_PER_MINUTE)
        };
        let bot = self.paced_until.and_then(|paced| paced.checked_sub(ahead));
        let chats = self
            .previews
            .get(&chat)
            .map(|last| *last + CHAT_PREVIEW_INTERVAL);
        let group = self.groups.get(&chat).and_then(|sent| {
            // Once the last `in_group` of them are fewer within a minute, there is room.
            let over = sent.len().checked_sub(in_group)?;
            Some(*sent.get(over)? + MINUTE)
        });
        bot.max(chats).max(group).filter(|at| *at > now)
    }

    fn record_sent(&mut self, chat: i64, now: Instant) {
        self.paced_until =
            Some(self.paced_until.map_or(now, |paced| paced.max(now)) + SEND_INTERVAL);
        let lately = |at: &Instant| now.saturating_duration_since(*at) < MINUTE;
        if chat < 0 {
            let sent = self.groups.entry(chat).or_default();
            sent.retain(lately);
            sent.push_back(now);
        }
        if self.groups.len() > 100 {
            self.groups
                .retain(|_, sent| sent.back().is_some_and(lately));
        }
    }

    fn record_preview(&mut self, chat: i64, now: Instant) {
        self.previews
            .retain(|_, last| now.saturating_duration_since(*last) < CHAT_PREVIEW_INTERVAL);
        self.previews.insert(chat, now);
    }

    fn is_idle(&self, now: Instant) -> bool {
        let since = |at: &Instant| now.saturating_duration_since(*at);
        let over = |sent: &VecDeque<Instant>| sent.back().is_none_or(|at| since(at) >= MINUTE);
        self.paced_until.is_none_or(|paced| paced <= now)
            && self
                .previews
                .values()
                .all(|at| since(at) >= CHAT_PREVIEW_INTERVAL)
            && self.groups.values().all(over)
    }
}

impl Throttle {
    /// Telegram asked to wait.
    pub(crate) fn record_rate_limit(&self, bot: BotId, chat: i64, wait: Duration, now: Instant) {
        let until = now + wait;
        let mut bots = self.lock();
        let bot_throttle = bots.entry(bot).or_default();
        bot_throttle.chat_until.retain(|_, until| *until > now);
        if bot_throttle.chat_until.keys().any(|other| *other != chat) {
            bot_throttle.bot_until = bot_throttle.bot_until.max(Some(until));
        }
        bot_throttle.chat_until.insert(chat, until);
    }

    /// The bot as a whole is left alone.
    pub(crate) fn pause_bot(&self, bot: BotId, wait: Duration, now: Instant) {
        let mut bots = self.lock();
        let bot_throttle = bots.entry(bot).or_default();
        bot_throttle.bot_until = bot_throttle.bot_until.max(Some(now + wait));
    }

    /// Something is being sent to a chat.
    pub(crate) fn record_sent(&self, bot: BotId, chat: i64, now: Instant) {
        self.lock()
            .entry(bot)
            .or_default()
            .pace
            .record_sent(chat, now);
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

    /// How long this chat must still be left alone.
    pub(crate) fn remaining_wait(&self, bot: BotId, chat: i64, now: Instant) -> Option<Duration> {
        let mut bots = self.lock();
        let bot_throttle = bots.get_mut(&bot)?;
        let until = bot_throttle
            .bot_until
            .max(bot_throttle.chat_until.get(&chat).copied());
        let wait = until
            .and_then(|until| until.checked_duration_since(now))
            .filter(|w| !w.is_zero());
        if wait.is_none() {
            bot_throttle.chat_until.remove(&chat);
            let over = bot_throttle.bot_until.is_none_or(|until| until <= now);
            if bot_throttle.chat_until.is_empty() && over && bot_throttle.pace.is_idle(now) {
                bots.remove(&bot);
            }
        }
        wait
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<BotId, BotThrottle>> {
        self.bots.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: BotId = BotId(1);
    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn rate_limit_of_one_chat_pauses_that_chat() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.record_rate_limit(BOT, 7, MINUTE, now);
        assert_eq!(throttle.remaining_wait(BOT, 7, now), Some(MINUTE));
        assert_eq!(throttle.remaining_wait(BOT, 8, now), None);
        assert_eq!(throttle.remaining_wait(BotId(2), 7, now), None);
        assert_eq!(throttle.remaining_wait(BOT, 7, now + MINUTE), None);
    }

    #[test]
    fn rate_limits_of_two_chats_pause_the_bot() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.record_rate_limit(BOT, 7, MINUTE, now);
        throttle.record_rate_limit(BOT, 8, MINUTE, now);
        assert_eq!(throttle.remaining_wait(BOT, 9, now), Some(MINUTE));
        assert_eq!(throttle.remaining_wait(BotId(2), 9, now), None);
    }

    /// Asks for room for a preview in each of these chats every 10 ms; gives how many there was room for.
    fn shown(throttle: &Throttle, chats: &[i64], from: Instant, seconds: u32) -> usize {
        let looks = (0..100 * seconds).map(|n| from + n * Duration::from_millis(10));
        looks
            .map(|now| {
                let room = |chat: &&i64| throttle.reserve_preview(BOT, **chat, false, now).is_ok();
                chats.iter().filter(room).count()
            })
            .sum()
    }

    #[test]
    fn previews_are_limited_per_chat_and_per_bot() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(shown(&throttle, &[7], now, 10), 10);
        let fifty: Vec<i64> = (100..150).collect();
        let shown = shown(&throttle, &fifty, now + MINUTE, 10);
        assert!((195..=205).contains(&shown), "{shown}");
    }

    #[test]
    fn answers_delay_previews() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..40 {
            throttle.record_sent(BOT, n, now);
        }
        assert_eq!(
            throttle.reserve_preview(BOT, 7, true, now),
            Err(now + 40 * SEND_INTERVAL - FIRST_PREVIEW_BURST)
        );
        assert!(throttle.reserve_preview(BotId(2), 7, true, now).is_ok());
    }

    #[test]
    fn first_preview_is_delayed_by_at_most_400_ms_under_load() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        // 48 chats that go on without end, one answer sent in each 12 s, and twelve that begin at the very same time.
        for n in 0..1_000_u32 {
            let now = begun + n * Duration::from_millis(10);
            for chat in 0..48 {
                let _ = throttle.reserve_preview(BOT, chat, false, now);
            }
            if n % 25 == 0 {
                throttle.record_sent(BOT, i64::from(n) % 48, now);
            }
        }
        let now = begun + Duration::from_secs(10);
        for chat in 100..112 {
            let mut at = now;
            while let Err(until) = throttle.reserve_preview(BOT, chat, true, at) {
                at = until;
            }
            let delay = at.duration_since(now);
            assert!(delay <= Duration::from_millis(400), "{chat}: {delay:?}");
        }
    }

    #[test]
    fn later_previews_never_delay_a_first_preview_in_a_group() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        // An answer every 15 s, shown first after one, edited every 4.5 s as far as there is room, and sent.
        for answer in 0..40_u64 {
            let at = |ms| begun + Duration::from_millis(15_000 * answer + ms);
            assert_eq!(
                throttle.reserve_preview(BOT, -7, true, at(1_000)),
                Ok(()),
                "{answer}"
            );
            let _ = throttle.reserve_preview(BOT, -7, false, at(5_500));
            let _ = throttle.reserve_preview(BOT, -7, false, at(10_000));
            throttle.record_sent(BOT, -7, at(12_000));
        }
    }

    #[test]
    fn first_previews_leave_group_capacity_for_answers() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        let at = |second| begun + second * Duration::from_secs(1);
        let shown = (0..55).filter(|n| throttle.reserve_preview(BOT, -7, true, at(*n)).is_ok());
        assert_eq!(shown.count(), GROUP_FIRST_PREVIEWS_PER_MINUTE);
        assert_eq!(throttle.reserve_preview(BOT, -7, true, at(55)), Err(at(60)));
    }

    #[test]
    fn group_sends_expire_after_a_minute() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        for second in 0..1_000 {
            throttle.record_sent(BOT, -7, begun + Duration::from_secs(second));
        }
        let remembered = |throttle: &Throttle| {
            let bots = throttle.lock();
            bots.get(&BOT)
                .map(|bot_throttle| bot_throttle.pace.groups[&-7].len())
        };
        assert_eq!(remembered(&throttle), Some(60));
        assert_eq!(
            throttle.remaining_wait(BOT, -7, begun + Duration::from_secs(1_100)),
            None
        );
        assert_eq!(remembered(&throttle), None);
    }

    #[test]
    fn previews_leave_group_capacity_for_answers() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(shown(&throttle, &[-7], now, 55), GROUP_PREVIEWS_PER_MINUTE);
        throttle.record_sent(BOT, -7, now + Duration::from_secs(55));
        let later = now + MINUTE;
        assert!(throttle.reserve_preview(BOT, -7, false, later).is_err());
        assert_eq!(
            shown(&throttle, &[-7], now + 2 * MINUTE, 55),
            GROUP_PREVIEWS_PER_MINUTE
        );
    }

    #[test]
    fn no_preview_is_shown_where_telegram_asked_to_wait() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.record_rate_limit(BOT, 7, MINUTE, now);
        assert_eq!(
            throttle.reserve_preview(BOT, 7, true, now),
            Err(now + MINUTE)
        );
        assert_eq!(throttle.reserve_preview(BOT, 8, true, now), Ok(()));
    }

    #[test]
    fn one_chats_429s_one_after_the_other_never_hold_the_bot() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.record_rate_limit(BOT, 7, MINUTE, now);
        throttle.record_rate_limit(BOT, 8, MINUTE, now + MINUTE);
        assert_eq!(throttle.remaining_wait(BOT, 9, now + MINUTE), None);
    }
}
