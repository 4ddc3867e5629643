//! Videos and stickers: what can be seen of them goes to the assistant as a picture, beside words that say what they are.

use bot_api_simulator::UserAction;
use serde_json::{Value, json};
use telegram_connector_operator::assistant::AnswerPart;

use crate::scripted_assistant::ScriptedAssistant;
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv};

const JPEG: &str = "/9j/4AAQSkZJRgABAQEASABIAAD/2w==";
const WEBP: &str = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==";

fn env_with(assistant: &ScriptedAssistant, env: &mut TestEnv) -> Connector {
    env.connector_with("support", |c| c.assistant = Some(assistant.shared()))
}

fn answering() -> ScriptedAssistant {
    ScriptedAssistant::new(|_| Ok(vec![Ok(AnswerPart::Text("I see".into()))]))
}

async fn send(env: &TestEnv, to: &Connector, content: Value) -> String {
    let already = env.telegram.sent_messages(to.id, ANN).len();
    let action = UserAction {
        bot: Some(to.id.0),
        from: Some(ANN),
        content: content.as_object().unwrap().clone(),
        ..UserAction::default()
    };
    env.telegram.perform(&action).unwrap();
    let sent = env
        .telegram
        .wait_for_sent_messages(to.id, ANN, already, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    sent.last().unwrap().text.clone()
}

/// What was asked: the words, and type and length of each picture.
fn asked(assistant: &ScriptedAssistant) -> Vec<(String, Vec<(String, usize)>)> {
    let questions = assistant.take_questions().into_iter();
    let pictures = |q: &telegram_connector_operator::assistant::Question| {
        let pictures = q.pictures.iter();
        pictures
            .map(|p| (p.media_type.clone(), p.bytes.len()))
            .collect()
    };
    questions.map(|q| (q.text.clone(), pictures(&q))).collect()
}

fn calls_of_get_file(env: &TestEnv, to: &Connector) -> usize {
    let calls = env.telegram.calls(to.id);
    calls.iter().filter(|c| c.method == "getfile").count()
}

#[tokio::test]
async fn videos_go_as_their_thumbnail_and_words() {
    let mut env = TestEnv::new().await;
    let assistant = answering();
    let support = env_with(&assistant, &mut env);
    let still = json!({"base64": JPEG});
    for content in [
        // Bigger than what can be fetched: the video itself is not.
        json!({"video": {"duration": 12, "file_name": "clip.mp4", "size": 1_u64 << 31, "thumbnail": still}}),
        json!({"animation": {"duration": 2, "thumbnail": still}}),
        json!({"video_note": {"duration": 9, "thumbnail": still}}),
        json!({"video": {"duration": 3}}),
    ] {
        assert_eq!(send(&env, &support, content).await, "I see");
    }
    let picture = vec![("image/jpeg".to_owned(), 22)];
    assert_eq!(
        asked(&assistant),
        [
            ("[video, 12 s, clip.mp4]".to_owned(), picture.clone()),
            ("[animation, 2 s]".to_owned(), picture.clone()),
            ("[round video, 9 s]".to_owned(), picture),
            ("[video, 3 s]".to_owned(), vec![]),
        ]
    );
    assert_eq!(calls_of_get_file(&env, &support), 3);
}

#[tokio::test]
async fn stickers_go_as_their_picture_emoji_and_set() {
    let mut env = TestEnv::new().await;
    let assistant = answering();
    let support = env_with(&assistant, &mut env);
    for content in [
        json!({"sticker": {"base64": WEBP, "emoji": "😀", "set_name": "Animals"}}),
        // Thumbnails of stickers are WebP or JPEG, which Telegram does not say.
        json!({"sticker": {"is_animated": true, "emoji": "😀", "thumbnail": {"base64": WEBP}}}),
        json!({"sticker": {"is_video": true, "emoji": "😀"}}),
    ] {
        assert_eq!(send(&env, &support, content).await, "I see");
    }
    let picture = vec![("image/webp".to_owned(), 34)];
    assert_eq!(
        asked(&assistant),
        [
            ("[sticker 😀, set Animals]".to_owned(), picture.clone()),
            ("[sticker 😀]".to_owned(), picture),
            ("[sticker 😀]".to_owned(), vec![]),
        ]
    );
}

#[tokio::test]
async fn still_that_is_none_or_too_big_leaves_the_words() {
    let mut env = TestEnv::new().await;
    let assistant = answering();
    let support = env_with(&assistant, &mut env);
    for thumbnail in [
        json!({"base64": "UEsDBBQAAAAIAA=="}),
        json!({"base64": JPEG, "size": (20 << 20) + 1}),
    ] {
        let video = json!({"video": {"duration": 3, "thumbnail": thumbnail}});
        assert_eq!(send(&env, &support, video).await, "I see");
    }
    let words = ("[video, 3 s]".to_owned(), vec![]);
    assert_eq!(asked(&assistant), [words.clone(), words]);
    assert!(env.dead_letters().await.is_empty());
}

#[tokio::test]
async fn round_video_that_is_heard_is_seen_too() {
    let mut env = TestEnv::new().await;
    let assistant = answering();
    let transcription = env.transcription();
    let support = env.connector_with("support", |c| {
        c.assistant = Some(assistant.shared());
        c.transcription = transcription;
    });
    let note = json!({"video_note": {"data": "look at me", "thumbnail": {"base64": JPEG}}});
    send(&env, &support, note).await;
    let picture = vec![("image/jpeg".to_owned(), 22)];
    assert_eq!(asked(&assistant), [("look at me".to_owned(), picture)]);
}
