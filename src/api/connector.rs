//! `TelegramConnector`: one bot, its assistant, and who may write to it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::user_list::UserEntry;

/// One bot, the assistant that answers in it, and who may write to it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "connectors.pupau.ai",
    version = "v1alpha1",
    kind = "TelegramConnector",
    plural = "telegramconnectors",
    shortname = "tgc",
    category = "connectors",
    namespaced,
    status = "TelegramConnectorStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Bot","type":"string","jsonPath":".status.bot.username"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".status.mode"}"#,
    printcolumn = r#"{"name":"Access","type":"string","jsonPath":".spec.access.level"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Users","type":"integer","jsonPath":".status.accessUsers","priority":1}"#,
    printcolumn = r#"{"name":"Session","type":"string","jsonPath":".status.session","priority":1}"#,
    printcolumn = r#"{"name":"Assistant","type":"string","jsonPath":".spec.assistant.url","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TelegramConnectorSpec {
    /// The connector's name for people. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// True disconnects the bot and stops, keeping everything stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// The Secret that holds the bot token. May change: a rotation, not an error.
    pub bot_token_secret_ref: SecretKeyRef,
    /// Who answers.
    pub assistant: AssistantSpec,
    /// Who may write to the bot.
    pub access: AccessSpec,
    /// How long a conversation is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionSpec>,
    /// How the bot behaves in groups. Absent: it stays silent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupsSpec>,
    /// The answer to /start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeting: Option<String>,
    /// How much one user may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
}

/// A key of a Secret in the connector's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: String,
    /// The key in the Secret. Default "token" for the bot token, "api-key" for the assistant's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What the assistant's HTTP API speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AssistantProtocol {
    /// OpenAI Chat Completions with streaming.
    OpenAI,
    /// Agent2Agent v1.
    A2A,
    /// One signed JSON POST per message.
    Webhook,
    /// Pupau conversations.
    Pupau,
}

/// The assistant behind an HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssistantSpec {
    /// What the API speaks.
    pub protocol: AssistantProtocol,
    /// The API's root, http or https, without user info.
    pub url: String,
    /// The model to ask for. `OpenAI` only, required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What the model is told before every conversation. `OpenAI` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// The assistant's id. `Pupau` only, required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_id: Option<String>,
    /// The Secret that holds the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// How long one answer may take. Default 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
}

/// Which list decides who may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AccessLevel {
    /// Anyone who can reach the bot.
    Open,
    /// Members of the organization: `companyUsers`.
    Company,
    /// Users explicitly enabled for the agent: `agentUsers`.
    AgentEnabled,
    /// A custom list: `specificUsers`.
    Specific,
}

/// Who may write to the bot. The level names the one list that decides; the others stay written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessSpec {
    /// Which list decides.
    pub level: AccessLevel,
    /// The list of level `Company`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company_users: Option<UserSelection>,
    /// The list of level `AgentEnabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_users: Option<UserSelection>,
    /// The list of level `Specific`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specific_users: Option<UserSelection>,
    /// Whether denied messages are stored. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_denied_conversations: Option<bool>,
    /// What a denied user is told; "" says nothing; absent: the default text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_reply: Option<String>,
}

/// Users named here and in shared lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserSelection {
    /// Users named here; at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<UserEntry>>,
    /// `TelegramUserList`s of the same namespace; at most 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_refs: Option<Vec<ListRef>>,
}

/// A `TelegramUserList` of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListRef {
    /// The list's name.
    pub name: String,
}

/// How long a conversation is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionSpec {
    /// -1: no session; 0: infinite; N: it ends N hours after it began. Default 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_hours: Option<i32>,
    /// How many messages of history an `OpenAI` request carries. Default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_messages: Option<i32>,
}

/// What the bot answers in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RespondTo {
    /// Mentioned, replied to, or a command for it.
    Mention,
    /// Everything.
    All,
}

/// How the bot behaves in groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupsSpec {
    /// What it answers. Default `Mention`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond_to: Option<RespondTo>,
    /// Only these groups; absent: any group it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chats: Option<Vec<i64>>,
}

/// How much one user may send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Messages per minute and user. Default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_minute: Option<i32>,
}

/// How things stand, as the operator last saw them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TelegramConnectorStatus {
    /// The `metadata.generation` this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The bot behind the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotStatus>,
    /// The environment's connection mode, as it is in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ConnectionMode>,
    /// The registered webhook. Webhook mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookStatus>,
    /// Users the deciding list resolves to; absent for level Open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_users: Option<i32>,
    /// The session length in effect: "none", "infinite", or hours such as "24h".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// One per type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The bot behind the token, as `getMe` gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BotStatus {
    /// Its numeric id.
    pub id: i64,
    /// Its username, without @.
    pub username: String,
    /// Its name.
    pub name: String,
}

/// How an environment receives updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConnectionMode {
    /// Telegram calls the operator.
    Webhook,
    /// The operator asks Telegram.
    Polling,
}

/// The registered webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookStatus {
    /// Where Telegram delivers.
    pub url: String,
}
