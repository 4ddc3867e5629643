//! What the body of an answer is, whatever it is called: peers label JSON as server-sent events, and the other way round.

use bytes::{Bytes, BytesMut};

use super::AssistantError;
use super::http_client::ResponseBody;
use super::sse::{SseDecoder, SseStream};

/// How lines of server-sent events begin.
const SSE_FIELDS: [&[u8]; 5] = [b"data", b"event", b"id", b"retry", b":"];

/// Bytes behind leading white space that tell the kinds apart: the longest name of a field.
const TELLING_BYTES: usize = 5;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug)]
pub(super) enum AnswerBody {
    /// Server-sent events, which are still coming.
    Events(Box<SseStream>),
    /// Bytes that begin as a JSON object or array does, read to their end.
    Json(Bytes),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    Events,
    Json,
    Other,
}

impl AnswerBody {
    /// Waits for the first bytes and, if they begin JSON, for all of it. `decoder` is used for events.
    ///
    /// # Errors
    /// The body breaks, or is neither.
    pub(super) async fn read(
        mut body: ResponseBody,
        mut decoder: SseDecoder,
    ) -> Result<Self, AssistantError> {
        let mut bytes = BytesMut::new();
        let mut ended = false;
        let kind = loop {
            if let Some(kind) = kind_of(&bytes, ended) {
                break kind;
            }
            match body.chunk().await? {
                Some(piece) => bytes.extend_from_slice(&piece),
                None => ended = true,
            }
        };
        match kind {
            BodyKind::Json => {
                while let Some(piece) = body.chunk().await? {
                    bytes.extend_from_slice(&piece);
                }
                Ok(Self::Json(without_mark(&bytes).to_vec().into()))
            }
            BodyKind::Other if !body.is_event_stream() => Err(body.unexpected_content()),
            BodyKind::Events | BodyKind::Other => {
                decoder.push(&bytes);
                Ok(Self::Events(Box::new(SseStream::with_decoder(
                    body, decoder,
                ))))
            }
        }
    }
}

/// What begins with these bytes; `None` if more are needed.
fn kind_of(bytes: &[u8], ended: bool) -> Option<BodyKind> {
    let begun = without_mark(bytes).trim_ascii_start();
    if matches!(begun.first(), Some(b'{' | b'[')) {
        return Some(BodyKind::Json);
    }
    if SSE_FIELDS.iter().any(|field| begun.starts_with(field)) {
        return Some(BodyKind::Events);
    }
    (ended || begun.len() >= TELLING_BYTES).then_some(BodyKind::Other)
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::object("{\"a\"", Some(BodyKind::Json))]
    #[case::array("\n [1", Some(BodyKind::Json))]
    #[case::mark("\u{feff}{", Some(BodyKind::Json))]
    #[case::events("data: {}", Some(BodyKind::Events))]
    #[case::events_behind_a_mark("\u{feff}event: x", Some(BodyKind::Events))]
    #[case::comment(":", Some(BodyKind::Events))]
    #[case::too_short("dat", None)]
    #[case::half_a_mark("\n", None)]
    #[case::html("<html>", Some(BodyKind::Other))]
    fn a_body_is_told_by_how_it_begins(#[case] begun: &str, #[case] kind: Option<BodyKind>) {
        assert_eq!(kind_of(begun.as_bytes(), false), kind);
    }

    #[test]
    fn an_empty_body_is_neither() {
        assert_eq!(kind_of(b" ", true), Some(BodyKind::Other));
        assert_eq!(kind_of(b"\xef\xbb", false), None);
    }
}
