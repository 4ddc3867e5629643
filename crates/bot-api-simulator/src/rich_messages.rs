//! `sendRichMessage` and `sendRichMessageDraft`: blocks such as tables and formulas, from HTML or Markdown.
//!
//! Entities (links, mentions) in plain words are not detected.

use serde_json::{Map, Value, json};

use super::drafts::send_draft;
use super::formatting::Formatted;
use super::html::ParseError;
use super::keyboard::ReplyMarkup;
use super::method_result::{MethodError, MethodResult};
use super::outgoing::{OutgoingContent, send_one};
use super::params::Params;
use super::rich_blocks::{blocks, plain_lines};
use super::telegram_state::{Bot, TelegramState};
use super::{rich_limits, rich_markdown, rich_tree};

/// An `InputRichMessage` that has been read.
pub(super) struct RichMessage {
    /// The `RichMessage` that people see.
    pub shown: Value,
    /// `html` or `markdown`.
    pub format: &'static str,
    /// As the bot sent it.
    pub source: String,
}

/// `sendRichMessage`.
pub(super) fn send_rich_message(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let rich = read(params, false)?;
    let mut fields = Map::new();
    fields.insert("rich_message".into(), rich.shown);
    let content = OutgoingContent {
        caption: Formatted {
            source: rich.source,
            parse_mode: rich.format.to_owned(),
            ..Formatted::default()
        },
        fields,
        ..OutgoingContent::default()
    };
    let markup = ReplyMarkup::parse(params.get("reply_markup"))?;
    send_one(telegram, bot, params, content, markup)
}

/// `sendRichMessageDraft`.
pub(super) fn send_rich_message_draft(
    telegram: &TelegramState,
    bot: &Bot,
    params: &Params,
) -> MethodResult {
    let rich = read(params, true)?;
    let text = Formatted {
        text: plain_text(&rich.shown),
        ..Formatted::default()
    };
    send_draft(telegram, bot, params, text, Some(rich.shown))
}

/// The `RichBlock`s of the HTML of a rich message.
///
/// # Errors
/// What the Bot API does not take.
pub fn parse_rich_html(html: &str) -> Result<Vec<Value>, ParseError> {
    limited_blocks(&rich_tree::parse(html)?, false)
}

fn limited_blocks(nodes: &[rich_tree::Node], is_draft: bool) -> Result<Vec<Value>, ParseError> {
    let blocks = blocks(nodes, is_draft)?;
    rich_limits::check(&blocks)?;
    Ok(blocks)
}

/// The words of a `RichMessage`.
pub(super) fn plain_text(rich: &Value) -> String {
    rich["blocks"]
        .as_array()
        .map_or_else(String::new, |blocks| plain_lines(blocks))
}

/// Reads the parameter `rich_message`, an `InputRichMessage`.
pub(super) fn read(params: &Params, is_draft: bool) -> Result<RichMessage, MethodError> {
    let refuse =
        |why: &str| MethodError::bad_request(&format!("Can't parse InputRichMessage: {why}"));
    let given = params.required_json("rich_message", "rich message")?;
    if !given.is_object() {
        return Err(refuse("expected an Object"));
    }
    let (nodes, format, source) = match (given["html"].as_str(), given["markdown"].as_str()) {
        (Some(html), None) => (rich_tree::parse(html), "html", html),
        (None, Some(text)) => (Ok(rich_markdown::parse(text)), "markdown", text),
        _ => {
            return Err(refuse(
                "exactly one of the fields \"html\" and \"markdown\" must be used",
            ));
        }
    };
    let blocks = nodes
        .and_then(|nodes| limited_blocks(&nodes, is_draft))
        .map_err(|error| MethodError::bad_request(&format!("can't parse entities: {error}")))?;
    if blocks.is_empty() && !is_draft {
        return Err(MethodError::bad_request("message text is empty"));
    }
    let mut shown = json!({ "blocks": blocks });
    if given["is_rtl"] == true {
        shown["is_rtl"] = json!(true);
    }
    Ok(RichMessage {
        shown,
        format,
        source: source.to_owned(),
    })
}
