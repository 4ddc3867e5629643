//! From what is written to what is meant: the defaults of API.md, resolved in code (the CRD has none).

use std::collections::HashSet;

use crate::api::connector::{RespondTo, TelegramConnectorSpec};
use crate::registry::{DeniedReply, GroupPolicy, SessionDuration, SessionPolicy};

/// The Secret key of a bot token.
pub const TOKEN_KEY: &str = "token";
/// The Secret key of an assistant's API key.
pub const API_KEY_KEY: &str = "api-key";

const SESSION_HOURS: i32 = 24;
const SESSION_MESSAGES: i32 = 50;
const MESSAGES_PER_MINUTE: i32 = 60;

/// How long a session lasts and how much of it is sent. Values that admission would refuse are taken at the nearest bound.
pub fn session(spec: &TelegramConnectorSpec) -> SessionPolicy {
    let session = spec.session.as_ref();
    let hours = session
        .and_then(|s| s.duration_hours)
        .unwrap_or(SESSION_HOURS);
    let messages = session
        .and_then(|s| s.max_messages)
        .unwrap_or(SESSION_MESSAGES);
    SessionPolicy {
        duration: match u32::try_from(hours) {
            Err(_) => SessionDuration::None,
            Ok(0) => SessionDuration::Infinite,
            Ok(hours) => SessionDuration::Hours(hours.min(87_600)),
        },
        max_messages: messages.clamp(2, 1000).unsigned_abs(),
    }
}

/// How the bot behaves in groups.
pub fn groups(spec: &TelegramConnectorSpec) -> Option<GroupPolicy> {
    spec.groups.as_ref().map(|g| GroupPolicy {
        respond_to: g.respond_to.unwrap_or(RespondTo::Mention),
        chats: g
            .chats
            .as_ref()
            .map(|c| c.iter().copied().collect::<HashSet<i64>>()),
    })
}

/// What a denied user is told.
pub fn denied_reply(spec: &TelegramConnectorSpec) -> DeniedReply {
    match spec.access.denied_reply.as_deref() {
        None => DeniedReply::Default,
        Some("") => DeniedReply::Silent,
        Some(text) => DeniedReply::Text(text.into()),
    }
}

/// Messages per minute and user.
pub fn messages_per_minute(spec: &TelegramConnectorSpec) -> u32 {
    spec.limits
        .as_ref()
        .and_then(|l| l.messages_per_minute)
        .unwrap_or(MESSAGES_PER_MINUTE)
        .clamp(1, 600)
        .unsigned_abs()
}
