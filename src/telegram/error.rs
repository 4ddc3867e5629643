//! The errors of Bot API calls, in classes that differ in what the caller has to do.

use std::time::Duration;

/// A failed Bot API call. Never holds a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelegramError {
    /// 401: the token is revoked or wrong. Stop, and wait for the Secret to change.
    #[error("Telegram does not accept the token (401 Unauthorized)")]
    Unauthorized,
    /// 404: a malformed token, or a wrong API root.
    #[error(
        "Telegram knows no such bot or method (404 Not Found): malformed token or wrong --telegram-api-url"
    )]
    NotFound,
    /// 409: a webhook is set, so getUpdates is refused.
    #[error("a webhook is active for this bot (409 Conflict)")]
    WebhookActive,
    /// 409: another getUpdates holds this token, or a setWebhook ended ours.
    #[error("{0}")]
    Conflict(String),
    /// 429: wait exactly this long, for this bot and chat.
    #[error("Telegram asks to wait {} s (429 Too Many Requests)", .0.as_secs())]
    RateLimited(Duration),
    /// 403: blocked, kicked, deactivated. Final for this reply; no error of the connector.
    #[error("{0}")]
    Forbidden(String),
    /// 400 `chat not found`. Final for this reply.
    #[error("chat not found")]
    ChatNotFound,
    /// 400: the group became a supergroup with this id.
    #[error("the group was upgraded to a supergroup")]
    MigratedTo(i64),
    /// 400 `message thread not found`: the topic is gone; send again without it.
    #[error("the topic is gone (message thread not found)")]
    ThreadNotFound,
    /// 400 `TOPIC_CLOSED`: the topic is closed, and the bot may not write to it. Final for this reply.
    #[error("the topic is closed (TOPIC_CLOSED)")]
    TopicClosed,
    /// 400 `can't parse entities`: send again as plain text.
    #[error("{0}")]
    CantParseEntities(String),
    /// 400 `message is not modified`.
    #[error("message is not modified")]
    NotModified,
    /// 400 `query is too old…`: a callback query that was answered, or that nobody answered in time.
    #[error("the callback query has expired, or was answered")]
    QueryExpired,
    /// The file is larger than Telegram serves or than the caller accepts.
    #[error("the file is too big")]
    FileTooBig,
    /// Any other 4xx.
    #[error("Telegram refuses the request ({code}): {description}")]
    Refused {
        /// `error_code`.
        code: u16,
        /// `description`.
        description: String,
    },
    /// 5xx. Retry with backoff and jitter.
    #[error("Telegram has a fault ({0})")]
    Server(u16),
    /// No connection was made: the request was certainly not processed.
    #[error("Telegram cannot be reached: {0}")]
    Unreachable(String),
    /// Timed out or lost after writing: the request may have been processed.
    #[error("the connection to Telegram was lost before the answer: {0}")]
    Ambiguous(String),
    /// The response does not follow the Bot API.
    #[error("Telegram's answer makes no sense: {0}")]
    Malformed(String),
}

impl TelegramError {
    /// The class as a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::WebhookActive => "webhook_active",
            Self::Conflict(_) => "conflict",
            Self::RateLimited(_) => "rate_limited",
            Self::Forbidden(_) => "forbidden",
            Self::ChatNotFound => "chat_not_found",
            Self::MigratedTo(_) => "migrated",
            Self::ThreadNotFound => "thread_not_found",
            Self::TopicClosed => "topic_closed",
            Self::CantParseEntities(_) => "cant_parse_entities",
            Self::NotModified => "not_modified",
            Self::QueryExpired => "query_expired",
            Self::FileTooBig => "file_too_big",
            Self::Refused { .. } => "refused",
            Self::Server(_) => "server",
            Self::Unreachable(_) => "unreachable",
            Self::Ambiguous(_) => "ambiguous",
            Self::Malformed(_) => "malformed",
        }
    }

    /// Applies `map` to every text that came from outside.
    pub(super) fn map_text(self, map: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Conflict(text) => Self::Conflict(map(&text)),
            Self::Forbidden(text) => Self::Forbidden(map(&text)),
            Self::CantParseEntities(text) => Self::CantParseEntities(map(&text)),
            Self::Refused { code, description } => Self::Refused {
                code,
                description: map(&description),
            },
            Self::Unreachable(text) => Self::Unreachable(map(&text)),
            Self::Ambiguous(text) => Self::Ambiguous(map(&text)),
            Self::Malformed(text) => Self::Malformed(map(&text)),
            // Listed by name: a new variant with a text must be added above.
            unchanged @ (Self::Unauthorized
            | Self::NotFound
            | Self::WebhookActive
            | Self::RateLimited(_)
            | Self::ChatNotFound
            | Self::MigratedTo(_)
            | Self::ThreadNotFound
            | Self::TopicClosed
            | Self::NotModified
            | Self::QueryExpired
            | Self::FileTooBig
            | Self::Server(_)) => unchanged,
        }
    }
}
