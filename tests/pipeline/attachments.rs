//! What is said in files: voice messages written down, text files read, and a sentence where neither can be.

use bot_api_simulator::sample_assistant::{Behaviour, InjectedFailure};
use bot_api_simulator::{SentMessage, UserAction};
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::TranscriptionSpec;
use telegram_connector_operator::assistant::{
    self, AddressPolicy, AssistantHttpClient, HttpLimits,
};
use telegram_connector_operator::observation::Notice;
use telegram_connector_operator::registry::Transcription;

use crate::test_env::{ANN, Connector, EVE, TIMEOUT, TestEnv, wait_until};

/// A connector whose voice messages the sample assistant writes down.
fn connector_with_transcription(env: &mut TestEnv) -> Connector {
    let transcription = env.transcription();
    env.connector_with("support", |c| c.transcription = transcription)
}

fn user_message(user: i64, to: &Connector, content: Value, caption: Option<&str>) -> UserAction {
    UserAction {
        bot: Some(to.id.0),
        from: Some(user),
        caption: caption.map(Into::into),
        content: content.as_object().unwrap().clone(),
        ..UserAction::default()
    }
}

async fn send_and_wait(
    env: &TestEnv,
    to: &Connector,
    content: Value,
    caption: Option<&str>,
) -> SentMessage {
    let already = env.telegram.sent_messages(to.id, ANN).len();
    env.telegram
        .perform(&user_message(ANN, to, content, caption))
        .unwrap();
    let sent = env
        .telegram
        .wait_for_sent_messages(to.id, ANN, already, TIMEOUT)
        .await;
    sent.last().unwrap().clone()
}

fn file_calls(env: &TestEnv, to: &Connector) -> usize {
    let calls = env.telegram.calls(to.id);
    calls.iter().filter(|c| c.method == "getfile").count()
}

#[tokio::test]
async fn voice_message_is_transcribed_and_answered() {
    let mut env = TestEnv::new().await;
    let support = connector_with_transcription(&mut env);
    let voice = json!({"voice": {"data": "dov'è il mio ordine?", "duration": 3}});
    let answer = send_and_wait(&env, &support, voice, None).await;
    assert!(
        answer.text.contains("You said: dov'è il mio ordine?"),
        "{}",
        answer.text
    );
    let heard = &env.assistant.transcriptions()[0];
    assert_eq!(
        (heard.model.as_str(), heard.language.as_deref()),
        ("whisper-1", Some("it"))
    );
    assert_eq!(
        (heard.file_name.as_str(), heard.media_type.as_str()),
        ("voice.ogg", "audio/ogg")
    );
    assert_eq!(heard.authorization.as_deref(), Some("Bearer made-up-key"));
    assert!(
        heard
            .idempotency_key
            .as_deref()
            .unwrap()
            .starts_with("telegram-")
    );
}

#[tokio::test]
async fn stop_command_ends_a_running_transcription() {
    let mut env = TestEnv::new().await;
    // Takes the recording and never says a word.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec = TranscriptionSpec {
        url: format!("http://{}/v1", deaf.local_addr().unwrap()),
        model: "whisper-1".into(),
        language: None,
        api_key_secret_ref: None,
        timeout_seconds: Some(120),
    };
    let context =
        AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::allowing_loopback())
            .unwrap();
    let transcription = assistant::build_transcriber(&spec, None, &context).unwrap();
    let support = env.connector_with("support", |c| {
        c.transcription = Transcription::Ready(transcription);
    });
    let voice = json!({"voice": {"data": "hello"}});
    env.telegram
        .perform(&user_message(ANN, &support, voice, None))
        .unwrap();
    let _asked = tokio::time::timeout(TIMEOUT, deaf.accept())
        .await
        .expect("it is asked");
    let stopped = env.ask(&support, "/stop").await;
    assert_eq!(stopped.text, "Stopped.");
    env.wait_until_drained().await;
    assert!(env.assistant.requests().is_empty());
}

#[tokio::test]
async fn audio_and_video_notes_are_transcribed_below_their_caption() {
    let mut env = TestEnv::new().await;
    let support = connector_with_transcription(&mut env);
    let audio = json!({"audio": {"data": "la la la", "mime_type": "audio/mpeg"}});
    let answer = send_and_wait(&env, &support, audio, Some("which song is it?")).await;
    assert!(
        answer
            .text
            .contains("You said: which song is it?\n\nla la la"),
        "{}",
        answer.text
    );
    let round = json!({"video_note": {"data": "look at me"}});
    let answer = send_and_wait(&env, &support, round, None).await;
    assert!(
        answer.text.contains("You said: look at me"),
        "{}",
        answer.text
    );
    let formats: Vec<_> = env
        .assistant
        .transcriptions()
        .into_iter()
        .map(|h| h.file_name)
        .collect();
    assert_eq!(formats, ["audio.mp3", "video.mp4"]);
}

#[tokio::test]
async fn without_transcription_voice_is_refused_and_not_downloaded() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let answer = send_and_wait(&env, &support, json!({"voice": {"data": "hello"}}), None).await;
    assert!(answer.text.contains("cannot listen"), "{}", answer.text);
    assert_eq!(
        (env.assistant.request_count(), file_calls(&env, &support)),
        (0, 0)
    );
}

#[tokio::test]
async fn too_big_recording_is_refused_and_not_downloaded() {
    let mut env = TestEnv::new().await;
    let support = connector_with_transcription(&mut env);
    let voice = json!({"voice": {"data": "long", "size": (20 << 20) + 1}});
    let answer = send_and_wait(&env, &support, voice, None).await;
    assert!(answer.text.contains("too big"), "{}", answer.text);
    assert_eq!(file_calls(&env, &support), 0);
}

#[tokio::test]
async fn transient_transcription_failure_is_retried() {
    let mut env = TestEnv::new().await;
    let support = connector_with_transcription(&mut env);
    env.assistant.set_behaviour(Behaviour {
        fail_transcription: Some(InjectedFailure {
            status: 503,
            times: Some(1),
            retry_after: None,
        }),
        ..Behaviour::default()
    });
    let answer = send_and_wait(&env, &support, json!({"voice": {"data": "again"}}), None).await;
    assert!(answer.text.contains("You said: again"), "{}", answer.text);
    assert_eq!(env.assistant.transcriptions().len(), 2);
    assert!(env.observations.take_notices(&support.uid).is_empty());
}

#[tokio::test]
async fn permanent_transcription_failure_is_reported_once() {
    let mut env = TestEnv::new().await;
    let support = connector_with_transcription(&mut env);
    env.assistant.set_behaviour(Behaviour {
        api_key: Some("another-key".into()),
        ..Behaviour::default()
    });
    for _ in 0..2 {
        let answer = send_and_wait(&env, &support, json!({"voice": {"data": "hello"}}), None).await;
        assert!(
            answer.text.contains("could not make out"),
            "{}",
            answer.text
        );
    }
    env.wait_until_drained().await;
    let notices = env.observations.take_notices(&support.uid);
    assert_eq!(notices.len(), 1, "at most one an hour");
    let Notice::TranscriptionFailed { detail, .. } = &notices[0].notice else {
        panic!("{:?}", notices[0].notice)
    };
    assert!(
        detail.contains("spec.transcription: ") && detail.contains("401"),
        "{detail}"
    );
    assert!(
        !detail.contains("key-") && !detail.contains("made-up"),
        "{detail}"
    );
    assert_eq!(env.assistant.request_count(), 0);
}

#[tokio::test]
async fn empty_transcript_is_answered_with_a_notice() {
    let mut env = TestEnv::new().await;
    let support = connector_with_transcription(&mut env);
    let answer = send_and_wait(&env, &support, json!({"voice": {"data": "  "}}), None).await;
    assert!(
        answer.text.contains("could not make out"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn retry_does_not_download_and_transcribe_again() {
    let mut env = TestEnv::new().await;
    let support = connector_with_transcription(&mut env);
    env.assistant.set_behaviour(Behaviour {
        fail: Some(InjectedFailure {
            status: 500,
            times: Some(2),
            retry_after: None,
        }),
        ..Behaviour::default()
    });
    let answer = send_and_wait(&env, &support, json!({"voice": {"data": "patience"}}), None).await;
    assert!(
        answer.text.contains("You said: patience"),
        "{}",
        answer.text
    );
    assert_eq!(env.assistant.request_count(), 3);
    assert_eq!(
        (
            env.assistant.transcriptions().len(),
            file_calls(&env, &support)
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn voice_of_a_denied_user_is_not_downloaded() {
    let mut env = TestEnv::new().await;
    let support = connector_with_transcription(&mut env);
    let voice = json!({"voice": {"data": "let me in"}});
    env.telegram
        .perform(&user_message(EVE, &support, voice, None))
        .unwrap();
    env.telegram
        .wait_for_sent_messages(support.id, EVE, 0, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    assert_eq!(
        (
            env.assistant.transcriptions().len(),
            file_calls(&env, &support)
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn text_file_is_part_of_the_question() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let file = json!({"document": {"data": "id;total\r\n17;9,90\r\n", "file_name": "orders.csv", "mime_type": "text/csv"}});
    send_and_wait(&env, &support, file, Some("what is the total?")).await;
    wait_until("asked", async || env.assistant.request_count() == 1).await;
    let asked = &env.assistant.requests()[0].body["messages"];
    let last = asked.as_array().unwrap().last().unwrap();
    assert_eq!(
        last["content"],
        "what is the total?\n\n[file: orders.csv]\nid;total\n17;9,90"
    );
}

#[tokio::test]
async fn too_big_and_binary_files_are_refused() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let big = "x".repeat((64 << 10) + 1);
    for (file, part, fetched) in [
        (
            json!({"data": big, "file_name": "big.txt", "mime_type": "text/plain"}),
            "too big",
            0,
        ),
        // Telegram need not say the size.
        (
            json!({"data": big, "file_name": "big.txt", "mime_type": "text/plain", "size": 10}),
            "too big",
            1,
        ),
        (
            json!({"data": "%PDF", "file_name": "a.pdf", "mime_type": "application/pdf"}),
            "cannot read",
            1,
        ),
        (
            json!({"base64": "AAEC", "file_name": "a.txt", "mime_type": "text/plain"}),
            "cannot read",
            2,
        ),
    ] {
        let answer = send_and_wait(&env, &support, json!({"document": file}), None).await;
        assert!(answer.text.contains(part), "{}", answer.text);
        assert_eq!(file_calls(&env, &support), fetched);
    }
    assert_eq!(env.assistant.request_count(), 0);
}
