//! What a bot has sent lately: whether there is room for a preview, and whether a chat is past what Telegram is known to take.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// A bot's previews and answers together are at most 20 a second, as long as there are previews among them: a third of what
/// Telegram takes is left to answers that come all at once.
pub(super) const SEND_INTERVAL: Duration = Duration::from_millis(50);
/// So far may a bot be ahead of that pace: what is shown first of an answer goes before what only goes on.
pub(super) const FIRST_PREVIEW_BURST: Duration = Duration::from_millis(400);
const PREVIEW_BURST: Duration = Duration::from_millis(100);
/// Between two previews in a chat.
const CHAT_PREVIEW_INTERVAL: Duration = Duration::from_secs(1);
/// A group takes 20 a minute. What only goes on is shown while there were fewer than this many, what is shown first of an answer
/// while there were fewer than that many: so the growing of one answer never delays that the next one shows at all, and the rest
/// is left to the answers.
pub(super) const GROUP_PREVIEWS_PER_MINUTE: usize = 12;
pub(super) const GROUP_FIRST_PREVIEWS_PER_MINUTE: usize = 17;
/// What Telegram takes for one group in a minute, and for any chat in a second.
const GROUP_MESSAGES_PER_MINUTE: usize = 20;
const CHAT_MESSAGES_PER_SECOND: usize = 1;
const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

/// What a bot has sent lately.
#[derive(Debug, Default)]
pub(super) struct SendPace {
    /// When the bot would be done with it at an even pace.
    paced_until: Option<Instant>,
    /// The last preview of each chat, of the last second.
    previews: HashMap<i64, Instant>,
    /// What went to each group in the last minute.
    pub(super) groups: HashMap<i64, VecDeque<Instant>>,
    /// What went to whichever chat in the last second.
    last_second: VecDeque<(Instant, i64)>,
}

impl SendPace {
    /// From when on another preview fits in.
    pub(super) fn next_preview_at(
        &mut self,
        chat: i64,
        first: bool,
        now: Instant,
    ) -> Option<Instant> {
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

    pub(super) fn record_sent(&mut self, chat: i64, now: Instant) {
        self.paced_until =
            Some(self.paced_until.map_or(now, |paced| paced.max(now)) + SEND_INTERVAL);
        while self
            .last_second
            .pop_front_if(|(at, _)| now.saturating_duration_since(*at) >= SECOND)
            .is_some()
        {}
        self.last_second.push_back((now, chat));
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

    pub(super) fn record_preview(&mut self, chat: i64, now: Instant) {
        self.previews
            .retain(|_, last| now.saturating_duration_since(*last) < CHAT_PREVIEW_INTERVAL);
        self.previews.insert(chat, now);
    }

    /// Whether what was sent to the chat, the refused message included, is all that Telegram is known to take: then a 429 means the chat alone.
    pub(super) fn is_over_chat_limit(&self, chat: i64, now: Instant) -> bool {
        let within = |at: &Instant, time| now.saturating_duration_since(*at) < time;
        let in_second = self.last_second.iter();
        let in_second = in_second.filter(|(at, to)| *to == chat && within(at, SECOND));
        let in_minute = self.groups.get(&chat).into_iter().flatten();
        let in_minute = in_minute.filter(|at| within(at, MINUTE));
        in_second.count() > CHAT_MESSAGES_PER_SECOND
            || in_minute.count() >= GROUP_MESSAGES_PER_MINUTE
    }

    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let since = |at: &Instant| now.saturating_duration_since(*at);
        let over = |sent: &VecDeque<Instant>| sent.back().is_none_or(|at| since(at) >= MINUTE);
        self.paced_until.is_none_or(|paced| paced <= now)
            && self
                .previews
                .values()
                .all(|at| since(at) >= CHAT_PREVIEW_INTERVAL)
            && self.groups.values().all(over)
            && self
                .last_second
                .back()
                .is_none_or(|(at, _)| since(at) >= SECOND)
    }
}
