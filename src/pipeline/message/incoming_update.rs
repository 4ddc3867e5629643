//! An update read: what the pipeline needs of it, and nothing that a newer Bot API could break.
//!
//! The rule: an update is readable if it is a JSON object with a usable `update_id` and holds something that happened in a
//! chat with a usable id. Every other field may be missing, unknown or broken, which costs that field only. What is not
//! readable is [`UnreadableUpdate`]: the pipeline counts it and is done with it, so that it blocks nothing.

mod content;

use jiff::Timestamp;

use crate::telegram::json::JsonObject;
use crate::telegram::{update, update_route};

pub use crate::telegram::UpdateKind;
pub use content::{Content, Membership, ServiceMessage, TelegramFile};

/// Accounts behind which Telegram hides a sender: `GroupAnonymousBot`, `Channel_Bot` and the service account that forwards
/// the posts of a linked channel. Nobody can be told apart by them, so they are no senders.
const ANONYMOUS_ACCOUNTS: [i64; 3] = [1_087_968_824, 136_817_688, 777_000];

/// What kind of chat it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatKind {
    /// With one user.
    Private,
    /// A basic group.
    Group,
    /// A supergroup, with or without topics.
    Supergroup,
    /// A channel.
    Channel,
    /// A kind that Telegram did not have when this was written: treated like a group without settings.
    Unknown,
}

/// The chat in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// `id`: positive for users, negative for groups and channels.
    pub id: i64,
    /// `type`.
    pub kind: ChatKind,
    /// `title` of a group or channel.
    pub title: Option<String>,
}

/// Who wrote. A message of a channel or of an anonymous admin has no sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The numeric id: the identity.
    pub id: i64,
    /// It is a bot.
    pub is_bot: bool,
    /// `username` as written, without @.
    pub username: Option<String>,
    /// First and last name.
    pub name: String,
    /// IETF language tag.
    pub language_code: Option<String>,
}

/// What an entity marks. Only those that decide something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntityKind {
    /// `@username`.
    Mention,
    /// A user without a username, by id.
    TextMention(i64),
    /// `/command` or `/command@bot`.
    BotCommand,
}

/// A marked stretch of the text. Offset and length are UTF-16 code units, as Telegram counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entity {
    /// What it marks.
    pub kind: EntityKind,
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub length: usize,
}

/// The message that this one answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyTo {
    /// Its `message_id`; `None` if it is in another chat.
    pub message_id: Option<i64>,
    /// Who wrote it, bots included.
    pub sender: Option<Sender>,
    /// Its text or caption.
    pub text: Option<String>,
    /// What was sent in it.
    pub content: Content,
    /// The part of it that the user quoted.
    pub quote: Option<String>,
}

/// One update, read.
#[derive(Debug, Clone, PartialEq)]
pub struct IncomingUpdate {
    /// `update_id`: 0 up to, not including, `i64::MAX`.
    pub update_id: i64,
    /// What it is about.
    pub kind: UpdateKind,
    /// Where.
    pub chat: Chat,
    /// The topic, where there are topics and it is not the General one.
    pub thread_id: Option<i64>,
    /// `message_id`; `None` for what is not a message.
    pub message_id: Option<i64>,
    /// Who; `None` for channels and anonymous admins.
    pub sender: Option<Sender>,
    /// When it was first sent; 1970 if Telegram did not say.
    pub date: Timestamp,
    /// When it was edited.
    pub edited: Option<Timestamp>,
    /// Text or caption.
    pub text: Option<String>,
    /// What is marked in `text`.
    pub entities: Vec<Entity>,
    /// What was sent.
    pub content: Content,
    /// What it answers.
    pub reply_to: Option<ReplyTo>,
    /// Who said it first, if it was forwarded: a name for people.
    pub forwarded_from: Option<String>,
    /// The album it belongs to.
    pub media_group_id: Option<String>,
    /// It was sent by way of an inline bot, so its text is not the sender's own.
    pub via_bot: bool,
}

/// Why an update cannot be read. Holds no message text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableUpdate {
    /// Not one JSON object.
    #[error("the update is not a JSON object")]
    NotAnObject,
    /// `update_id` is missing, no integer, negative or too big.
    #[error("the update has no usable update_id")]
    NoUpdateId,
    /// Nothing in it happened in a chat: a kind that was not asked for, or a chat without a usable id.
    #[error("the update holds nothing that happened in a chat")]
    NoChat,
}

impl IncomingUpdate {
    /// Reads an update as Telegram sent it.
    ///
    /// # Errors
    /// [`UnreadableUpdate`], by the rule at the top of this module. Never panics, whatever `json` is.
    pub fn parse(json: &str) -> Result<Self, UnreadableUpdate> {
        let update = JsonObject::parse(json).ok_or(UnreadableUpdate::NotAnObject)?;
        let update_id = update::update_id(&update).ok_or(UnreadableUpdate::NoUpdateId)?;
        let (kind, message) =
            update_route::kind_and_message(&update).ok_or(UnreadableUpdate::NoChat)?;
        let chat = chat(&message).ok_or(UnreadableUpdate::NoChat)?;
        let (text, entities) = match message.text("text") {
            Some(text) => (Some(text), entities(&message, "entities")),
            None => (
                message.text("caption"),
                entities(&message, "caption_entities"),
            ),
        };
        Ok(Self {
            update_id,
            kind,
            chat,
            thread_id: update_route::topic(&message),
            message_id: message.integer("message_id"),
            sender: sender_of(&message),
            date: time(&message, "date").unwrap_or(Timestamp::UNIX_EPOCH),
            edited: time(&message, "edit_date"),
            text,
            entities,
            content: Content::of(kind, &message),
            reply_to: reply_to(&message),
            forwarded_from: forwarded_from(&message),
            media_group_id: message.text("media_group_id"),
            via_bot: message.has("via_bot"),
        })
    }

    /// Whether it happened in a chat with one user.
    pub fn is_private(&self) -> bool {
        self.chat.kind == ChatKind::Private
    }

    /// Whether somebody said something that may be answered: no service message, no change of rights, no channel post.
    pub fn is_user_message(&self) -> bool {
        matches!(
            self.kind,
            UpdateKind::Message | UpdateKind::EditedMessage | UpdateKind::ChannelPost
        ) && !matches!(self.content, Content::Service(_) | Content::Membership(_))
    }
}

fn chat(message: &JsonObject<'_>) -> Option<Chat> {
    let chat = message.object("chat")?;
    let id = chat.integer("id")?;
    let kind = match chat.text("type").as_deref() {
        Some("private") => ChatKind::Private,
        Some("group") => ChatKind::Group,
        Some("supergroup") => ChatKind::Supergroup,
        Some("channel") => ChatKind::Channel,
        _ => ChatKind::Unknown,
    };
    Some(Chat {
        id,
        kind,
        title: chat.text("title"),
    })
}

/// The sender, unless the message was sent in the name of a chat.
fn sender_of(message: &JsonObject<'_>) -> Option<Sender> {
    if message.has("sender_chat") {
        return None;
    }
    user(&message.object("from")?).filter(|sender| !ANONYMOUS_ACCOUNTS.contains(&sender.id))
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
        name,
        language_code: user.text("language_code"),
    })
}

fn time(message: &JsonObject<'_>, key: &str) -> Option<Timestamp> {
    Timestamp::from_second(message.integer(key)?).ok()
}

fn entities(message: &JsonObject<'_>, key: &str) -> Vec<Entity> {
    let read = |entity: JsonObject<'_>| {
        let kind = match entity.text("type")?.as_str() {
            "mention" => EntityKind::Mention,
            "text_mention" => EntityKind::TextMention(entity.object("user")?.integer("id")?),
            "bot_command" => EntityKind::BotCommand,
            _ => return None,
        };
        Some(Entity {
            kind,
            offset: usize::try_from(entity.integer("offset")?).ok()?,
            length: usize::try_from(entity.integer("length")?).ok()?,
        })
    };
    message.objects(key).into_iter().filter_map(read).collect()
}

fn reply_to(message: &JsonObject<'_>) -> Option<ReplyTo> {
    let quote = message.object("quote").and_then(|q| q.text("text"));
    if let Some(replied) = message.object("reply_to_message") {
        // In a forum every message replies to the service message that opened its topic; nobody meant that as a reply.
        if replied.has("forum_topic_created") {
            return None;
        }
        return Some(ReplyTo {
            message_id: replied.integer("message_id"),
            sender: sender_of(&replied),
            text: replied.text("text").or_else(|| replied.text("caption")),
            content: Content::of(UpdateKind::Message, &replied),
            quote,
        });
    }
    message.object("external_reply").map(|replied| ReplyTo {
        message_id: None,
        sender: None,
        text: None,
        content: Content::of(UpdateKind::Message, &replied),
        quote,
    })
}

fn forwarded_from(message: &JsonObject<'_>) -> Option<String> {
    let origin = message.object("forward_origin")?;
    let title = |key: &str| origin.object(key).and_then(|chat| chat.text("title"));
    let name = origin
        .object("sender_user")
        .and_then(|u| user(&u))
        .map(|u| u.name)
        .or_else(|| origin.text("sender_user_name"))
        .or_else(|| title("sender_chat"))
        .or_else(|| title("chat"));
    Some(name.unwrap_or_default())
}

#[cfg(test)]
mod tests;
