//! From what is to be said to the messages that say it.

use crate::store::ReplyPart;
use crate::telegram::markdown;
use crate::telegram::split::{MESSAGE_LIMIT, split};

/// The bot's own words: plain text.
pub(crate) fn plain_parts(text: &str, reply_to: Option<i64>) -> Vec<ReplyPart> {
    split(text, MESSAGE_LIMIT)
        .into_iter()
        .map(|text| ReplyPart {
            html: None,
            plain: text.to_string(),
            reply_to,
        })
        .collect()
}

/// The assistant's words: Markdown as models write it.
pub(crate) fn markdown_parts(text: &str, reply_to: Option<i64>) -> Vec<ReplyPart> {
    markdown::render(text)
        .into_iter()
        .map(|part| ReplyPart {
            // Without formatting there is nothing that Telegram could fail to parse.
            html: (part.html != part.plain).then_some(part.html),
            plain: part.plain,
            reply_to,
        })
        .collect()
}
