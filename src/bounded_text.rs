//! Texts for people that are made of parts nobody counted: keys of a Secret, problems of lists, words of a peer. A condition of 8 kB hides
//! what is wrong, so each has a bound.

/// How many items a message names.
const MAX_LISTED: usize = 5;

/// The first five items in their order, and how many more there are: `a, b, c, d, e, and 195 more`.
pub(crate) fn bounded_list(items: &[impl AsRef<str>], separator: &str) -> String {
    let mut shown: Vec<&str> = items.iter().map(AsRef::as_ref).take(MAX_LISTED).collect();
    let hidden = items.len() - shown.len();
    let more = format!("and {hidden} more");
    if hidden > 0 {
        shown.push(&more);
    }
    shown.join(separator)
}

/// The text, cut with an ellipsis so that it has at most `max_bytes` bytes (3 or more).
pub(crate) fn bounded_text(mut text: String, max_bytes: usize) -> String {
    const ELLIPSIS: char = '…';
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes.saturating_sub(ELLIPSIS.len_utf8())));
        text.push(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "")]
    #[case(1, "k0")]
    #[case(5, "k0, k1, k2, k3, k4")]
    #[case(6, "k0, k1, k2, k3, k4, and 1 more")]
    #[case(200, "k0, k1, k2, k3, k4, and 195 more")]
    fn list_names_five_items_and_counts_the_rest(#[case] items: usize, #[case] expected: &str) {
        let items: Vec<String> = (0..items).map(|n| format!("k{n}")).collect();
        assert_eq!(bounded_list(&items, ", "), expected);
    }

    #[rstest]
    #[case("short", 5, "short")]
    #[case("longer", 5, "lo…")]
    #[case("ééé", 5, "é…")]
    fn text_is_cut_between_characters(
        #[case] text: &str,
        #[case] max_bytes: usize,
        #[case] expected: &str,
    ) {
        let bounded = bounded_text(text.to_owned(), max_bytes);
        assert_eq!(bounded, expected);
        assert!(bounded.len() <= max_bytes);
    }
}
