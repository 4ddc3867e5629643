//! The assistant: answers with the text that the question names, as models stream it.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::json;

use crate::Failure;

/// The characters of one event of a stream.
const PIECE: usize = 16;
/// Before the last quarter of a text, so that there is something to preview.
const PAUSE: Duration = Duration::from_millis(500);
const QUESTION: &str = "text number ";
const WITH_PAUSE: &str = " Slowly.";

/// The texts, each as the events of a stream.
pub(crate) struct Texts(Vec<Text>);

struct Text {
    name: String,
    beginning: Bytes,
    end: Bytes,
}

/// What to ask for a text, with a pause in it or without.
pub(crate) fn question(number: usize, with_pause: bool) -> String {
    let end = if with_pause { WITH_PAUSE } else { "" };
    format!("{QUESTION}{number}.{end}")
}

impl Texts {
    pub(crate) fn of(texts: Vec<(String, String)>) -> Self {
        let text = |(name, text): (String, String)| {
            let (beginning, end) = text.split_at(text.floor_char_boundary(text.len() / 4 * 3));
            Text {
                name,
                beginning: events(beginning).into(),
                end: (events(end) + "data: [DONE]\n\n").into(),
            }
        };
        Self(texts.into_iter().map(text).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        &self.0[number].name
    }
}

/// A text as events of a chat completion.
fn events(text: &str) -> String {
    let mut events = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .char_indices()
            .nth(PIECE)
            .map_or(rest.len(), |(at, _)| at);
        let (piece, others) = rest.split_at(end);
        let event = json!({"choices": [{"index": 0, "delta": {"content": piece}}]});
        let _ = write!(events, "data: {event}\n\n");
        rest = others;
    }
    events
}

/// Serves the texts; anything else that is asked is answered in two words at once. Returns the root of its address.
pub(crate) async fn serve(texts: Arc<Texts>) -> Result<String, Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let root = format!("http://{}", listener.local_addr()?);
    let app = Router::new().fallback(answer).with_state(texts);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(root)
}

async fn answer(State(texts): State<Arc<Texts>>, asked: String) -> Response {
    let number = asked.rsplit_once(QUESTION).and_then(|(_, rest)| {
        let (number, _) = rest.split_once('.')?;
        number.parse::<usize>().ok()
    });
    let body = match number.and_then(|number| texts.0.get(number)) {
        Some(text) => {
            let end = text.end.clone();
            let pause = if asked.contains(WITH_PAUSE) {
                PAUSE
            } else {
                Duration::ZERO
            };
            let beginning = stream::iter([text.beginning.clone()]);
            let end = stream::once(async move {
                tokio::time::sleep(pause).await;
                end
            });
            Body::from_stream(beginning.chain(end).map(Ok::<_, Infallible>))
        }
        None => (events("All well.") + "data: [DONE]\n\n").into(),
    };
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}
