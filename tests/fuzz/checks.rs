//! What bad input must not do, said once: the fuzz targets beside this file run it on bytes they make up, `cargo test` on the
//! corpus and on every input that once failed (`tests/pipeline/bad_input.rs`).

use super::html;
use telegram_connector_operator::pipeline::incoming_update::{
    IncomingUpdate, UnreadableUpdate, UpdateKind,
};
use telegram_connector_operator::store::place;
use telegram_connector_operator::telegram::RawUpdate;
use telegram_connector_operator::telegram::markdown::{self, RenderedPart};
use telegram_connector_operator::telegram::split::{self, MESSAGE_LIMIT, utf16_len};

/// Any bytes as an update: refused before they are stored, or kept as they came and read by the rule of
/// `pipeline::incoming_update`, with the lane of the chat and topic that the pipeline will find in them.
pub fn update(body: &[u8]) {
    let Ok(raw) = RawUpdate::from_body(body) else {
        return;
    };
    assert!((0..i64::MAX).contains(&raw.update_id), "{}", raw.update_id);
    let json = raw.json.get();
    let place = place(json);
    let incoming = match IncomingUpdate::parse(json) {
        Ok(incoming) => incoming,
        // It was an object with an id when it was taken.
        Err(error) => return assert_eq!(error, UnreadableUpdate::NoChat),
    };
    assert_eq!(incoming.update_id, raw.update_id);
    if incoming.kind != UpdateKind::Other {
        assert_eq!(place.chat, incoming.chat.id, "the lane is another chat's");
        assert_eq!(place.topic, incoming.thread_id.unwrap_or(0));
    }
    for text in incoming.text.iter().chain(&incoming.chat.title) {
        assert!(!text.contains('\0'), "PostgreSQL cannot hold it");
    }
    for part in incoming
        .text
        .iter()
        .flat_map(|text| split::split(text, MESSAGE_LIMIT))
    {
        message(part);
    }
}

/// Any text, cut at any limit (the first byte says which): every part fits, none is blank, and no letter is lost.
pub fn split(data: &[u8]) {
    let Some((first, text)) = data.split_first() else {
        return;
    };
    let limit = match first {
        0 => MESSAGE_LIMIT,
        limit => usize::from(*limit),
    };
    let text = String::from_utf8_lossy(text);
    let parts = split::split(&text, limit);
    for part in &parts {
        assert!(utf16_len(part) <= limit.max(2), "{} units", utf16_len(part));
        assert!(!part.trim().is_empty(), "a blank part");
    }
    let letters = |text: &str| {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .collect::<String>()
    };
    assert_eq!(letters(&parts.concat()), letters(&text), "text was lost");
}

/// Any text as Markdown: every message is one that Telegram takes.
pub fn markdown(data: &[u8]) {
    for rendered in markdown::render(&String::from_utf8_lossy(data)) {
        part(&rendered);
    }
}

/// What Telegram takes: its strict parser accepts the HTML, which shows the plain text, and neither is too long.
pub fn part(part: &RenderedPart) {
    let (text, entities) = html::parse(&part.html).unwrap_or_else(|e| panic!("{e}\n{}", part.html));
    assert_eq!(text, part.plain, "the HTML shows another text");
    message(&text);
    assert!(part.html.len() <= 1 << 15, "{} bytes", part.html.len());
    assert!(entities.len() <= 100, "{} entities", entities.len());
    let is_code = |kind: &str| matches!(kind, "code" | "pre");
    for code in entities.iter().filter(|e| is_code(&e.kind)) {
        let shared = entities.iter().any(|e| {
            e != code
                && e.kind != "blockquote"
                && e.offset < code.offset + code.length
                && code.offset < e.offset + e.length
        });
        assert!(
            !shared,
            "code shares its text with another entity: {}",
            part.html
        );
    }
}

fn message(text: &str) {
    assert!(
        utf16_len(text) <= MESSAGE_LIMIT,
        "{} units",
        utf16_len(text)
    );
    assert!(!text.trim().is_empty(), "a blank message");
}
