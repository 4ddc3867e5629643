//! The commands `grant`, `approve` and `refuse`: who is let in beside the lists, by the data API with the caller's own rights.

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::data_api::{DataApi, ObjectPath};
use crate::cli::{AccessArgs, ApproveArgs, GrantArgs, RefuseArgs};
use crate::data_api::{GROUP, VERSION};

/// Gives a grant.
///
/// # Errors
/// The data API is not there, or refuses.
pub async fn grant(args: GrantArgs) -> Result<()> {
    let api = connect(&args.access).await?;
    let namespace = api.namespace(args.access.namespace.as_deref());
    let path = ObjectPath {
        namespace,
        resource: "accessgrants",
        name: "",
        subresource: "",
    };
    let body = grant_body(&args, Timestamp::now());
    let made = api.create(path, &body).await.with_context(|| {
        let connector = &args.connector;
        format!("TelegramConnector {namespace}/{connector}: the grant was not given")
    })?;
    println!(
        "accessgrant/{} created: user {} until {}",
        text(&made, "/metadata/name"),
        args.user,
        text(&made, "/spec/until")
    );
    Ok(())
}

fn grant_body(args: &GrantArgs, now: Timestamp) -> Value {
    let until = match (&args.until, args.days) {
        (Some(until), _) => until.clone(),
        (None, days) => {
            let hours = i64::from(days.unwrap_or(1)) * 24;
            (now + SignedDuration::from_hours(hours)).to_string()
        }
    };
    let mut user = json!({"id": args.user});
    for (field, value) in [("name", &args.name), ("username", &args.username)] {
        if let Some(value) = value {
            user[field] = value.as_str().into();
        }
    }
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "AccessGrant",
        "spec": {"connector": args.connector, "user": user, "until": until},
    })
}

/// Lets in who asked.
///
/// # Errors
/// The data API is not there, or refuses; requests before that one are decided.
pub async fn approve(args: ApproveArgs) -> Result<()> {
    let mut body = json!({});
    if let Some(until) = &args.until {
        body["until"] = until.as_str().into();
    }
    if let Some(days) = args.days {
        body["days"] = days.into();
    }
    decide(&args.access, &args.requests, "approve", &body).await
}

/// Does not let in who asked.
///
/// # Errors
/// As [`approve`].
pub async fn refuse(args: RefuseArgs) -> Result<()> {
    let body = json!({"mute": args.mute});
    decide(&args.access, &args.requests, "refuse", &body).await
}

async fn decide(
    args: &AccessArgs,
    requests: &[String],
    subresource: &'static str,
    body: &Value,
) -> Result<()> {
    let api = connect(args).await?;
    for named in requests {
        let name = name_of(named);
        let path = ObjectPath {
            namespace: api.namespace(args.namespace.as_deref()),
            resource: "accessrequests",
            name: &name,
            subresource,
        };
        let decided = api.create(path, body).await;
        let decided = decided.with_context(|| format!("accessrequest/{name}"))?;
        let until = text(&decided, "/status/until");
        let until = match until {
            "" => String::new(),
            until => format!(" until {until}"),
        };
        println!(
            "accessrequest/{name} {}{until}",
            text(&decided, "/status/phase")
        );
    }
    Ok(())
}

/// The name of a request that is named whole or by its number.
fn name_of(named: &str) -> String {
    let named = named.rsplit('/').next().unwrap_or(named);
    if named.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("request-{named}")
    } else {
        named.to_owned()
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

async fn connect(args: &AccessArgs) -> Result<DataApi> {
    DataApi::connect(args.context.as_deref()).await
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(line: &str) -> Result<Command, String> {
        let words = std::iter::once("telegram-connector-operator").chain(line.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(cli.command)
    }

    #[test]
    fn grant_on_the_command_line_ends() {
        let body = |line: &str| match parsed(line) {
            Ok(Command::Grant(args)) => {
                let now = "2026-11-28T12:00:00Z".parse().expect("a time");
                Ok(grant_body(&args, now)["spec"].clone())
            }
            other => Err(format!("{other:?}")),
        };
        assert_eq!(
            body("grant support --user 5001 --days 2 --name Ann").expect("a grant"),
            json!({"connector": "support", "user": {"id": 5001, "name": "Ann"}, "until": "2026-11-30T12:00:00Z"})
        );
        let until = body("grant support --user 5001 --until 2026-12-31").expect("a grant");
        assert_eq!(until["until"], "2026-12-31");
        let error = body("grant support --user 5001").expect_err("no end");
        assert!(error.contains("--until"), "{error}");
    }

    #[test]
    fn request_is_named_whole_or_by_its_number() {
        for named in ["7", "request-7", "accessrequest/request-7"] {
            assert_eq!(name_of(named), "request-7");
        }
    }
}
