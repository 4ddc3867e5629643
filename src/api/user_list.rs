//! `TelegramUserList`: users that several connectors share, and the entry that inline lists hold too.

// Docstrings here are the CRD's descriptions, which people read in `kubectl explain`, without backticks.
#![allow(clippy::doc_markdown)]
// `KubeSchema` copies each struct into a function to derive from the copy.
#![allow(unreachable_pub)]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::until;

/// What every rule against repeated ids says.
pub(super) const IDS_DIFFER_MESSAGE: &str =
    "the same id stands twice in this list: keep one entry per id";

/// What a `TelegramUserList` should be.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "connectors.pupau.ai",
    version = "v1alpha1",
    kind = "TelegramUserList",
    plural = "telegramuserlists",
    shortname = "tgul",
    category = "connectors",
    namespaced,
    status = "TelegramUserListStatus",
    derive = "PartialEq",
    doc = "Telegram users that several TelegramConnectors of a namespace share.",
    printcolumn = r#"{"name":"Users","type":"integer","jsonPath":".status.users","description":"How many users the list names"}"#,
    printcolumn = r#"{"name":"Used By","type":"integer","jsonPath":".status.usedBy","description":"How many connectors refer to the list"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"Whether the list can be used"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ended","type":"integer","jsonPath":".status.ended","priority":1,"description":"How many entries have ended"}"#
)]
pub struct TelegramUserListSpec {
    /// The users, at most 10000, each with exactly one of id and username.
    #[schemars(length(max = 10_000), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = ids_differ())]
    pub users: Vec<UserEntry>,
}

/// No id twice, in lists of up to 900 entries.
///
/// At 10,000 entries the API server's cost estimate leaves room for some 900 comparisons with the whole list, and no CEL expression that
/// Kubernetes 1.30 knows finds a repetition in fewer. (A list type of `set` or `map` would, but then managedFields repeats every
/// entry, and a long list applied by server-side apply no longer fits into etcd.) Beyond 900 a repetition is found by `check`;
/// it does no harm, since the users of a list are a set.
pub(super) fn ids_differ() -> Rule {
    const DIGITS: &str = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]";
    Rule::new(format!(
        "size(self) > 900 || [self.filter(u, has(u.id)).map(u, u.id)].all(ids, \
         [0, 1, 2, 3, 4, 5, 6, 7, 8].all(h, {DIGITS}.all(t, {DIGITS}.all(o, size(ids) <= 100 * h + 10 * t + o || \
         ids.indexOf(ids[100 * h + 10 * t + o]) == 100 * h + 10 * t + o))))"
    ))
    .message(IDS_DIFFER_MESSAGE)
}

/// A time of RFC 3339 whose letters are upper case, or the date alone, that the calendar has.
fn until_is_a_date_or_a_time() -> Rule {
    Rule::new(format!("self.matches('{}')", until::PATTERN)).message(until::MESSAGE)
}

/// One Telegram user: exactly one of `id` and `username`.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.id) != has(self.username)")
        .message("set exactly one of id and username: id is the user's numeric id and the safer of the two")
)]
pub struct UserEntry {
    /// The user's numeric id: the identity, which never changes. 1 to 4503599627370495 (groups, whose ids are negative, are not users).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_503_599_627_370_495_i64))]
    pub id: Option<i64>,
    /// The username, 5 to 32 letters, digits or underscores, with or without @, compared without case. It can change hands: prefer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 33))]
    #[x_kube(
        validation = Rule::new("self.matches('^@?[A-Za-z0-9_]{5,32}$')")
            .message("username must be 5 to 32 letters, digits or underscores, with or without a leading @")
    )]
    pub username: Option<String>,
    /// Until when the entry holds: a date such as 2027-01-31, through the end of that day in UTC, or a time such as 2027-01-31T18:00:00+01:00.
    /// From then on it names nobody. Absent: it does not end. Of two entries for one user the later end holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    #[x_kube(validation = until_is_a_date_or_a_time())]
    pub until: Option<String>,
    /// Who it is, for people; at most 256 characters. The operator does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub note: Option<String>,
}

impl UserEntry {
    /// The instant from which the entry names nobody; `None` where it does not end.
    ///
    /// # Errors
    /// `until` is neither a date nor a time. An API server without CEL lets that through.
    pub fn end(&self) -> Result<Option<Timestamp>, String> {
        self.until.as_deref().map(until::end_of).transpose()
    }

    /// The username as access decisions compare it: without @, lower case.
    pub fn normalized_username(&self) -> Option<String> {
        self.username.as_deref().map(normalize_username)
    }
}

/// A username as access decisions compare it: without @, lower case. Telegram's usernames are ASCII.
pub fn normalize_username(username: &str) -> String {
    username
        .strip_prefix('@')
        .unwrap_or(username)
        .to_ascii_lowercase()
}

/// How things stand with a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct TelegramUserListStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many users the list names, without those that have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<i32>,
    /// How many users' entries have ended. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<i32>,
    /// How many connectors refer to the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<i32>,
    /// Ready: the list can be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::normalize_username;

    #[test]
    fn usernames_compare_without_at_sign_and_case() {
        assert_eq!(normalize_username("@Ann_Example"), "ann_example");
        assert_eq!(normalize_username("bob_example"), "bob_example");
    }
}
