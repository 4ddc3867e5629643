//! What goes over the wire in both dialects: requests are written in one of them, answers are read in either. Pure.
//!
//! Source: A2A specification 1.0 and 0.3, "JSON-RPC Protocol Binding". The types of crate `a2a-lf` serve 1.0 only and refuse
//! unknown values; agents in clusters today speak 0.3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::card::{Endpoint, ProtocolVersion};
use crate::assistant::Question;

/// What a session keeps between questions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConversationState {
    /// The conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) context_id: Option<String>,
    /// A task that waits for the user's next message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) task_id: Option<String>,
}

/// Begins an answer: streaming if the agent can.
pub(super) fn send(endpoint: &Endpoint, question: &Question, context: &ConversationState) -> Value {
    let v1 = endpoint.protocol_version == ProtocolVersion::V1;
    let mut parts = Vec::new();
    if !question.text.is_empty() {
        parts.push(if v1 {
            json!({"text": question.text})
        } else {
            json!({"kind": "text", "text": question.text})
        });
    }
    for picture in &question.pictures {
        let bytes = STANDARD.encode(&picture.bytes);
        parts.push(if v1 {
            json!({"raw": bytes, "mediaType": picture.media_type})
        } else {
            json!({"kind": "file", "file": {"bytes": bytes, "mimeType": picture.media_type}})
        });
    }
    let sender = &question.sender;
    let mut message = json!({
        "messageId": question.idempotency_key,
        "role": if v1 { "ROLE_USER" } else { "user" },
        "parts": parts,
        "metadata": {"telegram": {
            "connector": &*question.connector,
            "session": question.session_id,
            "user": {"id": sender.id, "name": sender.name, "username": sender.username, "language": sender.language_code},
        }},
    });
    if !v1 {
        message["kind"] = "message".into();
    }
    if let Some(id) = &context.context_id {
        message["contextId"] = id.as_str().into();
    }
    if let Some(id) = &context.task_id {
        message["taskId"] = id.as_str().into();
    }
    let mut params = json!({"message": message});
    if !v1 && !endpoint.streaming {
        // In 1.0 waiting is the default.
        params["configuration"] = json!({"blocking": true});
    }
    let method = match (endpoint.protocol_version, endpoint.streaming) {
        (ProtocolVersion::V1, true) => "SendStreamingMessage",
        (ProtocolVersion::V1, false) => "SendMessage",
        (ProtocolVersion::V03, true) => "message/stream",
        (ProtocolVersion::V03, false) => "message/send",
    };
    call(endpoint, method, params, &question.idempotency_key)
}

/// Looks at a task.
pub(super) fn get_task(endpoint: &Endpoint, id: &str) -> Value {
    let method = match endpoint.protocol_version {
        ProtocolVersion::V1 => "GetTask",
        ProtocolVersion::V03 => "tasks/get",
    };
    call(endpoint, method, json!({"id": id}), id)
}

/// Asks the agent to work no longer on a task.
pub(super) fn cancel_task(endpoint: &Endpoint, id: &str) -> Value {
    let method = match endpoint.protocol_version {
        ProtocolVersion::V1 => "CancelTask",
        ProtocolVersion::V03 => "tasks/cancel",
    };
    call(endpoint, method, json!({"id": id}), id)
}

fn call(endpoint: &Endpoint, method: &str, mut params: Value, id: &str) -> Value {
    if let Some(tenant) = &endpoint.tenant {
        params["tenant"] = tenant.as_str().into();
    }
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// A JSON-RPC response, or one event of a stream of them.
#[derive(Debug, Deserialize)]
pub(super) struct Response {
    #[serde(default)]
    pub(super) result: Option<Value>,
    #[serde(default)]
    pub(super) error: Option<RpcError>,
}

/// A JSON-RPC error; its message can echo what was asked and is not read.
#[derive(Debug, Deserialize)]
pub(super) struct RpcError {
    #[serde(default)]
    pub(super) code: i64,
}

/// What an agent says, in one shape for both dialects.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AgentUpdate {
    Message(Message),
    Task(Task),
    Status(Status),
    Artifact {
        artifact: Artifact,
        append: bool,
        ids: Ids,
    },
}

/// Where an update belongs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) context: Option<String>,
    pub(super) task: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) ids: Ids,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) status: Status,
    pub(super) artifacts: Vec<Artifact>,
    /// The agent's last words in the history.
    pub(super) last_message: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: TaskState,
    pub(super) text: String,
    pub(super) ids: Ids,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Artifact {
    pub(super) id: String,
    pub(super) text: String,
}

/// A task's state.
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
    pub(super) fn read(result: &Value) -> Option<Self> {
        // 1.0 names the kind by the one field; 0.3 has `kind` in the object.
        for (field, kind) in [
            ("task", "task"),
            ("message", "message"),
            ("statusUpdate", "status-update"),
            ("artifactUpdate", "artifact-update"),
        ] {
            if result["kind"].is_null() && result[field].is_object() {
                return Self::from_kind(kind, &result[field]);
            }
        }
        match result["kind"].as_str() {
            Some(kind) => Self::from_kind(kind, result),
            None if result["status"].is_object() => Self::from_kind("task", result),
            None if result["parts"].is_array() => Self::from_kind("message", result),
            None => None,
        }
    }

    fn from_kind(kind: &str, value: &Value) -> Option<Self> {
        match kind {
            "message" => Some(Self::Message(Message {
                text: text_of(value),
                ids: ids(value, "taskId"),
            })),
            "task" => Some(Self::Task(Task {
                status: status(&value["status"], ids(value, "id")),
                artifacts: value["artifacts"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(artifact)
                    .collect(),
                last_message: value["history"]
                    .as_array()
                    .and_then(|h| {
                        h.iter()
                            .rev()
                            .find(|m| matches!(m["role"].as_str(), Some("agent" | "ROLE_AGENT")))
                    })
                    .map(text_of)
                    .unwrap_or_default(),
            })),
            "status-update" => Some(Self::Status(status(&value["status"], ids(value, "taskId")))),
            "artifact-update" => Some(Self::Artifact {
                artifact: artifact(&value["artifact"]),
                append: value["append"].as_bool().unwrap_or(false),
                ids: ids(value, "taskId"),
            }),
            _ => None,
        }
    }
}

fn ids(value: &Value, task: &str) -> Ids {
    let id = |field: &str| {
        value[field]
            .as_str()
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
    };
    Ids {
        context: id("contextId"),
        task: id(task),
    }
}

fn status(value: &Value, ids: Ids) -> Status {
    let name = value["state"].as_str().unwrap_or_default();
    let name = name
        .strip_prefix("TASK_STATE_")
        .unwrap_or(name)
        .to_ascii_lowercase();
    Status {
        state: match name.replace('_', "-").as_str() {
            "input-required" => TaskState::InputRequired,
            "auth-required" => TaskState::AuthRequired,
            "completed" => TaskState::Completed,
            "canceled" | "cancelled" => TaskState::Canceled,
            "failed" => TaskState::Failed,
            "rejected" => TaskState::Rejected,
            _ => TaskState::Running,
        },
        text: text_of(&value["message"]),
        ids,
    }
}

fn artifact(value: &Value) -> Artifact {
    Artifact {
        id: value["artifactId"].as_str().unwrap_or_default().to_owned(),
        // An artifact that was streamed keeps each piece as a part.
        text: text_of_parts(value, ""),
    }
}

fn text_of(message: &Value) -> String {
    text_of_parts(message, "\n")
}

/// The text of all parts, files as links. Thoughts and data (calls of tools) are not for people.
fn text_of_parts(value: &Value, between: &str) -> String {
    let mut text = String::new();
    for part in value["parts"].as_array().into_iter().flatten() {
        if is_thought(part) {
            continue;
        }
        let shown = part["text"]
            .as_str()
            .map(str::to_owned)
            .or_else(|| file_link(part));
        if let Some(shown) = shown.filter(|s| !s.is_empty()) {
            if !text.is_empty() {
                text.push_str(between);
            }
            text.push_str(&shown);
        }
    }
    text
}

/// ADK and kagent mark reasoning in the part's metadata (`adk_thought`, `kagent_thought`).
fn is_thought(part: &Value) -> bool {
    part["metadata"].as_object().is_some_and(|m| {
        m.iter()
            .any(|(key, value)| key.ends_with("thought") && value == &Value::Bool(true))
    })
}

fn file_link(part: &Value) -> Option<String> {
    let file = if part["file"].is_object() {
        &part["file"]
    } else {
        part
    };
    let url = file["url"].as_str().or_else(|| file["uri"].as_str())?;
    let web = url.starts_with("https://") || url.starts_with("http://");
    let name = file["filename"]
        .as_str()
        .or_else(|| file["name"].as_str())
        .unwrap_or(url);
    web.then(|| format!("[{name}]({url})"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let read = AgentUpdate::read(&v1);
            assert!(read.is_some(), "{v1}");
            assert_eq!(read, AgentUpdate::read(&v03), "{v1}");
        }
    }

    #[test]
    fn thoughts_are_not_for_people() {
        let value = json!({"parts": [
            {"kind": "text", "text": "hmm", "metadata": {"adk_thought": true}},
            {"kind": "text", "text": "Hi"},
        ]});
        assert_eq!(text_of(&value), "Hi");
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
            assert_eq!(AgentUpdate::read(&value), None, "{value}");
        }
    }
}
