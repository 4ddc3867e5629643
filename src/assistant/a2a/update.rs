//! What an agent says, read from either dialect into one shape. Lenient per field: what is not needed cannot hurt. Pure.
//!
//! Source: A2A specification 1.0 and 0.3, "JSON-RPC Protocol Binding". The types of crate `a2a-lf` serve 1.0 only and refuse unknown values;
//! agents in clusters today speak 0.3.

use super::confirmation::{Confirmation, has_kagent_marks};
use super::parts::{self, Content};
use crate::assistant::answer_metadata::token_usage;
use crate::assistant::lenient_json::{Json, JsonKind};
use crate::assistant::{Choice, TokenUsage, Truncation};

/// A JSON-RPC error. Its message can echo what was asked: one word of it is looked for, and none is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    /// The message is about streaming.
    pub(super) names_streaming: bool,
}

/// What a response says: an update, or the agent's error. `None`: it is no response of this protocol.
pub(super) fn read_response(response: Json<'_>) -> Option<Result<AgentUpdate, RpcError>> {
    let [result, error] = response.fields(["result", "error"]);
    if error.is_object() && !error.is_blank() {
        let [code, message] = error.fields(["code", "message"]);
        let code = code.string().unwrap_or_default();
        let message = message.string().unwrap_or_default().to_ascii_lowercase();
        return Some(Err(RpcError {
            code: code.parse().unwrap_or_default(),
            names_streaming: message.contains("streaming"),
        }));
    }
    AgentUpdate::read(result).map(Ok)
}

/// What an agent says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AgentUpdate {
    Message(Message),
    Task(Task),
    Status(Status),
    Artifact {
        artifact: Artifact,
        append: bool,
        /// Nothing more is appended.
        is_last: bool,
        ids: Ids,
        notes: Notes,
    },
}

/// Where an update belongs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) context: Option<String>,
    pub(super) task: Option<String>,
}

/// What an update says beside its words: its metadata about the model's work, and buttons.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) usage: Option<TokenUsage>,
    pub(super) truncation: Option<Truncation>,
    pub(super) choice: Option<Choice>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) content: Content,
    pub(super) ids: Ids,
    pub(super) notes: Notes,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) status: Status,
    pub(super) artifacts: Vec<Artifact>,
    /// The agent's last words in the history.
    pub(super) last_message: Content,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: TaskState,
    pub(super) content: Content,
    /// Calls of tools that the agent wants to have approved.
    pub(super) confirmations: Vec<Confirmation>,
    pub(super) ids: Ids,
    pub(super) notes: Notes,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Artifact {
    pub(super) id: String,
    pub(super) content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskState {
    /// Submitted, working, or a state we do not know: go on waiting.
    Running,
    InputRequired,
    AuthRequired,
    Completed,
    Canceled,
    Failed,
    Rejected,
}

impl AgentUpdate {
    /// Reads a `result`. `None`: neither dialect says such a thing.
    pub(super) fn read(result: Json<'_>) -> Option<Self> {
        let kind = result.field("kind").non_empty_string();
        // 1.0 names the kind by the one field; 0.3 has `kind` in the object.
        for (field, kind_of_field) in [
            ("task", "task"),
            ("message", "message"),
            ("statusUpdate", "status-update"),
            ("artifactUpdate", "artifact-update"),
        ] {
            let inner = result.field(field);
            if kind.is_none() && inner.is_object() {
                return Self::from_kind(kind_of_field, inner);
            }
        }
        let [status, parts] = result.fields(["status", "parts"]);
        match kind {
            Some(kind) => Self::from_kind(&kind, result),
            None if status.is_object() => Self::from_kind("task", result),
            None if parts.kind() == JsonKind::Array => Self::from_kind("message", result),
            None => None,
        }
    }

    fn from_kind(kind: &str, value: Json<'_>) -> Option<Self> {
        match kind {
            "message" => Some(Self::Message(Message {
                content: Content::of_message(value),
                ids: ids(value, "taskId"),
                notes: notes(&[value]),
            })),
            "task" => {
                let mut status = status(value, "id");
                let artifacts = value.field("artifacts");
                let choices = artifacts
                    .items()
                    .filter_map(|artifact| notes(&[artifact]).choice);
                status.notes.choice = status.notes.choice.or(choices.last());
                Some(Self::Task(Task {
                    status,
                    artifacts: artifacts.items().map(artifact).collect(),
                    last_message: last_agent_message(value.field("history")),
                }))
            }
            "status-update" => Some(Self::Status(status(value, "taskId"))),
            "artifact-update" => {
                let [inner, append, last] = value.fields(["artifact", "append", "lastChunk"]);
                Some(Self::Artifact {
                    artifact: artifact(inner),
                    append: !append.is_blank(),
                    is_last: !last.is_blank(),
                    ids: ids(value, "taskId"),
                    notes: notes(&[value, inner]),
                })
            }
            _ => None,
        }
    }
}

fn is_users(message: Json<'_>) -> bool {
    matches!(
        message.field("role").string().as_deref(),
        Some("user" | "ROLE_USER")
    )
}

fn last_agent_message(history: Json<'_>) -> Content {
    let is_agent = |message: &Json<'_>| {
        matches!(
            message.field("role").string().as_deref(),
            Some("agent" | "ROLE_AGENT")
        )
    };
    let last = history.items().filter(is_agent).last();
    last.map(Content::of_message).unwrap_or_default()
}

fn ids(value: Json<'_>, task: &str) -> Ids {
    let [context, task] = value.fields(["contextId", task]);
    Ids {
        context: context.non_empty_string(),
        task: task.non_empty_string(),
    }
}

/// The status of an update or a task. `task` is the field with the task's id.
fn status(value: Json<'_>, task: &str) -> Status {
    let [state, message] = value.field("status").fields(["state", "message"]);
    let name = state.string().unwrap_or_default();
    let name = name
        .strip_prefix("TASK_STATE_")
        .unwrap_or(&name)
        .to_ascii_lowercase()
        .replace('_', "-");
    let state = match name.as_str() {
        "input-required" => TaskState::InputRequired,
        "auth-required" => TaskState::AuthRequired,
        "completed" => TaskState::Completed,
        "canceled" | "cancelled" => TaskState::Canceled,
        "failed" => TaskState::Failed,
        "rejected" => TaskState::Rejected,
        _ => TaskState::Running,
    };
    // Some agents begin by repeating what the user said.
    let content = if is_users(message) {
        Content::default()
    } else {
        Content::of_message(message)
    };
    Status {
        state,
        content,
        confirmations: match state {
            TaskState::InputRequired => Confirmation::read_all(message, has_kagent_marks(value)),
            _ => Vec::new(),
        },
        ids: ids(value, task),
        notes: notes(&[value, message]),
    }
}

fn artifact(value: Json<'_>) -> Artifact {
    Artifact {
        id: value.field("artifactId").string().unwrap_or_default(),
        content: Content::of_artifact(value),
    }
}

/// What ADK, kagent and others write beside an update, the outermost first, and the buttons among its parts.
fn notes(values: &[Json<'_>]) -> Notes {
    let metadata = values.iter().map(|value| value.field("metadata"));
    let mut notes = Notes::default();
    for metadata in metadata.filter(|metadata| metadata.is_object()) {
        let usages = metadata.fields([
            "adk_usage_metadata",
            "kagent_usage_metadata",
            "usage_metadata",
            "usage",
        ]);
        let reasons = metadata.fields([
            "adk_finish_reason",
            "kagent_finish_reason",
            "finish_reason",
            "adk_error_code",
        ]);
        notes.usage = notes.usage.or(usages.into_iter().find_map(token_usage));
        let mut words = reasons.into_iter().filter_map(Json::non_empty_string);
        notes.truncation = notes
            .truncation
            .or_else(|| words.find_map(|word| truncation(&word)));
    }
    let parts = values.iter().flat_map(|value| value.field("parts").items());
    notes.choice = parts.filter_map(parts::choice_of).last();
    notes
}

/// What a model's reason to end means that is none of an answer that is whole.
fn truncation(reason: &str) -> Option<Truncation> {
    match reason.to_ascii_uppercase().as_str() {
        "MAX_TOKENS" | "LENGTH" => Some(Truncation::Length),
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY"
        | "CONTENT_FILTER" => Some(Truncation::Filter),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Option<AgentUpdate> {
        let text = value.to_string();
        AgentUpdate::read(Json::split(text.as_bytes()).expect("JSON").0)
    }

    #[test]
    fn both_dialects_say_the_same() {
        let pairs = [
            (
                json!({"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_INPUT_REQUIRED",
                    "message": {"role": "ROLE_AGENT", "parts": [{"text": "Which?"}]}},
                    "artifacts": [{"artifactId": "a", "parts": [{"text": "x"}, {"data": {"k": 1}}]}],
                    "history": [{"role": "ROLE_AGENT", "parts": [{"text": "w"}]}, {"role": "ROLE_USER", "parts": []}]}}),
                json!({"kind": "task", "id": "t", "contextId": "c", "status": {"state": "input-required",
                    "message": {"role": "agent", "parts": [{"kind": "text", "text": "Which?"}]}},
                    "artifacts": [{"artifactId": "a", "parts": [{"kind": "text", "text": "x"}, {"kind": "data", "data": {"k": 1}}]}],
                    "history": [{"role": "agent", "parts": [{"kind": "text", "text": "w"}]}, {"role": "user", "parts": []}]}),
            ),
            (
                json!({"message": {"messageId": "m", "contextId": "c", "role": "ROLE_AGENT", "parts": [{"text": "Hi"}]}}),
                json!({"kind": "message", "messageId": "m", "contextId": "c", "role": "agent", "parts": [{"kind": "text", "text": "Hi"}]}),
            ),
            (
                json!({"statusUpdate": {"taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}}),
                json!({"kind": "status-update", "taskId": "t", "contextId": "c", "status": {"state": "completed"}, "final": true}),
            ),
            (
                json!({"artifactUpdate": {"taskId": "t", "contextId": "c", "append": true,
                    "artifact": {"artifactId": "a", "parts": [{"url": "https://x/f.pdf", "filename": "f.pdf"}]}}}),
                json!({"kind": "artifact-update", "taskId": "t", "contextId": "c", "append": true,
                    "artifact": {"artifactId": "a", "parts": [{"kind": "file", "file": {"uri": "https://x/f.pdf", "name": "f.pdf"}}]}}),
            ),
        ];
        for (v1, v03) in pairs {
            let update = read(&v1);
            assert!(update.is_some(), "{v1}");
            assert_eq!(update, read(&v03), "{v1}");
        }
    }

    #[test]
    fn metadata_says_what_it_cost_and_why_it_ended() {
        let update = json!({"kind": "status-update", "status": {"state": "completed"}, "metadata": {
            "kagent_usage_metadata": {"promptTokenCount": 7, "candidatesTokenCount": 2}, "adk_finish_reason": "MAX_TOKENS"}});
        let Some(AgentUpdate::Status(status)) = read(&update) else {
            panic!("a status");
        };
        let usage = TokenUsage {
            input: 7,
            output: 2,
        };
        assert_eq!(status.notes.usage, Some(usage));
        assert_eq!(status.notes.truncation, Some(Truncation::Length));
    }

    #[test]
    fn odd_fields_do_not_hurt_the_text() {
        let text = r#"{"kind":"message","messageId":NaN,"contextId":7,"role":["x"],"metadata":[1e999],"parts":[{"kind":0,"text":"H\ud83di","more":-Infinity}]}"#;
        let update = AgentUpdate::read(Json::split(text.as_bytes()).expect("JSON").0);
        let Some(AgentUpdate::Message(message)) = update else {
            panic!("a message: {update:?}");
        };
        let text = message.content.to_markdown();
        assert!(text.starts_with('H') && text.ends_with('i'), "{text}");
    }

    #[test]
    fn what_is_no_update_is_none() {
        for value in [
            json!(null),
            json!([1]),
            json!({"kind": "other"}),
            json!({"task": 7}),
            json!("x"),
        ] {
            assert_eq!(read(&value), None, "{value}");
        }
    }
}
