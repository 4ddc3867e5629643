//! The Bot API's root and the way there: one connection pool for all bots, and the one place where a request with a token is
//! built and where an error that could hold it enters.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;
use teloxide::requests::Payload;
use tracing::{Instrument, Span};
use url::Url;

use super::answer;
use super::dial::Dial;
use super::error::TelegramError;
use super::form::Form;
use super::line::{Broken, Lines};
use super::redact::redact;
use super::token::BotToken;

/// No Bot API answer is this long: 100 updates of the longest texts are about 3 MB.
const ANSWER_LIMIT: usize = 32 << 20;

/// What requests call themselves.
const AGENT: HeaderValue = HeaderValue::from_static(concat!(
    env!("CARGO_PKG_NAME"),
    "/",
    env!("CARGO_PKG_VERSION")
));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The Bot API's root and the HTTP connections to it, shared by all bots.
pub struct TelegramApi {
    root: Url,
    /// Scheme and authority.
    origin: Uri,
    host: HeaderValue,
    lines: Lines,
}

/// Without the way there: a proxy's address can hold a password.
impl std::fmt::Debug for TelegramApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TelegramApi").field(&self.root.as_str()).finish()
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
        let not_a_root = |_| ApiRootError::NotARoot(root.as_str().into());
        let authority = &root[url::Position::BeforeHost..url::Position::AfterPort];
        let origin = Uri::builder()
            .scheme(root.scheme())
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(not_a_root)?;
        let host = HeaderValue::from_str(authority).map_err(|e| not_a_root(e.into()))?;
        // A proxy from the environment serves the way out, not a peer on this machine.
        let dial = Dial::new(origin.clone(), !is_loopback(&root)).map_err(ApiRootError::Tls)?;
        Ok(Self {
            root,
            origin,
            host,
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
        let request = Sent {
            path: self.path("", token, P::NAME),
            content_type: Some(JSON),
            body: body.into(),
        };
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
        let request = Sent {
            path: self.path("", token, method),
            content_type: Some(content_type),
            body,
        };
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
        let request = Sent {
            path: url.path().to_owned(),
            content_type: None,
            body: Bytes::new(),
        };
        let answered = self.answered(request, max_bytes, token, limit).await?;
        if answered.status == 200 {
            return Ok(answered.body);
        }
        // An error is told as for a method; a "success" that is none has no result to read.
        answered
            .read::<serde::de::IgnoredAny>(token)
            .and(Err(TelegramError::Malformed(format!(
                "HTTP {} for a file",
                answered.status
            ))))
    }

    fn path(&self, prefix: &str, token: &BotToken, method: &str) -> String {
        let root = self.root.path().trim_end_matches('/');
        format!("{root}{prefix}/bot{}/{method}", token.expose())
    }

    /// Sends a request and reads the whole answer. Together with [`Answered::read`] the one way by which an error of the
    /// network enters: here it is classed and redacted.
    async fn answered(
        &self,
        request: Sent,
        max_bytes: usize,
        token: &BotToken,
        limit: Duration,
    ) -> Result<Answered, TelegramError> {
        let exchange = async {
            let request = self.head(request)?;
            // Boxed: what it takes while it lasts is not part of every future that may come to call.
            let answer = Box::pin(self.lines.exchange(request, max_bytes)).await?;
            Ok(answer)
        };
        let late = || Broken::Lost(format!("no answer within {} s", limit.as_secs()));
        let answer = tokio::time::timeout(limit, exchange)
            .await
            .unwrap_or_else(|_| Err(late()))
            .map_err(|e| answer::broken(e).map_text(|text| redact(text, token.expose())))?;
        let retry_after = answer.headers().get(RETRY_AFTER);
        Ok(Answered {
            status: answer.status().as_u16(),
            retry_after: retry_after.and_then(|value| value.to_str().ok()?.parse().ok()),
            body: answer.into_body(),
        })
    }

    fn head(&self, sent: Sent) -> Result<Request<Full<Bytes>>, Broken> {
        let forwarded = self.lines.dial().forwarded();
        let mut uri = http::uri::Builder::new().path_and_query(sent.path);
        if forwarded.is_some()
            && let (Some(scheme), Some(authority)) = (self.origin.scheme(), self.origin.authority())
        {
            uri = uri.scheme(scheme.clone()).authority(authority.clone());
        }
        let uri = uri
            .build()
            // The error could quote the path.
            .map_err(|_| Broken::NotSent("the request has no valid path".into()))?;
        let mut request = Request::new(Full::new(sent.body));
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, AGENT);
        if let Some(Some(authorization)) = forwarded {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        if let Some(content_type) = sent.content_type {
            headers.insert(CONTENT_TYPE, content_type);
            *request.method_mut() = Method::POST;
        }
        Ok(request)
    }
}

/// What is sent: with a content type a POST, else a GET.
struct Sent {
    path: String,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

/// A call within a trace. A long poll is no part of any message's way.
fn call_span(method: &str) -> Span {
    if method.eq_ignore_ascii_case("getUpdates") {
        return Span::none();
    }
    tracing::debug_span!("telegram", otel.kind = "client", method)
}

/// An answer with all of its body.
pub(super) struct Answered {
    status: u16,
    retry_after: Option<u64>,
    body: Bytes,
}

impl Answered {
    /// Reads the result, which may borrow from the answer.
    pub(super) fn read<'a, R: serde::Deserialize<'a>>(
        &'a self,
        token: &BotToken,
    ) -> Result<R, TelegramError> {
        answer::read(self.status, self.retry_after, &self.body)
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
        let sent = Sent {
            path: api.path("", &token, "getMe"),
            content_type: None,
            body: Bytes::new(),
        };
        let request = api.head(sent).expect("a request");
        let host = request.headers()[HOST].to_str().expect("text");
        let url = format!("{}://{host}{}", api.root().scheme(), request.uri());
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
