//! What the status is made of: what came of the inputs, as plain values.

use jiff::Timestamp;

use crate::api::ALLOW_USE_LABEL;
use crate::api::connector::{ConnectionMode, TelegramConnectorStatus};
use crate::bounded_text::bounded_list;
use crate::controller::access::AccessState;
use crate::identity::BotId;
use crate::observation::ObservedFacts;
use crate::registry::{DayLimits, SessionDuration};

/// Where a key of a Secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretProblem {
    /// There is no such Secret.
    NotFound {
        /// Its name.
        secret: String,
        /// The key that it should have.
        key: String,
    },
    /// It has no such key.
    KeyMissing {
        /// Its name.
        secret: String,
        /// The key that it should have.
        key: String,
        /// The keys that it has.
        present: Vec<String>,
    },
    /// The administrator requires [`ALLOW_USE_LABEL`], which it lacks. Nothing is told of what is in it.
    NotAllowed {
        /// Its name.
        secret: String,
    },
}

impl SecretProblem {
    /// What is wrong and what to do. Names only, never values.
    pub fn message(&self) -> String {
        match self {
            Self::NotFound { secret, key } => {
                format!("Secret \"{secret}\" does not exist; create it with key \"{key}\"")
            }
            Self::KeyMissing {
                secret,
                key,
                present,
            } => {
                let present = if present.is_empty() {
                    "none".to_owned()
                } else {
                    bounded_list(present, ", ")
                };
                format!("Secret \"{secret}\" has no key \"{key}\"; keys present: {present}")
            }
            Self::NotAllowed { secret } => format!(
                "Secret \"{secret}\" may not be used: the administrator requires its label {ALLOW_USE_LABEL}: \"true\"; somebody who may change \
                 the Secret sets it: kubectl label secret {secret} {ALLOW_USE_LABEL}=true"
            ),
        }
    }
}

/// The other connector that holds the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherConnector {
    /// In the same namespace: it may be named.
    Named(String),
    /// Elsewhere: not this namespace's business.
    Elsewhere,
}

/// What came of the bot token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// The Secret or its key is missing, or may not be used.
    Unavailable(SecretProblem),
    /// The value is no bot token.
    Malformed {
        /// The Secret's name.
        secret: String,
        key: String,
    },
    /// It is one, of this bot; Telegram has the last word.
    Given {
        bot: BotId,
        /// The Secret's name.
        secret: String,
        /// Set when an older connector holds the bot.
        duplicate_of: Option<OtherConnector>,
    },
}

/// What came of the assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssistantState {
    /// Built, with its key if it has one.
    Built {
        /// It is not the one that earlier facts were about.
        changed: bool,
    },
    /// Its Secret or the key in it is missing, or may not be used.
    KeyUnavailable(SecretProblem),
    /// The Secret of a header, or the key in it, is missing or may not be used.
    HeaderUnavailable {
        /// The header's name in the manifest.
        name: String,
        /// Its position in `spec.assistant.headers`.
        position: usize,
        /// What is wrong.
        problem: SecretProblem,
    },
    /// It cannot be built from this spec.
    Unusable(String),
}

/// Everything that the status is made of.
#[derive(Debug, Clone)]
pub struct StatusInputs<'a> {
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.suspend`.
    pub suspended: bool,
    /// The environment's mode.
    pub mode: ConnectionMode,
    /// The URL that is registered in webhook mode.
    pub webhook_url: Option<String>,
    /// The bot token.
    pub token: &'a TokenState,
    /// The deciding list.
    pub access: &'a AccessState,
    /// The assistant.
    pub assistant: &'a AssistantState,
    /// The session length in effect.
    pub session: SessionDuration,
    /// What of `spec.groups` needs messages that privacy mode keeps from the bot.
    pub needs_all_group_messages: Option<&'static str>,
    /// The limits of a day, if any is set.
    pub day_limits: Option<&'a DayLimits>,
    /// The time zone of `spec.limits`, where there is none of that name.
    pub unknown_time_zone: Option<&'a str>,
    /// What connection and pipeline saw.
    pub facts: &'a ObservedFacts,
    /// The connection began anew since `previous` was written (another token): what it says of the connection is void.
    pub connection_changed: bool,
    /// The status as it is.
    pub previous: Option<&'a TelegramConnectorStatus>,
    /// The time of conditions that flip.
    pub now: Timestamp,
}
