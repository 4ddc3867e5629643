//! Server-sent events, as far as assistants use them: the events of a body, in pieces of bytes as they come.
//!
//! Of our own because the answer's last event must count although the stream ends without its blank line, because of what peers write that are no
//! such events (below), and because this runs for every token: one copy per event, no more. (A property test holds it to `eventsource-stream`.)
//! Lines end in LF, CR LF or CR. An event is as large as the answer may be: whoever feeds the decoder counts the bytes.

use std::collections::VecDeque;
use std::time::Duration;

use memchr::memchr2;
use tokio::time::timeout;

use super::AssistantError;
use super::http_client::ResponseBody;

/// How long a body may take to end after the answer is complete, so that its connection can be used again.
const CONNECTION_END: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// What `event:` says.
    pub(super) name: String,
    /// The data lines, joined by LF. Can be empty if there is a name.
    pub(super) data: Vec<u8>,
    pub(super) origin: EventOrigin,
}

/// What the data of an event was written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum EventOrigin {
    /// `data:` lines.
    #[default]
    Data,
    /// A field `error:`, which the standard does not know.
    ErrorField,
    /// Lines that are JSON and no fields: a body that is called server-sent events and is none, or an error that somebody wrote into the stream.
    BareJson,
}

/// Cuts bytes into events.
///
/// Beyond the standard: a data line that begins another JSON value than the one before it, and `[DONE]`, are events of their own although no
/// blank line stands between (two values in a row are JSON of nobody). Lines that are no fields continue the JSON that is open; if none is,
/// and they begin one, they are an event, too.
#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    bytes: Vec<u8>,
    /// Where the line begins in `bytes` that is read next.
    line_start: usize,
    /// Up to where `bytes` is known to hold no line end of it.
    searched: usize,
    /// What the last line ended in: a LF right behind CR belongs to it.
    last_line_end: u8,
    begun: bool,
    /// Every data line is an event of its own, blank lines or not.
    line_per_event: bool,
    has_fields: bool,
    open: OpenEvent,
    ready: VecDeque<SseEvent>,
}

/// The event in the making.
#[derive(Debug, Default)]
struct OpenEvent {
    event: SseEvent,
    has_data: bool,
    /// The first and the last byte of the data that are no white space.
    first_byte: Option<u8>,
    last_byte: u8,
    /// An `event:` behind the data: of this event, or of the next if no blank line stands between.
    late_name: Option<String>,
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
        // What was read makes room: once per piece, not once per line.
        self.bytes.drain(..self.line_start);
        self.searched -= self.line_start;
        self.line_start = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next complete event.
    pub(super) fn next_event(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if let Some(first) = self.bytes.get(self.line_start).copied() {
                let last = std::mem::take(&mut self.last_line_end);
                if last == b'\r' && first == b'\n' {
                    self.begin_line(self.line_start + 1);
                }
            }
            let Some(at) = memchr2(b'\n', b'\r', &self.bytes[self.searched..]) else {
                self.searched = self.bytes.len();
                return None;
            };
            let end = self.searched + at;
            let bytes = std::mem::take(&mut self.bytes);
            self.read_line(&bytes[self.line_start..end]);
            self.last_line_end = bytes[end];
            self.bytes = bytes;
            self.begin_line(end + 1);
        }
    }

    fn begin_line(&mut self, start: usize) {
        self.line_start = start;
        self.searched = start;
    }

    /// The stream has ended: what stands unfinished becomes the last events.
    pub(super) fn finish(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let rest = &bytes[self.line_start..];
        self.begin_line(0);
        if !rest.is_empty() {
            self.read_line(rest);
        }
        self.end_event();
    }

    /// Whether there was any field or comment: anything that is of server-sent events.
    pub(super) fn has_fields(&self) -> bool {
        self.has_fields
    }

    fn read_line(&mut self, mut line: &[u8]) {
        if !self.begun {
            self.begun = true;
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            // Within a bare value it is white space.
            if self.open.event.origin != EventOrigin::BareJson {
                self.end_event();
            }
            return;
        }
        let colon = line.iter().position(|b| *b == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if !matches!(
            field,
            b"" | b"data" | b"event" | b"error" | b"id" | b"retry"
        ) {
            return self.read_bare_line(line);
        }
        self.has_fields = true;
        if self.open.event.origin == EventOrigin::BareJson {
            self.end_event();
        }
        match field {
            b"data" => self.read_data(value),
            b"event" => self.open.set_name(value),
            b"error" if !value.trim_ascii().is_empty() => {
                self.end_event();
                self.open.set_name(b"error");
                self.open.append(value, EventOrigin::ErrorField);
                self.end_event();
            }
            _ => {}
        }
    }

    fn read_data(&mut self, value: &[u8]) {
        let is_done = value.trim_ascii() == b"[DONE]";
        if self.open.has_data && (is_done || self.open.is_followed_by(value)) {
            self.split_event();
        }
        self.open.append(value, EventOrigin::Data);
        if is_done || self.line_per_event {
            self.end_event();
        }
    }

    /// A line that is no field.
    fn read_bare_line(&mut self, line: &[u8]) {
        let begins_json = matches!(line.trim_ascii_start().first(), Some(b'{' | b'['));
        match (self.open.has_data, self.open.event.origin) {
            (true, EventOrigin::BareJson) => {
                if self.open.is_followed_by(line) {
                    self.split_event();
                }
                self.open.append(line, EventOrigin::BareJson);
            }
            (true, _) if self.open.is_continued_by(line) => {
                self.open.append(line, EventOrigin::Data);
            }
            (_, _) if begins_json => {
                self.end_event();
                self.open.append(line, EventOrigin::BareJson);
            }
            // JSON behind a field that nobody knows.
            _ if line.contains(&b'{') => {
                self.end_event();
                self.open.append(line, EventOrigin::BareJson);
                self.end_event();
            }
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        if let Some(name) = open.late_name.take() {
            open.event.name = name;
        }
        self.ready.extend(open.into_event());
    }

    /// Ends the event because the next one has begun.
    fn split_event(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        self.open.event.name = open.late_name.take().unwrap_or_default();
        self.ready.extend(open.into_event());
    }
}

impl OpenEvent {
    fn append(&mut self, line: &[u8], origin: EventOrigin) {
        if self.has_data {
            self.event.data.push(b'\n');
        }
        self.has_data = true;
        self.event.origin = origin;
        self.event.data.extend_from_slice(line);
        if let (Some(first), Some(last)) = (line.trim_ascii().first(), line.trim_ascii().last()) {
            self.first_byte.get_or_insert(*first);
            self.last_byte = *last;
        }
    }

    fn set_name(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name).into_owned();
        if self.has_data {
            self.late_name = Some(name);
        } else {
            self.event.name = name;
        }
    }

    /// Whether `line` begins a JSON value where one has ended: within one value a comma stands between.
    fn is_followed_by(&self, line: &[u8]) -> bool {
        matches!(self.last_byte, b'}' | b']')
            && matches!(line.trim_ascii_start().first(), Some(b'{' | b'['))
    }

    /// Whether the data is JSON that is not over before `line`.
    fn is_continued_by(&self, line: &[u8]) -> bool {
        let is_json = matches!(self.first_byte, Some(b'{' | b'['));
        let is_complete = matches!(self.last_byte, b'}' | b']');
        is_json
            && (!is_complete || matches!(line.trim_ascii_start().first(), Some(b'}' | b']' | b',')))
    }

    fn into_event(self) -> Option<SseEvent> {
        let is_event = !self.event.data.is_empty() || !self.event.name.is_empty();
        is_event.then_some(self.event)
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
    pub(super) fn with_decoder(body: ResponseBody, decoder: SseDecoder) -> Self {
        Self {
            body,
            decoder,
            ended: false,
        }
    }

    /// The data of the next event; `None` when the peer has ended the stream in an orderly way. What are no `data:` lines is passed over.
    pub(super) async fn next(&mut self) -> Result<Option<String>, AssistantError> {
        loop {
            while let Some(event) = self.decoder.next_event() {
                if event.origin == EventOrigin::Data && !event.data.is_empty() {
                    return Ok(Some(into_text(event.data)));
                }
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(piece) = self.body.chunk().await? {
                self.decoder.push(&piece);
            } else {
                self.ended = true;
                self.decoder.finish();
            }
        }
    }

    /// The answer is complete: reads the body to its end, as [`drain`] does.
    pub(super) async fn finish(&mut self) {
        if !self.ended {
            drain(&mut self.body).await;
        }
    }
}

/// Reads a body to its end, if that comes soon, since only then its connection goes back to the pool. Whatever comes says nothing about the
/// answer; it counts towards the limit in bytes all the same.
pub(super) async fn drain(body: &mut ResponseBody) {
    let end = async { while matches!(body.chunk().await, Ok(Some(_))) {} };
    let _ = timeout(CONNECTION_END, end).await;
}

fn into_text(data: Vec<u8>) -> String {
    String::from_utf8(data).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use eventsource_stream::Eventsource;
    use futures::StreamExt;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<SseEvent> {
        let mut decoder = SseDecoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            events.extend(std::iter::from_fn(|| decoder.next_event()));
        }
        decoder.finish();
        events.extend(std::iter::from_fn(|| decoder.next_event()));
        events
    }

    fn decode(pieces: &[&[u8]]) -> Vec<String> {
        let with_data = events(pieces).into_iter().filter(|e| !e.data.is_empty());
        with_data.map(|event| into_text(event.data)).collect()
    }

    #[test]
    fn comments_and_ids_are_passed_over() {
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
        let data: Vec<_> = events.iter().map(|e| e.data.as_slice()).collect();
        assert_eq!(data, [b"a", b"b", b"c"]);
    }

    #[rstest]
    #[case::lf("\n")]
    #[case::crlf("\r\n")]
    #[case::cr("\r")]
    fn json_values_are_events_with_one_line_end_between(#[case] end: &str) {
        let lines = ["data: {\"a\":1}", "data: {\"b\":2}", "data: [DONE]", ""];
        let expected = ["{\"a\":1}", "{\"b\":2}", "[DONE]"];
        assert_eq!(decode(&[lines.join(end).as_bytes()]), expected);
    }

    #[test]
    fn json_over_several_lines_is_one_event() {
        let text = b"data: {\"a\":[{},\ndata: {}\ndata: ]\ndata: }\n\n";
        assert_eq!(decode(&[text]), ["{\"a\":[{},\n{}\n]\n}"]);
        let text = b"data: {\n  \"a\": [\n    1\n  ]\n}\n\ndata: {}\n\n";
        assert_eq!(decode(&[text]), ["{\n  \"a\": [\n    1\n  ]\n}", "{}"]);
    }

    #[rstest]
    #[case::before("event: error\ndata: x\n\n", &[("error", "x")])]
    #[case::behind("data: x\nevent: error\n\n", &[("error", "x")])]
    #[case::of_the_next("event: a\ndata: {}\nevent: b\ndata: {}\n\n", &[("a", "{}"), ("b", "{}")])]
    #[case::without_data("event: error\n\ndata: x\n\n", &[("error", ""), ("", "x")])]
    #[case::error_field("data: {}\nerror: {\"code\":5}\ndata: x\n\n", &[("", "{}"), ("error", "{\"code\":5}"), ("", "x")])]
    fn events_have_their_names(#[case] text: &str, #[case] expected: &[(&str, &str)]) {
        let events = events(&[text.as_bytes()]);
        let read: Vec<_> = events
            .iter()
            .map(|e| (e.name.as_str(), std::str::from_utf8(&e.data).expect("text")))
            .collect();
        assert_eq!(read, expected);
    }

    #[rstest]
    #[case::whole("{\"a\":1}", &["{\"a\":1}"])]
    #[case::byte_order_mark("\u{feff}{\"a\":1}", &["{\"a\":1}"])]
    #[case::pretty(" {\n\n  \"data\": 1,\n  \"b\": [\n {\n}\n]\n}\n", &[" {\n  \"data\": 1,\n  \"b\": [\n {\n}\n]\n}"])]
    #[case::a_line_each("{\"a\":1}\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"])]
    #[case::within_events("data: x\n\n{\"a\":1}\n\ndata: y\n\n", &["x", "{\"a\":1}", "y"])]
    #[case::behind_comments(": wait\n\n: wait\n\n{\"a\":1}", &["{\"a\":1}"])]
    fn json_that_is_no_field_is_an_event(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(decode(&[text.as_bytes()]), expected);
    }

    proptest! {
        #[test]
        fn events_equal_those_of_eventsource_stream_for_any_chunking(
            text in "((data|event|id|:|datum|)(:| |: |)[a-zà ]{0,4}(\n|\r\n|\r)){0,12}\n\n",
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
