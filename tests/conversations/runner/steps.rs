//! What stands behind the steps of a script.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};
use serde_yaml::Value;
use telegram_connector_operator::api::connector::{AccessLevel, RespondTo};

/// The connector: allowed are all but Eve, with sessions of 24 hours, silent in groups.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ConnectorSetup {
    pub(super) access_level: Option<AccessLevel>,
    pub(super) greeting: Option<String>,
    pub(super) denied_reply: Option<String>,
    pub(super) duration_hours: Option<i64>,
    pub(super) max_messages: Option<u32>,
    pub(super) messages_per_minute: Option<u32>,
    pub(super) groups: Option<GroupSetup>,
    /// Voice messages are written down; the sample assistant hears what their `data` says.
    pub(super) transcription: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct GroupSetup {
    pub(super) respond_to: RespondTo,
    /// Names of groups that the script creates before.
    pub(super) chats: Option<Vec<String>>,
}

/// What somebody says. Fields that are not named here are the message's content: `photo: {}`, `location: {…}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UserMessage {
    pub(super) text: Option<String>,
    pub(super) caption: Option<String>,
    /// What to call this message later in the script.
    pub(super) called: Option<String>,
    /// A message of the script, or `bot's` last one.
    pub(super) reply_to: Option<String>,
    pub(super) quote: Option<String>,
    pub(super) forward_from: Option<String>,
    pub(super) media_group_id: Option<String>,
    /// The message that this is the new version of.
    pub(super) edits: Option<String>,
    pub(super) topic: Option<String>,
    /// In the name of the group (an anonymous administrator).
    pub(super) anonymous: bool,
    /// Seconds after the beginning; absent: now.
    pub(super) at: Option<i64>,
    /// Say it so many times over in the text: for long ones.
    pub(super) times: Option<usize>,
    #[serde(flatten)]
    pub(super) content: Map<String, Json>,
}

/// A message of the bot.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedMessage {
    pub(super) text: Option<String>,
    /// A part of the text, where the whole would say too much.
    pub(super) part: Option<String>,
    /// Its beginning.
    pub(super) begins: Option<String>,
    /// As the bot sent it, with its markup.
    pub(super) source: Option<String>,
    /// The message of the script it replies to.
    pub(super) reply_to: Option<String>,
    pub(super) topic: Option<String>,
}

/// A question at the assistant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedRequest {
    pub(super) text: Option<String>,
    pub(super) part: Option<String>,
    pub(super) pictures: Option<usize>,
    /// The texts before the question.
    pub(super) history: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    pub(super) name: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) topics: Vec<String>,
    /// On, as at Telegram, unless said otherwise.
    #[serde(default = "on")]
    pub(super) privacy_mode: bool,
}

fn on() -> bool {
    true
}

/// What may be written as its text alone.
pub(super) fn text_or<T: DeserializeOwned>(with: &Value) -> Result<T, String> {
    match with {
        Value::String(text) => parse(json!({ "text": text })),
        map => read(map),
    }
}

pub(super) fn read<T: DeserializeOwned>(with: &Value) -> Result<T, String> {
    // By way of JSON: in YAML an enum's variant would be a tag.
    parse(serde_json::to_value(with).map_err(|error| error.to_string())?)
}

fn parse<T: DeserializeOwned>(json: Json) -> Result<T, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}
