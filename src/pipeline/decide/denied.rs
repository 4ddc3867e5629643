//! What is kept of a denied message, and what its sender is told.

use crate::api::connector::AccessLevel;
use crate::identity::BotId;
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::message::cut::cut;
use crate::pipeline::message::incoming_update::IncomingUpdate;
use crate::registry::{DeniedReply, ResolvedConnector};
use crate::store::{DeniedMessage, NoticeKind};

/// A denial goes out at most once in this time per chat (API.md), and so do the ids that a denied user asks for.
pub(crate) const DENIAL_NOTICE_INTERVAL: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// So much of a denied text is kept, in characters.
const MAX_TEXT_CHARS: usize = 1_000;
/// So much of its sender's name; Telegram's limit is 64 for the first and the last name each.
const MAX_NAME_CHARS: usize = 130;

/// The record of a denied message, if the connector wants it.
pub(crate) fn denied_message(
    connector: &ResolvedConnector,
    bot: BotId,
    incoming: &IncomingUpdate,
) -> Option<DeniedMessage> {
    if !connector.save_denied_conversations {
        return None;
    }
    let sender = incoming.sender.as_ref();
    Some(DeniedMessage {
        time: incoming.date,
        namespace: connector.connector_ref.namespace.to_string(),
        name: connector.connector_ref.name.to_string(),
        bot,
        update_id: incoming.update_id,
        chat: incoming.chat.id,
        user_id: sender.map(|s| s.id),
        username: sender.and_then(|s| s.username.clone()),
        user_name: sender.map(|s| cut(&s.name, MAX_NAME_CHARS)),
        language: sender.and_then(|s| s.language_code.clone()),
        text: incoming
            .text
            .as_deref()
            .map(|text| cut(text, MAX_TEXT_CHARS)),
        content: incoming.content.label().to_owned(),
        level: level_name(connector.access.level).to_owned(),
    })
}

/// What the sender is told, and as which kind of notice; `None`: nothing. Where a denial says nothing, so does a `/id`: the bot must not
/// seem to be there. Another bot is told nothing: it can pass nothing on, and two bots that answer each other never stop.
pub(crate) fn denial_notice(
    connector: &ResolvedConnector,
    incoming: &IncomingUpdate,
    asks_for_ids: bool,
) -> Option<(NoticeKind, CannedReply)> {
    if incoming.sender.as_ref().is_some_and(|s| s.is_bot) {
        return None;
    }
    let denial = match &connector.denied_reply {
        DeniedReply::Silent => return None,
        DeniedReply::Text(text) if text.is_empty() => return None,
        _ if asks_for_ids => return Some((NoticeKind::Ids, CannedReply::ids(incoming))),
        DeniedReply::Text(text) => CannedReply::CustomDenial(text.clone()),
        // Without a sender there is no id to pass on and nobody to enable.
        DeniedReply::Default => CannedReply::Denied {
            user: incoming.sender.as_ref()?.id,
        },
    };
    Some((NoticeKind::Denial, denial))
}

fn level_name(level: AccessLevel) -> &'static str {
    match level {
        AccessLevel::Open => "Open",
        AccessLevel::Company => "Company",
        AccessLevel::AgentEnabled => "AgentEnabled",
        AccessLevel::Specific => "Specific",
    }
}
