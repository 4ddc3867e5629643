//! Condition types and reasons: every word that the operator may write into `status.conditions`, and nothing else.
//!
//! The name of a variant is the word that is written. The table in `docs/troubleshooting.md` lists the same reasons, which a test checks.

use std::fmt;

/// An enum whose variants are written by their names.
macro_rules! words {
    ($(#[$enum_doc:meta])* $enum:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $enum {
            $($(#[$doc])* $name,)*
        }

        impl $enum {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word as it is written into the status.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The variant that is written as `word`; `None` for a word of another version of the operator.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl PartialEq<$enum> for String {
            fn eq(&self, other: &$enum) -> bool {
                self.as_str() == other.as_str()
            }
        }
    };
}

words! {
    /// The `type` of a condition.
    ConditionType {
        /// The Secret holds a token and `getMe` accepts it.
        TokenValid,
        /// Every list that decides is resolved.
        AccessResolved,
        /// The webhook is registered and verified, or the poller has completed a poll.
        Connected,
        /// The assistant's key resolves and exchanges succeed.
        AssistantReady,
        /// No limit per day is reached. Present only where one is set; not a part of `Ready`.
        WithinLimits,
        /// Messages flow.
        Ready,
        /// kstatus: the operator is still working towards the spec. Present only while true.
        Reconciling,
        /// kstatus: nothing will change until somebody changes an input. Present only while true.
        Stalled,
    }
}

words! {
    /// The `reason` of a condition; each names the conditions that can have it.
    Reason {
        /// `TokenValid`, `AccessResolved`: the Secret does not exist.
        SecretNotFound,
        /// `TokenValid`, `AccessResolved`: the Secret has no such key.
        SecretKeyMissing,
        /// `TokenValid`, `AccessResolved`, `AssistantReady`: the administrator requires a label that the Secret lacks.
        SecretNotAllowed,
        /// `TokenValid`: the value is not a bot token.
        TokenMalformed,
        /// `TokenValid`: Telegram answers 401.
        TokenUnauthorized,
        /// `TokenValid`: an older connector holds this bot.
        DuplicateBot,
        /// `TokenValid`, `Connected`: Telegram does not answer, or answers 5xx.
        TelegramUnreachable,
        /// `TokenValid` is true.
        TokenAccepted,

        /// `AccessResolved`: a referenced list does not exist.
        UserListNotFound,
        /// `AccessResolved`: a referenced list cannot be read.
        UserListInvalid,
        /// `AccessResolved`: the identity provider does not answer, or not as the protocols say.
        IdentityProviderUnreachable,
        /// `AccessResolved`: the identity provider refuses the client.
        IdentityProviderRefused,
        /// `AccessResolved`: the identity provider has no device authorization endpoint.
        DeviceFlowUnsupported,
        /// `AccessResolved`: the operator has no key for what a sign-in leaves in the store.
        SignInKeyMissing,
        /// `AccessResolved`: a referenced `ClusterTelegramUserList` does not allow the connector's namespace.
        UserListNotAllowed,
        /// `AccessResolved` is true.
        Resolved,

        /// `Connected`: Telegram refuses the webhook.
        WebhookRejected,
        /// `Connected`: Telegram cannot deliver to the webhook.
        WebhookUnreachable,
        /// `Connected`: somebody else keeps replacing the webhook.
        WebhookContested,
        /// `Connected`: another poller holds this bot.
        PollingConflict,
        /// `Connected`: Telegram asks to wait.
        RateLimited,
        /// `Connected`, `Ready`: `spec.suspend` is true.
        Suspended,
        /// `Connected`: not there yet.
        Connecting,
        /// `Connected` is true by a completed poll.
        Polling,
        /// `Connected` is true by a verified webhook.
        WebhookVerified,

        /// `AssistantReady`: the assistant's Secret or its key is missing.
        ApiKeyNotFound,
        /// `AssistantReady`: no connection to the assistant.
        AssistantUnreachable,
        /// `AssistantReady`: the assistant answers 401 or 403.
        AssistantUnauthorized,
        /// `AssistantReady`: the assistant answers with errors.
        AssistantFailing,
        /// `AssistantReady` is unknown: no exchange yet.
        NoExchangeYet,
        /// `AssistantReady` is true.
        ExchangesSucceed,

        /// `WithinLimits`: questions are refused until the day ends.
        DayLimitReached,
        /// `WithinLimits`: there is no time zone of that name.
        TimeZoneUnknown,
        /// `WithinLimits`: tokens are limited, and the assistant reports none.
        UsageNotReported,
        /// `WithinLimits` is true.
        NotReached,

        /// `Ready` is true.
        MessagesFlow,
    }
}

impl Reason {
    /// Whether it says that an identity provider cannot be used.
    pub const fn is_of_identity_provider(self) -> bool {
        matches!(
            self,
            Self::IdentityProviderUnreachable
                | Self::IdentityProviderRefused
                | Self::DeviceFlowUnsupported
        )
    }

    /// Whether `Ready` can have this reason: then it is a label of the metric of connectors by reason.
    pub const fn is_ready_reason(self) -> bool {
        match self {
            Self::SecretNotFound
            | Self::SecretKeyMissing
            | Self::SecretNotAllowed
            | Self::TokenMalformed
            | Self::TokenUnauthorized
            | Self::DuplicateBot
            | Self::TelegramUnreachable
            | Self::UserListNotFound
            | Self::UserListInvalid
            | Self::IdentityProviderUnreachable
            | Self::IdentityProviderRefused
            | Self::DeviceFlowUnsupported
            | Self::SignInKeyMissing
            | Self::UserListNotAllowed
            | Self::WebhookRejected
            | Self::WebhookUnreachable
            | Self::WebhookContested
            | Self::PollingConflict
            | Self::RateLimited
            | Self::Suspended
            | Self::Connecting
            | Self::ApiKeyNotFound
            | Self::AssistantFailing
            | Self::MessagesFlow => true,
            Self::TokenAccepted
            | Self::Resolved
            | Self::Polling
            | Self::WebhookVerified
            | Self::AssistantUnreachable
            | Self::AssistantUnauthorized
            | Self::NoExchangeYet
            | Self::ExchangesSucceed
            | Self::DayLimitReached
            | Self::TimeZoneUnknown
            | Self::UsageNotReported
            | Self::NotReached => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn reason_is_parsed_from_the_word_it_is_written_as() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        }
        assert_eq!(Reason::SecretNotFound.to_string(), "SecretNotFound");
        assert_eq!(Reason::parse("FromAnotherVersion"), None);
    }
}
