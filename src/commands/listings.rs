//! The commands `denied`, `sessions` and `dead-letters`: list what the store holds.
//!
//! They read the store directly while the operator runs; none of them needs the cluster.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};

use crate::cli::{ConnectorArgs, DeadLettersArgs, DeniedArgs, OutputFormat, SessionsArgs};
use crate::store::report::{self, Format};
use crate::store::{self, ListingQuery, Store};

/// Lists denied conversations.
///
/// # Errors
/// The store's, or an invalid `--since`.
pub async fn denied(args: DeniedArgs) -> Result<()> {
    let since = args
        .since
        .as_deref()
        .map(|s| point_in_time(s, Timestamp::now()))
        .transpose()?;
    let store = open_store(&args.connector.store.store).await?;
    let listing = ListingQuery {
        since,
        texts: true,
        ..listing(&args.connector)
    };
    let rows = report::denied(&*store, listing, format(&args.connector), &mut io::stdout()).await?;
    if rows == 0 {
        eprintln!(
            "none: conversations are kept where spec.access.saveDeniedConversations is true, until their retention ends"
        );
    }
    Ok(())
}

/// Lists sessions.
///
/// # Errors
/// The store's.
pub async fn sessions(args: SessionsArgs) -> Result<()> {
    let store = open_store(&args.connector.store.store).await?;
    let listing = ListingQuery {
        texts: args.with_text,
        ..listing(&args.connector)
    };
    report::sessions(&*store, listing, format(&args.connector), &mut io::stdout()).await?;
    Ok(())
}

/// Lists dead letters, or hands them back with `--retry`.
///
/// # Errors
/// The store's, or a `--retry` that names no row.
pub async fn dead_letters(args: DeadLettersArgs) -> Result<()> {
    let store = open_store(&args.connector.store.store).await?;
    let listing = listing(&args.connector);
    if args.retry.is_empty() {
        report::dead_letters(&*store, listing, format(&args.connector), &mut io::stdout()).await?;
        return Ok(());
    }
    let found = numbers(&*store, listing).await?;
    let handed_back = store
        .retry_dead_letters(&chosen(&args.retry, &found)?)
        .await?;
    println!("{handed_back} handed back; the operator tries them again");
    Ok(())
}

/// Opens the store that the operator uses. One that is not there is not made: an empty listing would look like an answer.
async fn open_store(address: &str) -> Result<Arc<dyn Store>> {
    if let Some(path) = store::sqlite_path(address)
        && !path.exists()
    {
        bail!(
            "--store {address}: there is no store. In a cluster run this command in the operator's Pod (kubectl -n telegram-connectors exec \
             deploy/telegram-connector-operator -- before it); elsewhere name with --store the one that the operator runs with"
        );
    }
    Ok(store::open(address).await?)
}

fn format(args: &ConnectorArgs) -> Format {
    match args.output {
        OutputFormat::Table => Format::Table,
        OutputFormat::Json => Format::Json,
    }
}

fn listing(args: &ConnectorArgs) -> ListingQuery {
    ListingQuery {
        namespace: Some(args.namespace.clone()),
        name: Some(args.name.clone()),
        uid: args.uid.clone(),
        limit: PAGE,
        ..ListingQuery::default()
    }
}

/// Rows per query.
const PAGE: u32 = 500;

/// The ids of all dead letters of a connector.
async fn numbers(store: &dyn Store, mut listing: ListingQuery) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    loop {
        let page = store.dead_letters(&listing).await?;
        found.extend(page.rows.iter().map(|d| d.id));
        match page.next {
            Some(next) => listing.after = next,
            None => return Ok(found),
        }
    }
}

/// The ids that `--retry` names: numbers, or `all`.
fn chosen(retry: &[String], found: &[i64]) -> Result<Vec<i64>> {
    if retry.iter().any(|r| r == "all") {
        return Ok(found.to_vec());
    }
    retry
        .iter()
        .map(|number| {
            let id: i64 = number
                .parse()
                .with_context(|| format!("--retry {number}: neither a number nor all"))?;
            found.contains(&id).then_some(id).ok_or_else(|| {
                anyhow!("--retry {number}: this connector has no such dead letter; list them without --retry")
            })
        })
        .collect()
}

/// Parses RFC 3339, or a duration before `now` such as `24h` or `7d`.
fn point_in_time(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let wrong = || {
        anyhow!(
            "--since {text}: write a time such as 2026-05-01T00:00:00Z, or how long ago, such as 24h or 7d"
        )
    };
    let span: Span = text.parse().map_err(|_| wrong())?;
    let seconds = span
        .total((Unit::Second, SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| wrong())?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "seconds of a span of a few thousand years fit"
    )]
    let back = jiff::SignedDuration::from_secs(seconds.abs() as i64);
    now.checked_sub(back).map_err(|_| wrong())
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

    #[test]
    fn only_dead_letters_that_are_there_can_be_retried() {
        assert_eq!(chosen(&["all".into()], &[3, 4]).unwrap(), [3, 4]);
        assert_eq!(chosen(&["4".into()], &[3, 4]).unwrap(), [4]);
        let error = chosen(&["5".into()], &[3, 4]).unwrap_err().to_string();
        assert!(error.contains("--retry 5"), "{error}");
    }
}
