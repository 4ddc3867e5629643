//! Which method of the Bot API sends a part, and with what.

use crate::pipeline::send::outgoing::OutgoingForm;
use crate::store::FilePart;
use crate::telegram::{Bot, MessageText, NewFile, NewMessage, NewRichMessage, TelegramError};

/// Where a message goes, as the Bot API has it.
pub(super) struct Address {
    pub(super) chat_id: i64,
    pub(super) thread_id: Option<i64>,
    pub(super) direct_messages_topic_id: Option<i64>,
    pub(super) reply_to: Option<i64>,
    pub(super) silent: bool,
}

/// Calls the method of a form; `upload`: the bytes of a file. The id of the message; `None`: nothing was to be sent.
pub(super) async fn send_form(
    bot: &Bot,
    form: OutgoingForm<'_>,
    upload: Option<&[u8]>,
    address: Address,
) -> Result<Option<i64>, TelegramError> {
    let Address {
        chat_id,
        thread_id,
        direct_messages_topic_id,
        reply_to,
        silent,
    } = address;
    let send_text = async |text, keyboard| {
        let message = NewMessage {
            chat_id,
            thread_id,
            direct_messages_topic_id,
            text,
            reply_to,
            silent,
            link_preview: false,
            keyboard,
        };
        bot.send_message(&message).await
    };
    let sent = match form {
        OutgoingForm::Html(html, keyboard) => send_text(MessageText::Html(html), keyboard).await,
        OutgoingForm::Plain(text, keyboard) => send_text(MessageText::Plain(text), keyboard).await,
        OutgoingForm::File(file, kind) => {
            let file = NewFile {
                chat_id,
                thread_id,
                direct_messages_topic_id,
                reply_to,
                silent,
                kind,
                name: &file.name,
                media_type: &file.media_type,
                content: upload.unwrap_or_default(),
                caption: caption_of(file),
            };
            bot.send_file(&file).await
        }
        OutgoingForm::Rich(rich) => {
            let message = NewRichMessage {
                chat_id,
                thread_id,
                direct_messages_topic_id,
                reply_to,
                silent,
                html: &rich.html,
            };
            bot.send_rich_message(&message).await
        }
        OutgoingForm::Nothing => return Ok(None),
    };
    sent.map(Some)
}

fn caption_of(file: &FilePart) -> Option<MessageText<'_>> {
    let html = file.caption.as_ref()?.html.as_deref();
    Some(html.map_or(MessageText::Plain(&file.replacement), MessageText::Html))
}
