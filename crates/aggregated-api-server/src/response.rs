//! What goes back over the wire.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::status::StatusError;

/// Any error of a body.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of an answer: whole, or a stream of pages or of watch events.
pub type ApiBody = UnsyncBoxBody<Bytes, BoxError>;

/// An answer.
pub(crate) type ApiResponse = Response<ApiBody>;

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> ApiBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An answer of this media type.
pub(crate) fn with_body(status: StatusCode, media: &'static str, body: ApiBody) -> ApiResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// A JSON document.
pub(crate) fn json(status: StatusCode, value: &Value) -> ApiResponse {
    with_body(status, "application/json", whole(value.to_string()))
}

/// A refusal.
pub(crate) fn refusal(error: &StatusError) -> ApiResponse {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &error.to_value());
    if let Some(seconds) = error.retry_after_seconds() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds one `Warning` header for each text (RFC 7234 §5.5, code 299).
pub(crate) fn add_warnings(response: &mut ApiResponse, warnings: &[String]) {
    for warning in warnings {
        let text = format!(
            "299 - \"{}\"",
            warning.replace('\\', "\\\\").replace('"', "\\\"")
        );
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
