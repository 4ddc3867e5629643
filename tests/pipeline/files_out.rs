//! Files on their way to a chat: what holds for texts holds for them.

use std::time::Duration;

use base64::Engine as _;
use bot_api_simulator::{Fault, FaultKind, SentMessage};
use telegram_connector_operator::assistant::{AnswerPart, FileContent, OfferedFile};
use telegram_connector_operator::store::{
    self, Change, FilePart, LaneWrite, ListingQuery, PartContent, ReplyPart, StoreOptions,
};
use telegram_connector_operator::telegram::FileKind;

use crate::scripted_assistant::ScriptedAssistant;
use crate::store::{BOT, claim, connector, part, update};
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, wait_until};

/// A picture of one pixel.
pub(crate) const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

pub(crate) fn png() -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode(PNG)
        .unwrap()
}

fn file(kind: FileKind, name: &str, content: &[u8]) -> ReplyPart {
    ReplyPart {
        content: PartContent::File(FilePart {
            kind,
            name: name.into(),
            media_type: "application/octet-stream".into(),
            replacement: format!("({name} could not be sent.)"),
            caption: None,
            bytes: content.len(),
            upload: Some(content.to_vec().into()),
        }),
        reply_to: None,
        silent: false,
    }
}

/// A process stores a reply to Ann and is killed: before it sends anything of it, or after it has sent the part of this number, before that is
/// written to the database.
pub(crate) async fn store_reply_and_be_killed(
    env: &mut TestEnv,
    support: &Connector,
    parts: Vec<ReplyPart>,
    sent: Option<u32>,
) {
    // The simulator takes messages for whoever has written to the bot.
    env.ask(support, "/start").await;
    let resolved = env.registry.get(&support.uid).unwrap();
    env.registry.withdraw(&support.uid);
    let options = StoreOptions {
        lease: Duration::from_millis(100),
        ..StoreOptions::default()
    };
    let store = store::open_with(&env.address, options).await.unwrap();
    let date = jiff::Timestamp::now().as_second();
    let updates = vec![update(1 << 40, ANN, date, "a file, please")];
    let uid = connector("support").uid;
    store.accept(&uid, BOT, updates).await.unwrap();
    // The pipeline may still have the lane of the greeting.
    let lane = loop {
        if let Some(lane) = claim(&*store, "support", 1).await.lanes.pop() {
            break lane;
        }
        tokio::task::yield_now().await;
    };
    let message = lane.messages[0].id;
    let reply = Change::Reply {
        message,
        parts,
        notice: None,
    };
    let write = LaneWrite {
        claim: lane.claim,
        changes: vec![reply, Change::Finish { message }],
        release: None,
    };
    store.write(write.into()).await.unwrap();
    if let Some(number) = sent {
        assert!(store.record_sent(&lane.claim, message, number, None));
    }
    drop(store);
    env.registry.publish(resolved);
}

/// What comes after the greeting.
async fn sent(env: &TestEnv, support: &Connector, count: usize) -> Vec<SentMessage> {
    let wait = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, count, TIMEOUT);
    let sent = wait.await;
    sent.into_iter().skip(1).collect()
}

/// `photo cat.png`, or the text.
fn shown(messages: &[SentMessage]) -> Vec<String> {
    let show = |message: &SentMessage| match &message.media {
        Some(media) => format!("{} {}", media.kind, media.file_name),
        None => message.text.clone(),
    };
    messages.iter().map(show).collect()
}

/// Nothing waits in the outbox, nor are bytes kept.
pub(crate) async fn assert_nothing_is_left(env: &TestEnv) {
    let path = store::sqlite_path(&env.address).unwrap();
    wait_until("nothing is left", async || {
        let db = rusqlite::Connection::open(path).unwrap();
        let count = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM upload)";
        let left: i64 = db.query_row(count, (), |row| row.get(0)).unwrap();
        left == 0
    })
    .await;
}

#[tokio::test]
async fn files_are_sent_in_order_after_a_kill_before_them() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let parts = vec![
        part("one"),
        file(FileKind::Photo, "cat.png", &png()),
        file(FileKind::Document, "übersicht \"1\".pdf", b"%PDF-1.7"),
        part("two"),
    ];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    let sent = sent(&env, &support, 4).await;
    // Telegram names no photo.
    let expected = ["one", "photo", "document übersicht", "two"];
    for (shown, expected) in shown(&sent).iter().zip(expected) {
        assert!(shown.starts_with(expected), "{shown}");
    }
    assert_eq!(sent[1].media.as_ref().unwrap().size, png().len());
    assert_nothing_is_left(&env).await;
}

#[tokio::test]
async fn file_that_was_sent_before_a_kill_is_not_sent_again() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let parts = vec![file(FileKind::Photo, "cat.png", &png()), part("two")];
    store_reply_and_be_killed(&mut env, &support, parts, Some(0)).await;
    assert_eq!(shown(&sent(&env, &support, 1).await), ["two"]);
    assert_nothing_is_left(&env).await;
}

#[tokio::test]
async fn what_is_no_photo_goes_as_a_document() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let parts = vec![file(FileKind::Photo, "cat.png", b"no picture"), part("two")];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    let sent = sent(&env, &support, 2).await;
    assert_eq!(shown(&sent), ["document cat.png", "two"]);
    assert_nothing_is_left(&env).await;
}

#[tokio::test]
async fn refused_file_leaves_a_sentence_and_the_rest() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 400,
            description: "Bad Request: not enough rights to send documents to the chat".into(),
        })
        .method("sendDocument"),
    );
    let parts = vec![file(FileKind::Document, "a.zip", b"PK"), part("two")];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    let sent = sent(&env, &support, 2).await;
    assert_eq!(shown(&sent), ["(a.zip could not be sent.)", "two"]);
    assert_nothing_is_left(&env).await;
}

#[tokio::test]
async fn file_without_an_answer_is_sent_once_more() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram.add_fault(
        Fault::new(FaultKind::DropAfter)
            .method("sendDocument")
            .times(1),
    );
    let parts = vec![file(FileKind::Document, "a.zip", b"PK"), part("two")];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    let sent = sent(&env, &support, 3).await;
    assert_eq!(shown(&sent), ["document a.zip", "document a.zip", "two"]);
    assert_nothing_is_left(&env).await;
}

#[tokio::test]
async fn file_waits_as_long_as_telegram_asks() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 1 })
            .method("sendDocument")
            .times(1),
    );
    let parts = vec![file(FileKind::Document, "a.zip", b"PK"), part("two")];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    let sent = sent(&env, &support, 2).await;
    assert_eq!(shown(&sent), ["document a.zip", "two"]);
    let throttled = r#"throttled_total{method="sendDocument"} 1"#;
    assert!(env.metrics.encode().contains(throttled));
    assert_nothing_is_left(&env).await;
}

#[tokio::test]
async fn file_that_is_given_up_is_a_dead_letter_without_bytes() {
    let mut env = TestEnv::with(|limits| limits.reply_age = Duration::ZERO).await;
    let support = env.connector("support");
    env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 500,
            description: "Internal Server Error".into(),
        })
        .method("sendDocument")
        .times(1),
    );
    let parts = vec![file(FileKind::Document, "a.zip", b"PK")];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    assert_nothing_is_left(&env).await;
    let listing = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    let dead = env.store.dead_letters(&listing).await.unwrap().rows;
    assert_eq!(dead.len(), 1);
    assert_eq!(
        env.store.retry_dead_letters(&[dead[0].id]).await.unwrap(),
        1
    );
    let sent = sent(&env, &support, 1).await;
    assert_eq!(shown(&sent), ["(a.zip could not be sent.)"]);
}

/// A file of these bytes beside the text.
pub(crate) fn offered_bytes(name: &str, content: &[u8]) -> AnswerPart {
    offered(name, FileContent::Bytes(content.to_vec().into()))
}

/// A file beside the text.
fn offered(name: &str, content: FileContent) -> AnswerPart {
    AnswerPart::File(OfferedFile {
        name: name.into(),
        media_type: String::new(),
        is_picture: false,
        repeats_text: false,
        content,
    })
}

/// An assistant that answers with these words, a connector that sends files of at most so many megabytes, and what comes of a question.
async fn answered(words: String, max_megabytes: Option<usize>, count: usize) -> Vec<SentMessage> {
    answered_with(vec![AnswerPart::Text(words)], max_megabytes, count).await
}

/// The same with an answer of these parts.
async fn answered_with(
    parts: Vec<AnswerPart>,
    max_megabytes: Option<usize>,
    count: usize,
) -> Vec<SentMessage> {
    let mut env = TestEnv::new().await;
    let assistant = ScriptedAssistant::new(move |_| Ok(parts.iter().cloned().map(Ok).collect()))
        .with_files(&[
            ("https://files.example/report.pdf?sig=1", b"%PDF-1.7"),
            ("https://files.example/cat.png", b"<!DOCTYPE html><p>Log in"),
            ("https://files.example/page", b"<!DOCTYPE html><p>Hello"),
        ]);
    let support = env.connector_with("support", |c| {
        c.assistant = Some(assistant.shared());
        c.answers.max_file_bytes = max_megabytes.map(|megabytes| megabytes * 1_000_000);
    });
    env.telegram
        .send_private_message(support.id, ANN, "draw a cat");
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, count - 1, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    assert_nothing_is_left(&env).await;
    assert_eq!(env.dead_letters().await.len(), 0);
    sent
}

#[tokio::test]
async fn file_of_an_answer_is_sent_in_its_place() {
    let words = format!(
        "**Here:**\n\n![cat](data:image/jpeg;base64,{PNG})\n\nand [a table](data:text/csv,a%2Cb%0A1%2C2) too."
    );
    let sent = answered(words, Some(20), 5).await;
    let kinds: Vec<_> = shown(&sent).iter().map(|s| s.trim().to_owned()).collect();
    assert_eq!(kinds[0], "Here:");
    assert!(kinds[1].starts_with("photo"), "{kinds:?}");
    assert_eq!(sent[1].media.as_ref().unwrap().size, png().len());
    assert_eq!(kinds[2..], ["and", "document a table.csv", "too."]);
    assert_eq!(sent[3].media.as_ref().unwrap().size, 7);
}

#[tokio::test]
async fn file_of_an_answer_is_named_unless_files_are_wanted() {
    let words = format!("Here: ![cat](data:image/png;base64,{PNG})");
    let sent = answered(words, None, 1).await;
    assert_eq!(shown(&sent), ["Here: (picture: cat)"]);
}

#[tokio::test]
async fn file_that_is_too_big_or_broken_leaves_a_sentence() {
    let big = "A".repeat(1_400_000);
    let words = format!(
        "One ![big](data:image/png;base64,{big}) two [odd](data:application/pdf;base64,A) three"
    );
    let sent = answered(words, Some(1), 1).await;
    assert_eq!(
        shown(&sent),
        ["One (big could not be sent.) two (odd could not be sent.) three"]
    );
}

#[tokio::test]
async fn answer_with_a_thousand_files_is_bounded() {
    let words = format!("![cat](data:image/png;base64,{PNG}) ").repeat(1_000);
    let sent = answered(words, Some(20), 11).await;
    let files = sent.iter().filter(|message| message.media.is_some());
    assert_eq!(files.count(), 10);
    assert!(
        sent.last()
            .unwrap()
            .text
            .contains("(picture: cat) (picture: cat)")
    );
}

#[tokio::test]
async fn file_beside_the_text_is_sent_in_its_place() {
    let words = |text: &str| AnswerPart::Text(text.into());
    let parts = vec![
        words("**A cat:**"),
        offered_bytes("cat.png", &png()),
        words("and [a page](https://x.example/) with"),
        offered("odd.pdf", FileContent::Unreadable),
        words("nothing more"),
        offered(
            "a_b.pdf",
            FileContent::Link("https://x.example/f?v=1".into()),
        ),
    ];
    let sent = answered_with(parts.clone(), Some(20), 3).await;
    assert!(sent[1].media.is_some());
    let text = "and a page with\n\n(odd.pdf could not be sent.)\n\nnothing more\n\na_b.pdf";
    assert_eq!(shown(&sent)[2], text);
    let sent = answered_with(parts, None, 1).await;
    let text = "A cat:\n\n(file: cat.png)\n\nand a page with\n\n(file: odd.pdf)\n\nnothing more\n\na_b.pdf";
    assert_eq!(shown(&sent), [text]);
}

#[tokio::test]
async fn file_of_a_text_that_is_written_anew_is_not_sent() {
    let parts = vec![
        AnswerPart::Text("A draft".into()),
        offered_bytes("draft.pdf", b"%PDF-1.7"),
        AnswerPart::Rewrite("Final".into()),
        offered_bytes("final.pdf", b"%PDF-1.7"),
    ];
    let sent = answered_with(parts, Some(20), 2).await;
    assert_eq!(shown(&sent), ["Final", "document final.pdf"]);
}

#[tokio::test]
async fn speech_beside_its_words_is_sent_or_left_out() {
    let speech = AnswerPart::File(OfferedFile {
        name: "audio".into(),
        media_type: String::new(),
        is_picture: false,
        repeats_text: true,
        content: FileContent::Bytes(b"ID3\x04\0\0\0\0\0\0sound".to_vec().into()),
    });
    let parts = vec![AnswerPart::Text("Hello".into()), speech];
    let sent = answered_with(parts.clone(), Some(20), 2).await;
    assert_eq!(shown(&sent), ["Hello", "audio audio.mp3"]);
    let sent = answered_with(parts, None, 1).await;
    assert_eq!(shown(&sent), ["Hello"]);
}

#[tokio::test]
async fn file_at_an_address_is_sent_or_stays_a_link() {
    let linked = |name: &str, address: &str| offered(name, FileContent::Link(address.into()));
    let parts = vec![
        AnswerPart::Text("Files:".into()),
        linked("", "https://files.example/report.pdf?sig=1"),
        linked("cat.png", "https://files.example/cat.png"),
        linked("page.html", "https://files.example/page"),
        linked("gone.pdf", "https://files.example/gone.pdf"),
    ];
    let sent = answered_with(parts.clone(), Some(20), 5).await;
    let expected = [
        "Files:",
        "document report.pdf",
        "cat.png",
        "document page.html",
        "gone.pdf",
    ];
    assert_eq!(shown(&sent), expected);
    let sent = answered_with(parts, None, 1).await;
    let expected = "Files:\n\nreport.pdf\n\ncat.png\n\npage.html\n\ngone.pdf";
    assert_eq!(shown(&sent), [expected]);
}
