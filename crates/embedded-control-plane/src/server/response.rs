//! What goes back over the wire.

use std::error::Error;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::status_error::StatusError;

/// Any error, as tower services carry it.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;
/// A body: whole, or a stream of watch events.
pub(super) type ApiResponseBody = UnsyncBoxBody<Bytes, BoxError>;
/// An answer.
pub(super) type ApiResponse = Response<ApiResponseBody>;

/// A whole body.
pub(super) fn full_body(bytes: impl Into<Bytes>) -> ApiResponseBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A JSON document that is already written.
pub(super) fn json_bytes(status: StatusCode, bytes: impl Into<Bytes>) -> ApiResponse {
    with_media_type(status, "application/json", bytes)
}

/// A JSON document.
pub(super) fn json(status: StatusCode, value: &Value) -> ApiResponse {
    json_bytes(
        status,
        serde_json::to_vec(value).expect("a JSON value serializes"),
    )
}

/// A body of any media type.
pub(super) fn with_media_type(
    status: StatusCode,
    media: &str,
    bytes: impl Into<Bytes>,
) -> ApiResponse {
    let mut response = Response::new(full_body(bytes));
    *response.status_mut() = status;
    let media = header::HeaderValue::from_str(media)
        .unwrap_or(header::HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

/// A refusal.
pub(super) fn status_error(error: &StatusError) -> ApiResponse {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &error.to_status());
    if let Some(seconds) = error
        .details
        .get("retryAfterSeconds")
        .and_then(Value::as_u64)
    {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds one `Warning` header for each text (RFC 7234 §5.5, code 299).
pub(super) fn add_warnings(response: &mut ApiResponse, warnings: &[String]) {
    for warning in warnings {
        let text = format!(
            "299 - \"{}\"",
            warning.replace('\\', "\\\\").replace('"', "\\\"")
        );
        if let Ok(value) = header::HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// A header of a request as text, or "".
pub(super) fn header_text(headers: &header::HeaderMap, name: &header::HeaderName) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}
