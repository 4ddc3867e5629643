//! `reply_markup`: inline keyboards with their limits, and the other keyboards as they are.
//!
//! Follows `get_reply_markup` of the Bot API server, with one difference: what Telegram would drop without a word (a button
//! without text, a button beyond the eighth of a row, the second action of a button) is an error, because the bot's author
//! wants to know.

use serde_json::{Map, Value, json};

use super::entity::checked_link;
use super::method_result::MethodError;

/// Buttons in a row that people can still read.
const MAX_ROW: usize = 8;
/// Buttons of an inline keyboard.
const MAX_BUTTONS: usize = 100;
/// `callback_data` in bytes.
const MAX_CALLBACK_DATA: usize = 64;
/// The fields of which a button has exactly one.
const ACTIONS: &[&str] = &[
    "url",
    "callback_data",
    "callback_game",
    "pay",
    "switch_inline_query",
    "switch_inline_query_chosen_chat",
    "switch_inline_query_current_chat",
    "login_url",
    "web_app",
    "copy_text",
];

/// The `reply_markup` of a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum ReplyMarkup {
    /// Absent, or without any button.
    #[default]
    None,
    /// An `InlineKeyboardMarkup`, which becomes part of the message.
    Inline(Value),
    /// A `ReplyKeyboardMarkup`, `ReplyKeyboardRemove` or `ForceReply`, which is recorded and not part of the message.
    Other(Value),
}

impl ReplyMarkup {
    /// Reads the parameter of a method that sends.
    ///
    /// # Errors
    /// Telegram's own words.
    pub(super) fn parse(parameter: &str) -> Result<Self, MethodError> {
        if parameter.is_empty() {
            return Ok(Self::None);
        }
        let markup: Value = serde_json::from_str(parameter).map_err(|_| {
            MethodError::bad_request("Can't parse reply keyboard markup JSON object")
        })?;
        let Value::Object(fields) = &markup else {
            return Err(MethodError::bad_request("Object expected as reply markup"));
        };
        if let Some(rows) = rows(fields, "keyboard", "Field \"keyboard\"")? {
            check_reply_keyboard(&rows)?;
            return Ok(Self::Other(markup));
        }
        let name = "Field \"inline_keyboard\" of the InlineKeyboardMarkup";
        if let Some(rows) = rows(fields, "inline_keyboard", name)? {
            return Ok(Self::Inline(
                json!({"inline_keyboard": inline_rows(&rows)?}),
            ));
        }
        let flag = |name: &str| fields.get(name).and_then(Value::as_bool) == Some(true);
        if flag("remove_keyboard") || flag("force_reply") {
            return Ok(Self::Other(markup));
        }
        Ok(Self::None)
    }

    /// Reads the parameter of a method that edits: only an inline keyboard can belong to an existing message.
    pub(super) fn parse_inline(parameter: &str) -> Result<Option<Value>, MethodError> {
        match Self::parse(parameter)? {
            Self::None => Ok(None),
            Self::Inline(keyboard) => Ok(Some(keyboard)),
            Self::Other(_) => Err(MethodError::bad_request("Inline keyboard expected")),
        }
    }

    /// What `Message.reply_markup` shows.
    pub(super) fn inline(&self) -> Option<Value> {
        match self {
            Self::Inline(keyboard) => Some(keyboard.clone()),
            Self::None | Self::Other(_) => None,
        }
    }

    /// What is recorded of the call.
    pub(super) fn recorded(self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Inline(markup) | Self::Other(markup) => Some(markup),
        }
    }
}

/// The rows of a keyboard; `None` if it is absent or has no button.
fn rows<'a>(
    fields: &'a Map<String, Value>,
    field: &str,
    name: &str,
) -> Result<Option<Vec<&'a [Value]>>, MethodError> {
    let rows = match fields.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(rows)) => rows,
        Some(_) => {
            let text = format!("Field \"{field}\" must be of type Array");
            return Err(MethodError::bad_request(&text));
        }
    };
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let Value::Array(buttons) = row else {
            return Err(MethodError::bad_request(&format!(
                "{name} must be an Array of Arrays"
            )));
        };
        if !buttons.is_empty() {
            read.push(buttons.as_slice());
        }
    }
    Ok((!read.is_empty()).then_some(read))
}

fn check_reply_keyboard(rows: &[&[Value]]) -> Result<(), MethodError> {
    for button in rows.iter().copied().flatten() {
        let text = match button {
            Value::String(_) => Ok(String::new()),
            Value::Object(fields) => required_string(fields, "text"),
            _ => Err("KeyboardButton must be an Object".to_owned()),
        };
        text.map_err(|why| {
            MethodError::bad_request(&format!("Can't parse keyboard button: {why}"))
        })?;
    }
    Ok(())
}

fn inline_rows(rows: &[&[Value]]) -> Result<Vec<Vec<Value>>, MethodError> {
    let total: usize = rows.iter().map(|row| row.len()).sum();
    if total > MAX_BUTTONS || rows.iter().any(|row| row.len() > MAX_ROW) {
        return Err(MethodError::bad_request("reply markup is too long"));
    }
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let mut buttons = Vec::with_capacity(row.len());
        for button in *row {
            let button = inline_button(button).map_err(|why| {
                MethodError::bad_request(&format!("Can't parse inline keyboard button: {why}"))
            })?;
            check_action(&button)?;
            buttons.push(button);
        }
        read.push(buttons);
    }
    Ok(read)
}

/// A button with the fields that Telegram gives back.
fn inline_button(button: &Value) -> Result<Value, String> {
    let Value::Object(fields) = button else {
        return Err("InlineKeyboardButton must be an Object".into());
    };
    let text = required_string(fields, "text")?;
    if text.trim().is_empty() {
        return Err("Field \"text\" must be non-empty".into());
    }
    let mut read = json!({ "text": text });
    for optional in ["icon_custom_emoji_id", "style"] {
        if let Some(value) = fields.get(optional).filter(|value| !value.is_null()) {
            read[optional] = value.clone();
        }
    }
    let style = read["style"].as_str().unwrap_or("default");
    if !matches!(style, "default" | "primary" | "success" | "danger") {
        return Err("Invalid button style specified".into());
    }
    let given = |action: &&&str| match fields.get(**action) {
        None | Some(Value::Null) => false,
        // Without a value, these are no action.
        Some(Value::String(value)) => {
            !value.is_empty() || !matches!(**action, "url" | "callback_data")
        }
        Some(_) => true,
    };
    let mut actions = ACTIONS.iter().filter(given);
    let Some(action) = actions.next() else {
        return Err("Text buttons are unallowed in the inline keyboard".into());
    };
    if let Some(second) = actions.next() {
        return Err(format!(
            "Fields \"{action}\" and \"{second}\" can't be used together"
        ));
    }
    read[*action] = match *action {
        "callback_game"
        | "pay"
        | "login_url"
        | "web_app"
        | "copy_text"
        | "switch_inline_query_chosen_chat" => fields[*action].clone(),
        _ => json!(required_string(fields, action)?),
    };
    Ok(read)
}

/// What Telegram's servers check of an action.
fn check_action(button: &Value) -> Result<(), MethodError> {
    if let Some(data) = button["callback_data"].as_str()
        && data.len() > MAX_CALLBACK_DATA
    {
        return Err(MethodError::bad_request("BUTTON_DATA_INVALID"));
    }
    if let Some(url) = button["url"].as_str()
        && checked_link(url).is_none()
    {
        return Err(MethodError::bad_request(&format!(
            "Inline keyboard button URL '{url}' is invalid: Wrong HTTP URL"
        )));
    }
    Ok(())
}

fn required_string(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Err(format!("Can't find field \"{name}\"")),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(format!("Field \"{name}\" must be of type String")),
    }
}
