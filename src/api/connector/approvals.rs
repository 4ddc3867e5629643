//! `spec.approvals`: who approves what the assistant asks before it acts.

use std::time::Duration;

use kube::KubeSchema;
use kube::core::Reason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::UserSelection;
use super::access_requests::has_no_grants;

/// `spec.approvals.timeoutMinutes` when absent.
pub const DEFAULT_APPROVAL_MINUTES: u32 = 30;

/// Who approves what the assistant asks before it acts, where and how long. Absent: whoever asked the assistant, in the chat, within 30 minutes.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = chat_needs_approvers())]
pub struct ApprovalsSpec {
    /// Only these users approve and refuse; whoever asked only if named here. They need not be able to write to the bot. Absent: whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = names_somebody(), validation = has_no_grants("approvers"))]
    pub approvers: Option<UserSelection>,
    /// An approval that nobody decided is refused after so many minutes, 1 to 10080. Default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_080))]
    pub timeout_minutes: Option<i32>,
    /// The group in which the approvers are asked; the bot must be a member of it. Absent: in the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ApprovalChatSpec>,
}

/// The group in which approvers are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct ApprovalChatSpec {
    /// The group's id, which is negative.
    #[schemars(range(max = -1))]
    pub id: i64,
    /// The topic in it: its message_thread_id. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub topic: Option<i64>,
}

impl ApprovalsSpec {
    /// How long an approval waits.
    pub fn timeout(&self) -> Duration {
        let minutes = self
            .timeout_minutes
            .and_then(|minutes| u32::try_from(minutes).ok())
            .unwrap_or(DEFAULT_APPROVAL_MINUTES);
        Duration::from_mins(minutes.into())
    }
}

fn chat_needs_approvers() -> kube::core::Rule {
    kube::core::Rule::new("!has(self.chat) || has(self.approvers)")
        .message("chat needs approvers: whoever asked cannot decide in another chat")
        .reason(Reason::FieldValueRequired)
        .field_path(".approvers")
}

/// Approvers that name nobody would refuse everything: that is never what somebody means.
pub(super) fn names_somebody() -> kube::core::Rule {
    kube::core::Rule::new(
        "(has(self.users) && size(self.users) > 0) || (has(self.listRefs) && size(self.listRefs) > 0)",
    )
    .message("approvers needs at least one entry in users or listRefs")
    .reason(Reason::FieldValueRequired)
}
