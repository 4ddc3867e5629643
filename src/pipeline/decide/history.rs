//! How much history a request carries: whole exchanges, the newest ones.

use crate::history::ChatMessage;
use crate::pipeline::decide::estimate::estimate_message_tokens;

/// How many exchanges fit into `maxMessages` messages of history: half of them are the user's, half the assistant's, and an
/// exchange is never torn.
pub(crate) fn max_exchanges(max_messages: u32) -> u32 {
    max_messages / 2
}

/// The most that is kept and sent of a session's history, in bytes of text.
pub(crate) const MAX_HISTORY_BYTES: usize = 1 << 20;

/// Drops the oldest exchanges until the rest is within [`MAX_HISTORY_BYTES`]; the newest always stays. Whether any was dropped.
pub(crate) fn bound_bytes(history: &mut Vec<ChatMessage>) -> bool {
    let mut bytes: usize = history.iter().map(|message| message.text.len()).sum();
    let mut dropped = 0;
    while bytes > MAX_HISTORY_BYTES && history.len() - dropped > 2 {
        bytes -= history[dropped].text.len() + history[dropped + 1].text.len();
        dropped += 2;
    }
    history.drain(..dropped);
    dropped > 0
}

/// How many of a history's exchanges, the newest, are within so many tokens, as far as an estimate can tell.
pub(crate) fn exchanges_within(history: &[ChatMessage], tokens: u64) -> usize {
    let mut left = tokens;
    let newest_first = history.rchunks_exact(2);
    let fitting = newest_first.take_while(|exchange| {
        let needed = exchange.iter().map(|m| estimate_message_tokens(&m.text));
        match left.checked_sub(needed.sum()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        }
    });
    fitting.count()
}

/// The newest exchanges of a history.
pub(crate) fn newest_exchanges(history: &[ChatMessage], exchanges: usize) -> &[ChatMessage] {
    &history[history.len().saturating_sub(2 * exchanges)..]
}

/// With how many exchanges a question is asked again that was too long with `exchanges` of them, as its `attempt` (from 1): the newer half, then
/// none. `None`: it is too long by itself.
pub(crate) fn fewer_exchanges(exchanges: usize, attempt: u32) -> Option<usize> {
    match (exchanges, attempt) {
        (0, _) => None,
        (exchanges, 1) => Some(exchanges / 2),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::history::Role;

    fn exchange(asked: &str, answered: &str) -> [ChatMessage; 2] {
        [(Role::User, asked), (Role::Assistant, answered)].map(|(role, text)| ChatMessage {
            role,
            text: text.into(),
        })
    }

    #[rstest]
    #[case::nothing(0, 0)]
    #[case::not_even_one(10, 0)]
    #[case::the_newest(11, 1)]
    #[case::not_quite_two(22, 1)]
    #[case::two(23, 2)]
    #[case::the_large_one_ends_it(1_000, 2)]
    #[case::everything(3_000, 4)]
    fn newest_exchanges_within_the_tokens_are_sent(#[case] tokens: u64, #[case] expected: usize) {
        let history = [
            exchange("small", "small"),
            exchange("large", &"x".repeat(8_000)),
            exchange("older", "12345"),
            exchange("newer", "x"),
        ]
        .concat();
        let sent = exchanges_within(&history, tokens);
        assert_eq!(sent, expected);
        assert_eq!(newest_exchanges(&history, sent).len(), 2 * expected);
    }

    #[rstest]
    #[case(25, &[12, 0])]
    #[case(3, &[1, 0])]
    #[case(2, &[1, 0])]
    #[case(1, &[0])]
    #[case(0, &[])]
    fn question_that_is_too_long_is_asked_three_times_at_most(
        #[case] exchanges: usize,
        #[case] fewer: &[usize],
    ) {
        let mut asked_with = Vec::new();
        let mut sent = exchanges;
        for attempt in 1.. {
            let Some(fewer) = fewer_exchanges(sent, attempt) else {
                break;
            };
            asked_with.push(fewer);
            sent = fewer;
        }
        assert_eq!(asked_with, fewer);
    }

    #[test]
    fn oldest_exchanges_go_beyond_the_limit() {
        let message = |bytes| ChatMessage {
            role: Role::User,
            text: "x".repeat(bytes),
        };
        let mut history: Vec<_> = (0..20).map(|_| message(MAX_HISTORY_BYTES / 8)).collect();
        assert!(bound_bytes(&mut history));
        assert_eq!(history.len(), 8);
        assert!(!bound_bytes(&mut history));
        let mut one = vec![message(MAX_HISTORY_BYTES), message(MAX_HISTORY_BYTES)];
        assert!(!bound_bytes(&mut one));
    }

    #[test]
    fn history_holds_whole_exchanges() {
        assert_eq!([2, 3, 50, 51].map(super::max_exchanges), [1, 1, 25, 25]);
    }
}
