//! Foreign text that is kept or quoted within a bound.

/// The text, or its first characters with a mark where more followed.
pub(crate) fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_longer_is_cut_and_marked() {
        assert_eq!(cut("größe", 5), "größe");
        assert_eq!(cut("größen", 5), "größe…");
        assert_eq!(cut("", 0), "");
    }
}
