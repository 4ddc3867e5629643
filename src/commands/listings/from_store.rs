//! Listings that are read from the store itself, while the operator runs or not. They need no cluster.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;

use super::namespace_or_default;
use crate::cli::{AccessListArgs, ConnectorArgs, OutputFormat};
use crate::store::report::{self, AccessListing, Format};
use crate::store::{self, ListingQuery, Store};

/// Lists denied conversations. How many.
///
/// # Errors
/// The store's.
pub(super) async fn denied(
    address: &str,
    args: &ConnectorArgs,
    since: Option<Timestamp>,
) -> Result<u64> {
    let store = open_store(address).await?;
    let listing = ListingQuery {
        since,
        texts: true,
        ..listing(args)
    };
    Ok(report::denied(&*store, listing, format(args.output), &mut io::stdout()).await?)
}

/// Lists sessions.
///
/// # Errors
/// The store's.
pub(super) async fn sessions(address: &str, args: &ConnectorArgs, with_text: bool) -> Result<()> {
    let store = open_store(address).await?;
    let listing = ListingQuery {
        texts: with_text,
        ..listing(args)
    };
    report::sessions(&*store, listing, format(args.output), &mut io::stdout()).await?;
    Ok(())
}

/// Lists dead letters, or hands back those of `retry`.
///
/// # Errors
/// The store's, or a `--retry` that names no row.
pub(super) async fn dead_letters(
    address: &str,
    args: &ConnectorArgs,
    retry: &[String],
) -> Result<()> {
    let store = open_store(address).await?;
    let listing = listing(args);
    if retry.is_empty() {
        report::dead_letters(&*store, listing, format(args.output), &mut io::stdout()).await?;
        return Ok(());
    }
    let found = numbers(&*store, listing).await?;
    let handed_back = store.retry_dead_letters(&chosen(retry, &found)?).await?;
    println!("{handed_back} handed back; the operator tries them again");
    Ok(())
}

/// Lists requests. How many.
///
/// # Errors
/// The store's.
pub(super) async fn requests(address: &str, args: &AccessListArgs) -> Result<u64> {
    let store = open_store(address).await?;
    let (listing, format) = (access_listing(args), format(args.output));
    Ok(report::requests(&*store, listing, format, &mut io::stdout()).await?)
}

/// Lists grants. How many.
///
/// # Errors
/// The store's.
pub(super) async fn grants(address: &str, args: &AccessListArgs) -> Result<u64> {
    let store = open_store(address).await?;
    let (listing, format) = (access_listing(args), format(args.output));
    Ok(report::grants(&*store, listing, format, &mut io::stdout()).await?)
}

fn access_listing(args: &AccessListArgs) -> AccessListing {
    AccessListing {
        namespace: namespace_or_default(args.namespace.as_deref()),
        connector: args.connector.clone(),
    }
}

/// Opens the store that the operator uses. One that is not there is not made: an empty listing would look like an answer.
pub(in crate::commands) async fn open_store(address: &str) -> Result<Arc<dyn Store>> {
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

fn format(output: OutputFormat) -> Format {
    match output {
        OutputFormat::Table => Format::Table,
        OutputFormat::Json => Format::Json,
    }
}

fn listing(args: &ConnectorArgs) -> ListingQuery {
    ListingQuery {
        namespace: Some(namespace_or_default(args.namespace.as_deref())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_letters_that_are_there_can_be_retried() {
        assert_eq!(chosen(&["all".into()], &[3, 4]).unwrap(), [3, 4]);
        assert_eq!(chosen(&["4".into()], &[3, 4]).unwrap(), [4]);
        let error = chosen(&["5".into()], &[3, 4]).unwrap_err().to_string();
        assert!(error.contains("--retry 5"), "{error}");
    }
}
