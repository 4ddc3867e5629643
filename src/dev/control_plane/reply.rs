//! What goes back over the wire.

use std::error::Error;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::failure::Failure;

/// Any error, as tower services carry it.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;
/// A body: whole, or a stream of watch events.
pub(super) type ReplyBody = UnsyncBoxBody<Bytes, BoxError>;
/// An answer.
pub(super) type Reply = Response<ReplyBody>;

/// A whole body.
pub(super) fn full(bytes: impl Into<Bytes>) -> ReplyBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A JSON document that is already written.
pub(super) fn written(status: StatusCode, bytes: impl Into<Bytes>) -> Reply {
    typed(status, "application/json", bytes)
}

/// A JSON document.
pub(super) fn json(status: StatusCode, value: &Value) -> Reply {
    written(
        status,
        serde_json::to_vec(value).expect("a JSON value serializes"),
    )
}

/// A body of any media type.
pub(super) fn typed(status: StatusCode, media: &str, bytes: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(full(bytes));
    *reply.status_mut() = status;
    let media = header::HeaderValue::from_str(media)
        .unwrap_or(header::HeaderValue::from_static("application/json"));
    reply.headers_mut().insert(header::CONTENT_TYPE, media);
    reply
}

/// A refusal.
pub(super) fn failure(failure: &Failure) -> Reply {
    let status = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = json(status, &failure.status());
    if let Some(seconds) = failure
        .details
        .get("retryAfterSeconds")
        .and_then(Value::as_u64)
    {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    reply
}

/// Adds one `Warning` header for each text (RFC 7234 §5.5, code 299).
pub(super) fn warn(reply: &mut Reply, warnings: &[String]) {
    for warning in warnings {
        let text = format!(
            "299 - \"{}\"",
            warning.replace('\\', "\\\\").replace('"', "\\\"")
        );
        if let Ok(value) = header::HeaderValue::from_str(&text) {
            reply.headers_mut().append(header::WARNING, value);
        }
    }
}
