//! The listings of the commands `denied`, `sessions` and `dead-letters`: a table for people, JSON lines for export. Page by page,
//! so that a long list costs no memory.

mod access;

use std::io::{self, Write};

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::{DeadLetter, DeniedMessage, ListingQuery, Page, SessionSummary, Store, StoreError};

pub use access::{AccessListing, grants, requests};

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A table.
    #[default]
    Table,
    /// One JSON object per line.
    Json,
}

/// Why a listing broke off.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output could not be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Rows read at a time.
const PAGE: u32 = 500;
/// The longest message text in a table, in characters; JSON has all of it.
const MAX_TEXT_CHARS: usize = 80;

/// Writes denied messages, oldest first. Returns how many.
///
/// # Errors
/// [`ListingError`].
pub async fn denied(
    store: &dyn Store,
    listing: ListingQuery,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ListingError> {
    write_listing::<DeniedMessage>(store, listing, format, out).await
}

/// Writes sessions, with their history if [`ListingQuery::texts`] says so and as JSON. Returns how many.
///
/// # Errors
/// [`ListingError`].
pub async fn sessions(
    store: &dyn Store,
    listing: ListingQuery,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ListingError> {
    write_listing::<SessionSummary>(store, listing, format, out).await
}

/// Writes dead letters, oldest first. Returns how many.
///
/// # Errors
/// [`ListingError`].
pub async fn dead_letters(
    store: &dyn Store,
    listing: ListingQuery,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ListingError> {
    write_listing::<DeadLetter>(store, listing, format, out).await
}

/// Puts back all dead letters that the listing names. A running operator takes them up within a few seconds. Returns how many.
///
/// # Errors
/// [`ListingError`].
pub async fn retry_all(store: &dyn Store, listing: ListingQuery) -> Result<u64, ListingError> {
    let mut listing = first_page(listing);
    let mut retried = 0;
    loop {
        let page = store.dead_letters(&listing).await?;
        let ids: Vec<i64> = page.rows.iter().map(|d| d.id).collect();
        retried += store.retry_dead_letters(&ids).await?;
        if !advance_page(&mut listing, &page) {
            return Ok(retried);
        }
    }
}

/// Writes a listing to its end.
async fn write_listing<R: Row>(
    store: &dyn Store,
    listing: ListingQuery,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ListingError> {
    let mut lines = ListingWriter::new(format, R::HEADER, out);
    let mut listing = first_page(listing);
    loop {
        let page = R::page(store, &listing).await?;
        for row in &page.rows {
            lines.row(row, || row.cells())?;
        }
        if !advance_page(&mut listing, &page) {
            return lines.end();
        }
    }
}

/// What a listing is made of.
trait Row: Serialize + Sync + Sized {
    const HEADER: &[&str];

    fn page(
        store: &dyn Store,
        listing: &ListingQuery,
    ) -> impl Future<Output = Result<Page<Self>, StoreError>> + Send;

    /// One for each of [`HEADER`](Self::HEADER).
    fn cells(&self) -> Vec<String>;
}

impl Row for DeniedMessage {
    const HEADER: &[&str] = &[
        "TIME",
        "CONNECTOR",
        "USER",
        "USERNAME",
        "NAME",
        "CHAT",
        "CONTENT",
        "TEXT",
    ];

    async fn page(store: &dyn Store, listing: &ListingQuery) -> Result<Page<Self>, StoreError> {
        store.denied(listing).await
    }

    fn cells(&self) -> Vec<String> {
        let text = or_dash(self.text.as_deref());
        let text: String = text.chars().take(MAX_TEXT_CHARS).collect();
        vec![
            self.time.to_string(),
            format!("{}/{}", self.namespace, self.name),
            or_dash(self.user_id),
            or_dash(self.username.as_deref()),
            or_dash(self.user_name.as_deref().map(printable)),
            self.chat.to_string(),
            self.content.clone(),
            printable(&text),
        ]
    }
}

impl Row for SessionSummary {
    const HEADER: &[&str] = &[
        "CONNECTOR",
        "CHAT",
        "TOPIC",
        "BEGAN",
        "LAST",
        "EXCHANGES",
        "INPUT TOKENS",
        "OUTPUT TOKENS",
        "CURRENT",
        "SESSION",
    ];

    async fn page(store: &dyn Store, listing: &ListingQuery) -> Result<Page<Self>, StoreError> {
        store.sessions(listing).await
    }

    fn cells(&self) -> Vec<String> {
        vec![
            format!("{}/{}", self.namespace, self.name),
            self.chat.to_string(),
            self.topic.to_string(),
            self.began.to_string(),
            self.last.to_string(),
            self.exchanges.to_string(),
            self.tokens.input.to_string(),
            self.tokens.output.to_string(),
            if self.current { "yes" } else { "no" }.into(),
            self.session.clone(),
        ]
    }
}

impl Row for DeadLetter {
    const HEADER: &[&str] = &[
        "ID",
        "TIME",
        "CONNECTOR",
        "CHAT",
        "KIND",
        "ATTEMPTS",
        "REASON",
    ];

    async fn page(store: &dyn Store, listing: &ListingQuery) -> Result<Page<Self>, StoreError> {
        store.dead_letters(listing).await
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.time.to_string(),
            format!("{}/{}", self.namespace, self.name),
            self.chat.to_string(),
            self.kind.clone(),
            self.attempts.to_string(),
            self.reason.clone(),
        ]
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// What strangers write must not reach into the terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn first_page(listing: ListingQuery) -> ListingQuery {
    ListingQuery {
        after: 0,
        limit: PAGE,
        ..listing
    }
}

/// Turns to the next page, if there is one.
fn advance_page<T>(listing: &mut ListingQuery, page: &Page<T>) -> bool {
    if let Some(next) = page.next {
        listing.after = next;
    }
    page.next.is_some()
}

/// Lines of a table are held back until there are so many of them, so that its columns are as wide as what stands in them.
const MEASURED_ROWS: usize = 100;

/// Rows as they come. The first lines of a table decide how wide its columns are; a later cell that is wider moves its own line only.
struct ListingWriter<'a> {
    format: Format,
    /// The header and the first rows, until the widths are known.
    held_back: Vec<Vec<String>>,
    widths: Vec<usize>,
    out: &'a mut (dyn Write + Send),
    count: u64,
}

impl<'a> ListingWriter<'a> {
    fn new(format: Format, header: &[&str], out: &'a mut (dyn Write + Send)) -> Self {
        let header = header.iter().map(ToString::to_string).collect();
        Self {
            format,
            held_back: match format {
                Format::Table => vec![header],
                Format::Json => Vec::new(),
            },
            widths: Vec::new(),
            out,
            count: 0,
        }
    }

    fn row(&mut self, row: &impl Serialize, cells: impl FnOnce() -> Vec<String>) -> io::Result<()> {
        self.count += 1;
        match self.format {
            Format::Table if self.held_back.is_empty() => self.cells(&cells()),
            Format::Table => {
                self.held_back.push(cells());
                if self.held_back.len() > MEASURED_ROWS {
                    self.write_held_back()?;
                }
                Ok(())
            }
            Format::Json => {
                serde_json::to_writer(&mut *self.out, row)?;
                writeln!(self.out)
            }
        }
    }

    /// Writes what was held back, in columns as wide as it needs.
    fn write_held_back(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.held_back);
        for cells in &lines {
            self.widths.resize(cells.len(), 0);
            for (width, cell) in self.widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.width());
            }
        }
        lines.iter().try_for_each(|cells| self.cells(cells))
    }

    fn cells(&mut self, cells: &[String]) -> io::Result<()> {
        for (n, cell) in cells.iter().enumerate() {
            if n + 1 == cells.len() {
                writeln!(self.out, "{cell}")?;
            } else {
                let gap = self.widths[n].saturating_sub(cell.width()) + 3;
                write!(self.out, "{cell}{:gap$}", "")?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<u64, ListingError> {
        self.write_held_back()?;
        self.out.flush()?;
        Ok(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[&str; 3]]) -> String {
        let mut out = Vec::new();
        let mut lines = ListingWriter::new(Format::Table, &["ID", "NAME", "TEXT"], &mut out);
        for row in rows {
            lines
                .row(row, || row.iter().map(ToString::to_string).collect())
                .unwrap();
        }
        assert_eq!(lines.end().unwrap(), rows.len() as u64);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn table_headings_align_with_wide_cells() {
        assert_eq!(
            table(&[["1", "Ann", "x"], ["1000000", "日本", "y"]]),
            "ID        NAME   TEXT\n\
             1         Ann    x\n\
             1000000   日本   y\n"
        );
        assert_eq!(table(&[]), "ID   NAME   TEXT\n");
    }

    #[test]
    fn late_wide_cell_shifts_only_its_own_line() {
        let mut rows = vec![["1", "Ann", "x"]; 2 * MEASURED_ROWS];
        rows.push(["1000000", "Ann", "late"]);
        rows.push(["2", "Ann", "x"]);
        let table = table(&rows);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), rows.len() + 1);
        assert_eq!(lines[0], "ID   NAME   TEXT");
        assert_eq!(lines[rows.len() - 1], "1000000   Ann    late");
        assert_eq!(lines[rows.len()], "2    Ann    x");
    }
}
