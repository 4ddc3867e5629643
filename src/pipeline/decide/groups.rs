//! When the bot speaks in a group: mentioned, replied to, or a command for it; or always, if the connector says so.

use std::ops::Range;

use crate::api::connector::RespondTo;
use crate::identity::BotId;
use crate::pipeline::message::commands::{self, ParsedCommand};
use crate::pipeline::message::incoming_update::entities::{self, EntityKind};
use crate::pipeline::message::incoming_update::{ChatKind, Content, IncomingUpdate, Membership};
use crate::registry::GroupPolicy;

/// What to do with a message, judged by where it was said. Who said it is [`crate::pipeline::decide::access`]'s to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupDecision {
    /// It was said to the bot.
    Handle,
    /// It was not: nothing is answered, denied or stored.
    Ignore,
    /// The connector does not name this group: leave it, quietly.
    Leave,
}

/// The bot, as it is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct BotIdentity<'a> {
    /// Its id.
    pub id: BotId,
    /// Its username, without @.
    pub username: &'a str,
}

/// Decides where a message was said and whether to the bot. Call it for each update, also for a change of membership: that
/// is when a group that the connector does not name is left.
///
/// Private chats are always listened to. `policy` `None`: silent in groups and channels.
pub fn decide(
    policy: Option<&GroupPolicy>,
    incoming: &IncomingUpdate,
    bot: BotIdentity<'_>,
) -> GroupDecision {
    if incoming.is_private() {
        return if incoming.is_user_message() || incoming.tap().is_some() {
            GroupDecision::Handle
        } else {
            GroupDecision::Ignore
        };
    }
    let Some(policy) = policy else {
        return GroupDecision::Ignore;
    };
    if let Some(chats) = &policy.chats
        && !chats.contains(&incoming.chat.id)
    {
        return decide_unlisted_chat(incoming);
    }
    if incoming.tap().is_some() {
        return GroupDecision::Handle;
    }
    if !incoming.is_user_message() || incoming.via_bot {
        return GroupDecision::Ignore;
    }
    if incoming.content == Content::Other && !has_words(incoming) {
        // Of a kind that this version does not know, most often one more event in the chat.
        return GroupDecision::Ignore;
    }
    let first = commands::parse_command(incoming.text.as_deref().unwrap_or_default(), bot.username);
    let addressed = match first {
        ParsedCommand::ForAnotherBot => return GroupDecision::Ignore,
        ParsedCommand::Own { addressed, .. } | ParsedCommand::Unknown { addressed } => addressed,
        ParsedCommand::NotACommand => false,
    };
    let addressed_to_bot = policy.respond_to == RespondTo::All
        || addressed
        || replies_to_bot(incoming, bot)
        || !bot_mentions(incoming, bot).is_empty();
    if addressed_to_bot {
        GroupDecision::Handle
    } else {
        GroupDecision::Ignore
    }
}

/// The same in a group in which approvers are asked: whatever `policy` says of it, taps are handled there, and the bot does not leave it.
pub(crate) fn decide_in_approvals_chat(
    policy: Option<&GroupPolicy>,
    incoming: &IncomingUpdate,
    bot: BotIdentity<'_>,
) -> GroupDecision {
    if incoming.tap().is_some() {
        return GroupDecision::Handle;
    }
    match decide(policy, incoming, bot) {
        GroupDecision::Leave => GroupDecision::Ignore,
        decision => decision,
    }
}

fn has_words(incoming: &IncomingUpdate) -> bool {
    let text = incoming.text.as_deref().unwrap_or_default();
    !text.trim().is_empty()
}

/// In a chat that `chats` does not name. A bot that is already out, or whose group has just been given a new id by
/// Telegram (the new one may be named), has nothing to leave.
fn decide_unlisted_chat(incoming: &IncomingUpdate) -> GroupDecision {
    let group = matches!(
        incoming.chat.kind,
        ChatKind::Group | ChatKind::Supergroup | ChatKind::Channel
    );
    match incoming.content {
        Content::Membership(Membership::Left) | Content::Service(_) => GroupDecision::Ignore,
        _ if group => GroupDecision::Leave,
        _ => GroupDecision::Ignore,
    }
}

/// The text as it is meant for the assistant, as Markdown: a mention of the bot at its beginning or end is an address, and a `/new` before
/// it an order to the bot; neither is content.
pub(crate) fn strip_bot_mention(incoming: &IncomingUpdate, bot: BotIdentity<'_>) -> String {
    let text = incoming.text.as_deref().unwrap_or_default();
    let words = commands::strip_new_command(text, bot.username);
    let begin = text.len() - words.trim_start().len();
    let end = text.trim_end().len();
    let mut range = begin..end.max(begin);
    for mention in bot_mentions(incoming, bot) {
        if mention.start == begin {
            let rest = text[mention.end..].trim_start_matches([',', ':', ' ', '\n', '\u{a0}']);
            range.start = text.len() - rest.len();
        } else if mention.end == end && mention.end >= range.start {
            range.end = mention.start.max(range.start);
        }
    }
    range.end = range.end.max(range.start);
    let rest = text[range.clone()].trim_start();
    range.start = range.end - rest.len();
    range.end = range.start + rest.trim_end().len();
    entities::markdown_of(text, &incoming.entities, range)
}

/// Whether it answers a message of the bot.
pub(crate) fn replies_to_bot(incoming: &IncomingUpdate, bot: BotIdentity<'_>) -> bool {
    incoming
        .reply_to
        .as_ref()
        .and_then(|r| r.sender.as_ref())
        .is_some_and(|s| s.id == bot.id.0)
}

/// Where the bot is mentioned in the text, in bytes.
fn bot_mentions(incoming: &IncomingUpdate, bot: BotIdentity<'_>) -> Vec<Range<usize>> {
    let text = incoming.text.as_deref().unwrap_or_default();
    entities::byte_ranges(text, &incoming.entities)
        .into_iter()
        .zip(&incoming.entities)
        .filter_map(|(range, entity)| Some((range?, &entity.kind)))
        .filter(|(range, kind)| match kind {
            EntityKind::TextMention(id) => *id == bot.id.0,
            EntityKind::Mention => text[range.clone()]
                .strip_prefix('@')
                .is_some_and(|name| name.eq_ignore_ascii_case(bot.username)),
            _ => false,
        })
        .map(|(range, _)| range)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::pipeline::message::incoming_update::Entity;

    const BOT: BotIdentity<'static> = BotIdentity {
        id: BotId(8_400_000_001),
        username: "Support_Bot",
    };
    const GROUP: i64 = -100_123;

    fn incoming(kind: &str, fields: &str) -> IncomingUpdate {
        let json = format!(
            r#"{{"update_id":1,"message":{{"message_id":5,"date":1,"from":{{"id":7,"first_name":"A"}},
               "chat":{{"id":{GROUP},"type":"{kind}"}},{fields}}}}}"#
        );
        IncomingUpdate::parse(&json).expect("readable")
    }

    fn policy(respond_to: RespondTo, chats: Option<&[i64]>) -> GroupPolicy {
        GroupPolicy {
            read_along: 0,
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
    const RICH: &str = r#""rich_message":{"blocks":[{"type":"paragraph","text":["😀 ",{"type":"mention","text":"@support_bot","username":"support_bot"}," hi"]}]}"#;
    const UNKNOWN: &str = r#""community_chat_renamed":{}"#;
    const JOINED: &str = r#""new_chat_members":[{"id":9}]"#;
    const CUT: &str =
        r#""text":"😀@support_bot","entities":[{"type":"mention","offset":1,"length":13}]"#;

    #[rstest]
    #[case::plain(PLAIN, GroupDecision::Ignore, GroupDecision::Handle)]
    #[case::mention_behind_an_emoji(MENTION, GroupDecision::Handle, GroupDecision::Handle)]
    #[case::mention_of_a_longer_name(OTHER_MENTION, GroupDecision::Ignore, GroupDecision::Handle)]
    #[case::name_without_entity(UNMARKED, GroupDecision::Ignore, GroupDecision::Handle)]
    #[case::mention_by_id(TEXT_MENTION, GroupDecision::Handle, GroupDecision::Handle)]
    #[case::reply_to_us(REPLY, GroupDecision::Handle, GroupDecision::Handle)]
    #[case::reply_to_somebody(REPLY_TO_OTHER, GroupDecision::Ignore, GroupDecision::Handle)]
    #[case::command_for_us(COMMAND, GroupDecision::Handle, GroupDecision::Handle)]
    #[case::command_for_anybody(BARE_COMMAND, GroupDecision::Ignore, GroupDecision::Handle)]
    #[case::command_for_another_bot(OTHER_COMMAND, GroupDecision::Ignore, GroupDecision::Ignore)]
    #[case::mention_in_a_caption(CAPTION, GroupDecision::Handle, GroupDecision::Handle)]
    #[case::mention_in_a_rich_message(RICH, GroupDecision::Handle, GroupDecision::Handle)]
    #[case::unknown_kind_without_words(UNKNOWN, GroupDecision::Ignore, GroupDecision::Ignore)]
    #[case::service_message(JOINED, GroupDecision::Ignore, GroupDecision::Ignore)]
    #[case::entity_that_cuts_a_surrogate_pair(CUT, GroupDecision::Ignore, GroupDecision::Handle)]
    fn the_group_policy_decides(
        #[case] fields: &str,
        #[case] mention: GroupDecision,
        #[case] all: GroupDecision,
        #[values("group", "supergroup")] kind: &str,
    ) {
        let incoming = incoming(kind, fields);
        let by = |policy: Option<&GroupPolicy>| decide(policy, &incoming, BOT);
        assert_eq!(by(Some(&policy(RespondTo::Mention, None))), mention);
        assert_eq!(by(Some(&policy(RespondTo::All, None))), all);
        assert_eq!(
            by(Some(&policy(RespondTo::Mention, Some(&[GROUP])))),
            mention
        );
        assert_eq!(by(None), GroupDecision::Ignore);
    }

    #[test]
    fn unlisted_group_is_left_once() {
        let only = policy(RespondTo::All, Some(&[-5]));
        assert_eq!(
            decide(Some(&only), &incoming("supergroup", PLAIN), BOT),
            GroupDecision::Leave
        );
        let out = IncomingUpdate::parse(
            r#"{"update_id":1,"my_chat_member":{"date":1,"chat":{"id":-9,"type":"group"},"from":{"id":7},
               "new_chat_member":{"status":"left","user":{"id":8400000001}}}}"#,
        )
        .expect("readable");
        assert_eq!(decide(Some(&only), &out, BOT), GroupDecision::Ignore);
        let migrated = incoming("group", r#""migrate_to_chat_id":-5"#);
        assert_eq!(decide(Some(&only), &migrated, BOT), GroupDecision::Ignore);
    }

    #[test]
    fn approvals_chat_is_never_left_and_its_taps_are_handled() {
        let tap = IncomingUpdate::parse(
            r#"{"update_id":1,"callback_query":{"id":"q","from":{"id":7},"data":"d:1:0",
               "message":{"message_id":4,"date":1,"chat":{"id":-9,"type":"supergroup"}}}}"#,
        )
        .expect("readable");
        let message = incoming("supergroup", PLAIN);
        let unlisted = policy(RespondTo::All, Some(&[-5]));
        for policy in [None, Some(&unlisted)] {
            let decide = |incoming| decide_in_approvals_chat(policy, incoming, BOT);
            assert_eq!(decide(&tap), GroupDecision::Handle);
            assert_eq!(decide(&message), GroupDecision::Ignore);
        }
        let all = policy(RespondTo::All, None);
        let decided = decide_in_approvals_chat(Some(&all), &message, BOT);
        assert_eq!(decided, GroupDecision::Handle, "as in every group");
    }

    #[test]
    fn private_chat_is_always_handled() {
        assert_eq!(
            decide(None, &incoming("private", PLAIN), BOT),
            GroupDecision::Handle
        );
    }

    #[rstest]
    #[case(MENTION, "😀 @support_bot hi")]
    #[case(CAPTION, "what is it")]
    #[case(RICH, "😀 @support_bot hi")]
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
    fn bot_mention_is_stripped(#[case] fields: &str, #[case] expected: &str) {
        assert_eq!(strip_bot_mention(&incoming("group", fields), BOT), expected);
    }

    proptest! {
        #[test]
        fn arbitrary_entities_never_panic(
            text in "(@support_bot|[ a😀é@]){0,12}",
            spans in prop::collection::vec((0usize..40, 0usize..40), 0..4),
        ) {
            let mut incoming = incoming("group", PLAIN);
            incoming.text = Some(text);
            incoming.entities = spans
                .into_iter()
                .map(|(offset, length)| Entity { kind: EntityKind::Mention, offset, length })
                .chain([Entity { kind: EntityKind::TextMention(BOT.id.0), offset: usize::MAX, length: 9 }])
                .chain([Entity { kind: EntityKind::TextMention(BOT.id.0), offset: 1, length: 3 }])
                .collect();
            let _ = strip_bot_mention(&incoming, BOT);
            let _ = decide(Some(&policy(RespondTo::Mention, None)), &incoming, BOT);
        }
    }
}
