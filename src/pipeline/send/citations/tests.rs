//! Tables of sources and of the lists that they become.

use rstest::rstest;

use super::*;
use crate::texts::texts_for;

/// `url`, or `url title`.
fn list(named: &[&str]) -> CitationList {
    let mut list = CitationList::default();
    for source in named {
        let (url, title) = match source.split_once(' ') {
            Some((url, title)) => (url, Some(title.to_owned())),
            None => (*source, None),
        };
        list.push(Citation {
            url: url.to_owned(),
            title,
        });
    }
    list
}

fn part(text: &str) -> ReplyPart {
    ReplyPart::text(None, text.to_owned(), Some(7))
}

fn html(part: &ReplyPart) -> Option<&str> {
    match &part.content {
        PartContent::Text { html, .. } => html.as_deref(),
        PartContent::File(_) | PartContent::Rich(_) => None,
    }
}

/// The last of the messages that an answer of these messages becomes, at most 40.
fn appended(answer: &[&str], citations: &CitationList) -> Vec<ReplyPart> {
    let mut parts: Vec<_> = answer.iter().map(|text| part(text)).collect();
    let text = answer.concat();
    append_sources(&mut parts, &text, citations, texts_for(None), 40);
    parts
}

/// The lines of the list, as plain text.
fn lines(answer: &str, named: &[&str]) -> Vec<String> {
    let Some(list) = source_list(answer, &list(named), texts_for(None)) else {
        return Vec::new();
    };
    list.plain.lines().skip(1).map(ToOwned::to_owned).collect()
}

#[test]
fn sources_stand_below_the_answer_as_links() {
    let citations = list(&[
        "https://a.org/x?a=1&b=\"2\" A <b>*title*</b> & [more](x)",
        "http://b.org",
    ]);
    let parts = appended(&["1 < 2"], &citations);
    assert_eq!(parts.len(), 1);
    assert_eq!(
        html(&parts[0]),
        Some(
            "1 &lt; 2\n\nSources:\n\
             1. <a href=\"https://a.org/x?a=1&amp;b=%222%22\">A &lt;b&gt;*title*&lt;/b&gt; &amp; [more](x)</a>\n\
             2. <a href=\"http://b.org/\">b.org</a>"
        )
    );
    assert_eq!(
        parts[0].plain_text(),
        "1 < 2\n\nSources:\n1. A <b>*title*</b> & [more](x): https://a.org/x?a=1&b=%222%22\n2. b.org: http://b.org/"
    );
}

#[rstest]
#[case::each_once("", &["https://a.org A", "https://b.org B", "https://b.org B", "https://a.org A", "https://c.org C"], &["1. A", "2. B", "3. C"])]
#[case::numbers_of_the_text("See [4].", &["https://a.org A", "https://b.org B", "https://a.org A", "https://c.org C"], &["1, 3. A", "2. B", "4. C"])]
#[case::what_is_no_link_keeps_its_number("See [3].", &["https://a.org A", "file:///x X", "https://c.org C"], &["1. A", "3. C"])]
#[case::without_numbers_it_has_none("See [x] and [9].", &["https://a.org A", "file:///x X", "https://c.org C"], &["1. A", "2. C"])]
#[case::other_schemes("", &["javascript:alert(1) A", "data:text/html,x B", "tg://user?id=1 C", "nonsense D", " E"], &[])]
#[case::same_address_written_differently("", &["https://a.org A", "HTTPS://A.org/ B"], &["1. A"])]
#[case::title_that_comes_later("", &["https://a.org", "https://a.org A"], &["1. A"])]
#[case::no_title("", &["https://a.org   ", "http://b.org:80/x"], &["1. a.org", "2. b.org"])]
#[case::title_in_one_line("", &["https://a.org A\nb \u{202e}c\u{7}\u{200b}  d"], &["1. A b c d"])]
fn sources_are_numbered(#[case] answer: &str, #[case] named: &[&str], #[case] expected: &[&str]) {
    let lines = lines(answer, named);
    let titles: Vec<_> = lines
        .iter()
        .map(|line| line.split(": ").next().unwrap_or(""))
        .collect();
    assert_eq!(titles, expected);
}

#[rstest]
#[case(&["a", "b", "a", "c"])]
#[case(&["a"])]
#[case(&["a", "b", "b"])]
#[case(&["a", "b", "c", "a"])]
fn a_list_that_comes_again_and_again_counts_once(#[case] named: &[&str]) {
    let urls: Vec<_> = named.iter().map(|n| format!("https://{n}.org")).collect();
    let once: Vec<_> = urls.iter().map(String::as_str).collect();
    let answer = format!("[{}]", named.len());
    let expected = lines(&answer, &once);
    for times in 2..5 {
        assert_eq!(lines(&answer, &once.repeat(times)), expected, "{times}");
    }
}

#[test]
fn a_list_that_grows_keeps_its_numbers() {
    let (a, b, c) = ("https://a.org", "https://b.org", "https://c.org");
    let grown = lines("[3]", &[a, a, b, a, b, c, a, b, c]);
    assert_eq!(grown, lines("[3]", &[a, b, c]));
}

#[test]
fn titles_and_lists_are_bounded() {
    let urls: Vec<_> = (0..90)
        .map(|n| format!("https://e.org/{n} {}", "é".repeat(500)))
        .collect();
    let named: Vec<_> = urls.iter().map(String::as_str).collect();
    let lines = lines("", &named);
    assert_eq!(lines.len(), 21);
    assert_eq!(lines[20], "… and 70 more");
    let title = format!("1. {}…: https://e.org/0", "é".repeat(79));
    assert_eq!(lines[0], title);
    let long: Vec<_> = (0..90)
        .map(|n| format!("https://e.org/{n}/{}&", "&".repeat(1900)))
        .collect();
    let named: Vec<_> = long.iter().map(String::as_str).collect();
    let parts = appended(&["Short"], &list(&named));
    for part in &parts {
        assert!(utf16_len(part.plain_text()) <= MESSAGE_LIMIT);
        assert!(html(part).is_some_and(|html| html.len() <= MAX_MESSAGE_BYTES));
    }
    assert!(
        parts
            .last()
            .is_some_and(|last| last.plain_text().ends_with(" more"))
    );
}

#[test]
fn sources_have_a_message_of_their_own_where_the_last_is_full() {
    let citations = list(&["https://a.org A"]);
    let full = "x".repeat(4090);
    let parts = appended(&[&full], &citations);
    assert_eq!(parts.len(), 2);
    assert_eq!(
        (parts[0].plain_text().len(), parts[1].reply_to),
        (4090, Some(7))
    );
    assert!(html(&parts[1]).is_some_and(|html| html.starts_with("Sources:\n1. <a")));
}

#[test]
fn sources_do_not_add_to_the_most_messages() {
    let citations = list(&["https://a.org A"]);
    let full = "x".repeat(4090);
    let mut answer = vec![full.as_str(); 40];
    assert_eq!(appended(&answer, &citations).len(), 40);
    answer[39] = "(The answer was too long and was cut here.)";
    let parts = appended(&answer, &citations);
    assert_eq!(parts.len(), 40);
    assert!(
        parts[39].plain_text().starts_with(answer[39])
            && parts[39].plain_text().ends_with("A: https://a.org/")
    );
}

#[test]
fn answer_without_text_or_sources_stays() {
    assert!(appended(&[], &list(&["https://a.org"])).is_empty());
    let parts = appended(&["Hello"], &list(&["mailto:a@b.org"]));
    assert_eq!(parts, [part("Hello")]);
}
