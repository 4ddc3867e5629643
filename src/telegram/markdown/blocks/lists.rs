//! Lists, of Markdown or HTML: as marked and indented lines, in a rich message as entities.

use super::numbers::Numbers;
use super::{BlockWriter, Target};
use crate::telegram::markdown::formatted_text::{RichBlock, Style};

/// The indentation of a list item's content.
const INDENT: &str = "   ";
/// The deepest indentation of lists: a message's lines are short, and a thousand nested lists must not become a megabyte.
const MAX_INDENT_DEPTH: usize = 6;
/// The marks of unordered lists, by depth.
const BULLETS: [&str; 3] = ["•", "◦", "▪"];
/// The deepest list that is one in a rich message, which has at most 16 levels of everything; deeper ones are lines with marks.
const MAX_RICH_LISTS: usize = 4;

/// A list that is being read.
pub(super) struct OpenList {
    /// `None`: it is not ordered.
    numbers: Option<Numbers>,
    is_entity: bool,
}

impl BlockWriter<'_> {
    /// Begins a list; an ordered one begins with this number.
    pub(super) fn begin_list(&mut self, first: Option<u64>) {
        let is_entity = self.target == Target::Rich
            && !self.in_cell()
            && self.lists.len() < MAX_RICH_LISTS
            && self.lists.iter().all(|list| list.is_entity);
        if is_entity {
            let is_ordered = first.is_some();
            self.out
                .open_entity(Style::Block(RichBlock::List { is_ordered }));
        }
        let numbers = first.map(Numbers::from);
        self.lists.push(OpenList { numbers, is_entity });
    }

    pub(super) fn end_list(&mut self) {
        if self.lists.pop().is_some_and(|list| list.is_entity) {
            self.close_visibly();
        }
    }

    /// An item of the innermost list, with its number if one is written.
    pub(super) fn item(&mut self, at: usize, written: Option<u64>) {
        self.flush_marker();
        let depth = self.lists.len();
        // The mark is indented like the text of the list around this one.
        let list = self.lists.pop();
        self.text_block(at, false);
        let (mut numbers, list_is_entity) =
            list.map_or((None, false), |list| (list.numbers, list.is_entity));
        let number = numbers.as_mut().map(|numbers| numbers.next(written));
        // An item of HTML may be within something else of its list.
        let in_list = matches!(
            self.out.innermost(),
            Some(Style::Block(RichBlock::List { .. }))
        );
        let is_entity = list_is_entity && in_list;
        self.items.push(is_entity);
        self.pending_marker = Some(match number {
            _ if is_entity => String::new(),
            Some(number) => format!("{number}. "),
            None => format!("{} ", BULLETS[depth.saturating_sub(1) % BULLETS.len()]),
        });
        if is_entity {
            let item = RichBlock::Item { number, done: None };
            self.out.open_entity(Style::Block(item));
        }
        self.lists.push(OpenList {
            numbers,
            is_entity: list_is_entity,
        });
    }

    pub(super) fn end_item(&mut self) {
        self.flush_marker();
        if self.items.pop() == Some(true) {
            self.close_visibly();
        }
    }

    /// The item that has just begun is a task.
    pub(super) fn task(&mut self, is_done: bool) {
        let is_entity = self.items.last() == Some(&true);
        match self.out.innermost_mut() {
            Some(Style::Block(RichBlock::Item { done, .. })) if is_entity => *done = Some(is_done),
            _ => self.pending_marker = Some(if is_done { "☑ " } else { "☐ " }.to_owned()),
        }
    }

    pub(super) fn indent(&mut self) {
        if self.target == Target::Rich {
            return;
        }
        for _ in 0..self.lists.len().min(MAX_INDENT_DEPTH) {
            self.out.text.push_str(INDENT);
        }
    }

    /// Closes a list or an item. One without text gets a character, since an entity of no length belongs to nothing.
    fn close_visibly(&mut self) {
        if self.out.is_innermost_empty() {
            self.out.text.push('\u{a0}');
        }
        self.out.close();
    }
}
