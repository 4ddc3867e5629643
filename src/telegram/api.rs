//! The Bot API's root and the way there: one connection pool for all bots, and the one place where a request with a token is
//! built and where an error that could hold it enters.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use reqwest::{RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use teloxide::requests::Payload;
use tracing::{Instrument, Span};
use url::Url;

use super::answer;
use super::error::TelegramError;
use super::redact::redact;
use super::token::BotToken;

/// Making a connection, name lookup and TLS included; shared between a host's addresses, so that broken IPv6 costs part of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is given up before a server or a NAT on the way drops it (commonly 60 s), so that no send meets a dead one
/// and has to be called ambiguous.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);
/// Probes under a long poll, so that a path that has gone is noticed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// No Bot API answer is this long: 100 updates of the longest texts are about 3 MB.
const ANSWER_LIMIT: usize = 32 << 20;

/// The Bot API's root and the HTTP connections to it, shared by all bots.
#[derive(Debug)]
pub struct TelegramApi {
    root: Url,
    http: reqwest::Client,
}

/// The API's root is no use, or TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ApiRootError {
    /// Neither http nor https, or with user info, a query or a fragment.
    #[error(
        "--telegram-api-url {0}: expected http(s)://host[:port][/path] without user info, query or fragment"
    )]
    NotARoot(Box<str>),
    /// Building the client failed.
    #[error("the HTTP client for Telegram cannot be built: {0}")]
    Client(#[source] reqwest::Error),
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
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_keepalive(TCP_KEEPALIVE)
            .tcp_nodelay(true)
            // A long poll holds its connection anyway; HTTP/2 would put all bots behind one connection's stream limit.
            .http1_only()
            // A redirect would carry the token to wherever it points.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!(
                env!("CARGO_PKG_NAME"),
                "/",
                env!("CARGO_PKG_VERSION")
            ));
        if is_loopback(&root) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            root,
            http: builder.build().map_err(ApiRootError::Client)?,
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
        let request = self
            .http
            .post(self.url("", token, P::NAME))
            .json(payload)
            .timeout(limit);
        answered(request, ANSWER_LIMIT, token)
            .instrument(call_span(P::NAME))
            .await
    }

    /// Calls a method with a form, which is how files are uploaded.
    pub(super) async fn upload<R: DeserializeOwned>(
        &self,
        token: &BotToken,
        method: &str,
        form: reqwest::multipart::Form,
        limit: Duration,
    ) -> Result<R, TelegramError> {
        let request = self
            .http
            .post(self.url("", token, method))
            .multipart(form)
            .timeout(limit);
        answered(request, ANSWER_LIMIT, token)
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
        let mut url = self.url("/file", token, "");
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(file_path.split('/'));
        }
        let answered = answered(self.http.get(url).timeout(limit), max_bytes, token).await?;
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

    fn url(&self, prefix: &str, token: &BotToken, method: &str) -> Url {
        let mut url = self.root.clone();
        let root = url.path().trim_end_matches('/');
        let path = format!("{root}{prefix}/bot{}/{method}", token.expose());
        url.set_path(&path);
        url
    }
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

/// Sends a request and reads the whole answer. Together with [`Answered::read`] the one way by which an error of the network
/// enters: here it is classed and redacted.
async fn answered(
    request: RequestBuilder,
    max_bytes: usize,
    token: &BotToken,
) -> Result<Answered, TelegramError> {
    exchange(request, max_bytes)
        .await
        .map_err(|e| e.map_text(|text| redact(text, token.expose())))
}

async fn exchange(request: RequestBuilder, max_bytes: usize) -> Result<Answered, TelegramError> {
    let mut response = request.send().await.map_err(answer::lost)?;
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Answered {
        status: response.status().as_u16(),
        retry_after,
        body: body(&mut response, max_bytes).await?,
    })
}

async fn body(response: &mut Response, max_bytes: usize) -> Result<Bytes, TelegramError> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).map_or(true, |length| length > max_bytes) {
        return Err(TelegramError::FileTooBig);
    }
    // Nearly every answer comes in one chunk, which is then not copied.
    let Some(first) = response.chunk().await.map_err(answer::lost)? else {
        return Ok(Bytes::new());
    };
    let Some(second) = response.chunk().await.map_err(answer::lost)? else {
        return if first.len() > max_bytes {
            Err(TelegramError::FileTooBig)
        } else {
            Ok(first)
        };
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if whole.len() + chunk.len() > max_bytes {
            return Err(TelegramError::FileTooBig);
        }
        whole.extend_from_slice(&chunk);
        next = response.chunk().await.map_err(answer::lost)?;
    }
    Ok(whole.freeze())
}

/// A proxy from the environment serves the way out, not a peer on this machine.
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
        let url = api.url("", &token, "getMe");
        assert_eq!(url.as_str(), format!("{start}{}/getMe", token.expose()));
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
