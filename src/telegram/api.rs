//! The Bot API's root and the way there: one connection pool for all bots, and the one place where a request with a token is
//! built and where an error that could hold it enters.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use serde::Serialize;
use serde::de::DeserializeOwned;
use teloxide::requests::Payload;
use tracing::{Instrument, Span};
use url::Url;

use super::answer;
use super::dial::Dial;
use super::error::TelegramError;
use super::form::Form;
use super::line::Lines;
use super::redact::redact;
use super::response::{Answer, Broken};
use super::token::BotToken;

/// No Bot API answer is this long: 100 updates of the longest texts are about 3 MB.
const ANSWER_LIMIT: usize = 32 << 20;

/// What requests call themselves.
const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";

/// The Bot API's root and the HTTP connections to it, shared by all bots.
pub struct TelegramApi {
    root: Url,
    /// What stands before a path: nothing, or to a proxy that forwards requests, scheme and authority.
    before_path: String,
    /// What every request says: `Host` and the like, ready to be sent.
    fields: String,
    lines: Lines,
}

/// Without the way there: a proxy's address can hold a password.
impl std::fmt::Debug for TelegramApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TelegramApi")
            .field(&self.root.as_str())
            .finish()
    }
}

/// The API's root is no use, or TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ApiRootError {
    /// Neither http nor https, or with user info, a query or a fragment.
    #[error(
        "--telegram-api-url {0}: expected http(s)://host[:port][/path] without user info, query or fragment"
    )]
    NotARoot(Box<str>),
    /// The TLS library cannot be set up.
    #[error("TLS to Telegram cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
}

impl TelegramApi {
    /// The Bot API at a root: `https://api.telegram.org`, a self-hosted server, or a peer for tests (plain http is fine).
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
            // Fails only where there can be no user info to hide.
            let _ = shown.set_password(None);
            return Err(ApiRootError::NotARoot(shown.as_str().into()));
        }
        let authority = &root[url::Position::BeforeHost..url::Position::AfterPort];
        let origin = Uri::builder()
            .scheme(root.scheme())
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|_| ApiRootError::NotARoot(root.as_str().into()))?;
        // A proxy from the environment serves the way out, not a peer on this machine.
        let dial = Dial::new(origin, !is_loopback(&root)).map_err(ApiRootError::Tls)?;
        let mut fields = format!("Host: {authority}\r\nUser-Agent: {AGENT}\r\n");
        let mut before_path = String::new();
        if dial.forwards() {
            before_path = format!("{}://{authority}", root.scheme());
        }
        if let Some(authorization) = dial.authorization() {
            fields.push_str("Proxy-Authorization: ");
            fields.push_str(authorization);
            fields.push_str("\r\n");
        }
        Ok(Self {
            root,
            before_path,
            fields,
            lines: Lines::new(dial),
        })
    }

    /// `--telegram-api-url`.
    pub fn root(&self) -> &Url {
        &self.root
    }

    /// Calls a method with JSON and reads its result as an owned value.
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
        let answered = self.request(token, payload, limit).await?;
        answered.read(token)
    }

    /// Calls a method with JSON; the answer is still to be read.
    pub(super) async fn request<P: Payload + Serialize>(
        &self,
        token: &BotToken,
        payload: &P,
        limit: Duration,
    ) -> Result<Answered, TelegramError> {
        let body = serde_json::to_vec(payload)
            .map_err(|e| TelegramError::Unreachable(format!("{} as JSON: {e}", P::NAME)))?;
        let request = self.post(&self.path("", token, P::NAME), JSON, &body);
        self.answered(request, ANSWER_LIMIT, token, limit)
            .instrument(call_span(P::NAME))
            .await
    }

    /// Calls a method with a form, which is how files are uploaded.
    pub(super) async fn upload<R: DeserializeOwned>(
        &self,
        token: &BotToken,
        method: &str,
        form: Form,
        limit: Duration,
    ) -> Result<R, TelegramError> {
        let (content_type, body) = form.finish();
        let request = self.post(
            &self.path("", token, method),
            &content_type,
            body.as_bytes(),
        );
        self.answered(request, ANSWER_LIMIT, token, limit)
            .instrument(call_span(method))
            .await?
            .read(token)
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
        url.set_path(&self.path("/file", token, ""));
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(file_path.split('/'));
        }
        let request = self.head("GET", url.path(), "");
        let answered = self.answered(request, max_bytes, token, limit).await?;
        if answered.0.status == 200 {
            return Ok(answered.0.body);
        }
        // An error is told as for a method; a "success" that is none has no result to read.
        answered
            .read::<serde::de::IgnoredAny>(token)
            .and(Err(TelegramError::Malformed(format!(
                "HTTP {} for a file",
                answered.0.status
            ))))
    }

    fn path(&self, prefix: &str, token: &BotToken, method: &str) -> String {
        let root = self.root.path().trim_end_matches('/');
        format!("{root}{prefix}/bot{}/{method}", token.expose())
    }

    fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len();
        let fields = format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n");
        let mut request = self.head("POST", path, &fields);
        request.extend_from_slice(body);
        request
    }

    fn head(&self, method: &str, path: &str, fields: &str) -> Vec<u8> {
        let (before, own) = (&self.before_path, &self.fields);
        format!("{method} {before}{path} HTTP/1.1\r\n{own}{fields}\r\n").into_bytes()
    }

    /// Sends a request and reads the whole answer. Together with [`Answered::read`] the one way by which an error of the
    /// network enters: here it is classed and redacted.
    async fn answered(
        &self,
        request: Vec<u8>,
        max_bytes: usize,
        token: &BotToken,
        limit: Duration,
    ) -> Result<Answered, TelegramError> {
        let late = || Broken::Lost(format!("no answer within {} s", limit.as_secs()));
        tokio::time::timeout(limit, self.lines.exchange(request, max_bytes))
            .await
            .unwrap_or_else(|_| Err(late()))
            .map(Answered)
            .map_err(|e| answer::broken(e).map_text(|text| redact(text, token.expose())))
    }
}

/// A call within a trace. A long poll is no part of any message's way.
fn call_span(method: &str) -> Span {
    if method.eq_ignore_ascii_case("getUpdates") {
        return Span::none();
    }
    tracing::debug_span!("telegram", otel.kind = "client", method)
}

/// An answer that is still to be read.
pub(super) struct Answered(Answer);

impl Answered {
    /// Reads the result, which may borrow from the answer.
    pub(super) fn read<'a, R: serde::Deserialize<'a>>(
        &'a self,
        token: &BotToken,
    ) -> Result<R, TelegramError> {
        answer::read(self.0.status, self.0.retry_after, &self.0.body)
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
        let request = api.head("GET", &api.path("", &token, "getMe"), "");
        let request = String::from_utf8(request).expect("text");
        let (_, rest) = request.split_once("GET ").expect("a method");
        let (path, rest) = rest.split_once(" HTTP/1.1\r\nHost: ").expect("a host");
        let (host, _) = rest.split_once("\r\n").expect("more");
        let url = format!("{}://{host}{path}", api.root().scheme());
        assert_eq!(url, format!("{start}{}/getMe", token.expose()));
    }

    #[rstest]
    #[case("ftp://api.telegram.org")]
    #[case("https://me:secret@api.telegram.org")]
    #[case("https://api.telegram.org/?a=b")]
    #[case("https://api.telegram.org/#a")]
    #[case("data:x")]
    fn what_is_no_root_is_refused_without_a_password(#[case] root: &str) {
        let error = TelegramApi::new(root.parse().expect("a URL")).expect_err("no root");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}
