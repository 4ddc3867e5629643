//! Real engines speak and write down: eSpeak NG and PocketSphinx from PyPI, behind the thin front of `peers/speech_and_ears.py` in OpenAI's words.
//! Of what PocketSphinx's small English model hears of a synthetic voice, a few numbers are certain.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bot_api_simulator::UserAction;
use bot_api_simulator::sample_assistant::Behaviour;
use serde_json::json;
use telegram_connector_operator::api::connector::{SpeechOccasion, SpeechSpec, TranscriptionSpec};
use telegram_connector_operator::assistant::{Recording, build_speaker, build_transcriber};
use telegram_connector_operator::registry::{OptionalService, Speech};

use super::peer_url;
use crate::fixtures::http_client;
use crate::test_env::{ANN, TIMEOUT, TestEnv};

const QUESTION: &str = "three four five";
const ANSWER: &str = "two three four five";

#[tokio::test]
async fn spoken_question_is_heard_and_its_answer_is_spoken() {
    let url = format!("{}/v1", peer_url("SPEECH_AND_EARS"));
    let speaker = SpeechSpec {
        url: url.clone(),
        model: "espeak-ng".into(),
        voice: "en-us".into(),
        when: Some(SpeechOccasion::Spoken),
        api_key_secret_ref: None,
        timeout_seconds: Some(60),
    };
    let ears = TranscriptionSpec {
        url,
        model: "en-us".into(),
        language: None,
        api_key_secret_ref: None,
        timeout_seconds: Some(60),
    };
    let speaker = build_speaker(&speaker, None, &http_client()).expect("a speaker");
    let ears = build_transcriber(&ears, None, &http_client()).expect("a transcriber");
    let question = speaker.speak(QUESTION, "1-question").await.expect("speech");

    let mut env = TestEnv::new().await;
    env.assistant.set_behaviour(Behaviour {
        answer: Some(ANSWER.into()),
        ..Behaviour::default()
    });
    let (transcription, service) = (ears.clone(), speaker.clone());
    let support = env.connector_with("support", |c| {
        c.transcription = OptionalService::Ready(transcription);
        c.speech = Speech {
            service: OptionalService::Ready(service),
            occasion: SpeechOccasion::Spoken,
        };
    });
    let voice = json!({"voice": {"base64": STANDARD.encode(&question), "duration": 1}});
    let action = UserAction {
        bot: Some(support.id.0),
        from: Some(ANN),
        content: voice.as_object().expect("an object").clone(),
        ..UserAction::default()
    };
    env.telegram.perform(&action).expect("a voice message");
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 0, 3 * TIMEOUT)
        .await;
    let asked = env.assistant.requests();
    let messages = asked[0].body["messages"].as_array().expect("messages");
    let last = messages.last().expect("a question");
    assert_eq!(last["content"], QUESTION, "{asked:#?}");
    assert_eq!(sent[0].caption, ANSWER, "{sent:#?}");
    let media = sent[0].media.as_ref().expect("a voice message");
    assert_eq!((&*media.kind, &*media.sniffed_type), ("voice", "audio/ogg"));

    let answer = Recording {
        name: "voice.ogg",
        media_type: "audio/ogg",
        bytes: env.telegram.file(&media.file_id).expect("its bytes"),
    };
    assert_eq!(&answer.bytes[28..36], b"OpusHead");
    let heard = ears.transcribe(&answer, "1-answer").await;
    assert_eq!(heard.expect("words"), ANSWER);
}
