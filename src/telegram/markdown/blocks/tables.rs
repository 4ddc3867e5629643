//! The parts of tables, of Markdown or HTML, on their way to `Table`.

use super::BlockWriter;
use crate::telegram::markdown::table::Table;
use crate::telegram::markdown::text_writer::TextWriter;

/// A table that is being read.
#[derive(Default)]
pub(super) struct OpenTable {
    pub(super) table: Table,
    /// The text around the cell that is being written.
    pub(super) outside_cell: Option<TextWriter>,
}

impl BlockWriter<'_> {
    pub(super) fn begin_row(&mut self) {
        if let Some(open) = self.tables.last_mut() {
            open.table.rows.push(Vec::new());
        }
    }

    pub(super) fn begin_cell(&mut self) {
        if let Some(open) = self.tables.last_mut() {
            open.outside_cell = Some(std::mem::take(&mut self.out));
        }
    }

    pub(super) fn end_cell(&mut self) {
        self.flush_marker();
        let keeps_lines = self.is_rich();
        let Some(open) = self.tables.last_mut() else {
            return;
        };
        let outside = open.outside_cell.take().unwrap_or_default();
        let mut cell = std::mem::replace(&mut self.out, outside).finish();
        if !keeps_lines {
            cell.text = cell.text.replace('\n', " ");
        }
        if let Some(row) = open.table.rows.last_mut() {
            row.push(cell);
        }
    }

    pub(super) fn end_table(&mut self) {
        if let Some(mut open) = self.tables.pop() {
            open.table.rows.retain(|row| !row.is_empty());
            self.table(open.table);
        }
    }

    pub(super) fn in_cell(&self) -> bool {
        let innermost = self.tables.last();
        innermost.is_some_and(|open| open.outside_cell.is_some())
    }
}
