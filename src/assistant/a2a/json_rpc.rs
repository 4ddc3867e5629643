//! The requests in both dialects. Pure.
//!
//! Source: A2A specification 1.0 and 0.3, "JSON-RPC Protocol Binding". The types of crate `a2a-lf` serve 1.0 only and refuse
//! unknown values; agents in clusters today speak 0.3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::card::{Endpoint, ProtocolVersion};
use super::confirmation::{self, PendingConfirmation};
use super::hitl_extension;
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
    /// What this task asks: questions that words answer; of an approval, which is no state of the session, the calls of tools that wait for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pending: Vec<PendingConfirmation>,
}

/// What agents may answer with: some refuse a request that does not say so (fasta2a).
const OUTPUT_MODES: [&str; 3] = ["text/plain", "text/markdown", "application/json"];

/// Begins an answer: streaming if the agent can.
pub(super) fn send(endpoint: &Endpoint, question: &Question, context: &ConversationState) -> Value {
    let v1 = endpoint.protocol_version == ProtocolVersion::V1;
    let response = hitl_response(question, context);
    let mut parts = if response.is_some() {
        text_part(v1, question).into_iter().collect()
    } else {
        question_parts(v1, question, context)
    };
    for picture in &question.pictures {
        let bytes = STANDARD.encode(&picture.bytes);
        parts.push(if v1 {
            json!({"raw": bytes, "mediaType": picture.media_type})
        } else {
            json!({"kind": "file", "file": {"bytes": bytes, "mimeType": picture.media_type}})
        });
    }
    for file in &question.files {
        let bytes = STANDARD.encode(&file.bytes);
        parts.push(if v1 {
            json!({"raw": bytes, "mediaType": file.media_type, "filename": file.name})
        } else {
            json!({"kind": "file", "file": {"bytes": bytes, "mimeType": file.media_type, "name": file.name}})
        });
    }
    let sender = &question.sender;
    let mut telegram = json!(question.context);
    telegram["connector"] = (*question.connector).into();
    telegram["session"] = question.session_id.as_str().into();
    telegram["user"] = json!({"id": sender.id, "name": sender.name, "username": sender.username, "language": sender.language_code});
    let mut message = json!({
        "messageId": question.idempotency_key,
        "role": if v1 { "ROLE_USER" } else { "user" },
        "parts": parts,
        "metadata": {"telegram": telegram},
    });
    if !v1 {
        message["kind"] = "message".into();
    }
    if let Some(response) = response {
        message["extensions"] = json!([hitl_extension::URI]);
        message["metadata"][hitl_extension::URI] = response;
    }
    if let Some(id) = &context.context_id {
        message["contextId"] = id.as_str().into();
    }
    if let Some(id) = &context.task_id {
        message["taskId"] = id.as_str().into();
    }
    let mut configuration = json!({"acceptedOutputModes": OUTPUT_MODES});
    if !v1 && !endpoint.streaming {
        // In 1.0 waiting is the default.
        configuration["blocking"] = true.into();
    }
    let params = json!({"message": message, "configuration": configuration});
    let method = match (endpoint.protocol_version, endpoint.streaming) {
        (ProtocolVersion::V1, true) => "SendStreamingMessage",
        (ProtocolVersion::V1, false) => "SendMessage",
        (ProtocolVersion::V03, true) => "message/stream",
        (ProtocolVersion::V03, false) => "message/send",
    };
    call(endpoint, method, params, &question.idempotency_key)
}

/// What goes back by kagent's extension, where the agent asked by it.
fn hitl_response(question: &Question, context: &ConversationState) -> Option<Value> {
    let decided = question.action.as_ref().and_then(|a| a.approval.as_ref());
    let words = own_words(&question.text, &question.sender.name);
    let decision = decided.map(|outcome| outcome.is_approved);
    hitl_extension::response(&context.pending, decision, words)
}

/// The words of the user, if there are any.
fn text_part(v1: bool, question: &Question) -> Option<Value> {
    let text = question.full_text();
    match (text.is_empty(), v1) {
        (true, _) => None,
        (false, true) => Some(json!({"text": text})),
        (false, false) => Some(json!({"kind": "text", "text": text})),
    }
}

/// What the user said: the decision that the agent waits for, in its own form, or the words.
fn question_parts(v1: bool, question: &Question, context: &ConversationState) -> Vec<Value> {
    let words = own_words(&question.text, &question.sender.name);
    let decided = question.action.as_ref().and_then(|a| a.approval.as_ref());
    let decision = match decided {
        Some(outcome) => confirmation::decision_parts(&context.pending, outcome.is_approved),
        None => confirmation::answer_parts(&context.pending, words),
    };
    if let Some(decision) = decision {
        let part = |(data, metadata): (Value, Value)| {
            if v1 {
                json!({"data": data, "metadata": metadata})
            } else {
                json!({"kind": "data", "data": data, "metadata": metadata})
            }
        };
        return decision.into_iter().map(part).collect();
    }
    let tapped = question.action.as_ref().map(|action| {
        let data = json!({"type": "action", "value": action.value, "of": action.of});
        if v1 {
            json!({"data": data})
        } else {
            json!({"kind": "data", "data": data})
        }
    });
    text_part(v1, question).into_iter().chain(tapped).collect()
}

/// What the user said without what the pipeline puts before it in a group: who says it, and the message that is replied to.
fn own_words<'a>(text: &'a str, name: &str) -> &'a str {
    let name = name.trim();
    let spoken = text
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(':'));
    let mut words = spoken.filter(|_| !name.is_empty()).unwrap_or(text).trim();
    while words.starts_with('>') {
        words = words
            .split_once('\n')
            .map_or("", |(_, rest)| rest)
            .trim_start();
    }
    words
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::own_words;

    #[rstest]
    #[case("yes", "yes")]
    #[case("Ann Bär: yes", "yes")]
    #[case("Ann Bär:\n> Delete web-1?\n> Really?\n\nyes", "yes")]
    #[case("> Delete web-1?\n\nyes", "yes")]
    #[case("Bob: yes", "Bob: yes")]
    #[case("[forwarded]\nyes", "[forwarded]\nyes")]
    #[case("> yes", "")]
    fn decision_is_read_from_the_users_own_words(#[case] text: &str, #[case] words: &str) {
        assert_eq!(own_words(text, "Ann Bär"), words);
    }
}
