//! File names that Telegram takes for web sites: `README.md` is a name in Moldova, `main.rs` one in Serbia. As code they are no links.

use std::ops::Range;

use super::delimiters::is_cjk;

/// Endings of files that are top-level domains as well, and close relatives. Not those of which sites are named more often (`.pl`, `.so`).
const EXTENSIONS: [&str; 13] = [
    "md", "rs", "sh", "py", "ts", "ps", "ml", "mm", "mk", "cc", "tf", "zip", "mov",
];
/// Sites that look like files, and that answers name.
const SITES: [&str; 8] = [
    "astral.sh",
    "brew.sh",
    "bun.sh",
    "deps.rs",
    "docs.rs",
    "helm.sh",
    "rustup.rs",
    "sh.rustup.rs",
];
/// How far behind a text its last word is searched, in bytes.
const MAX_WORD_BYTES: usize = 256;

/// The file names in a text that follows another one. Paths with slashes stay text, in which Telegram sees no link either.
pub(super) fn find(text: &str, before: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if !text.contains('.') {
        return found;
    }
    let mut start = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        // A word may have begun before the text.
        let lead = if start == 0 { last_word(before) } else { "" };
        if !is_address(lead) && !is_address(word) {
            find_in_word(word, lead, start, &mut found);
        }
        start += word.len();
    }
    found
}

fn find_in_word(word: &str, lead: &str, start: usize, found: &mut Vec<Range<usize>>) {
    let mut at = 0;
    for run in word.split(|c| !is_name_character(c)) {
        let continues = at == 0 && lead.ends_with(is_name_character);
        let name = run.trim_end_matches('.');
        if !continues && is_file_name(name) {
            found.push(start + at..start + at + name.len());
        }
        // The run, and the character behind it.
        at += run.len();
        at += word[at..].chars().next().map_or(0, char::len_utf8);
    }
}

fn last_word(text: &str) -> &str {
    let near = &text[text.ceil_char_boundary(text.len().saturating_sub(MAX_WORD_BYTES))..];
    near.rsplit(char::is_whitespace).next().unwrap_or_default()
}

/// Whether a word is a URL or an e-mail address, or a part of one.
fn is_address(word: &str) -> bool {
    word.contains("://") || word.contains('@') || word.contains("www.")
}

fn is_name_character(c: char) -> bool {
    (c.is_alphanumeric() && !is_cjk(c)) || matches!(c, '.' | '_' | '-' | '/' | '\\')
}

fn is_file_name(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let known = |known: &str| known.eq_ignore_ascii_case(extension);
    // `abc.com.py` is a site.
    let second_level = ["com", "org", "net", "gov", "edu", "co"];
    let site = stem
        .rsplit_once('.')
        .is_some_and(|(_, last)| second_level.contains(&last));
    EXTENSIONS.iter().any(|e| known(e))
        && stem.contains(char::is_alphanumeric)
        && !name.contains('/')
        && !site
        && !SITES.contains(&name)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::find;

    #[rstest]
    #[case("See README.md.", "", &["README.md"])]
    #[case("(main.rs, install.sh; deploy_prod.py)", "", &["main.rs", "install.sh", "deploy_prod.py"])]
    #[case("请看README.md文件，main.rs。", "", &["README.md", "main.rs"])]
    #[case("main.rs:42 src\\lib.rs", "", &["main.rs", "src\\lib.rs"])]
    #[case("foo.txt 1.5 e.g. and so.on .md x.md5 .", "", &[])]
    #[case("https://e.org/main.rs www.e.org?a.sh a@b.md docs/README.md github.com/a/b.md", "", &[])]
    #[case("docs.rs, brew.sh and abc.com.py", "", &[])]
    #[case("main.rs b.md", "x https://e.org/?a&", &["b.md"])]
    #[case("main.rs b.md", "x_", &["b.md"])]
    #[case("main.rs", "see ", &["main.rs"])]
    fn file_names_that_would_be_links_are_found(
        #[case] text: &str,
        #[case] before: &str,
        #[case] expected: &[&str],
    ) {
        let found: Vec<&str> = find(text, before)
            .into_iter()
            .map(|range| &text[range])
            .collect();
        assert_eq!(found, expected);
    }
}
