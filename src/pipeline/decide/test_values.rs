//! Values for the tables of this folder: a connector that nobody connects, and messages by their fields.

use std::sync::Arc;

use crate::api::connector::{AccessLevel, RespondTo};
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::pipeline::decide::classified_message::ClassifiedMessage;
use crate::registry::{
    AccessPolicy, AnswerPolicy, DeniedReply, FilePolicy, GroupPolicy, ResolvedConnector,
    SessionDuration, SessionPolicy, Speech, Transcription,
};
use crate::store::WaitingMessage;
use crate::telegram::{Bot, BotToken, TelegramApi};

/// May write.
pub(super) const ANN: i64 = 7;
/// May write, too.
pub(super) const BEN: i64 = 8;
/// May not write.
pub(super) const MALLORY: i64 = 66;
/// A group in which the bot answers when it is addressed.
pub(super) const GROUP: i64 = -100_123;

/// A connector that Ann and Ben may write to, in private and in groups.
pub(crate) fn connector(edit: impl FnOnce(&mut ResolvedConnector)) -> ResolvedConnector {
    let api = TelegramApi::new("http://127.0.0.1:9/".parse().expect("a URL")).expect("an API");
    let token = BotToken::parse("8400000001:AAFakeTokenFakeTokenFakeTokenFakeTok");
    let mut connector = ResolvedConnector {
        connector_ref: ConnectorRef {
            namespace: "acme".into(),
            name: "support".into(),
            uid: ConnectorUid::from("uid-1"),
        },
        generation: 1,
        bot: Bot::new(Arc::new(api), token.expect("a token")),
        bot_username: "support_bot".into(),
        bot_name: "Support".into(),
        display_name: None,
        answers: AnswerPolicy::default(),
        access: AccessPolicy {
            level: AccessLevel::Specific,
            ids: Arc::new([ANN, BEN].into()),
            usernames: Arc::default(),
            ends: Arc::default(),
            takes_grants: false,
        },
        save_denied_conversations: false,
        denied_reply: DeniedReply::Default,
        session: SessionPolicy {
            duration: SessionDuration::Infinite,
            max_messages: 50,
            max_tokens: None,
        },
        groups: Some(GroupPolicy {
            read_along: 0,
            respond_to: RespondTo::Mention,
            chats: None,
        }),
        greeting: None,
        messages_per_minute: 600,
        day_limits: None,
        concurrency: crate::api::connector::DEFAULT_CONCURRENCY,
        assistant: None,
        transcription: Transcription::None,
        speech: Speech::default(),
        approvals: None,
        requests: None,
        files: FilePolicy::default(),
        sending_per_minute: None,
        sign_in: None,
    };
    edit(&mut connector);
    connector
}

/// A message of somebody in private, 100 seconds into 1970 unless `fields` say otherwise.
pub(super) fn private(user: i64, fields: &str) -> String {
    let date = if fields.contains("\"date\"") {
        ""
    } else {
        "\"date\":100,"
    };
    format!(
        r#"{{"update_id":1,"message":{{"message_id":5,{date}"from":{{"id":{user}}},"chat":{{"id":{user},"type":"private"}},{fields}}}}}"#
    )
}

/// A message of somebody in [`GROUP`].
pub(super) fn in_group(user: i64, fields: &str) -> String {
    format!(
        r#"{{"update_id":1,"message":{{"message_id":5,"date":100,"from":{{"id":{user}}},"chat":{{"id":{GROUP},"type":"supergroup"}},{fields}}}}}"#
    )
}

/// What waits, numbered from 1, each with its attempts.
pub(super) fn waiting(
    connector: &ResolvedConnector,
    messages: &[(&str, u32)],
) -> Vec<ClassifiedMessage> {
    let read = |(n, (json, attempts)): (i64, &(&str, u32))| {
        let message = WaitingMessage {
            id: n,
            update_id: n,
            json: (*json).to_owned(),
            attempts: *attempts,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            crashes: 0,
        };
        ClassifiedMessage::read(connector, message, jiff::Timestamp::UNIX_EPOCH)
    };
    (1..).zip(messages).map(read).collect()
}
