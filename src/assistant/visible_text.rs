//! Foreign text that a person decides by, such as what a tool will do: nothing in it may change how others read it.

/// The text with signs that mislead, control characters and those that turn the direction of what follows, as what they are: something else.
pub(crate) fn visible(text: &str) -> String {
    let shown = text.chars().map(|c| {
        if is_misleading(c) {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    });
    shown.collect()
}

fn is_misleading(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_that_mislead_show_as_something_else() {
        assert_eq!(
            visible("a\r\u{202e}gpj\nb\u{2067}"),
            "a\u{fffd}\u{fffd}gpj\nb\u{fffd}"
        );
        assert_eq!(visible("größe שלום 👍"), "größe שלום 👍");
    }
}
