//! What stands in an answer beside its words: its sources, what it cost, and data that is no text.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use telegram_connector_operator::assistant::{
    AnswerPart, AnswerStream, Assistant, AssistantError, Citation, FailureKind, Question,
    QuestionProgress, TokenUsage, Truncation,
};
use telegram_connector_operator::store::{ListingQuery, SessionSummary};

use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv};

/// What an assistant does behind the last part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Broken,
    /// It says nothing more for ever.
    Silent,
}

/// An assistant that answers with what it is given; it remembers the history that it was asked with.
#[derive(Debug, Clone)]
struct Scripted {
    parts: Arc<Mutex<(Vec<AnswerPart>, End)>>,
    history: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn new(parts: Vec<AnswerPart>, end: End) -> Self {
        Self {
            parts: Arc::new(Mutex::new((parts, end))),
            history: Arc::default(),
        }
    }

    fn set(&self, parts: Vec<AnswerPart>, end: End) {
        *self.parts.lock().unwrap() = (parts, end);
    }

    fn history(&self) -> String {
        self.history.lock().unwrap().concat()
    }
}

#[async_trait]
impl Assistant for Scripted {
    async fn ask(&self, question: Question) -> Result<AnswerStream, AssistantError> {
        let history = question.history.into_iter().map(|message| message.text);
        *self.history.lock().unwrap() = history.collect();
        let (parts, end) = self.parts.lock().unwrap().clone();
        let parts = stream::iter(parts.into_iter().map(Ok));
        let error = AssistantError {
            kind: FailureKind::Unreachable,
            progress: QuestionProgress::Begun,
            retry_after: None,
            detail: "the connection broke".into(),
        };
        Ok(match end {
            End::Complete => Box::pin(parts),
            End::Broken => Box::pin(parts.chain(stream::iter([Err(error)]))),
            End::Silent => Box::pin(parts.chain(stream::pending())),
        })
    }

    fn needs_history(&self) -> bool {
        true
    }

    fn protocol(&self) -> &'static str {
        "Scripted"
    }
}

fn text(text: &str) -> AnswerPart {
    AnswerPart::Text(text.into())
}

fn source(url: &str, title: &str) -> AnswerPart {
    AnswerPart::Citation(Citation {
        url: url.into(),
        title: (!title.is_empty()).then(|| title.into()),
    })
}

fn usage(input: u64, output: u64) -> AnswerPart {
    AnswerPart::Usage(TokenUsage { input, output })
}

fn connect(env: &mut TestEnv, assistant: &Scripted) -> Connector {
    env.connector_with("support", |c| {
        c.assistant = Some(Arc::new(assistant.clone()));
    })
}

async fn session(env: &TestEnv) -> SessionSummary {
    let listing = ListingQuery {
        limit: 10,
        texts: true,
        ..ListingQuery::default()
    };
    let mut sessions = env.store.sessions(&listing).await.unwrap().rows;
    assert_eq!(sessions.len(), 1);
    sessions.remove(0)
}

/// Asks, and stops the answer once it shows.
async fn ask_and_stop(env: &TestEnv, connector: &Connector) {
    env.telegram
        .send_private_message(connector.id, ANN, "think");
    let shown = env.telegram.wait_until(connector.id, TIMEOUT, |telegram| {
        (!telegram.drafts(connector.id).is_empty()).then_some(())
    });
    shown.await.expect("the first words");
    env.ask(connector, "/stop").await;
    env.wait_until_drained().await;
}

#[tokio::test]
async fn sources_stand_below_the_final_answer_only() {
    let mut env = TestEnv::new().await;
    let parts = vec![
        text("The sky is **blue** [2]."),
        source("https://a.org/x", "*A* [b](c) & <d>"),
        source("https://b.org/", ""),
    ];
    let assistant = Scripted::new(parts, End::Complete);
    let support = connect(&mut env, &assistant);
    let answer = env.ask(&support, "why?").await;
    assert_eq!(
        answer.text,
        "The sky is blue [2].\n\nSources:\n1. *A* [b](c) & <d>\n2. b.org"
    );
    assert!(
        answer
            .source
            .contains("<a href=\"https://a.org/x\">*A* [b](c) &amp; &lt;d&gt;</a>"),
        "{}",
        answer.source
    );
    assert_eq!(answer.parse_mode, "html");
    env.wait_until_drained().await;
    env.ask(&support, "and now?").await;
    assert_eq!(assistant.history(), "why?The sky is **blue** [2].");
}

#[tokio::test]
async fn sources_are_not_in_previews() {
    let mut env = TestEnv::new().await;
    let parts = vec![source("https://a.org/", "Atlas"), text("Well")];
    let assistant = Scripted::new(parts, End::Silent);
    let support = connect(&mut env, &assistant);
    ask_and_stop(&env, &support).await;
    let drafts = env.telegram.drafts(support.id);
    assert!(
        drafts.iter().all(|draft| draft.text == "Well"),
        "{drafts:?}"
    );
}

#[tokio::test]
async fn sources_follow_the_mark_of_an_answer_in_part() {
    let mut env = TestEnv::new().await;
    let parts = vec![
        text("```\nhalf of"),
        source("https://a.org/", "Atlas"),
        AnswerPart::Truncated(Truncation::Filter),
    ];
    let assistant = Scripted::new(parts.clone(), End::Complete);
    let support = connect(&mut env, &assistant);
    for end in [End::Complete, End::Broken] {
        assistant.set(parts.clone(), end);
        let answer = env.ask(&support, "why?").await;
        let behind = answer.text.split_once("half of").expect("the text").1;
        let (mark, sources) = behind.split_once("Sources:").expect("the sources");
        assert!(mark.contains("answer"), "{}", answer.text);
        assert_eq!(sources, "\n1. Atlas");
        assert!(
            answer
                .source
                .contains("<a href=\"https://a.org/\">Atlas</a>")
        );
    }
}

#[tokio::test]
async fn usage_of_whole_and_partial_answers_counts() {
    let mut env = TestEnv::new().await;
    let assistant = Scripted::new(Vec::new(), End::Complete);
    let support = connect(&mut env, &assistant);
    // Within an answer the last one counts.
    let whole = vec![usage(1, 1), text("Yes."), usage(100, 20)];
    for (parts, end) in [
        (whole, End::Complete),
        (vec![text("Half"), usage(10, 2)], End::Broken),
        (
            vec![
                AnswerPart::Truncated(Truncation::Length),
                text("Half"),
                usage(10, 2),
            ],
            End::Complete,
        ),
        (vec![text("No usage")], End::Complete),
    ] {
        assistant.set(parts, end);
        env.ask(&support, "why?").await;
        env.wait_until_drained().await;
    }
    assistant.set(vec![usage(1000, 200), text("Well")], End::Silent);
    ask_and_stop(&env, &support).await;
    let session = session(&env).await;
    assert_eq!(
        (
            session.exchanges,
            session.tokens.input,
            session.tokens.output
        ),
        (5, 1120, 224)
    );
    let json = serde_json::to_value(&session).unwrap();
    assert_eq!(
        (&json["inputTokens"], &json["outputTokens"]),
        (&1120.into(), &224.into())
    );
    let metrics = env.metrics.encode();
    for (direction, tokens) in [("input", 1120), ("output", 224)] {
        let sample = format!(
            "telegram_connector_operator_assistant_tokens_total{{protocol=\"Scripted\",direction=\"{direction}\"}} {tokens}\n"
        );
        assert!(metrics.contains(&sample), "{metrics}");
    }
}

#[tokio::test]
async fn absurd_usage_neither_overflows_nor_goes_back() {
    let mut env = TestEnv::new().await;
    let assistant = Scripted::new(vec![text("Yes."), usage(u64::MAX, u64::MAX)], End::Complete);
    let support = connect(&mut env, &assistant);
    let mut before = 0;
    for _ in 0..3 {
        env.ask(&support, "why?").await;
        env.wait_until_drained().await;
        let tokens = session(&env).await.tokens;
        assert!(
            tokens.input > before && tokens.output > before,
            "{tokens:?}"
        );
        before = tokens.input;
    }
    let sample = format!("protocol=\"Scripted\",direction=\"input\"}} {before}\n");
    assert!(env.metrics.encode().contains(&sample));
}

#[tokio::test]
async fn data_uri_is_in_no_message_and_no_history() {
    let mut env = TestEnv::new().await;
    let mut parts = vec![text("Look: ![cat](data:image/png;bas"), text("e64,")];
    parts.extend((0..300).map(|_| text(&"iVBORw0K".repeat(128))));
    parts.extend([
        text("==)"),
        text(" and [report](data:application/pdf;base64,JVBE) here."),
    ]);
    let assistant = Scripted::new(parts, End::Complete);
    let support = connect(&mut env, &assistant);
    let expected = "Look: (picture: cat) and (file: report) here.";
    assert_eq!(env.ask(&support, "draw").await.text, expected);
    env.wait_until_drained().await;
    assert_eq!(env.telegram.sent_messages(support.id, ANN).len(), 1);
    let history = session(&env).await.history.expect("the history");
    assert_eq!(history[1].text, expected);
    let rewritten = vec![
        text("A draft"),
        AnswerPart::Rewrite(format!(
            "![dog](data:image/png;base64,{}",
            "AAAA".repeat(300)
        )),
        text("AAAA) is a dog"),
    ];
    assistant.set(rewritten, End::Complete);
    assert_eq!(
        env.ask(&support, "draw").await.text,
        "(picture: dog) is a dog"
    );
}

#[tokio::test]
async fn preview_shows_nothing_of_an_unfinished_data_uri() {
    let mut env = TestEnv::new().await;
    let parts = vec![
        text("Look: "),
        text("![cat](data:image/png;base64,"),
        text(&"AAAA".repeat(9000)),
    ];
    let assistant = Scripted::new(parts, End::Silent);
    let support = connect(&mut env, &assistant);
    ask_and_stop(&env, &support).await;
    let drafts = env.telegram.drafts(support.id);
    assert!(
        drafts.iter().all(|draft| draft.text.trim() == "Look:"),
        "{drafts:?}"
    );
}
