//! Which messages of a lane were handled, and with what content: Telegram sends an `edited_message` for what changes no word, too (a
//! first reaction, the preview of a link), and for messages that are as old as the chat.

use std::fmt::Write as _;

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

use crate::pipeline::decide::decision;
use crate::pipeline::message::incoming_update::{
    Content, IncomingUpdate, TelegramFile, UpdateKind,
};

/// So many messages are remembered of a lane, the newest that were handled: about 500 bytes in the lane's row.
const MAX_REMEMBERED: usize = 32;
/// An edit of a message that is not remembered is answered only so long after the message was sent.
const MAX_UNKNOWN_AGE: SignedDuration = SignedDuration::from_hours(48);

/// The newest messages of a lane that were handled, the newest last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct HandledMessages {
    messages: Vec<(i64, u32)>,
}

impl HandledMessages {
    /// Reads what [`HandledMessages::to_text`] wrote; what cannot be read is not remembered.
    pub(crate) fn parse(stored: &str) -> Self {
        let read = |entry: &str| {
            let (id, hash) = entry.split_once('.')?;
            let id = i64::from_str_radix(id, 16).ok()?;
            Some((id, u32::from_str_radix(hash, 16).ok()?))
        };
        Self {
            messages: stored.split(' ').filter_map(read).collect(),
        }
    }

    /// As it is stored with the lane: pairs of `message_id` and hash, hexadecimal.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.messages.len() * 18);
        for (n, (id, hash)) in self.messages.iter().enumerate() {
            let gap = if n > 0 { " " } else { "" };
            write!(text, "{gap}{id:x}.{hash:x}").expect("a string takes all");
        }
        text
    }

    /// Notes that a message was handled as it reads here. Returns whether that is news.
    pub(crate) fn record(&mut self, incoming: &IncomingUpdate) -> bool {
        // The message of a tap is the bot's own.
        let Some(id) = incoming.message_id.filter(|_| incoming.tap().is_none()) else {
            return false;
        };
        let entry = (id, content_hash(incoming));
        if self.messages.contains(&entry) {
            return false;
        }
        self.messages.retain(|(known, _)| *known != id);
        self.messages.push(entry);
        let surplus = self.messages.len().saturating_sub(MAX_REMEMBERED);
        self.messages.drain(..surplus);
        true
    }

    /// Whether an update is an edit that nobody waits for an answer to: it reads as what was handled, or its message is unknown and old.
    pub(crate) fn is_stale_edit(&self, incoming: &IncomingUpdate) -> bool {
        if incoming.kind != UpdateKind::EditedMessage || !decision::is_user_edit(incoming) {
            return false;
        }
        let Some(id) = incoming.message_id else {
            return true;
        };
        match self.messages.iter().find(|(known, _)| *known == id) {
            Some((_, handled)) => *handled == content_hash(incoming),
            // Whether a message from before all that is remembered was handled is not known any more.
            None if self.is_full() && self.messages.iter().all(|(known, _)| id < *known) => true,
            None => incoming
                .edited
                .is_some_and(|edited| edited.duration_since(incoming.date) > MAX_UNKNOWN_AGE),
        }
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MAX_REMEMBERED
    }
}

/// Names what was said, the same whenever Telegram tells it again: a file's id is not.
fn content_hash(incoming: &IncomingUpdate) -> u32 {
    let mut hasher = Sha256::new();
    hasher.update(incoming.text.as_deref().unwrap_or_default());
    hasher.update([0]);
    hasher.update(incoming.content.label());
    if let Some(file) = file_of(&incoming.content) {
        hasher.update(file.size.unwrap_or(0).to_be_bytes());
        hasher.update(file.name.as_deref().unwrap_or_default());
    }
    let hash = hasher.finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn file_of(content: &Content) -> Option<&TelegramFile> {
    match content {
        Content::Photo(file)
        | Content::Voice(file, _)
        | Content::Audio(file)
        | Content::Document(file) => Some(file),
        Content::Video(video) | Content::VideoNote(video) | Content::Animation(video) => {
            Some(&video.file)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::pipeline::decide::test_values::{ANN, private};

    fn message(id: i64, fields: &str) -> IncomingUpdate {
        let json =
            private(ANN, fields).replace("\"message_id\":5", &format!("\"message_id\":{id}"));
        IncomingUpdate::parse(&json).expect("readable")
    }

    fn edit(id: i64, fields: &str) -> IncomingUpdate {
        let dated = format!("{fields},\"edit_date\":200");
        IncomingUpdate {
            kind: UpdateKind::EditedMessage,
            ..message(id, &dated)
        }
    }

    fn after(messages: &[IncomingUpdate]) -> HandledMessages {
        let mut handled = HandledMessages::default();
        for message in messages {
            assert!(handled.record(message));
        }
        HandledMessages::parse(&handled.to_text())
    }

    const HELLO: &str = r#""text":"hello""#;
    const PHOTO: &str = r#""caption":"hello","photo":[{"file_id":"a","width":9,"file_size":7}]"#;

    #[rstest]
    #[case::same_text(HELLO, HELLO, true)]
    #[case::other_text(HELLO, r#""text":"hello you""#, false)]
    #[case::same_photo_with_another_file_id(
        PHOTO,
        r#""caption":"hello","photo":[{"file_id":"b","width":9,"file_size":7}]"#,
        true
    )]
    #[case::other_photo(
        PHOTO,
        r#""caption":"hello","photo":[{"file_id":"a","width":9,"file_size":8}]"#,
        false
    )]
    #[case::other_caption(
        PHOTO,
        r#""caption":"hi","photo":[{"file_id":"a","width":9,"file_size":7}]"#,
        false
    )]
    fn edit_that_changes_nothing_is_stale(
        #[case] original: &str,
        #[case] edited: &str,
        #[case] stale: bool,
    ) {
        let handled = after(&[message(5, original)]);
        assert_eq!(handled.is_stale_edit(&edit(5, edited)), stale);
        assert!(!handled.is_stale_edit(&message(5, original)), "no edit");
    }

    #[test]
    fn edit_is_compared_with_what_was_handled_last() {
        let handled = after(&[message(5, HELLO), edit(5, r#""text":"hi""#)]);
        assert!(handled.is_stale_edit(&edit(5, r#""text":"hi""#)));
        assert!(!handled.is_stale_edit(&edit(5, HELLO)));
    }

    #[test]
    fn edit_of_an_unknown_message_is_stale_after_two_days() {
        let nothing = HandledMessages::default();
        let young = edit(5, HELLO);
        assert!(!nothing.is_stale_edit(&young));
        let edited = young.date.checked_add(SignedDuration::from_hours(40 * 24));
        let old = IncomingUpdate {
            edited: edited.ok(),
            ..young
        };
        assert!(nothing.is_stale_edit(&old));
    }

    #[test]
    fn memory_is_bounded_and_what_is_older_is_stale() {
        let count = i64::try_from(MAX_REMEMBERED).expect("small") + 10;
        let messages: Vec<_> = (1..=count).map(|id| message(1000 + id, HELLO)).collect();
        let handled = after(&messages);
        assert_eq!(handled.messages.len(), MAX_REMEMBERED);
        let changed = r#""text":"changed""#;
        assert!(handled.is_stale_edit(&edit(1001, changed)), "too old");
        assert!(!handled.is_stale_edit(&edit(1000 + count, changed)));
        assert!(!handled.is_stale_edit(&edit(2000, changed)), "never seen");
    }

    #[test]
    fn tampered_memory_is_read_as_far_as_it_goes() {
        let handled = HandledMessages::parse("5 x.y 7.1 -8.ffffffffff é");
        assert_eq!(handled.messages, [(7, 1)]);
    }
}
