//! Who wrote a message: a user or a bot, and a name for people where it is neither.

use super::display_name::display_name;
use crate::telegram::json::JsonObject;

/// Accounts behind which Telegram hides a sender: `GroupAnonymousBot`, `Channel_Bot` and the service account that forwards
/// the posts of a linked channel. Nobody can be told apart by them, so they are no senders.
const ANONYMOUS_ACCOUNTS: [i64; 3] = [1_087_968_824, 136_817_688, 777_000];

/// Who wrote. A message of a channel or of an anonymous admin has no sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The numeric id: the identity.
    pub id: i64,
    /// It is a bot.
    pub is_bot: bool,
    /// `username` as written, without @.
    pub username: Option<String>,
    /// First and last name, on one line.
    pub name: String,
    /// IETF language tag.
    pub language_code: Option<String>,
    /// A grant in the store lets them write where the list takes grants. Never read from an update: it is looked up.
    pub is_granted: bool,
}

/// The sender, unless the message was sent in the name of a chat.
pub(crate) fn sender_of(message: &JsonObject<'_>) -> Option<Sender> {
    if message.has("sender_chat") {
        return None;
    }
    user(&message.object("from")?).filter(|sender| !ANONYMOUS_ACCOUNTS.contains(&sender.id))
}

/// Who tapped a button. An anonymous admin taps by their own account.
pub(super) fn tapper(query: &JsonObject<'_>) -> Option<Sender> {
    user(&query.object("from")?)
}

/// The name of whoever a `MessageOrigin` names; empty where it names nobody.
pub(crate) fn origin_name(origin: &JsonObject<'_>) -> String {
    origin
        .object("sender_user")
        .and_then(|u| user(&u))
        .map(|u| u.name)
        .or_else(|| origin.text("sender_user_name").map(|n| display_name(&n)))
        .or_else(|| title(origin, "sender_chat"))
        .or_else(|| title(origin, "chat"))
        .unwrap_or_default()
}

/// The title of a chat in a field.
pub(crate) fn title(object: &JsonObject<'_>, key: &str) -> Option<String> {
    let title = object.object(key)?.text("title")?;
    Some(display_name(&title))
}

fn user(user: &JsonObject<'_>) -> Option<Sender> {
    let mut name = user.text("first_name").unwrap_or_default();
    if let Some(last) = user.text("last_name") {
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(&last);
    }
    Some(Sender {
        id: user.integer("id")?,
        is_bot: user.flag("is_bot"),
        username: user.text("username"),
        name: display_name(&name),
        language_code: user.text("language_code"),
        is_granted: false,
    })
}
