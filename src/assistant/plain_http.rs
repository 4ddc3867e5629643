//! The way to an assistant over plain http and through no proxy, as to one in the same cluster: hyper's client, which reqwest has below it, without
//! what reqwest puts on top. For redirects, which are never followed, it parses a request's URL twice more and copies its headers.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::header::{ACCEPT, HeaderValue, USER_AGENT};
use reqwest::{Body, Request};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::{BoxError, Service};

use super::address_policy::FilteringResolver;

/// The connections of both clients to assistants are kept so long, and probed in this interval.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
pub(super) const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Connections to any number of servers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct PlainHttpClient {
    client: Client<PlainConnector, Body>,
    user_agent: HeaderValue,
}

impl PlainHttpClient {
    /// `connect_timeout`: to look a name up and to connect.
    pub(super) fn new(
        resolver: FilteringResolver,
        connect_timeout: Duration,
        user_agent: HeaderValue,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let connector = PlainConnector {
            tcp,
            connect_timeout,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self { client, user_agent }
    }

    /// Sends a request to `uri`, which is that of its URL.
    ///
    /// # Errors
    /// As of hyper's client. One that is of connecting came before anything was sent.
    pub(super) async fn send(
        &self,
        mut request: Request,
        uri: Uri,
    ) -> Result<http::Response<Incoming>, Error> {
        let body = request.body_mut().take().unwrap_or_default();
        let mut sent = http::Request::new(body);
        *sent.method_mut() = request.method().clone();
        *sent.uri_mut() = uri;
        let headers = sent.headers_mut();
        *headers = std::mem::take(request.headers_mut());
        // As reqwest adds them.
        let accept = headers.entry(ACCEPT);
        accept.or_insert(HeaderValue::from_static("*/*"));
        let user_agent = headers.entry(USER_AGENT);
        user_agent.or_insert_with(|| self.user_agent.clone());
        self.client.request(sent).await
    }
}

/// Makes connections.
#[derive(Debug, Clone)]
struct PlainConnector {
    tcp: HttpConnector<FilteringResolver>,
    connect_timeout: Duration,
}

impl Service<Uri> for PlainConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = timeout(self.connect_timeout, self.tcp.call(uri));
        async move { Ok(connected.await??) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::*;
    use crate::assistant::AssistantError;
    use crate::assistant::address_policy::AddressPolicy;

    const HOST: &str = "assistant.example";
    const LIMIT: Duration = Duration::from_millis(100);

    async fn send(resolver: FilteringResolver) -> AssistantError {
        let client = PlainHttpClient::new(resolver, LIMIT, HeaderValue::from_static("test"));
        let url: url::Url = format!("http://{HOST}/").parse().expect("a URL");
        let uri = url.as_str().parse().expect("a URI");
        let request = Request::new(reqwest::Method::POST, url);
        let error = client.send(request, uri).await.expect_err("no answer");
        AssistantError::from_http_client(&error, error.is_connect(), HOST, LIMIT)
    }

    #[tokio::test]
    async fn name_with_a_refused_address_is_not_called() {
        let resolver = FilteringResolver::new(Arc::new(AddressPolicy::default()));
        let error = send(resolver.with_lookup(|_| {
            async { Ok(vec![SocketAddr::from(([169, 254, 169, 254], 0))]) }.boxed()
        }))
        .await;
        assert!(!error.is_retryable());
        let says = "\"assistant.example\" is a cloud metadata address";
        assert!(error.detail.contains(says), "{error}");
    }

    #[tokio::test]
    async fn lookup_without_an_end_ends_in_time() {
        let resolver = FilteringResolver::new(Arc::new(AddressPolicy::default()));
        let error = send(resolver.with_lookup(|_| std::future::pending().boxed())).await;
        assert!(error.is_retryable(), "{error}");
        assert!(error.detail.contains("no connection to assistant.example"));
    }
}
