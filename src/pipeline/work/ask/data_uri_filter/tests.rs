//! Tables of answers with data URIs, and properties of any answer.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const WORDS: PlaceholderWords<'_> = PlaceholderWords {
    picture: "picture",
    file: "file",
};

fn filter(pieces: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut filter = DataUriFilter::new(WORDS);
    let mut out = String::new();
    for piece in pieces {
        filter.push(piece.as_ref(), &mut out);
    }
    filter.finish(&mut out);
    out
}

/// Each character looked at by itself, as if a data URI could begin anywhere.
fn filter_by_character(text: &str) -> String {
    let mut filter = DataUriFilter::new(WORDS);
    let mut out = String::new();
    for c in text.chars() {
        filter.read(&c.to_string(), &mut out);
    }
    filter.finish(&mut out);
    out
}

fn filter_whole(text: &str) -> String {
    filter([text])
}

/// The text with `PNG`, `PDF` and `SVG` for long data URIs.
fn with_uris(text: &str) -> String {
    text.replace("PNG", &png(100_000))
        .replace(
            "PDF",
            &format!("data:application/pdf;base64,{}==", "JVBE".repeat(25_000)),
        )
        .replace(
            "SVG",
            &format!("data:image/svg+xml,%3Csvg{}%3E", "%20(a)".repeat(100)),
        )
}

fn png(length: usize) -> String {
    let base64 = "iVBORw0KGgo/+AA0".repeat(length / 16 + 1);
    format!("data:image/png;base64,{}", &base64[..length])
}

#[rstest]
#[case("Look: ![cat](PNG) Nice.", "Look: (picture: cat) Nice.")]
#[case("![](PNG)", "(picture)")]
#[case("![a [tabby] cat](PNG)", "(picture: a [tabby] cat)")]
#[case("![cat](PNG \"A (big) cat\")!", "(picture: cat)!")]
#[case("![cat]( <PNG> )!", "(picture: cat)!")]
#[case("![cat](PNG...)!", "(picture: cat)!")]
#[case("[report](PDF)", "(file: report)")]
#[case("[photo](PNG)", "(picture: photo)")]
#[case("![drawing](SVG), and", "(picture: drawing), and")]
#[case("[![cat](PNG)](https://e.org)", "[(picture: cat)](https://e.org)")]
#[case("see [1]![](PNG)", "see [1] (picture)")]
#[case("Here: PNG and PNG.", "Here: (picture) and (picture).")]
#[case("PNG", "(picture)")]
#[case("(PNG)", "((picture))")]
#[case("<PNG>", "(picture)")]
#[case("![cat][x]\n\n[x]: PNG\nEnd", "![cat][x]\n\n(picture: x)\nEnd")]
#[case("a[0]: PNG", "a[0]: (picture)")]
#[case("<img src=\"PNG\" alt='a cat' width=3>!", "(picture: a cat)!")]
#[case("<img alt=\"cat\" src='PNG'/>", "(picture: cat)")]
#[case("<IMG SRC=PNG>", "(picture)")]
#[case(
    "<img src=\"data:image/svg+xml;utf8,<svg a='b'>\" alt=\"c\">d",
    "(picture: c)d"
)]
#[case("```html\n<img src=\"PNG\">\n```\nEnd", "```html\n(picture)\n```\nEnd")]
#[case("`![cat](PNG)`", "`(picture: cat)`")]
#[case("Data:Image/Png;BASE64,AAAA", "(picture)")]
#[case("data:;base64,AAAA", "(file)")]
#[case("data:data:text/plain,x y", "data:(file) y")]
#[case("![cat](data:image/gif;base64,AA==)", "(picture: cat)")]
#[case("url(PNG);", "url((picture));")]
fn data_uri_is_shown_by_its_name(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(filter_whole(&with_uris(text)), expected);
}

#[rstest]
#[case("`data:image/gif;base64,R0lGODlhAQABAAAAACw=` is a data URI")]
#[case("```\n![a](data:text/plain,Hello)\n```\n")]
#[case("Some data: a, b, and metadata:image/png;base64,AAAA")]
#[case("data:yes/no,maybe data:,x data: image/png")]
#[case("[a](https://e.org/data:x) ![b](c.png) a[0] = [1, 2]: <b>bold</b> x <y & a < b")]
#[case("An open [bracket and an open <tag, ![to the end")]
#[case("d da dat data data: data:image data:image/png data:image/png;base64")]
fn text_without_data_uris_stays(#[case] text: &str) {
    assert_eq!(filter_whole(text), text);
}

#[test]
fn wrapped_base64_goes_with_all_its_lines() {
    let lines = format!("{}\n", "A".repeat(76)).repeat(50);
    let text = format!("![cat](data:image/png;base64,{lines}Ag==)\nDone.");
    assert_eq!(filter_whole(&text), "(picture: cat)\nDone.");
    let bare = format!(
        "> data:image/png;base64,{}\n> {}\nDone",
        "A".repeat(76),
        "B".repeat(76)
    );
    assert_eq!(filter_whole(&bare), "> (picture)\nDone");
}

#[test]
fn unfinished_data_uri_at_the_end_is_not_shown() {
    let text = with_uris("![cat](PNG");
    assert_eq!(filter_whole(&text), "(picture: cat)");
    let wrapped = format!("{text}\n{}", "A".repeat(30));
    let shown = filter_whole(&wrapped);
    assert!(shown.len() < 60, "{shown}");
}

#[test]
fn tag_without_end_takes_no_text_along() {
    let text = format!(
        "<img src=\"{}\"\n{}",
        png(1000),
        "Words of the answer. ".repeat(40)
    );
    let shown = filter_whole(&text);
    assert!(shown.starts_with("(picture)\"\n") && shown.ends_with(&text[text.len() - 800..]));
}

#[test]
fn text_is_let_through_as_it_comes() {
    let mut filter = DataUriFilter::new(WORDS);
    let push = |filter: &mut DataUriFilter<'_>, text: &str| {
        let mut out = String::new();
        filter.push(text, &mut out);
        out
    };
    assert_eq!(push(&mut filter, "Hello, data"), "Hello, ");
    assert_eq!(push(&mut filter, " and [mo"), "data and ");
    assert_eq!(
        push(&mut filter, "re] of it ![cat](data:image/png;base64,"),
        "[more] of it "
    );
    for _ in 0..100 {
        assert_eq!(push(&mut filter, &"AAAA".repeat(1000)), "");
        assert!(filter.held.capacity() <= 4 * MAX_HELD_BYTES);
    }
    assert_eq!(push(&mut filter, ") End"), "(picture: cat) End");
}

/// Pieces of which texts with all that the filter knows are made.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "data:",
        "image/png",
        ";base64,",
        "AAAA",
        "text/plain,",
        "d",
        "da",
        "[",
        "]",
        "(",
        ")",
        "![",
        "](",
        "]: ",
        "<",
        ">",
        "<img src=\"",
        "\"",
        "'",
        "alt=\"x\"",
        "`",
        "```\n",
        "\n",
        "\r\n",
        " ",
        "=",
        "日本",
        "é",
        "x",
        "!",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "data:image/png;base64,",
        "words of some length that fill a line or two of the answer ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_result(text in pieces(), cuts in prop::collection::vec(0..400_usize, 0..8)) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|at| text.floor_char_boundary(at)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]);
        let whole = filter_whole(&text);
        prop_assert_eq!(filter(pieces), whole.clone());
        prop_assert_eq!(filter(text.chars().map(|c| c.to_string())), whole);
    }

    #[test]
    fn runs_of_plain_text_make_no_difference(text in pieces()) {
        prop_assert_eq!(filter_whole(&text), filter_by_character(&text));
    }

    #[test]
    fn any_text_without_a_data_uri_is_unchanged(text in pieces()) {
        let text = text.replace(',', ";");
        prop_assert_eq!(filter_whole(&text), text);
    }

    #[test]
    fn no_long_data_uri_comes_through(before in pieces(), after in pieces(), length in 201..2000_usize) {
        let base64 = "Zm9vZm9v".repeat(length / 8 + 1);
        let shown = filter_whole(&format!("{before} data:image/png;base64,{base64}\"{after}"));
        prop_assert!(!shown.contains("Zm9v"), "{}", shown);
    }
}

#[test]
fn cost_grows_with_the_text_only() {
    let bombs = [
        "data:",
        "data:image/png;base64,",
        "data:image/png;base64,A ",
        "<a data:text/a,",
        "[",
        "![",
        "<",
        "<a ",
        "![](",
        "![](data:text/a,",
        "<img src=\"data:text/a,x\" ",
        "[x]: data:text/a,b ",
        "`",
        "\n",
        "A",
        "data:image/aaaaaaaaaaaaaa",
        "data:text/a;",
        "日",
    ];
    for bomb in bombs {
        // Memory that is allocated stands for the work: it is the same on every machine.
        let allocated = |bytes: usize| {
            let text = bomb.repeat(bytes / bomb.len());
            allocation_counter::measure(|| drop(filter_whole(&text))).bytes_total
        };
        let (short, long) = (allocated(1 << 14), allocated(1 << 17));
        assert!(
            long < 8 * 3 * short.max(1 << 12),
            "{bomb:?}: {short} bytes, {long} bytes"
        );
    }
}
