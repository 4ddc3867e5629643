//! `status` of a `TelegramConnector`: how things stand, as the operator last saw them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How things stand, as the operator last saw them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct TelegramConnectorStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The bot behind the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotStatus>,
    /// The connection mode in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ConnectionMode>,
    /// The registered webhook. In mode Webhook only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookStatus>,
    /// How many users the deciding list resolves to, without those that have ended. Absent for level Open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_users: Option<i32>,
    /// How many users of the deciding list have ended by their until. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_users: Option<i32>,
    /// The session length in effect: "none", "infinite", or hours such as "24h".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// TokenValid, AccessResolved, Connected, AssistantReady and Ready; WithinLimits where a limit per day is set; Reconciling and Stalled only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl TelegramConnectorStatus {
    /// `status.session` for a session length in hours (-1 none, 0 infinite).
    pub fn session_text(duration_hours: i32) -> String {
        match duration_hours {
            ..0 => "none".into(),
            0 => "infinite".into(),
            hours => format!("{hours}h"),
        }
    }
}

// Atomic: written and removed as a whole. Older API servers leave a null behind when server-side apply removes the last field of a map.
/// The bot behind the token, as `getMe` gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline, extend("x-kubernetes-map-type" = "atomic"))]
pub struct BotStatus {
    /// The bot's numeric id.
    pub id: i64,
    /// The bot's username, without @.
    pub username: String,
    /// The bot's name.
    pub name: String,
}

/// How updates arrive, as it is in effect: Webhook or Polling. The administrator sets it for the whole environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ConnectionMode {
    /// Telegram calls the operator.
    Webhook,
    /// The operator asks Telegram.
    Polling,
}

/// The registered webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline, extend("x-kubernetes-map-type" = "atomic"))]
pub struct WebhookStatus {
    /// Where Telegram delivers.
    pub url: String,
}

#[cfg(test)]
mod tests {
    use super::TelegramConnectorStatus;

    #[test]
    fn session_text_says_none_infinite_or_hours() {
        let texts = [-1, 0, 1, 24].map(TelegramConnectorStatus::session_text);
        assert_eq!(texts, ["none", "infinite", "1h", "24h"]);
    }
}
