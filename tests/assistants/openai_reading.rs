//! How an answer is read and how it ends, over real HTTP: each case of the table, under labels that are right and wrong.

use futures::StreamExt;
use telegram_connector_operator::api::connector::AssistantProtocol::OpenAI;
use telegram_connector_operator::assistant::{
    AnswerPart, AssistantError, FileContent, OfferedFile, QuestionProgress, Truncation,
};

use crate::fixtures::{assistant, question};
use crate::mock_server::{self, MockServer};
use crate::openai_cases::{End, add_file};

const LABELS: [&str; 4] = [
    "text/event-stream",
    "application/json",
    "text/plain; charset=utf-8",
    "",
];

/// What the pipeline gets of a body: its text, and how it ended.
async fn ask(
    path: &str,
    body: Vec<u8>,
    label: &'static str,
) -> (String, End, Option<AssistantError>) {
    let server = MockServer::start(move |_| {
        let headers = [("content-type", label)];
        let headers = if label.is_empty() {
            &headers[..0]
        } else {
            &headers[..]
        };
        mock_server::status(200, headers, body.clone())
    })
    .await;
    let mut text = String::new();
    let mut end = End::Complete;
    let asked = assistant(OpenAI, &format!("{}{path}", server.url))
        .ask(question())
        .await;
    let mut parts = match asked {
        Ok(parts) => parts,
        Err(error) => return (text, End::Failed(error.is_retryable()), Some(error)),
    };
    let mut failure = None;
    while let Some(part) = parts.next().await {
        match part {
            Ok(AnswerPart::Text(more)) => text.push_str(&more),
            Ok(AnswerPart::Rewrite(all)) => text = all,
            Ok(AnswerPart::File(file)) => show_file(&mut text, &file),
            Ok(AnswerPart::Truncated(Truncation::Length)) => end = End::Length,
            Ok(AnswerPart::Truncated(Truncation::Filter)) => end = End::Filter,
            Ok(_) => {}
            Err(error) => {
                end = if text.is_empty() {
                    End::Failed(error.is_retryable())
                } else {
                    End::Broken
                };
                failure = Some(error);
            }
        }
    }
    assert_eq!(server.received().len(), 1);
    (text.trim_end().to_owned(), end, failure)
}

/// Adds what stands for a file.
fn show_file(text: &mut String, file: &OfferedFile) {
    let word = if file.is_picture { "picture" } else { "file" };
    let link = match &file.content {
        FileContent::Link(link) => Some(link.as_str()),
        _ => None,
    };
    add_file(text, word, &file.name, link);
}

fn check_path(path: &str, body: Vec<u8>, expected: &str, expected_end: End) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for label in LABELS {
            let (text, end, error) = ask(path, body.clone(), label).await;
            assert_eq!(
                (text.as_str(), end),
                (expected, expected_end),
                "as {label:?}: {error:?}"
            );
            if end == End::Broken {
                assert_eq!(error.expect("an error").progress, QuestionProgress::Begun);
            }
        }
    });
}

mod chat_completions {
    use super::*;
    use crate::openai_cases::{deltas, ended, half, raw, reason, sse, text, texts, whole};

    fn check(body: Vec<u8>, text: &str, end: End) {
        check_path("/v1", body, text, end);
    }

    openai_cases!(check);
}

mod responses {
    use super::*;
    use crate::openai_cases::{raw, sse};
    use crate::openai_responses_cases::{half_response, last, piece, pieces};

    fn check(body: Vec<u8>, text: &str, end: End) {
        check_path("/v1/responses", body, text, end);
    }

    responses_cases!(check);
}
