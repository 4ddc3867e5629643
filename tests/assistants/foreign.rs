//! The clients against servers that are not ours, started by `foreign.sh`. These tests exist only where that script compiles them
//! (`--cfg foreign_peers`), and it fails if one of them did not run.

mod agents;
mod chat;
mod conversations;
mod documents;
mod full_context;
mod silence;
mod speech;

use std::sync::Arc;

use rstest::rstest;
use telegram_connector_operator::api::connector::AssistantProtocol::{A2A, OpenAI, Webhook};
use telegram_connector_operator::api::connector::TranscriptionSpec;
use telegram_connector_operator::assistant::AssistantFault;
use telegram_connector_operator::assistant::{
    Assistant, FileContent, Question, Recording, build_assistant, build_transcriber,
};

use crate::fixtures::{Answer, ask, assistant, http_client, question, spec};

/// What `foreign.sh` set.
fn peer_url(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set; run tests/assistants/foreign.sh"))
}

async fn say(assistant: &Arc<dyn Assistant>, text: &str, state: Option<&String>) -> Answer {
    let asked = Question {
        text: text.into(),
        session_state: state.cloned(),
        idempotency_key: format!("1-{text}"),
        ..question()
    };
    ask(assistant, asked).await.expect("an answer")
}

#[rstest]
#[tokio::test]
async fn an_agent_on_a2a_sdk_keeps_a_session(
    #[values(
        "A2A_02_STREAMING",
        "A2A_02_WAITING",
        "A2A_1_STREAMING",
        "A2A_1_WAITING",
        "A2A_03_STREAMING",
        "A2A_03_WAITING"
    )]
    variable: &str,
) {
    let agent = assistant(A2A, &peer_url(variable));
    let first = say(&agent, "one", None).await;
    assert_eq!(first.text, "You said: one (message 1)");
    let second = say(&agent, "two", first.state.as_ref()).await;
    assert_eq!(second.text, "You said: two (message 2)");
    let elsewhere = say(&agent, "three", None).await;
    assert_eq!(elsewhere.text, "You said: three (message 1)");
}

/// An artifact that grows by parts, which the waiting agent's store has put one behind the other.
#[rstest]
#[tokio::test]
async fn file_that_an_agent_streams_in_pieces_is_whole(
    #[values(
        "A2A_02_STREAMING",
        "A2A_02_WAITING",
        "A2A_1_STREAMING",
        "A2A_1_WAITING",
        "A2A_03_STREAMING",
        "A2A_03_WAITING"
    )]
    variable: &str,
) {
    let agent = assistant(A2A, &peer_url(variable));
    let answer = say(&agent, "a table", None).await;
    assert_eq!(answer.text, "Your table:");
    let [table] = &answer.files[..] else {
        panic!("one file: {:?}", answer.files)
    };
    assert_eq!(table.name, "table.csv");
    assert_eq!(table.content, FileContent::Bytes("a,b\n1,2\n3,4\n".into()));
}

#[rstest]
#[tokio::test]
async fn picture_and_pdf_of_an_agent_on_adk_are_files(#[values("ADK", "KAGENT")] variable: &str) {
    let agent = assistant(A2A, &peer_url(variable));
    let answer = say(&agent, "a picture and a report", None).await;
    assert_eq!(answer.text, "Here they are.");
    let files = answer
        .files
        .iter()
        .map(|file| (&*file.media_type, &file.content));
    let png = [&b"\x89PNG\r\n\x1a\n"[..], &[0; 20]].concat();
    let expected = [
        ("image/png", &FileContent::Bytes(png.into())),
        ("application/pdf", &FileContent::Bytes("%PDF-1.7\n".into())),
    ];
    assert_eq!(files.collect::<Vec<_>>(), expected);
}

#[rstest]
#[tokio::test]
async fn an_agent_on_a2a_sdk_asks_back_and_goes_on(
    #[values(
        "A2A_02_STREAMING",
        "A2A_02_WAITING",
        "A2A_1_STREAMING",
        "A2A_1_WAITING",
        "A2A_03_STREAMING",
        "A2A_03_WAITING"
    )]
    variable: &str,
) {
    let agent = assistant(A2A, &peer_url(variable));
    let asked = say(&agent, "book a table", None).await;
    assert_eq!(asked.text, "For which day?");
    let booked = say(&agent, "Sunday", asked.state.as_ref()).await;
    assert_eq!(booked.text, "Booked for Sunday. (message 2)");
    let after = say(&agent, "thanks", booked.state.as_ref()).await;
    assert_eq!(after.text, "You said: thanks (message 3)");
}

#[rstest]
#[tokio::test]
async fn agent_that_lost_a_task_goes_on_without_it(
    #[values(
        "A2A_02_STREAMING",
        "A2A_02_WAITING",
        "A2A_03_STREAMING",
        "A2A_03_WAITING",
        "A2A_1_STREAMING",
        "A2A_1_WAITING",
        "ADK",
        "FASTA2A_06",
        "FASTA2A_2",
        "KAGENT",
        "STRANDS_LEGACY",
        "STRANDS_COMPLIANT"
    )]
    variable: &str,
) {
    let agent = assistant(A2A, &peer_url(variable));
    let forgotten = r#"{"contextId":"before","taskId":"before"}"#.to_owned();
    assert_eq!(
        say(&agent, "again", Some(&forgotten))
            .await
            .text
            .split(" (")
            .next(),
        Some("You said: again")
    );
}

#[rstest]
#[case("A2A_1_STREAMING", AssistantFault::Failing)]
#[case("A2A_1_WAITING", AssistantFault::Failing)]
// 0.3 breaks the stream and leaves the task working for ever: the time limit ends it.
#[case("A2A_03_STREAMING", AssistantFault::Unreachable)]
#[case("A2A_03_WAITING", AssistantFault::Failing)]
#[tokio::test]
async fn an_agent_on_a2a_sdk_that_fails_is_an_error(
    #[case] variable: &str,
    #[case] fault: AssistantFault,
) {
    let agent = assistant(A2A, &peer_url(variable));
    let asked = Question {
        text: "fail".into(),
        ..question()
    };
    let error = ask(&agent, asked).await.expect_err("an error");
    assert_eq!(error.fault(), fault, "{error}");
    assert!(!error.detail.contains("as asked"), "{error}");
}

#[tokio::test]
async fn litellm_answers() {
    let assistant = build_assistant(
        &spec(OpenAI, &peer_url("LITELLM")),
        Some(peer_url("LITELLM_KEY").into()),
        &http_client(),
    )
    .expect("an assistant");
    assert_eq!(
        say(&assistant, "Hi", None).await.text,
        "The quick brown fox jumps over the lazy dog."
    );
}

#[tokio::test]
async fn litellm_names_a_missing_model() {
    let mut spec = spec(OpenAI, &peer_url("LITELLM"));
    spec.model = Some("no-such-model".into());
    let assistant = build_assistant(&spec, Some(peer_url("LITELLM_KEY").into()), &http_client())
        .expect("an assistant");
    let error = ask(&assistant, question())
        .await
        .expect_err("no such model");
    assert!(
        error.detail.contains("check model") && !error.is_retryable(),
        "{error}"
    );
}

fn llama_cpp() -> Arc<dyn Assistant> {
    build_assistant(
        &spec(OpenAI, &peer_url("LLAMA_CPP")),
        Some(peer_url("LLAMA_CPP_KEY").into()),
        &http_client(),
    )
    .expect("an assistant")
}

#[tokio::test]
async fn llama_cpp_answers_as_it_writes() {
    let text = say(&llama_cpp(), "Hi", None).await.text;
    assert_eq!(words_of_the_tiny_model(&text), 16, "{text}");
}

/// With how many of its words a text of the model of `peers/llama_cpp.py` begins. It is made of random numbers, has a few words, and
/// says sixteen of them; the operator may add that the answer is cut there.
fn words_of_the_tiny_model(text: &str) -> usize {
    let known = ["Hello", "from", "a", "tiny", "model", "and", "so", "on"];
    let words = text.split_whitespace();
    words.take_while(|word| known.contains(word)).count()
}

/// What the one slot of a server of `llama.cpp` does.
async fn llama_cpp_slot(variable: &str) -> serde_json::Value {
    let root = peer_url(variable);
    let slots = reqwest::Client::new()
        .get(format!("{}/slots", root.trim_end_matches("/v1")))
        .bearer_auth(peer_url("LLAMA_CPP_KEY"));
    let slots = slots.send().await.expect("the slots");
    let slots: serde_json::Value = slots.json().await.expect("JSON");
    slots[0].clone()
}

#[tokio::test]
async fn llama_cpp_says_that_the_conversation_is_too_long() {
    let asked = Question {
        text: "x".repeat(3_000),
        ..question()
    };
    let error = ask(&llama_cpp(), asked).await.expect_err("512 tokens");
    assert!(
        error.detail.contains("session.maxMessages") && !error.is_retryable(),
        "{error}"
    );
}

#[tokio::test]
async fn llama_cpp_refuses_another_key() {
    let spec = spec(OpenAI, &peer_url("LLAMA_CPP"));
    let stranger =
        build_assistant(&spec, Some("another-key".into()), &http_client()).expect("an assistant");
    let error = ask(&stranger, question()).await.expect_err("refused");
    assert_eq!(error.fault(), AssistantFault::Unauthorized);
    assert!(error.detail.contains("apiKeySecretRef"), "{error}");
}

/// `LiteLLM` reads our form and sends it on, with the `openai` library, to the sample assistant, which hears what the bytes say.
#[tokio::test]
async fn litellm_has_a_recording_written_down() {
    let spec = TranscriptionSpec {
        url: peer_url("LITELLM"),
        model: "ears".into(),
        language: Some("en".into()),
        api_key_secret_ref: None,
        timeout_seconds: Some(20),
    };
    let recording = Recording {
        name: "voice.ogg",
        media_type: "audio/ogg",
        bytes: "where is my order?".into(),
    };
    let ears = build_transcriber(&spec, Some(peer_url("LITELLM_KEY").into()), &http_client())
        .expect("a transcriber");
    let heard = ears.transcribe(&recording, "1-words").await;
    assert_eq!(heard.expect("words"), "where is my order?");
    let stranger =
        build_transcriber(&spec, Some("sk-another".into()), &http_client()).expect("a transcriber");
    let error = stranger.transcribe(&recording, "2-words").await;
    assert!(!error.expect_err("refused").detail.contains("sk-"));
}

#[tokio::test]
async fn standardwebhooks_finds_the_signature_right() {
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let assistant = build_assistant(
        &spec(Webhook, &peer_url("STANDARD_WEBHOOKS")),
        Some(key.into()),
        &http_client(),
    )
    .expect("an assistant");
    assert_eq!(say(&assistant, "Hi", None).await.text, "Signed well.");
    let other_key = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let assistant = build_assistant(
        &spec(Webhook, &peer_url("STANDARD_WEBHOOKS")),
        Some(other_key.into()),
        &http_client(),
    )
    .expect("an assistant");
    let error = ask(&assistant, question()).await.expect_err("refused");
    assert_eq!(error.fault(), AssistantFault::Unauthorized);
}

#[tokio::test]
async fn the_example_server_answers_whoever_signs_with_its_key() {
    let url = peer_url("EXAMPLE_SERVER");
    let assistant = build_assistant(
        &spec(Webhook, &url),
        Some("example-key".into()),
        &http_client(),
    )
    .expect("an assistant");
    let first = say(&assistant, "one", None).await;
    assert_eq!(first.text, "Hello Ann Bär, you said: *one* (message 1)");
    let second = say(&assistant, "two", first.state.as_ref()).await;
    assert_eq!(second.text, "Hello Ann Bär, you said: *two* (message 2)");
    let repeated = say(&assistant, "two", second.state.as_ref()).await;
    assert_eq!(
        repeated.text, second.text,
        "the same message is answered the same way"
    );
    let stranger = build_assistant(
        &spec(Webhook, &url),
        Some("another-key".into()),
        &http_client(),
    )
    .expect("an assistant");
    let error = ask(&stranger, question()).await.expect_err("refused");
    assert_eq!(error.fault(), AssistantFault::Unauthorized);
}
