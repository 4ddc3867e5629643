//! Answers that are read out, against a double of the endpoint: with their text as the caption, before it, or the text alone.

use bot_api_simulator::{Fault, FaultKind, SentMessage, UserAction};
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::{SpeechOccasion, SpeechSpec};
use telegram_connector_operator::assistant::{
    AddressPolicy, AnswerPart, AssistantHttpClient, HttpLimits, build_speaker,
};
use telegram_connector_operator::observation::Notice;
use telegram_connector_operator::registry::{OptionalService, Speech};

use crate::mock_server::{self, MockServer};
use crate::scripted_assistant::ScriptedAssistant;
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv};

/// The first page of a file of Opus in Ogg.
const OPUS: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0";

/// A server that says whatever it is asked to say.
async fn speaking_server() -> MockServer {
    MockServer::start(|_| mock_server::status(200, &[("content-type", "audio/ogg")], OPUS)).await
}

fn speech_at(server: &MockServer, occasion: SpeechOccasion) -> Speech {
    let spec = SpeechSpec {
        url: format!("{}/v1", server.url),
        model: "tts-1".into(),
        voice: "alloy".into(),
        when: Some(occasion),
        api_key_secret_ref: None,
        timeout_seconds: Some(10),
    };
    let client =
        AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::allowing_loopback())
            .unwrap();
    let speaker = build_speaker(&spec, Some("made-up-key".into()), &client).unwrap();
    Speech {
        service: OptionalService::Ready(speaker),
        occasion,
    }
}

/// A connector whose assistant always says this.
fn connector_with(env: &mut TestEnv, answer: &str, speech: Speech) -> Connector {
    let answer = AnswerPart::Text(answer.into());
    let assistant = ScriptedAssistant::new(move |_| Ok(vec![Ok(answer.clone())]));
    let transcription = env.transcription();
    env.connector_with("support", |c| {
        c.assistant = Some(assistant.shared());
        c.transcription = transcription;
        c.speech = speech;
    })
}

/// What comes of a message of Ann's with this content.
async fn answers(
    env: &mut TestEnv,
    support: &Connector,
    content: Value,
    count: usize,
) -> Vec<SentMessage> {
    let action = UserAction {
        bot: Some(support.id.0),
        from: Some(ANN),
        content: content.as_object().unwrap().clone(),
        ..UserAction::default()
    };
    env.telegram.perform(&action).unwrap();
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, count - 1, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    assert_eq!(env.telegram.sent_messages(support.id, ANN).len(), count);
    sent
}

fn voice() -> Value {
    json!({"voice": {"data": "where is my order?"}})
}

fn kind(message: &SentMessage) -> &str {
    message.media.as_ref().map_or("text", |media| &media.kind)
}

#[tokio::test]
async fn voice_message_is_answered_by_voice_with_its_text() {
    let mut env = TestEnv::new().await;
    let server = speaking_server().await;
    let speech = speech_at(&server, SpeechOccasion::Spoken);
    let support = connector_with(&mut env, "It is **on its way**.", speech);
    let sent = answers(&mut env, &support, voice(), 1).await;
    assert_eq!(kind(&sent[0]), "voice");
    assert_eq!(sent[0].media.as_ref().unwrap().size, OPUS.len());
    assert_eq!(sent[0].caption, "It is on its way.");
    assert_eq!(sent[0].entities.len(), 1, "bold");

    let asked = &server.received()[0];
    assert_eq!(asked.path(), "/v1/audio/speech");
    assert_eq!(asked.header("authorization"), "Bearer made-up-key");
    assert!(asked.header("idempotency-key").ends_with("-speech"));
    let expected = json!({"model": "tts-1", "voice": "alloy", "input": "It is on its way.", "response_format": "opus"});
    assert_eq!(asked.json(), expected);
    let metrics = env.metrics.encode();
    assert!(metrics.contains(r#"protocol="Speech",result="ok""#));
}

#[tokio::test]
async fn written_message_is_answered_in_writing_unless_always() {
    let mut env = TestEnv::new().await;
    let server = speaking_server().await;
    let speech = speech_at(&server, SpeechOccasion::Spoken);
    let support = connector_with(&mut env, "Hello", speech);
    assert_eq!(env.ask(&support, "hi").await.text, "Hello");
    assert_eq!(server.received().len(), 0);

    let mut env = TestEnv::new().await;
    let speech = speech_at(&server, SpeechOccasion::Always);
    let support = connector_with(&mut env, "Hello", speech);
    let answer = env.ask(&support, "hi").await;
    assert_eq!((kind(&answer), answer.caption.as_str()), ("voice", "Hello"));
}

#[tokio::test]
async fn text_that_is_no_caption_stands_behind_the_voice() {
    let mut env = TestEnv::new().await;
    let server = speaking_server().await;
    let text = "word ".repeat(300);
    let speech = speech_at(&server, SpeechOccasion::Spoken);
    let support = connector_with(&mut env, &text, speech);
    let sent = answers(&mut env, &support, voice(), 2).await;
    assert_eq!((kind(&sent[0]), sent[0].caption.as_str()), ("voice", ""));
    assert_eq!(sent[1].text, text.trim());
}

#[tokio::test]
async fn text_that_is_too_long_to_be_read_out_goes_alone() {
    let mut env = TestEnv::new().await;
    let server = speaking_server().await;
    let speech = speech_at(&server, SpeechOccasion::Spoken);
    let support = connector_with(&mut env, &"word ".repeat(1000), speech);
    let sent = answers(&mut env, &support, voice(), 2).await;
    assert!(sent.iter().all(|message| kind(message) == "text"));
    assert_eq!(server.received().len(), 0);
}

#[tokio::test]
async fn failing_speech_leaves_the_text_and_is_counted() {
    for (status, body, result, says) in [
        (500, &b"private words"[..], "server_fault", "500"),
        (
            200,
            b"ID3\x04\0\0\0\0\0\0",
            "misconfigured",
            "audio/mpeg, not with Opus in Ogg",
        ),
        (200, b"", "misconfigured", "something else, not with Opus"),
    ] {
        let mut env = TestEnv::new().await;
        let server = MockServer::start(move |_| mock_server::status(status, &[], body)).await;
        let speech = speech_at(&server, SpeechOccasion::Spoken);
        let support = connector_with(&mut env, "Hello", speech);
        let sent = answers(&mut env, &support, voice(), 1).await;
        assert_eq!((kind(&sent[0]), sent[0].text.as_str()), ("text", "Hello"));
        let counted = format!(r#"protocol="Speech",result="{result}""#);
        assert!(env.metrics.encode().contains(&counted), "{result}");
        let notices = env.observations.take_notices(&support.uid);
        let Notice::SpeechFailed { detail, .. } = &notices[0].notice else {
            panic!("{:?}", notices[0].notice)
        };
        assert!(detail.contains(says), "{detail}");
        assert!(
            !detail.contains("private") && !detail.contains("made-up"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn missing_speech_key_leaves_the_text() {
    let mut env = TestEnv::new().await;
    let speech = Speech {
        service: OptionalService::Unavailable("no key".into()),
        occasion: SpeechOccasion::Always,
    };
    let support = connector_with(&mut env, "Hello", speech);
    assert_eq!(env.ask(&support, "hi").await.text, "Hello");
    let notices = env.observations.take_notices(&support.uid);
    assert!(matches!(notices[0].notice, Notice::SpeechFailed { .. }));
}

#[tokio::test]
async fn refused_voice_leaves_the_text_once() {
    for text in ["It is **here**.".to_owned(), "word ".repeat(300)] {
        let mut env = TestEnv::new().await;
        let server = speaking_server().await;
        let speech = speech_at(&server, SpeechOccasion::Spoken);
        let support = connector_with(&mut env, &text, speech);
        env.telegram.add_fault(
            Fault::new(FaultKind::Status {
                code: 400,
                description: "Bad Request: VOICE_MESSAGES_FORBIDDEN".into(),
            })
            .method("sendVoice"),
        );
        let sent = answers(&mut env, &support, voice(), 1).await;
        assert_eq!(kind(&sent[0]), "text");
        assert_eq!(sent[0].text, text.replace("**", "").trim());
        assert_eq!(env.dead_letters().await.len(), 0);
    }
}
