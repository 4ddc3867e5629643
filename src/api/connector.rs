//! `TelegramConnector`: one bot, its assistant, and who may write to it.
//!
//! This file holds the resource and its small parts; who may write is in [`access`], who asks for it in [`access_requests`], who answers in [`assistant`]
//! (its headers in [`assistant_headers`], what `OpenAI` requests hold in [`openai_options`]), how answers show in [`answers`], who approves
//! what an assistant does in [`approvals`], what others send in [`sending`], who writes voice messages down in [`transcription`], how documents are read in [`files`], how much
//! may be asked in [`limits`], what is read back in [`status`]. Bounds and rules stand beside the fields they guard and become the CRD's schema and CEL
//! (`super::crds`). Optional fields stay `Option`: the CRD has no defaults, because a server that fills them in makes a
//! GitOps tool see a difference for ever. The accessors resolve them, and are the only place that knows the defaults.

// Docstrings here are the CRD's descriptions, which people read in `kubectl explain`, without backticks.
#![allow(clippy::doc_markdown)]
// `KubeSchema` copies each struct into a function to derive from the copy.
#![allow(unreachable_pub)]

use std::time::Duration;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod access;
pub mod access_requests;
pub mod answers;
pub mod approvals;
pub mod assistant;
pub mod assistant_headers;
pub mod files;
pub mod limits;
pub mod oidc;
pub mod openai_options;
pub mod sending;
pub mod speech;
pub mod status;
pub mod transcription;

pub use access::{AccessLevel, AccessSpec, CompanySelection, ListKind, ListRef, UserSelection};
pub use access_requests::{AccessRequestsSpec, DEFAULT_GRANT_DAYS, NotifySpec};
pub use answers::{AnswersSpec, RichMessages};
pub use approvals::{ApprovalChatSpec, ApprovalsSpec};
pub use assistant::{AssistantProtocol, AssistantSpec};
pub use assistant_headers::{ApiKeyHeader, AssistantHeader, HeaderValueSource, SecretKeySelector};
pub use files::{ExtractSpec, FilesSpec};
pub use limits::{ConnectorLimitsSpec, LimitsSpec};
pub use oidc::{DEFAULT_CLIENT_SECRET_KEY, OidcSpec, RequiredClaimSpec};
pub use openai_options::{OmittableField, OpenAiApi, OpenAiSpec};
pub use sending::SendingSpec;
pub use speech::{SpeechOccasion, SpeechSpec};
pub use status::{BotStatus, ConnectionMode, TelegramConnectorStatus, WebhookStatus};
pub use transcription::TranscriptionSpec;

/// The key of the bot token's Secret when `spec.botTokenSecretRef.key` is absent.
pub const DEFAULT_TOKEN_KEY: &str = "token";
/// The key of the assistant's Secret when `spec.assistant.apiKeySecretRef.key` is absent.
pub const DEFAULT_API_KEY: &str = "api-key";
/// `spec.session.durationHours` when absent.
pub const DEFAULT_DURATION_HOURS: i32 = 24;
/// `spec.session.maxMessages` when absent.
pub const DEFAULT_MAX_MESSAGES: u32 = 50;
/// `spec.limits.messagesPerMinute` when absent.
pub const DEFAULT_MESSAGES_PER_MINUTE: u32 = 60;
/// `spec.limits.concurrency` when absent: more than 200 chats that all wait for one assistant.
pub const DEFAULT_CONCURRENCY: u16 = 256;

/// A time limit in seconds as a field has it: the default where it is absent or, on a server without CEL, below zero.
fn seconds_or(seconds: Option<i32>, default: u32) -> Duration {
    let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(default).into())
}

/// What a `TelegramConnector` should be.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(self.files) || !has(self.files.toAssistant) || !self.files.toAssistant || self.assistant.protocol != 'Pupau'")
        .message("protocol Pupau takes no files: use files.extract, or remove files.toAssistant")
        .reason(Reason::FieldValueForbidden)
        .field_path(".files.toAssistant")
)]
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
    doc = "A Telegram bot, the assistant that answers in it, and who may write to it.",
    printcolumn = r#"{"name":"Bot","type":"string","jsonPath":".status.bot.username","description":"The bot's username"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".status.mode","description":"How updates arrive"}"#,
    printcolumn = r#"{"name":"Access","type":"string","jsonPath":".spec.access.level","description":"Which list decides who may write"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"Whether messages flow"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","description":"Why"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Users","type":"integer","jsonPath":".status.accessUsers","priority":1,"description":"Users that the deciding list resolves to"}"#,
    printcolumn = r#"{"name":"Ended","type":"integer","jsonPath":".status.endedUsers","priority":1,"description":"Users of that list whose entries have ended"}"#,
    printcolumn = r#"{"name":"Session","type":"string","jsonPath":".status.session","priority":1,"description":"The session length in effect"}"#,
    printcolumn = r#"{"name":"Assistant","type":"string","jsonPath":".spec.assistant.url","priority":1,"description":"Where the assistant is"}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1,"description":"What is wrong and what to do"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.speech) || has(self.transcription) || (has(self.speech.when) && self.speech.when == 'Always')")
        .message("answers to voice messages are read out, and none is understood without transcription: add transcription, or set when: Always")
        .reason(Reason::FieldValueInvalid)
        .field_path(".speech.when")
)]
pub struct TelegramConnectorSpec {
    /// The connector's name for people, 1 to 128 characters. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub display_name: Option<String>,
    /// True disconnects the bot and stops, keeping everything that is stored. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// The Secret that holds the bot token from @BotFather; its key is "token" unless named. May be changed: a new token of the
    /// same bot or of another bot is a rotation.
    pub bot_token_secret_ref: SecretKeyRef,
    /// Who answers.
    pub assistant: AssistantSpec,
    /// What answers bring beside their text, and what of one shows while it is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswersSpec>,
    /// Who writes voice messages down, so that the assistant can answer them. Absent: a voice message gets a friendly sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcription: Option<TranscriptionSpec>,
    /// How documents that people send reach the assistant. Absent: one that is no text gets a friendly sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesSpec>,
    /// Who reads answers out, as voice messages. Absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speech: Option<SpeechSpec>,
    /// Who may write to the bot.
    pub access: AccessSpec,
    /// How long a conversation is remembered. Absent: 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionSpec>,
    /// How the bot behaves in groups. Absent: it stays silent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupsSpec>,
    /// The answer to /start, 1 to 4096 characters. Absent: a default text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub greeting: Option<String>,
    /// How much may be asked, in a minute and in a day, and how many chats are answered at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// Who approves what the assistant asks before it acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<ApprovalsSpec>,
    /// Messages that others send through the bot, as outgoingmessages of the data API. Absent: sending is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<SendingSpec>,
}

impl TelegramConnectorSpec {
    /// Whether the bot is to be disconnected.
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }

    /// The key of the bot token in its Secret.
    pub fn token_key(&self) -> &str {
        self.bot_token_secret_ref.key_or(DEFAULT_TOKEN_KEY)
    }

    /// The session length in hours: -1 no session, 0 infinite, else 1 to 87,600.
    pub fn duration_hours(&self) -> i32 {
        self.session
            .as_ref()
            .and_then(|session| session.duration_hours)
            .unwrap_or(DEFAULT_DURATION_HOURS)
    }

    /// How many messages of history a request to the assistant carries, 2 to 1,000.
    pub fn max_messages(&self) -> u32 {
        self.session
            .as_ref()
            .and_then(|session| session.max_messages)
            .and_then(|messages| u32::try_from(messages).ok())
            .unwrap_or(DEFAULT_MAX_MESSAGES)
    }

    /// How many tokens a request to the assistant has at most, as we estimate them, 256 to 2,000,000; `None`: no limit.
    pub fn max_tokens(&self) -> Option<u32> {
        self.session
            .as_ref()
            .and_then(|session| session.max_tokens)
            .and_then(|tokens| u32::try_from(tokens).ok())
    }

    /// How many messages one user may send in a minute, 1 to 600.
    pub fn messages_per_minute(&self) -> u32 {
        self.limits
            .as_ref()
            .and_then(|limits| limits.messages_per_minute)
            .and_then(|messages| u32::try_from(messages).ok())
            .unwrap_or(DEFAULT_MESSAGES_PER_MINUTE)
    }

    /// How many chats may be in work at once, 1 to 1,024.
    pub fn concurrency(&self) -> u16 {
        self.limits
            .as_ref()
            .and_then(|limits| limits.concurrency)
            .and_then(|chats| u16::try_from(chats).ok())
            .unwrap_or(DEFAULT_CONCURRENCY)
    }
}

/// A key of a Secret in the connector's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct SecretKeyRef {
    /// The name of a Secret in the same namespace.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key in the Secret's data. Default "token" for the bot token, "client-secret" for a sign-in's client, else "api-key".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

impl SecretKeyRef {
    /// The key, or what it is when the manifest names none.
    pub fn key_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.key.as_deref().unwrap_or(default)
    }
}

/// How long a conversation is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct SessionSpec {
    /// -1: no session, each message stands alone. 0: infinite, until /new. 1 to 87600: the session ends so many hours after it
    /// began. Default 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = 87_600))]
    pub duration_hours: Option<i32>,
    /// How many messages of history a request to an OpenAI assistant carries, 2 to 1000. Default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1000))]
    pub max_messages: Option<i32>,
    /// How many tokens a request to an OpenAI assistant has at most, system prompt, history and question together, 256 to 2000000. The operator
    /// estimates them and leaves the oldest messages out. Choose what the model's context leaves for it beside the answer. Absent: only
    /// maxMessages bounds the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 256, max = 2_000_000))]
    pub max_tokens: Option<i32>,
}

/// Mention: the bot answers when it is mentioned, replied to, or given a command. All: it answers everything. Default Mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RespondTo {
    /// Mentioned, replied to, or a command for it.
    Mention,
    /// Everything.
    All,
}

/// How the bot behaves in groups.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.readAlong) || !has(self.respondTo) || self.respondTo == 'Mention'")
        .message("readAlong belongs to respondTo Mention, because with All every message is answered: remove readAlong, or set respondTo to Mention")
        .reason(Reason::FieldValueForbidden)
        .field_path(".readAlong")
)]
pub struct GroupsSpec {
    /// What the bot answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond_to: Option<RespondTo>,
    /// Only these groups, by their ids, which are negative; at most 1000. Absent: any group that the bot is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1000),
        inner(range(max = -1)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub chats: Option<Vec<i64>>,
    /// With respondTo Mention: so many of the messages that were sent before a mention, and not to the bot, go with it as context, 1 to 50. Only those
    /// of the same group and topic, of people who may write to the bot, and of the last day. Needs the bot's privacy mode off. They are stored until
    /// then. Absent: none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub read_along: Option<i32>,
}

impl GroupsSpec {
    /// What the bot answers.
    pub fn respond_to(&self) -> RespondTo {
        self.respond_to.unwrap_or(RespondTo::Mention)
    }

    /// How many messages before a mention go with it; 0: none.
    pub fn read_along(&self) -> u16 {
        self.read_along
            .filter(|_| self.respond_to() == RespondTo::Mention)
            .and_then(|messages| u16::try_from(messages).ok())
            .unwrap_or(0)
    }
}
