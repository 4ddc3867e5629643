//! `spec.limits`: how much may be asked, of one user and of all, in a minute and in a day.

// Docstrings here are the CRD's descriptions, which people read in `kubectl explain`, without backticks.
#![allow(clippy::doc_markdown)]
// `KubeSchema` copies each struct into a function to derive from the copy.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How much may be asked, and how many chats are answered at once. Absent: 60 messages a minute and user, 256 chats.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.timeZone) || has(self.messagesPerDay) || has(self.tokensPerDay) || has(self.connector)")
        .message("timeZone says when a day ends, and nothing is limited per day: add messagesPerDay, tokensPerDay or connector, or remove timeZone")
        .reason(Reason::FieldValueForbidden)
        .field_path(".timeZone")
)]
pub struct LimitsSpec {
    /// Messages per minute and user, 1 to 600. Default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600))]
    pub messages_per_minute: Option<i32>,
    /// Chats that are answered at once, 1 to 1024: so many questions the assistant has at most from one operator process. Other
    /// chats wait in the inbox, in order. A local model wants 1 to 4. Default 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: Option<i32>,
    /// Questions that one user may ask the assistant in a day, 1 to 1000000. Absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub messages_per_day: Option<i32>,
    /// Tokens that the answers to one user may cost in a day, questions and answers together, as the assistant reports them, 1 to
    /// 1000000000000. An answer that goes beyond it is delivered, and the next question is refused. Of an assistant that reports none nothing is
    /// counted. Absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens_per_day: Option<i64>,
    /// The same for all users together. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<ConnectorLimitsSpec>,
    /// The time zone at whose midnight a day ends, by its IANA name, such as Europe/Rome. Default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$")
    )]
    pub time_zone: Option<String>,
}

/// How much all users of a connector may ask in a day together.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.messagesPerDay) || has(self.tokensPerDay)")
        .message("connector limits nothing: set messagesPerDay or tokensPerDay, or remove connector")
        .reason(Reason::FieldValueRequired)
        .field_path(".messagesPerDay")
)]
pub struct ConnectorLimitsSpec {
    /// Questions in a day, 1 to 100000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub messages_per_day: Option<i32>,
    /// Tokens in a day, as those of one user, 1 to 1000000000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens_per_day: Option<i64>,
}
