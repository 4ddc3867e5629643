//! Calls of tools that a person has to approve first, as ADK and kagent ask for them: what is shown, and how the decision goes back.
//!
//! Newer ones of kagent ask by its extension ([`super::hitl_extension`]).
//!
//! Source: google-adk 2.13 (`request_confirmation`, `part_converter`), kagent-adk 0.10 (`_agent_executor`, `_hitl_utils`). A part of data with
//! the call `adk_request_confirmation` asks. ADK wants that call's response back, kagent a decision in its own words.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::hitl_extension;
use super::parts::{code_block, cut, step_kind};
use crate::assistant::lenient_json::{Json, JsonKind};
use crate::assistant::{ApprovalRequest, visible};

/// The call that asks for a confirmation.
const REQUEST: &str = "adk_request_confirmation";
/// kagent's tool that asks the user something.
const ASK_USER: &str = "ask_user";
/// kagent's older requests.
const TOOL_APPROVAL: &str = "tool_approval";

/// How much is shown, in lines and in characters.
const MAX_ARGUMENTS: usize = 20;
const MAX_VALUE: usize = 300;
const MAX_HINT: usize = 500;
/// The most requests at once, and the longest id that is kept.
const MAX_REQUESTS: usize = 20;
const MAX_ID_BYTES: usize = 1024;

/// A request that waits for a decision, as the session keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PendingConfirmation {
    /// The id of the call that asks.
    pub(super) id: String,
    /// Who is to be told, and what.
    pub(super) reply: ReplyForm,
}

/// What an agent expects in return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ReplyForm {
    /// The response of the call that asks.
    FunctionResponse,
    /// kagent's `decision_type`.
    Decision,
    /// kagent's `ask_user_answers`: words, to this many questions.
    Answers { questions: usize },
    /// A decision by the id of the call, by kagent's extension.
    ToolApproval,
    /// Words, to this many questions, by kagent's extension.
    UserAnswers { questions: usize },
}

impl ReplyForm {
    fn takes_words(self) -> bool {
        matches!(self, Self::Answers { .. } | Self::UserAnswers { .. })
    }
}

/// A call that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Confirmation {
    pub(super) pending: PendingConfirmation,
    tool: String,
    /// Name and JSON of each.
    arguments: Vec<(String, String)>,
    hint: String,
}

impl Confirmation {
    /// The requests in a message. `by_kagent`: what surrounds it bears kagent's marks.
    pub(super) fn read_all(message: Json<'_>, by_kagent: bool) -> Vec<Self> {
        let by_kagent = by_kagent || has_kagent_marks(message);
        let mut found = hitl_extension::read(message);
        if !found.is_empty() {
            found.truncate(MAX_REQUESTS);
            return found;
        }
        for part in message.field("parts").items() {
            let data = part.field("data");
            let [name, actions, interrupt] =
                data.fields(["name", "action_requests", "interrupt_type"]);
            if interrupt.string().as_deref() == Some(TOOL_APPROVAL) {
                found.extend(actions.items().map(Self::read_action));
            } else if name.string().as_deref() == Some(REQUEST) {
                found.push(Self::read_request(
                    data,
                    by_kagent || has_kagent_marks(part),
                ));
            } else if is_waiting_call(part) {
                found.push(Self::read_call(data, "", data, ReplyForm::FunctionResponse));
            }
        }
        found.truncate(MAX_REQUESTS);
        found
    }

    fn read_request(data: Json<'_>, by_kagent: bool) -> Self {
        let [call, confirmation] = data
            .field("args")
            .fields(["originalFunctionCall", "toolConfirmation"]);
        let hint = confirmation.field("hint").string().unwrap_or_default();
        let reply = match call.field("name").string().as_deref() {
            Some(ASK_USER) if by_kagent => ReplyForm::Answers {
                questions: call.field("args").field("questions").items().count(),
            },
            _ if by_kagent => ReplyForm::Decision,
            _ => ReplyForm::FunctionResponse,
        };
        Self::read_call(call, &hint, data, reply)
    }

    fn read_action(action: Json<'_>) -> Self {
        Self::read_call(action, "", action, ReplyForm::Decision)
    }

    /// A call of a tool; `asking` has the id of what waits for the reply.
    pub(super) fn read_call(
        call: Json<'_>,
        hint: &str,
        asking: Json<'_>,
        reply: ReplyForm,
    ) -> Self {
        let arguments = match call.field("args").to_value() {
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| (name, value.to_string()))
                .collect(),
            Value::Null => Vec::new(),
            other => vec![(String::new(), other.to_string())],
        };
        let mut id = asking.field("id").string().unwrap_or_default();
        id.truncate(id.floor_char_boundary(MAX_ID_BYTES));
        Self {
            pending: PendingConfirmation { id, reply },
            tool: call.field("name").string().unwrap_or_default(),
            arguments,
            hint: hint.to_owned(),
        }
    }

    /// Tool, arguments and hint as they are, with no sign in them that changes how others read.
    fn to_text(&self) -> String {
        let tool = visible(&cut(&self.tool, MAX_VALUE));
        let details = self.details();
        if details.is_empty() {
            tool
        } else {
            format!("{tool}\n{details}")
        }
    }

    /// Arguments and hint.
    fn details(&self) -> String {
        let mut lines = Vec::new();
        for (name, value) in self.arguments.iter().take(MAX_ARGUMENTS) {
            lines.push(format!(
                "{}: {}",
                cut(name, MAX_VALUE),
                cut(value, MAX_VALUE)
            ));
        }
        let left_out = self.arguments.len().saturating_sub(MAX_ARGUMENTS);
        if left_out > 0 {
            lines.push(format!("… (+{left_out})"));
        }
        let hint = self.hint.trim();
        if !hint.is_empty() {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(cut(hint, MAX_HINT));
        }
        visible(&lines.join("\n"))
    }
}

/// Whether this is a call that waits for somebody, other than for a confirmation.
fn is_waiting_call(part: Json<'_>) -> bool {
    let marks = part.field("metadata").fields([
        "adk_is_long_running",
        "kagent_is_long_running",
        "is_long_running",
    ]);
    step_kind(part).as_deref() == Some("function_call") && marks.iter().any(|mark| !mark.is_blank())
}

/// Whether the metadata of a part, a message or an event is kagent's.
pub(super) fn has_kagent_marks(value: Json<'_>) -> bool {
    let marks = value.field("metadata").fields([
        "kagent_type",
        "kagent_app_name",
        "kagent_session_id",
        "kagent_author",
        "kagent_invocation_id",
    ]);
    marks.iter().any(|mark| mark.kind() == JsonKind::Text)
}

/// The data and the metadata of the part that answers the agent's questions in the user's words; `None` where it asked none.
pub(super) fn answer_parts(
    pending: &[PendingConfirmation],
    text: &str,
) -> Option<Vec<(Value, Value)>> {
    let questions = pending.iter().filter_map(|p| match p.reply {
        ReplyForm::Answers { questions } => Some(questions),
        _ => None,
    });
    // Which question the words answer is for the agent's model to see.
    let count = questions.max()?.clamp(1, MAX_REQUESTS);
    let answers: Vec<Value> = (0..count).map(|_| json!({"answer": [text]})).collect();
    let data = json!({"decision_type": "approve", "ask_user_answers": answers});
    Some(vec![(data, json!({}))])
}

/// The data and the metadata of the parts that tell the agent what was decided; `None` where it asked nothing.
pub(super) fn decision_parts(
    pending: &[PendingConfirmation],
    confirmed: bool,
) -> Option<Vec<(Value, Value)>> {
    let mut parts: Vec<(Value, Value)> = pending
        .iter()
        .filter(|p| p.reply == ReplyForm::FunctionResponse)
        .map(|p| {
            (
                json!({"id": p.id, "name": REQUEST, "response": {"confirmed": confirmed}}),
                json!({"adk_type": "function_response"}),
            )
        })
        .collect();
    let waits_for_a_word = |p: &PendingConfirmation| {
        matches!(p.reply, ReplyForm::Decision | ReplyForm::Answers { .. })
    };
    if pending.iter().any(waits_for_a_word) {
        // One decision for all.
        let decision = if confirmed { "approve" } else { "reject" };
        parts.push((json!({ "decision_type": decision }), json!({})));
    }
    (!parts.is_empty()).then_some(parts)
}

/// The words for yes and no in the languages of the bot's own texts: English first, then by the user's language.
const WORDS: [(&str, &str, &str); 7] = [
    ("en", "yes", "no"),
    ("de", "ja", "nein"),
    ("es", "sí", "no"),
    ("fr", "oui", "non"),
    ("it", "sì", "no"),
    ("pt", "sim", "não"),
    ("ru", "да", "нет"),
];
const MORE_YES: [&str; 6] = ["si", "y", "approve", "approved", "confirm", "confirmed"];
const MORE_NO: [&str; 6] = ["nao", "n", "reject", "rejected", "deny", "cancel"];

/// What a message decides that is a word for yes or no in one of the bot's languages; a sentence decides nothing.
pub(crate) fn decision_word(text: &str) -> Option<bool> {
    let word = text
        .trim_matches(|c: char| {
            c.is_whitespace() || matches!(c, '.' | '!' | ',' | '"' | '*' | '`' | '¡')
        })
        .to_lowercase();
    let word = word.as_str();
    if WORDS.iter().any(|(_, yes, _)| *yes == word) || MORE_YES.contains(&word) {
        Some(true)
    } else if WORDS.iter().any(|(_, _, no)| *no == word) || MORE_NO.contains(&word) {
        Some(false)
    } else {
        None
    }
}

/// Questions that words answer, as people see them.
pub(super) fn to_markdown(confirmations: &[Confirmation]) -> String {
    let blocks: Vec<String> = confirmations
        .iter()
        .map(|confirmation| code_block("", &confirmation.to_text()))
        .collect();
    blocks.join("\n\n")
}

/// What people are asked to approve, if a decision is what the agent waits for. `token` comes back with it.
pub(super) fn approval_request(
    confirmations: &[Confirmation],
    token: String,
) -> Option<ApprovalRequest> {
    let is_decidable = |c: &Confirmation| !c.pending.reply.takes_words();
    if !confirmations.iter().any(is_decidable) {
        return None;
    }
    let first = confirmations.first()?;
    let id = first.pending.id.clone();
    let (title, details) = match confirmations {
        [only] => (cut(&only.tool, MAX_VALUE), only.details()),
        several => {
            let tools = several.iter().map(|c| cut(&c.tool, MAX_VALUE));
            let texts = several.iter().map(Confirmation::to_text);
            (
                tools.collect::<Vec<_>>().join(", "),
                texts.collect::<Vec<_>>().join("\n\n"),
            )
        }
    };
    Some(ApprovalRequest {
        id: (!id.is_empty()).then_some(id),
        title,
        details,
        token: Some(token),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(message: &Value) -> Vec<Confirmation> {
        let text = message.to_string();
        Confirmation::read_all(Json::split(text.as_bytes()).expect("JSON").0, false)
    }

    fn request(tool: &str, arguments: &Value, hint: &str, metadata: &Value) -> Value {
        json!({"parts": [{"data": {"id": "c1", "name": "adk_request_confirmation", "args": {
            "originalFunctionCall": {"id": "f1", "name": tool, "args": arguments},
            "toolConfirmation": {"hint": hint, "confirmed": false}}}, "metadata": metadata}]})
    }

    fn adk() -> Value {
        json!({"adk_type": "function_call", "adk_is_long_running": true})
    }

    fn replies(message: &Value, text: &str) -> Option<Vec<(Value, Value)>> {
        let pending: Vec<_> = read(message).into_iter().map(|c| c.pending).collect();
        answer_parts(&pending, text).or_else(|| decision_parts(&pending, decision_word(text)?))
    }

    #[test]
    fn approval_names_the_tool_its_arguments_and_the_hint() {
        let asked = read(&request(
            "delete_pod",
            &json!({"name": "web-1", "force": true}),
            "Really?",
            &adk(),
        ));
        let request = approval_request(&asked, "t".into()).expect("a request");
        assert_eq!(
            (request.title.as_str(), request.id.as_deref()),
            ("delete_pod", Some("c1"))
        );
        assert_eq!(request.details, "force: true\nname: \"web-1\"\n\nReally?");
    }

    #[test]
    fn what_a_request_holds_is_bounded_and_cannot_mislead() {
        let arguments = json!({"a": "```\n**bold**", "b": "y".repeat(5000)});
        let asked = read(&request("t", &arguments, "x \u{202e}gpj", &adk()));
        let details = approval_request(&asked, String::new())
            .expect("a request")
            .details;
        assert!(!details.contains('\u{202e}'));
        assert!(
            details.contains("… (+") && details.len() < 1500,
            "{details}"
        );
    }

    #[rstest]
    #[case("yes", Some(true))]
    #[case(" Ja! ", Some(true))]
    #[case("SÍ", Some(true))]
    #[case("Да.", Some(true))]
    #[case("sì", Some(true))]
    #[case("oui", Some(true))]
    #[case("sim", Some(true))]
    #[case("approve", Some(true))]
    #[case("No", Some(false))]
    #[case("nein", Some(false))]
    #[case("não", Some(false))]
    #[case("нет", Some(false))]
    #[case("reject", Some(false))]
    #[case("yes, but only the first", None)]
    #[case("why?", None)]
    #[case("", None)]
    fn only_a_word_for_yes_or_no_decides(#[case] text: &str, #[case] expected: Option<bool>) {
        assert_eq!(decision_word(text), expected);
    }

    #[rstest]
    #[case("yes", true)]
    #[case("nein", false)]
    fn adk_gets_the_response_of_the_call_that_asks(#[case] text: &str, #[case] confirmed: bool) {
        let parts = replies(&request("delete_pod", &json!({}), "", &adk()), text);
        let data = json!({"id": "c1", "name": "adk_request_confirmation", "response": {"confirmed": confirmed}});
        assert_eq!(
            parts,
            Some(vec![(data, json!({"adk_type": "function_response"}))])
        );
    }

    #[rstest]
    #[case("yes", "approve")]
    #[case("no", "reject")]
    fn kagent_gets_a_decision(#[case] text: &str, #[case] decision: &str) {
        let metadata = json!({"kagent_type": "function_call"});
        let parts = replies(&request("delete_pod", &json!({}), "", &metadata), text);
        assert_eq!(
            parts,
            Some(vec![(json!({"decision_type": decision}), json!({}))])
        );
        let older = json!({"parts": [{"data": {"interrupt_type": "tool_approval",
            "action_requests": [{"name": "delete_pod", "args": {"name": "web-1"}, "id": "f1"}]}}]});
        assert!(read(&older)[0].to_text().contains("web-1"));
        assert_eq!(replies(&older, text), parts);
    }

    #[test]
    fn kagents_questions_are_answered_in_words() {
        let questions = json!({"questions": [{"question": "Which?"}, {"question": "When?"}]});
        let asked = request(
            "ask_user",
            &questions,
            "Which?; When?",
            &json!({"kagent_type": "function_call"}),
        );
        assert_eq!(approval_request(&read(&asked), String::new()), None);
        let answer = json!({"answer": ["the first, today"]});
        let data = json!({"decision_type": "approve", "ask_user_answers": [answer, answer]});
        assert_eq!(
            replies(&asked, "the first, today"),
            Some(vec![(data, json!({}))])
        );
    }

    #[test]
    fn several_requests_are_decided_together() {
        let one = request("delete_pod", &json!({}), "", &adk());
        let part = one["parts"][0].clone();
        let parts = replies(&json!({"parts": [part, part]}), "yes").expect("a decision");
        assert_eq!(parts.len(), 2);
    }

    #[test]
    fn other_words_and_other_data_decide_nothing() {
        assert_eq!(
            replies(&request("t", &json!({}), "", &adk()), "what is it?"),
            None
        );
        assert_eq!(
            read(&json!({"parts": [{"data": {"k": 1}}, {"text": "x"}]})),
            []
        );
        assert_eq!(decision_parts(&[], true), None);
    }
}
