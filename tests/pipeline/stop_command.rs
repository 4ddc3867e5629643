//! What a stopped answer leaves behind in its session.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use telegram_connector_operator::assistant::{
    AnswerPart, AnswerStream, Assistant, AssistantError, Question,
};

use crate::test_env::{ANN, TIMEOUT, TestEnv};

/// An assistant that names its conversation, says a word and then nothing for ever; it remembers with what it was asked.
#[derive(Debug, Default, Clone)]
pub(crate) struct Endless {
    needs_history: bool,
    states: Arc<Mutex<Vec<Option<String>>>>,
    histories: Arc<Mutex<Vec<Vec<String>>>>,
}

#[async_trait]
impl Assistant for Endless {
    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        self.states.lock().unwrap().push(question.session_state);
        let history = question.history.into_iter().map(|m| m.text);
        self.histories.lock().unwrap().push(history.collect());
        let parts = [
            AnswerPart::SessionState("conversation 7".into()),
            AnswerPart::Text("Well".into()),
        ];
        let parts = stream::iter(parts.map(Ok));
        Ok(Box::pin(parts.chain(stream::pending())))
    }

    fn needs_history(&self) -> bool {
        self.needs_history
    }

    fn protocol(&self) -> &'static str {
        "Endless"
    }
}

/// Ann asks twice and stops both answers once their first word shows.
async fn stop_two_answers(assistant: Endless) {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.assistant = Some(Arc::new(assistant)));
    for turn in 1..=2 {
        env.telegram.send_private_message(support.id, ANN, "think");
        let shown = env.telegram.wait_until(support.id, TIMEOUT, |telegram| {
            // The first words, of this answer.
            let drafts = telegram.drafts(support.id);
            let ids: HashSet<_> = drafts.iter().map(|d| d.draft_id).collect();
            (ids.len() >= turn).then_some(())
        });
        shown.await.expect("the first words");
        let stopped = env.ask(&support, "/stop").await;
        assert_eq!(stopped.text, "Well\n\n⏹");
        env.wait_until_drained().await;
    }
}

#[tokio::test]
async fn question_after_stop_keeps_the_session_state() {
    let assistant = Endless::default();
    stop_two_answers(assistant.clone()).await;
    let states = assistant.states.lock().unwrap().clone();
    assert_eq!(states, [None, Some("conversation 7".to_owned())]);
}

#[tokio::test]
async fn history_after_stop_holds_what_was_shown_with_its_mark() {
    let assistant = Endless {
        needs_history: true,
        ..Endless::default()
    };
    stop_two_answers(assistant.clone()).await;
    let histories = assistant.histories.lock().unwrap().clone();
    assert_eq!(histories[1], ["think", "Well\n\n⏹"]);
}
