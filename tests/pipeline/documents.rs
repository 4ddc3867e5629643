//! Documents that people send: their words by an extraction service, and a sentence where there are none.

use bot_api_simulator::sample_assistant::{Behaviour, InjectedFailure};
use bot_api_simulator::{SentMessage, UserAction};
use serde_json::{Value, json};
use telegram_connector_operator::api::connector::ExtractSpec;
use telegram_connector_operator::assistant::{
    self, AddressPolicy, AnswerPart, AssistantHttpClient, HttpLimits,
};
use telegram_connector_operator::observation::Notice;
use telegram_connector_operator::registry::{Extraction, FilePolicy};

use crate::scripted_assistant::ScriptedAssistant;
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv};

const PDF: &str = "%PDF-1.7\n";

fn extract_spec(url: &str) -> ExtractSpec {
    ExtractSpec {
        url: url.into(),
        api_key_secret_ref: None,
        timeout_seconds: Some(10),
    }
}

/// A connector whose documents the sample assistant reads, as Tika would.
fn reading_connector(env: &mut TestEnv) -> Connector {
    let client =
        AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::allowing_loopback())
            .unwrap();
    let spec = extract_spec(&format!("http://{}", env.assistant.addr));
    let key = Some("made-up-key".into());
    let extractor = assistant::build_extractor(&spec, key, &client).unwrap();
    env.connector_with("support", |c| {
        c.files = FilePolicy {
            extraction: Extraction::Ready(extractor),
            to_assistant: false,
            max_bytes: 1 << 20,
        };
    })
}

fn document(name: &str, media_type: &str, data: &str) -> Value {
    json!({"document": {"data": data, "file_name": name, "mime_type": media_type}})
}

fn pdf(words: &str) -> Value {
    document("offer.pdf", "application/pdf", &format!("{PDF}{words}"))
}

async fn send(env: &TestEnv, to: &Connector, content: Value) -> SentMessage {
    let already = env.telegram.sent_messages(to.id, ANN).len();
    let action = UserAction {
        bot: Some(to.id.0),
        from: Some(ANN),
        caption: Some("what does it cost?".into()),
        content: content.as_object().unwrap().clone(),
        ..UserAction::default()
    };
    env.telegram.perform(&action).unwrap();
    let sent = env
        .telegram
        .wait_for_sent_messages(to.id, ANN, already, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    sent.last().unwrap().clone()
}

/// What the model was asked last.
fn asked(env: &TestEnv) -> String {
    let requests = env.assistant.requests();
    let messages = &requests.last().unwrap().body["messages"];
    let last = messages.as_array().unwrap().last().unwrap();
    last["content"].as_str().unwrap().to_owned()
}

fn failing(status: u16, times: Option<u64>) -> Behaviour {
    Behaviour {
        fail_extraction: Some(InjectedFailure {
            status,
            times,
            retry_after: None,
        }),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn words_of_documents_are_part_of_the_question() {
    let mut env = TestEnv::new().await;
    let support = reading_connector(&mut env);
    send(&env, &support, pdf("Offer\n\n\n\nTotal: 12 €")).await;
    assert_eq!(
        asked(&env),
        "what does it cost?\n\n[file: offer.pdf]\nOffer\n\nTotal: 12 €"
    );
    // The type that an app names is not believed, and need not be there.
    let word = document(
        "a.DOCX",
        "application/octet-stream",
        "PK\u{3}\u{4}from Word",
    );
    send(&env, &support, word).await;
    assert!(asked(&env).ends_with("[file: a.DOCX]\nfrom Word"));
    let sent = &env.assistant.extractions()[0];
    assert_eq!(
        (&*sent.media_type, sent.authorization.as_deref()),
        ("application/octet-stream", Some("Bearer made-up-key"))
    );
}

#[tokio::test]
async fn unreadable_documents_get_a_sentence_and_nothing_is_asked() {
    let mut env = TestEnv::new().await;
    let support = reading_connector(&mut env);
    let pdf_type = "application/pdf";
    let cases = [
        ("encrypted", pdf("/Encrypt"), "cannot read this file", 1),
        ("scan", pdf(" \n "), "cannot read this file", 1),
        (
            "program",
            document("offer.pdf", pdf_type, "MZ program"),
            "cannot read this file",
            0,
        ),
        (
            "archive",
            document("a.zip", "application/zip", "PK\u{3}\u{4}"),
            "cannot read this file",
            0,
        ),
        ("big", pdf(&"x".repeat(1 << 20)), "too big", 0),
    ];
    for (case, content, sentence, sent) in cases {
        let before = env.assistant.extractions().len();
        let answer = send(&env, &support, content).await;
        assert!(answer.text.contains(sentence), "{case}: {}", answer.text);
        let after = env.assistant.extractions().len();
        assert_eq!(after - before, sent, "{case}");
    }
    assert_eq!(env.assistant.request_count(), 0);
    assert!(env.dead_letters().await.is_empty());
}

#[tokio::test]
async fn words_without_an_end_are_cut_with_a_mark() {
    let mut env = TestEnv::new().await;
    let support = reading_connector(&mut env);
    send(&env, &support, pdf("bomb")).await;
    let question = asked(&env);
    assert!(question.len() < 70_000, "{}", question.len());
    assert!(question.ends_with("\n[the rest of the file is left out]"));
}

#[tokio::test]
async fn extraction_is_tried_again_where_it_may_pass() {
    let mut env = TestEnv::new().await;
    let support = reading_connector(&mut env);
    env.assistant.set_behaviour(failing(503, Some(1)));
    send(&env, &support, pdf("patience")).await;
    assert!(asked(&env).ends_with("patience"));
    assert_eq!(env.assistant.extractions().len(), 2);
    assert!(env.observations.take_notices(&support.uid).is_empty());
}

#[tokio::test]
async fn failing_extraction_is_told_to_user_and_administrator() {
    let mut env = TestEnv::new().await;
    let support = reading_connector(&mut env);
    env.assistant.set_behaviour(failing(503, None));
    for _ in 0..2 {
        let answer = send(&env, &support, pdf("Offer")).await;
        assert!(answer.text.contains("just now"), "{}", answer.text);
    }
    let notices = env.observations.take_notices(&support.uid);
    assert_eq!(notices.len(), 1, "at most one an hour");
    let Notice::ExtractionFailed { detail, .. } = &notices[0].notice else {
        panic!("{:?}", notices[0].notice)
    };
    assert!(detail.starts_with("spec.files.extract: "), "{detail}");
    assert!(!detail.contains("made-up"), "{detail}");
    assert_eq!(env.assistant.request_count(), 0);
}

#[test]
fn extraction_keeps_to_the_rules_for_addresses() {
    let client = AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::default()).unwrap();
    let built = |url: &str| assistant::build_extractor(&extract_spec(url), None, &client);
    let refused = built("http://169.254.169.254/tika").unwrap_err();
    assert!(refused.starts_with("spec.files.extract.url: "), "{refused}");
    assert!(built("ftp://tika.acme.svc").is_err());
    assert!(built("http://tika.acme.svc:9998").is_ok());
}

#[tokio::test]
async fn files_go_to_an_assistant_that_takes_them() {
    let mut env = TestEnv::new().await;
    let assistant = ScriptedAssistant::new(|_| Ok(vec![Ok(AnswerPart::Text("12 €".into()))]));
    let support = env.connector_with("support", |c| {
        c.assistant = Some(assistant.shared());
        c.files = FilePolicy {
            to_assistant: true,
            max_bytes: 1 << 20,
            ..FilePolicy::default()
        };
    });
    // Its app calls the PDF something else.
    let file = document("offer.pdf", "application/octet-stream", "%PDF-1.7\nOffer");
    send(&env, &support, file).await;
    let archive = document("a.zip", "application/zip; x", "PK\u{3}\u{4}");
    send(&env, &support, archive).await;
    let text = document("a.txt", "text/plain", "hello");
    send(&env, &support, text).await;
    let big = send(&env, &support, pdf(&"x".repeat(1 << 20))).await;
    assert!(big.text.contains("too big"), "{}", big.text);
    let asked = assistant.take_questions();
    let files = asked.iter().map(|q| {
        let files = q.files.iter();
        let files: Vec<_> = files
            .map(|f| (&*f.name, &*f.media_type, &f.bytes[..]))
            .collect();
        (q.text.as_str(), files)
    });
    let question = "what does it cost?\n\n";
    assert_eq!(
        files.collect::<Vec<_>>(),
        [
            (
                &*format!("{question}[file: offer.pdf]"),
                vec![("offer.pdf", "application/pdf", &b"%PDF-1.7\nOffer"[..])]
            ),
            (
                &*format!("{question}[file: a.zip]"),
                vec![("a.zip", "application/octet-stream", &b"PK\x03\x04"[..])]
            ),
            (&*format!("{question}[file: a.txt]\nhello"), vec![]),
        ]
    );
}

#[tokio::test]
async fn album_of_files_is_bounded_as_a_whole() {
    let mut env = TestEnv::new().await;
    let assistant = ScriptedAssistant::new(|_| Ok(vec![Ok(AnswerPart::Text("Thanks".into()))]));
    let support = env.connector_with("support", |c| {
        c.assistant = Some(assistant.shared());
        c.files = FilePolicy {
            to_assistant: true,
            max_bytes: 1_000,
            ..FilePolicy::default()
        };
    });
    for name in ["a.pdf", "b.pdf"] {
        let content = document(name, "application/pdf", &"x".repeat(600));
        let action = UserAction {
            bot: Some(support.id.0),
            from: Some(ANN),
            media_group_id: Some("album".into()),
            content: content.as_object().unwrap().clone(),
            ..UserAction::default()
        };
        env.telegram.perform(&action).unwrap();
    }
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 0, TIMEOUT)
        .await;
    let asked = assistant.take_questions();
    assert_eq!(asked[0].files.len(), 1);
    assert!(asked[0].text.contains("[file: a.pdf]"), "{}", asked[0].text);
    assert!(
        asked[0].text.contains("could not be read"),
        "{}",
        asked[0].text
    );
}
