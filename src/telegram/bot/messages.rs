//! The calls that send, edit and delete messages, and what a message to send holds.

use std::fmt;

use super::{Bot, READ_TIMEOUT, UPLOAD_TIMEOUT, WRITE_TIMEOUT, discard_true};
use crate::telegram::error::TelegramError;
use crate::telegram::keyboard::Keyboard;
use crate::telegram::methods::{self, ParseMode};
use crate::telegram::upload::NewFile;

/// A message text with or without formatting: at most 4,096 UTF-16 units after entity parsing (see [`super::markdown`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MessageText<'a> {
    /// Plain text, shown as it is.
    Plain(&'a str),
    /// Telegram's HTML (Bot API, "HTML style").
    Html(&'a str),
}

impl<'a> MessageText<'a> {
    pub(in crate::telegram) fn parts(self) -> (&'a str, Option<ParseMode>) {
        match self {
            Self::Plain(text) => (text, None),
            Self::Html(text) => (text, Some(ParseMode::Html)),
        }
    }
}

/// Shows the length only: message text must not get into a log.
impl fmt::Debug for MessageText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, mode) = self.parts();
        let mode = mode.map_or("Plain", |_| "Html");
        write!(f, "{mode}({} bytes)", text.len())
    }
}

/// One message to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMessage<'a> {
    /// The chat's id.
    pub chat_id: i64,
    /// The id of the topic; `None` for the General one.
    pub thread_id: Option<i64>,
    /// The topic in a channel's direct messages; required there.
    pub direct_messages_topic_id: Option<i64>,
    /// The text with its formatting.
    pub text: MessageText<'a>,
    /// The message it replies to; if that one is deleted, it is sent without the reply.
    pub reply_to: Option<i64>,
    /// It arrives without a sound.
    pub silent: bool,
    /// Whether the first link gets a preview.
    pub link_preview: bool,
    /// Buttons under it.
    pub keyboard: Option<&'a Keyboard>,
}

/// A rich message to send (Bot API 10.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NewRichMessage<'a> {
    /// The chat's id.
    pub chat_id: i64,
    /// The id of the topic; `None` for the General one.
    pub thread_id: Option<i64>,
    /// The topic in a channel's direct messages; required there.
    pub direct_messages_topic_id: Option<i64>,
    /// The message it replies to; if that one is deleted, it is sent without the reply.
    pub reply_to: Option<i64>,
    /// It arrives without a sound.
    pub silent: bool,
    /// Its content (Bot API, "Rich HTML style").
    pub html: &'a str,
}

impl Bot {
    /// `sendMessage`. Returns the `message_id`.
    ///
    /// # Errors
    /// See [`TelegramError`]; after a 5xx, a lost connection or an unreadable answer the message may have been sent nevertheless.
    pub async fn send_message(&self, message: &NewMessage<'_>) -> Result<i64, TelegramError> {
        let (text, parse_mode) = message.text.parts();
        let payload = methods::SendMessage {
            chat_id: message.chat_id,
            text,
            message_thread_id: message.thread_id,
            direct_messages_topic_id: message.direct_messages_topic_id,
            parse_mode,
            reply_parameters: message.reply_to.map(methods::ReplyParameters::to),
            disable_notification: message.silent,
            link_preview_options: link_preview_options(message.link_preview),
            reply_markup: message.keyboard,
        };
        let sent: methods::SentMessageId = self.call(&payload, WRITE_TIMEOUT).await?;
        Ok(sent.message_id)
    }

    /// `sendRichMessage`. Returns the `message_id`.
    ///
    /// # Errors
    /// As [`send_message`](Self::send_message); `Refused` with code 404 by a server of a version without the method.
    pub(crate) async fn send_rich_message(
        &self,
        message: &NewRichMessage<'_>,
    ) -> Result<i64, TelegramError> {
        let payload = methods::SendRichMessage {
            chat_id: message.chat_id,
            rich_message: methods::InputRichMessage { html: message.html },
            message_thread_id: message.thread_id,
            direct_messages_topic_id: message.direct_messages_topic_id,
            reply_parameters: message.reply_to.map(methods::ReplyParameters::to),
            disable_notification: message.silent,
        };
        let sent: methods::SentMessageId = self.call(&payload, WRITE_TIMEOUT).await?;
        Ok(sent.message_id)
    }

    /// `sendPhoto`, `sendDocument`, `sendAudio`, `sendVoice` or `sendVideo`. Returns the `message_id`.
    ///
    /// # Errors
    /// As [`send_message`](Self::send_message); `Refused` of what Telegram does not take for a photo or a video.
    pub(crate) async fn send_file(&self, file: &NewFile<'_>) -> Result<i64, TelegramError> {
        let sent: methods::SentMessageId = self
            .0
            .api
            .upload(
                &self.0.token,
                file.kind.method(),
                file.form(),
                UPLOAD_TIMEOUT,
            )
            .await?;
        Ok(sent.message_id)
    }

    /// `editMessageText`, without a link preview. An unchanged text is [`TelegramError::NotModified`].
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub(crate) async fn edit_message_text(
        &self,
        chat_id: i64,
        message_id: i64,
        text: MessageText<'_>,
    ) -> Result<(), TelegramError> {
        let (text, parse_mode) = text.parts();
        let payload = methods::EditMessageText {
            chat_id,
            message_id,
            text,
            parse_mode,
            link_preview_options: link_preview_options(false),
        };
        let _: methods::SentMessageId = self.call(&payload, WRITE_TIMEOUT).await?;
        Ok(())
    }

    /// `editMessageReplyMarkup`: replaces the buttons under a message of the bot; `None` removes them. Unchanged ones are
    /// [`TelegramError::NotModified`].
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub(crate) async fn edit_message_reply_markup(
        &self,
        chat_id: i64,
        message_id: i64,
        keyboard: Option<&Keyboard>,
    ) -> Result<(), TelegramError> {
        let payload = methods::EditMessageReplyMarkup {
            chat_id,
            message_id,
            reply_markup: keyboard,
        };
        let _: methods::SentMessageId = self.call(&payload, WRITE_TIMEOUT).await?;
        Ok(())
    }

    /// `deleteMessage`: only the bot's own messages, at most 48 hours old.
    ///
    /// # Errors
    /// See [`TelegramError`].
    pub(crate) async fn delete_message(
        &self,
        chat_id: i64,
        message_id: i64,
    ) -> Result<(), TelegramError> {
        let payload = methods::DeleteMessage {
            chat_id,
            message_id,
        };
        self.call(&payload, WRITE_TIMEOUT).await.map(discard_true)
    }

    /// `sendMessageDraft`: shows a preview of a message in a private chat; the same `draft_id` (not 0) replaces the preview. It
    /// disappears after 30 s or with the next message.
    ///
    /// # Errors
    /// See [`TelegramError`]; `Refused` with code 404 by a server of a version without the method.
    pub(crate) async fn send_message_draft(
        &self,
        chat_id: i64,
        thread_id: Option<i64>,
        draft_id: i64,
        text: MessageText<'_>,
    ) -> Result<(), TelegramError> {
        let (text, parse_mode) = text.parts();
        let payload = methods::SendMessageDraft {
            chat_id,
            draft_id,
            text,
            message_thread_id: thread_id,
            parse_mode,
        };
        self.call(&payload, READ_TIMEOUT).await.map(discard_true)
    }
}

fn link_preview_options(link_preview: bool) -> Option<methods::LinkPreviewOptions> {
    (!link_preview).then_some(methods::LinkPreviewOptions { is_disabled: true })
}
