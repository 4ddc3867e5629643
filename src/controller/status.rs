//! What the status says: a pure function of the inputs, of what was seen, and of what was written before.
//!
//! A condition for which nothing was seen keeps its last state, so that a restart writes nothing by itself.
//! `lastTransitionTime` moves only when `status` flips.

mod condition_values;
mod day_limits;
mod find;
mod inputs;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use self::condition_values::{ConditionValue, FALSE, TRUE, condition_value, ended_users};
use super::status_cache::OwnStatus;
use crate::api::TelegramUserListStatus;
use crate::api::conditions::{ConditionType, Reason};
use crate::api::connector::{BotStatus, TelegramConnectorStatus, WebhookStatus};
use crate::bounded_text::bounded_text;
use crate::observation::IdentityFact;
use crate::registry::SessionDuration;

pub(super) use self::condition_values::names_privacy_mode;
pub(crate) use self::find::{find_condition, vouches_for_token};
pub use self::inputs::{AssistantState, OtherConnector, SecretProblem, StatusInputs, TokenState};

impl StatusInputs<'_> {
    /// Whether everything is seen that decides the status, or an input decides it alone. While not, a moment's patience saves
    /// a write.
    pub fn is_complete(&self) -> bool {
        if self.suspended {
            return true;
        }
        if self.access.sign_in_unknown {
            return false;
        }
        match self.token {
            TokenState::Unavailable(_)
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
            self.condition(ConditionType::TokenValid, token),
            self.condition(ConditionType::AccessResolved, access),
            self.condition(ConditionType::Connected, connected),
            self.condition(ConditionType::AssistantReady, assistant),
        ];
        let limits = self.within_limits();
        conditions.extend(limits.map(|v| self.condition(ConditionType::WithinLimits, v)));
        match progress(&ready) {
            Progress::Done => {}
            Progress::Reconciling => {
                conditions
                    .push(self.condition(ConditionType::Reconciling, ready.with_status(TRUE)));
            }
            Progress::Stalled => {
                conditions.push(self.condition(ConditionType::Stalled, ready.with_status(TRUE)));
            }
        }
        conditions.push(self.condition(ConditionType::Ready, ready));
        TelegramConnectorStatus {
            observed_generation: Some(self.generation),
            bot: self.bot(),
            mode: Some(self.mode),
            webhook: self.webhook_url.clone().map(|url| WebhookStatus { url }),
            access_users: self
                .access
                .users
                .map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
            ended_users: count_of_ended(self.access.ended),
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

    fn condition(&self, type_: ConditionType, value: ConditionValue) -> Condition {
        let before = self.previous.and_then(|p| find_condition(p, type_));
        condition(type_, value, before, self.generation, self.now)
    }
}

/// The longest message: as much as an event takes. Peers, and what is written in objects, can put any length into one.
const MAX_MESSAGE_BYTES: usize = 1_000;

/// The only place where a condition is made.
fn condition(
    type_: ConditionType,
    value: ConditionValue,
    before: Option<&Condition>,
    generation: i64,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: type_.to_string(),
        last_transition_time: before
            .filter(|b| b.status == value.status)
            .map_or(Time(whole_seconds(now)), |b| b.last_transition_time.clone()),
        status: value.status.to_owned(),
        reason: value.reason,
        message: bounded_text(value.message, MAX_MESSAGE_BYTES),
        observed_generation: Some(generation),
    }
}

/// What there is to count of a user list.
#[derive(Debug, Clone, Copy)]
pub struct UserListCounts {
    /// Users that it names, without those that have ended.
    pub users: usize,
    /// Users whose entries have ended.
    pub ended: usize,
    /// Entries that name nobody, because they cannot be read.
    pub invalid: usize,
    /// Connectors that refer to it.
    pub used_by: usize,
}

/// The status of a user list: it says how many users it names and who refers to it. `problem`: what is wrong beside its entries.
pub fn user_list_status(
    generation: i64,
    counts: UserListCounts,
    problem: Option<String>,
    previous: Option<&TelegramUserListStatus>,
    now: Timestamp,
) -> TelegramUserListStatus {
    let UserListCounts {
        users,
        ended,
        invalid,
        used_by,
    } = counts;
    let ready = if let Some(problem) = problem {
        condition_value(FALSE, Reason::UserListInvalid, problem)
    } else if invalid == 0 {
        let message = format!("{users} users{}", ended_users(ended));
        condition_value(TRUE, Reason::Resolved, message)
    } else {
        condition_value(
            FALSE,
            Reason::UserListInvalid,
            format!(
                "{invalid} entries name nobody; give each entry of spec.users either an id or a username, and an until that is a date or a time"
            ),
        )
    };
    let before = |type_: ConditionType| {
        previous.and_then(|p| p.conditions.iter().find(|c| c.type_ == type_))
    };
    let mut conditions = Vec::new();
    if ready.status != TRUE {
        conditions.push(condition(
            ConditionType::Stalled,
            ready.with_status(TRUE),
            before(ConditionType::Stalled),
            generation,
            now,
        ));
    }
    conditions.push(condition(
        ConditionType::Ready,
        ready,
        before(ConditionType::Ready),
        generation,
        now,
    ));
    TelegramUserListStatus {
        observed_generation: Some(generation),
        users: Some(i32::try_from(users).unwrap_or(i32::MAX)),
        ended: count_of_ended(ended),
        used_by: Some(i32::try_from(used_by).unwrap_or(i32::MAX)),
        conditions,
    }
}

/// None are not counted: most lists have none, and their statuses stay as they are.
fn count_of_ended(ended: usize) -> Option<i32> {
    (ended > 0).then(|| i32::try_from(ended).unwrap_or(i32::MAX))
}

/// The reason of `Ready`; `None` for a word that this version does not write.
pub fn ready_reason(status: &TelegramConnectorStatus) -> Option<Reason> {
    let reason = &find_condition(status, ConditionType::Ready)?.reason;
    Reason::parse(reason).filter(|r| r.is_ready_reason())
}

/// Whether two statuses say the same, in whatever order the server keeps the conditions, and whatever others it keeps there that are not ours.
pub fn is_same_status(a: &TelegramConnectorStatus, b: &TelegramConnectorStatus) -> bool {
    has_same_conditions(&a.conditions, &b.conditions)
        && TelegramConnectorStatus {
            conditions: Vec::new(),
            ..a.clone()
        } == TelegramConnectorStatus {
            conditions: Vec::new(),
            ..b.clone()
        }
}

fn has_same_conditions(a: &[Condition], b: &[Condition]) -> bool {
    ConditionType::ALL.iter().all(|type_| {
        let find = |conditions: &[Condition]| conditions.iter().position(|c| c.type_ == *type_);
        find(a).map(|i| &a[i]) == find(b).map(|i| &b[i])
    })
}

impl OwnStatus for TelegramConnectorStatus {
    fn shows(&self, wanted: &Self) -> bool {
        is_same_status(self, wanted)
    }
}

impl OwnStatus for TelegramUserListStatus {
    fn shows(&self, wanted: &Self) -> bool {
        has_same_conditions(&self.conditions, &wanted.conditions)
            && Self {
                conditions: Vec::new(),
                ..self.clone()
            } == Self {
                conditions: Vec::new(),
                ..wanted.clone()
            }
    }
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

fn progress(ready: &ConditionValue) -> Progress {
    if ready.status == TRUE {
        return Progress::Done;
    }
    Reason::parse(&ready.reason).map_or(Progress::Stalled, reason_progress)
}

/// What a reason that keeps `Ready` from being true means for kstatus.
fn reason_progress(reason: Reason) -> Progress {
    match reason {
        Reason::Suspended => Progress::Done,
        Reason::Connecting
        | Reason::TelegramUnreachable
        | Reason::RateLimited
        | Reason::PollingConflict
        | Reason::WebhookUnreachable
        | Reason::IdentityProviderUnreachable => Progress::Reconciling,
        Reason::SecretNotFound
        | Reason::SecretKeyMissing
        | Reason::SecretNotAllowed
        | Reason::TokenMalformed
        | Reason::TokenUnauthorized
        | Reason::DuplicateBot
        | Reason::TokenAccepted
        | Reason::UserListNotFound
        | Reason::UserListInvalid
        | Reason::IdentityProviderRefused
        | Reason::DeviceFlowUnsupported
        | Reason::SignInKeyMissing
        | Reason::UserListNotAllowed
        | Reason::Resolved
        | Reason::WebhookRejected
        | Reason::WebhookContested
        | Reason::Polling
        | Reason::WebhookVerified
        | Reason::ApiKeyNotFound
        | Reason::AssistantUnreachable
        | Reason::AssistantUnauthorized
        | Reason::AssistantFailing
        | Reason::NoExchangeYet
        | Reason::ExchangesSucceed
        | Reason::DayLimitReached
        | Reason::TimeZoneUnknown
        | Reason::UsageNotReported
        | Reason::NotReached
        | Reason::MessagesFlow => Progress::Stalled,
    }
}

fn whole_seconds(t: Timestamp) -> Timestamp {
    Timestamp::from_second(t.as_second()).unwrap_or(t)
}
