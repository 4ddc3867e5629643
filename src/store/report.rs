//! The listings of the commands `denied`, `sessions` and `dead-letters`: a table for people, JSON lines for export. Page by page,
//! so that a long list costs no memory.

use std::io::{self, Write};

use serde::Serialize;

use super::{DeadLetter, DeniedMessage, Listing, Page, SessionSummary, Store, StoreError};

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
pub enum ReportError {
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
const SHOWN_TEXT: usize = 80;

/// Writes denied messages, oldest first. Returns how many.
///
/// # Errors
/// [`ReportError`].
pub async fn denied(
    store: &dyn Store,
    listing: Listing,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ReportError> {
    let header = [
        "TIME",
        "CONNECTOR",
        "USER",
        "USERNAME",
        "NAME",
        "CHAT",
        "CONTENT",
        "TEXT",
    ];
    let mut lines = Lines::new(format, &header, out)?;
    let mut listing = paged(listing);
    loop {
        let page = store.denied(&listing).await?;
        for row in &page.rows {
            lines.row(row, || denied_cells(row))?;
        }
        if !turn(&mut listing, &page) {
            return lines.end();
        }
    }
}

/// Writes sessions, with their history if [`Listing::texts`] says so and as JSON. Returns how many.
///
/// # Errors
/// [`ReportError`].
pub async fn sessions(
    store: &dyn Store,
    listing: Listing,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ReportError> {
    let header = [
        "CONNECTOR",
        "CHAT",
        "TOPIC",
        "BEGAN",
        "LAST",
        "EXCHANGES",
        "CURRENT",
        "SESSION",
    ];
    let mut lines = Lines::new(format, &header, out)?;
    let mut listing = paged(listing);
    loop {
        let page = store.sessions(&listing).await?;
        for row in &page.rows {
            lines.row(row, || session_cells(row))?;
        }
        if !turn(&mut listing, &page) {
            return lines.end();
        }
    }
}

/// Writes dead letters, oldest first. Returns how many.
///
/// # Errors
/// [`ReportError`].
pub async fn dead_letters(
    store: &dyn Store,
    listing: Listing,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, ReportError> {
    let header = [
        "ID",
        "TIME",
        "CONNECTOR",
        "CHAT",
        "KIND",
        "ATTEMPTS",
        "REASON",
    ];
    let mut lines = Lines::new(format, &header, out)?;
    let mut listing = paged(listing);
    loop {
        let page = store.dead_letters(&listing).await?;
        for row in &page.rows {
            lines.row(row, || dead_letter_cells(row))?;
        }
        if !turn(&mut listing, &page) {
            return lines.end();
        }
    }
}

/// Puts back all dead letters that the listing names. A running operator takes them up within a few seconds. Returns how many.
///
/// # Errors
/// [`ReportError`].
pub async fn retry_all(store: &dyn Store, listing: Listing) -> Result<u64, ReportError> {
    let mut listing = paged(listing);
    let mut retried = 0;
    loop {
        let page = store.dead_letters(&listing).await?;
        let ids: Vec<i64> = page.rows.iter().map(|d| d.id).collect();
        retried += store.retry_dead_letters(&ids).await?;
        if !turn(&mut listing, &page) {
            return Ok(retried);
        }
    }
}

fn denied_cells(row: &DeniedMessage) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let text: String = or_dash(&row.text).chars().take(SHOWN_TEXT).collect();
    vec![
        row.time.to_string(),
        format!("{}/{}", row.namespace, row.name),
        row.user_id.map_or_else(|| "-".into(), |id| id.to_string()),
        or_dash(&row.username),
        or_dash(&row.user_name),
        row.chat.to_string(),
        row.content.clone(),
        // What strangers write must not reach into the terminal.
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
    ]
}

fn session_cells(row: &SessionSummary) -> Vec<String> {
    vec![
        format!("{}/{}", row.namespace, row.name),
        row.chat.to_string(),
        row.topic.to_string(),
        row.began.to_string(),
        row.last.to_string(),
        row.exchanges.to_string(),
        if row.current { "yes" } else { "no" }.into(),
        row.session.clone(),
    ]
}

fn dead_letter_cells(row: &DeadLetter) -> Vec<String> {
    vec![
        row.id.to_string(),
        row.time.to_string(),
        format!("{}/{}", row.namespace, row.name),
        row.chat.to_string(),
        row.kind.clone(),
        row.attempts.to_string(),
        row.reason.clone(),
    ]
}

fn paged(listing: Listing) -> Listing {
    Listing {
        after: 0,
        limit: PAGE,
        ..listing
    }
}

/// Turns to the next page, if there is one.
fn turn<T>(listing: &mut Listing, page: &Page<T>) -> bool {
    if let Some(next) = page.next {
        listing.after = next;
    }
    page.next.is_some()
}

/// Lines as they come; columns of a table are as wide as they turn out in each page's rows so far.
struct Lines<'a> {
    format: Format,
    widths: Vec<usize>,
    out: &'a mut (dyn Write + Send),
    count: u64,
}

impl<'a> Lines<'a> {
    fn new(
        format: Format,
        header: &[&str],
        out: &'a mut (dyn Write + Send),
    ) -> Result<Self, io::Error> {
        let mut lines = Self {
            format,
            widths: header.iter().map(|h| h.len()).collect(),
            out,
            count: 0,
        };
        if format == Format::Table {
            lines.cells(&header.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        }
        Ok(lines)
    }

    fn row(&mut self, row: &impl Serialize, cells: impl FnOnce() -> Vec<String>) -> io::Result<()> {
        self.count += 1;
        match self.format {
            Format::Table => self.cells(&cells()),
            Format::Json => {
                serde_json::to_writer(&mut *self.out, row)?;
                writeln!(self.out)
            }
        }
    }

    fn cells(&mut self, cells: &[String]) -> io::Result<()> {
        for (n, cell) in cells.iter().enumerate() {
            let length = cell.chars().count();
            self.widths[n] = self.widths[n].max(length);
            if n + 1 == cells.len() {
                writeln!(self.out, "{cell}")?;
            } else {
                let gap = self.widths[n] - length + 3;
                write!(self.out, "{cell}{:gap$}", "")?;
            }
        }
        Ok(())
    }

    fn end(self) -> Result<u64, ReportError> {
        self.out.flush()?;
        Ok(self.count)
    }
}
