//! Tables, which Telegram lacks: as monospaced columns if they fit the screen of a phone, else as one record per row.

use pulldown_cmark::Alignment;
use unicode_width::UnicodeWidthStr;

use super::formatted_text::{Entity, FormattedText, Style};

/// The widest table in columns, in monospaced characters: a phone wraps longer lines, which makes columns unreadable.
const MAX_MONOSPACE_WIDTH: usize = 46;

/// What of the column's heads the records repeat, in bytes per cell with text on average; beyond that the cells stand alone. Each head is shown once. A long head in
/// a long table would otherwise make a megabyte of a kilobyte.
const NAME_BYTES_PER_CELL: usize = 64;

/// A table as the parser gives it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub(super) alignments: Vec<Alignment>,
    /// The head is the first row. Cells have no line breaks.
    pub(super) rows: Vec<Vec<FormattedText>>,
}

/// The most columns of a table in a rich message (Bot API, "Rich Message Limits").
const MAX_RICH_COLUMNS: usize = 20;

impl Table {
    /// Whether a rich message can have it as a table.
    pub(super) fn fits_rich_message(&self) -> bool {
        let columns = self.rows.iter().map(Vec::len).max();
        columns.is_some_and(|columns| (1..=MAX_RICH_COLUMNS).contains(&columns))
    }

    /// The table as text with entities.
    pub(super) fn format(&self) -> FormattedText {
        let widths = self.widths();
        let wide = widths.iter().sum::<usize>() + 3 * widths.len().saturating_sub(1);
        let linked = self
            .rows
            .iter()
            .flatten()
            .flat_map(|cell| &cell.entities)
            .any(|entity| matches!(entity.style, Style::Link(_)));
        // Code cannot contain links, so a table with links would lose them.
        if wide > MAX_MONOSPACE_WIDTH || linked {
            self.records()
        } else {
            self.columns(&widths)
        }
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.text.width().max(*width);
            }
        }
        widths
    }

    fn columns(&self, widths: &[usize]) -> FormattedText {
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            let mut line = String::new();
            for (column, width) in widths.iter().enumerate() {
                if column > 0 {
                    line.push_str(" │ ");
                }
                let cell = row.get(column).map_or("", |cell| cell.text.as_str());
                let space = width.saturating_sub(cell.width());
                let before = match self.alignments.get(column) {
                    Some(Alignment::Right) => space,
                    Some(Alignment::Center) => space / 2,
                    _ => 0,
                };
                line.extend(std::iter::repeat_n(' ', before));
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', space - before));
            }
            text.push_str(line.trim_end());
            if number == 0 {
                let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                text.push('\n');
                text.push_str(&rule.join("─┼─"));
            }
        }
        let entities = vec![Entity {
            range: 0..text.len(),
            style: Style::Pre(None),
        }];
        FormattedText { text, entities }
    }

    /// One paragraph per row: its first cell as the title, and one line with the column's head for each other cell.
    fn records(&self) -> FormattedText {
        let mut out = FormattedText::default();
        let Some((head, body)) = self.rows.split_first() else {
            return out;
        };
        // In HTML, rows can be shorter than the head: then it is a row like the others, and no column's head is lost.
        let longest = body.iter().map(Vec::len).max().unwrap_or(0);
        let (head, body) = if head.len() > longest && longest > 0 {
            (&[][..], &self.rows[..])
        } else {
            (&head[..], body)
        };
        if body.is_empty() {
            for (column, cell) in head.iter().enumerate() {
                if column > 0 {
                    out.text.push_str(" │ ");
                }
                out.append(cell);
            }
            return out;
        }
        let texts = body.iter().flatten().filter(|cell| !cell.text.is_empty());
        let once = head.iter().map(|name| name.text.len()).sum::<usize>();
        let mut name_bytes_left = (NAME_BYTES_PER_CELL * texts.count()).max(once);
        for (number, row) in body.iter().enumerate() {
            if number > 0 {
                out.text.push_str("\n\n");
            }
            for (column, cell) in row.iter().enumerate() {
                if column > 0 {
                    out.text.push('\n');
                }
                let name = head.get(column).map_or("", |name| name.text.as_str());
                let left = name_bytes_left.checked_sub(name.len());
                let name = if left.is_some() { name } else { "" };
                name_bytes_left = left.unwrap_or(0);
                let start = out.text.len();
                if column == 0 {
                    title(name, cell, &mut out, start);
                    continue;
                }
                out.text.push_str("• ");
                if !name.is_empty() {
                    out.text.push_str(name);
                    out.text.push_str(": ");
                }
                if cell.text.is_empty() {
                    out.text.push('–');
                } else {
                    out.append(cell);
                }
            }
        }
        out
    }
}

/// The first cell in bold; code in it stays code, since bold cannot contain it.
fn title(name: &str, cell: &FormattedText, out: &mut FormattedText, start: usize) {
    if !name.is_empty() {
        out.text.push_str(name);
        out.text.push_str(": ");
    }
    let styled = cell
        .entities
        .iter()
        .any(|entity| !matches!(entity.style, Style::Italic | Style::Link(_)));
    let end = if styled {
        out.text.len()
    } else {
        out.text.len() + cell.text.len()
    };
    out.entities.push(Entity {
        range: start..end,
        style: Style::Bold,
    });
    out.append(cell);
}
