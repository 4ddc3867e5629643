//! Bots whose server does not know rich messages (a Bot API server before 10.1): their answers are texts, without asking each time.
//!
//! All of it is this process's own; after a restart, and in each replica, one more answer finds out.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::identity::BotId;

/// So long a server is believed not to know rich messages: then it may be a newer one.
const BELIEVED_FOR: Duration = Duration::from_hours(1);

/// Since when each bot's server is known not to know rich messages.
#[derive(Debug, Default)]
pub(crate) struct RichSupport {
    unknown_since: Mutex<HashMap<BotId, Instant>>,
}

impl RichSupport {
    /// Whether a bot's server may know rich messages.
    pub(crate) fn may_have(&self, bot: BotId, now: Instant) -> bool {
        let unknown_since = self.unknown_since.lock();
        let since = unknown_since.get(&bot);
        since.is_none_or(|since| now.saturating_duration_since(*since) >= BELIEVED_FOR)
    }

    /// A bot's server does not know rich messages.
    pub(crate) fn record_unknown(&self, bot: BotId, now: Instant) {
        self.unknown_since.lock().insert(bot, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_without_rich_messages_is_tried_again_hourly() {
        let support = RichSupport::default();
        let (old, new, now) = (BotId(1), BotId(2), Instant::now());
        assert!(support.may_have(old, now));
        support.record_unknown(old, now);
        let almost = now
            + BELIEVED_FOR
                .checked_sub(Duration::from_secs(1))
                .expect("an hour");
        assert!(!support.may_have(old, almost) && support.may_have(new, almost));
        assert!(support.may_have(old, now + BELIEVED_FOR));
    }
}
