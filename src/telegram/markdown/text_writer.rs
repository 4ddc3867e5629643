//! A text with entities that is being written from its beginning to its end.

use super::formatted_text::{Entity, FormattedText, Style};

/// The text so far and the entities that are open at its end. Every step takes the same time, however deeply marks are nested.
#[derive(Debug, Default)]
pub(super) struct TextWriter {
    pub(super) text: String,
    entities: Vec<Entity>,
    /// The open marks, outermost first, by their index in `entities`; `None` for one that would repeat an open one.
    open: Vec<Option<usize>>,
    /// The positions in `open` of the marks that have an entity: few, since no style is open twice.
    distinct: Vec<usize>,
}

impl TextWriter {
    /// The text with its entities.
    pub(super) fn finish(self) -> FormattedText {
        FormattedText {
            text: self.text,
            entities: self.entities,
        }
    }

    /// Appends another text with its entities.
    pub(super) fn append(&mut self, other: &FormattedText) {
        let offset = self.text.len();
        self.text.push_str(&other.text);
        self.entities
            .extend(other.entities.iter().map(|entity| entity.moved_by(offset)));
    }

    /// Opens a mark, unless one of the same style is open: then it has no entity of its own.
    pub(super) fn open(&mut self, style: Style) {
        if self.open_entities().any(|open| open.style == style) {
            self.open.push(None);
        } else {
            self.open_entity(style);
        }
    }

    /// Opens an entity of a style that is not open.
    pub(super) fn open_entity(&mut self, style: Style) {
        self.distinct.push(self.open.len());
        let index = self.push_entity(style);
        self.open.push(Some(index));
    }

    /// Closes the innermost mark.
    pub(super) fn close(&mut self) {
        if let Some(index) = self.open.pop().flatten() {
            self.distinct.pop();
            self.entities[index].range.end = self.text.len();
        }
    }

    /// Writes code. Only a block may contain it.
    pub(super) fn push_code(&mut self, code: &str) {
        self.push_apart(Style::Code, code);
    }

    /// Writes a text in a style that shares it with none: the marks around it are interrupted, as Telegram would end them anyway.
    pub(super) fn push_apart(&mut self, style: Style, text: &str) {
        let blocks = self.open_entities();
        let blocks = blocks.take_while(|open| open.style.is_block()).count();
        let interrupted = self.distinct.split_off(blocks);
        for position in &interrupted {
            if let Some(index) = self.open[*position] {
                self.entities[index].range.end = self.text.len();
            }
        }
        let index = self.push_entity(style);
        self.text.push_str(text);
        self.entities[index].range.end = self.text.len();
        for position in &interrupted {
            if let Some(index) = self.open[*position] {
                let again = self.push_entity(self.entities[index].style.clone());
                self.open[*position] = Some(again);
            }
        }
        self.distinct.extend(interrupted);
    }

    /// The style of the innermost mark, if it has an entity.
    pub(super) fn innermost(&self) -> Option<&Style> {
        let index = (*self.open.last()?)?;
        Some(&self.entities[index].style)
    }

    /// [`Self::innermost`], to change it.
    pub(super) fn innermost_mut(&mut self) -> Option<&mut Style> {
        let index = (*self.open.last()?)?;
        Some(&mut self.entities[index].style)
    }

    /// Whether the innermost mark has no text yet.
    pub(super) fn is_innermost_empty(&self) -> bool {
        let index = self.open.last().copied().flatten();
        index.is_some_and(|index| self.entities[index].range.start == self.text.len())
    }

    fn open_entities(&self) -> impl Iterator<Item = &Entity> {
        let indexes = self.distinct.iter().filter_map(|at| self.open[*at]);
        indexes.map(|index| &self.entities[index])
    }

    fn push_entity(&mut self, style: Style) -> usize {
        let start = self.text.len();
        self.entities.push(Entity {
            range: start..usize::MAX,
            style,
        });
        self.entities.len() - 1
    }
}
