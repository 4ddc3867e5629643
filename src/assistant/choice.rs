//! Buttons that an assistant offers with its answer, and what it is told of the one that was tapped.

use super::lenient_json::{Json, JsonKind};

/// The most buttons that are read of one answer, whatever is shown of them.
const MAX_READ: usize = 200;
/// The longest id of a question that is kept, in bytes.
const MAX_ID_BYTES: usize = 256;

/// A question with its possible answers, as an assistant gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The assistant's own name for the question.
    pub id: Option<String>,
    /// The buttons, row by row; no row is empty.
    pub rows: Vec<Vec<ChoiceButton>>,
    /// Whether everybody in the chat who may write may tap, rather than only whoever was answered.
    pub for_anyone: bool,
    /// Whether a tap says the button's value in the user's name, rather than its text.
    pub says_value: bool,
}

/// One possible answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChoiceButton {
    /// What stands on the button.
    pub text: String,
    /// What the assistant is told; the text where the assistant gives no value.
    pub value: String,
}

/// What a person decided by a button, or what became of a question that nobody decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The value of the button that was tapped.
    pub value: String,
    /// The assistant's id of the question, or ours where it gave none.
    pub of: String,
    /// Only of an approval.
    pub approval: Option<ApprovalOutcome>,
}

/// How an approval ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalOutcome {
    /// Whether somebody approved; an approval that expired is refused.
    pub is_approved: bool,
    /// Nobody decided in time.
    pub is_expired: bool,
    /// Who decided; `None` where nobody did.
    pub decided_by: Option<super::Sender>,
    /// What the assistant gave to be given back ([`super::ApprovalRequest::token`]).
    pub token: Option<String>,
}

impl Choice {
    /// Reads rows of buttons: lists of objects with `text` and `value`, or of texts. What stands outside a row is a row of its own. `None` where
    /// there is no button.
    pub(super) fn read(buttons: Json<'_>) -> Option<Self> {
        let mut left = MAX_READ;
        let mut rows = Vec::new();
        for row in buttons.items() {
            let row: Vec<_> = match row.kind() {
                JsonKind::Array => row.items().take(left).filter_map(button).collect(),
                _ => button(row).into_iter().collect(),
            };
            left -= row.len().min(left);
            if !row.is_empty() {
                rows.push(row);
            }
            if left == 0 {
                break;
            }
        }
        (!rows.is_empty()).then_some(Self {
            rows,
            ..Self::default()
        })
    }

    /// With the id and the audience that stand beside the buttons.
    pub(super) fn with_context(self, id: Json<'_>, audience: Json<'_>) -> Self {
        Self {
            id: read_id(id),
            for_anyone: audience.string().as_deref() == Some("anyone"),
            ..self
        }
    }
}

/// An assistant's id of a question, cut to what is kept.
pub(super) fn read_id(id: Json<'_>) -> Option<String> {
    let mut id = id.non_empty_string()?;
    id.truncate(id.floor_char_boundary(MAX_ID_BYTES));
    Some(id)
}

fn button(json: Json<'_>) -> Option<ChoiceButton> {
    if json.kind() == JsonKind::Text {
        let text = json.string()?;
        return Some(ChoiceButton {
            value: text.clone(),
            text,
        });
    }
    if !json.is_object() {
        return None;
    }
    let [text, value] = json.fields(["text", "value"]);
    let text = text.string().unwrap_or_default();
    let value = value.string().unwrap_or_else(|| text.clone());
    Some(ChoiceButton { text, value })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn read(buttons: &Value) -> Vec<Vec<ChoiceButton>> {
        let text = buttons.to_string();
        let choice = Choice::read(Json::split(text.as_bytes()).expect("JSON").0);
        choice.map(|choice| choice.rows).unwrap_or_default()
    }

    /// The rows as `text=value`, parted by `;` and `,`.
    fn shown(buttons: &Value) -> String {
        let shown = |b: &ChoiceButton| format!("{}={}", b.text, b.value);
        let row = |row: &Vec<ChoiceButton>| row.iter().map(shown).collect::<Vec<_>>().join(",");
        read(buttons).iter().map(row).collect::<Vec<_>>().join(";")
    }

    #[rstest]
    #[case::rows(json!([[{"text": "Yes", "value": "y"}, {"text": "No", "value": "n"}], [{"text": "Later", "value": "l"}]]), "Yes=y,No=n;Later=l")]
    #[case::without_values(json!([[{"text": "Yes"}]]), "Yes=Yes")]
    #[case::texts(json!(["Yes", ["No", "Later"]]), "Yes=Yes;No=No,Later=Later")]
    #[case::numbers(json!([[{"text": "One", "value": 1}]]), "One=1")]
    #[case::empty_rows(json!([[], [null, 7], [{"text": "Yes"}]]), "Yes=Yes")]
    #[case::none(json!({"text": "Yes"}), "")]
    fn buttons_are_read_in_rows(#[case] json: Value, #[case] expected: &str) {
        assert_eq!(shown(&json), expected);
    }

    #[test]
    fn only_so_many_buttons_are_read() {
        let rows = vec![vec!["x"; 90]; 9];
        let read: usize = read(&json!(rows)).iter().map(Vec::len).sum();
        assert_eq!(read, MAX_READ);
    }
}
