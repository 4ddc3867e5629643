//! When the bot speaks in a group: mentioned, replied to, or a command for it; or always, if the connector says so.

use super::commands::{self, FirstWord};
use super::message::{ChatKind, Content, Entity, EntityKind, Incoming, Membership};
use crate::api::connector::RespondTo;
use crate::identity::BotId;
use crate::registry::GroupPolicy;

/// What to do with a message, judged by where it was said. Who said it is [`super::access`]'s to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// It was said to the bot.
    Listen,
    /// It was not: nothing is answered, denied or stored.
    Ignore,
    /// The connector does not name this group: leave it, quietly.
    Leave,
}

/// The bot, as it is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct Me<'a> {
    /// Its id.
    pub id: BotId,
    /// Its username, without @.
    pub username: &'a str,
}

/// Decides where a message was said and whether to the bot. Call it for each update, also for a change of membership: that
/// is when a group that the connector does not name is left.
///
/// Private chats are always listened to. `policy` `None`: silent in groups and channels.
pub fn decide(policy: Option<&GroupPolicy>, incoming: &Incoming, me: Me<'_>) -> Place {
    if incoming.is_private() {
        return if incoming.is_said() {
            Place::Listen
        } else {
            Place::Ignore
        };
    }
    let Some(policy) = policy else {
        return Place::Ignore;
    };
    if let Some(chats) = &policy.chats
        && !chats.contains(&incoming.chat.id)
    {
        return elsewhere(incoming);
    }
    if !incoming.is_said() || incoming.via_bot {
        return Place::Ignore;
    }
    let first = commands::first_word(incoming.text.as_deref().unwrap_or_default(), me.username);
    let addressed = match first {
        FirstWord::ForAnotherBot => return Place::Ignore,
        FirstWord::Ours { addressed, .. } | FirstWord::Unknown { addressed } => addressed,
        FirstWord::Text => false,
    };
    let to_us = policy.respond_to == RespondTo::All
        || addressed
        || answers_us(incoming, me)
        || mentions(incoming, me).next().is_some();
    if to_us { Place::Listen } else { Place::Ignore }
}

/// In a chat that `chats` does not name. A bot that is already out, or whose group has just been given a new id by
/// Telegram (the new one may be named), has nothing to leave.
fn elsewhere(incoming: &Incoming) -> Place {
    let group = matches!(
        incoming.chat.kind,
        ChatKind::Group | ChatKind::Supergroup | ChatKind::Channel
    );
    match incoming.content {
        Content::Membership(Membership::Out) | Content::Service(_) => Place::Ignore,
        _ if group => Place::Leave,
        _ => Place::Ignore,
    }
}

/// The text as it is meant for the assistant: a mention of the bot at its beginning or end is an address, not content.
pub fn without_address(incoming: &Incoming, me: Me<'_>) -> String {
    let text = incoming.text.as_deref().unwrap_or_default();
    let mut rest = text;
    for (start, end) in mentions(incoming, me).filter_map(|e| bytes_of(text, e)) {
        let offset = text.len() - text.trim_start().len();
        if start == offset {
            rest = text[end..].trim_start_matches([',', ':', ' ', '\n', '\u{a0}']);
        } else if end == text.trim_end().len() && end >= text.len() - rest.len() {
            let kept = text.len() - rest.len();
            rest = text[kept..start.max(kept)].trim_end();
        }
    }
    rest.trim().to_owned()
}

fn answers_us(incoming: &Incoming, me: Me<'_>) -> bool {
    incoming
        .reply_to
        .as_ref()
        .and_then(|r| r.sender.as_ref())
        .is_some_and(|s| s.id == me.id.0)
}

fn mentions<'a>(incoming: &'a Incoming, me: Me<'a>) -> impl Iterator<Item = Entity> + 'a {
    let text = incoming.text.as_deref().unwrap_or_default();
    incoming
        .entities
        .iter()
        .copied()
        .filter(move |entity| match entity.kind {
            EntityKind::TextMention(id) => id == me.id.0,
            EntityKind::Mention => bytes_of(text, *entity)
                .and_then(|(start, end)| text[start..end].strip_prefix('@'))
                .is_some_and(|name| name.eq_ignore_ascii_case(me.username)),
            EntityKind::BotCommand => false,
        })
}

/// Where an entity lies in the text, in bytes; `None` if it lies outside or cuts a character.
fn bytes_of(text: &str, entity: Entity) -> Option<(usize, usize)> {
    let end = entity.offset.checked_add(entity.length)?;
    let (mut units, mut start) = (0, None);
    for (at, c) in text.char_indices().chain([(text.len(), '\0')]) {
        if units == entity.offset {
            start = start.or(Some(at));
        }
        if units == end {
            return start.map(|start| (start, at));
        }
        units += c.len_utf16();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const ME: Me<'static> = Me {
        id: BotId(8_400_000_001),
        username: "Support_Bot",
    };
    const GROUP: i64 = -100_123;

    fn said(kind: &str, fields: &str) -> Incoming {
        let json = format!(
            r#"{{"update_id":1,"message":{{"message_id":5,"date":1,"from":{{"id":7,"first_name":"A"}},
               "chat":{{"id":{GROUP},"type":"{kind}"}},{fields}}}}}"#
        );
        Incoming::parse(&json).expect("readable")
    }

    fn policy(respond_to: RespondTo, chats: Option<&[i64]>) -> GroupPolicy {
        GroupPolicy {
            respond_to,
            chats: chats.map(|c| c.iter().copied().collect::<HashSet<_>>()),
        }
    }

    const PLAIN: &str = r#""text":"hello all""#;
    const MENTION: &str =
        r#""text":"😀 @support_bot hi","entities":[{"type":"mention","offset":3,"length":12}]"#;
    const OTHER_MENTION: &str =
        r#""text":"@support_bot2 hi","entities":[{"type":"mention","offset":0,"length":13}]"#;
    const UNMARKED: &str = r#""text":"mail me@support_bot""#;
    const TEXT_MENTION: &str = r#""text":"Bot hi","entities":[{"type":"text_mention","offset":0,"length":3,"user":{"id":8400000001}}]"#;
    const REPLY: &str = r#""text":"yes","reply_to_message":{"message_id":4,"from":{"id":8400000001,"is_bot":true}}"#;
    const REPLY_TO_OTHER: &str =
        r#""text":"yes","reply_to_message":{"message_id":4,"from":{"id":9}}"#;
    const COMMAND: &str = r#""text":"/new@support_bot""#;
    const BARE_COMMAND: &str = r#""text":"/new""#;
    const OTHER_COMMAND: &str = r#""text":"/new@other_bot""#;
    const CAPTION: &str = r#""photo":[{"file_id":"f","width":1}],"caption":"@support_bot what is it","caption_entities":[{"type":"mention","offset":0,"length":12}]"#;
    const JOINED: &str = r#""new_chat_members":[{"id":9}]"#;
    const CUT: &str =
        r#""text":"😀@support_bot","entities":[{"type":"mention","offset":1,"length":13}]"#;

    #[rstest]
    #[case::plain(PLAIN, Place::Ignore, Place::Listen)]
    #[case::mention_behind_an_emoji(MENTION, Place::Listen, Place::Listen)]
    #[case::mention_of_a_longer_name(OTHER_MENTION, Place::Ignore, Place::Listen)]
    #[case::name_without_entity(UNMARKED, Place::Ignore, Place::Listen)]
    #[case::mention_by_id(TEXT_MENTION, Place::Listen, Place::Listen)]
    #[case::reply_to_us(REPLY, Place::Listen, Place::Listen)]
    #[case::reply_to_somebody(REPLY_TO_OTHER, Place::Ignore, Place::Listen)]
    #[case::command_for_us(COMMAND, Place::Listen, Place::Listen)]
    #[case::command_for_anybody(BARE_COMMAND, Place::Ignore, Place::Listen)]
    #[case::command_for_another_bot(OTHER_COMMAND, Place::Ignore, Place::Ignore)]
    #[case::mention_in_a_caption(CAPTION, Place::Listen, Place::Listen)]
    #[case::service_message(JOINED, Place::Ignore, Place::Ignore)]
    #[case::entity_that_cuts_a_surrogate_pair(CUT, Place::Ignore, Place::Listen)]
    fn the_group_policy_decides(
        #[case] fields: &str,
        #[case] mention: Place,
        #[case] all: Place,
        #[values("group", "supergroup")] kind: &str,
    ) {
        let incoming = said(kind, fields);
        let by = |policy: Option<&GroupPolicy>| decide(policy, &incoming, ME);
        assert_eq!(by(Some(&policy(RespondTo::Mention, None))), mention);
        assert_eq!(by(Some(&policy(RespondTo::All, None))), all);
        assert_eq!(
            by(Some(&policy(RespondTo::Mention, Some(&[GROUP])))),
            mention
        );
        assert_eq!(by(None), Place::Ignore);
    }

    #[test]
    fn a_group_that_is_not_named_is_left_and_one_that_is_left_is_ignored() {
        let only = policy(RespondTo::All, Some(&[-5]));
        assert_eq!(
            decide(Some(&only), &said("supergroup", PLAIN), ME),
            Place::Leave
        );
        let out = Incoming::parse(
            r#"{"update_id":1,"my_chat_member":{"date":1,"chat":{"id":-9,"type":"group"},"from":{"id":7},
               "new_chat_member":{"status":"left","user":{"id":8400000001}}}}"#,
        )
        .expect("readable");
        assert_eq!(decide(Some(&only), &out, ME), Place::Ignore);
        let migrated = said("group", r#""migrate_to_chat_id":-5"#);
        assert_eq!(decide(Some(&only), &migrated, ME), Place::Ignore);
    }

    #[test]
    fn a_private_chat_is_always_listened_to() {
        assert_eq!(decide(None, &said("private", PLAIN), ME), Place::Listen);
    }

    #[rstest]
    #[case(MENTION, "😀 @support_bot hi")]
    #[case(CAPTION, "what is it")]
    #[case(
        r#""text":"  @support_bot, hi","entities":[{"type":"mention","offset":2,"length":12}]"#,
        "hi"
    )]
    #[case(
        r#""text":"hi @support_bot ","entities":[{"type":"mention","offset":3,"length":12}]"#,
        "hi"
    )]
    #[case(
        r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}]"#,
        ""
    )]
    #[case(r#""text":"@support_bot hi @support_bot","entities":[{"type":"mention","offset":0,"length":12},{"type":"mention","offset":16,"length":12}]"#, "hi")]
    fn an_address_is_not_content(#[case] fields: &str, #[case] expected: &str) {
        assert_eq!(without_address(&said("group", fields), ME), expected);
    }

    proptest! {
        #[test]
        fn entities_anywhere_never_panic(
            text in "(@support_bot|[ a😀é@]){0,12}",
            spans in prop::collection::vec((0usize..40, 0usize..40), 0..4),
        ) {
            let mut incoming = said("group", PLAIN);
            incoming.text = Some(text);
            incoming.entities = spans
                .into_iter()
                .map(|(offset, length)| Entity { kind: EntityKind::Mention, offset, length })
                .chain([Entity { kind: EntityKind::TextMention(ME.id.0), offset: usize::MAX, length: 9 }])
                .chain([Entity { kind: EntityKind::TextMention(ME.id.0), offset: 1, length: 3 }])
                .collect();
            let _ = without_address(&incoming, ME);
            let _ = decide(Some(&policy(RespondTo::Mention, None)), &incoming, ME);
        }
    }
}
