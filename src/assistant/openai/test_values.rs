//! Values that the tests of requests share.

use crate::assistant::{Question, QuestionContext, Sender};

/// A question of the user 42, the first of its session.
pub(super) fn question(text: &str) -> Question {
    Question {
        sender: Sender {
            id: 42,
            name: "Ann".into(),
            username: None,
            language_code: None,
        },
        connector: "acme/support".into(),
        session_id: "s".into(),
        session_state: None,
        history: vec![],
        text: text.into(),
        pictures: vec![],
        files: vec![],
        wants_progress: false,
        context: QuestionContext::default(),
        action: None,
        offers_buttons: false,
        idempotency_key: "1-2".into(),
    }
}
