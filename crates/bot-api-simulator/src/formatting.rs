//! Formatted text of a call: `text` or `caption` with its `parse_mode` or entities, and the limits of both.

use super::entity::{Entity, detect, normalize_entities, utf16_len};
use super::method_result::MethodError;
use super::params::Params;
use super::{html, legacy_markdown, markdown};

/// Limit of a text in UTF-16 code units, after its formatting is parsed.
const MAX_TEXT: usize = 4_096;
/// Limit of a caption in UTF-16 code units, after its formatting is parsed.
const MAX_CAPTION: usize = 1_024;
/// Limit of a text in bytes, before its formatting is parsed.
const MAX_SOURCE: usize = 1 << 15;

/// A text with its parsed formatting.
#[derive(Debug, Clone, Default)]
pub(super) struct Formatted {
    pub text: String,
    pub entities: Vec<Entity>,
    /// As the bot sent it.
    pub source: String,
    /// In lower case.
    pub parse_mode: String,
}

/// Parses a text in the order of the checks of the Bot API server. `entities` is JSON, or empty.
fn formatted(source: &str, parse_mode: &str, entities: &str) -> Result<Formatted, MethodError> {
    if source.len() > MAX_SOURCE {
        return Err(MethodError::bad_request("Text is too long"));
    }
    let parse_mode = parse_mode.to_ascii_lowercase();
    let parsed = match parse_mode.as_str() {
        "" | "none" => Ok((source.to_owned(), explicit_entities(entities)?)),
        "html" => html::parse(source),
        "markdownv2" => markdown::parse_v2(source),
        "markdown" => legacy_markdown::parse(source),
        _ => return Err(MethodError::bad_request("Unsupported parse_mode")),
    };
    let (text, mut entities) = parsed
        .map_err(|error| MethodError::bad_request(&format!("can't parse entities: {error}")))?;
    let text = trimmed(&text, &mut entities);
    let found = detect(&text, &entities);
    entities.extend(found);
    Ok(Formatted {
        text,
        entities: normalize_entities(entities),
        source: source.to_owned(),
        parse_mode,
    })
}

fn explicit_entities(entities: &str) -> Result<Vec<Entity>, MethodError> {
    if entities.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(entities)
        .map_err(|_| MethodError::bad_request("Can't parse entities JSON object"))
}

/// Trims white space at both ends and shifts the entities accordingly.
fn trimmed(text: &str, entities: &mut Vec<Entity>) -> String {
    let white = |c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{2060}' | '\0');
    let lead = utf16_len(&text[..text.len() - text.trim_start_matches(white).len()]);
    let text = text.trim_matches(white);
    let length = utf16_len(text);
    entities.retain_mut(|entity| {
        let end = (entity.offset + entity.length)
            .saturating_sub(lead)
            .min(length);
        entity.offset = entity.offset.saturating_sub(lead).min(length);
        entity.length = end.saturating_sub(entity.offset);
        entity.length > 0
    });
    text.to_owned()
}

fn text_of(params: &Params) -> Result<Formatted, MethodError> {
    let formatted = formatted(
        params.get("text"),
        params.get("parse_mode"),
        params.get("entities"),
    )?;
    if utf16_len(&formatted.text) > MAX_TEXT {
        return Err(MethodError::bad_request("message is too long"));
    }
    Ok(formatted)
}

/// The text of a message, which must not be empty.
pub(super) fn message_text(params: &Params) -> Result<Formatted, MethodError> {
    if params.get("text").is_empty() {
        return Err(MethodError::bad_request("message text is empty"));
    }
    let formatted = text_of(params)?;
    if formatted.text.is_empty() {
        return Err(MethodError::bad_request("text must be non-empty"));
    }
    Ok(formatted)
}

/// The text of a draft, which may be empty.
pub(super) fn draft_text(params: &Params) -> Result<Formatted, MethodError> {
    text_of(params)
}

/// A caption, which may be empty.
pub(super) fn caption(
    source: &str,
    parse_mode: &str,
    entities: &str,
) -> Result<Formatted, MethodError> {
    let formatted = formatted(source, parse_mode, entities)?;
    if utf16_len(&formatted.text) > MAX_CAPTION {
        return Err(MethodError::bad_request("message caption is too long"));
    }
    Ok(formatted)
}

/// The caption in the parameters of a call.
pub(super) fn caption_of(params: &Params) -> Result<Formatted, MethodError> {
    caption(
        params.get("caption"),
        params.get("parse_mode"),
        params.get("caption_entities"),
    )
}
