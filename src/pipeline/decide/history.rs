//! How much history a request carries: whole exchanges, the newest ones.

use crate::history::ChatMessage;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Role;

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
