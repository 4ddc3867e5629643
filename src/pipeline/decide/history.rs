//! How much history a request carries: whole exchanges, the newest ones.

/// How many exchanges fit into `maxMessages` messages of history: half of them are the user's, half the assistant's, and an
/// exchange is never torn.
pub(crate) fn max_exchanges(max_messages: u32) -> u32 {
    max_messages / 2
}

#[cfg(test)]
mod tests {
    #[test]
    fn history_holds_whole_exchanges() {
        assert_eq!([2, 3, 50, 51].map(super::max_exchanges), [1, 1, 25, 25]);
    }
}
