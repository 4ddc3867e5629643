//! The formatting of a text as Telegram shows it: from entities, whose offsets count UTF-16 code units, to HTML.

use bot_api_simulator::Entity;
use maud::{PreEscaped, Render};

/// A text with its formatting. Entities may nest and overlap; one outside of the text has no effect.
pub(super) fn formatted(text: &str, entities: &[Entity]) -> PreEscaped<String> {
    let mut html = String::new();
    let mut open: Vec<&Entity> = Vec::new();
    let boundaries = boundaries(text, entities);
    for pair in boundaries.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let wanted = entities_at(entities, from.0);
        // What is open and no longer wanted is closed, with what was opened inside of it.
        let kept = open
            .iter()
            .zip(&wanted)
            .take_while(|(open, wanted)| std::ptr::eq(**open, **wanted))
            .count();
        for entity in open.drain(kept..).rev() {
            html.push_str(closing(entity));
        }
        for entity in &wanted[kept..] {
            push_opening(&mut html, entity, text);
            open.push(entity);
        }
        text[from.1..to.1].render_to(&mut html);
    }
    for entity in open.iter().rev() {
        html.push_str(closing(entity));
    }
    PreEscaped(html)
}

/// Where formatting changes, in UTF-16 units and in bytes, with the beginning and the end of the text.
fn boundaries(text: &str, entities: &[Entity]) -> Vec<(usize, usize)> {
    let wanted: Vec<usize> = entities
        .iter()
        .flat_map(|entity| [entity.offset, entity.offset + entity.length])
        .collect();
    let mut units = 0;
    let mut found = Vec::new();
    for (byte, character) in text.char_indices() {
        if byte == 0 || wanted.contains(&units) {
            found.push((units, byte));
        }
        units += character.len_utf16();
    }
    found.push((units, text.len()));
    found
}

/// The entities around a place, outermost first.
fn entities_at(entities: &[Entity], unit: usize) -> Vec<&Entity> {
    let mut around: Vec<&Entity> = entities
        .iter()
        .filter(|entity| (entity.offset..entity.offset + entity.length).contains(&unit))
        .collect();
    // Stable: entities over the same text stay in the order of the message.
    around.sort_by_key(|entity| (entity.offset, std::cmp::Reverse(entity.length)));
    around
}

fn push_opening(html: &mut String, entity: &Entity, text: &str) {
    match entity.kind.as_str() {
        "bold" => html.push_str("<b>"),
        "italic" => html.push_str("<i>"),
        "underline" => html.push_str("<u>"),
        "strikethrough" => html.push_str("<s>"),
        "spoiler" => html.push_str("<span class=\"spoiler\" tabindex=\"0\">"),
        "code" => html.push_str("<code>"),
        "pre" => {
            html.push_str("<pre>");
            if let Some(language) = &entity.language {
                html.push_str("<span class=\"language\">");
                language.render_to(html);
                html.push_str("</span>");
            }
            html.push_str("<code>");
        }
        "blockquote" | "expandable_blockquote" => html.push_str("<blockquote>"),
        _ => match link_target(entity, text) {
            Some(url) => {
                html.push_str("<a rel=\"noopener noreferrer\" target=\"_blank\" href=\"");
                url.render_to(html);
                html.push_str("\">");
            }
            // Mentions, hashtags, commands, and kinds that come later.
            None => html.push_str("<span class=\"entity\">"),
        },
    }
}

fn closing(entity: &Entity) -> &'static str {
    match entity.kind.as_str() {
        "bold" => "</b>",
        "italic" => "</i>",
        "underline" => "</u>",
        "strikethrough" => "</s>",
        "code" => "</code>",
        "pre" => "</code></pre>",
        "blockquote" | "expandable_blockquote" => "</blockquote>",
        "text_link" | "url" | "email" if is_link(entity) => "</a>",
        _ => "</span>",
    }
}

/// Whether [`link_target`] has found a target; decided by the entity alone, so that what was opened is closed.
fn is_link(entity: &Entity) -> bool {
    match entity.kind.as_str() {
        "text_link" => entity.url.as_deref().is_some_and(is_web_url),
        "url" | "email" => true,
        _ => false,
    }
}

/// Where a link leads: to the web or a mailbox, never to `javascript:` and the like.
fn link_target(entity: &Entity, text: &str) -> Option<String> {
    if !is_link(entity) {
        return None;
    }
    let shown = || utf16_slice(text, entity.offset, entity.length);
    match entity.kind.as_str() {
        "text_link" => entity.url.clone(),
        "email" => Some(format!("mailto:{}", shown())),
        _ => {
            let shown = shown();
            Some(if is_web_url(&shown) {
                shown
            } else {
                format!("http://{shown}")
            })
        }
    }
}

pub(super) fn is_web_url(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

fn utf16_slice(text: &str, offset: usize, length: usize) -> String {
    let units: Vec<u16> = text.encode_utf16().skip(offset).take(length).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str, entities: &[Entity]) -> String {
        formatted(text, entities).0
    }

    #[test]
    fn foreign_text_is_escaped_with_and_without_formatting() {
        let attack = "<script>alert(\"1\")</script>&";
        let escaped = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;";
        assert_eq!(html(attack, &[]), escaped);
        let length = attack.len();
        assert_eq!(
            html(attack, &[Entity::new("bold", 0, length)]),
            format!("<b>{escaped}</b>")
        );
        let mut pre = Entity::new("pre", 0, length);
        pre.language = Some("\"><img src=x>".to_owned());
        assert_eq!(
            html(attack, &[pre]),
            format!(
                "<pre><span class=\"language\">&quot;&gt;&lt;img src=x&gt;</span><code>{escaped}</code></pre>"
            )
        );
    }

    #[test]
    fn links_lead_to_the_web_only() {
        let link = |url: &str| {
            let mut entity = Entity::new("text_link", 0, 4);
            entity.url = Some(url.to_owned());
            html("here", &[entity])
        };
        assert_eq!(
            link("https://example.com/?a=1&b=\"2"),
            "<a rel=\"noopener noreferrer\" target=\"_blank\" href=\"https://example.com/?a=1&amp;b=&quot;2\">here</a>"
        );
        assert_eq!(
            link("javascript:alert(1)"),
            "<span class=\"entity\">here</span>"
        );
        assert!(
            html("example.com", &[Entity::new("url", 0, 11)])
                .contains("href=\"http://example.com\"")
        );
    }

    #[test]
    fn nested_and_overlapping_entities_become_well_formed() {
        let nested = [Entity::new("bold", 0, 6), Entity::new("italic", 2, 2)];
        assert_eq!(html("abcdef", &nested), "<b>ab<i>cd</i>ef</b>");
        let overlapping = [Entity::new("bold", 0, 4), Entity::new("italic", 2, 4)];
        assert_eq!(html("abcdef", &overlapping), "<b>ab<i>cd</i></b><i>ef</i>");
    }

    #[test]
    fn offsets_count_utf16_units_and_may_be_wrong() {
        // The emoji takes two units.
        assert_eq!(html("😀ab", &[Entity::new("bold", 2, 1)]), "😀<b>a</b>b");
        assert_eq!(html("ab", &[Entity::new("bold", 5, 9)]), "ab");
        assert_eq!(html("", &[Entity::new("bold", 0, 9)]), "");
        // In the middle of the emoji: no panic, all of the text.
        assert!(html("😀ab", &[Entity::new("bold", 1, 2)]).contains('😀'));
    }
}
