//! What becomes of updates and of webhook requests, as metrics count it.

/// The outcome of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// Written to the inbox for the first time.
    Received,
    /// Received before: a redelivery.
    Duplicate,
    /// Its sender has no access.
    Denied,
    /// Replied to, and Telegram accepted the whole reply.
    Answered,
    /// An attempt failed and will be repeated.
    Failed,
    /// Ignored: a group message without a mention, a service message, an unknown kind.
    Ignored,
    /// Given up: a dead letter.
    DeadLettered,
}

impl UpdateOutcome {
    pub(super) const ALL: [Self; 7] = [
        Self::Received,
        Self::Duplicate,
        Self::Denied,
        Self::Answered,
        Self::Failed,
        Self::Ignored,
        Self::DeadLettered,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Duplicate => "duplicate",
            Self::Denied => "denied",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// Why the webhook server refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookRefusal {
    /// No connector has this uid, or it is not in webhook mode.
    UnknownConnector,
    /// The `X-Telegram-Bot-Api-Secret-Token` is missing or wrong.
    BadSecret,
    /// The method is not `POST`.
    Method,
    /// The body is longer than the limit.
    TooLarge,
    /// Not `application/json`, or an incomplete body.
    NotAnUpdate,
    /// From Telegram and complete, but not an update: acknowledged, so that Telegram does not send it again.
    Unusable,
    /// The inbox does not accept it now: 503.
    Backlog,
}

impl WebhookRefusal {
    pub(super) const ALL: [Self; 7] = [
        Self::UnknownConnector,
        Self::BadSecret,
        Self::Method,
        Self::TooLarge,
        Self::NotAnUpdate,
        Self::Unusable,
        Self::Backlog,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::UnknownConnector => "unknown_connector",
            Self::BadSecret => "bad_secret",
            Self::Method => "method",
            Self::TooLarge => "too_large",
            Self::NotAnUpdate => "not_an_update",
            Self::Unusable => "unusable",
            Self::Backlog => "backlog",
        }
    }
}
