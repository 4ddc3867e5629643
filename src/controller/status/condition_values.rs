//! What each condition says: a status, a reason, and a sentence that says what is wrong and what to do next.

use super::find::find_condition;
use super::inputs::{AssistantState, OtherConnector, SecretProblem, StatusInputs, TokenState};
use crate::api::conditions::{ConditionType, Reason};
use crate::assistant::AssistantFault;
use crate::bounded_text::bounded_list;
use crate::controller::access::AccessProblem;
use crate::identity::BotId;
use crate::observation::{AssistantFact, ConnectionFact, IdentityFact};

/// A condition before it knows its time and generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConditionValue {
    pub(super) status: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
}

impl ConditionValue {
    /// The same reason and message under another status.
    pub(super) fn with_status(&self, status: &'static str) -> Self {
        Self {
            status,
            ..self.clone()
        }
    }
}

/// `AssistantReady` where a value that a request needs is in no Secret.
fn assistant_secret_missing(problem: &SecretProblem, message: &str) -> ConditionValue {
    let reason = match problem {
        SecretProblem::NotFound { .. } | SecretProblem::KeyMissing { .. } => Reason::ApiKeyNotFound,
        SecretProblem::NotAllowed { .. } => Reason::SecretNotAllowed,
    };
    condition_value(FALSE, reason, format!("{message}; permitted messages wait"))
}

pub(super) fn condition_value(
    status: &'static str,
    reason: Reason,
    message: impl Into<String>,
) -> ConditionValue {
    ConditionValue {
        status,
        reason: reason.to_string(),
        message: message.into(),
    }
}

/// What a condition says of users whose entries have ended.
pub(super) fn ended_users(ended: usize) -> String {
    match ended {
        0 => String::new(),
        1 => "; 1 has ended".to_owned(),
        _ => format!("; {ended} have ended"),
    }
}

/// Behind the message of a connection that Telegram keeps most group messages from.
const PRIVACY_MODE: &str = " and the bot's privacy mode is on, so that in groups it gets only commands, mentions and replies: \
     send /setprivacy to BotFather, choose the bot and Disable, and then remove the bot from its groups and add it again; or make it an administrator of \
     the group, which this condition does not see";

/// Whether a message of `Connected` says that privacy mode is in the way.
pub(crate) fn names_privacy_mode(message: &str) -> bool {
    message.ends_with(PRIVACY_MODE)
}

pub(super) const TRUE: &str = "True";
pub(super) const FALSE: &str = "False";
const UNKNOWN: &str = "Unknown";

impl StatusInputs<'_> {
    pub(super) fn token_valid(&self) -> ConditionValue {
        let (bot, secret, duplicate_of) = match self.token {
            TokenState::Unavailable(problem) => {
                let reason = match problem {
                    SecretProblem::NotFound { .. } => Reason::SecretNotFound,
                    SecretProblem::KeyMissing { .. } => Reason::SecretKeyMissing,
                    SecretProblem::NotAllowed { .. } => Reason::SecretNotAllowed,
                };
                return condition_value(FALSE, reason, problem.message());
            }
            TokenState::Malformed { secret, key } => {
                return condition_value(
                    FALSE,
                    Reason::TokenMalformed,
                    format!(
                        "Secret \"{secret}\", key \"{key}\": the value is not a bot token; put in the whole token as \
                         BotFather sent it, digits, a colon and about 35 characters"
                    ),
                );
            }
            TokenState::Given {
                bot,
                secret,
                duplicate_of,
            } => (bot, secret, duplicate_of),
        };
        if let Some(other) = duplicate_of {
            let other = match other {
                OtherConnector::Named(name) => format!("TelegramConnector \"{name}\""),
                OtherConnector::Elsewhere => "a TelegramConnector in another namespace".to_owned(),
            };
            return condition_value(
                FALSE,
                Reason::DuplicateBot,
                format!(
                    "bot {bot} is held by {other}, which is older; delete or suspend that one, or use another bot's token"
                ),
            );
        }
        match &self.facts.identity {
            Some(IdentityFact::Accepted(profile)) => condition_value(
                TRUE,
                Reason::TokenAccepted,
                format!("the token is of @{}", profile.username),
            ),
            Some(IdentityFact::Refused { detail }) => condition_value(
                FALSE,
                Reason::TokenUnauthorized,
                format!(
                    "{detail}; get the bot's current token from BotFather and put it into Secret \"{secret}\""
                ),
            ),
            undecided => self.undecided_token(*bot, undecided.as_ref()),
        }
    }

    /// Telegram has not said whose token it is. Its silence says nothing of a token that it accepted before.
    fn undecided_token(&self, bot: BotId, identity: Option<&IdentityFact>) -> ConditionValue {
        let same_bot = self
            .previous
            .and_then(|p| p.bot.as_ref())
            .is_some_and(|b| b.id == bot.0);
        let accepted = self
            .previous_value(ConditionType::TokenValid)
            .filter(|v| same_bot && v.status == TRUE);
        match (accepted, identity) {
            (Some(accepted), _) => accepted,
            (None, _) if self.suspended => condition_value(
                UNKNOWN,
                Reason::Suspended,
                "Telegram is not asked while spec.suspend is true",
            ),
            (None, Some(IdentityFact::Unreachable { detail })) => {
                condition_value(UNKNOWN, Reason::TelegramUnreachable, unreachable(detail))
            }
            (None, Some(IdentityFact::RateLimited { retry_after })) => condition_value(
                UNKNOWN,
                Reason::TelegramUnreachable,
                rate_limited(*retry_after),
            ),
            (None, _) => condition_value(
                UNKNOWN,
                Reason::Connecting,
                "Telegram is being asked whose token it is",
            ),
        }
    }

    pub(super) fn access_resolved(&self) -> ConditionValue {
        if let Some(first) = self.access.problems.first() {
            let messages: Vec<String> = self
                .access
                .problems
                .iter()
                .map(AccessProblem::message)
                .collect();
            return condition_value(
                FALSE,
                first.reason(),
                format!(
                    "{}; users that are resolved keep access, all others are denied",
                    bounded_list(&messages, "; ")
                ),
            );
        }
        if self.access.sign_in_unknown
            && let Some(previous) = self.previous_value(ConditionType::AccessResolved)
            && Reason::parse(&previous.reason).is_some_and(Reason::is_of_identity_provider)
        {
            // Until somebody has looked again, so that a restart writes nothing by itself.
            return previous;
        }
        let ended = ended_users(self.access.ended);
        let mut message = match (self.access.users, self.access.by_username) {
            (None, _) => "anyone may write: level Open".to_owned(),
            (Some(users), 0) => format!("{users} users may write{ended}"),
            (Some(users), names) => format!(
                "{users} users may write, {names} of them known by username only: usernames can change hands, prefer ids{ended}"
            ),
        };
        if let Some(issuer) = &self.access.issuer {
            message = format!("{message}, and members who sign in at {issuer}");
        }
        condition_value(TRUE, Reason::Resolved, message)
    }

    pub(super) fn connected(&self, token: &ConditionValue) -> ConditionValue {
        if self.suspended {
            return condition_value(
                FALSE,
                Reason::Suspended,
                "spec.suspend is true; set it to false to connect",
            );
        }
        if token.status == FALSE {
            return condition_value(
                FALSE,
                Reason::Connecting,
                "not connected while the token is not valid",
            );
        }
        match &self.facts.connection {
            Some(fact) => self.with_privacy_mode(connection_value(fact)),
            None => self.not_yet_connected(),
        }
    }

    /// Connected, but deaf to most of what is said in groups: it says so and what to do.
    fn with_privacy_mode(&self, mut connected: ConditionValue) -> ConditionValue {
        let in_privacy_mode = matches!(
            &self.facts.identity,
            Some(IdentityFact::Accepted(profile)) if profile.reads_all_group_messages == Some(false)
        );
        if let Some(setting) = self.needs_all_group_messages
            && connected.status == TRUE
            && in_privacy_mode
        {
            connected.message.extend(["; but ", setting, PRIVACY_MODE]);
        }
        connected
    }

    /// Nothing is known of the connection yet: why, or what was true before it began anew.
    fn not_yet_connected(&self) -> ConditionValue {
        match &self.facts.identity {
            Some(IdentityFact::Unreachable { detail }) => {
                condition_value(FALSE, Reason::TelegramUnreachable, unreachable(detail))
            }
            Some(IdentityFact::RateLimited { retry_after }) => {
                condition_value(FALSE, Reason::RateLimited, rate_limited(*retry_after))
            }
            _ => self
                .previous_value(ConditionType::Connected)
                .filter(|v| {
                    !self.connection_changed
                        && v.reason != Reason::Suspended
                        && self.previous.and_then(|p| p.mode) == Some(self.mode)
                })
                .unwrap_or_else(|| {
                    condition_value(FALSE, Reason::Connecting, "the connection is being made")
                }),
        }
    }

    pub(super) fn assistant_ready(&self) -> ConditionValue {
        let changed = match self.assistant {
            AssistantState::KeyUnavailable(problem) => {
                return assistant_secret_missing(problem, &problem.message());
            }
            AssistantState::HeaderUnavailable {
                name,
                position,
                problem,
            } => {
                let message = format!(
                    "spec.assistant.headers[{position}].valueFrom.secretKeyRef (header {name}): {}",
                    problem.message()
                );
                return assistant_secret_missing(problem, &message);
            }
            AssistantState::Unusable(why) => {
                return condition_value(FALSE, Reason::AssistantFailing, why.clone());
            }
            AssistantState::Built { changed } => *changed,
        };
        match &self.facts.assistant {
            AssistantFact::Succeeding => condition_value(
                TRUE,
                Reason::ExchangesSucceed,
                "the last exchange succeeded",
            ),
            AssistantFact::Failing { fault, detail } => {
                let reason = match fault {
                    AssistantFault::Unreachable => Reason::AssistantUnreachable,
                    AssistantFault::Unauthorized => Reason::AssistantUnauthorized,
                    AssistantFault::Failing => Reason::AssistantFailing,
                };
                let message = format!("three exchanges in a row failed, the last with: {detail}");
                condition_value(FALSE, reason, message)
            }
            AssistantFact::KeyRefused { detail } => condition_value(
                FALSE,
                Reason::AssistantUnauthorized,
                format!(
                    "{detail}; permitted messages wait, and are answered once the key is accepted"
                ),
            ),
            AssistantFact::Unknown => self.assistant_without_exchange(changed),
        }
    }

    /// No exchange has been seen: what was true of the same assistant before, if anything was.
    fn assistant_without_exchange(&self, changed: bool) -> ConditionValue {
        self.previous_value(ConditionType::AssistantReady)
            .filter(|v| {
                !changed
                    && v.reason != Reason::ApiKeyNotFound
                    && v.reason != Reason::SecretNotAllowed
            })
            .unwrap_or_else(|| {
                let message = "no exchange with the assistant yet";
                condition_value(UNKNOWN, Reason::NoExchangeYet, message)
            })
    }

    /// Whoever is over a limit of the day is told so. A group that moved goes on, and the manifest should follow it.
    fn flow_message(&self) -> String {
        let limits = self.within_limits().filter(|limits| limits.status == FALSE);
        let limits = limits.map_or_else(String::new, |limits| format!("; {}", limits.message));
        let moved = self.facts.moved_groups.iter();
        let moved: Vec<String> = moved
            .filter(|group| group.generation == self.generation)
            .map(|group| format!("{} is {} now", group.from, group.to))
            .collect();
        if moved.is_empty() {
            return format!("messages flow{limits}");
        }
        format!(
            "messages flow{limits}; spec.groups.chats names groups by the ids that they had before they became supergroups, put the new ones there: {}",
            bounded_list(&moved, ", ")
        )
    }

    pub(super) fn ready(
        &self,
        token: &ConditionValue,
        access: &ConditionValue,
        connected: &ConditionValue,
        assistant: &ConditionValue,
    ) -> ConditionValue {
        if self.suspended {
            return condition_value(FALSE, Reason::Suspended, connected.message.clone());
        }
        let unusable_assistant = match self.assistant {
            AssistantState::KeyUnavailable(_)
            | AssistantState::HeaderUnavailable { .. }
            | AssistantState::Unusable(_) => Some(assistant),
            AssistantState::Built { .. } => None,
        };
        [token, access, connected]
            .into_iter()
            .filter(|v| v.status != TRUE)
            .chain(unusable_assistant)
            .next()
            .map_or_else(
                || condition_value(TRUE, Reason::MessagesFlow, self.flow_message()),
                |first| first.with_status(FALSE),
            )
    }

    /// What a condition said before.
    pub(super) fn previous_value(&self, type_: ConditionType) -> Option<ConditionValue> {
        let condition = find_condition(self.previous?, type_)?;
        let status = [TRUE, FALSE, UNKNOWN]
            .into_iter()
            .find(|s| *s == condition.status)?;
        Some(ConditionValue {
            status,
            // As it stands: it may be a word of another version.
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
    }
}

/// What the connection's last fact says.
fn connection_value(fact: &ConnectionFact) -> ConditionValue {
    match fact {
        ConnectionFact::PollCompleted(_) => {
            condition_value(TRUE, Reason::Polling, "polling; the last poll completed")
        }
        ConnectionFact::WebhookVerified(_) => condition_value(
            TRUE,
            Reason::WebhookVerified,
            "the webhook is registered and verified",
        ),
        ConnectionFact::PollingConflict => condition_value(
            FALSE,
            Reason::PollingConflict,
            "somebody else polls with this bot's token; stop that program, or revoke the token in BotFather and put \
                 the new one into the Secret",
        ),
        ConnectionFact::WebhookRejected { detail } => condition_value(
            FALSE,
            Reason::WebhookRejected,
            format!("Telegram refuses the webhook: {detail}; check --public-url"),
        ),
        ConnectionFact::WebhookUnreachable { detail } => condition_value(
            FALSE,
            Reason::WebhookUnreachable,
            format!(
                "Telegram cannot deliver to the webhook: {detail}; check that --public-url leads from the internet to the \
                     webhook server"
            ),
        ),
        ConnectionFact::WebhookContested { host } => condition_value(
            FALSE,
            Reason::WebhookContested,
            format!(
                "{host} keeps setting its own webhook for this bot; stop it there, or revoke the token in BotFather and put \
                     the new one into the Secret; looked at again every hour"
            ),
        ),
        ConnectionFact::RateLimited { retry_after } => {
            condition_value(FALSE, Reason::RateLimited, rate_limited(*retry_after))
        }
        ConnectionFact::Unreachable { detail } => {
            condition_value(FALSE, Reason::TelegramUnreachable, unreachable(detail))
        }
    }
}

fn unreachable(detail: &str) -> String {
    format!(
        "{detail}; tried again by itself: check the way to the Bot API and --telegram-api-url if it lasts"
    )
}

fn rate_limited(retry_after: u32) -> String {
    format!("Telegram asks to wait {retry_after} s (429); done so by itself")
}
