//! The `OpenAI` client and the sample assistant of `demo` and `dev`: what a newcomer sees first.

use bot_api_simulator::sample_assistant::{Behaviour, InjectedFailure, SampleAssistant};
use telegram_connector_operator::api::connector::AssistantProtocol::OpenAI;
use telegram_connector_operator::assistant::AssistantFault;

use crate::fixtures::{KEY, TEXT, ask, ask_expecting_error, assistant, question};

async fn behaving(
    behaviour: Behaviour,
) -> (
    SampleAssistant,
    std::sync::Arc<dyn telegram_connector_operator::assistant::Assistant>,
) {
    let sample = SampleAssistant::start().await.expect("a free port");
    sample.set_behaviour(behaviour);
    let assistant = assistant(OpenAI, sample.url().as_str());
    (sample, assistant)
}

#[tokio::test]
async fn it_answers_whoever_has_the_key() {
    let (sample, assistant) = behaving(Behaviour {
        answer: Some("One two three.".into()),
        api_key: Some(KEY.into()),
        ..Behaviour::default()
    })
    .await;
    assert_eq!(
        ask(&assistant, question()).await.expect("an answer").text,
        "One two three."
    );
    let asked = &sample.requests()[0];
    assert_eq!(asked.body["messages"][0]["content"], TEXT);
    assert_eq!(asked.header("idempotency-key"), Some("8400000001-77"));
    sample.set_behaviour(Behaviour {
        api_key: Some("another".into()),
        ..Behaviour::default()
    });
    assert_eq!(
        ask_expecting_error(&assistant).await.fault(),
        AssistantFault::Unauthorized
    );
}

#[tokio::test]
async fn an_answer_that_it_breaks_off_is_an_error() {
    let (_sample, assistant) = behaving(Behaviour {
        answer: Some("One two three four.".into()),
        word_delay_ms: 20,
        drop_after_words: Some(2),
        ..Behaviour::default()
    })
    .await;
    let error = ask_expecting_error(&assistant).await;
    assert_eq!(
        (error.fault(), error.is_retryable()),
        (AssistantFault::Unreachable, false),
        "{error}"
    );
}

#[tokio::test]
async fn after_its_failures_it_answers_again() {
    let (_sample, assistant) = behaving(Behaviour {
        fail: Some(InjectedFailure {
            status: 429,
            times: Some(1),
            retry_after: Some(3),
        }),
        ..Behaviour::default()
    })
    .await;
    let error = ask_expecting_error(&assistant).await;
    assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(3)));
    assert!(
        !ask(&assistant, question())
            .await
            .expect("an answer")
            .text
            .is_empty()
    );
}

#[tokio::test]
async fn an_empty_answer_of_it_is_an_answer() {
    let (_sample, assistant) = behaving(Behaviour {
        empty: true,
        ..Behaviour::default()
    })
    .await;
    assert_eq!(
        ask(&assistant, question()).await.expect("an answer").text,
        ""
    );
}
