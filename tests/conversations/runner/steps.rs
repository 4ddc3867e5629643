//! The arguments of steps.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};
use serde_yaml::Value;
use telegram_connector_operator::api::connector::{
    AccessLevel, AssistantProtocol, RespondTo, RichMessages, SpeechOccasion,
};

/// Changes to the default connector, which allows all users but Eve, has sessions of 24 hours and ignores groups.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ConnectorSetup {
    pub(super) access_level: Option<AccessLevel>,
    pub(super) greeting: Option<String>,
    pub(super) denied_reply: Option<String>,
    pub(super) duration_hours: Option<i64>,
    pub(super) max_messages: Option<u32>,
    pub(super) messages_per_minute: Option<u32>,
    /// Of one user.
    pub(super) messages_per_day: Option<u64>,
    pub(super) display_name: Option<String>,
    /// The reaction that says that a message was received.
    pub(super) receipt: Option<String>,
    /// The model may offer buttons.
    pub(super) buttons: bool,
    /// When an answer is a rich message.
    pub(super) rich: Option<RichMessages>,
    /// The model is told where it speaks.
    pub(super) chat_context: bool,
    pub(super) groups: Option<GroupSetup>,
    /// Voice messages are transcribed; the transcript is their `data`.
    pub(super) transcription: bool,
    /// When an answer is read out.
    pub(super) speech: Option<SpeechOccasion>,
    /// Files of an answer are sent, up to so many megabytes.
    pub(super) files: Option<usize>,
    pub(super) approvals: Option<ApprovalSetup>,
    /// Denied users may ask for access, and grants let in.
    pub(super) requests: Option<RequestSetup>,
    /// `OpenAI` where absent, or `Webhook`.
    pub(super) protocol: Option<AssistantProtocol>,
}

/// Who approves; absent: whoever asked, in the chat.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ApprovalSetup {
    /// Users.
    pub(super) approvers: Option<Vec<String>>,
    /// The name of a group that an earlier step has created.
    pub(super) chat: Option<String>,
    pub(super) timeout_seconds: Option<u64>,
}

/// Who decides about requests for access, and where.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RequestSetup {
    /// The name of a group that an earlier step has created.
    pub(super) notify: String,
    /// Users.
    pub(super) approvers: Vec<String>,
    pub(super) grant_days: Option<u32>,
    /// Absent: once.
    pub(super) per_user_per_day: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct GroupSetup {
    pub(super) respond_to: RespondTo,
    /// Names of groups that an earlier step has created.
    pub(super) chats: Option<Vec<String>>,
    /// So many messages before a mention go with it.
    #[serde(default)]
    pub(super) read_along: u16,
}

/// A user's message. Fields that are not listed here are its content: `photo: {}`, `location: {…}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UserMessage {
    pub(super) text: Option<String>,
    pub(super) caption: Option<String>,
    /// The name by which later steps refer to this message.
    pub(super) called: Option<String>,
    /// The name of a message, or `bot's` for the bot's last one.
    pub(super) reply_to: Option<String>,
    pub(super) quote: Option<String>,
    pub(super) forward_from: Option<String>,
    pub(super) media_group_id: Option<String>,
    /// The name of the message that this is an edit of.
    pub(super) edits: Option<String>,
    pub(super) topic: Option<String>,
    /// Sent on behalf of the group, as by an anonymous administrator.
    pub(super) anonymous: bool,
    /// Date in seconds after the start of the conversation; absent: now.
    pub(super) at: Option<i64>,
    /// How often the text is repeated in the message, for long messages.
    pub(super) times: Option<usize>,
    #[serde(flatten)]
    pub(super) content: Map<String, Json>,
}

/// The next message of the bot; absent fields match anything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedMessage {
    pub(super) text: Option<String>,
    /// A part of the text.
    pub(super) part: Option<String>,
    /// The beginning of the text.
    pub(super) begins: Option<String>,
    /// The text as the bot sent it, with markup.
    pub(super) source: Option<String>,
    /// The name of the message that it replies to.
    pub(super) reply_to: Option<String>,
    pub(super) topic: Option<String>,
    /// The texts of the buttons, row by row; `[]` for no keyboard.
    pub(super) buttons: Option<Vec<Vec<String>>>,
    /// The file in it.
    pub(super) media: Option<ExpectedMedia>,
    /// The caption of the file.
    pub(super) caption: Option<String>,
    /// The `type` of each block of a rich message; `[]` for a message that is not rich.
    pub(super) blocks: Option<Vec<String>>,
}

/// A file of the bot; absent fields match anything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedMedia {
    /// `photo`, `document`, `audio`, `voice`, `video` or `animation`.
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    /// The media type that the first bytes show.
    #[serde(rename = "type")]
    pub(super) sniffed_type: Option<String>,
    /// In bytes.
    pub(super) size: Option<usize>,
}

/// A tap on a button.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UserTap {
    /// The button's text.
    pub(super) text: Option<String>,
    /// The data itself, as a hostile client sends it.
    pub(super) data: Option<String>,
    /// The name of the message with the keyboard; absent: the bot's last expected one.
    pub(super) message: Option<String>,
    /// How often it is tapped.
    pub(super) times: Option<usize>,
    /// The bot cannot see the message any more.
    pub(super) inaccessible: bool,
}

/// The answer to the next tap; absent fields match anything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedAnswer {
    pub(super) text: Option<String>,
    pub(super) alert: Option<bool>,
}

/// The bot's reactions to a message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedReaction {
    /// The name of the message.
    pub(super) to: String,
    /// The emoji.
    pub(super) with: Vec<String>,
}

/// The next request to the assistant; absent fields match anything.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedRequest {
    pub(super) text: Option<String>,
    pub(super) part: Option<String>,
    pub(super) pictures: Option<usize>,
    /// The texts of the messages before the question.
    pub(super) history: Option<Vec<String>>,
    /// A part of the system prompt, which is the first message.
    pub(super) system: Option<String>,
    /// Headers; null: there is none.
    pub(super) headers: HashMap<String, Option<String>>,
    /// Fields of the body; null: there is none. In an object, only the fields that are named.
    pub(super) body: Map<String, Json>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    pub(super) name: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) topics: Vec<String>,
    /// On by default, as in Telegram.
    #[serde(default = "default_true")]
    pub(super) privacy_mode: bool,
}

fn default_true() -> bool {
    true
}

/// Reads an argument that may be a text alone instead of a map with `text`.
pub(super) fn read_text_or_map<T: DeserializeOwned>(argument: &Value) -> Result<T, String> {
    match argument {
        Value::String(text) => parse(json!({ "text": text })),
        map => read(map),
    }
}

pub(super) fn read<T: DeserializeOwned>(argument: &Value) -> Result<T, String> {
    // Through JSON: in YAML an enum's variant would be a tag.
    parse(serde_json::to_value(argument).map_err(|error| error.to_string())?)
}

fn parse<T: DeserializeOwned>(json: Json) -> Result<T, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}
