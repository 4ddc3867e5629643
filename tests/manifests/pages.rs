//! Every Markdown page for readers, with its headings, links and code blocks as a Markdown parser sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::folder;

/// A code block.
pub struct CodeBlock {
    /// `console`, `yaml` and the like.
    pub language: String,
    pub text: String,
}

/// One page.
#[derive(Default)]
pub struct Page {
    pub path: PathBuf,
    /// The anchors of its headings, as code hosts name them.
    pub anchors: BTreeSet<String>,
    /// Where its links and pictures lead.
    pub links: Vec<String>,
    pub code_blocks: Vec<CodeBlock>,
}

impl Page {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let options =
            Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
        let mut page = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        let mut heading: Option<String> = None;
        let mut code: Option<CodeBlock> = None;
        for event in Parser::new_ext(&text, options) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor_of(&heading.take().unwrap());
                    let before = times.entry(anchor.clone()).or_default();
                    page.anchors.insert(match *before {
                        0 => anchor,
                        n => format!("{anchor}-{n}"),
                    });
                    *before += 1;
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.to_string());
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    code = Some(CodeBlock {
                        language: language.to_string(),
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => page.code_blocks.extend(code.take()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(code) = &mut code {
                        code.text.push_str(&text);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// The file that a link leads to and its anchor; `None` for a link to another host.
    pub fn target(&self, link: &str) -> Option<(PathBuf, Option<String>)> {
        if link.contains("://") || link.starts_with("mailto:") {
            return None;
        }
        let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| {
            (path, Some(anchor.to_owned()))
        });
        let target = if path.is_empty() {
            self.path.clone()
        } else {
            self.path.parent().unwrap().join(path)
        };
        Some((target.canonicalize().unwrap_or(target), anchor))
    }
}

fn anchor_of(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The README, the documentation, the examples, the chart's and the crates' READMEs.
pub fn all() -> Vec<Page> {
    let mut paths = vec![
        folder("README.md"),
        folder("charts/telegram-connector-operator/README.md"),
    ];
    let mut folders = vec![folder("docs"), folder("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                paths.push(path);
            }
        }
    }
    for entry in fs::read_dir(folder("crates")).unwrap() {
        paths.push(entry.unwrap().path().join("README.md"));
    }
    assert!(paths.len() > 40, "{paths:?}");
    paths.iter().map(|path| Page::read(path)).collect()
}
