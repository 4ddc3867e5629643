//! The command `send`: has a bot send a message by an `OutgoingMessage` of the data API, and waits until Telegram has taken it.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::data_api::{DataApi, ObjectPath};
use crate::cli::SendArgs;

/// How often the object is looked at.
const POLL: Duration = Duration::from_millis(500);
/// How long it is waited for; the message is sent later all the same.
const PATIENCE: Duration = Duration::from_mins(2);

/// Sends.
///
/// # Errors
/// The data API is not there or refuses the message, or Telegram does; the text says why.
pub async fn send(args: SendArgs) -> Result<()> {
    let api = DataApi::connect(args.context.as_deref()).await?;
    let namespace = api.namespace(args.namespace.as_deref()).to_owned();
    let text = match args.text.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("standard input cannot be read")?;
            text
        }
        text => text.to_owned(),
    };
    let path = |name| ObjectPath {
        namespace: &namespace,
        resource: "outgoingmessages",
        name,
        subresource: "",
    };
    let created = api
        .create(path(""), &manifest(&args, &text))
        .await
        .with_context(|| {
            format!(
                "TelegramConnector {namespace}/{}: the message was not accepted",
                args.connector
            )
        })?;
    let name = created
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .context("the data API created an object without a name")?;
    println!("outgoingmessage/{name} created");
    if args.no_wait {
        return Ok(());
    }
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let object = api.read(path(name)).await?;
            if let Some(outcome) = outcome(&object) {
                return outcome;
            }
            tokio::time::sleep(POLL).await;
        }
    });
    match waited.await {
        Ok(Ok(())) => {
            println!("sent");
            Ok(())
        }
        Ok(Err(error)) => Err(error.context(format!("outgoingmessage/{name}"))),
        Err(_) => bail!(
            "outgoingmessage/{name} is still Pending; it is sent when its turn comes: kubectl -n {namespace} get outgoingmessage {name}"
        ),
    }
}

/// The object to create.
fn manifest(args: &SendArgs, text: &str) -> Value {
    let to = match (args.user, args.chat, args.topic) {
        (Some(user), ..) => json!({"user": user}),
        (None, chat, None) => json!({"chat": chat}),
        (None, chat, Some(topic)) => json!({"chat": chat, "topic": topic}),
    };
    let mut spec = json!({"connector": args.connector, "to": to, "text": text});
    if args.silent {
        spec["silent"] = true.into();
    }
    if let Some(key) = &args.idempotency_key {
        spec["idempotencyKey"] = key.as_str().into();
    }
    json!({
        "apiVersion": "data.connectors.pupau.ai/v1alpha1",
        "kind": "OutgoingMessage",
        "metadata": {"generateName": "send-"},
        "spec": spec,
    })
}

/// What became of it; `None`: it waits.
fn outcome(object: &Value) -> Option<Result<()>> {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Sent") => Some(Ok(())),
        Some("Failed") => {
            let reason = object.pointer("/status/reason").and_then(Value::as_str);
            Some(Err(anyhow!(
                "not sent: {}",
                reason.unwrap_or("no reason was written down")
            )))
        }
        _ => None,
    }
}
