//! What an answer says beside its text, as servers spell it: sources, and what it cost. Whatever cannot be read is passed over. Pure.

use super::lenient_json::{Json, JsonKind};
use super::{Citation, TokenUsage};

/// The most sources that are read of one list.
const MAX_CITATIONS: usize = 50;
/// The longest address and the longest title, in bytes.
const MAX_URL_BYTES: usize = 2048;
const MAX_TITLE_BYTES: usize = 256;

/// A source at a web address; others lead nowhere for a reader.
pub(super) fn web_citation(url: &str, title: Option<String>) -> Option<Citation> {
    let url = url.trim();
    let scheme = url.split_once("://")?.0;
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    if !is_web || url.len() > MAX_URL_BYTES || url.contains(char::is_whitespace) {
        return None;
    }
    let title = title.map(|mut title| {
        title.truncate(title.floor_char_boundary(MAX_TITLE_BYTES));
        title
    });
    Some(Citation {
        url: url.to_owned(),
        title: title.filter(|title| !title.trim().is_empty()),
    })
}

/// The sources of a list: addresses, or objects that have one, themselves or one level below.
pub(super) fn citations(list: Json<'_>) -> Vec<Citation> {
    list.items()
        .take(MAX_CITATIONS)
        .filter_map(citation)
        .collect()
}

fn citation(source: Json<'_>) -> Option<Citation> {
    if source.kind() == JsonKind::Text {
        return web_citation(&source.string()?, None);
    }
    let wrapped = source.fields(["web", "document", "source", "metadata", "retrievedContext"]);
    [source]
        .into_iter()
        .chain(wrapped)
        .filter(|object| object.is_object())
        .find_map(|object| web_citation(&first_text(address(object))?, first_text(title(object))))
}

fn address(object: Json<'_>) -> [Json<'_>; 6] {
    object.fields(["url", "uri", "link", "href", "sourceUrl", "source"])
}

fn title(object: Json<'_>) -> [Json<'_>; 6] {
    object.fields([
        "title",
        "name",
        "fileName",
        "filename",
        "documentName",
        "label",
    ])
}

fn first_text<const N: usize>(values: [Json<'_>; N]) -> Option<String> {
    values.into_iter().find_map(Json::non_empty_string)
}

/// Token counts in the words of Gemini, `OpenAI`, Anthropic, or our own.
pub(super) fn token_usage(usage: Json<'_>) -> Option<TokenUsage> {
    if !usage.is_object() {
        return None;
    }
    let input = first_count(usage.fields([
        "promptTokenCount",
        "prompt_token_count",
        "prompt_tokens",
        "input_tokens",
        "inputTokens",
        "promptTokens",
        "input",
    ]));
    let output = first_count(usage.fields([
        "candidatesTokenCount",
        "candidates_token_count",
        "completion_tokens",
        "output_tokens",
        "outputTokens",
        "completionTokens",
        "output",
    ]));
    // Gemini counts them apart.
    let thoughts = first_count(usage.fields(["thoughtsTokenCount", "thoughts_token_count"]));
    if input.is_none() && output.is_none() {
        return None;
    }
    Some(TokenUsage {
        input: input.unwrap_or_default(),
        output: output
            .unwrap_or_default()
            .saturating_add(thoughts.unwrap_or_default()),
    })
}

fn first_count<const N: usize>(values: [Json<'_>; N]) -> Option<u64> {
    values.into_iter().find_map(Json::integer)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn with_json<T>(value: &Value, read: impl FnOnce(Json<'_>) -> T) -> T {
        let text = value.to_string();
        read(Json::split(text.as_bytes()).expect("JSON").0)
    }

    #[rstest]
    #[case::address(json!("https://x/a"), Some(("https://x/a", None)))]
    #[case::object(json!({"url": "https://x/a", "title": "A"}), Some(("https://x/a", Some("A"))))]
    #[case::gemini(json!({"web": {"uri": "https://x/a", "title": "A"}}), Some(("https://x/a", Some("A"))))]
    #[case::nested(json!({"id": 1, "document": {"link": "http://x", "name": "f.pdf"}}), Some(("http://x", Some("f.pdf"))))]
    #[case::no_web(json!({"url": "gs://x/a"}), None)]
    #[case::script(json!({"url": "javascript:alert(1)"}), None)]
    #[case::odd(json!({"url": 7}), None)]
    #[case::spaces(json!({"url": "https://x/a b"}), None)]
    fn sources_are_web_addresses(
        #[case] source: Value,
        #[case] expected: Option<(&str, Option<&str>)>,
    ) {
        let found = with_json(&json!([source]), citations);
        let found: Vec<_> = found
            .iter()
            .map(|c| (c.url.as_str(), c.title.as_deref()))
            .collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[rstest]
    #[case::gemini(json!({"promptTokenCount": 7, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 12}), Some((7, 5)))]
    #[case::openai(json!({"prompt_tokens": 7, "completion_tokens": 5}), Some((7, 5)))]
    #[case::floats(json!({"input": 7.0, "output": "5"}), Some((7, 5)))]
    #[case::odd(json!({"input": "many", "output": -1}), None)]
    #[case::words(json!("7"), None)]
    fn token_counts_are_read_in_any_spelling(
        #[case] usage: Value,
        #[case] expected: Option<(u64, u64)>,
    ) {
        let found = with_json(&usage, token_usage);
        assert_eq!(found.map(|u| (u.input, u.output)), expected);
    }
}
