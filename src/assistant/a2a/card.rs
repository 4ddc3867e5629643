//! The agent card: where an agent takes JSON-RPC, which version of the protocol it speaks there, and whether it streams.
//!
//! Source: A2A specification 1.0, "Agent Discovery" and "`AgentCard`"; 0.3 for the older form, which kagent and ADK agents serve.

use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::hitl_extension;
use crate::assistant::AssistantError;
use crate::assistant::build::join_path;

/// The two forms of the protocol in use: names of methods and the shape of JSON differ, what is said does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProtocolVersion {
    /// 1.0: `SendMessage`, `TASK_STATE_COMPLETED`, parts told apart by their fields.
    V1,
    /// 0.2 and 0.3: `message/send`, `completed`, parts told apart by `kind`.
    V03,
}

/// Where and how to talk to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) url: Url,
    pub(super) protocol_version: ProtocolVersion,
    pub(super) streaming: bool,
    /// What the interface wants to be told in each request.
    pub(super) tenant: Option<String>,
    /// The header for the API key, if it is not `Authorization`.
    pub(super) key_header: Option<HeaderName>,
    /// The agent knows kagent's extension for decisions of people.
    pub(super) hitl_extension: bool,
}

/// Whether a URL names the card itself rather than the agent.
fn is_card(url: &Url) -> bool {
    std::path::Path::new(url.path())
        .extension()
        .is_some_and(|e| e == "json")
}

/// The places where the card of an agent at `url` can be, the newest convention first.
pub(super) fn card_urls(url: &Url) -> Vec<Url> {
    if is_card(url) {
        return vec![url.clone()];
    }
    let mut root = url.clone();
    root.set_path("/");
    let mut card_urls = Vec::new();
    for name in ["agent-card.json", "agent.json"] {
        for base in [url, &root] {
            let location = join_path(base, &[".well-known", name]);
            if !card_urls.contains(&location) {
                card_urls.push(location);
            }
        }
    }
    card_urls
}

/// An agent card, as far as it concerns us. Fields of both versions; servers for both give both.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Card {
    #[serde(default)]
    supported_interfaces: Vec<Interface>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    preferred_transport: Option<String>,
    #[serde(default)]
    additional_interfaces: Vec<Interface>,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    security_schemes: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    url: String,
    /// `protocolBinding` since 1.0, `transport` before.
    #[serde(alias = "transport", default)]
    protocol_binding: String,
    #[serde(default)]
    protocol_version: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    streaming: Option<bool>,
    #[serde(default)]
    extensions: Option<Value>,
}

impl Capabilities {
    fn announces(&self, uri: &str) -> bool {
        let extensions = self.extensions.as_ref().and_then(Value::as_array);
        extensions.is_some_and(|all| all.iter().any(|extension| extension["uri"] == uri))
    }
}

impl Card {
    /// The endpoint to use for an agent that the connector knows at `configured`.
    ///
    /// # Errors
    /// The agent offers no JSON-RPC.
    pub(super) fn endpoint(&self, configured: &Url) -> Result<Endpoint, AssistantError> {
        let json_rpc = |binding: &str| binding.eq_ignore_ascii_case("JSONRPC");
        let version =
            |i: &Interface| protocol_version(i.protocol_version.as_deref().unwrap_or("1.0"));
        let newest = self
            .supported_interfaces
            .iter()
            .filter(|i| json_rpc(&i.protocol_binding))
            .min_by_key(|i| version(i) != ProtocolVersion::V1);
        let (url, protocol_version, tenant) = if let Some(interface) = newest {
            (
                interface.url.as_str(),
                version(interface),
                interface.tenant.clone(),
            )
        } else if let Some(url) = &self.url
            && self.preferred_transport.as_deref().is_none_or(json_rpc)
        {
            (url.as_str(), ProtocolVersion::V03, None)
        } else if let Some(interface) = self
            .additional_interfaces
            .iter()
            .find(|i| json_rpc(&i.protocol_binding))
        {
            (interface.url.as_str(), ProtocolVersion::V03, None)
        } else {
            return Err(AssistantError::misconfigured(
                "the agent card offers no JSON-RPC interface (JSONRPC); let the agent offer one",
            ));
        };
        Ok(Endpoint {
            url: endpoint_url(configured, url),
            protocol_version,
            streaming: self.capabilities.streaming.unwrap_or(false),
            tenant: tenant.filter(|t| !t.is_empty()),
            key_header: self.security_schemes.as_ref().and_then(key_header),
            hitl_extension: self.capabilities.announces(hitl_extension::URI),
        })
    }
}

fn protocol_version(version: &str) -> ProtocolVersion {
    if version.starts_with("0.") {
        ProtocolVersion::V03
    } else {
        ProtocolVersion::V1
    }
}

/// The address to call. A card must not send the API key, or the operator itself, to another host than the one in the
/// connector; and many agents write `localhost` or their pod's name into it. So the host is always the connector's; the path is
/// the card's if it lies below the connector's.
fn endpoint_url(configured: &Url, offered: &str) -> Url {
    let mut own = configured.clone();
    if is_card(&own) {
        let path = own.path();
        let end = path
            .find("/.well-known/")
            .or_else(|| path.rfind('/'))
            .unwrap_or(0);
        let path = path[..end].to_owned();
        own.set_path(&path);
    }
    let Ok(offered) = own.join(offered) else {
        return own;
    };
    let below_own = offered
        .path()
        .strip_prefix(own.path().trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below_own || offered.origin() == own.origin() {
        own.set_path(offered.path());
        own.set_query(offered.query().or(configured.query()));
    }
    own
}

/// The header of the first API key scheme, if the agent has one and does not take a bearer token as well.
fn key_header(schemes: &Value) -> Option<HeaderName> {
    let schemes = schemes.as_object()?;
    let mut found = None;
    for scheme in schemes.values() {
        // 1.0 wraps each kind in its name; 0.3 has `type`.
        let inner = scheme.get("apiKeySecurityScheme").unwrap_or(scheme);
        let location = inner
            .get("location")
            .or_else(|| inner.get("in"))
            .and_then(Value::as_str);
        if location == Some("header") {
            let name = inner.get("name").and_then(Value::as_str)?;
            // Only names made for it: a card must not choose `Host` or `Content-Length`.
            let made_for_it = name.to_ascii_lowercase().contains("key")
                || name.to_ascii_lowercase().contains("token");
            found = found.or_else(|| HeaderName::try_from(name).ok().filter(|_| made_for_it));
        } else {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn endpoint(configured: &str, card: Value) -> Endpoint {
        let card: Card = serde_json::from_value(card).expect("a card");
        card.endpoint(&url(configured)).expect("an endpoint")
    }

    #[test]
    fn card_is_looked_for_below_the_url_and_at_the_root() {
        let card_urls: Vec<String> = card_urls(&url("http://h/api/a2a/x/"))
            .iter()
            .map(Url::to_string)
            .collect();
        assert_eq!(
            card_urls,
            [
                "http://h/api/a2a/x/.well-known/agent-card.json",
                "http://h/.well-known/agent-card.json",
                "http://h/api/a2a/x/.well-known/agent.json",
                "http://h/.well-known/agent.json",
            ]
        );
        assert_eq!(super::card_urls(&url("http://h")).len(), 2);
    }

    #[test]
    fn version_1_is_preferred_where_an_agent_speaks_both() {
        let card = json!({
            "url": "http://h/old", "protocolVersion": "0.3.0",
            "supportedInterfaces": [
                {"url": "http://h/grpc", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
                {"url": "http://h/v03", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
                {"url": "http://h/v1", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "acme"},
            ],
            "capabilities": {"streaming": true},
        });
        let found = endpoint("http://h", card);
        assert_eq!(found.url, url("http://h/v1"));
        assert_eq!(found.protocol_version, ProtocolVersion::V1);
        assert!(found.streaming);
        assert_eq!(found.tenant.as_deref(), Some("acme"));
    }

    #[test]
    fn older_card_has_its_url_at_the_top_or_in_additional_ones() {
        let found = endpoint(
            "http://h",
            json!({"url": "http://h/rpc", "capabilities": {}}),
        );
        assert_eq!(
            (found.url, found.protocol_version, found.streaming),
            (url("http://h/rpc"), ProtocolVersion::V03, false)
        );
        let rest_first = json!({
            "url": "http://h/rest", "preferredTransport": "HTTP+JSON",
            "additionalInterfaces": [{"url": "http://h/rpc", "transport": "JSONRPC"}],
        });
        assert_eq!(endpoint("http://h", rest_first).url, url("http://h/rpc"));
        let none: Card =
            serde_json::from_value(json!({"url": "http://h", "preferredTransport": "GRPC"}))
                .expect("a card");
        assert!(none.endpoint(&url("http://h")).is_err());
    }

    #[rstest]
    #[case::same_host("http://h:1/", "http://h:1/rpc", "http://h:1/rpc")]
    #[case::localhost(
        "http://agent.ns:8001",
        "http://localhost:8001/",
        "http://agent.ns:8001/"
    )]
    #[case::localhost_with_path(
        "http://agent.ns:8001",
        "http://0.0.0.0:8001/a2a/x",
        "http://agent.ns:8001/a2a/x"
    )]
    #[case::kagent(
        "http://k:8083/api/a2a/ns/x",
        "http://127.0.0.1:8083/api/a2a/ns/x/",
        "http://k:8083/api/a2a/ns/x/"
    )]
    #[case::behind_a_gateway(
        "https://gw/agents/x",
        "http://localhost:8001/",
        "https://gw/agents/x"
    )]
    #[case::elsewhere("https://h/x", "https://evil.example/steal", "https://h/x")]
    #[case::metadata("http://h", "http://169.254.169.254/latest", "http://h/latest")]
    #[case::relative("http://h/x/", "rpc", "http://h/x/rpc")]
    #[case::card_as_url(
        "http://h/x/.well-known/agent.json",
        "http://h/x/rpc",
        "http://h/x/rpc"
    )]
    #[case::no_url("http://h/x", "http://[", "http://h/x")]
    fn the_host_is_always_the_connectors(
        #[case] configured: &str,
        #[case] offered: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(endpoint_url(&url(configured), offered), url(expected));
    }

    #[rstest]
    #[case(json!({"a": {"apiKeySecurityScheme": {"location": "header", "name": "X-API-Key"}}}), Some("x-api-key"))]
    #[case(json!({"a": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}), Some("x-api-key"))]
    #[case(json!({"a": {"type": "apiKey", "in": "header", "name": "Host"}}), None)]
    #[case(json!({"a": {"type": "http", "scheme": "bearer"}}), None)]
    #[case(json!({}), None)]
    fn the_key_goes_where_the_card_says(#[case] schemes: Value, #[case] header: Option<&str>) {
        assert_eq!(
            key_header(&schemes).as_ref().map(HeaderName::as_str),
            header
        );
    }
}
