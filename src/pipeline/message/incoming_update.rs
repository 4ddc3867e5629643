//! An update read: what the pipeline needs of it, and nothing that a newer Bot API could break.
//!
//! The rule: an update is readable if it is a JSON object with a usable `update_id` and holds something that happened in a
//! chat with a usable id. Every other field may be missing, unknown or broken, which costs that field only. What is not
//! readable is [`UnreadableUpdate`]: the pipeline counts it and is done with it, so that it blocks nothing.

mod content;
pub(crate) mod display_name;
pub(crate) mod entities;
mod reply_to;
mod rich_message;
mod sender;
mod tap;
mod topic_name;
mod words;

use jiff::Timestamp;

use crate::telegram::json::JsonObject;
use crate::telegram::{update, update_route};

pub use crate::telegram::UpdateKind;
pub use content::{Content, Membership, ServiceMessage, Sticker, TelegramFile, Video};
use display_name::display_name;
pub use entities::{Entity, EntityKind};
pub use reply_to::ReplyTo;
pub use sender::Sender;
pub use tap::ButtonTap;
pub use topic_name::TopicName;
use words::Words;

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

impl ChatKind {
    /// The kind as the Bot API writes it; an unknown one is a group.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Group | Self::Unknown => "group",
            Self::Supergroup => "supergroup",
            Self::Channel => "channel",
        }
    }
}

/// The chat in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// `id`: positive for users, negative for groups and channels.
    pub id: i64,
    /// `type`.
    pub kind: ChatKind,
    /// `title` of a group or channel, on one line.
    pub title: Option<String>,
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
    /// What it says of the topic's name.
    pub topic_name: Option<TopicName>,
    /// `message_id`; `None` for what is not a message. Of a tap that of the bot's message with the button.
    pub message_id: Option<i64>,
    /// Who; `None` for channels and anonymous admins.
    pub sender: Option<Sender>,
    /// When it was first sent; 1970 if Telegram did not say, as of a tap.
    pub date: Timestamp,
    /// When it was edited.
    pub edited: Option<Timestamp>,
    /// Text or caption; of a rich message its blocks as Markdown.
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
    /// The decision of a user from which it follows: an update of our own, not Telegram's.
    pub decision: Option<String>,
    /// The request for access of whose end it tells: an update of our own, not Telegram's.
    pub access_request: Option<String>,
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
        if kind == UpdateKind::CallbackQuery {
            let tapped = tap::read(&update, &message).ok_or(UnreadableUpdate::NoChat)?;
            return Ok(Self::of_tap(update_id, chat, &message, tapped));
        }
        let words = Words::of(&message);
        Ok(Self {
            update_id,
            kind,
            chat,
            thread_id: update_route::topic(&message),
            topic_name: topic_name::read(&message),
            message_id: message.integer("message_id"),
            sender: sender::sender_of(&message),
            date: time(&message, "date").unwrap_or(Timestamp::UNIX_EPOCH),
            edited: time(&message, "edit_date"),
            content: Content::of(kind, &message, words.rich),
            text: words.text,
            entities: words.entities,
            reply_to: reply_to::read(&message),
            forwarded_from: message
                .object("forward_origin")
                .map(|origin| sender::origin_name(&origin)),
            media_group_id: message.text("media_group_id"),
            decision: update.text("decision"),
            access_request: update.text("access_request"),
            via_bot: message.has("via_bot"),
        })
    }

    /// Nothing of the message under which the button was is the sender's.
    fn of_tap(
        update_id: i64,
        chat: Chat,
        message: &JsonObject<'_>,
        (tap, sender): (ButtonTap, Option<Sender>),
    ) -> Self {
        Self {
            update_id,
            kind: UpdateKind::CallbackQuery,
            chat,
            thread_id: update_route::topic(message),
            topic_name: None,
            message_id: message.integer("message_id"),
            sender,
            date: Timestamp::UNIX_EPOCH,
            edited: None,
            text: None,
            entities: Vec::new(),
            content: Content::Tap(tap),
            reply_to: None,
            forwarded_from: None,
            media_group_id: None,
            decision: None,
            access_request: None,
            via_bot: false,
        }
    }

    /// The tap that it is.
    pub fn tap(&self) -> Option<&ButtonTap> {
        match &self.content {
            Content::Tap(tap) => Some(tap),
            _ => None,
        }
    }

    /// Whether it happened in a chat with one user.
    pub(crate) fn is_private(&self) -> bool {
        self.chat.kind == ChatKind::Private
    }

    /// Whether somebody said something that may be answered: no service message, no change of rights, no channel post.
    pub(crate) fn is_user_message(&self) -> bool {
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
        title: chat
            .text("title")
            .map(|title| display_name(&title))
            .filter(|title| !title.is_empty()),
    })
}

fn time(message: &JsonObject<'_>, key: &str) -> Option<Timestamp> {
    Timestamp::from_second(message.integer(key)?).ok()
}

#[cfg(test)]
mod tests;
