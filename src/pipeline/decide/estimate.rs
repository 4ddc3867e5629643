//! How many tokens a request takes: an estimate, since each model counts in its own way and none of their tokenizers is here. Pure.

/// What a message costs beside its text: its role, and where it begins and ends.
const TOKENS_PER_MESSAGE: u64 = 4;
/// How many ASCII characters a token has: words of European languages, code and figures have three to five.
const ASCII_PER_TOKEN: usize = 4;
/// A picture, however large it is: servers scale it down to about this.
const TOKENS_PER_PICTURE: u64 = 1_000;

/// Estimates what a message of this text takes, in tokens: four ASCII characters are one, any other character is one by itself, and each message has
/// four more. That is too much rather than too little for all but rare scripts: Cyrillic letters and Chinese characters share a token at times.
pub(crate) fn estimate_message_tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().filter(|c| !c.is_ascii()).count();
    let tokens = ascii.div_ceil(ASCII_PER_TOKEN) + others;
    u64::try_from(tokens)
        .unwrap_or(u64::MAX)
        .saturating_add(TOKENS_PER_MESSAGE)
}

/// Estimates what a question takes with its pictures.
pub(crate) fn estimate_question_tokens(text: &str, pictures: usize) -> u64 {
    let pictures = u64::try_from(pictures).unwrap_or(u64::MAX);
    estimate_message_tokens(text).saturating_add(pictures.saturating_mul(TOKENS_PER_PICTURE))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", 4)]
    #[case::one_letter("a", 5)]
    #[case::four_letters("abcd", 5)]
    #[case::five_letters("abcde", 6)]
    #[case::words("Where is my order?", 9)]
    #[case::accents("perché", 7)]
    #[case::cyrillic("привет", 10)]
    #[case::chinese("我的订单在哪里", 11)]
    #[case::emoji("👍🏽", 6)]
    fn ascii_counts_by_four_and_other_characters_by_one(#[case] text: &str, #[case] tokens: u64) {
        assert_eq!(estimate_message_tokens(text), tokens);
        assert_eq!(estimate_question_tokens(text, 2), tokens + 2_000);
    }
}
