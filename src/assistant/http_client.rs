//! One HTTP exchange with an assistant: the shared connections, and the limits in time and size that every protocol has.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Request, StatusCode};
use serde::de::DeserializeOwned;
use tokio::task::coop::{consume_budget, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};
use url::{Origin, Url};

use super::address_policy::{AddressPolicy, FilteringResolver};
use super::error::ErrorBody;
use super::linked_file::{FileHosts, SharedFileHosts};
use super::plain_http::{IDLE_TIMEOUT, PlainHttpClient, TCP_KEEPALIVE};
use super::root_certificates::ExtraRootCertificates;
use super::{AssistantError, BuildError, FailureKind, QuestionProgress};

/// How much an exchange with an assistant may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// Bytes of one request.
    pub request_bytes: usize,
    /// Bytes of one answer as it comes over the wire.
    pub response_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request_bytes: 32 << 20,
            response_bytes: 16 << 20,
        }
    }
}

/// Bytes of an error body that are read to understand it.
const ERROR_BODY_BYTES: usize = 64 << 10;

/// The `User-Agent` of every request.
const AGENT: HeaderValue = HeaderValue::from_static(concat!(
    "telegram-connector-operator/",
    env!("CARGO_PKG_VERSION")
));

/// What all assistants share: one pool of connections, the limits, and the guard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AssistantHttpClient {
    pub(super) http: reqwest::Client,
    plain_http: PlainHttpClient,
    pub(super) limits: HttpLimits,
    pub(super) address_policy: Arc<AddressPolicy>,
    pub(super) file_hosts: SharedFileHosts,
}

impl AssistantHttpClient {
    /// A pool of connections that obeys limits and policy. Proxies from the environment (`HTTPS_PROXY`, `NO_PROXY`) are used;
    /// a proxy resolves names by itself, so that behind one the policy judges only what is written in the URL.
    ///
    /// # Errors
    /// [`BuildError::HttpClient`] if the TLS library cannot start.
    pub fn new(limits: HttpLimits, address_policy: AddressPolicy) -> Result<Self, BuildError> {
        Self::with_extra_roots(&ExtraRootCertificates::default(), limits, address_policy)
    }

    /// The same, with authorities of the administrator's own.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_extra_roots(
        roots: &ExtraRootCertificates,
        limits: HttpLimits,
        address_policy: AddressPolicy,
    ) -> Result<Self, BuildError> {
        let file_hosts = match address_policy.for_files() {
            Some((hosts, policy)) => {
                let client = Self::with_extra_roots(roots, limits, policy)?;
                Some(Arc::new(FileHosts::new(hosts, client)))
            }
            None => None,
        };
        let (http, address_policy) = guarded_client(roots, limits.connect, address_policy)
            .map_err(BuildError::HttpClient)?;
        let resolver = FilteringResolver::new(address_policy.clone());
        let plain_http = PlainHttpClient::new(resolver, limits.connect, AGENT);
        Ok(Self {
            http,
            plain_http,
            limits,
            address_policy,
            file_hosts,
        })
    }

    /// Where a request to `url` goes if it needs neither TLS nor a proxy.
    fn plain_uri(&self, url: &Url) -> Option<http::Uri> {
        let uri = (url.scheme() == "http").then(|| url.as_str().parse().ok())??;
        (!self.address_policy.goes_through_proxy(&uri)).then_some(uri)
    }
}

/// A client that connects to nothing but what the policy permits, and follows no redirect; with the policy as it is behind the environment's proxies.
/// URLs must be checked with [`AddressPolicy::check_url`] before they are called: addresses that are written in them are resolved by nobody.
///
/// # Errors
/// What the TLS library says, if it cannot start.
pub(crate) fn guarded_client(
    roots: &ExtraRootCertificates,
    connect_timeout: Duration,
    address_policy: AddressPolicy,
) -> Result<(reqwest::Client, Arc<AddressPolicy>), String> {
    let address_policy = Arc::new(address_policy.with_proxies(Matcher::from_env()));
    let resolver = FilteringResolver::new(address_policy.clone());
    let http = roots
        .add_to(reqwest::Client::builder())?
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .dns_resolver(Arc::new(resolver))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_keepalive(TCP_KEEPALIVE)
        .user_agent(AGENT)
        .build()
        .map_err(|e| e.to_string())?;
    Ok((http, address_policy))
}

/// One assistant's place: whom to call, and how long it may take in all.
///
/// Its debug output is all that an assistant's has: URLs can hold keys in their query.
#[derive(Clone)]
pub(super) struct AssistantServer {
    pub(super) client: AssistantHttpClient,
    /// `host` or `host:port`, for messages.
    pub(super) host: Arc<str>,
    /// Scheme, host and port.
    pub(super) origin: Origin,
    /// `timeoutSeconds`.
    pub(super) timeout: Duration,
    /// `headers`: every request carries them.
    headers: HeaderMap,
}

impl fmt::Debug for AssistantServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} s)", self.host, self.timeout.as_secs())
    }
}

impl AssistantServer {
    pub(super) fn new(client: &AssistantHttpClient, url: &Url, timeout: Duration) -> Self {
        let host = url.host_str().unwrap_or_default();
        Self {
            client: client.clone(),
            host: match url.port() {
                Some(port) => format!("{host}:{port}").into(),
                None => host.into(),
            },
            origin: url.origin(),
            timeout,
            headers: HeaderMap::new(),
        }
    }

    /// The same, with headers that every request carries beside its own.
    pub(super) fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// When an answer to a question asked now must be complete.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Sends a request and waits for the head of a success; an error answer is read and classified.
    pub(super) async fn send(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<ResponseBody, AssistantError> {
        let body = self.send_any_status(request, deadline).await?;
        if body.status().is_success() {
            Ok(body)
        } else {
            Err(body.into_error().await)
        }
    }

    /// Sends a request and waits for the head of any answer.
    ///
    /// The HTTP client sends it once more by itself where a kept connection was closed before any of it was written; once a part was written,
    /// whether it is asked again is the caller's decision.
    pub(super) async fn send_any_status(
        &self,
        mut request: Request,
        deadline: Instant,
    ) -> Result<ResponseBody, AssistantError> {
        for (name, value) in &self.headers {
            let entry = request.headers_mut().entry(name);
            entry.or_insert_with(|| value.clone());
        }
        let size = request
            .body()
            .and_then(reqwest::Body::as_bytes)
            .map_or(0, <[u8]>::len);
        if size > self.client.limits.request_bytes {
            let kind = FailureKind::TooLarge;
            let detail = format!(
                "the request would have {size} bytes; at most {} are sent",
                self.client.limits.request_bytes
            );
            return Err(AssistantError::new(kind, detail));
        }
        let mut deadline = Box::pin(sleep_until(deadline));
        match in_time(self.exchange(request), &mut deadline).await {
            Some(Ok((status, headers, body))) => {
                let body = ResponseBody {
                    status,
                    headers,
                    body,
                    host: self.host.clone(),
                    deadline,
                    remaining: self.client.limits.response_bytes,
                    timeout: self.timeout,
                    unread: Bytes::new(),
                };
                match body.refused_encoding() {
                    Some(error) => Err(error),
                    None => Ok(body),
                }
            }
            Some(Err(error)) => Err(error),
            None => Err(AssistantError {
                kind: FailureKind::TimedOut,
                progress: QuestionProgress::Uncertain,
                ..AssistantError::no_answer(&self.host, self.timeout)
            }),
        }
    }

    async fn exchange(
        &self,
        request: Request,
    ) -> Result<(StatusCode, HeaderMap, Body), AssistantError> {
        let (host, timeout) = (&self.host, self.timeout);
        if let Some(uri) = self.client.plain_uri(request.url()) {
            let sent = self.client.plain_http.send(request, uri).await;
            let response = sent
                .map_err(|e| AssistantError::from_http_client(&e, e.is_connect(), host, timeout))?;
            let (head, body) = response.into_parts();
            Ok((head.status, head.headers, Body::wrap(body)))
        } else {
            let sent = self.client.http.execute(request).await;
            let mut response = sent.map_err(|e| AssistantError::from_reqwest(&e, host, timeout))?;
            let headers = std::mem::take(response.headers_mut());
            Ok((response.status(), headers, response.into()))
        }
    }
}

/// What `work` comes to, unless the deadline passes first. One timer is for all waits of an exchange: each new one is entered into, and taken out of,
/// a list that all workers share.
async fn in_time<T>(work: impl Future<Output = T>, deadline: &mut Pin<Box<Sleep>>) -> Option<T> {
    tokio::select! {
        biased;
        output = work => Some(output),
        // Unconstrained: work that is always ready must not keep the time from passing.
        () = unconstrained(deadline) => None,
    }
}

/// The next piece of a body; trailers are passed over.
async fn next_data(body: &mut Body) -> Result<Option<Bytes>, reqwest::Error> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn timed_out(host: &str, timeout: Duration) -> AssistantError {
    AssistantError::timed_out(format!(
        "no complete answer from {host} within {} s (timeoutSeconds)",
        timeout.as_secs()
    ))
}

/// The body of an answer, read piece by piece within the limits.
#[derive(Debug)]
pub(super) struct ResponseBody {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    host: Arc<str>,
    deadline: Pin<Box<Sleep>>,
    remaining: usize,
    timeout: Duration,
    /// What has come and was not handed on.
    unread: Bytes,
}

/// What is handed on at once of what has come, in bytes: whoever reads it takes some ten microseconds for each kilobyte.
const MAX_PIECE_BYTES: usize = 4 << 10;

impl ResponseBody {
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether the answer says that it is server-sent events.
    pub(super) fn is_event_stream(&self) -> bool {
        self.content_type().starts_with("text/event-stream")
    }

    pub(super) fn content_type(&self) -> &str {
        self.header(&CONTENT_TYPE).unwrap_or_default()
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next piece, of at most [`MAX_PIECE_BYTES`]; `None` at the end. However long the assistant is silent, only the deadline ends the wait.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, AssistantError> {
        if self.unread.is_empty() {
            match self.next_piece().await? {
                Some(piece) => self.unread = piece,
                None => return Ok(None),
            }
        } else {
            // Of a long answer that is there at once; others get their turn between.
            consume_budget().await;
        }
        let length = self.unread.len().min(MAX_PIECE_BYTES);
        Ok(Some(self.unread.split_to(length)))
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, AssistantError> {
        match in_time(next_data(&mut self.body), &mut self.deadline).await {
            Some(Ok(Some(piece))) => match self.remaining.checked_sub(piece.len()) {
                Some(rest) => {
                    self.remaining = rest;
                    Ok(Some(piece))
                }
                None => Err(AssistantError::new(
                    FailureKind::TooLarge,
                    format!("the answer of {} is too large", self.host),
                )
                .at_progress(QuestionProgress::Uncertain)),
            },
            Some(Ok(None)) => Ok(None),
            Some(Err(e)) => {
                tracing::info!(host = %self.host, cause = %e.without_url(), "the connection to an assistant broke in the middle of an answer");
                Err(AssistantError::unreachable(format!(
                    "the connection to {} broke in the middle of an answer",
                    self.host
                ))
                .at_progress(QuestionProgress::Uncertain))
            }
            None => Err(timed_out(&self.host, self.timeout)),
        }
    }

    /// Why the body cannot be read, where it is compressed: no compression is asked for.
    fn refused_encoding(&self) -> Option<AssistantError> {
        let encoding = self.headers.get(CONTENT_ENCODING)?;
        let known = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress"];
        let encoding = encoding.to_str().unwrap_or_default().trim();
        if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
            return None;
        }
        let name = known.iter().find(|k| encoding.eq_ignore_ascii_case(k));
        Some(AssistantError::misconfigured(format!(
            "{} answered {} with content-encoding {}, which was not asked for; switch compression off there, or in the proxy before it",
            self.host,
            self.status().as_u16(),
            name.unwrap_or(&"of another kind")
        )))
    }

    /// The whole body.
    pub(super) async fn read_all(&mut self) -> Result<Bytes, AssistantError> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(piece) = self.chunk().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// The whole body as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, AssistantError> {
        let bytes = self.read_all().await?;
        let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        serde_json::from_slice(json).map_err(|_| self.unexpected_content())
    }

    /// The answer is not what the protocol says. Names the media type, no word of the body.
    pub(super) fn unexpected_content(&self) -> AssistantError {
        let kind = self
            .content_type()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        let known = [
            "application/json",
            "text/html",
            "text/plain",
            "text/event-stream",
        ];
        let kind = known
            .iter()
            .find(|k| **k == kind)
            .unwrap_or(&"something else");
        AssistantError::misconfigured(format!(
            "{} answered {} with {kind} that is no answer of this protocol; check protocol and url",
            self.host,
            self.status().as_u16()
        ))
    }

    /// What an answer that is no success means.
    pub(super) async fn into_error(self) -> AssistantError {
        self.into_error_and_body().await.0
    }

    /// The same, with the body that was read: no word of it may be passed on.
    pub(super) async fn into_error_and_body(mut self) -> (AssistantError, Bytes) {
        self.remaining = self.remaining.min(ERROR_BODY_BYTES);
        // An error body that cannot be read changes nothing about the status.
        let bytes = self.read_all().await.unwrap_or_default();
        let body = ErrorBody::from_bytes(&bytes);
        let error = AssistantError::from_status(self.status, &self.headers, &body);
        (error, bytes)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("http://assistant.acme.svc:8080/v1?key=a", None, true)]
    #[case::tls("https://assistant.acme.svc/v1", None, false)]
    #[case::proxy("http://assistant.acme.svc/v1", Some("http://proxy.local:3128"), false)]
    fn only_plain_http_without_a_proxy_goes_the_short_way(
        #[case] url: Url,
        #[case] proxy: Option<&str>,
        #[case] is_plain: bool,
    ) {
        let policy = AddressPolicy::default();
        let client = AssistantHttpClient::new(HttpLimits::default(), policy).expect("a client");
        let proxies = proxy.map_or_else(Matcher::builder, |proxy| Matcher::builder().all(proxy));
        let policy = AddressPolicy::default().with_proxies(proxies.build());
        let client = AssistantHttpClient {
            address_policy: Arc::new(policy),
            ..client
        };
        let uri = client.plain_uri(&url).map(|uri| uri.to_string());
        assert_eq!(uri, is_plain.then(|| url.to_string()));
    }
}
