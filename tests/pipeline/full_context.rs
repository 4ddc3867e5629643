//! A conversation that is longer than the model's context goes on with less of its history, and never ends in an apology.

use axum::response::Response;
use rstest::rstest;
use telegram_connector_operator::api::connector::AssistantProtocol;
use telegram_connector_operator::assistant::{FailureKind, Question};
use telegram_connector_operator::registry::SessionDuration;
use telegram_connector_operator::store::ListingQuery;

use crate::mock_server::{self, MockServer, ReceivedRequest};
use crate::postgres::Postgres;
use crate::scripted_assistant::{Script, ScriptedAssistant, refusal, text};
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv};

/// A model whose context has room for so many exchanges beside the question.
fn model_with_room_for(exchanges: usize) -> ScriptedAssistant {
    ScriptedAssistant::new(move |question| {
        if question.history.len() > 2 * exchanges || question.text.contains("endless") {
            refusal(FailureKind::ContextFull)
        } else if question.text == "nothing" {
            text("")
        } else {
            text(format!("answer to {}", question.text))
        }
    })
}

fn connector(env: &mut TestEnv, assistant: &ScriptedAssistant) -> Connector {
    let assistant = assistant.shared();
    env.connector_with("support", |c| c.assistant = Some(assistant))
}

/// Ann's questions 1 to `count` are answered.
async fn converse(env: &TestEnv, support: &Connector, count: usize) {
    for n in 1..=count {
        let answer = env.ask(support, &n.to_string()).await;
        assert_eq!(answer.text, format!("answer to {n}"));
    }
}

/// What the store holds of the only session: Ann's words.
async fn stored_questions(env: &TestEnv) -> Vec<String> {
    env.wait_until_drained().await;
    let listing = ListingQuery {
        texts: true,
        limit: 10,
        ..ListingQuery::default()
    };
    let sessions = env.store.sessions(&listing).await.unwrap().rows;
    let history = sessions[0].history.clone().unwrap();
    history.chunks(2).map(|e| e[0].text.clone()).collect()
}

async fn check_that_the_session_keeps_what_fitted(mut env: TestEnv) {
    let model = model_with_room_for(3);
    let roomy = model_with_room_for(100);
    let support = connector(&mut env, &roomy);
    converse(&env, &support, 6).await;
    env.update_connector(&support, |c| c.assistant = Some(model.shared()));
    let answer = env.ask(&support, "7").await;
    assert_eq!(answer.text, "answer to 7");
    assert_eq!(model.take_exchanges(), [6, 3]);
    assert_eq!(stored_questions(&env).await, ["4", "5", "6", "7"]);
    // Four of them are again too many.
    env.ask(&support, "8").await;
    assert_eq!(model.take_exchanges(), [4, 2]);
    assert_eq!(stored_questions(&env).await, ["6", "7", "8"]);
    env.ask(&support, "9").await;
    assert_eq!(model.take_exchanges(), [3]);
    env.stop(TIMEOUT).await;
}

#[tokio::test]
async fn session_keeps_what_fitted() {
    check_that_the_session_keeps_what_fitted(TestEnv::new().await).await;
}

#[tokio::test]
async fn session_on_postgres_keeps_what_fitted() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_that_the_session_keeps_what_fitted(TestEnv::on(&postgres.address()).await).await;
}

#[tokio::test]
async fn empty_answers_take_no_place_of_what_fitted() {
    let mut env = TestEnv::new().await;
    let roomy = model_with_room_for(100);
    let support = connector(&mut env, &roomy);
    for question in ["1", "2", "3", "nothing", "4"] {
        env.ask(&support, question).await;
    }
    let model = model_with_room_for(2);
    env.update_connector(&support, |c| c.assistant = Some(model.shared()));
    env.ask(&support, "5").await;
    assert_eq!(model.take_exchanges(), [4, 2]);
    assert_eq!(stored_questions(&env).await, ["3", "4", "5"]);
}

#[tokio::test]
async fn third_and_last_question_is_the_message_alone() {
    let mut env = TestEnv::new().await;
    let roomy = model_with_room_for(100);
    let support = connector(&mut env, &roomy);
    converse(&env, &support, 5).await;
    let forgetful = model_with_room_for(0);
    env.update_connector(&support, |c| c.assistant = Some(forgetful.shared()));
    assert_eq!(env.ask(&support, "6").await.text, "answer to 6");
    let asked = forgetful.take_questions();
    let exchanges: Vec<_> = asked.iter().map(|q| q.history.len() / 2).collect();
    assert_eq!(exchanges, [5, 2, 0]);
    // Each is another request, so that no gateway repeats its refusal of the first.
    let keys: std::collections::HashSet<_> = asked.iter().map(|q| &q.idempotency_key).collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(stored_questions(&env).await, ["6"]);
    assert!(env.dead_letters().await.is_empty());
    let metrics = env.metrics.encode();
    for counted in ["result=\"context_full\"} 2", "result=\"ok\"} 6"] {
        assert!(metrics.contains(counted), "{counted}: {metrics}");
    }
}

#[tokio::test]
async fn message_that_is_too_long_alone_is_told_so() {
    let mut env = TestEnv::new().await;
    let model = model_with_room_for(100);
    let support = connector(&mut env, &model);
    converse(&env, &support, 4).await;
    model.take_questions();
    let sorry = env.ask(&support, "endless").await;
    assert_eq!(
        sorry.text,
        "This message alone is too long for the assistant. Please send a shorter one."
    );
    assert_eq!(model.take_exchanges(), [4, 2, 0]);
    assert_eq!(env.dead_letters().await.len(), 1);
    // There was no answer, so nothing is forgotten.
    assert_eq!(env.ask(&support, "5").await.text, "answer to 5");
    assert_eq!(model.take_exchanges(), [4]);
}

#[tokio::test]
async fn first_message_that_is_too_long_is_asked_once() {
    let mut env = TestEnv::new().await;
    let model = model_with_room_for(100);
    let support = connector(&mut env, &model);
    let sorry = env.ask(&support, "endless").await;
    assert!(sorry.text.contains("too long"), "{}", sorry.text);
    assert_eq!(model.take_exchanges(), [0]);
}

#[tokio::test]
async fn request_that_is_too_large_is_asked_with_less_history() {
    let mut env = TestEnv::new().await;
    let roomy = model_with_room_for(100);
    let support = connector(&mut env, &roomy);
    converse(&env, &support, 2).await;
    let behind_a_strict_proxy = ScriptedAssistant::new(|question| {
        if question.history.len() > 2 {
            refusal(FailureKind::TooLarge)
        } else {
            text("fits")
        }
    });
    env.update_connector(&support, |c| {
        c.assistant = Some(behind_a_strict_proxy.shared());
    });
    assert_eq!(env.ask(&support, "3").await.text, "fits");
    assert_eq!(behind_a_strict_proxy.take_exchanges(), [2, 1]);
}

#[tokio::test]
async fn picture_stays_when_history_goes() {
    let mut env = TestEnv::new().await;
    let model = model_with_room_for(0);
    let support = connector(&mut env, &model);
    env.ask(&support, "1").await;
    model.take_questions();
    let photo = bot_api_simulator::UserAction {
        bot: Some(support.id.0),
        from: Some(ANN),
        caption: Some("what is it?".into()),
        content: serde_json::from_str(r#"{"photo": {}}"#).unwrap(),
        ..bot_api_simulator::UserAction::default()
    };
    let already = env.telegram.sent_messages(support.id, ANN).len();
    env.telegram.perform(&photo).unwrap();
    env.telegram
        .wait_for_sent_messages(support.id, ANN, already, TIMEOUT)
        .await;
    let asked = model.take_questions();
    let seen: Vec<_> = asked
        .iter()
        .map(|q| (q.history.len() / 2, q.pictures.len()))
        .collect();
    assert_eq!(seen, [(1, 1), (0, 1)]);
}

#[rstest]
#[case::goes_on(SessionDuration::Hours(24), "Send /new to begin a new one.")]
#[case::stands_alone(SessionDuration::None, "Please send a shorter one.")]
#[tokio::test]
async fn self_kept_conversation_that_is_full_names_new(
    #[case] duration: SessionDuration,
    #[case] advice: &str,
) {
    let mut env = TestEnv::new().await;
    let agent = model_with_room_for(100).keeping_history();
    let support = env.connector_with("support", |c| {
        c.assistant = Some(agent.shared());
        c.session.duration = duration;
    });
    env.ask(&support, "1").await;
    agent.take_questions();
    let sorry = env.ask(&support, "endless").await;
    assert!(sorry.text.ends_with(advice), "{}", sorry.text);
    assert_eq!(agent.take_exchanges(), [0]);
}

/// What OpenAI-compatible servers do with more messages than two: a status, or an error within a stream that began as a success.
fn refuse_three_messages(asked: &ReceivedRequest, status: u16, body: &str) -> Response {
    let messages = asked.json()["messages"].as_array().map_or(0, Vec::len);
    match (messages, status) {
        (0..3, _) => mock_server::events(&[
            r#"{"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}"#,
            "[DONE]",
        ]),
        (_, 200) => {
            mock_server::events(&[r#"{"choices": [{"delta": {"role": "assistant"}}]}"#, body])
        }
        _ => mock_server::status(status, &[], body.to_owned()),
    }
}

#[rstest]
#[case::openai(400, r#"{"error": {"message": "This model's maximum context length is 512 tokens.", "code": "context_length_exceeded"}}"#)]
#[case::gemini(400, r#"[{"error": {"code": 400, "message": "The input token count (600) exceeds the maximum number of tokens allowed (512).", "status": "INVALID_ARGUMENT"}}]"#)]
#[case::gateway(400, r#"{"error": {"message": "{\"type\":\"error\",\"error\":{\"message\":\"prompt is too long: 600 tokens > 512 maximum\"}}"}}"#)]
#[case::fault(
    500,
    r#"{"error": {"message": "the request exceeds the available context size"}}"#
)]
#[case::plain_words(400, "Input is too long for requested model.")]
#[case::proxy(413, "<html>413 Request Entity Too Large</html>")]
#[case::within_the_stream(
    200,
    r#"{"error": {"message": "loaded with context length of only 512 tokens", "code": 400}}"#
)]
#[tokio::test]
async fn however_a_server_says_it_the_conversation_goes_on(
    #[case] status: u16,
    #[case] body: &'static str,
) {
    let mut env = TestEnv::new().await;
    let server = MockServer::start(move |asked: &ReceivedRequest| {
        refuse_three_messages(asked, status, body)
    })
    .await;
    let assistant = env.assistant_at(AssistantProtocol::OpenAI, &server.url, 60, None);
    let support = env.connector_with("support", |c| c.assistant = Some(assistant));
    for question in ["one", "two", "three"] {
        assert_eq!(env.ask(&support, question).await.text, "Yes.");
    }
    // The second and the third without the exchange before them.
    assert_eq!(server.received().len(), 1 + 2 + 2);
}

/// A word is a token; the prompt and the answer need their room, too.
fn context_of_512_tokens(question: &Question) -> Script {
    let words = |text: &str| text.split_whitespace().count();
    let history = question.history.iter().map(|m| words(&m.text));
    if 100 + history.sum::<usize>() + words(&question.text) > 512 {
        refusal(FailureKind::ContextFull)
    } else {
        text("word ".repeat(20 + question.text.len() % 30))
    }
}

#[tokio::test]
async fn two_hundred_turns_in_a_small_context_have_no_apology() {
    let mut env = TestEnv::new().await;
    let model = ScriptedAssistant::new(context_of_512_tokens);
    let support = connector(&mut env, &model);
    let mut asked = 0;
    for turn in 0..200 {
        let question = "tell me more ".repeat(1 + turn % 40);
        let answer = env.ask(&support, &question).await;
        assert!(answer.text.starts_with("word"), "{turn}: {}", answer.text);
        let attempts = model.take_questions().len();
        assert!(attempts <= 3, "{turn}: {attempts}");
        asked += attempts;
    }
    assert!(asked < 300, "{asked}: most questions are asked once");
    assert!(env.dead_letters().await.is_empty());
}

#[tokio::test]
async fn max_tokens_bounds_what_is_sent() {
    let mut env = TestEnv::new().await;
    let model = model_with_room_for(100);
    let support = connector(&mut env, &model);
    converse(&env, &support, 6).await;
    // An exchange such as "1", "answer to 1" is 5 and 7 tokens, a question of one character 5.
    env.update_connector(&support, |c| c.session.max_tokens = Some(5 + 3 * 12));
    model.take_questions();
    env.ask(&support, "7").await;
    env.update_connector(&support, |c| c.session.max_tokens = Some(1));
    env.ask(&support, "8").await;
    // What was left out is not forgotten.
    env.update_connector(&support, |c| c.session.max_tokens = None);
    env.ask(&support, "9").await;
    assert_eq!(model.take_exchanges(), [3, 0, 8]);
}
