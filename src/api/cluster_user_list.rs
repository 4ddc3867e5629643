//! `ClusterTelegramUserList`: users that connectors of several namespaces share, where whoever keeps the list allows it.

// Docstrings here are the CRD's descriptions, which people read in `kubectl explain`, without backticks.
#![allow(clippy::doc_markdown)]
// `KubeSchema` copies each struct into a function to derive from the copy.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::user_list::{TelegramUserListStatus, UserEntry, ids_differ};

/// What a `ClusterTelegramUserList` should be.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "connectors.pupau.ai",
    version = "v1alpha1",
    kind = "ClusterTelegramUserList",
    plural = "clustertelegramuserlists",
    shortname = "ctgul",
    category = "connectors",
    status = "TelegramUserListStatus",
    derive = "PartialEq",
    doc = "Telegram users that TelegramConnectors of several namespaces share.",
    printcolumn = r#"{"name":"Users","type":"integer","jsonPath":".status.users","description":"How many users the list names"}"#,
    printcolumn = r#"{"name":"Used By","type":"integer","jsonPath":".status.usedBy","description":"How many connectors refer to the list, in whatever namespace"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"Whether the list can be used"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ended","type":"integer","jsonPath":".status.ended","priority":1,"description":"How many entries have ended"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTelegramUserListSpec {
    /// The users, at most 10000, each with exactly one of id and username.
    #[schemars(length(max = 10_000), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = ids_differ())]
    pub users: Vec<UserEntry>,
    /// The namespaces whose connectors may refer to the list. In all others a reference lets nobody in, and says so.
    pub allowed_namespaces: AllowedNamespaces,
}

/// Namespaces, by name or by label.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.names) != has(self.selector)")
        .message("set exactly one of names and selector: names lists namespaces, selector chooses them by label"),
    validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0) || \
                            (has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)")
        .message("an empty selector would choose every namespace: to mean that, write matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]")
        .field_path(".selector")
)]
pub struct AllowedNamespaces {
    /// Their names, at most 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 500),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Option<Vec<String>>,
    /// Which labels they have; not empty. Who may label a namespace then decides who may use the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl AllowedNamespaces {
    /// The selector, if namespaces are chosen by one.
    ///
    /// # Errors
    /// It cannot be read, or is empty; then it chooses no namespace.
    pub fn selector(&self) -> Result<Option<Selector>, String> {
        let Some(selector) = &self.selector else {
            return Ok(None);
        };
        let has_labels = selector
            .match_labels
            .as_ref()
            .is_some_and(|l| !l.is_empty());
        let expressions = selector.match_expressions.as_ref();
        // A field that is misspelt is dropped by the API server, and must not let everybody in.
        if !has_labels && expressions.is_none_or(Vec::is_empty) {
            return Err("spec.allowedNamespaces.selector is empty".to_owned());
        }
        let parsed = Selector::try_from(selector.clone());
        let parsed = parsed.map_err(|why| format!("spec.allowedNamespaces.selector: {why}"))?;
        Ok(Some(parsed))
    }

    /// Whether a namespace with these labels may use the list. It fails closed.
    pub fn allow(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        match (&self.names, self.selector()) {
            (Some(names), Ok(None)) => names.iter().any(|name| name == namespace),
            (None, Ok(Some(selector))) => selector.matches(labels),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::AllowedNamespaces;

    #[rstest]
    #[case::by_name(json!({"names": ["acme", "beta"]}), true)]
    #[case::another_name(json!({"names": ["beta"]}), false)]
    #[case::no_names(json!({"names": []}), false)]
    #[case::by_label(json!({"selector": {"matchLabels": {"team": "a"}}}), true)]
    #[case::another_label(json!({"selector": {"matchLabels": {"team": "b"}}}), false)]
    #[case::expression(json!({"selector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}}), true)]
    #[case::unknown_operator(json!({"selector": {"matchExpressions": [{"key": "team", "operator": "Has", "values": ["a"]}]}}), false)]
    #[case::empty_selector(json!({"selector": {}}), false)]
    #[case::both(json!({"names": ["acme"], "selector": {"matchLabels": {"team": "a"}}}), false)]
    #[case::neither(json!({}), false)]
    fn namespaces_are_allowed_by_name_or_label(#[case] allowed: Value, #[case] expected: bool) {
        let allowed: AllowedNamespaces = serde_json::from_value(allowed).unwrap();
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        assert_eq!(allowed.allow("acme", &labels), expected);
    }
}
