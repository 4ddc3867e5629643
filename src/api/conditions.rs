//! Condition types and reasons: every word that the operator may write into `status.conditions`, and nothing else.
//!
//! The table in the README's troubleshooting chapter follows this module.

/// Condition types.
pub mod types {
    /// The Secret holds a token and `getMe` accepts it.
    pub const TOKEN_VALID: &str = "TokenValid";
    /// Every list that decides is resolved.
    pub const ACCESS_RESOLVED: &str = "AccessResolved";
    /// The webhook is registered and verified, or the poller has completed a poll.
    pub const CONNECTED: &str = "Connected";
    /// The assistant's key resolves and exchanges succeed.
    pub const ASSISTANT_READY: &str = "AssistantReady";
    /// Messages flow.
    pub const READY: &str = "Ready";
    /// kstatus: the operator is still working towards the spec. Present only while true.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: nothing will change until somebody changes an input. Present only while true.
    pub const STALLED: &str = "Stalled";
}

/// Reasons, each with the condition it belongs to.
pub mod reasons {
    /// `TokenValid`: the Secret does not exist.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// `TokenValid`: the Secret has no such key.
    pub const SECRET_KEY_MISSING: &str = "SecretKeyMissing";
    /// `TokenValid`: the value is not a bot token.
    pub const TOKEN_MALFORMED: &str = "TokenMalformed";
    /// `TokenValid`: Telegram answers 401.
    pub const TOKEN_UNAUTHORIZED: &str = "TokenUnauthorized";
    /// `TokenValid`: an older connector holds this bot.
    pub const DUPLICATE_BOT: &str = "DuplicateBot";
    /// `TokenValid`, `Connected`: Telegram does not answer, or answers 5xx.
    pub const TELEGRAM_UNREACHABLE: &str = "TelegramUnreachable";
    /// `TokenValid` is true.
    pub const TOKEN_ACCEPTED: &str = "TokenAccepted";

    /// `AccessResolved`: a referenced list does not exist.
    pub const USER_LIST_NOT_FOUND: &str = "UserListNotFound";
    /// `AccessResolved`: a referenced list cannot be read.
    pub const USER_LIST_INVALID: &str = "UserListInvalid";
    /// `AccessResolved` is true.
    pub const RESOLVED: &str = "Resolved";

    /// `Connected`: Telegram refuses the webhook.
    pub const WEBHOOK_REJECTED: &str = "WebhookRejected";
    /// `Connected`: Telegram cannot deliver to the webhook.
    pub const WEBHOOK_UNREACHABLE: &str = "WebhookUnreachable";
    /// `Connected`: somebody else keeps replacing the webhook.
    pub const WEBHOOK_CONTESTED: &str = "WebhookContested";
    /// `Connected`: another poller holds this bot.
    pub const POLLING_CONFLICT: &str = "PollingConflict";
    /// `Connected`: Telegram asks to wait.
    pub const RATE_LIMITED: &str = "RateLimited";
    /// `Connected`, `Ready`: `spec.suspend` is true.
    pub const SUSPENDED: &str = "Suspended";
    /// `Connected`: not there yet.
    pub const CONNECTING: &str = "Connecting";
    /// `Connected` is true by a completed poll.
    pub const POLLING: &str = "Polling";
    /// `Connected` is true by a verified webhook.
    pub const WEBHOOK_VERIFIED: &str = "WebhookVerified";

    /// `AssistantReady`: the assistant's Secret or its key is missing.
    pub const API_KEY_NOT_FOUND: &str = "ApiKeyNotFound";
    /// `AssistantReady`: no connection to the assistant.
    pub const ASSISTANT_UNREACHABLE: &str = "AssistantUnreachable";
    /// `AssistantReady`: the assistant answers 401 or 403.
    pub const ASSISTANT_UNAUTHORIZED: &str = "AssistantUnauthorized";
    /// `AssistantReady`: the assistant answers with errors.
    pub const ASSISTANT_FAILING: &str = "AssistantFailing";
    /// `AssistantReady` is unknown: no exchange yet.
    pub const NO_EXCHANGE_YET: &str = "NoExchangeYet";
    /// `AssistantReady` is true.
    pub const EXCHANGES_SUCCEED: &str = "ExchangesSucceed";

    /// `Ready` is true.
    pub const MESSAGES_FLOW: &str = "MessagesFlow";

    /// All of them.
    pub const ALL: &[&str] = &[
        SECRET_NOT_FOUND,
        SECRET_KEY_MISSING,
        TOKEN_MALFORMED,
        TOKEN_UNAUTHORIZED,
        DUPLICATE_BOT,
        TELEGRAM_UNREACHABLE,
        TOKEN_ACCEPTED,
        USER_LIST_NOT_FOUND,
        USER_LIST_INVALID,
        RESOLVED,
        WEBHOOK_REJECTED,
        WEBHOOK_UNREACHABLE,
        WEBHOOK_CONTESTED,
        POLLING_CONFLICT,
        RATE_LIMITED,
        SUSPENDED,
        CONNECTING,
        POLLING,
        WEBHOOK_VERIFIED,
        API_KEY_NOT_FOUND,
        ASSISTANT_UNREACHABLE,
        ASSISTANT_UNAUTHORIZED,
        ASSISTANT_FAILING,
        NO_EXCHANGE_YET,
        EXCHANGES_SUCCEED,
        MESSAGES_FLOW,
    ];
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_reason_is_left_out_of_all() {
        let declared = include_str!("conditions.rs")
            .split("pub mod reasons")
            .nth(1)
            .into_iter()
            .flat_map(str::lines)
            .filter(|l| l.trim().starts_with("pub const") && l.contains(": &str ="))
            .count();
        assert_eq!(declared, super::reasons::ALL.len());
    }
}
