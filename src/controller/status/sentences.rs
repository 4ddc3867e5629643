//! What each condition says: a status, a reason, and a sentence that says what is wrong and what to do next.

use super::find;
use super::inputs::{AssistantState, Inputs, OtherConnector, SecretProblem, TokenState};
use crate::api::conditions::{reasons, types};
use crate::controller::access::AccessProblem;
use crate::observation::{AssistantFact, AssistantFault, ConnectionFact, IdentityFact};

/// A condition before it knows its time and generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
}

pub(super) fn verdict(status: &'static str, reason: &str, message: impl Into<String>) -> Verdict {
    Verdict {
        status,
        reason: reason.to_owned(),
        message: message.into(),
    }
}

pub(super) const TRUE: &str = "True";
pub(super) const FALSE: &str = "False";
const UNKNOWN: &str = "Unknown";

impl Inputs<'_> {
    pub(super) fn token_valid(&self) -> Verdict {
        let (bot, secret, duplicate_of) = match self.token {
            TokenState::Missing(problem) => {
                let reason = match problem {
                    SecretProblem::NotFound { .. } => reasons::SECRET_NOT_FOUND,
                    SecretProblem::KeyMissing { .. } => reasons::SECRET_KEY_MISSING,
                };
                return verdict(FALSE, reason, problem.message());
            }
            TokenState::Malformed { secret, key } => {
                return verdict(
                    FALSE,
                    reasons::TOKEN_MALFORMED,
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
            return verdict(
                FALSE,
                reasons::DUPLICATE_BOT,
                format!(
                    "bot {bot} is held by {other}, which is older; delete or suspend that one, or use another bot's token"
                ),
            );
        }
        match &self.facts.identity {
            Some(IdentityFact::Accepted(profile)) => verdict(
                TRUE,
                reasons::TOKEN_ACCEPTED,
                format!("the token is of @{}", profile.username),
            ),
            Some(IdentityFact::Refused { detail }) => verdict(
                FALSE,
                reasons::TOKEN_UNAUTHORIZED,
                format!(
                    "{detail}; get the bot's current token from BotFather and put it into Secret \"{secret}\""
                ),
            ),
            other => {
                // Telegram's silence says nothing of a token that it accepted before.
                let accepted_before = self
                    .previous
                    .and_then(|p| p.bot.as_ref())
                    .is_some_and(|b| b.id == bot.0)
                    && self
                        .kept(types::TOKEN_VALID)
                        .is_some_and(|v| v.status == TRUE);
                if accepted_before && let Some(kept) = self.kept(types::TOKEN_VALID) {
                    return kept;
                }
                match other {
                    _ if self.suspended => verdict(
                        UNKNOWN,
                        reasons::SUSPENDED,
                        "Telegram is not asked while spec.suspend is true",
                    ),
                    Some(IdentityFact::Unreachable { detail }) => {
                        verdict(UNKNOWN, reasons::TELEGRAM_UNREACHABLE, unreachable(detail))
                    }
                    Some(IdentityFact::RateLimited { retry_after }) => verdict(
                        UNKNOWN,
                        reasons::TELEGRAM_UNREACHABLE,
                        rate_limited(*retry_after),
                    ),
                    _ => verdict(
                        UNKNOWN,
                        reasons::CONNECTING,
                        "Telegram is being asked whose token it is",
                    ),
                }
            }
        }
    }

    pub(super) fn access_resolved(&self) -> Verdict {
        if let Some(first) = self.access.problems.first() {
            let messages: Vec<String> = self
                .access
                .problems
                .iter()
                .map(AccessProblem::message)
                .collect();
            return verdict(
                FALSE,
                first.reason(),
                format!(
                    "{}; users that are resolved keep access, all others are denied",
                    messages.join("; ")
                ),
            );
        }
        let message = match (self.access.users, self.access.by_username) {
            (None, _) => "anyone may write: level Open".to_owned(),
            (Some(users), 0) => format!("{users} users may write"),
            (Some(users), names) => format!(
                "{users} users may write, {names} of them known by username only: usernames can change hands, prefer ids"
            ),
        };
        verdict(TRUE, reasons::RESOLVED, message)
    }

    pub(super) fn connected(&self, token: &Verdict) -> Verdict {
        if self.suspended {
            return verdict(
                FALSE,
                reasons::SUSPENDED,
                "spec.suspend is true; set it to false to connect",
            );
        }
        if token.status == FALSE {
            return verdict(
                FALSE,
                reasons::CONNECTING,
                "not connected while the token is not valid",
            );
        }
        match &self.facts.connection {
            Some(ConnectionFact::PollCompleted(_)) => {
                verdict(TRUE, reasons::POLLING, "polling; the last poll completed")
            }
            Some(ConnectionFact::WebhookVerified(_)) => verdict(
                TRUE,
                reasons::WEBHOOK_VERIFIED,
                "the webhook is registered and verified",
            ),
            Some(ConnectionFact::PollingConflict) => verdict(
                FALSE,
                reasons::POLLING_CONFLICT,
                "somebody else polls with this bot's token; stop that program, or revoke the token in BotFather and put \
                 the new one into the Secret",
            ),
            Some(ConnectionFact::WebhookRejected { detail }) => verdict(
                FALSE,
                reasons::WEBHOOK_REJECTED,
                format!("Telegram refuses the webhook: {detail}; check --public-url"),
            ),
            Some(ConnectionFact::WebhookUnreachable { detail }) => verdict(
                FALSE,
                reasons::WEBHOOK_UNREACHABLE,
                format!(
                    "Telegram cannot deliver to the webhook: {detail}; check that --public-url leads from the internet to the \
                     webhook server"
                ),
            ),
            Some(ConnectionFact::WebhookContested { host }) => verdict(
                FALSE,
                reasons::WEBHOOK_CONTESTED,
                format!(
                    "{host} keeps setting its own webhook for this bot; stop it there, or revoke the token in BotFather and put \
                     the new one into the Secret; looked at again every hour"
                ),
            ),
            Some(ConnectionFact::RateLimited { retry_after }) => {
                verdict(FALSE, reasons::RATE_LIMITED, rate_limited(*retry_after))
            }
            Some(ConnectionFact::Unreachable { detail }) => {
                verdict(FALSE, reasons::TELEGRAM_UNREACHABLE, unreachable(detail))
            }
            None => match &self.facts.identity {
                Some(IdentityFact::Unreachable { detail }) => {
                    verdict(FALSE, reasons::TELEGRAM_UNREACHABLE, unreachable(detail))
                }
                Some(IdentityFact::RateLimited { retry_after }) => {
                    verdict(FALSE, reasons::RATE_LIMITED, rate_limited(*retry_after))
                }
                _ => self
                    .kept(types::CONNECTED)
                    .filter(|v| {
                        !self.connection_changed
                            && v.reason != reasons::SUSPENDED
                            && self.previous.and_then(|p| p.mode) == Some(self.mode)
                    })
                    .unwrap_or_else(|| {
                        verdict(FALSE, reasons::CONNECTING, "the connection is being made")
                    }),
            },
        }
    }

    pub(super) fn assistant_ready(&self) -> Verdict {
        let changed = match self.assistant {
            AssistantState::KeyMissing(problem) => {
                return verdict(
                    FALSE,
                    reasons::API_KEY_NOT_FOUND,
                    format!("{}; permitted messages wait", problem.message()),
                );
            }
            AssistantState::Unusable(why) => {
                return verdict(FALSE, reasons::ASSISTANT_FAILING, why.clone());
            }
            AssistantState::Built { changed } => *changed,
        };
        match &self.facts.assistant {
            AssistantFact::Succeeding => verdict(
                TRUE,
                reasons::EXCHANGES_SUCCEED,
                "the last exchange succeeded",
            ),
            AssistantFact::Failing { fault, detail } => {
                let reason = match fault {
                    AssistantFault::Unreachable => reasons::ASSISTANT_UNREACHABLE,
                    AssistantFault::Unauthorized => reasons::ASSISTANT_UNAUTHORIZED,
                    AssistantFault::Failing => reasons::ASSISTANT_FAILING,
                };
                verdict(
                    FALSE,
                    reason,
                    format!("three exchanges in a row failed, the last with: {detail}"),
                )
            }
            AssistantFact::Unknown => self
                .kept(types::ASSISTANT_READY)
                .filter(|v| !changed && v.reason != reasons::API_KEY_NOT_FOUND)
                .unwrap_or_else(|| {
                    verdict(
                        UNKNOWN,
                        reasons::NO_EXCHANGE_YET,
                        "no exchange with the assistant yet",
                    )
                }),
        }
    }

    pub(super) fn ready(
        &self,
        token: &Verdict,
        access: &Verdict,
        connected: &Verdict,
        assistant: &Verdict,
    ) -> Verdict {
        if self.suspended {
            return verdict(FALSE, reasons::SUSPENDED, connected.message.clone());
        }
        let key_missing = (assistant.reason == reasons::API_KEY_NOT_FOUND
            || matches!(self.assistant, AssistantState::Unusable(_)))
        .then_some(assistant);
        [token, access, connected]
            .into_iter()
            .filter(|v| v.status != TRUE)
            .chain(key_missing)
            .next()
            .map_or_else(
                || verdict(TRUE, reasons::MESSAGES_FLOW, "messages flow"),
                |first| verdict(FALSE, &first.reason, first.message.clone()),
            )
    }

    /// What a condition said before.
    fn kept(&self, type_: &str) -> Option<Verdict> {
        let condition = find(self.previous?, type_)?;
        let status = [TRUE, FALSE, UNKNOWN]
            .into_iter()
            .find(|s| *s == condition.status)?;
        Some(verdict(
            status,
            &condition.reason,
            condition.message.clone(),
        ))
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
