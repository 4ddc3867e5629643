//! The signs that set reasoning apart from the answer in the text of models: tags, and the tokens of chat templates.

/// A sign in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// Reasoning begins: `<think>`.
    Open,
    /// Reasoning ends: `</think>`.
    Close,
    /// A message, or its channel, is announced: `<|start|>`, `<|channel|>` (gpt-oss).
    Header,
    /// The announced message begins: `<|message|>`.
    Message,
    /// It ends: `<|end|>`, `<|return|>`, `<|call|>`.
    End,
    /// Means nothing to people.
    Silent,
}

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A marker of so many bytes.
    Marker(Marker, usize),
    /// Maybe the beginning of one.
    Partial,
    /// Text.
    Text,
}

/// Tags of reasoning, as models write them; a name space before it (`seed:think`) makes no difference.
const TAGS: &[&str] = &[
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "antthinking",
];
const LONGEST_TAG: usize = 128;

const TOKENS: &[(&str, Marker)] = &[
    ("<|channel|>", Marker::Header),
    ("<|start|>", Marker::Header),
    ("<|message|>", Marker::Message),
    ("<|end|>", Marker::End),
    ("<|return|>", Marker::End),
    ("<|call|>", Marker::End),
    ("<|constrain|>", Marker::Silent),
    ("<|begin_of_thought|>", Marker::Open),
    ("<|end_of_thought|>", Marker::Close),
    ("<|begin_of_solution|>", Marker::Silent),
    ("<|end_of_solution|>", Marker::Silent),
    ("<|START_THINKING|>", Marker::Open),
    ("<|END_THINKING|>", Marker::Close),
    ("<|START_RESPONSE|>", Marker::Silent),
    ("<|END_RESPONSE|>", Marker::Silent),
    ("<|channel>thought", Marker::Open),
    ("<channel|>", Marker::Close),
    ("[THINK]", Marker::Open),
    ("[/THINK]", Marker::Close),
    ("◁think▷", Marker::Open),
    ("◁/think▷", Marker::Close),
];

/// Whether a marker can begin with this byte.
pub(super) fn may_begin(byte: u8) -> bool {
    // The last is the first byte of ◁.
    matches!(byte, b'<' | b'[' | 0xE2)
}

/// What `text` begins with.
pub(super) fn find(text: &str) -> Found {
    let second = text.as_bytes().get(1);
    let mut is_partial = false;
    for (token, marker) in TOKENS {
        // Where most text differs that begins like a marker.
        if second.is_some_and(|byte| token.as_bytes()[1] != *byte) {
            continue;
        }
        if text.starts_with(token) {
            return Found::Marker(*marker, token.len());
        }
        is_partial |= token.starts_with(text);
    }
    match find_tag(text) {
        Found::Text if is_partial => Found::Partial,
        found => found,
    }
}

/// `<name>`, `</name>`, `<name/>`, in any case, also with attributes.
fn find_tag(text: &str) -> Found {
    let Some(inside) = text.strip_prefix('<') else {
        return Found::Text;
    };
    let head = &inside[..inside.floor_char_boundary(LONGEST_TAG)];
    let Some(end) = head.find('>') else {
        let may_end = head.len() == inside.len() && inside.len() < LONGEST_TAG;
        return if may_end && is_beginning_of_tag(head) {
            Found::Partial
        } else {
            Found::Text
        };
    };
    let tag = &head[..end];
    let marker = match (tag.strip_prefix('/'), tag.strip_suffix('/')) {
        (Some(name), _) => is_tag(name).then_some(Marker::Close),
        (None, Some(name)) => is_tag(name).then_some(Marker::Silent),
        (None, None) => is_tag(tag).then_some(Marker::Open),
    };
    marker.map_or(Found::Text, |marker| Found::Marker(marker, end + 2))
}

fn is_tag(tag: &str) -> bool {
    let tag = tag.trim_start();
    let (name, attributes) = split_name(tag);
    let attributes = attributes.trim();
    is_known(name) && (attributes.is_empty() || attributes.contains('='))
}

fn split_name(tag: &str) -> (&str, &str) {
    tag.split_at(tag.find(char::is_whitespace).unwrap_or(tag.len()))
}

fn is_known(name: &str) -> bool {
    let name = name.rsplit_once(':').map_or(name, |(_, name)| name);
    TAGS.iter().any(|tag| tag.eq_ignore_ascii_case(name))
}

/// Whether more text can make a tag of reasoning of it.
fn is_beginning_of_tag(head: &str) -> bool {
    if head.contains(['<', '\n']) {
        return false;
    }
    let tag = head.strip_prefix('/').unwrap_or(head).trim_start();
    let (name, attributes) = split_name(tag);
    let name = name.strip_suffix('/').unwrap_or(name);
    if !attributes.is_empty() {
        return is_known(name);
    }
    match name.rsplit_once(':') {
        Some((_, name)) => is_beginning_of_name(name),
        // A name space can still become of any word.
        None => {
            is_beginning_of_name(name)
                || (name.len() <= 8 && name.bytes().all(|b| b.is_ascii_lowercase()))
        }
    }
}

fn is_beginning_of_name(name: &str) -> bool {
    TAGS.iter().any(|tag| {
        tag.get(..name.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(name))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("<think>", Marker::Open)]
    #[case("<THINK>", Marker::Open)]
    #[case("<think type=\"deep\">", Marker::Open)]
    #[case("<thinking>", Marker::Open)]
    #[case("<thought>", Marker::Open)]
    #[case("<reasoning>", Marker::Open)]
    #[case("<seed:think>", Marker::Open)]
    #[case("</think>", Marker::Close)]
    #[case("</ Thinking >", Marker::Close)]
    #[case("<think/>", Marker::Silent)]
    #[case("<|channel|>", Marker::Header)]
    #[case("[THINK]", Marker::Open)]
    #[case("◁/think▷", Marker::Close)]
    fn markers_are_found_whole_and_begun(#[case] text: &str, #[case] marker: Marker) {
        assert_eq!(find(&format!("{text}x")), Found::Marker(marker, text.len()));
        for (cut, _) in text.char_indices().skip(1) {
            assert_eq!(find(&text[..cut]), Found::Partial, "{}", &text[..cut]);
        }
    }

    #[rstest]
    #[case("<thinker>")]
    #[case("<b>")]
    #[case("< 5 and")]
    #[case("<think about it>")]
    #[case("<3")]
    #[case("<https://example.org")]
    #[case("[THIN]")]
    #[case("<|unknown|>")]
    #[case("[link](x)")]
    fn other_text_is_text(#[case] text: &str) {
        assert_eq!(find(text), Found::Text);
    }
}
