//! `spec.answers`: what answers bring beside their text, and what of one shows while it is on its way.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The most megabytes of a file that is sent, unless the manifest says otherwise.
const DEFAULT_MAX_MEGABYTES: i32 = 20;

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

/// What answers bring beside their text, and what of one shows while it is on its way. Absent: text only, shown while it is written.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.progress) || !self.progress || !has(self.streaming) || self.streaming")
        .message("progress is shown where answers are shown while they are written: remove streaming: false, or progress")
        .reason(Reason::FieldValueInvalid)
        .field_path(".progress"),
    validation = Rule::new("!has(self.maxMegabytes) || (has(self.files) && self.files)")
        .message("maxMegabytes bounds the files that are sent: set files: true, or remove maxMegabytes")
        .reason(Reason::FieldValueInvalid)
        .field_path(".maxMegabytes")
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
    /// True sends the pictures and other files that an answer holds, each in its place among the text, as what its first bytes say that it is: a photo,
    /// a voice message, music, a video, or a document. Default false: a word stands in their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<bool>,
    /// The biggest file that is sent, in megabytes, 1 to 50. In the place of a bigger one stands a sentence. Default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub max_megabytes: Option<i32>,
    /// True: an OpenAI model may offer buttons. Its system prompt gains a sentence that says how, and a fenced block with the info string buttons
    /// at the end of its answer becomes buttons. The other protocols have fields for buttons and need nothing here. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buttons: Option<bool>,
    /// When an answer is a rich message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rich: Option<RichMessages>,
}

/// WhenNeeded: an answer with a table or a formula is sent as a rich message (Bot API 10.1), which shows them as such; where the server does not take
/// it, it is sent as with Never: tables as columns or records, formulas as their source. Default Never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RichMessages {
    /// Never.
    Never,
    /// When it has a table or a formula.
    WhenNeeded,
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

    /// Whether a buttons block at the end of a model's answer becomes buttons.
    pub fn offers_buttons(&self) -> bool {
        self.buttons.unwrap_or(false)
    }

    /// When an answer is a rich message.
    pub fn rich_messages(&self) -> RichMessages {
        self.rich.unwrap_or(RichMessages::Never)
    }

    /// The biggest file that is sent, in bytes; `None`: none are.
    pub fn max_file_bytes(&self) -> Option<usize> {
        let megabytes = self.max_megabytes.unwrap_or(DEFAULT_MAX_MEGABYTES);
        let bytes = usize::try_from(megabytes).unwrap_or(0) * 1_000_000;
        self.files.unwrap_or(false).then_some(bytes)
    }
}

fn reaction_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": REACTIONS.as_slice()})
}
