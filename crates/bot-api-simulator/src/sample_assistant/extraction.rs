//! `PUT /tika` as a server of Apache Tika 2 and 3 does it: the words of the body's first text after its signature; 415 for what is no document, and
//! 422 for one that is encrypted or broken. A bomb's words never end.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde::Serialize;

use super::response::{Body, full_response};

/// A recorded extraction request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct RecordedExtraction {
    /// `Content-Type`.
    pub media_type: String,
    /// The document.
    #[serde(skip)]
    pub bytes: Bytes,
    /// The value of `Authorization`, if given; test keys are no secrets.
    pub authorization: Option<String>,
}

impl RecordedExtraction {
    pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Self {
        let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            media_type: text(header::CONTENT_TYPE).unwrap_or_default(),
            bytes: body.clone(),
            authorization: text(header::AUTHORIZATION),
        }
    }
}

/// With what documents begin, as far as this double knows any.
const SIGNATURES: [&[u8]; 3] = [b"%PDF-1.7\n", b"PK\x03\x04", b"{\\rtf1 "];
/// A document with this in it never stops saying it.
const BOMB: &str = "bomb";
/// Pieces of a bomb: 64 MiB.
const BOMB_PIECES: usize = 64;

/// The answer to a request that asks for text.
pub(super) fn extract(headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    let accepts = headers.get(header::ACCEPT).map(http::HeaderValue::as_bytes);
    if accepts != Some(b"text/plain") {
        return empty(StatusCode::NOT_ACCEPTABLE);
    }
    let words = SIGNATURES.iter().find_map(|s| body.strip_prefix(*s));
    let Some(words) = words else {
        return empty(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    };
    match std::str::from_utf8(words) {
        Ok(words) if !words.contains("/Encrypt") => {
            if words.starts_with(BOMB) {
                return endless();
            }
            // Tika ends every page with empty lines.
            full_response(200, CONTENT_TYPE, format!("\n\n{words}\n\n\n"))
        }
        _ => empty(StatusCode::UNPROCESSABLE_ENTITY),
    }
}

const CONTENT_TYPE: &str = "text/plain;charset=UTF-8";

fn empty(status: StatusCode) -> Response<Body> {
    full_response(status.as_u16(), CONTENT_TYPE, "")
}

fn endless() -> Response<Body> {
    let piece = Bytes::from(format!("{BOMB} ").repeat(1 << 18));
    let pieces =
        futures::stream::iter(std::iter::repeat_n(piece, BOMB_PIECES)).then(|piece| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, io::Error>(Frame::data(piece))
        });
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    let value = http::HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}
