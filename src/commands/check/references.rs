//! Checks objects against each other: references to objects that are missing in these files, and objects that contradict each other.
//!
//! All findings are warnings: a Secret may well be created by something else.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Finding;
use super::object_index::ObjectIndex;
use super::objects::CheckedObject;
use crate::api::connector::{DEFAULT_API_KEY, DEFAULT_TOKEN_KEY};
use crate::telegram::BotToken;

/// The fields of `spec.access` that hold a user selection.
const SELECTIONS: [&str; 3] = ["companyUsers", "agentUsers", "specificUsers"];

/// Warnings about all objects together.
pub(super) fn check_references(objects: &[CheckedObject], findings: &mut Vec<Finding>) {
    let index = ObjectIndex::new(objects);
    for (position, object) in objects.iter().enumerate() {
        if let Some(first) = index.earlier_definition(position) {
            let message = format!(
                "{} {:?} stands in {}:{} too: one of them replaces the other",
                object.kind,
                object.name(),
                first.file,
                first.node.line_of("metadata.name"),
            );
            findings.push(object.warning("metadata.name", message));
        }
        if object.ours && object.kind == "TelegramConnector" {
            check_connector(position, object, &index, findings);
        }
    }
}

fn check_connector(
    position: usize,
    connector: &CheckedObject,
    index: &ObjectIndex<'_>,
    findings: &mut Vec<Finding>,
) {
    let token = "spec.botTokenSecretRef";
    check_secret(connector, token, DEFAULT_TOKEN_KEY, index, findings);
    for key in [
        "spec.assistant.apiKeySecretRef",
        "spec.transcription.apiKeySecretRef",
    ] {
        check_secret(connector, key, DEFAULT_API_KEY, index, findings);
    }
    for selection in SELECTIONS {
        let refs = connector
            .object
            .pointer(&format!("/spec/access/{selection}/listRefs"))
            .and_then(Value::as_array);
        for (position, list) in refs.into_iter().flatten().enumerate() {
            let Some(name) = list["name"].as_str() else {
                continue;
            };
            if !index.has_user_list(connector, name) {
                findings.push(connector.warning(
                    &format!("spec.access.{selection}.listRefs[{position}].name"),
                    format!("TelegramUserList {name:?} is not in these files: until it exists in the same namespace, its users are denied"),
                ));
            }
        }
    }
    if let Some(duplicate) = index.earlier_token_user(position) {
        findings.push(connector.warning(
            token,
            format!(
                "TelegramConnector {:?} names the same token: one bot serves one connector, and the newer one stays disconnected",
                duplicate.name()
            ),
        ));
    }
}

fn check_secret(
    connector: &CheckedObject,
    field: &str,
    default_key: &str,
    index: &ObjectIndex<'_>,
    findings: &mut Vec<Finding>,
) {
    let pointer = format!("/{}", field.replace('.', "/"));
    let Some(name) = connector.text(&format!("{pointer}/name")) else {
        return;
    };
    let key = connector
        .text(&format!("{pointer}/key"))
        .unwrap_or(default_key);
    let providers = index.secret_providers(connector, name);
    if providers.is_empty() {
        findings.push(connector.warning(
            &format!("{field}.name"),
            format!("Secret {name:?} is not in these files: it must exist in the same namespace with a key {key:?}"),
        ));
        return;
    }
    for secret in providers.into_iter().filter(|other| other.kind == "Secret") {
        let keys = keys_of(secret);
        if !keys.contains(key) {
            let present = if keys.is_empty() {
                "it has none".to_owned()
            } else {
                format!(
                    "keys present: {}",
                    keys.into_iter().collect::<Vec<_>>().join(", ")
                )
            };
            let at = if connector.text(&format!("{pointer}/key")).is_some() {
                format!("{field}.key")
            } else {
                field.to_owned()
            };
            findings.push(connector.warning(
                &at,
                format!("Secret {name:?} has no key {key:?}; {present}"),
            ));
        } else if field == "spec.botTokenSecretRef"
            && let Some(token) = secret.text(&format!("/stringData/{key}"))
            && BotToken::parse(token).is_err()
        {
            let message = "is not a bot token: expected the bot's id, a colon and the secret part, as @BotFather sends it".to_owned();
            findings.push(secret.warning(&format!("stringData.{key}"), message));
        }
    }
}

fn keys_of(secret: &CheckedObject) -> BTreeSet<&str> {
    ["data", "stringData"]
        .into_iter()
        .filter_map(|part| secret.object[part].as_object())
        .flat_map(|keys| keys.keys().map(String::as_str))
        .collect()
}
