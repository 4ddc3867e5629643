//! Bot API objects: users, chats, messages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entity::Entity;

/// A `User`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The numeric id.
    pub id: i64,
    /// Whether it is a bot.
    #[serde(default)]
    pub is_bot: bool,
    /// First name.
    pub first_name: String,
    /// Last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Without the leading `@`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// IETF language tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language_code: Option<String>,
}

impl User {
    /// A human user without username and language.
    pub fn new(id: i64, first_name: &str) -> Self {
        Self {
            id,
            is_bot: false,
            first_name: first_name.to_owned(),
            last_name: None,
            username: None,
            language_code: None,
        }
    }

    /// Sets the username (without `@`).
    #[must_use]
    pub fn username(mut self, username: &str) -> Self {
        self.username = Some(username.to_owned());
        self
    }

    /// Sets the IETF language tag.
    #[must_use]
    pub fn language(mut self, code: &str) -> Self {
        self.language_code = Some(code.to_owned());
        self
    }
}

/// A `Chat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Chat {
    pub id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_forum: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_members_are_administrators: bool,
}

impl Chat {
    pub(super) fn private(user: &User) -> Self {
        Self {
            id: user.id,
            title: None,
            first_name: Some(user.first_name.clone()),
            last_name: user.last_name.clone(),
            username: user.username.clone(),
            kind: "private",
            is_forum: false,
            all_members_are_administrators: false,
        }
    }
}

/// A `Message`. Fields that depend on its kind, text excepted, are in `content`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(clippy::struct_field_names, reason = "the names of the Bot API")]
pub(super) struct Message {
    pub message_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Arc<User>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_chat: Option<Chat>,
    pub chat: Chat,
    pub date: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit_date: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_thread_id: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_topic_message: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to_message: Option<Box<Message>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caption_entities: Vec<Entity>,
    #[serde(flatten)]
    pub content: Map<String, Value>,
    /// The inline keyboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<Value>,
}

impl Message {
    pub(super) fn new(message_id: i64, chat: Chat, date: i64) -> Self {
        Self {
            message_id,
            from: None,
            sender_chat: None,
            chat,
            date,
            edit_date: None,
            message_thread_id: None,
            is_topic_message: false,
            reply_to_message: None,
            text: None,
            entities: Vec::new(),
            caption: None,
            caption_entities: Vec::new(),
            content: Map::new(),
            reply_markup: None,
        }
    }

    /// Sets the text; an empty one is none.
    pub(super) fn set_text(&mut self, text: String, entities: Vec<Entity>) {
        self.entities = entities;
        self.text = Some(text).filter(|text| !text.is_empty());
    }

    /// Sets the caption; an empty one is none.
    pub(super) fn set_caption(&mut self, caption: String, entities: Vec<Entity>) {
        self.caption_entities = entities;
        self.caption = Some(caption).filter(|caption| !caption.is_empty());
    }

    /// The form inside of `reply_to_message`: without its own `reply_to_message`.
    pub(super) fn without_reply(&self) -> Self {
        Self {
            reply_to_message: None,
            ..self.clone()
        }
    }
}
