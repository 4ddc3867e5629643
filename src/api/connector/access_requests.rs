//! `spec.access.requests`: denied users ask for access, and people who are named here decide.

use kube::KubeSchema;
use kube::core::Reason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::UserSelection;
use super::approvals::names_somebody;

/// `spec.access.requests.perUserPerDay` when absent.
pub const DEFAULT_REQUESTS_PER_DAY: u32 = 1;
/// For how many days the second button grants access where `grantDays` is absent.
pub const DEFAULT_GRANT_DAYS: u32 = 30;

/// A denied user may ask for access with a button, in a private chat. The approvers are asked in the chat that notify names, and who is allowed is let in by a
/// grant, which the store keeps. Absent: there is no such button.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessRequestsSpec {
    /// Where the approvers are asked.
    pub notify: NotifySpec,
    /// Only these users decide. They need not be able to write to the bot.
    #[x_kube(validation = names_somebody(), validation = has_no_grants("approvers"))]
    pub approvers: UserSelection,
    /// The button Allow grants access for so many days, 1 to 3650. Absent: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub grant_days: Option<i32>,
    /// How often a user may ask within 24 hours, 1 to 10. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub per_user_per_day: Option<i32>,
}

/// The group in which approvers are asked for access; the bot must be a member of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct NotifySpec {
    /// The group's id, which is negative.
    #[schemars(range(max = -1))]
    pub chat: i64,
    /// The topic in it: its message_thread_id. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub topic: Option<i64>,
}

impl AccessRequestsSpec {
    /// For how many days Allow grants access; `None`: without end.
    pub fn days(&self) -> Option<u32> {
        self.grant_days
            .and_then(|days| u32::try_from(days).ok())
            .map(|days| days.clamp(1, 3650))
    }

    /// How often a user may ask within 24 hours.
    pub fn per_day(&self) -> u32 {
        self.per_user_per_day
            .and_then(|times| u32::try_from(times).ok())
            .map_or(DEFAULT_REQUESTS_PER_DAY, |times| times.clamp(1, 10))
    }
}

/// Grants are entries of the list that decides who may write, and of no other.
pub(super) fn has_no_grants(field: &str) -> kube::core::Rule {
    let message = format!("grants let nobody into {field}: remove it");
    kube::core::Rule::new("!has(self.grants)")
        .message(message.as_str())
        .reason(Reason::FieldValueForbidden)
        .field_path(".grants")
}
