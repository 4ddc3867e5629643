//! Links, and the file names in text that must not become some.

use pulldown_cmark::LinkType;

use super::BlockWriter;
use crate::telegram::markdown::file_names;
use crate::telegram::markdown::formatted_text::Style;

/// The longest URL of a link, in bytes; a longer one is shown instead. Every message that a link goes on in repeats its URL.
const MAX_URL_BYTES: usize = 2048;

impl BlockWriter<'_> {
    /// Text in which file names are code, but for links and code.
    pub(super) fn prose(&mut self, text: &str) {
        let linked = self
            .links
            .first()
            .is_some_and(|(_, elsewhere)| elsewhere.is_none());
        let names = if self.in_code_block || linked {
            Vec::new()
        } else {
            file_names::find(text, &self.out.text)
        };
        let mut written = 0;
        for name in names {
            if name.start > written {
                self.text(&text[written..name.start]);
            }
            self.flush_marker();
            self.out.push_code(&text[name.clone()]);
            written = name.end;
        }
        if written < text.len() {
            self.text(&text[written..]);
        }
    }

    pub(super) fn link(&mut self, link_type: LinkType, url: &str) {
        self.flush_marker();
        let start = self.out.text.len();
        // An image within a link: the text stays part of the link.
        if !self.links.is_empty() {
            self.links.push((start, None));
        } else if is_link(url) {
            self.links.push((start, None));
            self.out.open_entity(Style::Link(url.to_owned()));
        } else {
            let elsewhere = (link_type != LinkType::Email).then(|| url.to_owned());
            self.links.push((start, elsewhere));
        }
    }

    pub(super) fn end_link(&mut self) {
        let Some((start, elsewhere)) = self.links.pop() else {
            return;
        };
        // Of a link or an image within this one, the text is all that shows.
        if !self.links.is_empty() {
            return;
        }
        let nameless = self.out.text[start..].trim().is_empty();
        if let Some(Style::Link(url)) = self.out.innermost() {
            if nameless {
                let url = url.clone();
                self.out.text.push_str(&url);
            }
            self.out.close();
        } else if let Some(url) = elsewhere {
            let shown = url.strip_prefix("mailto:").unwrap_or(&url);
            if !shown.is_empty() && shown != &self.out.text[start..] {
                let (before, behind) = if nameless { ("", "") } else { (" (", ")") };
                self.out.text.push_str(before);
                self.prose(shown);
                self.out.text.push_str(behind);
            }
        }
    }
}

/// The schemes of which Telegram makes links (`TDLib`, `LinkManager::get_checked_link`); it silently drops others.
fn is_link(url: &str) -> bool {
    url.len() <= MAX_URL_BYTES
        && url::Url::parse(url).is_ok_and(|url| match url.scheme() {
            "http" | "https" => url.has_host(),
            "tg" => true,
            _ => false,
        })
}
