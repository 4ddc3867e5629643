//! Checks objects against each other: references to objects that are missing in these files, and objects that contradict each other; and time
//! zones that there are none of.
//!
//! All findings are warnings: a Secret may well be created by something else.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::object_index::ObjectIndex;
use super::objects::CheckedObject;
use super::{CheckOptions, Finding};
use crate::api::ALLOW_USE_LABEL;
use crate::api::connector::{DEFAULT_API_KEY, DEFAULT_CLIENT_SECRET_KEY, DEFAULT_TOKEN_KEY};
use crate::api::until;
use crate::bounded_text::bounded_list;
use crate::calendar;
use crate::telegram::BotToken;

/// The fields of `spec` that hold a user selection.
const SELECTIONS: [&str; 5] = [
    "access.companyUsers",
    "access.agentUsers",
    "access.specificUsers",
    "approvals.approvers",
    "access.requests.approvers",
];

const TOKEN_REF: &str = "spec.botTokenSecretRef";
/// The fields that name one Secret, with the key in it that they mean by default.
const SECRET_REFS: [(&str, &str); 6] = [
    (TOKEN_REF, DEFAULT_TOKEN_KEY),
    ("spec.assistant.apiKeySecretRef", DEFAULT_API_KEY),
    ("spec.transcription.apiKeySecretRef", DEFAULT_API_KEY),
    ("spec.files.extract.apiKeySecretRef", DEFAULT_API_KEY),
    ("spec.speech.apiKeySecretRef", DEFAULT_API_KEY),
    (
        "spec.access.companyUsers.oidc.clientSecretRef",
        DEFAULT_CLIENT_SECRET_KEY,
    ),
];

/// Warnings about all objects together.
pub(super) fn check_references(
    objects: &[CheckedObject],
    options: CheckOptions,
    findings: &mut Vec<Finding>,
) {
    let index = ObjectIndex::new(objects);
    let now = Timestamp::now();
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
        if object.ours {
            check_ends(object, now, findings);
        }
        if object.ours && object.kind == "TelegramConnector" {
            check_connector(position, object, &index, findings);
            if options.require_secret_label {
                check_secret_labels(object, &index, findings);
            }
        }
    }
}

/// Entries that name nobody any more.
fn check_ends(object: &CheckedObject, now: Timestamp, findings: &mut Vec<Finding>) {
    let fields: Vec<String> = if object.kind == "TelegramConnector" {
        let lists = SELECTIONS.map(|selection| format!("spec.{selection}.users"));
        lists.into()
    } else {
        vec!["spec.users".to_owned()]
    };
    for field in fields {
        let users = object.object.pointer(&pointer_to(&field));
        let users = users.and_then(Value::as_array).into_iter().flatten();
        for (position, entry) in users.enumerate() {
            let Some(until) = entry["until"].as_str() else {
                continue;
            };
            if until::end_of(until).is_ok_and(|end| end <= now) {
                findings.push(object.warning(
                    &format!("{field}[{position}].until"),
                    format!("the entry ended ({until}): it lets nobody in; remove it, or give it another end"),
                ));
            }
        }
    }
}

fn check_connector(
    position: usize,
    connector: &CheckedObject,
    index: &ObjectIndex<'_>,
    findings: &mut Vec<Finding>,
) {
    for (field, default_key) in secret_refs(connector) {
        check_secret(connector, &field, default_key, index, findings);
    }
    for selection in SELECTIONS {
        let refs = connector
            .object
            .pointer(&pointer_to(&format!("spec.{selection}.listRefs")))
            .and_then(Value::as_array);
        for (position, list) in refs.into_iter().flatten().enumerate() {
            let Some(name) = list["name"].as_str() else {
                continue;
            };
            let problem = match list["kind"].as_str() {
                Some("ClusterTelegramUserList") => cluster_list_problem(connector, name, index),
                _ if index.has_user_list(connector, name) => None,
                _ => Some(format!(
                    "TelegramUserList {name:?} is not in these files: until it exists in the same namespace, its users are denied"
                )),
            };
            if let Some(problem) = problem {
                let field = format!("spec.{selection}.listRefs[{position}].name");
                findings.push(connector.warning(&field, problem));
            }
        }
    }
    check_time_zone(connector, findings);
    if let Some(duplicate) = index.earlier_token_user(position) {
        findings.push(connector.warning(
            TOKEN_REF,
            format!(
                "TelegramConnector {:?} names the same token: one bot serves one connector, and the newer one stays disconnected",
                duplicate.name()
            ),
        ));
    }
}

/// A rule of the CRD cannot know the names.
fn check_time_zone(connector: &CheckedObject, findings: &mut Vec<Finding>) {
    let Some(zone) = connector.text("/spec/limits/timeZone") else {
        return;
    };
    if calendar::time_zone(zone).is_none() {
        findings.push(connector.warning(
            "spec.limits.timeZone",
            format!("there is no time zone {zone:?}: days end at midnight UTC until it is a name of the IANA database, such as Europe/Rome"),
        ));
    }
}

/// Why a reference to a list of the cluster lets nobody in, as far as these files say. What labels namespaces have they do not.
fn cluster_list_problem(
    connector: &CheckedObject,
    name: &str,
    index: &ObjectIndex<'_>,
) -> Option<String> {
    let Some(list) = index.cluster_list(name) else {
        return Some(format!(
            "ClusterTelegramUserList {name:?} is not in these files: until it exists, its users are denied"
        ));
    };
    let namespace = connector.namespace()?;
    let names = list.object["spec"]["allowedNamespaces"]["names"].as_array()?;
    let is_allowed = names.iter().any(|allowed| allowed == namespace);
    (!is_allowed).then(|| {
        format!(
            "ClusterTelegramUserList {name:?} does not allow namespace {namespace:?} in spec.allowedNamespaces.names: its users are denied"
        )
    })
}

/// The fields of a connector that name Secrets, those of its assistant's headers among them.
fn secret_refs(connector: &CheckedObject) -> Vec<(String, &'static str)> {
    let headers = connector.object["spec"]["assistant"]["headers"].as_array();
    let headers = 0..headers.map_or(0, Vec::len);
    let header_refs = headers.map(|position| {
        let field = format!("spec.assistant.headers[{position}].valueFrom.secretKeyRef");
        (field, "")
    });
    let refs = SECRET_REFS.map(|(field, default_key)| (field.to_owned(), default_key));
    refs.into_iter().chain(header_refs).collect()
}

/// The JSON pointer to a field such as `spec.users[3].id`.
fn pointer_to(field: &str) -> String {
    format!("/{}", field.replace(['.', '['], "/").replace(']', ""))
}

fn check_secret(
    connector: &CheckedObject,
    field: &str,
    default_key: &str,
    index: &ObjectIndex<'_>,
    findings: &mut Vec<Finding>,
) {
    let pointer = pointer_to(field);
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
                let keys: Vec<&str> = keys.into_iter().collect();
                format!("keys present: {}", bounded_list(&keys, ", "))
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
        } else if field == TOKEN_REF
            && let Some(token) = secret.text(&format!("/stringData/{key}"))
            && BotToken::parse(token).is_err()
        {
            let message = "is not a bot token: expected the bot's id, a colon and the secret part, as @BotFather sends it".to_owned();
            findings.push(secret.warning(&format!("stringData.{key}"), message));
        }
    }
}

/// Secrets that the connector names and the operator would not use.
fn check_secret_labels(
    connector: &CheckedObject,
    index: &ObjectIndex<'_>,
    findings: &mut Vec<Finding>,
) {
    for (field, _) in secret_refs(connector) {
        let pointer = format!("{}/name", pointer_to(&field));
        let Some(name) = connector.text(&pointer) else {
            continue;
        };
        let providers = index.secret_providers(connector, name);
        let mut labels = providers.into_iter().filter_map(secret_labels);
        if labels.any(|labels| labels[ALLOW_USE_LABEL] != "true") {
            findings.push(connector.warning(
                &format!("{field}.name"),
                format!(
                    "Secret {name:?} gets no label {ALLOW_USE_LABEL}: \"true\" in these files, without which it is not used"
                ),
            ));
        }
    }
}

/// The labels of the Secret that an object is or creates; `None` where they are written elsewhere.
fn secret_labels(object: &CheckedObject) -> Option<&Value> {
    let metadata = &object.object["metadata"];
    let made_from = match object.kind.as_str() {
        "Secret" => metadata,
        // Without a template the ExternalSecret's own labels are copied.
        "ExternalSecret" => match &object.object["spec"]["target"]["template"] {
            Value::Null => metadata,
            template => &template["metadata"],
        },
        "SealedSecret" => &object.object["spec"]["template"]["metadata"],
        _ => return None,
    };
    Some(&made_from["labels"])
}

fn keys_of(secret: &CheckedObject) -> BTreeSet<&str> {
    ["data", "stringData"]
        .into_iter()
        .filter_map(|part| secret.object[part].as_object())
        .flat_map(|keys| keys.keys().map(String::as_str))
        .collect()
}
