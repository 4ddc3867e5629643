//! The HTTP server: `/bot<token>/<method>`, `/file/bot<token>/<path>` and `/control/…` on one port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::faults::{CallTarget, FaultKind};
use super::method_result::{MethodError, encode};
use super::params::Params;
use super::stats::ApiCall;
use super::telegram_state::{Bot, TelegramState};
use super::{control, methods, outgoing, parameters};

/// Limit of a request in bytes: an upload of 50 MB and its multipart framing.
const MAX_BODY: usize = 52 << 20;
/// The same for a self-hosted server in local mode, whose limit is 2,000 MB.
const MAX_LOCAL_BODY: usize = 2_002 << 20;

type Body = Full<Bytes>;

/// Closes the connection instead of responding.
#[derive(Debug, thiserror::Error)]
#[error("connection closed on purpose")]
struct Reset;

/// Accepts connections until `stop` is cancelled.
pub(super) async fn accept(
    listener: TcpListener,
    telegram: Arc<TelegramState>,
    stop: CancellationToken,
) {
    let control = control::router(telegram.clone());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, or the client disconnected before the accept.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let serving = serve_connection(stream, peer, telegram.clone(), control.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = serving => {}
            }
        });
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    telegram: Arc<TelegramState>,
    control: axum::Router,
) -> Result<(), io::Error> {
    stream.set_nodelay(true)?;
    let service = service_fn(move |request| {
        let telegram = telegram.clone();
        let control = control.clone();
        async move { route(telegram, control, request, peer).await }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A client that disconnects is not an error.
    drop(served);
    Ok(())
}

async fn route(
    telegram: Arc<TelegramState>,
    control: axum::Router,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<Body>, Reset> {
    let path = request.uri().path();
    if path.starts_with("/bot") {
        return bot_call(telegram, request, peer).await;
    }
    if let Some(file) = path.strip_prefix("/file/bot") {
        return Ok(download(&telegram, file));
    }
    if path.starts_with("/control") {
        let Ok(response) = control.oneshot(request.map(axum::body::Body::new)).await;
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX)
            .await
            .unwrap_or_default();
        return Ok(Response::from_parts(head, Full::new(body)));
    }
    Ok(reply(Err(MethodError::new(404, "Not Found"))))
}

fn reply(answer: super::method_result::MethodResult) -> Response<Body> {
    let (code, body, retry_after) = encode(answer);
    respond(code, "application/json", body.into(), retry_after)
}

fn respond(
    code: u16,
    content_type: &'static str,
    body: Bytes,
    retry_after: Option<u64>,
) -> Response<Body> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn download(telegram: &TelegramState, file: &str) -> Response<Body> {
    let Some((token, path)) = file.split_once('/') else {
        return reply(Err(MethodError::new(404, "Not Found")));
    };
    if let Err(failure) = telegram.authorize(&decoded(token)) {
        return reply(Err(failure));
    }
    match telegram.files.download(path) {
        Some(bytes) => respond(200, "application/octet-stream", bytes, None),
        None => reply(Err(MethodError::new(404, "Not Found"))),
    }
}

/// Decodes the token: clients may percent-encode its colon.
fn decoded(token: &str) -> String {
    token.replace("%3A", ":").replace("%3a", ":")
}

/// Reads a request's body; `None` beyond the limit. The rest is read as well, so that the client gets to see the answer.
async fn read_body(mut body: Incoming, limit: usize) -> Option<Bytes> {
    let mut read = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Some(data) = frame.ok()?.into_data().ok() else {
            continue;
        };
        length += data.len();
        if length <= limit {
            read.extend_from_slice(&data);
        }
    }
    (length <= limit).then(|| read.into())
}

async fn bot_call(
    telegram: Arc<TelegramState>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<Body>, Reset> {
    let (head, body) = request.into_parts();
    let limit = if telegram.options.load().local_mode {
        MAX_LOCAL_BODY
    } else {
        MAX_BODY
    };
    let Some(body) = read_body(body, limit).await else {
        return Ok(reply(Err(MethodError::too_large())));
    };
    let path = head.uri.path().strip_prefix("/bot").unwrap_or_default();
    let Some((token, method)) = path.split_once('/') else {
        return Ok(reply(Err(MethodError::new(404, "Not Found"))));
    };
    let bot = match telegram.authorize(&decoded(token)) {
        Ok(bot) => bot,
        Err(failure) => return Ok(reply(Err(failure))),
    };
    let content_type = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let params = match Params::read(head.uri.query(), content_type, &body) {
        Ok(params) => params,
        Err(failure) => return Ok(reply(Err(failure))),
    };
    let method = if method.is_empty() {
        params.get("method").to_ascii_lowercase()
    } else {
        method.to_ascii_lowercase()
    };
    let chat = params.get("chat_id").parse().ok();
    let keep = telegram.options.load().keep_calls;
    let call = (keep > 0 && method != "getupdates").then(|| ApiCall {
        method: method.clone(),
        params: params.to_json(),
        unknown_params: parameters::unknown(&method, params.names()),
        status: 0,
        at: jiff::Timestamp::now(),
        peer: peer.to_string(),
    });
    bot.state.lock().stats.count_method(&method);
    let outcome = answered(&telegram, &bot, &method, chat, &params).await;
    if let Some(mut call) = call {
        call.status = outcome
            .as_ref()
            .map_or(0, |response| response.status().as_u16());
        bot.state.lock().stats.record(call, keep);
    }
    outcome
}

/// The response to a call, or the fault that replaces it.
async fn answered(
    telegram: &Arc<TelegramState>,
    bot: &Arc<Bot>,
    method: &str,
    chat: Option<i64>,
    params: &Params,
) -> Result<Response<Body>, Reset> {
    let target = CallTarget {
        bot: bot.id,
        chat,
        method,
    };
    let mut fault = None;
    if telegram.faults.any() {
        fault = telegram.faults.draw_fault(target);
    }
    if telegram.faults.is_before_retry_after(bot.id, chat) {
        bot.state.lock().stats.counters.impatient += 1;
    }
    match &fault {
        Some(FaultKind::TooManyRequests { retry_after }) => {
            return Ok(throttled(telegram, bot, chat, *retry_after));
        }
        Some(FaultKind::Status { code, description }) => {
            return Ok(reply(Err(MethodError::new(*code, description.clone()))));
        }
        Some(FaultKind::Html { code }) => {
            let page = "<html><head><title>Bad Gateway</title></head><body>nginx</body></html>";
            return Ok(respond(
                *code,
                "text/html",
                Bytes::from_static(page.as_bytes()),
                None,
            ));
        }
        Some(FaultKind::Hang) => return std::future::pending().await,
        Some(FaultKind::Reset) => return Err(Reset),
        Some(FaultKind::Delay { ms }) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        _ => {}
    }
    let answer = methods::call(telegram, bot, method, params).await;
    if let Err(MethodError {
        after: Some(pause), ..
    }) = &answer
    {
        tokio::time::sleep(*pause).await;
    }
    if let (Some(FaultKind::DropAfter | FaultKind::HangAfter), Ok(success)) = (&fault, &answer) {
        outgoing::mark_unanswered(bot, &success.result);
    }
    match fault {
        Some(FaultKind::DropAfter) => Err(Reset),
        Some(FaultKind::HangAfter) => std::future::pending().await,
        _ => match answer {
            Err(MethodError {
                retry_after: Some(seconds),
                ..
            }) => Ok(throttled(telegram, bot, chat, seconds)),
            answer => Ok(reply(answer)),
        },
    }
}

fn throttled(
    telegram: &TelegramState,
    bot: &Bot,
    chat: Option<i64>,
    seconds: u64,
) -> Response<Body> {
    telegram.faults.record_retry_after(bot.id, chat, seconds);
    bot.state.lock().stats.counters.throttled += 1;
    reply(Err(MethodError::too_many_requests(seconds)))
}
