//! The way to the API server without a proxy: as kube makes it, except for what its connections keep.
//!
//! kube gives hyper no timer, so that the connections of the first rush are never closed, each with 24 kB of buffers and channels; and no bound
//! of its buffers, so that the connection of a watch keeps the 408 KiB into which the list before it was read.

use std::time::Duration;

use anyhow::Result;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt};
use tower::retry::RetryLayer;
use tower::util::BoxService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

/// How long a connection is kept that nobody uses: a rush of reconciles goes on over the same ones.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read at once; also the longest head of one.
const MAX_BUFFER_BYTES: usize = 32 << 10;

/// The stack of a client, below its layers.
pub(super) type DirectService = BoxService<Request<Body>, Response<Incoming>, BoxError>;

/// A client's stack with the timeouts, retries and credentials of `config`, whose proxy is not looked at. A connection is closed that nobody
/// used for `idle_timeout`.
///
/// # Errors
/// Certificates or credentials that cannot be used.
pub(super) fn direct_client_builder(
    config: &Config,
    idle_timeout: Duration,
) -> Result<ClientBuilder<DirectService>> {
    let mut connector = TimeoutConnector::new(config.rustls_https_connector()?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle_timeout)
        .http1_max_buf_size(MAX_BUFFER_BYTES)
        .build(connector);
    let retry = config
        .default_retry
        .then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http)
        .boxed();
    Ok(ClientBuilder::new(
        service,
        config.default_namespace.clone(),
    ))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn idle_connection_to_the_api_server_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut bytes = [0; 4096];
            let read = connection.read(&mut bytes).await.expect("a request");
            assert!(read > 0, "a request");
            connection
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .await
                .expect("an answer");
            connection.read(&mut bytes).await
        });
        let url = format!("http://{address}").parse().expect("a URL");
        let builder = direct_client_builder(&Config::new(url), Duration::from_millis(10));
        let client = builder.expect("a client").build();
        let request = Request::get("/version").body(Vec::new());
        let answer = client.request_text(request.expect("a request"));
        assert_eq!(answer.await.expect("an answer"), "{}");
        let read = tokio::time::timeout(Duration::from_secs(30), server).await;
        let read = read.expect("it is closed in time").expect("no panic");
        assert_eq!(read.expect("no error"), 0, "the end of the connection");
    }
}
