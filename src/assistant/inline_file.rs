//! A file of an answer as Markdown with a data URI: in its place among the text, for the pipeline to take out, send or name.

use super::lenient_json::Json;

/// The longest name of a file, in characters.
const MAX_NAME: usize = 80;
/// The longest media type, in bytes.
const MAX_MEDIA_TYPE: usize = 100;

/// A paragraph with a file, whose bytes are Base64. What is no Base64 is a file that cannot be decoded.
pub(super) fn inline_file(name: &str, media_type: &str, base64: &str) -> String {
    let name: String = name
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '[' | ']' | '\\'))
        .take(MAX_NAME)
        .collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.+-_".contains(c);
    let is_type = media_type.len() <= MAX_MEDIA_TYPE
        && media_type.contains('/')
        && media_type.chars().all(is_plain);
    let media_type = if is_type {
        media_type
    } else {
        "application/octet-stream"
    };
    let digits: String = base64.split_ascii_whitespace().collect();
    let is_digit = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
    let digits = if digits.chars().all(is_digit) {
        digits.as_str()
    } else {
        ""
    };
    let mark = if media_type.starts_with("image/") {
        "!"
    } else {
        ""
    };
    format!("\n\n{mark}[{name}](data:{media_type};base64,{digits})\n\n")
}

/// A paragraph with a link to a file; `None` if its address is none that people can open.
pub(super) fn linked_file(name: &str, url: &str) -> Option<String> {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let breaks =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '(' | ')' | '<' | '>');
    if !is_web || url.contains(breaks) {
        return None;
    }
    let shown: String = name
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '[' | ']' | '\\'))
        .take(MAX_NAME)
        .collect();
    let shown = if shown.trim().is_empty() { url } else { &shown };
    Some(format!("\n\n[{shown}]({url})\n\n"))
}

/// One of the `files` of an answer: `{name, mimeType, data}` or `{name, url}`. `None`: it has neither bytes nor an address.
pub(super) fn read_file(file: Json<'_>) -> Option<String> {
    let [name, media_type, data, url] = file.fields(["name", "mimeType", "data", "url"]);
    let name = name.string().unwrap_or_default();
    if let Some(data) = data.string() {
        let media_type = media_type.string().unwrap_or_default();
        return Some(inline_file(&name, &media_type, &data));
    }
    linked_file(&name, &url.string()?)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::picture(
        "cat.png",
        "image/png",
        "AQ ID\n",
        "![cat.png](data:image/png;base64,AQID)"
    )]
    #[case::document(
        "a](b)\n.pdf",
        "application/pdf",
        "AQID",
        "[a(b).pdf](data:application/pdf;base64,AQID)"
    )]
    #[case::odd_type("a", "x,y", "AQID", "[a](data:application/octet-stream;base64,AQID)")]
    #[case::no_base64("a", "text/plain", "AQ) hi", "[a](data:text/plain;base64,)")]
    fn file_is_markdown_that_it_cannot_leave(
        #[case] name: &str,
        #[case] media_type: &str,
        #[case] data: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(inline_file(name, media_type, data).trim(), expected);
    }

    #[rstest]
    #[case::named("a [b]", "https://x/a.pdf", Some("[a b](https://x/a.pdf)"))]
    #[case::unnamed("", "https://x/a.pdf", Some("[https://x/a.pdf](https://x/a.pdf)"))]
    #[case::script("a", "javascript:alert(1)", None)]
    #[case::odd("a", "https://x/) [b](https://y", None)]
    fn address_is_a_link(#[case] name: &str, #[case] url: &str, #[case] expected: Option<&str>) {
        let link = linked_file(name, url);
        assert_eq!(link.as_deref().map(str::trim), expected);
    }
}
