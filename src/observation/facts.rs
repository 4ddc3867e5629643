//! Facts: how a bot, its connection and its assistant were last seen to be. A new one replaces the one before.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::damped_fact::Dampable;
use crate::assistant::AssistantFault;
use crate::identity::BotId;
use crate::store::ReachedLimit;
use crate::telegram::bot::BotProfile;

/// What `getMe` last said about a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityFact {
    /// The token is accepted, and this is its bot.
    Accepted(BotProfile),
    /// 401, or 404: Telegram does not accept the token.
    Refused {
        /// For people; no token in it.
        detail: String,
    },
    /// 429.
    RateLimited {
        /// Seconds, as Telegram said.
        retry_after: u32,
    },
    /// No connection, a time-out, or 5xx.
    Unreachable {
        /// For people; no token in it.
        detail: String,
    },
}

/// What the connection last saw of a bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionFact {
    /// A `getUpdates` came back complete for this bot.
    PollCompleted(BotId),
    /// The webhook is registered, and `getWebhookInfo` shows it as it must be.
    WebhookVerified(BotId),
    /// 409: another `getUpdates` holds the token.
    PollingConflict,
    /// Telegram refuses the webhook.
    WebhookRejected {
        /// Telegram's description.
        detail: String,
    },
    /// The webhook is registered, but Telegram cannot deliver to it.
    WebhookUnreachable {
        /// `last_error_message`.
        detail: String,
    },
    /// Somebody else keeps setting a webhook for this bot.
    WebhookContested {
        /// The host of the other webhook's URL.
        host: String,
    },
    /// 429.
    RateLimited {
        /// Seconds, as Telegram said.
        retry_after: u32,
    },
    /// No connection, a time-out, or 5xx.
    Unreachable {
        /// For people; no token in it.
        detail: String,
    },
}

impl Dampable for ConnectionFact {
    const RENEWS_DETAIL: bool = true;

    fn is_fault(&self) -> bool {
        !matches!(self, Self::PollCompleted(_) | Self::WebhookVerified(_))
    }

    fn alternates(&self) -> bool {
        // Each poll of the one ends a poll of the other, and the next one completes.
        matches!(self, Self::PollingConflict)
    }

    fn is_same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What the pipeline last saw of an assistant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AssistantFact {
    /// No exchange yet.
    #[default]
    Unknown,
    /// The last exchange succeeded.
    Succeeding,
    /// Three or more exchanges in a row failed.
    Failing {
        /// Why the last one did.
        fault: AssistantFault,
        /// For people; no key, no chat text in it.
        detail: String,
    },
    /// The last exchange ended with a refusal of the API key.
    KeyRefused {
        /// For people; no key in it.
        detail: String,
    },
}

impl Dampable for AssistantFact {
    // The words may name a request, and so differ with each failure of a fault that lasts.
    const RENEWS_DETAIL: bool = false;

    fn is_fault(&self) -> bool {
        matches!(self, Self::Failing { .. } | Self::KeyRefused { .. })
    }

    fn alternates(&self) -> bool {
        false
    }

    fn is_same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failing { fault, .. }, Self::Failing { fault: other, .. }) => fault == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// A group that `spec.groups.chats` names by an id that it no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedGroup {
    /// The `metadata.generation` of the connector that names it so.
    pub generation: i64,
    /// The id that is named.
    pub from: i64,
    /// The id that it has now.
    pub to: i64,
}

/// Limits of a day that have let questions not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayLimitFact {
    /// The `metadata.generation` of the connector that sets them.
    pub generation: i64,
    /// When the day ends.
    pub until: Timestamp,
    /// Which, in their order, each once.
    pub reached: Vec<ReachedLimit>,
}

impl DayLimitFact {
    /// With what was noted elsewhere of the same day; of different days, or of different limits, the later counts.
    pub fn merge(&mut self, other: Self) -> bool {
        let (own, others) = (self.generation, other.generation);
        if (others, other.until) > (own, self.until) {
            *self = other;
            return true;
        }
        if (others, other.until) < (own, self.until) {
            return false;
        }
        let before = self.reached.len();
        self.reached.extend(other.reached);
        self.reached.sort_unstable();
        self.reached.dedup();
        self.reached.len() > before
    }
}

/// Whether the assistant says what its answers cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFact {
    /// The `metadata.generation` of the connector that counts it.
    pub generation: i64,
    /// It has said so.
    pub is_reported: bool,
}

/// Everything noted of one connector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObservedFacts {
    /// What `getMe` last said, if asked since the connection began.
    pub identity: Option<IdentityFact>,
    /// The connection's last fact, if any since it began.
    pub connection: Option<ConnectionFact>,
    /// The assistant's state.
    pub assistant: AssistantFact,
    /// After how long the facts say something else that was seen already, because a fault that alternates is held.
    #[serde(skip)]
    pub changes_in: Option<Duration>,
    /// Named groups that have another id now, as far as they were heard of.
    pub moved_groups: Vec<MovedGroup>,
    /// Limits of a day that were last reached.
    pub day_limits: Option<DayLimitFact>,
    /// Whether the assistant reports tokens, where a limit counts them.
    pub usage: Option<UsageFact>,
}
