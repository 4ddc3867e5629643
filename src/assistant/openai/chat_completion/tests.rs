use proptest::prelude::*;

use super::super::body_reader::BodyReader;
use super::*;
use crate::assistant::{
    AnswerPart, Citation, FileContent, OfferedFile, QuestionProgress, TokenUsage,
};
use cases::{End, add_file, delta, deltas, ended, half, raw, reason, sse, text, texts, whole};

#[path = "../../../../tests/assistants/openai_cases.rs"]
#[macro_use]
mod cases;

/// What came of a body.
#[derive(Debug, Default)]
struct Answer {
    text: String,
    /// What was emitted, each part.
    parts: Vec<AnswerPart>,
    error: Option<AssistantError>,
    truncation: Option<Truncation>,
}

impl Answer {
    fn end(&self) -> End {
        match (&self.error, self.truncation) {
            (Some(error), _) if self.text.is_empty() => End::Failed(error.is_retryable()),
            (Some(_), _) => End::Broken,
            (None, Some(Truncation::Length)) => End::Length,
            (None, Some(Truncation::Filter)) => End::Filter,
            (None, None) => End::Complete,
        }
    }

    fn take(&mut self, reader: &mut BodyReader) {
        while let Some(part) = reader.next_part() {
            match part {
                Err(error) => self.error = Some(error),
                Ok(part) => {
                    match &part {
                        AnswerPart::Text(text) => self.text.push_str(text),
                        AnswerPart::Rewrite(text) => self.text.clone_from(text),
                        AnswerPart::File(file) => show_file(&mut self.text, file),
                        AnswerPart::Truncated(truncation) => self.truncation = Some(*truncation),
                        _ => {}
                    }
                    self.parts.push(part);
                }
            }
        }
    }
}

/// Adds what stands for a file.
fn show_file(text: &mut String, file: &OfferedFile) {
    let word = if file.is_picture { "picture" } else { "file" };
    let link = match &file.content {
        FileContent::Link(link) => Some(link.as_str()),
        _ => None,
    };
    add_file(text, word, &file.name, link);
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Answer {
    let foreign = AssistantError::misconfigured("no answer of this protocol");
    let mut reader = BodyReader::new(
        Box::new(ChatCompletion::default()),
        foreign.clone(),
        foreign,
    );
    let mut answer = Answer::default();
    for piece in pieces {
        reader.push(piece);
        answer.take(&mut reader);
    }
    reader.finish();
    answer.take(&mut reader);
    assert!(reader.is_closed() && reader.next_part().is_none());
    answer
}

/// Whole, byte by byte, and in pieces of seven.
fn check(body: Vec<u8>, text: &str, end: End) {
    for size in [body.len(), 7, 1] {
        if body.len() > 100_000 && size < body.len() {
            continue;
        }
        let answer = read(body.chunks(size.max(1)));
        assert_eq!(
            (answer.text.trim_end(), answer.end()),
            (text, end),
            "pieces of {size}: {answer:?}"
        );
        if let Some(error) = answer.error {
            let begun = error.progress == QuestionProgress::Begun;
            assert_eq!(begun, !text.is_empty(), "{error:?}");
        }
    }
}

openai_cases!(check);

#[test]
fn a_piece_of_text_is_read_with_few_allocations() {
    let foreign = AssistantError::misconfigured("no answer of this protocol");
    let mut reader = BodyReader::new(
        Box::new(ChatCompletion::default()),
        foreign.clone(),
        foreign,
    );
    let body = sse(&[
        r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a word "},"logprobs":null,"finish_reason":null}]}"#,
    ]);
    let mut read_pieces = |pieces: u64| {
        let allocated = allocation_counter::measure(|| {
            for _ in 0..pieces {
                reader.push(&body);
            }
        });
        assert_eq!(reader.next_part().into_iter().count(), 1);
        allocated.count_total
    };
    read_pieces(10);
    // The brackets that are open, the data of the event, the list of what is visible; and the text that grows.
    let allocations = read_pieces(100);
    assert!(allocations <= 3 * 100 + 20, "{allocations}");
}

#[test]
fn error_behind_a_tool_call_is_not_asked_again() {
    let call = delta(r#"{"tool_calls":[{"index":0,"function":{"name":"book"}}]}"#);
    let answer = read([sse(&[&call, r#"{"error":{"code":503,"message":"x"}}"#]).as_slice()]);
    let error = answer.error.expect("an error");
    assert_eq!(error.progress, QuestionProgress::Begun);
}

#[test]
fn usage_is_read_wherever_servers_write_it() {
    let usage = |chunk: &str| {
        let parts = read([ended(&[&text("Hi"), chunk]).as_slice()]).parts;
        parts.into_iter().find_map(|part| match part {
            AnswerPart::Usage(usage) => Some((usage.input, usage.output)),
            _ => None,
        })
    };
    let counts = r#"{"prompt_tokens":7,"completion_tokens":"2","total_tokens":9}"#;
    assert_eq!(
        usage(&format!(r#"{{"choices":[],"usage":{counts}}}"#)),
        Some((7, 2))
    );
    assert_eq!(
        usage(&format!(
            r#"{{"choices":[{{"delta":{{}},"usage":{counts}}}]}}"#
        )),
        Some((7, 2))
    );
    assert_eq!(
        usage(&format!(
            r#"{{"choices":[],"x_groq":{{"usage":{counts}}}}}"#
        )),
        Some((7, 2))
    );
    assert_eq!(usage(r#"{"choices":[],"usage":null}"#), None);
}

#[test]
fn usage_counts_on_within_the_answer() {
    let chunk = |n: u64| {
        format!(
            r#"{{"choices":[{{"delta":{{"content":"a"}}}}],"usage":{{"prompt_tokens":5,"completion_tokens":{n}}}}}"#
        )
    };
    let parts = read([ended(&[&chunk(1), &chunk(2), &chunk(2)]).as_slice()]).parts;
    let usages: Vec<_> = parts
        .iter()
        .filter(|p| matches!(p, AnswerPart::Usage(_)))
        .collect();
    let usage = |output| AnswerPart::Usage(TokenUsage { input: 5, output });
    assert_eq!(usages, [&usage(1), &usage(2)]);
}

#[test]
fn sources_are_read_wherever_servers_write_them() {
    let sources = |chunk: &str| {
        let parts = read([ended(&[&text("Hi"), chunk, chunk]).as_slice()]).parts;
        let citations = parts.into_iter().filter_map(|part| match part {
            AnswerPart::Citation(Citation { url, title }) => Some((url, title)),
            _ => None,
        });
        citations.collect::<Vec<_>>()
    };
    let (a, b) = ("https://a.example/", "https://b.example/");
    let perplexity = format!(
        r#"{{"choices":[],"citations":["{a}","{b}"],"search_results":[{{"title":"B","url":"{b}"}},{{"title":"A","url":"{a}"}}]}}"#
    );
    let expected = vec![
        (a.to_owned(), Some("A".to_owned())),
        (b.to_owned(), Some("B".to_owned())),
    ];
    assert_eq!(sources(&perplexity), expected);
    let annotation = format!(
        r#"{{"annotations":[{{"type":"url_citation","url_citation":{{"url":"{a}","title":"A"}}}},{{"type":"url_citation","url":"{b}","title":"B"}},{{"type":"file_citation"}}]}}"#
    );
    assert_eq!(sources(&delta(&annotation)), expected);
    // The text refers to them by their number: each keeps its place.
    let odd = format!(r#"{{"choices":[],"citations":["{a}",7,null,"{a}","{b}"]}}"#);
    let urls: Vec<String> = sources(&odd).into_iter().map(|(url, _)| url).collect();
    assert_eq!(urls, [a, "", "", a, b]);
}

#[test]
fn final_words_are_kept_if_the_connection_breaks_after_the_end() {
    let foreign = AssistantError::misconfigured("x");
    let mut reader = BodyReader::new(
        Box::new(ChatCompletion::default()),
        foreign.clone(),
        foreign,
    );
    reader.push(&sse(&[&text("Hi"), &reason("\"stop\"")]));
    reader.fail(AssistantError::unreachable("gone"));
    let mut answer = Answer::default();
    answer.take(&mut reader);
    assert_eq!((answer.text.as_str(), answer.end()), ("Hi", End::Complete));
}

/// A field that nobody needs, malformed in some way.
fn odd_field() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned()),
        Just("1e999".to_owned()),
        Just("null".to_owned()),
        Just(r#""\ud83d""#.to_owned()),
        Just(r#""\ude00 \" }] data: ""#.to_owned()),
        Just(r#"{"a":[{"choices":"x"},[]]}"#.to_owned()),
        (1usize..300).prop_map(|n| "[".repeat(n) + &"]".repeat(n)),
        Just("-12345678901234567890".to_owned()),
    ];
    let name = prop::sample::select(
        &[
            "logprobs",
            "id",
            "model",
            "created",
            "x",
            "usage",
            "system_fingerprint",
        ][..],
    );
    (name, value).prop_map(|(name, value)| format!("\"{name}\":{value},"))
}

/// A text, cut at any characters, each piece escaped in one of the ways that JSON has.
fn pieces() -> impl Strategy<Value = Vec<(String, bool)>> {
    prop::collection::vec(("[a-zA-Z0-9 .,è€😀\"\\\\\n]{0,6}", any::<bool>()), 1..12)
}

/// A string as JSON, in ASCII if `is_ascii`.
fn json_string(text: &str, is_ascii: bool) -> String {
    if !is_ascii {
        return serde_json::Value::from(text).to_string();
    }
    let units: Vec<String> = text
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    format!("\"{}\"", units.concat())
}

/// The stream of an answer: each piece a chunk, with odd fields, this line end, and an end.
fn stream(pieces: &[(String, bool)], odd: &[String], line_end: &str, is_done: bool) -> Vec<u8> {
    let mut events = Vec::new();
    for (at, (piece, is_ascii)) in pieces.iter().enumerate() {
        let odd = odd.get(at % odd.len().max(1)).map_or("", String::as_str);
        let content = json_string(piece, *is_ascii);
        events.push(format!(
            r#"{{{odd}"choices":[{{{odd}"delta":{{{odd}"content":{content}}},"finish_reason":null}}]}}"#
        ));
    }
    events.push(reason("\"stop\""));
    events.extend(is_done.then(|| "[DONE]".to_owned()));
    let lines = events
        .iter()
        .map(|event| ["data: ", event, line_end].concat());
    lines.collect::<String>().into_bytes()
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["\n\n", "\r\n\r\n", "\r\r", "\n", "\r\n", "\r", "\r\n\n"][..])
}

proptest! {
    #[test]
    fn any_text_cut_anywhere_comes_out_whole(
        pieces in pieces(), odd in prop::collection::vec(odd_field(), 0..4), line_end in line_end(), is_done: bool, size in 1usize..40,
    ) {
        let text: String = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
        let body = stream(&pieces, &odd, line_end, is_done);
        let answer = read(body.chunks(size));
        prop_assert_eq!((answer.text.as_str(), answer.error.is_none()), (text.as_str(), true), "{:?}", answer.error);
    }

    #[test]
    fn a_stream_that_is_cut_off_is_never_whole_and_shorter(
        pieces in pieces(), odd in prop::collection::vec(odd_field(), 0..4), line_end in line_end(), is_done: bool, cut in any::<prop::sample::Index>(),
    ) {
        let text: String = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
        let body = stream(&pieces, &odd, line_end, is_done);
        let answer = read([&body[..cut.index(body.len())]]);
        if answer.error.is_none() {
            prop_assert_eq!(answer.text, text);
        } else {
            prop_assert!(text.starts_with(&answer.text), "{:?}", answer);
        }
    }

    #[test]
    fn a_byte_that_is_another_costs_no_text_in_silence(
        pieces in pieces(), at in any::<prop::sample::Index>(), byte in prop::sample::select(&b"{}[]\",:x "[..]),
    ) {
        // Outside of the texts, of which any byte may be another.
        let marked: Vec<(String, bool)> = pieces.iter().map(|(piece, _)| (format!("<{}>", piece.len()), false)).collect();
        let text: String = marked.iter().map(|(piece, _)| piece.as_str()).collect();
        let mut body = stream(&marked, &[], "\n\n", true);
        let at = at.index(body.len());
        body[at] = byte;
        let answer = read([body.as_slice()]);
        let is_shorter = answer.text.len() < text.len();
        let names_of_fields = ["choices", "delta", "content", "data"];
        // A field whose name is another is another field: no reader can know what it was.
        let is_renamed = names_of_fields.iter().any(|name| {
            let count = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches(name).count();
            count(&body) < count(&stream(&marked, &[], "\n\n", true))
        });
        // A line that begins with a colon is a comment.
        let is_comment = byte == b':' && at > 0 && body[at - 1] == b'\n';
        prop_assert!(!is_shorter || is_renamed || is_comment || answer.error.is_some(), "{}: {:?}", String::from_utf8_lossy(&body), answer);
    }
}
