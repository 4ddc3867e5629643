//! `spec.answers`: what of an answer shows in its chat, and what shows while it is on its way.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The reactions that a bot can set on a message (Bot API, `ReactionTypeEmoji`).
pub const REACTIONS: [&str; 73] = [
    "❤",
    "👍",
    "👎",
    "🔥",
    "🥰",
    "👏",
    "😁",
    "🤔",
    "🤯",
    "😱",
    "🤬",
    "😢",
    "🎉",
    "🤩",
    "🤮",
    "💩",
    "🙏",
    "👌",
    "🕊",
    "🤡",
    "🥱",
    "🥴",
    "😍",
    "🐳",
    "❤‍🔥",
    "🌚",
    "🌭",
    "💯",
    "🤣",
    "⚡",
    "🍌",
    "🏆",
    "💔",
    "🤨",
    "😐",
    "🍓",
    "🍾",
    "💋",
    "🖕",
    "😈",
    "😴",
    "😭",
    "🤓",
    "👻",
    "👨‍💻",
    "👀",
    "🎃",
    "🙈",
    "😇",
    "😨",
    "🤝",
    "✍",
    "🤗",
    "🫡",
    "🎅",
    "🎄",
    "☃",
    "💅",
    "🤪",
    "🗿",
    "🆒",
    "💘",
    "🙉",
    "🦄",
    "😘",
    "💊",
    "🙊",
    "😎",
    "👾",
    "🤷‍♂",
    "🤷",
    "🤷‍♀",
    "😡",
];

/// What of an answer shows in its chat, and what shows while it is on its way. Absent: answers are shown while they are written.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.progress) || !self.progress || !has(self.streaming) || self.streaming")
        .message("progress is shown where answers are shown while they are written: remove streaming: false, or progress")
        .reason(Reason::FieldValueInvalid)
        .field_path(".progress")
)]
pub struct AnswersSpec {
    /// True shows what the assistant says of its work until its answer begins: an agent's status messages, a model's reasoning where the server
    /// sends it. It is never part of the answer nor of the history. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<bool>,
    /// False shows an answer only when it is complete; "typing…" shows until then. Default true: it is shown while it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
    /// An emoji, such as 👀, that the bot sets as its reaction on a message when the assistant is asked about it. It stays. One of the reactions that
    /// Telegram lets bots set. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "reaction_schema")]
    pub receipt: Option<String>,
}

impl AnswersSpec {
    /// Whether what the assistant says of its work is shown.
    pub fn shows_progress(&self) -> bool {
        self.progress.unwrap_or(false) && self.streams()
    }

    /// Whether answers are shown while they are written.
    pub fn streams(&self) -> bool {
        self.streaming.unwrap_or(true)
    }
}

fn reaction_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": REACTIONS.as_slice()})
}
