//! Server-sent events, as far as assistants use them: the data of each event, in pieces of bytes as they come.
//!
//! Of our own because the answer's last event must count although the stream ends without its blank line, one event must not
//! grow without bound, and this runs for every token: one copy per event, no more. (A property test holds it to
//! `eventsource-stream`.) Lines end in LF or CR LF; a lone CR, which no server in use sends, ends none.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::timeout;

use super::http_client::ResponseBody;
use super::{AssistantError, FailureKind, QuestionProgress};

/// How long a body may take to end after the answer is complete, so that its connection can be used again.
const CONNECTION_END: Duration = Duration::from_millis(50);

/// Bytes that one event may have.
const EVENT_BYTES: usize = 1 << 20;

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    bytes: BytesMut,
    /// How much of `bytes` is known to hold no line end.
    searched: usize,
    /// The data lines of the event so far, each but the first after a LF.
    data: Vec<u8>,
    has_data: bool,
    begun: bool,
    /// Every data line is an event of its own, blank lines or not.
    line_per_event: bool,
}

impl SseDecoder {
    /// A decoder for peers that write bare data lines.
    pub(super) fn line_per_event() -> Self {
        Self {
            line_per_event: true,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Whether the event in the making has outgrown its limit.
    pub(super) fn is_too_large(&self) -> bool {
        self.bytes.len() + self.data.len() > EVENT_BYTES
    }

    /// The data of the next complete event. Events without data (comments, keep-alives) are passed over.
    pub(super) fn next_event(&mut self) -> Option<String> {
        loop {
            let Some(at) = self.bytes[self.searched..].iter().position(|b| *b == b'\n') else {
                self.searched = self.bytes.len();
                return None;
            };
            let end = self.searched + at;
            let line_is_empty = self.take_line(end);
            self.bytes.advance(end + 1);
            self.searched = 0;
            if (line_is_empty || self.line_per_event)
                && let Some(event) = self.take_event()
            {
                return Some(event);
            }
        }
    }

    /// The event that stood unfinished when the stream ended.
    pub(super) fn last_event(&mut self) -> Option<String> {
        let end = self.bytes.len();
        if end > 0 {
            self.take_line(end);
            self.bytes.clear();
            self.searched = 0;
        }
        self.take_event()
    }

    /// Reads the line in front of `end`; says whether it is empty.
    fn take_line(&mut self, end: usize) -> bool {
        let mut line = &self.bytes[..end];
        if !self.begun {
            self.begun = true;
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(rest) = line.strip_prefix(b"data") {
            let value = match rest.strip_prefix(b":") {
                Some(value) => value.strip_prefix(b" ").unwrap_or(value),
                None if rest.is_empty() => rest,
                // Another field whose name begins with "data".
                None => return false,
            };
            if self.has_data {
                self.data.push(b'\n');
            }
            self.has_data = true;
            self.data.extend_from_slice(value);
        }
        line.is_empty()
    }

    fn take_event(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        let data = std::mem::take(&mut self.data);
        let text = String::from_utf8(data)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        (!text.is_empty()).then_some(text)
    }
}

/// The events of an answer's body.
#[derive(Debug)]
pub(super) struct SseStream {
    body: ResponseBody,
    decoder: SseDecoder,
    ended: bool,
}

impl SseStream {
    pub(super) fn new(body: ResponseBody) -> Self {
        Self::with_decoder(body, SseDecoder::default())
    }

    pub(super) fn with_decoder(body: ResponseBody, decoder: SseDecoder) -> Self {
        Self {
            body,
            decoder,
            ended: false,
        }
    }

    /// The data of the next event; `None` when the peer has ended the stream in an orderly way.
    pub(super) async fn next(&mut self) -> Result<Option<String>, AssistantError> {
        loop {
            if let Some(event) = self.decoder.next_event() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            if self.decoder.is_too_large() {
                return Err(AssistantError::new(
                    FailureKind::TooLarge,
                    "the assistant sent an event that is too large",
                )
                .at_progress(QuestionProgress::Uncertain));
            }
            if let Some(piece) = self.body.chunk().await? {
                self.decoder.push(&piece);
            } else {
                self.ended = true;
                return Ok(self.decoder.last_event());
            }
        }
    }

    /// The answer is complete: reads the body to its end, if that comes soon, since only then its connection goes back to the
    /// pool. Whatever comes says nothing about the answer.
    pub(super) async fn finish(&mut self) {
        let end = async { while !self.ended && matches!(self.next().await, Ok(Some(_))) {} };
        let _ = timeout(CONNECTION_END, end).await;
    }
}

#[cfg(test)]
mod tests {
    use eventsource_stream::Eventsource;
    use futures::StreamExt;
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<String> {
        let mut decoder = SseDecoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            events.extend(std::iter::from_fn(|| decoder.next_event()));
        }
        events.extend(decoder.last_event());
        events
    }

    #[test]
    fn comments_names_and_ids_are_passed_over() {
        let text = b"\xef\xbb\xbf: ping\n\nid: 1\nevent: message\ndata: {\"a\":1}\n\ndatabase: x\ndata:b\r\ndata:  c\r\n\r\n";
        assert_eq!(decode(&[text]), ["{\"a\":1}", "b\n c"]);
    }

    #[test]
    fn the_last_event_counts_without_its_blank_line() {
        assert_eq!(decode(&[b"data: a\n\ndata: b"]), ["a", "b"]);
    }

    #[test]
    fn bare_lines_are_events_of_their_own() {
        let mut decoder = SseDecoder::line_per_event();
        decoder.push(b"data: a\ndata: b\n\ndata: c\n\n");
        let events: Vec<_> = std::iter::from_fn(|| decoder.next_event()).collect();
        assert_eq!(events, ["a", "b", "c"]);
    }

    proptest! {
        #[test]
        fn events_equal_those_of_eventsource_stream_for_any_chunking(
            text in "((data|event|id|:|datum|)(:| |: |)[a-zà ]{0,4}(\n|\r\n)){0,12}\n\n",
            cuts in proptest::collection::vec(0usize..64, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut pieces = Vec::new();
            let mut rest = bytes;
            for cut in cuts {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            pieces.push(rest);
            let source = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]).eventsource();
            let expected: Vec<String> = futures::executor::block_on(source.map(|e| e.expect("valid").data).collect());
            let expected: Vec<String> = expected.into_iter().filter(|data| !data.is_empty()).collect();
            prop_assert_eq!(decode(&pieces), expected);
        }
    }
}
