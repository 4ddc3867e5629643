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
/// A group takes 20 a minute. What only goes on is shown while there were fewer than this many, what is shown first of an answer
/// while there were fewer than that many: so the growing of one answer never delays that the next one shows at all, and the rest
/// is left to the answers.
const IN_GROUP: usize = 12;
const IN_GROUP_FIRST: usize = 17;
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
        let (ahead, in_group) = if first {
            (AHEAD_FIRST, IN_GROUP_FIRST)
        } else {
            (AHEAD, IN_GROUP)
        };
        let bot = self.paid_until.and_then(|paid| paid.checked_sub(ahead));
        let chats = self.previews.get(&chat).map(|last| *last + BETWEEN_IN_CHAT);
        let group = self.groups.get(&chat).and_then(|sent| {
            // Once the last `in_group` of them are fewer within a minute, there is room.
            let over = sent.len().checked_sub(in_group)?;
            Some(*sent.get(over)? + MINUTE)
        });
        bot.max(chats).max(group).filter(|at| *at > now)
    }

    fn sent(&mut self, chat: i64, now: Instant) {
        self.paid_until = Some(self.paid_until.map_or(now, |paid| paid.max(now)) + BETWEEN);
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

    fn preview(&mut self, chat: i64, now: Instant) {
        self.previews
            .retain(|_, last| now.saturating_duration_since(*last) < BETWEEN_IN_CHAT);
        self.previews.insert(chat, now);
    }

    fn is_quiet(&self, now: Instant) -> bool {
        let since = |at: &Instant| now.saturating_duration_since(*at);
        let over = |sent: &VecDeque<Instant>| sent.back().is_none_or(|at| since(at) >= MINUTE);
        self.paid_until.is_none_or(|paid| paid <= now)
            && self
                .previews
                .values()
                .all(|at| since(at) >= BETWEEN_IN_CHAT)
            && self.groups.values().all(over)
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
    fn a_first_preview_is_delayed_by_a_moment_at_most_while_fifty_chats_show_all_they_can() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        // 48 chats that go on without end, one answer sent in each 12 s, and twelve that begin at the very same time.
        for n in 0..1_000_u32 {
            let now = begun + n * Duration::from_millis(10);
            for chat in 0..48 {
                let _ = throttle.preview(BOT, chat, false, now);
            }
            if n % 25 == 0 {
                throttle.sent(BOT, i64::from(n) % 48, now);
            }
        }
        let now = begun + Duration::from_secs(10);
        for chat in 100..112 {
            let mut at = now;
            while let Err(until) = throttle.preview(BOT, chat, true, at) {
                at = until;
            }
            let delay = at.duration_since(now);
            assert!(delay <= Duration::from_millis(400), "{chat}: {delay:?}");
        }
    }

    #[test]
    fn what_goes_on_in_a_group_never_delays_that_the_next_answer_shows() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        // An answer every 15 s, shown first after one, edited every 4.5 s as far as there is room, and sent.
        for answer in 0..40_u64 {
            let at = |ms| begun + Duration::from_millis(15_000 * answer + ms);
            assert_eq!(
                throttle.preview(BOT, -7, true, at(1_000)),
                Ok(()),
                "{answer}"
            );
            let _ = throttle.preview(BOT, -7, false, at(5_500));
            let _ = throttle.preview(BOT, -7, false, at(10_000));
            throttle.sent(BOT, -7, at(12_000));
        }
    }

    #[test]
    fn first_previews_leave_a_group_room_for_answers() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        let at = |second| begun + second * Duration::from_secs(1);
        let shown = (0..55).filter(|n| throttle.preview(BOT, -7, true, at(*n)).is_ok());
        assert_eq!(shown.count(), IN_GROUP_FIRST);
        assert_eq!(throttle.preview(BOT, -7, true, at(55)), Err(at(60)));
    }

    #[test]
    fn what_went_to_a_group_is_forgotten_after_a_minute() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        for second in 0..1_000 {
            throttle.sent(BOT, -7, begun + Duration::from_secs(second));
        }
        let remembered = |throttle: &Throttle| {
            let bots = throttle.lock();
            bots.get(&BOT).map(|waits| waits.pace.groups[&-7].len())
        };
        assert_eq!(remembered(&throttle), Some(60));
        assert_eq!(
            throttle.wait(BOT, -7, begun + Duration::from_secs(1_100)),
            None
        );
        assert_eq!(remembered(&throttle), None);
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
