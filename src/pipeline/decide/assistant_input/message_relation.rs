//! Which messages of a chat belong together, and how their words are put together.

use std::time::Duration;

use crate::pipeline::message::incoming_update::{Content, IncomingUpdate, UpdateKind};

/// A message of so many UTF-16 units may have been cut off by Telegram's limit of 4,096: apps cut long pastes at a word. A longer one is
/// a rich message, which is not cut there.
const CUT_PASTE_UNITS: std::ops::RangeInclusive<usize> = 3_500..=4_096;
/// The parts of a long paste come within so many seconds of each other.
const PASTE_WINDOW: Duration = Duration::from_secs(2);

/// How the next message of a chat belongs to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageRelation {
    /// It stands by itself.
    None,
    /// Both are of one album: one turn, with the one caption it has.
    Album,
    /// It goes on where Telegram's limit cut the one before: one turn, put together without a gap.
    Paste,
    /// It was sent quickly after the one before.
    FollowUp,
}

/// Whether a text may go on in the next message: it is as long as one that Telegram's limit cut.
pub(crate) fn may_be_truncated(message: &IncomingUpdate) -> bool {
    let text = message.text.as_deref().unwrap_or_default();
    message.content == Content::Text
        && CUT_PASTE_UNITS.contains(&crate::telegram::split::utf16_len(text))
}

/// How the next message of a chat belongs to the one before it, where dates that are not more than `follow_up` apart follow
/// quickly on each other. Only messages of one sender, sent and not edited, belong together.
pub(crate) fn message_relation(
    before: &IncomingUpdate,
    next: &IncomingUpdate,
    follow_up: Duration,
) -> MessageRelation {
    let id = |m: &IncomingUpdate| m.sender.as_ref().map(|s| s.id);
    let sent = |m: &IncomingUpdate| m.kind == UpdateKind::Message && m.decision.is_none();
    if !sent(before) || !sent(next) || id(before).is_none() || id(before) != id(next) {
        return MessageRelation::None;
    }
    if before.media_group_id.is_some() && before.media_group_id == next.media_group_id {
        return MessageRelation::Album;
    }
    let Ok(apart) = Duration::try_from(next.date.duration_since(before.date)) else {
        return MessageRelation::None;
    };
    let command = |m: &IncomingUpdate| m.text.as_deref().is_some_and(|text| text.starts_with('/'));
    let goes_on = next.content == Content::Text
        && next.reply_to.is_none()
        && before.forwarded_from == next.forwarded_from
        && !command(before)
        && !command(next);
    if may_be_truncated(before) && goes_on && apart <= PASTE_WINDOW {
        return MessageRelation::Paste;
    }
    if apart <= follow_up && !follow_up.is_zero() {
        return MessageRelation::FollowUp;
    }
    MessageRelation::None
}

/// Puts the words of messages together that are one turn, in the order in which they were sent.
pub(crate) fn join_texts(texts: &[(MessageRelation, &str)]) -> String {
    let mut whole = String::new();
    for (relation, text) in texts {
        if text.is_empty() {
            continue;
        }
        let gap = match relation {
            _ if whole.is_empty() => "",
            // Apps cut a paste at a line or a word and drop the white space there.
            MessageRelation::Paste => "\n",
            MessageRelation::None | MessageRelation::Album | MessageRelation::FollowUp => "\n\n",
        };
        whole.push_str(gap);
        whole.push_str(text);
    }
    whole
}

#[cfg(test)]
mod tests;
