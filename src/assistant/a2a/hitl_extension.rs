//! kagent's extension for decisions of people: tools that wait for an approval and questions to the user, as metadata of a message.
//!
//! Source: kagent, `kagent-core/a2a/_hitl.py` and `go/core/a2a`, extension `hitl/v1`. An agent whose card announces it uses it in requests that name it
//! in their header (A2A specification, "Extensions"); without it such an agent says in words that it waits, and nothing can be decided.

use serde_json::{Value, json};

use super::confirmation::{Confirmation, PendingConfirmation, ReplyForm};
use crate::assistant::lenient_json::Json;

/// Names the extension in cards, headers, messages and their metadata.
pub(super) const URI: &str = "https://kagent.dev/extensions/hitl/v1";

const TOOL_APPROVAL: &str = "tool_approval_request";
const ASK_USER: &str = "ask_user_request";

/// What a message asks by way of the extension.
pub(super) fn read(message: Json<'_>) -> Vec<Confirmation> {
    let is_declared = message
        .field("extensions")
        .items()
        .any(|uri| uri.string().as_deref() == Some(URI));
    if !is_declared {
        return Vec::new();
    }
    let request = message.field("metadata").field(URI);
    let [kind, hint, tools, nested] = request.fields(["type", "hint", "tools", "nested"]);
    // What an agent behind the agent asks is decided by that one's calls.
    let nested_tools = nested.field("tools");
    let tools = if nested_tools.items().next().is_some() {
        nested_tools
    } else {
        tools
    };
    match kind.string().as_deref() {
        Some(TOOL_APPROVAL) => {
            let hint = hint.string().unwrap_or_default();
            let read = |tool| Confirmation::read_call(tool, &hint, tool, ReplyForm::ToolApproval);
            tools.items().map(read).collect()
        }
        Some(ASK_USER) => {
            let asking = nested_tools.items().next().unwrap_or(request);
            vec![read_questions(request, asking)]
        }
        _ => Vec::new(),
    }
}

fn read_questions(request: Json<'_>, asking: Json<'_>) -> Confirmation {
    let questions = request.field("questions");
    let lines = questions.items().map(|question| {
        let [text, choices] = question.fields(["question", "choices"]);
        let choices: Vec<_> = choices.items().filter_map(Json::string).collect();
        let text = text.string().unwrap_or_default();
        if choices.is_empty() {
            text
        } else {
            format!("{text} ({})", choices.join(" / "))
        }
    });
    let hint = lines.collect::<Vec<_>>().join("\n");
    let reply = ReplyForm::UserAnswers {
        questions: questions.items().count(),
    };
    Confirmation::read_call(request, &hint, asking, reply)
}

/// What goes back to an agent that asked by way of the extension: a decision on each tool, or the words of the user as the answer to each question.
pub(super) fn response(
    pending: &[PendingConfirmation],
    decided: Option<bool>,
    words: &str,
) -> Option<Value> {
    let asked = pending.iter().find_map(|p| match p.reply {
        ReplyForm::UserAnswers { questions } => Some((&p.id, questions)),
        _ => None,
    });
    if let (Some((id, questions)), None) = (asked, decided) {
        let answers = vec![json!({"answer": [words]}); questions.clamp(1, 20)];
        return Some(json!({"type": "ask_user_response", "id": id, "answers": answers}));
    }
    let tools = pending
        .iter()
        .filter(|p| p.reply == ReplyForm::ToolApproval);
    let approvals: Vec<_> = tools
        .map(|p| json!({"id": p.id, "approved": decided}))
        .collect();
    (decided.is_some() && !approvals.is_empty())
        .then(|| json!({"type": "tool_approval_response", "approvals": approvals}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(request: &Value) -> String {
        json!({"extensions": [URI], "metadata": {(URI): request}, "parts": [{"text": "It waits."}]})
            .to_string()
    }

    fn pending(message: &str) -> Vec<PendingConfirmation> {
        let read = read(Json::split(message.as_bytes()).expect("JSON").0);
        read.into_iter().map(|c| c.pending).collect()
    }

    fn tool(id: &str) -> Value {
        json!({"id": id, "call_id": "c", "name": "delete_pod", "args": {"name": "web-1"}})
    }

    #[test]
    fn each_tool_is_decided_by_its_id() {
        let request =
            json!({"type": TOOL_APPROVAL, "hint": "Really?", "tools": [tool("1"), tool("2")]});
        let expected = json!({"type": "tool_approval_response",
            "approvals": [{"id": "1", "approved": false}, {"id": "2", "approved": false}]});
        let pending = pending(&message(&request));
        assert_eq!(response(&pending, Some(false), ""), Some(expected));
        assert_eq!(response(&pending, None, "yes"), None);
    }

    #[test]
    fn calls_of_an_agent_behind_the_agent_are_decided() {
        let request = json!({"type": TOOL_APPROVAL, "tools": [tool("outer")], "nested": {"tools": [tool("inner")]}});
        let response = response(&pending(&message(&request)), Some(true), "");
        let expected = json!([{"id": "inner", "approved": true}]);
        assert_eq!(response.map(|r| r["approvals"].clone()), Some(expected));
    }

    #[test]
    fn questions_are_answered_in_the_users_words() {
        let request = json!({"type": ASK_USER, "id": "q", "questions": [{"question": "Which?", "choices": ["a", "b"]}, {"question": "When?"}]});
        let answer = json!({"answer": ["a, today"]});
        let expected = json!({"type": "ask_user_response", "id": "q", "answers": [answer, answer]});
        let response = response(&pending(&message(&request)), None, "a, today");
        assert_eq!(response, Some(expected));
    }

    #[test]
    fn request_that_its_message_does_not_declare_asks_nothing() {
        let request = json!({"type": TOOL_APPROVAL, "tools": [tool("1")]});
        let undeclared = json!({"metadata": {(URI): request}}).to_string();
        assert_eq!(pending(&undeclared), []);
    }
}
