//! What names, labels and annotations may look like (apimachinery `pkg/util/validation`).

use std::sync::LazyLock;

use rand::Rng;
use regex::Regex;
use serde_json::Value;

use super::kinds::{Kind, Strategy};
use super::object::{metadata_str, value_at};
use crate::schema::StatusCause;

const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const CONFIG_KEY: &str = "[-._a-zA-Z0-9]+";

fn anchored(pattern: &str) -> Regex {
    Regex::new(&format!("^{pattern}$")).expect("the patterns above are written right")
}

static IS_SUBDOMAIN: LazyLock<Regex> = LazyLock::new(|| anchored(SUBDOMAIN));
static IS_LABEL: LazyLock<Regex> = LazyLock::new(|| anchored(LABEL));
static IS_QUALIFIED: LazyLock<Regex> = LazyLock::new(|| anchored(QUALIFIED));
static IS_VALUE: LazyLock<Regex> = LazyLock::new(|| anchored(VALUE));
static IS_CONFIG_KEY: LazyLock<Regex> = LazyLock::new(|| anchored(CONFIG_KEY));

/// Five random characters that spell no word (apiserver `names.SimpleNameGenerator`).
pub(super) fn generate_name(prefix: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    let tail = (0..5).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    // 63 is the longest name that every kind takes.
    prefix.chars().take(58).chain(tail).collect()
}

/// Everything wrong with the metadata that the creator of an object chose.
pub(super) fn validate_metadata(kind: &Kind, object: &Value) -> Vec<StatusCause> {
    let mut causes = Vec::new();
    let name = metadata_str(object, "name");
    if name.is_empty() {
        causes.push(StatusCause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Some(why) = name_error(kind, name) {
        causes.push(StatusCause::invalid(
            "metadata.name",
            &Value::from(name),
            &why,
        ));
    }
    for (key, value) in value_at(object, &["metadata", "labels"])
        .as_object()
        .into_iter()
        .flatten()
    {
        if let Some(why) = qualified_name_error(key) {
            causes.push(StatusCause::invalid(
                "metadata.labels",
                &Value::from(key.clone()),
                &why,
            ));
        }
        let text = value.as_str().unwrap_or_default();
        if text.len() > 63 {
            causes.push(StatusCause::invalid(
                "metadata.labels",
                value,
                "must be no more than 63 bytes",
            ));
        }
        if !IS_VALUE.is_match(text) {
            let why = format!(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{VALUE}')"
            );
            causes.push(StatusCause::invalid("metadata.labels", value, &why));
        }
    }
    for key in value_at(object, &["metadata", "annotations"])
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys)
    {
        if let Some(why) = qualified_name_error(&key.to_lowercase()) {
            causes.push(StatusCause::invalid(
                "metadata.annotations",
                &Value::from(key.clone()),
                &why,
            ));
        }
    }
    for owner in value_at(object, &["metadata", "ownerReferences"])
        .as_array()
        .into_iter()
        .flatten()
    {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if value_at(owner, &[field])
                .as_str()
                .unwrap_or_default()
                .is_empty()
            {
                let why = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                causes.push(StatusCause::invalid(
                    format!("metadata.ownerReferences.{field}"),
                    &Value::from(""),
                    why,
                ));
            }
        }
    }
    for finalizer in super::object::finalizers(object) {
        if let Some(why) = qualified_name_error(finalizer) {
            causes.push(StatusCause::invalid(
                "metadata.finalizers",
                &Value::from(finalizer),
                &why,
            ));
        }
    }
    causes
}

fn name_error(kind: &Kind, name: &str) -> Option<String> {
    if kind.strategy == Strategy::Namespace {
        if name.len() > 63 {
            return Some("must be no more than 63 bytes".into());
        }
        return (!IS_LABEL.is_match(name)).then(|| format!("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"));
    }
    if kind.group == "rbac.authorization.k8s.io" {
        let is_segment = name != "." && name != ".." && !name.contains(['/', '%']);
        return (!is_segment).then(|| "may not be '.' or '..', or contain '/' or '%'".to_owned());
    }
    if name.len() > 253 {
        return Some("must be no more than 253 bytes".into());
    }
    (!IS_SUBDOMAIN.is_match(name)).then(|| format!("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"))
}

fn qualified_name_error(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix
        && !IS_SUBDOMAIN.is_match(prefix)
    {
        return Some(format!(
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
        ));
    }
    if name.is_empty() {
        return Some("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".into());
    }
    (!IS_QUALIFIED.is_match(name)).then(|| format!("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{QUALIFIED}')"))
}

/// What is wrong with a key of a Secret or `ConfigMap`.
pub(super) fn config_key_error(key: &str) -> Option<String> {
    if key.len() > 253 {
        return Some("must be no more than 253 bytes".into());
    }
    (!IS_CONFIG_KEY.is_match(key)).then(|| format!("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{CONFIG_KEY}')"))
}
