//! From what is to be said to the messages that say it.

use crate::store::Part;
use crate::telegram::split::{MESSAGE_LIMIT, split};

/// The bot's own words: plain text.
pub(super) fn plain(text: &str, reply_to: Option<i64>) -> Vec<Part> {
    split(text, MESSAGE_LIMIT)
        .into_iter()
        .map(|text| Part {
            html: None,
            plain: text.to_string(),
            reply_to,
        })
        .collect()
}

/// The assistant's words: Markdown as models write it.
pub(super) fn markdown(text: &str, reply_to: Option<i64>) -> Vec<Part> {
    plain(text, reply_to)
}
