//! Listings from the data API: objects as `kubectl get` shows them, with the caller's own rights.

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::{AccessListArgs, ConnectorArgs, OutputFormat};
use crate::commands::data_api::{DataApi, Listing, ObjectPath, print_json};

/// Lists denied messages. How many.
///
/// # Errors
/// What the API server refuses.
pub(super) async fn denied(
    api: &DataApi,
    args: &ConnectorArgs,
    since: Option<Timestamp>,
) -> Result<u64> {
    let listing = Listing {
        since,
        ..listing(api, args, "deniedmessages")?
    };
    api.print(listing, args.output).await
}

/// Lists conversations, with what was said if it is asked for and the output is JSON.
///
/// # Errors
/// What the API server refuses.
pub(super) async fn sessions(api: &DataApi, args: &ConnectorArgs, with_text: bool) -> Result<()> {
    let listing = listing(api, args, "conversations")?;
    if !with_text || args.output == OutputFormat::Table {
        api.print(listing, args.output).await?;
        return Ok(());
    }
    let read = async |mut object: Value| {
        let path = ObjectPath {
            namespace: api.namespace(args.namespace.as_deref()),
            resource: "conversations",
            name: name_of(&object)?,
            subresource: "transcript",
        };
        let transcript = api
            .read(path)
            .await
            .with_context(|| format!("the transcript of {} cannot be read", path.name))?;
        object["transcript"] = transcript;
        print_json(&object)
    };
    api.for_each(listing, read).await?;
    Ok(())
}

/// Lists dead letters, or has those of `retry` tried again.
///
/// # Errors
/// What the API server refuses, or a `--retry` that names no dead letter.
pub(super) async fn dead_letters(
    api: &DataApi,
    args: &ConnectorArgs,
    retry: &[String],
) -> Result<()> {
    let listing = listing(api, args, "deadletters")?;
    if retry.is_empty() {
        api.print(listing, args.output).await?;
        return Ok(());
    }
    let mut found = Vec::new();
    let collect = async |object: Value| {
        found.push(name_of(&object)?.to_owned());
        Ok(())
    };
    api.for_each(listing, collect).await?;
    let chosen = chosen(retry, &found)?;
    for name in &chosen {
        let path = ObjectPath {
            namespace: api.namespace(args.namespace.as_deref()),
            resource: "deadletters",
            name,
            subresource: "retry",
        };
        api.create(path, &json!({}))
            .await
            .with_context(|| format!("{name} cannot be handed back"))?;
    }
    println!(
        "{} handed back; the operator tries them again",
        chosen.len()
    );
    Ok(())
}

/// Lists grants or requests. How many.
///
/// # Errors
/// What the API server refuses.
pub(super) async fn access(
    api: &DataApi,
    args: &AccessListArgs,
    resource: &'static str,
) -> Result<u64> {
    let listing = Listing {
        resource,
        namespace: Some(api.namespace(args.namespace.as_deref())),
        connector: args.connector.as_deref(),
        since: None,
    };
    api.print(listing, args.output).await
}

fn listing<'a>(
    api: &'a DataApi,
    args: &'a ConnectorArgs,
    resource: &'static str,
) -> Result<Listing<'a>> {
    if args.uid.is_some() {
        bail!(
            "--uid reads the store: name it with --store. Of the data API, kubectl get {resource} lists what deleted connectors of a namespace left"
        );
    }
    Ok(Listing {
        resource,
        namespace: Some(api.namespace(args.namespace.as_deref())),
        connector: Some(&args.name),
        since: None,
    })
}

fn name_of(object: &Value) -> Result<&str> {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .context("the data API listed an object without a name")
}

/// The dead letters that `--retry` names: by name, by the number in it, or all.
fn chosen(retry: &[String], found: &[String]) -> Result<Vec<String>> {
    if retry.iter().any(|name| name == "all") {
        return Ok(found.to_vec());
    }
    let choose = |wanted: &String| {
        let numbered = format!("deadletter-{wanted}");
        let mut names = found.iter();
        names
            .find(|name| *name == wanted || **name == numbered)
            .cloned()
            .ok_or_else(|| {
                anyhow!("--retry {wanted}: this connector has no such dead letter; list them without --retry")
            })
    };
    retry.iter().map(choose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letter_is_chosen_by_name_or_number() {
        let found = ["deadletter-3".to_owned(), "deadletter-4".to_owned()];
        let choose = |retry: &str| chosen(&[retry.to_owned()], &found);
        assert_eq!(choose("all").unwrap(), found);
        assert_eq!(choose("4").unwrap(), ["deadletter-4"]);
        assert_eq!(choose("deadletter-3").unwrap(), ["deadletter-3"]);
        let error = choose("5").unwrap_err().to_string();
        assert!(error.contains("--retry 5"), "{error}");
    }
}
