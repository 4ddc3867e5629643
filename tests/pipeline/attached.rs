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

use crate::world::{ANN, Connector, EVE, SOON, World, until};

/// A connector whose voice messages the sample assistant writes down.
fn hearing(world: &mut World) -> Connector {
    let ears = world.ears();
    world.connector_with("support", |c| c.transcription = ears)
}

fn from(user: i64, to: &Connector, content: Value, caption: Option<&str>) -> UserAction {
    UserAction {
        bot: Some(to.id.0),
        from: Some(user),
        caption: caption.map(Into::into),
        content: content.as_object().unwrap().clone(),
        ..UserAction::default()
    }
}

async fn told(world: &World, to: &Connector, content: Value, caption: Option<&str>) -> SentMessage {
    let already = world.telegram.sent_messages(to.id, ANN).len();
    world
        .telegram
        .perform(&from(ANN, to, content, caption))
        .unwrap();
    let sent = world
        .telegram
        .wait_for_sent_messages(to.id, ANN, already, SOON)
        .await;
    sent.last().unwrap().clone()
}

fn file_calls(world: &World, to: &Connector) -> usize {
    let calls = world.telegram.calls(to.id);
    calls.iter().filter(|c| c.method == "getfile").count()
}

#[tokio::test]
async fn a_voice_message_is_answered_by_its_words() {
    let mut world = World::new().await;
    let support = hearing(&mut world);
    let voice = json!({"voice": {"data": "dov'è il mio ordine?", "duration": 3}});
    let answer = told(&world, &support, voice, None).await;
    assert!(
        answer.text.contains("You said: dov'è il mio ordine?"),
        "{}",
        answer.text
    );
    let heard = &world.assistant.transcriptions()[0];
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
async fn a_stop_ends_the_writing_down_of_a_voice_message() {
    let mut world = World::new().await;
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
        AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::default()).unwrap();
    let ears = assistant::build_transcriber(&spec, None, &context).unwrap();
    let support = world.connector_with("support", |c| c.transcription = Transcription::Ready(ears));
    let voice = json!({"voice": {"data": "hello"}});
    world
        .telegram
        .perform(&from(ANN, &support, voice, None))
        .unwrap();
    let _asked = tokio::time::timeout(SOON, deaf.accept())
        .await
        .expect("it is asked");
    let stopped = world.ask(&support, "/stop").await;
    assert_eq!(stopped.text, "Stopped.");
    world.drained().await;
    assert!(world.assistant.requests().is_empty());
}

#[tokio::test]
async fn music_and_round_videos_are_heard_with_their_caption_above_the_words() {
    let mut world = World::new().await;
    let support = hearing(&mut world);
    let audio = json!({"audio": {"data": "la la la", "mime_type": "audio/mpeg"}});
    let answer = told(&world, &support, audio, Some("which song is it?")).await;
    assert!(
        answer
            .text
            .contains("You said: which song is it?\n\nla la la"),
        "{}",
        answer.text
    );
    let round = json!({"video_note": {"data": "look at me"}});
    let answer = told(&world, &support, round, None).await;
    assert!(
        answer.text.contains("You said: look at me"),
        "{}",
        answer.text
    );
    let formats: Vec<_> = world
        .assistant
        .transcriptions()
        .into_iter()
        .map(|h| h.file_name)
        .collect();
    assert_eq!(formats, ["audio.mp3", "video.mp4"]);
}

#[tokio::test]
async fn without_transcription_a_voice_message_gets_a_sentence_and_is_not_fetched() {
    let mut world = World::new().await;
    let support = world.connector("support");
    let answer = told(&world, &support, json!({"voice": {"data": "hello"}}), None).await;
    assert!(answer.text.contains("cannot listen"), "{}", answer.text);
    assert_eq!(
        (
            world.assistant.request_count(),
            file_calls(&world, &support)
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn a_recording_beyond_telegrams_limit_gets_a_sentence_and_is_not_fetched() {
    let mut world = World::new().await;
    let support = hearing(&mut world);
    let voice = json!({"voice": {"data": "long", "size": (20 << 20) + 1}});
    let answer = told(&world, &support, voice, None).await;
    assert!(answer.text.contains("too big"), "{}", answer.text);
    assert_eq!(file_calls(&world, &support), 0);
}

#[tokio::test]
async fn a_failure_that_passes_is_not_noticed() {
    let mut world = World::new().await;
    let support = hearing(&mut world);
    world.assistant.set_behaviour(Behaviour {
        fail_transcription: Some(InjectedFailure {
            status: 503,
            times: Some(1),
            retry_after: None,
        }),
        ..Behaviour::default()
    });
    let answer = told(&world, &support, json!({"voice": {"data": "again"}}), None).await;
    assert!(answer.text.contains("You said: again"), "{}", answer.text);
    assert_eq!(world.assistant.transcriptions().len(), 2);
    assert!(world.observations.take_notices(&support.uid).is_empty());
}

#[tokio::test]
async fn a_failure_that_lasts_becomes_a_sentence_and_one_notice() {
    let mut world = World::new().await;
    let support = hearing(&mut world);
    world.assistant.set_behaviour(Behaviour {
        api_key: Some("another-key".into()),
        ..Behaviour::default()
    });
    for _ in 0..2 {
        let answer = told(&world, &support, json!({"voice": {"data": "hello"}}), None).await;
        assert!(
            answer.text.contains("could not make out"),
            "{}",
            answer.text
        );
    }
    world.drained().await;
    let notices = world.observations.take_notices(&support.uid);
    assert_eq!(notices.len(), 1, "at most one an hour");
    let Notice::Unheard { detail, .. } = &notices[0].notice else {
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
    assert_eq!(world.assistant.request_count(), 0);
}

#[tokio::test]
async fn silence_gets_a_sentence() {
    let mut world = World::new().await;
    let support = hearing(&mut world);
    let answer = told(&world, &support, json!({"voice": {"data": "  "}}), None).await;
    assert!(
        answer.text.contains("could not make out"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn further_attempts_at_the_answer_do_not_fetch_and_hear_again() {
    let mut world = World::new().await;
    let support = hearing(&mut world);
    world.assistant.set_behaviour(Behaviour {
        fail: Some(InjectedFailure {
            status: 500,
            times: Some(2),
            retry_after: None,
        }),
        ..Behaviour::default()
    });
    let answer = told(
        &world,
        &support,
        json!({"voice": {"data": "patience"}}),
        None,
    )
    .await;
    assert!(
        answer.text.contains("You said: patience"),
        "{}",
        answer.text
    );
    assert_eq!(world.assistant.request_count(), 3);
    assert_eq!(
        (
            world.assistant.transcriptions().len(),
            file_calls(&world, &support)
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn a_denied_users_voice_is_neither_fetched_nor_heard() {
    let mut world = World::new().await;
    let support = hearing(&mut world);
    let voice = json!({"voice": {"data": "let me in"}});
    world
        .telegram
        .perform(&from(EVE, &support, voice, None))
        .unwrap();
    world
        .telegram
        .wait_for_sent_messages(support.id, EVE, 0, SOON)
        .await;
    world.drained().await;
    assert_eq!(
        (
            world.assistant.transcriptions().len(),
            file_calls(&world, &support)
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn a_text_file_is_part_of_the_question() {
    let mut world = World::new().await;
    let support = world.connector("support");
    let file = json!({"document": {"data": "id;total\r\n17;9,90\r\n", "file_name": "orders.csv", "mime_type": "text/csv"}});
    told(&world, &support, file, Some("what is the total?")).await;
    until("asked", async || world.assistant.request_count() == 1).await;
    let asked = &world.assistant.requests()[0].body["messages"];
    let last = asked.as_array().unwrap().last().unwrap();
    assert_eq!(
        last["content"],
        "what is the total?\n\n[file: orders.csv]\nid;total\n17;9,90"
    );
}

#[tokio::test]
async fn files_that_are_too_big_or_no_text_get_a_sentence() {
    let mut world = World::new().await;
    let support = world.connector("support");
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
        let answer = told(&world, &support, json!({"document": file}), None).await;
        assert!(answer.text.contains(part), "{}", answer.text);
        assert_eq!(file_calls(&world, &support), fetched);
    }
    assert_eq!(world.assistant.request_count(), 0);
}
