//! What a client sends: read with a bound, and only as JSON.

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::response::BoxError;
use crate::status::StatusError;

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, StatusError>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(StatusError::too_large(limit)),
        Err(error) => Err(StatusError::bad_request(format!(
            "the body could not be read: {error}"
        ))),
    }
}

/// A JSON object; null for an empty body.
///
/// What begins with a brace is taken for JSON whatever the header says: old metadata clients send JSON under the name of Protobuf.
pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Value, StatusError> {
    let body = body.trim_ascii();
    if body.is_empty() {
        return Ok(Value::Null);
    }
    if !body.starts_with(b"{") {
        let media = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("application/json");
        let media = media.split(';').next().unwrap_or_default().trim();
        if media != "application/json" {
            return Err(StatusError::unsupported_media_type());
        }
    }
    serde_json::from_slice(body).map_err(|error| {
        StatusError::bad_request(format!(
            "the object provided is unrecognized (must be of type object): {error}"
        ))
    })
}
