//! `denied`, `sessions`, `dead-letters`: what the store holds, for administrators. Tables for people, JSON lines for export.
//!
//! They read the store directly, beside a running operator; none of them needs the cluster.

use std::future::Future;
use std::io::Write;

use anyhow::{Context, Result, anyhow};
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};
use serde::Serialize;

use crate::cli::{ConnectorArgs, DeadLettersArgs, DeniedArgs, Output, SessionsArgs};
use crate::store::{self, DeadLetter, DeniedMessage, Listing, Page, SessionSummary, StoreError};

/// Rows that are read at once.
const PAGE: u32 = 500;

/// `denied`.
///
/// # Errors
/// The store's, or a `--since` that is no time.
pub async fn denied(args: DeniedArgs) -> Result<()> {
    let since = args
        .since
        .as_deref()
        .map(|s| point_in_time(s, Timestamp::now()))
        .transpose()?;
    let store = store::open(&args.connector.store.store).await?;
    let listing = Listing {
        since,
        texts: true,
        ..listing(&args.connector)
    };
    let mut printer = Printer::new(
        args.connector.output,
        ["TIME", "USER", "USERNAME", "NAME", "CHAT", "MESSAGE"],
    );
    each_page(
        listing,
        |l| {
            let store = store.clone();
            async move { store.denied(&l).await }
        },
        |row: DeniedMessage| {
            printer.row(
                &row,
                [
                    row.time.to_string(),
                    row.user_id.map_or_else(none, |id| id.to_string()),
                    row.username.clone().map_or_else(none, |u| format!("@{u}")),
                    row.user_name.clone().unwrap_or_else(none),
                    row.chat.to_string(),
                    row.text
                        .clone()
                        .unwrap_or_else(|| format!("({})", row.content)),
                ],
            )
        },
    )
    .await?;
    printer.finish("no denied conversations are stored; they are kept only where spec.access.saveDeniedConversations is true")
}

/// `sessions`.
///
/// # Errors
/// The store's.
pub async fn sessions(args: SessionsArgs) -> Result<()> {
    let store = store::open(&args.connector.store.store).await?;
    let listing = Listing {
        texts: args.with_text,
        ..listing(&args.connector)
    };
    let mut printer = Printer::new(
        args.connector.output,
        [
            "SESSION",
            "CHAT",
            "TOPIC",
            "BEGAN",
            "LAST",
            "CURRENT",
            "EXCHANGES",
        ],
    );
    each_page(
        listing,
        |l| {
            let store = store.clone();
            async move { store.sessions(&l).await }
        },
        |row: SessionSummary| {
            printer.row(
                &row,
                [
                    row.session.clone(),
                    row.chat.to_string(),
                    if row.topic == 0 {
                        none()
                    } else {
                        row.topic.to_string()
                    },
                    row.began.to_string(),
                    row.last.to_string(),
                    row.current.to_string(),
                    row.exchanges.to_string(),
                ],
            )?;
            for turn in row.history.iter().flatten() {
                printer.note(&format!("    {:?}: {}", turn.role, turn.text))?;
            }
            Ok(())
        },
    )
    .await?;
    printer.finish("no sessions are stored for this connector")
}

/// `dead-letters`.
///
/// # Errors
/// The store's, or a `--retry` that names no row.
pub async fn dead_letters(args: DeadLettersArgs) -> Result<()> {
    let store = store::open(&args.connector.store.store).await?;
    let mut found: Vec<DeadLetter> = Vec::new();
    each_page(
        listing(&args.connector),
        |l| {
            let store = store.clone();
            async move { store.dead_letters(&l).await }
        },
        |row| {
            found.push(row);
            Ok(())
        },
    )
    .await?;
    if !args.retry.is_empty() {
        let ids = chosen(&args.retry, &found)?;
        let handed_back = store.retry_dead_letters(&ids).await?;
        println!("{handed_back} handed back; the operator tries them again at once");
        return Ok(());
    }
    let mut printer = Printer::new(
        args.connector.output,
        [
            "NUMBER", "TIME", "CHAT", "UPDATE", "KIND", "ATTEMPTS", "REASON",
        ],
    );
    for row in &found {
        printer.row(
            row,
            [
                row.id.to_string(),
                row.time.to_string(),
                row.chat.to_string(),
                row.update_id.to_string(),
                row.kind.clone(),
                row.attempts.to_string(),
                row.reason.clone(),
            ],
        )?;
    }
    printer.finish("no dead letters for this connector")
}

fn none() -> String {
    "<none>".to_owned()
}

fn listing(args: &ConnectorArgs) -> Listing {
    Listing {
        namespace: Some(args.namespace.clone()),
        name: Some(args.name.clone()),
        limit: PAGE,
        ..Listing::default()
    }
}

async fn each_page<T, F>(
    mut listing: Listing,
    read: impl Fn(Listing) -> F,
    mut each: impl FnMut(T) -> Result<()>,
) -> Result<()>
where
    F: Future<Output = Result<Page<T>, StoreError>>,
{
    loop {
        let page = read(listing.clone()).await?;
        for row in page.rows {
            each(row)?;
        }
        match page.next {
            Some(next) => listing.after = next,
            None => return Ok(()),
        }
    }
}

/// The rows that `--retry` names: numbers, or `all`.
fn chosen(retry: &[String], found: &[DeadLetter]) -> Result<Vec<i64>> {
    if retry.iter().any(|r| r == "all") {
        return Ok(found.iter().map(|d| d.id).collect());
    }
    retry
        .iter()
        .map(|number| {
            let id: i64 = number.parse().with_context(|| format!("--retry {number}: neither a number nor all"))?;
            found.iter().any(|d| d.id == id).then_some(id).ok_or_else(|| {
                anyhow!("--retry {number}: this connector has no such dead letter; list them without --retry")
            })
        })
        .collect()
}

/// RFC 3339, or a duration back from `now` such as `24h` or `7d`.
fn point_in_time(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let wrong = || {
        format!(
            "--since {text}: write a time such as 2026-05-01T00:00:00Z, or how long ago, such as 24h or 7d"
        )
    };
    let span: Span = text.parse().map_err(|_| anyhow!(wrong()))?;
    let seconds = span
        .total((Unit::Second, SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| anyhow!(wrong()))?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "seconds of a span of a few thousand years fit"
    )]
    let back = jiff::SignedDuration::from_secs(seconds.abs() as i64);
    now.checked_sub(back).map_err(|_| anyhow!(wrong()))
}

/// Prints rows as they come: JSON lines at once, a table when its columns' widths are known.
struct Printer<const N: usize> {
    output: Output,
    lines: Vec<Line<N>>,
    rows: usize,
}

enum Line<const N: usize> {
    Cells([String; N]),
    Note(String),
}

impl<const N: usize> Printer<N> {
    fn new(output: Output, heading: [&str; N]) -> Self {
        Self {
            output,
            lines: vec![Line::Cells(heading.map(str::to_owned))],
            rows: 0,
        }
    }

    fn row(&mut self, json: &impl Serialize, cells: [String; N]) -> Result<()> {
        self.rows += 1;
        match self.output {
            Output::Json => writeln!(std::io::stdout(), "{}", serde_json::to_string(json)?)?,
            // A message with line ends must not look like further rows.
            Output::Table => self.lines.push(Line::Cells(
                cells.map(|c| c.replace(['\n', '\r', '\t'], " ")),
            )),
        }
        Ok(())
    }

    #[allow(
        clippy::unnecessary_wraps,
        reason = "used where rows are, which can fail"
    )]
    fn note(&mut self, text: &str) -> Result<()> {
        if self.output == Output::Table {
            self.lines.push(Line::Note(text.to_owned()));
        }
        Ok(())
    }

    fn finish(self, nothing: &str) -> Result<()> {
        if self.output == Output::Json {
            return Ok(());
        }
        if self.rows == 0 {
            eprintln!("{nothing}");
            return Ok(());
        }
        let mut widths = [0; N];
        for line in &self.lines {
            if let Line::Cells(cells) = line {
                for (width, cell) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(cell.chars().count());
                }
            }
        }
        let mut out = std::io::stdout().lock();
        for line in &self.lines {
            match line {
                Line::Cells(cells) => {
                    let padded: Vec<String> = cells
                        .iter()
                        .zip(widths)
                        .map(|(c, w)| format!("{c:w$}"))
                        .collect();
                    writeln!(out, "{}", padded.join("   ").trim_end())?;
                }
                Line::Note(text) => writeln!(out, "{text}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-05-08T12:00:00Z".parse().unwrap();
        let at = |text: &str| point_in_time(text, now).map(|t| t.to_string());
        assert_eq!(at("2026-05-01T00:00:00Z").unwrap(), "2026-05-01T00:00:00Z");
        assert_eq!(at("7d").unwrap(), "2026-05-01T12:00:00Z");
        assert_eq!(at("90m").unwrap(), "2026-05-08T10:30:00Z");
        let error = at("yesterday").unwrap_err().to_string();
        assert!(
            error.contains("--since yesterday") && error.contains("24h"),
            "{error}"
        );
    }
}
