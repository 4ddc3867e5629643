//! Drafts: previews in private chats, by `sendMessageDraft` and its rich form.

use serde_json::Value;

use super::chats::{topic, writable};
use super::formatting::{Formatted, draft_text};
use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::outgoing::check_rate_limit;
use super::params::Params;
use super::telegram_state::{Bot, Draft, TelegramState, WritableChat};

/// Drafts recorded per bot.
const DRAFTS: usize = 1_000;

/// `sendMessageDraft`.
pub(super) fn send_message_draft(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    send_draft(telegram, bot, params, draft_text(params)?, None)
}

/// Shows a draft; `rich_message` is a `RichMessage` with the same words.
pub(super) fn send_draft(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
    text: Formatted,
    rich_message: Option<Value>,
) -> MethodResult {
    let draft_id = params.integer("draft_id", 0, i64::MIN, i64::MAX);
    let destination = writable(telegram, bot, params.get("chat_id"))?;
    if matches!(destination, WritableChat::Group(_)) {
        return Err(MethodError::bad_request("TEXTDRAFT_PEER_INVALID"));
    }
    if draft_id == 0 {
        return Err(MethodError::bad_request("TEXTDRAFT_RANDOM_ID_INVALID"));
    }
    let thread_id = topic(&destination, params)?;
    let mut state = bot.state.lock();
    check_rate_limit(telegram, &mut state, &destination.chat())?;
    if state.drafts.len() >= DRAFTS {
        state.drafts.remove(0);
    }
    state.drafts.push(Draft {
        chat_id: destination.chat().id,
        thread_id,
        draft_id,
        text: text.text,
        entities: text.entities,
        rich_message,
        at: jiff::Timestamp::now(),
    });
    drop(state);
    bot.messages_changed.notify_waiters();
    MethodSuccess::true_result()
}
