//! Requests to a provider's device authorization and token endpoints (RFC 6749, RFC 8628), and what their error answers mean.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use openidconnect::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::discovery::SecretMethod;
use super::http_client::{IdentityProviderHttpClient, NoAnswer, host_of};
use super::outcomes::ProviderError;

/// `grant_type` of the device flow (RFC 8628, section 3.4).
pub(super) const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Who asks.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: Option<SecretString>,
}

/// What the token endpoint gives.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: SecretString,
    pub(super) id_token: Option<SecretString>,
    pub(super) refresh_token: Option<SecretString>,
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The code of an OAuth error answer (RFC 6749, section 5.2).
    Error(String),
    /// Anything else.
    Other(ProviderError),
}

impl Failure {
    /// What it means where no special meaning was found in its code.
    pub(super) fn into_provider_error(self) -> ProviderError {
        let code = match self {
            Self::Other(error) => return error,
            Self::Error(code) => code,
        };
        let advice = match code.as_str() {
            "server_error" | "temporarily_unavailable" => {
                return ProviderError::Unreachable(format!("the provider answers \"{code}\""));
            }
            "invalid_client" => {
                "it does not know clientId, or the client's secret is another one, or missing"
            }
            "unauthorized_client" | "unsupported_grant_type" => {
                "let this client use the device authorization grant there"
            }
            "invalid_request" => {
                "it may be that this client may not use the device authorization grant there; the provider's log says more"
            }
            "invalid_scope" => "it does not give this client the scopes that are asked for",
            _ => "the provider's log says more",
        };
        ProviderError::Refused(format!("the provider answers \"{code}\": {advice}"))
    }
}

/// Posts a form, with the client's id and secret as the provider wants them.
pub(super) async fn post<T: DeserializeOwned>(
    url: &Url,
    form: &[(&str, &str)],
    client: &Client,
    method: SecretMethod,
    http: &IdentityProviderHttpClient,
) -> Result<T, Failure> {
    let request = request(url, form, client, method).map_err(|e| {
        Failure::Other(ProviderError::Refused(format!(
            "the request cannot be built: {e}"
        )))
    })?;
    let answer = http
        .exchange(request)
        .await
        .map_err(|NoAnswer(why)| Failure::Other(ProviderError::Unreachable(why)))?;
    read(&answer, &host_of(url))
}

fn request(
    url: &Url,
    form: &[(&str, &str)],
    client: &Client,
    method: SecretMethod,
) -> Result<HttpRequest, http::Error> {
    let mut body = Serializer::new(String::new());
    body.extend_pairs(form);
    // In the body also beside a header: some device endpoints (Google's) look nowhere else.
    body.append_pair("client_id", &client.id);
    let mut request = http::Request::post(url.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match (&client.secret, method) {
        (None, _) => {}
        (Some(secret), SecretMethod::Post) => {
            body.append_pair("client_secret", secret.expose_secret());
        }
        (Some(secret), SecretMethod::Basic) => {
            let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encode(&client.id), encode(secret.expose_secret()));
            let mut value =
                http::HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
    }
    request.body(body.finish().into_bytes())
}

/// An answer, whatever its status is called: Google says 428 and 403 where RFC 8628 has 400.
fn read<T: DeserializeOwned>(answer: &HttpResponse, host: &str) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct ErrorAnswer {
        error: String,
    }
    let status = answer.status();
    let away = |why: &str| {
        Failure::Other(ProviderError::Unreachable(format!(
            "{host} answers {}{why}",
            status.as_u16()
        )))
    };
    if status.is_success() {
        return serde_json::from_slice(answer.body())
            .map_err(|_| away(" with something that is no answer of OAuth 2.0"));
    }
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        return Err(away(""));
    }
    match serde_json::from_slice::<ErrorAnswer>(answer.body()) {
        Ok(ErrorAnswer { error }) if is_code(&error) => Err(Failure::Error(error)),
        _ => Err(away(" with something that is no answer of OAuth 2.0")),
    }
}

/// Whether it is a word that can be shown: nothing that a token could hide in.
fn is_code(code: &str) -> bool {
    (1..=40).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(secret: Option<&str>) -> Client {
        Client {
            id: "bot:1".to_owned(),
            secret: secret.map(Into::into),
        }
    }

    fn sent(secret: Option<&str>, method: SecretMethod) -> (Option<String>, String) {
        let url = "https://id.acme.example/token".parse().expect("a URL");
        let request =
            request(&url, &[("scope", "openid a")], &client(secret), method).expect("a request");
        let header = request.headers().get(AUTHORIZATION);
        let header = header.map(|h| h.to_str().expect("ASCII").to_owned());
        let body = String::from_utf8(request.into_body()).expect("UTF-8");
        (header, body)
    }

    #[test]
    fn the_secret_goes_where_the_provider_wants_it() {
        let (header, body) = sent(None, SecretMethod::Basic);
        assert_eq!(
            (header, body.as_str()),
            (None, "scope=openid+a&client_id=bot%3A1")
        );
        let (header, body) = sent(Some("s+ü"), SecretMethod::Post);
        assert_eq!(header, None);
        assert!(body.ends_with("&client_id=bot%3A1&client_secret=s%2B%C3%BC"));
        let (header, body) = sent(Some("s+ü"), SecretMethod::Basic);
        let pair = STANDARD.encode("bot%3A1:s%2B%C3%BC");
        assert_eq!(header, Some(format!("Basic {pair}")));
        assert!(!body.contains("client_secret"), "one method only");
    }

    #[test]
    fn an_error_answer_is_known_by_its_code_alone() {
        let answer = |status: u16, body: &str| {
            let mut answer = http::Response::new(body.as_bytes().to_vec());
            *answer.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            read::<serde_json::Value>(&answer, "id.acme.example").expect_err("a failure")
        };
        let pending = Failure::Error("authorization_pending".to_owned());
        for status in [400, 403, 428] {
            let body = r#"{"error": "authorization_pending", "error_description": "x"}"#;
            assert_eq!(answer(status, body), pending);
        }
        for (status, body) in [
            (400, "<html>"),
            (400, r#"{"error": "see eyJhbGciOi"}"#),
            (503, r#"{"error": "invalid_client"}"#),
            (429, "{}"),
        ] {
            let failure = answer(status, body).into_provider_error();
            assert!(matches!(failure, ProviderError::Unreachable(_)), "{body}");
            assert!(!failure.to_string().contains("eyJ"));
        }
    }
}
