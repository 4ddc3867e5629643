//! An object as a resource gives it, and as Kubernetes writes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// An object.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// The namespace it is in.
    pub namespace: String,
    /// `metadata.name`: a DNS subdomain name that stays the same.
    pub name: String,
    /// `metadata.uid`: a UUID that stays the same, on every replica.
    pub uid: String,
    /// The revision of its last change, from which `metadata.resourceVersion` is made.
    pub revision: i64,
    /// Whether that change made it: a watch then says `ADDED`, else `MODIFIED`. Clients take either for either.
    pub is_new: bool,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `metadata.labels`. They stay the same while the object is there.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Selectable fields, as in `spec.owner`, that select it no longer, though they show what they did: it matches as if they were empty. A change that
    /// detaches a field is `DELETED` for a watch by it.
    pub detached_fields: &'static [&'static str],
    /// `spec`: a JSON object, or null for none.
    pub spec: Value,
    /// `status`: a JSON object, or null for none.
    pub status: Value,
}
