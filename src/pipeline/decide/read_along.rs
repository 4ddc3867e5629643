//! What was said in a group before the bot was mentioned (`groups.readAlong`): which messages are kept for the next question there, and which of them
//! go with it. It fails closed: the words of whom the access level does not name are not kept, and are not handed on if that changes in between.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::connector::RespondTo;
use crate::assistant::EarlierMessage;
use crate::pipeline::decide::access::{self, AccessDecision};
use crate::pipeline::decide::assistant_input;
use crate::pipeline::decide::classified_message::ClassifiedUpdate;
use crate::pipeline::decide::decision::{self, Decision};
use crate::pipeline::decide::groups::GroupDecision;
use crate::pipeline::message::cut::cut;
use crate::pipeline::message::incoming_update::{IncomingUpdate, Sender, UpdateKind};
use crate::registry::ResolvedConnector;
use crate::store::{Change, ReadAlongMessage};

/// What is older goes with no question, and is removed.
pub(crate) const MAX_AGE: Duration = Duration::from_hours(24);
/// The longest message, in characters; the rest is cut off.
const MAX_MESSAGE_CHARS: usize = 1_000;
/// What goes with a question at most, in characters: the newest messages.
const MAX_CHARS: usize = 16_000;

/// The change that keeps a message for the next question in its group; `None` where it is not to be read along.
pub(crate) fn keep(
    connector: &ResolvedConnector,
    update: &ClassifiedUpdate,
    now: Timestamp,
) -> Option<Change> {
    let most = most_messages(connector, &update.incoming)?;
    let incoming = &update.incoming;
    let is_said_to_others =
        update.group == GroupDecision::Ignore && update.decision == Decision::Ignore;
    let is_listed = connector.groups.as_ref().is_some_and(|groups| {
        let chats = groups.chats.as_ref();
        chats.is_none_or(|chats| chats.contains(&incoming.chat.id))
    });
    let is_message = match incoming.kind {
        UpdateKind::Message => true,
        UpdateKind::EditedMessage => decision::is_user_edit(incoming),
        _ => false,
    };
    let may_be_kept = is_said_to_others
        && is_listed
        && is_message
        && incoming.is_user_message()
        && !incoming.via_bot
        && may_be_read(connector, incoming.sender.as_ref(), now);
    let sender = incoming.sender.as_ref().filter(|_| may_be_kept)?;
    let text = assistant_input::words_in_group(incoming, decision::bot_identity(connector))?;
    let message = ReadAlongMessage {
        message_id: incoming.message_id?,
        sent_at: incoming.date,
        user_id: sender.id,
        username: sender.username.clone(),
        name: sender.name.trim().to_owned(),
        text: cut(&text, MAX_MESSAGE_CHARS),
    };
    Some(Change::ReadAlong(Box::new(message), most))
}

/// How many messages go with a question that is asked with this message; `None` where none do.
pub(crate) fn most_messages(
    connector: &ResolvedConnector,
    incoming: &IncomingUpdate,
) -> Option<u16> {
    let groups = connector.groups.as_ref().filter(|_| !incoming.is_private());
    let groups = groups.filter(|groups| groups.respond_to == RespondTo::Mention)?;
    (groups.read_along > 0).then_some(groups.read_along)
}

/// Those of the messages that are kept which go with a question: sent before the message `before` and lately, of people who may write now,
/// `granted` by grants.
pub(crate) fn earlier_messages(
    connector: &ResolvedConnector,
    kept: Vec<ReadAlongMessage>,
    granted: &HashSet<i64>,
    (before, most): (i64, u16),
    now: Timestamp,
) -> Vec<EarlierMessage> {
    let oldest = now.checked_sub(MAX_AGE).unwrap_or(Timestamp::MIN);
    let mut chars = 0;
    let mut newest_first: Vec<_> = kept
        .into_iter()
        .rev()
        .filter(|message| message.message_id < before && message.sent_at >= oldest)
        .filter(|message| may_be_read(connector, Some(&sender_of(message, granted)), now))
        .take(usize::from(most))
        .take_while(|message| {
            chars += message.text.chars().count();
            chars <= MAX_CHARS
        })
        .map(|message| EarlierMessage {
            author: message.name,
            date: message.sent_at,
            text: message.text,
        })
        .collect();
    newest_first.reverse();
    newest_first
}

/// Who said what is kept and is let in by a grant, if by anything.
pub(crate) fn asks_for_grants(
    connector: &ResolvedConnector,
    kept: &[ReadAlongMessage],
    now: Timestamp,
) -> HashSet<i64> {
    let senders = kept
        .iter()
        .map(|message| sender_of(message, &HashSet::new()));
    let asks = senders.filter(|sender| access::asks_for_grants(&connector.access, sender, now));
    asks.map(|sender| sender.id).collect()
}

fn may_be_read(connector: &ResolvedConnector, sender: Option<&Sender>, now: Timestamp) -> bool {
    access::decide(&connector.access, sender, now) == AccessDecision::Allowed
}

/// The author, as far as access is decided by it. At level Open, which asks whether it is a bot, none of a bot was kept.
fn sender_of(message: &ReadAlongMessage, granted: &HashSet<i64>) -> Sender {
    Sender {
        id: message.user_id,
        is_bot: false,
        username: message.username.clone(),
        name: message.name.clone(),
        language_code: None,
        is_granted: granted.contains(&message.user_id),
    }
}

#[cfg(test)]
mod tests;
