//! The headers that `spec.assistant` configures: those of the list, and the one that carries the API key.
//!
//! Admission checks the same rules; they are checked here again, because an API server without CEL does not, and because values from Secrets
//! are seen here first.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::BuildError;
use super::build::secret_header_value;
use super::credentials::Credentials;
use crate::api::connector::assistant_headers::{
    MAX_HEADER_VALUE_BYTES, MAX_HEADERS, api_key_header_name_problem, header_name_problem,
};
use crate::api::connector::{AssistantHeader, AssistantProtocol, AssistantSpec};

/// Where Pupau and Azure take the API key.
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Azure's hosts end in one of these, each also in the clouds of governments and of China.
const AZURE_SERVICES: [&str; 3] = [
    ".openai.azure.",
    ".cognitiveservices.azure.",
    ".services.ai.azure.",
];
const AZURE_DOMAINS: [&str; 3] = ["com", "us", "cn"];

/// A header with the API key in it.
#[derive(Debug, Clone)]
pub(super) struct KeyHeader {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

/// The header that carries the API key: that of `apiKeyHeader`, or else what protocol and host want.
///
/// # Errors
/// `apiKeyHeader` is none, or the key does not fit into a header.
pub(super) fn key_header(
    spec: &AssistantSpec,
    url: &Url,
    key: &SecretString,
) -> Result<KeyHeader, BuildError> {
    let (name, prefix) = match &spec.api_key_header {
        Some(header) => {
            let name = header.name();
            if let Some(problem) = api_key_header_name_problem(&name) {
                return Err(invalid("apiKeyHeader", problem));
            }
            let name = HeaderName::try_from(name)
                .map_err(|_| invalid("apiKeyHeader", "name must be a header's name"))?;
            (name, header.prefix())
        }
        None if spec.protocol == AssistantProtocol::Pupau || is_azure(url) => (API_KEY, ""),
        None => (AUTHORIZATION, "Bearer "),
    };
    Ok(KeyHeader {
        name,
        value: secret_header_value(prefix, key)?,
    })
}

/// Whether a host is one of Azure's, which take the key in `api-key`.
fn is_azure(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    AZURE_SERVICES.iter().any(|service| {
        AZURE_DOMAINS.iter().any(|domain| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with(service))
        })
    })
}

/// The headers of `spec.assistant.headers`, with the values of Secrets filled in.
///
/// # Errors
/// The first header that cannot be sent.
pub(super) fn configured_headers(
    spec: &AssistantSpec,
    credentials: &Credentials,
) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    let list = spec.headers.as_deref().unwrap_or_default();
    if list.len() > MAX_HEADERS {
        let problem = format!("at most {MAX_HEADERS} headers are sent");
        return Err(invalid("headers", problem));
    }
    for (position, header) in list.iter().enumerate() {
        let field = format!("headers[{position}]");
        if let Some(problem) = header_name_problem(&header.name) {
            return Err(invalid(field, problem));
        }
        let name = HeaderName::try_from(&header.name)
            .map_err(|_| invalid(&field, "name must be a header's name"))?;
        let secret = credentials.header_values.get(&position);
        let value = header_value(header, secret).map_err(|problem| invalid(&field, problem))?;
        if headers.insert(name, value).is_some() {
            let problem = "the same name stands twice in headers: keep one entry per name";
            return Err(invalid(field, problem));
        }
    }
    Ok(headers)
}

/// The value of one header, marked so that no debug output shows it; or what is wrong with it.
fn header_value(
    header: &AssistantHeader,
    secret: Option<&SecretString>,
) -> Result<HeaderValue, &'static str> {
    let text = match (&header.value, &header.value_from, secret) {
        (Some(value), None, _) => value.as_str(),
        (None, Some(_), Some(secret)) => secret.expose_secret().trim(),
        (None, Some(_), None) => return Err("its Secret was not read"),
        _ => return Err("set exactly one of value and valueFrom"),
    };
    if text.is_empty() {
        return Err("its value is empty, or no text; check value, or the Secret of valueFrom");
    }
    if text.len() > MAX_HEADER_VALUE_BYTES {
        return Err("its value is longer than 4096 bytes");
    }
    let mut value = HeaderValue::try_from(text).map_err(
        |_| "its value holds control characters; check value, or the Secret of valueFrom",
    )?;
    value.set_sensitive(true);
    Ok(value)
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> BuildError {
    BuildError::InvalidField {
        field: field.into(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://acme.openai.azure.com/openai/v1", true)]
    #[case("https://ACME.cognitiveservices.azure.com./openai", true)]
    #[case("https://acme.services.ai.azure.com/models", true)]
    #[case("https://acme.openai.azure.us/openai/v1", true)]
    #[case("https://openai.azure.com/v1", false)]
    #[case("https://acme.openai.azure.com.evil.example/v1", false)]
    #[case("https://acme.azure-api.net/v1", false)]
    #[case("https://api.openai.com/v1", false)]
    fn azure_is_known_by_its_hosts(#[case] url: &str, #[case] azure: bool) {
        assert_eq!(is_azure(&url.parse().expect("a URL")), azure);
    }

    #[rstest]
    #[case("https://acme.openai.azure.com/openai/v1", None, "api-key", "key")]
    #[case(
        "https://acme.openai.azure.com/openai/v1",
        Some("Authorization"),
        "authorization",
        "Bearer key"
    )]
    #[case("https://api.openai.com/v1", None, "authorization", "Bearer key")]
    fn azure_gets_its_key_header_unless_another_is_named(
        #[case] url: &str,
        #[case] named: Option<&str>,
        #[case] name: &str,
        #[case] value: &str,
    ) {
        let spec: AssistantSpec = serde_json::from_value(serde_json::json!({
            "protocol": "OpenAI", "url": url, "model": "m",
            "apiKeyHeader": named.map(|name| serde_json::json!({"name": name})),
        }))
        .expect("a spec");
        let url = url.parse().expect("a URL");
        let header = key_header(&spec, &url, &"key".into()).expect("a header");
        assert_eq!(
            (header.name.as_str(), header.value.as_bytes()),
            (name, value.as_bytes())
        );
        assert!(format!("{header:?}").contains("Sensitive"), "{header:?}");
    }
}
