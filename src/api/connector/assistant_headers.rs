//! `spec.assistant.headers` and `spec.assistant.apiKeyHeader`: which headers requests to the assistant carry beside those of the protocol.
//!
//! The rules stand here once, as constants: admission checks them in CEL, and [`header_name_problem`] checks them again where an API server
//! has no CEL.

use std::fmt;

use kube::KubeSchema;
use kube::core::{Reason, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many headers one assistant may have.
pub const MAX_HEADERS: usize = 32;
/// The longest value of a header in a manifest, in bytes.
pub const MAX_HEADER_VALUE_BYTES: usize = 4096;

/// Headers that no manifest may name: those of the connection (RFC 9110, 7.6.1), those that describe the body or its encoding, and those
/// that the operator writes itself.
const RESERVED_NAMES: [&str; 17] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "conversation-token",
    "expect",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// Beginnings of names that no manifest may use, for the same reasons.
const RESERVED_PREFIXES: [&str; 4] = ["a2a-", "proxy-", "webhook-", "x-telegram-"];
/// Where the API key goes unless `apiKeyHeader` says otherwise.
const AUTHORIZATION: &str = "authorization";

const NOT_A_NAME: &str = "name must be the name of an HTTP header: 1 to 128 letters, digits and !#$%&'*+-.^_`|~, such as X-Team";
const RESERVED: &str = "name must be none of the headers that the connection or the operator sets (Connection, Content-Type, Host, Proxy-*, X-Telegram-* and the like): choose another name";
const IS_AUTHORIZATION: &str = "name must not be Authorization: put the key into a Secret, name it in apiKeySecretRef, and see apiKeyHeader for another prefix";

/// One header that every request to the assistant carries: exactly one of `value` and `valueFrom`.
#[derive(KubeSchema, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.valueFrom)")
        .message("set exactly one of value and valueFrom: value stands in the manifest, valueFrom names a key of a Secret")
)]
pub struct AssistantHeader {
    /// The header's name, at most 128 characters, compared without case. Authorization, headers of the connection and those that the operator
    /// sets itself are refused.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(
        validation = is_header_name(),
        validation = is_not_reserved(),
        validation = is_not_authorization()
    )]
    pub name: String,
    /// The value: visible ASCII characters, with spaces between them, at most 4096. For a secret use valueFrom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(
        validation = Rule::new("self.matches('^[!-~]([ -~]*[!-~])?$')")
            .message("value must be visible ASCII characters with spaces between them: encode others, for instance with percent signs")
    )]
    pub value: Option<String>,
    /// Where the value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<HeaderValueSource>,
}

/// The value can be a key that somebody wrote into the manifest; no debug output shows it.
impl fmt::Debug for AssistantHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssistantHeader")
            .field("name", &self.name)
            .field("value_from", &self.value_from)
            .finish_non_exhaustive()
    }
}

/// Where a header's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub struct HeaderValueSource {
    /// A key of a Secret in the connector's namespace. White space around the value is ignored.
    pub secret_key_ref: SecretKeySelector,
}

/// A key of a Secret in the connector's namespace, both named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct SecretKeySelector {
    /// The name of a Secret in the same namespace.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key in the Secret's data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// The header that carries the API key. Absent: Authorization with the prefix "Bearer ", or what the protocol has instead.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyHeader {
    /// The header's name, at most 128 characters. Default Authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = is_header_name(), validation = is_not_reserved())]
    pub name: Option<String>,
    /// What stands before the key, such as "Token ", at most 64 visible ASCII characters and spaces. Default "Bearer " for Authorization, nothing for other headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = Rule::new("self.matches('^([!-~][ -~]*)?$')")
            .message("prefix must be visible ASCII characters and spaces, and not begin with a space")
    )]
    pub prefix: Option<String>,
}

impl ApiKeyHeader {
    /// The name in lower case.
    pub fn name(&self) -> String {
        self.name
            .as_deref()
            .unwrap_or(AUTHORIZATION)
            .to_ascii_lowercase()
    }

    /// What stands before the key. An API server of 2020 refuses an empty text, so that the default of other headers must be an empty one.
    pub fn prefix(&self) -> &str {
        match &self.prefix {
            Some(prefix) => prefix,
            None if self.name() == AUTHORIZATION => "Bearer ",
            None => "",
        }
    }
}

/// What is wrong with the name of a header in `spec.assistant.headers`, in the words of admission.
pub fn header_name_problem(name: &str) -> Option<&'static str> {
    if name.eq_ignore_ascii_case(AUTHORIZATION) {
        return Some(IS_AUTHORIZATION);
    }
    api_key_header_name_problem(name)
}

/// The same for `spec.assistant.apiKeyHeader`, which may name Authorization.
pub fn api_key_header_name_problem(name: &str) -> Option<&'static str> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let lowercase = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > 128 || !name.chars().all(is_token) {
        Some(NOT_A_NAME)
    } else if RESERVED_NAMES.contains(&lowercase.as_str())
        || RESERVED_PREFIXES.iter().any(|p| lowercase.starts_with(p))
    {
        Some(RESERVED)
    } else {
        None
    }
}

/// A name that differs from all others of the list, without case.
pub(super) fn names_differ() -> Rule {
    Rule::new("self.all(a, self.exists_one(b, a.name.lowerAscii() == b.name.lowerAscii()))")
        .message("the same name stands twice in headers (names are compared without case): keep one entry per name")
}

/// The header of the key is no header of the list.
pub(super) fn headers_leave_the_key_alone() -> Rule {
    Rule::new(
        "!has(self.headers) || !has(self.apiKeyHeader) || !has(self.apiKeyHeader.name) || \
         self.headers.all(h, h.name.lowerAscii() != self.apiKeyHeader.name.lowerAscii())",
    )
    .message("headers must not hold the header that apiKeyHeader names: remove it there, and put its value into the Secret of apiKeySecretRef")
    .field_path(".headers")
}

fn is_header_name() -> Rule {
    Rule::new("self.matches(\"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$\")").message(NOT_A_NAME)
}

fn is_not_reserved() -> Rule {
    let prefixes = RESERVED_PREFIXES.map(|prefix| format!("{prefix}.*"));
    let reserved = [RESERVED_NAMES.join("|"), prefixes.join("|")].join("|");
    Rule::new(format!("!self.matches('^(?i:{reserved})$')"))
        .message(RESERVED)
        .reason(Reason::FieldValueForbidden)
}

fn is_not_authorization() -> Rule {
    Rule::new("!self.matches('^(?i:authorization)$')")
        .message(IS_AUTHORIZATION)
        .reason(Reason::FieldValueForbidden)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("X-Team", None)]
    #[case("Cookie", None)]
    #[case("X Team", Some(NOT_A_NAME))]
    #[case("X-Team\n", Some(NOT_A_NAME))]
    #[case("", Some(NOT_A_NAME))]
    #[case("Straße", Some(NOT_A_NAME))]
    #[case("authorization", Some(IS_AUTHORIZATION))]
    #[case("Transfer-Encoding", Some(RESERVED))]
    #[case("PROXY-Authorization", Some(RESERVED))]
    #[case("x-telegram-user-id", Some(RESERVED))]
    #[case("Webhook-Signature", Some(RESERVED))]
    fn names_of_the_connection_and_the_operator_are_refused(
        #[case] name: &str,
        #[case] problem: Option<&str>,
    ) {
        assert_eq!(header_name_problem(name), problem);
    }

    #[rstest]
    #[case(None, None, "authorization", "Bearer ")]
    #[case(Some("Authorization"), Some("Token "), "authorization", "Token ")]
    #[case(Some("Api-Key"), None, "api-key", "")]
    #[case(Some("X-Auth"), Some("Bearer "), "x-auth", "Bearer ")]
    fn prefix_is_bearer_for_authorization_alone(
        #[case] name: Option<&str>,
        #[case] prefix: Option<&str>,
        #[case] expected_name: &str,
        #[case] expected_prefix: &str,
    ) {
        let header = ApiKeyHeader {
            name: name.map(Into::into),
            prefix: prefix.map(Into::into),
        };
        assert_eq!(
            (header.name().as_str(), header.prefix()),
            (expected_name, expected_prefix)
        );
    }

    #[test]
    fn value_of_a_header_is_in_no_debug_output() {
        let header = AssistantHeader {
            name: "X-Key".into(),
            value: Some("hunter2".into()),
            value_from: None,
        };
        assert!(!format!("{header:?}").contains("hunter2"));
    }
}
