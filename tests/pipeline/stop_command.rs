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
struct Endless {
    states: Arc<Mutex<Vec<Option<String>>>>,
}

#[async_trait]
impl Assistant for Endless {
    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        self.states.lock().unwrap().push(question.session_state);
        let said = [
            AnswerPart::SessionState("conversation 7".into()),
            AnswerPart::Text("Well".into()),
        ];
        let said = stream::iter(said.map(Ok));
        Ok(Box::pin(said.chain(stream::pending())))
    }

    fn needs_history(&self) -> bool {
        false
    }

    fn protocol(&self) -> &'static str {
        "Endless"
    }
}

#[tokio::test]
async fn question_after_stop_keeps_the_session_state() {
    let mut env = TestEnv::new().await;
    let assistant = Endless::default();
    let support = env.connector_with("support", |c| {
        c.assistant = Some(Arc::new(assistant.clone()));
    });
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
        assert!(stopped.text.starts_with("Well"), "{}", stopped.text);
        env.wait_until_drained().await;
    }
    let states = assistant.states.lock().unwrap().clone();
    assert_eq!(states, [None, Some("conversation 7".to_owned())]);
}
