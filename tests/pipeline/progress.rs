//! What shows while an answer is on its way: progress before it, nothing but "typing…" without streaming, and the reaction that says that a message
//! was received.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream;
use telegram_connector_operator::assistant::{
    AnswerPart, AnswerStream, Assistant, AssistantError, Progress, Question,
};
use telegram_connector_operator::registry::AnswerPolicy;
use tokio::sync::mpsc;

use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv};

/// An assistant whose answer the test writes, piece by piece; it keeps what it was asked.
#[derive(Debug, Clone, Default)]
struct Dictated {
    answers: Arc<Mutex<Vec<mpsc::UnboundedReceiver<AnswerPart>>>>,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Dictated {
    fn next_answer(&self) -> mpsc::UnboundedSender<AnswerPart> {
        let (pieces, answer) = mpsc::unbounded_channel();
        self.answers.lock().unwrap().push(answer);
        pieces
    }
}

#[async_trait]
impl Assistant for Dictated {
    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        self.asked.lock().unwrap().push(question);
        let answer = self.answers.lock().unwrap().remove(0);
        Ok(Box::pin(stream::unfold(answer, |mut answer| async move {
            let part = answer.recv().await?;
            Some((Ok(part), answer))
        })))
    }

    fn needs_history(&self) -> bool {
        true
    }

    fn protocol(&self) -> &'static str {
        "Dictated"
    }
}

async fn with(answers: AnswerPolicy) -> (TestEnv, Connector, Dictated) {
    let mut env = TestEnv::new().await;
    let assistant = Dictated::default();
    let asked = Arc::new(assistant.clone());
    let connector = env.connector_with("support", |c| {
        c.assistant = Some(asked);
        c.answers = answers;
    });
    (env, connector, assistant)
}

fn texts(env: &TestEnv, connector: &Connector) -> Vec<String> {
    let sent = env.telegram.sent_messages(connector.id, ANN);
    sent.into_iter().map(|message| message.text).collect()
}

#[tokio::test]
async fn progress_shows_until_the_answer_and_is_no_part_of_it() {
    let answers = AnswerPolicy {
        progress: true,
        ..AnswerPolicy::default()
    };
    let (env, connector, assistant) = with(answers).await;
    let pieces = assistant.next_answer();
    env.telegram
        .send_private_message(connector.id, ANN, "Where is it?");
    let step = Progress::Step("Looking into the *orders*".into());
    pieces.send(AnswerPart::Progress(step)).unwrap();
    let shown = |text: &'static str| {
        env.telegram
            .wait_until(connector.id, TIMEOUT, move |telegram| {
                let drafts = telegram.drafts(connector.id);
                drafts.iter().any(|d| d.text == text).then_some(())
            })
    };
    shown("⏳ Looking into the *orders*").await.unwrap();
    let thought = Progress::Thought(" and here".into());
    pieces.send(AnswerPart::Progress(thought)).unwrap();
    shown("⏳ Looking into the *orders* and here")
        .await
        .unwrap();
    pieces.send(AnswerPart::Text("On its way".into())).unwrap();
    shown("On its way").await.unwrap();
    drop(pieces);
    env.telegram
        .wait_until(connector.id, TIMEOUT, |_| {
            (texts(&env, &connector) == ["On its way"]).then_some(())
        })
        .await
        .unwrap();

    drop(assistant.next_answer());
    env.telegram
        .send_private_message(connector.id, ANN, "Thanks");
    env.telegram
        .wait_until(connector.id, TIMEOUT, |_| {
            (texts(&env, &connector).len() == 2).then_some(())
        })
        .await
        .unwrap();
    let asked = assistant.asked.lock().unwrap();
    assert!(asked[0].wants_progress);
    let history: Vec<&str> = asked[1].history.iter().map(|m| m.text.as_str()).collect();
    assert_eq!(history, ["Where is it?", "On its way"]);
}

#[tokio::test]
async fn without_streaming_only_typing_shows_before_the_answer() {
    let answers = AnswerPolicy {
        streaming: false,
        ..AnswerPolicy::default()
    };
    let (env, connector, assistant) = with(answers).await;
    let pieces = assistant.next_answer();
    env.telegram.send_private_message(connector.id, ANN, "Hi");
    pieces.send(AnswerPart::Text("Hello".into())).unwrap();
    // "typing…" is said twice: later than a preview would have shown.
    let typing = |_: &_| {
        let calls = env.telegram.calls(connector.id);
        let typing = calls.iter().filter(|c| c.method == "sendchataction");
        (typing.count() >= 2).then_some(())
    };
    env.telegram
        .wait_until(connector.id, TIMEOUT, typing)
        .await
        .unwrap();
    assert!(env.telegram.drafts(connector.id).is_empty());
    assert!(texts(&env, &connector).is_empty());
    drop(pieces);
    env.telegram
        .wait_until(connector.id, TIMEOUT, |_| {
            (texts(&env, &connector) == ["Hello"]).then_some(())
        })
        .await
        .unwrap();
    assert!(!assistant.asked.lock().unwrap()[0].wants_progress);
}
