//! The command `status`: one screen for each connector. What the resource says comes from Kubernetes; what was said and what waits, as counts,
//! from the data API where the cluster serves it.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::data_api::{self, DataApi, Listing};
use crate::api::TelegramConnector;
use crate::cli::StatusArgs;

/// Objects of a page of connectors.
const PAGE: u32 = 500;

/// Prints.
///
/// # Errors
/// There is no cluster, or connectors cannot be listed.
pub async fn status(args: StatusArgs) -> Result<()> {
    let client = data_api::connect(args.context.as_deref()).await?;
    let connectors = connectors(&client, &args).await?;
    let data_api = DataApi::connect(args.context.as_deref()).await;
    for (index, connector) in connectors.iter().enumerate() {
        if index > 0 {
            println!();
        }
        print!("{}", describe(connector));
        match &data_api {
            Ok(api) => print!("{}", Counts::read(api, connector).await),
            Err(reason) => println!("  {:<16} unknown: {reason:#}", "messages"),
        }
    }
    Ok(())
}

async fn connectors(client: &Client, args: &StatusArgs) -> Result<Vec<TelegramConnector>> {
    let namespace = args
        .namespace
        .as_deref()
        .unwrap_or_else(|| client.default_namespace());
    let api: Api<TelegramConnector> = if args.all_namespaces {
        Api::all(client.clone())
    } else {
        Api::namespaced(client.clone(), namespace)
    };
    let mut params = ListParams::default().limit(PAGE);
    if let Some(name) = &args.connector {
        params = params.fields(&format!("metadata.name={name}"));
    }
    let mut found = Vec::new();
    loop {
        let page = api
            .list(&params)
            .await
            .context("TelegramConnectors cannot be listed")?;
        let token = page.metadata.continue_.unwrap_or_default();
        found.extend(page.items);
        if token.is_empty() {
            break;
        }
        params = params.continue_token(&token);
    }
    match &args.connector {
        Some(name) if found.is_empty() => {
            bail!("there is no TelegramConnector {name} in namespace {namespace}")
        }
        None if found.is_empty() => {
            eprintln!("no TelegramConnector in namespace {namespace}; -A shows all namespaces");
        }
        _ => {}
    }
    Ok(found)
}

/// What the resource says.
fn describe(connector: &TelegramConnector) -> String {
    let status = connector.status.clone().unwrap_or_default();
    let namespace = connector.namespace().unwrap_or_default();
    let bot = status.bot.map_or_else(
        || "no bot yet".to_owned(),
        |bot| format!("@{}", bot.username),
    );
    let mode = status
        .mode
        .map_or_else(|| "not connected".to_owned(), |mode| format!("{mode:?}"));
    let mut text = format!("{namespace}/{}   {bot}   {mode}", connector.name_any());
    if connector.spec.is_suspended() {
        text.push_str("   suspended");
    }
    text.push('\n');
    for condition in &status.conditions {
        let _ = writeln!(
            text,
            "  {:<16} {:<8} {:<22} {}",
            condition.type_,
            condition.status,
            condition.reason,
            one_line(&condition.message)
        );
    }
    if let Some(webhook) = status.webhook {
        let _ = writeln!(text, "  {:<16} {}", "webhook", webhook.url);
    }
    let users = match status.access_users {
        Some(1) => ": 1 user".to_owned(),
        Some(users) => format!(": {users} users"),
        None => String::new(),
    };
    let level = connector.spec.access.level;
    let _ = writeln!(text, "  {:<16} {level:?}{users}", "may write");
    if let Some(session) = status.session {
        let _ = writeln!(text, "  {:<16} {session}", "session");
    }
    text
}

/// What a message of others must not do to the terminal.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// What the data API counts of a connector; `Err`: why it does not.
struct Counts {
    conversations: Result<Conversations>,
    dead_letters: Result<u64>,
    denied: Result<u64>,
    outgoing: Result<u64>,
    asking: Result<u64>,
    grants: Result<u64>,
}

#[derive(Default)]
struct Conversations {
    count: u64,
    exchanges: u64,
    last: Option<Timestamp>,
}

impl Counts {
    async fn read(api: &DataApi, connector: &TelegramConnector) -> Self {
        let (namespace, name) = (
            connector.namespace().unwrap_or_default(),
            connector.name_any(),
        );
        let listing = |resource| Listing {
            resource,
            namespace: Some(&namespace),
            connector: Some(&name),
            since: None,
        };
        let mut conversations = Conversations::default();
        let counted = api.for_each(listing("conversations"), async |object| {
            conversations.add(&object);
            Ok(())
        });
        let counted = counted.await;
        let in_phase = async |resource, phase: &str| {
            let mut found = 0;
            let look = async |object: Value| {
                found += u64::from(object.pointer("/status/phase") == Some(&Value::from(phase)));
                Ok(())
            };
            api.for_each(listing(resource), look).await?;
            Ok(found)
        };
        let count = async |resource| api.for_each(listing(resource), async |_| Ok(())).await;
        Self {
            conversations: counted.map(|_| conversations),
            dead_letters: count("deadletters").await,
            denied: count("deniedmessages").await,
            outgoing: in_phase("outgoingmessages", "Pending").await,
            asking: in_phase("accessrequests", "Waiting").await,
            grants: count("accessgrants").await,
        }
    }
}

/// `1 message`, `2 messages`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

impl Conversations {
    fn add(&mut self, object: &Value) {
        self.count += 1;
        let exchanges = object.pointer("/status/messages");
        self.exchanges += exchanges.and_then(Value::as_u64).unwrap_or(0);
        let last = object.pointer("/status/lastMessage");
        let last = last.and_then(Value::as_str).and_then(|t| t.parse().ok());
        self.last = self.last.max(last);
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.conversations {
            Ok(conversations) => {
                let last = conversations
                    .last
                    .map_or_else(|| "none yet".to_owned(), |last| last.to_string());
                writeln!(
                    f,
                    "  {:<16} {} in {}, the last: {last}",
                    "answered",
                    counted(conversations.exchanges, "message"),
                    counted(conversations.count, "conversation"),
                )?;
            }
            Err(error) => writeln!(f, "  {:<16} unknown: {error:#}", "answered")?,
        }
        for (label, count) in [
            ("dead letters", &self.dead_letters),
            ("denied, kept", &self.denied),
            ("to be sent", &self.outgoing),
            ("ask to be let in", &self.asking),
            ("let in by grants", &self.grants),
        ] {
            match count {
                Ok(count) => writeln!(f, "  {label:<16} {count}")?,
                Err(error) => writeln!(f, "  {label:<16} unknown: {error:#}")?,
            }
        }
        Ok(())
    }
}
