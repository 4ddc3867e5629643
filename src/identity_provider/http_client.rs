//! HTTP with identity providers: under the same guard as assistants, bounded in time and size, and without redirects. A connector's author chooses the
//! issuer, and the issuer chooses all other addresses.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use url::{Host, Url};

use crate::assistant::{AddressPolicy, AddressRefused, ExtraRootCertificates, guarded_client};

/// How much an exchange with a provider may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderLimits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// For one request with its whole answer.
    pub request: Duration,
    /// Bytes of one answer.
    pub response_bytes: usize,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            response_bytes: 1 << 20,
        }
    }
}

/// What all providers share: one pool of connections, the limits and the guard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IdentityProviderHttpClient {
    http: reqwest::Client,
    policy: Arc<AddressPolicy>,
    limits: ProviderLimits,
}

/// Why there is no answer. No URL, no secret and no word of a body in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub(super) String);

impl IdentityProviderHttpClient {
    /// A pool of connections that trusts `roots` beside the public authorities.
    ///
    /// # Errors
    /// What the TLS library says, if it cannot start.
    pub fn new(
        roots: &ExtraRootCertificates,
        limits: ProviderLimits,
        policy: AddressPolicy,
    ) -> Result<Self, String> {
        let (http, policy) = guarded_client(roots, limits.connect, policy)?;
        Ok(Self {
            http,
            policy,
            limits,
        })
    }

    /// Checks an address that a connector or a provider names: https, or http to this machine where the guard allows that.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check_url(&self, url: &Url) -> Result<(), String> {
        let is_plain_and_here = url.scheme() == "http" && is_loopback(url);
        if url.scheme() != "https" && !is_plain_and_here {
            return Err(format!("{} is not https", without_query(url)));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user name or a password".to_owned());
        }
        self.policy.check_url(url).map_err(|e| e.to_string())
    }

    /// Sends a request and reads the whole answer, of whatever status.
    pub(super) async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
        let url: Url = request
            .uri()
            .to_string()
            .parse()
            .map_err(|_| NoAnswer("an address of the provider is no URL".to_owned()))?;
        self.check_url(&url).map_err(NoAnswer)?;
        let host = host_of(&url);
        match tokio::time::timeout(self.limits.request, self.send(request, &host)).await {
            Ok(answer) => answer,
            Err(_) => Err(nothing_there(&host)),
        }
    }

    async fn send(&self, request: HttpRequest, host: &str) -> Result<HttpResponse, NoAnswer> {
        let request = request
            .try_into()
            .map_err(|e: reqwest::Error| NoAnswer(format!("no request to {host}: {e}")))?;
        let sent = self.http.execute(request).await;
        let mut answer = sent.map_err(|e| no_answer(&e, host))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(NoAnswer(format!(
                "{host} answers {} with a redirect, which is not followed; write the issuer as the provider itself names it",
                status.as_u16()
            )));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| no_answer(&e, host))? {
            if body.len() + piece.len() > self.limits.response_bytes {
                return Err(NoAnswer(format!("the answer of {host} is too large")));
            }
            body.extend_from_slice(&piece);
        }
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for IdentityProviderHttpClient {
    type Error = NoAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, NoAnswer>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}

/// What an error of the HTTP client means, without the URL: a query may hold anything.
fn no_answer(error: &reqwest::Error, host: &str) -> NoAnswer {
    let causes = || std::iter::successors(Some(error as &dyn Error), |e| (*e).source());
    if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<AddressRefused>()) {
        return NoAnswer(refused.to_string());
    }
    let root = causes().last().map(ToString::to_string).unwrap_or_default();
    tracing::info!(host, cause = %root, "no answer from an identity provider");
    if root.contains("UnknownIssuer") {
        return NoAnswer(format!(
            "no connection to {host}: nobody whom the operator trusts vouches for its certificate; the administrator can name its authority with --identity-provider-ca-file"
        ));
    }
    nothing_there(host)
}

/// The same whether a port is closed, filtered or silent: a connector is no port scanner.
fn nothing_there(host: &str) -> NoAnswer {
    NoAnswer(format!(
        "no connection to {host}, or no whole answer in time; check the issuer, that the provider runs, and that the operator may reach it (the operator's log says more)"
    ))
}

/// Whether a URL names this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// `host` or `host:port`.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn without_query(url: &Url) -> String {
    format!("{}://{}", url.scheme(), host_of(url))
}
