//! HTTP server of the sample assistant.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::persona::{self, words};
use super::response::{Body, full_response};
use super::services::{extract, speak, transcribe};
use super::webhook::WebhookRequest;
use super::{Behaviour, RecordedRequest, State};

/// Limit of a request body in bytes; a request may carry several pictures as base64.
const MAX_BODY: usize = 64 << 20;

pub(super) async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let serving = serve_connection(stream, state.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serving => {}
            }
        });
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { route(state, request).await }
    });
    // A client that disconnects is not an error.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

pub(super) fn reply(status: u16, body: &Value) -> Response<Body> {
    full_response(status, "application/json", body.to_string())
}

pub(super) fn error(status: u16, kind: &str, message: &str) -> Response<Body> {
    reply(
        status,
        &json!({"error": {"message": message, "type": kind, "param": null, "code": null}}),
    )
}

async fn route(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(error(
            413,
            "invalid_request_error",
            "the request is too large",
        ));
    };
    let body = body.to_bytes();
    let path = head.uri.path().trim_end_matches('/');
    let path = path.strip_prefix("/v1").unwrap_or(path);
    match (&head.method, path) {
        (&Method::POST, "/chat/completions") => complete(&state, &head.headers, &body).await,
        (&Method::POST, "/audio/transcriptions") => Ok(transcribe(&state, &head.headers, &body)),
        (&Method::POST, "/audio/speech") => Ok(speak(&state, &head.headers, &body)),
        (&Method::POST, "/webhook") => answer_webhook(&state, &head.headers, &body).await,
        (&Method::PUT, "/tika") => Ok(extract(&state, &head.headers, &body)),
        (&Method::GET, "/models") => Ok(models(&state, &head.headers)),
        (&Method::GET, "/control") => Ok(reply(200, &json!(**state.behaviour.load()))),
        (&Method::PUT, "/control") => Ok(change(&state, &body)),
        (&Method::GET, "/control/requests") => Ok(reply(200, &json!(*state.requests.lock()))),
        (&Method::DELETE, "/control/requests") => {
            state.requests.lock().clear();
            Ok(reply(200, &json!({"ok": true})))
        }
        _ => Ok(error(
            404,
            "invalid_request_error",
            &format!("Unknown request URL: {} {}", head.method, head.uri.path()),
        )),
    }
}

fn change(state: &State, body: &Bytes) -> Response<Body> {
    match serde_json::from_slice::<Behaviour>(body) {
        Ok(behaviour) => {
            state.failed.store(0, Ordering::Release);
            state.behaviour.store(Arc::new(behaviour));
            reply(200, &json!({"ok": true}))
        }
        Err(why) => reply(400, &json!({"error": why.to_string()})),
    }
}

pub(super) fn is_authorized(behaviour: &Behaviour, headers: &HeaderMap) -> bool {
    behaviour.api_key.as_ref().is_none_or(|key| {
        let given = headers.get(header::AUTHORIZATION);
        given.is_some_and(|given| given.as_bytes() == format!("Bearer {key}").as_bytes())
    })
}

pub(super) fn unauthorized() -> Response<Body> {
    error(401, "invalid_request_error", "Incorrect API key provided")
}

fn models(state: &State, headers: &HeaderMap) -> Response<Body> {
    if !is_authorized(&state.behaviour.load(), headers) {
        return unauthorized();
    }
    reply(
        200,
        &json!({"object": "list", "data": [{"id": "sample", "object": "model", "created": 0, "owned_by": "sample"}]}),
    )
}

fn record(state: &State, headers: &HeaderMap, body: &Bytes) {
    if state.keep > 0 {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let mut requests = state.requests.lock();
        requests.push_back(RecordedRequest {
            headers,
            body: serde_json::from_slice(body).unwrap_or_default(),
            at: jiff::Timestamp::now(),
        });
        while requests.len() > state.keep {
            requests.pop_front();
        }
    }
    // Whoever sees the count finds the request.
    state.count.fetch_add(1, Ordering::AcqRel);
    state.request_arrived.notify_waiters();
}

async fn complete(state: &State, headers: &HeaderMap, body: &Bytes) -> io::Result<Response<Body>> {
    record(state, headers, body);
    let current = state.behaviour.load_full();
    if !is_authorized(&current, headers) {
        return Ok(unauthorized());
    }
    let request: persona::Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(why) => return Ok(error(400, "invalid_request_error", &why.to_string())),
    };
    let behaviour = current.for_question(|| request.question());
    if let Some(most) = behaviour.context_messages
        && request.messages.len() > most
    {
        let message = format!("This model's maximum context length is {most} messages");
        return Ok(error(400, "invalid_request_error", &message));
    }
    if let Some(failure) = hold_up(state, behaviour).await {
        return Ok(failure);
    }
    if behaviour.drop_after_words == Some(0) {
        return Err(io::Error::other("connection closed on purpose"));
    }
    let answer = match &behaviour.answer {
        _ if behaviour.empty => String::new(),
        Some(answer) => answer.clone(),
        None => persona::answer(&request),
    };
    if request.stream {
        return Ok(streamed(&request, &answer, behaviour));
    }
    if behaviour.drop_after_words.is_some() {
        return Err(io::Error::other("connection closed on purpose"));
    }
    let mut message = behaviour.fields.clone();
    message.insert("role".into(), "assistant".into());
    message.insert(field(behaviour).into(), answer.clone().into());
    Ok(reply(
        200,
        &json!({
            "id": "chatcmpl-sample",
            "object": "chat.completion",
            "created": jiff::Timestamp::now().as_second(),
            "model": request.model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage(&answer),
        }),
    ))
}

/// Waits as the behaviour says; `Some`: it fails.
async fn hold_up(state: &State, behaviour: &Behaviour) -> Option<Response<Body>> {
    if behaviour.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(behaviour.latency_ms)).await;
    }
    if behaviour.hang {
        return std::future::pending().await;
    }
    if let Some(failing) = &behaviour.fail
        && failing
            .times
            .is_none_or(|times| state.failed.fetch_add(1, Ordering::AcqRel) < times)
    {
        let mut response = error(failing.status, "server_error", "failing as told");
        if let Some(seconds) = failing.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        return Some(response);
    }
    None
}

async fn answer_webhook(
    state: &State,
    headers: &HeaderMap,
    body: &Bytes,
) -> io::Result<Response<Body>> {
    record(state, headers, body);
    let current = state.behaviour.load_full();
    let request = match WebhookRequest::read(body) {
        Ok(request) => request,
        Err(why) => return Ok(error(400, "invalid_request_error", &why.to_string())),
    };
    let behaviour = current.for_question(|| request.question().to_owned());
    if let Some(failure) = hold_up(state, behaviour).await {
        return Ok(failure);
    }
    if behaviour.drop_after_words.is_some() {
        return Err(io::Error::other("connection closed on purpose"));
    }
    Ok(request.reply(behaviour))
}

/// One token for the question, and one for each word of the answer.
fn usage(answer: &str) -> Value {
    let output = words(answer).len();
    json!({"prompt_tokens": 1, "completion_tokens": output, "total_tokens": output + 1})
}

/// The JSON field that carries the words of an answer.
fn field(behaviour: &Behaviour) -> &'static str {
    if behaviour.refuse {
        "refusal"
    } else {
        "content"
    }
}

/// One server-sent event; `delta` is JSON.
fn event(into: &mut String, model: &str, delta: &str, finish: &str) {
    let _ = write!(
        into,
        "data: {{\"id\":\"chatcmpl-sample\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":{model},\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    );
}

fn streamed(request: &persona::Request, answer: &str, behaviour: &Behaviour) -> Response<Body> {
    let model = json!(request.model).to_string();
    let mut events = Vec::new();
    let mut first = String::new();
    event(
        &mut first,
        &model,
        "{\"role\":\"assistant\",\"content\":\"\"}",
        "null",
    );
    events.push(first);
    for word in words(answer) {
        let mut text = String::new();
        event(
            &mut text,
            &model,
            &json!({field(behaviour): word}).to_string(),
            "null",
        );
        events.push(text);
    }
    if !behaviour.fields.is_empty() {
        let mut beside = String::new();
        let delta = json!(behaviour.fields).to_string();
        event(&mut beside, &model, &delta, "null");
        events.push(beside);
    }
    let mut last = String::new();
    event(&mut last, &model, "{}", "\"stop\"");
    if request.wants_usage() {
        let chunk =
            json!({"object": "chat.completion.chunk", "choices": [], "usage": usage(answer)});
        let _ = write!(last, "data: {chunk}\n\n");
    }
    last.push_str("data: [DONE]\n\n");
    events.push(last);
    if behaviour.word_delay_ms == 0 && behaviour.drop_after_words.is_none() {
        return full_response(200, "text/event-stream", events.concat());
    }
    let delay = Duration::from_millis(behaviour.word_delay_ms);
    let broken_after = behaviour.drop_after_words;
    let frames =
        futures::stream::iter(events.into_iter().enumerate()).then(move |(at, text)| async move {
            if at > 0 && !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            // The first event carries the role only.
            match broken_after {
                Some(words) if at > words => {
                    // Lets the words already written reach the client before the connection closes.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(io::Error::other("connection closed on purpose"))
                }
                _ => Ok(Frame::data(Bytes::from(text))),
            }
        });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let value = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}
