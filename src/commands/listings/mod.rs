//! The commands `denied`, `sessions`, `dead-letters`, `requests` and `grants`: from the data API with the caller's own rights where a cluster serves it, else from
//! the store.
//!
//! | file | what it owns |
//! |---|---|
//! | `from_data_api` | lists objects of the data API |
//! | `from_store` | reads the store directly, while the operator runs or not |

mod from_data_api;
mod from_store;

pub(super) use from_store::open_store;

use anyhow::{Result, anyhow};
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};

use super::data_api::DataApi;
use crate::cli::{
    AccessListArgs, ConnectorArgs, DeadLettersArgs, DeniedArgs, SessionsArgs, SourceArgs,
};
use crate::store;

/// The store of an operator that was given none, and of its Pod.
const DEFAULT_STORE: &str = "sqlite:data/connectors.db";

/// Where a listing comes from.
enum Source {
    DataApi(DataApi),
    /// Its address.
    Store(String),
}

/// Lists denied conversations.
///
/// # Errors
/// Those of the data API or of the store, or an invalid `--since`.
pub async fn denied(args: DeniedArgs) -> Result<()> {
    let since = args
        .since
        .as_deref()
        .map(|s| point_in_time(s, Timestamp::now()))
        .transpose()?;
    let listed = match source(&args.connector, "deniedmessages").await? {
        Source::DataApi(api) => from_data_api::denied(&api, &args.connector, since).await?,
        Source::Store(address) => from_store::denied(&address, &args.connector, since).await?,
    };
    if listed == 0 {
        eprintln!(
            "none: conversations are kept where spec.access.saveDeniedConversations is true, until their retention ends"
        );
    }
    Ok(())
}

/// Lists sessions.
///
/// # Errors
/// Those of the data API or of the store.
pub async fn sessions(args: SessionsArgs) -> Result<()> {
    match source(&args.connector, "conversations").await? {
        Source::DataApi(api) => {
            from_data_api::sessions(&api, &args.connector, args.with_text).await
        }
        Source::Store(address) => {
            from_store::sessions(&address, &args.connector, args.with_text).await
        }
    }
}

/// Lists dead letters, or hands them back with `--retry`.
///
/// # Errors
/// Those of the data API or of the store, or a `--retry` that names no dead letter.
pub async fn dead_letters(args: DeadLettersArgs) -> Result<()> {
    match source(&args.connector, "deadletters").await? {
        Source::DataApi(api) => {
            from_data_api::dead_letters(&api, &args.connector, &args.retry).await
        }
        Source::Store(address) => {
            from_store::dead_letters(&address, &args.connector, &args.retry).await
        }
    }
}

/// Lists who asks, or asked, to be let in.
///
/// # Errors
/// Those of the data API or of the store.
pub async fn requests(args: AccessListArgs) -> Result<()> {
    let listed = match access_source(&args, "accessrequests").await? {
        Source::DataApi(api) => from_data_api::access(&api, &args, "accessrequests").await?,
        Source::Store(address) => from_store::requests(&address, &args).await?,
    };
    if listed == 0 {
        eprintln!("none: nobody has asked");
    }
    Ok(())
}

/// Lists who is let in beside the lists.
///
/// # Errors
/// Those of the data API or of the store.
pub async fn grants(args: AccessListArgs) -> Result<()> {
    let listed = match access_source(&args, "accessgrants").await? {
        Source::DataApi(api) => from_data_api::access(&api, &args, "accessgrants").await?,
        Source::Store(address) => from_store::grants(&address, &args).await?,
    };
    if listed == 0 {
        eprintln!("none: nobody is let in beside the lists");
    }
    Ok(())
}

async fn access_source(args: &AccessListArgs, resource: &'static str) -> Result<Source> {
    find_source(&args.source, args.namespace.as_deref(), resource).await
}

async fn source(args: &ConnectorArgs, resource: &'static str) -> Result<Source> {
    find_source(&args.source, args.namespace.as_deref(), resource).await
}

/// The store that is named, else the data API, else the store that is here. Where the store is here and the caller may not list by the data API, as
/// in the operator's Pod, it is the store, too. What is not used is said.
async fn find_source(
    SourceArgs { store, context }: &SourceArgs,
    namespace: Option<&str>,
    resource: &'static str,
) -> Result<Source> {
    if let Some(address) = store {
        return Ok(Source::Store(address.clone()));
    }
    let store_is_here = store::sqlite_path(DEFAULT_STORE).is_some_and(std::path::Path::exists);
    let mut connected = DataApi::connect(context.as_deref()).await;
    if store_is_here && let Ok(api) = &connected {
        let namespace = api.namespace(namespace);
        if !api.may_list(resource, namespace).await? {
            connected = Err(anyhow!("you may not list {resource} in {namespace}"));
        }
    }
    match connected {
        Ok(api) => Ok(Source::DataApi(api)),
        Err(reason) if store_is_here => {
            eprintln!("from the store {DEFAULT_STORE}, since {reason:#}");
            Ok(Source::Store(DEFAULT_STORE.to_owned()))
        }
        Err(reason) => Err(reason.context(
            "no data API, and no store here. In a cluster without the data API run this command in the operator's Pod \
             (kubectl -n telegram-connectors exec deploy/telegram-connector-operator -- before it); elsewhere name with --store the one that the \
             operator runs with",
        )),
    }
}

/// The namespace of a connector in the store, which knows no kubeconfig.
fn namespace_or_default(namespace: Option<&str>) -> String {
    namespace.unwrap_or("default").to_owned()
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
}
