//! What the status says: a pure function of the inputs, of what was seen, and of what was written before.
//!
//! A condition for which nothing was seen keeps its last state, so that a restart writes nothing by itself.
//! `lastTransitionTime` moves only when `status` flips.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::access::AccessProblem;
use crate::api::conditions::{reasons, types};
use crate::api::connector::{BotStatus, ConnectionMode, TelegramConnectorStatus, WebhookStatus};
use crate::identity::BotId;
use crate::observation::{AssistantFact, AssistantFault, ConnectionFact, Facts, IdentityFact};
use crate::registry::SessionDuration;

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
}

impl SecretProblem {
    /// What is wrong and what to do. Names only, never values.
    fn message(&self) -> String {
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
                    present.join(", ")
                };
                format!("Secret \"{secret}\" has no key \"{key}\"; keys present: {present}")
            }
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
    /// The Secret or its key is missing.
    Missing(SecretProblem),
    /// The value is no bot token.
    Malformed {
        /// The Secret's name.
        secret: String,
        /// The key.
        key: String,
    },
    /// It is one, of this bot; Telegram has the last word.
    Given {
        /// The bot.
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
    /// Its Secret or the key in it is missing.
    KeyMissing(SecretProblem),
    /// It cannot be built from this spec.
    Unusable(String),
}

/// What came of the deciding list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessState {
    /// Users that it resolves to; `None` for level `Open`.
    pub users: Option<usize>,
    /// How many of its entries rest on usernames.
    pub by_username: usize,
    /// What is unresolved. The rest of the list holds.
    pub problems: Vec<AccessProblem>,
}

/// Everything that the status is made of.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
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
    /// What connection and pipeline saw.
    pub facts: &'a Facts,
    /// The connection began anew since `previous` was written (another token): what it says of the connection is void.
    pub connection_changed: bool,
    /// The status as it is.
    pub previous: Option<&'a TelegramConnectorStatus>,
    /// The time of conditions that flip.
    pub now: Timestamp,
}

/// A condition before it knows its time and generation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    status: &'static str,
    reason: String,
    message: String,
}

fn verdict(status: &'static str, reason: &str, message: impl Into<String>) -> Verdict {
    Verdict {
        status,
        reason: reason.to_owned(),
        message: message.into(),
    }
}

const TRUE: &str = "True";
const FALSE: &str = "False";
const UNKNOWN: &str = "Unknown";

impl Inputs<'_> {
    /// Whether everything is seen that decides the status, or an input decides it alone. While not, a moment's patience saves
    /// a write.
    pub fn settled(&self) -> bool {
        if self.suspended {
            return true;
        }
        match self.token {
            TokenState::Missing(_)
            | TokenState::Malformed { .. }
            | TokenState::Given {
                duplicate_of: Some(_),
                ..
            } => true,
            TokenState::Given { .. } => match &self.facts.identity {
                None => false,
                Some(IdentityFact::Accepted(_)) => self.facts.connection.is_some(),
                Some(_) => true,
            },
        }
    }

    /// The whole status.
    pub fn status(&self) -> TelegramConnectorStatus {
        let token = self.token_valid();
        let access = self.access_resolved();
        let connected = self.connected(&token);
        let assistant = self.assistant_ready();
        let ready = self.ready(&token, &access, &connected, &assistant);
        let mut conditions = vec![
            self.condition(types::TOKEN_VALID, token),
            self.condition(types::ACCESS_RESOLVED, access),
            self.condition(types::CONNECTED, connected),
            self.condition(types::ASSISTANT_READY, assistant),
        ];
        match progress(&ready) {
            Progress::Done => {}
            Progress::Reconciling => conditions.push(self.condition(
                types::RECONCILING,
                verdict(TRUE, &ready.reason, ready.message.clone()),
            )),
            Progress::Stalled => conditions.push(self.condition(
                types::STALLED,
                verdict(TRUE, &ready.reason, ready.message.clone()),
            )),
        }
        conditions.push(self.condition(types::READY, ready));
        TelegramConnectorStatus {
            observed_generation: Some(self.generation),
            bot: self.bot(),
            mode: Some(self.mode),
            webhook: self.webhook_url.clone().map(|url| WebhookStatus { url }),
            access_users: self
                .access
                .users
                .map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
            session: Some(match self.session {
                SessionDuration::None => "none".to_owned(),
                SessionDuration::Infinite => "infinite".to_owned(),
                SessionDuration::Hours(n) => format!("{n}h"),
            }),
            conditions,
        }
    }

    fn bot(&self) -> Option<BotStatus> {
        let TokenState::Given { bot, .. } = self.token else {
            return None;
        };
        match &self.facts.identity {
            Some(IdentityFact::Accepted(profile)) => Some(BotStatus {
                id: profile.id.0,
                username: profile.username.clone(),
                name: profile.name.clone(),
            }),
            _ => self
                .previous
                .and_then(|p| p.bot.clone())
                .filter(|b| b.id == bot.0),
        }
    }

    fn token_valid(&self) -> Verdict {
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

    fn access_resolved(&self) -> Verdict {
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

    fn connected(&self, token: &Verdict) -> Verdict {
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

    fn assistant_ready(&self) -> Verdict {
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

    fn ready(
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

    fn condition(&self, type_: &str, verdict: Verdict) -> Condition {
        let before = self.previous.and_then(|p| find(p, type_));
        condition(type_, verdict, before, self.generation, self.now)
    }
}

/// The only place where a condition is made.
fn condition(
    type_: &str,
    verdict: Verdict,
    before: Option<&Condition>,
    generation: i64,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        last_transition_time: before
            .filter(|b| b.status == verdict.status)
            .map_or(Time(whole_seconds(now)), |b| b.last_transition_time.clone()),
        status: verdict.status.to_owned(),
        reason: verdict.reason,
        message: verdict.message,
        observed_generation: Some(generation),
    }
}

/// The status of a user list: it says how many users it names and who refers to it.
pub fn user_list(
    generation: i64,
    users: usize,
    used_by: usize,
    invalid: usize,
    previous: Option<&crate::api::TelegramUserListStatus>,
    now: Timestamp,
) -> crate::api::TelegramUserListStatus {
    let ready = if invalid == 0 {
        verdict(TRUE, reasons::RESOLVED, format!("{users} users"))
    } else {
        verdict(
            FALSE,
            reasons::USER_LIST_INVALID,
            format!(
                "{invalid} entries name nobody; give each entry of spec.users either an id or a username"
            ),
        )
    };
    let before =
        |type_: &str| previous.and_then(|p| p.conditions.iter().find(|c| c.type_ == type_));
    let mut conditions = Vec::new();
    if ready.status != TRUE {
        conditions.push(condition(
            types::STALLED,
            verdict(TRUE, &ready.reason, ready.message.clone()),
            before(types::STALLED),
            generation,
            now,
        ));
    }
    conditions.push(condition(
        types::READY,
        ready,
        before(types::READY),
        generation,
        now,
    ));
    crate::api::TelegramUserListStatus {
        observed_generation: Some(generation),
        users: Some(i32::try_from(users).unwrap_or(i32::MAX)),
        used_by: Some(i32::try_from(used_by).unwrap_or(i32::MAX)),
        conditions,
    }
}

/// Every reason that `Ready` can have: the labels of the metric.
pub const READY_REASONS: &[&str] = &[
    reasons::MESSAGES_FLOW,
    reasons::SECRET_NOT_FOUND,
    reasons::SECRET_KEY_MISSING,
    reasons::TOKEN_MALFORMED,
    reasons::TOKEN_UNAUTHORIZED,
    reasons::DUPLICATE_BOT,
    reasons::TELEGRAM_UNREACHABLE,
    reasons::USER_LIST_NOT_FOUND,
    reasons::USER_LIST_INVALID,
    reasons::WEBHOOK_REJECTED,
    reasons::WEBHOOK_UNREACHABLE,
    reasons::WEBHOOK_CONTESTED,
    reasons::POLLING_CONFLICT,
    reasons::RATE_LIMITED,
    reasons::SUSPENDED,
    reasons::CONNECTING,
    reasons::API_KEY_NOT_FOUND,
    reasons::ASSISTANT_FAILING,
];

/// The reason of `Ready`.
pub fn ready_reason(status: &TelegramConnectorStatus) -> Option<&'static str> {
    let reason = &find(status, types::READY)?.reason;
    READY_REASONS
        .iter()
        .find(|r| **r == reason.as_str())
        .copied()
}

/// Whether two statuses say the same, in whatever order the server keeps the conditions.
pub fn same(a: &TelegramConnectorStatus, b: &TelegramConnectorStatus) -> bool {
    a.conditions.len() == b.conditions.len()
        && a.conditions
            .iter()
            .all(|c| find(b, &c.type_).is_some_and(|other| other == c))
        && TelegramConnectorStatus {
            conditions: Vec::new(),
            ..a.clone()
        } == TelegramConnectorStatus {
            conditions: Vec::new(),
            ..b.clone()
        }
}

/// A condition of a status, by type.
pub fn find<'s>(status: &'s TelegramConnectorStatus, type_: &str) -> Option<&'s Condition> {
    status.conditions.iter().find(|c| c.type_ == type_)
}

/// kstatus: is anything still to come, and from whom?
enum Progress {
    /// Ready, or resting by wish.
    Done,
    /// The operator is at it.
    Reconciling,
    /// It is somebody else's turn.
    Stalled,
}

fn progress(ready: &Verdict) -> Progress {
    if ready.status == TRUE {
        return Progress::Done;
    }
    match ready.reason.as_str() {
        reasons::SUSPENDED => Progress::Done,
        reasons::CONNECTING
        | reasons::TELEGRAM_UNREACHABLE
        | reasons::RATE_LIMITED
        | reasons::POLLING_CONFLICT
        | reasons::WEBHOOK_UNREACHABLE => Progress::Reconciling,
        _ => Progress::Stalled,
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

fn whole_seconds(t: Timestamp) -> Timestamp {
    Timestamp::from_second(t.as_second()).unwrap_or(t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telegram::bot::BotProfile;
    use rstest::rstest;

    const BOT: BotId = BotId(84);

    fn given() -> TokenState {
        TokenState::Given {
            bot: BOT,
            secret: "s".into(),
            duplicate_of: None,
        }
    }

    fn polling() -> Facts {
        Facts {
            identity: Some(IdentityFact::Accepted(BotProfile {
                id: BOT,
                username: "acme_bot".into(),
                name: "Acme".into(),
            })),
            connection: Some(ConnectionFact::PollCompleted(BOT)),
            ..Facts::default()
        }
    }

    /// Inputs of a connector in order, changed by `change`, and the status they give.
    fn status_of(
        facts: &Facts,
        previous: Option<&TelegramConnectorStatus>,
        change: impl FnOnce(&mut Inputs<'_>),
    ) -> TelegramConnectorStatus {
        let (token, access) = (given(), AccessState::default());
        let assistant = AssistantState::Built { changed: false };
        let mut inputs = Inputs {
            generation: 3,
            suspended: false,
            mode: ConnectionMode::Polling,
            webhook_url: None,
            token: &token,
            access: &access,
            assistant: &assistant,
            session: SessionDuration::Hours(24),
            facts,
            connection_changed: false,
            previous,
            now: Timestamp::from_second(1000).unwrap(),
        };
        change(&mut inputs);
        inputs.status()
    }

    fn says(status: &TelegramConnectorStatus, type_: &str) -> (String, String) {
        let c = find(status, type_).expect(type_);
        (c.status.clone(), c.reason.clone())
    }

    #[rstest]
    #[case(ConnectionFact::PollingConflict, reasons::POLLING_CONFLICT)]
    #[case(ConnectionFact::WebhookRejected { detail: "d".into() }, reasons::WEBHOOK_REJECTED)]
    #[case(ConnectionFact::WebhookUnreachable { detail: "d".into() }, reasons::WEBHOOK_UNREACHABLE)]
    #[case(ConnectionFact::WebhookContested { host: "h".into() }, reasons::WEBHOOK_CONTESTED)]
    #[case(ConnectionFact::RateLimited { retry_after: 3 }, reasons::RATE_LIMITED)]
    #[case(ConnectionFact::Unreachable { detail: "d".into() }, reasons::TELEGRAM_UNREACHABLE)]
    fn a_connection_that_fails_is_the_reason_of_ready_too(
        #[case] fact: ConnectionFact,
        #[case] reason: &str,
    ) {
        let facts = Facts {
            connection: Some(fact),
            ..polling()
        };
        let status = status_of(&facts, None, |_| {});
        let expected = ("False".to_owned(), reason.to_owned());
        assert_eq!(says(&status, types::CONNECTED), expected);
        assert_eq!(says(&status, types::READY), expected);
        assert_eq!(says(&status, types::TOKEN_VALID).0, "True");
    }

    #[test]
    fn unreadable_list_is_reported_while_the_rest_holds() {
        let access = AccessState {
            users: Some(2),
            by_username: 0,
            problems: vec![AccessProblem::ListInvalid("staff".into(), "no".into())],
        };
        // The borrow ends with the call.
        let facts = polling();
        let (token, assistant) = (given(), AssistantState::Built { changed: false });
        let status = Inputs {
            generation: 1,
            suspended: false,
            mode: ConnectionMode::Polling,
            webhook_url: None,
            token: &token,
            access: &access,
            assistant: &assistant,
            session: SessionDuration::None,
            facts: &facts,
            connection_changed: false,
            previous: None,
            now: Timestamp::UNIX_EPOCH,
        }
        .status();
        let expected = ("False".to_owned(), reasons::USER_LIST_INVALID.to_owned());
        assert_eq!(says(&status, types::ACCESS_RESOLVED), expected);
        assert_eq!(says(&status, types::READY), expected);
        assert_eq!(says(&status, types::CONNECTED).0, "True");
        assert_eq!(status.access_users, Some(2));
        assert_eq!(status.session.as_deref(), Some("none"));
    }

    #[test]
    fn after_a_restart_nothing_seen_means_nothing_changed() {
        let before = status_of(&polling(), None, |_| {});
        let later = Timestamp::from_second(9999).unwrap();
        let after = status_of(&Facts::default(), Some(&before), |i| i.now = later);
        assert!(same(&before, &after), "{before:?}\n{after:?}");
    }

    #[test]
    fn a_transition_time_moves_only_when_the_status_flips() {
        let before = status_of(&polling(), None, |_| {});
        let throttled = Facts {
            connection: Some(ConnectionFact::RateLimited { retry_after: 1 }),
            ..polling()
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let flipped = status_of(&throttled, Some(&before), |i| i.now = at(2000));
        let conflict = Facts {
            connection: Some(ConnectionFact::PollingConflict),
            ..polling()
        };
        let other_reason = status_of(&conflict, Some(&flipped), |i| i.now = at(3000));
        let time = |s: &TelegramConnectorStatus| {
            find(s, types::CONNECTED)
                .unwrap()
                .last_transition_time
                .0
                .as_second()
        };
        assert_eq!(
            (time(&before), time(&flipped), time(&other_reason)),
            (1000, 2000, 2000)
        );
        assert_eq!(
            says(&other_reason, types::READY).1,
            reasons::POLLING_CONFLICT
        );
    }

    #[test]
    fn another_token_makes_the_old_connection_void() {
        let before = status_of(&polling(), None, |_| {});
        let after = status_of(&Facts::default(), Some(&before), |i| {
            i.connection_changed = true;
        });
        assert_eq!(
            says(&after, types::CONNECTED),
            ("False".to_owned(), reasons::CONNECTING.to_owned())
        );
        assert_eq!(says(&after, types::RECONCILING).0, "True");
    }

    #[test]
    fn another_connector_is_named_only_within_the_namespace() {
        let message = |other| {
            let token = TokenState::Given {
                bot: BOT,
                secret: "s".into(),
                duplicate_of: Some(other),
            };
            let facts = polling();
            let (access, assistant) = (
                AccessState::default(),
                AssistantState::Built { changed: false },
            );
            let status = Inputs {
                generation: 1,
                suspended: false,
                mode: ConnectionMode::Polling,
                webhook_url: None,
                token: &token,
                access: &access,
                assistant: &assistant,
                session: SessionDuration::Infinite,
                facts: &facts,
                connection_changed: false,
                previous: None,
                now: Timestamp::UNIX_EPOCH,
            }
            .status();
            assert_eq!(says(&status, types::STALLED).1, reasons::DUPLICATE_BOT);
            find(&status, types::TOKEN_VALID).unwrap().message.clone()
        };
        assert!(message(OtherConnector::Named("older".into())).contains("\"older\""));
        let elsewhere = message(OtherConnector::Elsewhere);
        assert!(elsewhere.contains("another namespace"), "{elsewhere}");
    }
}
