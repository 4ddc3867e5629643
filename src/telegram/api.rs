//! Builds, sends and reads requests to the Bot API over one connection pool for all bots. This is the only place where a request with
//! a token is built and where an error that could contain the token is redacted.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use serde::Serialize;
use serde::de::DeserializeOwned;
use teloxide::requests::Payload;
use tracing::{Instrument, Span};
use url::Url;

use super::api_response;
use super::connection_pool::ConnectionPool;
use super::connector::Connector;
use super::error::TelegramError;
use super::http_response::{HttpResponse, TransportError};
use super::local_files::LocalFiles;
use super::multipart_form::MultipartForm;
use super::redact::redact;
use super::token::BotToken;

/// The longest response that is accepted; 100 updates with the longest texts have about 3 MB.
const MAX_RESPONSE_BYTES: usize = 32 << 20;

/// The `User-Agent` of every request.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";

/// The Bot API's root and the HTTP connections to it, shared by all bots.
pub struct TelegramApi {
    root: Url,
    /// Scheme and authority before every path if requests go to a forward proxy, else empty.
    request_target_prefix: String,
    /// The headers of every request, such as `Host`, as they are sent.
    common_headers: String,
    connections: ConnectionPool,
    local_files: Option<LocalFiles>,
}

/// Without the connector: a proxy's URL can contain a password.
impl std::fmt::Debug for TelegramApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TelegramApi")
            .field(&self.root.as_str())
            .finish()
    }
}

/// The root URL cannot be used, or TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ApiRootError {
    /// Neither http nor https, or with user info, a query or a fragment.
    #[error(
        "--telegram-api-url {0}: expected http(s)://host[:port][/path] without user info, query or fragment"
    )]
    InvalidUrl(Box<str>),
    /// The TLS library cannot be set up.
    #[error("TLS to Telegram cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
}

impl TelegramApi {
    /// A client of the Bot API at a root: `https://api.telegram.org`, a self-hosted server, or a simulator (plain http is allowed).
    ///
    /// # Errors
    /// [`ApiRootError`].
    pub fn new(root: Url) -> Result<Self, ApiRootError> {
        let usable = matches!(root.scheme(), "http" | "https")
            && root.has_host()
            && root.username().is_empty()
            && root.password().is_none()
            && root.query().is_none()
            && root.fragment().is_none();
        if !usable {
            let mut shown = root;
            // Fails only for URLs without user info.
            let _ = shown.set_password(None);
            return Err(ApiRootError::InvalidUrl(shown.as_str().into()));
        }
        let authority = &root[url::Position::BeforeHost..url::Position::AfterPort];
        let origin = Uri::builder()
            .scheme(root.scheme())
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|_| ApiRootError::InvalidUrl(root.as_str().into()))?;
        // A proxy from the environment is for the internet, not for a server on this machine.
        let connector = Connector::new(origin, !is_loopback(&root)).map_err(ApiRootError::Tls)?;
        let mut common_headers = format!("Host: {authority}\r\nUser-Agent: {USER_AGENT}\r\n");
        let mut request_target_prefix = String::new();
        if connector.is_forward_proxy() {
            request_target_prefix = format!("{}://{authority}", root.scheme());
        }
        if let Some(authorization) = connector.proxy_authorization() {
            common_headers.push_str("Proxy-Authorization: ");
            common_headers.push_str(authorization);
            common_headers.push_str("\r\n");
        }
        Ok(Self {
            root,
            request_target_prefix,
            common_headers,
            connections: ConnectionPool::new(connector),
            local_files: None,
        })
    }

    /// The same, of a server in `--local` mode whose files the operator sees.
    #[must_use]
    pub fn with_local_files(self, local_files: Option<LocalFiles>) -> Self {
        Self {
            local_files,
            ..self
        }
    }

    /// `--telegram-files-dir`: with it files may have more than 20 MB.
    pub fn local_files(&self) -> Option<&LocalFiles> {
        self.local_files.as_ref()
    }

    /// `--telegram-api-url`.
    pub fn root(&self) -> &Url {
        &self.root
    }

    /// Calls a method with JSON and parses its result into an owned value.
    pub(super) async fn call<P, R>(
        &self,
        token: &BotToken,
        payload: &P,
        limit: Duration,
    ) -> Result<R, TelegramError>
    where
        P: Payload + Serialize,
        R: DeserializeOwned,
    {
        let response = self.call_raw(token, payload, limit).await?;
        response.parse(token)
    }

    /// Calls a method with JSON; the caller parses the response and can borrow from it.
    pub(super) async fn call_raw<P: Payload + Serialize>(
        &self,
        token: &BotToken,
        payload: &P,
        limit: Duration,
    ) -> Result<RawResponse, TelegramError> {
        let request = self.json_request(token, payload)?;
        if is_long_poll(P::NAME) {
            // It belongs to no message: no span.
            return self
                .send(request, MAX_RESPONSE_BYTES, token, limit, true)
                .await;
        }
        self.send(request, MAX_RESPONSE_BYTES, token, limit, false)
            .instrument(call_span(P::NAME))
            .await
    }

    fn json_request<P: Payload + Serialize>(
        &self,
        token: &BotToken,
        payload: &P,
    ) -> Result<Vec<u8>, TelegramError> {
        let body = serde_json::to_vec(payload)
            .map_err(|e| TelegramError::Unreachable(format!("{} as JSON: {e}", P::NAME)))?;
        Ok(self.post_request(&self.method_path("", token, P::NAME), JSON, &body))
    }

    /// Calls a method with a form, by which files are uploaded.
    pub(super) async fn upload<R: DeserializeOwned>(
        &self,
        token: &BotToken,
        method: &'static str,
        form: MultipartForm,
        limit: Duration,
    ) -> Result<R, TelegramError> {
        let (content_type, body) = form.finish();
        let request = self.post_request(&self.method_path("", token, method), &content_type, &body);
        // A big file is in memory once while it is on its way.
        drop(body);
        self.send(request, MAX_RESPONSE_BYTES, token, limit, false)
            .instrument(call_span(method))
            .await?
            .parse(token)
    }

    /// Downloads a file by the `file_path` that `getFile` gave, up to `max_bytes`.
    pub(super) async fn download(
        &self,
        token: &BotToken,
        file_path: &str,
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Bytes, TelegramError> {
        let mut url = self.root.clone();
        url.set_path(&self.method_path("/file", token, ""));
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(file_path.split('/'));
        }
        let request = self.request("GET", url.path(), &[], b"");
        let response = self.send(request, max_bytes, token, limit, false).await?;
        if response.0.status == 200 {
            return Ok(response.0.body);
        }
        // An error response is parsed as for a method; any other response is not the file.
        response
            .parse::<serde::de::IgnoredAny>(token)
            .and(Err(TelegramError::Malformed(format!(
                "HTTP {} for a file",
                response.0.status
            ))))
    }

    fn method_path(&self, prefix: &str, token: &BotToken, method: &str) -> String {
        let root = self.root.path().trim_end_matches('/');
        [root, prefix, "/bot", token.expose(), "/", method].concat()
    }

    fn post_request(&self, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len().to_string();
        let fields = [
            "Content-Type: ",
            content_type,
            "\r\nContent-Length: ",
            &length,
            "\r\n",
        ];
        self.request("POST", path, &fields, body)
    }

    /// A whole request. `fields`: the lines of its own header fields, in pieces.
    fn request(&self, method: &str, path: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
        let (before, common) = (&self.request_target_prefix, &self.common_headers);
        let start = [method, " ", before, path, " HTTP/1.1\r\n", common];
        let head = || start.iter().chain(fields).chain(&["\r\n"]);
        let length: usize = head().map(|piece| piece.len()).sum();
        let mut request = Vec::with_capacity(length + body.len());
        head().for_each(|piece| request.extend_from_slice(piece.as_bytes()));
        request.extend_from_slice(body);
        request
    }

    /// Sends a request and reads the whole response. Errors of the network enter the program only here and in
    /// [`RawResponse::parse`], where they are classified and redacted.
    async fn send(
        &self,
        request: Vec<u8>,
        max_bytes: usize,
        token: &BotToken,
        limit: Duration,
        is_long_poll: bool,
    ) -> Result<RawResponse, TelegramError> {
        let timed_out =
            || TransportError::ConnectionLost(format!("no answer within {} s", limit.as_secs()));
        tokio::time::timeout(
            limit,
            self.connections.send(request, max_bytes, is_long_poll),
        )
        .await
        .unwrap_or_else(|_| Err(timed_out()))
        .map(RawResponse)
        .map_err(|e| {
            api_response::from_transport_error(e).map_text(|text| redact(text, token.expose()))
        })
    }
}

/// Whether a method waits for something to happen.
fn is_long_poll(method: &str) -> bool {
    method.eq_ignore_ascii_case("getUpdates")
}

fn call_span(method: &str) -> Span {
    tracing::debug_span!("telegram", otel.kind = "client", method)
}

/// A complete response that is not parsed yet.
pub(super) struct RawResponse(HttpResponse);

impl RawResponse {
    /// Parses the result, which may borrow from the response.
    pub(super) fn parse<'a, R: serde::Deserialize<'a>>(
        &'a self,
        token: &BotToken,
    ) -> Result<R, TelegramError> {
        api_response::parse_response(self.0.status, self.0.retry_after, &self.0.body)
            .map_err(|e| e.map_text(|text| redact(text, token.expose())))
    }
}

fn is_loopback(root: &Url) -> bool {
    match root.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://api.telegram.org", "https://api.telegram.org/bot")]
    #[case("http://127.0.0.1:8081/", "http://127.0.0.1:8081/bot")]
    #[case("http://bots.example/api//", "http://bots.example/api/bot")]
    fn methods_lie_below_the_root(#[case] root: &str, #[case] start: &str) {
        let api = TelegramApi::new(root.parse().expect("a URL")).expect("a root");
        let token = BotToken::parse("42:AAF7-g0gYncWnm5RqRRv6kNAGlao").expect("a token");
        let request = api.request("GET", &api.method_path("", &token, "getMe"), &[], b"");
        let request = String::from_utf8(request).expect("text");
        let (_, rest) = request.split_once("GET ").expect("a method");
        let (path, rest) = rest.split_once(" HTTP/1.1\r\nHost: ").expect("a host");
        let (host, _) = rest.split_once("\r\n").expect("more");
        let url = format!("{}://{host}{path}", api.root().scheme());
        assert_eq!(url, format!("{start}{}/getMe", token.expose()));
    }

    #[test]
    fn request_says_what_its_body_is_and_how_long() {
        let root = "http://127.0.0.1:8081".parse().expect("a URL");
        let api = TelegramApi::new(root).expect("a root");
        let request = String::from_utf8(api.post_request("/x", JSON, b"{}")).expect("text");
        let (head, body) = request.split_once("\r\n\r\n").expect("a head");
        let lines: Vec<&str> = head.split("\r\n").collect();
        let agent = format!("User-Agent: {USER_AGENT}");
        let expected = [
            "POST /x HTTP/1.1",
            "Host: 127.0.0.1:8081",
            &agent,
            "Content-Type: application/json",
            "Content-Length: 2",
        ];
        assert_eq!((lines.as_slice(), body), (&expected[..], "{}"));
    }

    #[rstest]
    #[case("ftp://api.telegram.org")]
    #[case("https://me:secret@api.telegram.org")]
    #[case("https://api.telegram.org/?a=b")]
    #[case("https://api.telegram.org/#a")]
    #[case("data:x")]
    fn invalid_root_is_refused_without_its_password(#[case] root: &str) {
        let error = TelegramApi::new(root.parse().expect("a URL")).expect_err("no root");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}
