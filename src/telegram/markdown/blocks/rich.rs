//! What a rich message has and a text has not: formulas, headings, rules, and tables as such.

use pulldown_cmark::CodeBlockKind;

use super::{BlockWriter, RULE, Target, language};
use crate::telegram::markdown::formatted_text::{RichBlock, Style};
use crate::telegram::markdown::math::{FORMULA_FENCE, is_prose};
use crate::telegram::markdown::table::Table;

/// Stands in the text where a table is.
const TABLE_PLACE: char = '\u{fffc}';
/// The language of code blocks that are formulas, as GitHub has it.
const MATH_LANGUAGE: &str = "math";

impl BlockWriter<'_> {
    pub(super) fn is_rich(&self) -> bool {
        self.target == Target::Rich
    }

    /// The style of a heading of a level, 1 to 6.
    pub(super) fn heading_style(&self, level: u8) -> Style {
        if self.is_rich() && !self.in_cell() {
            Style::Block(RichBlock::Heading(level))
        } else {
            Style::Bold
        }
    }

    /// The style of the summary of `<details>`.
    pub(super) fn summary_style(&self) -> Style {
        if self.is_rich() && !self.in_cell() {
            Style::Block(RichBlock::Summary)
        } else {
            Style::Bold
        }
    }

    /// The style of a code block: of what was taken for a formula, or says that it is one, that of formulas.
    pub(super) fn code_style(&self, kind: &CodeBlockKind<'_>) -> Style {
        let language = language(kind);
        let is_formula = language.as_deref() == Some(MATH_LANGUAGE)
            || matches!(kind, CodeBlockKind::Fenced(info) if &**info == FORMULA_FENCE);
        if self.is_rich() && is_formula {
            Style::Block(RichBlock::Formula)
        } else {
            Style::Pre(language)
        }
    }

    /// A formula within a line. Where there can be none it is code.
    pub(super) fn formula(&mut self, formula: &str, at: usize) {
        let joined = self.source[..at].ends_with(char::is_alphanumeric);
        if !self.is_rich() || !self.links.is_empty() || joined || is_prose(formula) {
            return self.inline_code(formula);
        }
        self.flush_marker();
        let formula = formula.trim().replace('\n', " ");
        self.out.push_apart(Style::Formula, &formula);
    }

    /// A thematic break, in a text block that has begun.
    pub(super) fn rule(&mut self) {
        if !self.is_rich() || self.in_cell() {
            return self.text(RULE);
        }
        self.flush_marker();
        self.out.open_entity(Style::Block(RichBlock::Rule));
        self.out.text.push_str(RULE);
        self.out.close();
    }

    /// Writes a table.
    pub(super) fn table(&mut self, table: Table) {
        if !self.is_rich() || self.in_cell() || !table.fits_rich_message() {
            return self.out.append(&table.format());
        }
        let table = Box::new(table);
        self.out.open_entity(Style::Block(RichBlock::Table(table)));
        self.out.text.push(TABLE_PLACE);
        self.out.close();
    }
}
