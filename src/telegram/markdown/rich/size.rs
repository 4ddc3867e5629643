//! What a rich message may hold at most (Bot API, "Rich Message Limits").

/// Characters, formulas and all.
pub(super) const MAX_CHARACTERS: usize = 32_768;
/// Blocks, those within others, list items and table rows included.
pub(super) const MAX_BLOCKS: usize = 500;
/// Blocks and marks within each other.
const MAX_DEPTH: usize = 16;

/// The size of a rich message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    characters: usize,
    blocks: usize,
    depth: usize,
    pub(super) tables: usize,
    pub(super) formulas: usize,
}

impl Size {
    pub(super) fn add_block(&mut self, depth: usize) {
        self.blocks += 1;
        self.add_depth(depth);
    }

    pub(super) fn add_depth(&mut self, depth: usize) {
        self.depth = self.depth.max(depth);
    }

    pub(super) fn add_text(&mut self, text: &str) {
        self.characters += text.chars().count();
    }

    /// Whether Telegram would refuse it.
    pub(super) fn is_too_big(&self) -> bool {
        self.characters > MAX_CHARACTERS || self.blocks > MAX_BLOCKS || self.depth > MAX_DEPTH
    }

    /// Whether it has what a text lacks.
    pub(super) fn needs_rich_message(&self) -> bool {
        self.tables + self.formulas > 0
    }
}
