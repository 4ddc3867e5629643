//! What all HTTP listeners of the operator share: bounds on connections, on the memory of each, and on the time that a request's head may take.
//!
//! A client that opens connections and sends unfinished heads costs memory before anyone knows who it is. So a head has a small buffer and a
//! time limit, and the number of connections whose client has not shown yet that it is a right one is bounded; see [`ConnectionLimits`] for which
//! of them are closed.

mod connection_limiter;
mod listener;
pub mod tls;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use connection_limiter::{ConnectionLimiter, TrackedConnection};
pub(crate) use listener::bind_listener;

/// The longest head of a request, in bytes, and the size of a connection's read buffer; longer heads are answered 431. hyper takes no less, and
/// its default of 400 kB would be pinned by each unfinished head. Telegram's heads have 300 bytes, an Ingress adds about as much.
pub const MAX_HEAD_BYTES: usize = 8192;

/// The bounds of one listener.
///
/// A connection is untrusted until [`TrackedConnection::trust`]. Where one more would be too many, an untrusted one is closed for it: if its peer has
/// its share, the oldest of that peer; else, if a peer is crowded, the oldest of the most crowded one; else the oldest of all. Right clients send
/// their request at once, so theirs is not the oldest for long; trusted connections are never closed.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Untrusted connections in all.
    pub untrusted: usize,
    /// Untrusted connections of one peer: an IPv4 address, or a /64 of IPv6. Behind an Ingress all requests come from a few peers.
    pub untrusted_per_peer: usize,
    /// A peer with more untrusted connections than this is crowded.
    pub crowd: usize,
    /// Trusted connections in all; those beyond stay untrusted, but are served.
    pub trusted: usize,
}

/// Accepts connections until `stop` is cancelled, then waits for those that are open. `serve` serves one connection and ends with it; it is dropped
/// when the limits close the connection. `name` is the listener's, for logs.
pub(crate) async fn accept_connections<F, Serving>(
    name: &'static str,
    listener: TcpListener,
    limits: ConnectionLimits,
    stop: CancellationToken,
    serve: F,
) where
    F: Fn(TcpStream, TrackedConnection) -> Serving,
    Serving: Future<Output = ()> + Send + 'static,
{
    let connections = TaskTracker::new();
    let limiter = ConnectionLimiter::new(name, limits);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer): (_, IpAddr) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                // For instance out of file descriptors: pause instead of spinning.
                tracing::warn!(listener = name, %error, "failed to accept a connection; retrying in 100 ms");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // An answer in two writes would wait for the client's acknowledgement of the first, which comes 40 ms late. Without it, it is only slower.
        let _ = stream.set_nodelay(true);
        let (connection, closed_another) = limiter.track(peer);
        let closed = connection.closed();
        let serving = serve(stream, connection);
        connections.spawn(async move {
            tokio::select! {
                () = closed.cancelled_owned() => {}
                () = serving => {}
            }
        });
        if closed_another {
            // So that requests that have arrived are read before their connections are too old, and closed ones are freed.
            tokio::task::yield_now().await;
        }
    }
    connections.close();
    connections.wait().await;
}

/// The bounds of the heads of requests on one connection.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// How long a head may take, and how long a connection may wait for the next one.
    pub timeout: Duration,
    /// How long it may be, in bytes.
    pub bytes: usize,
    /// How many lines it may have; `None`: 100, which is cheaper than saying so.
    pub lines: Option<usize>,
}

impl HeadLimits {
    /// Within this time, and within [`MAX_HEAD_BYTES`].
    pub fn within(timeout: Duration) -> Self {
        Self {
            timeout,
            bytes: MAX_HEAD_BYTES,
            lines: None,
        }
    }
}

/// Serves HTTP/1.1 on one connection; after `stop` the request in flight may end.
pub(crate) async fn serve_http1<I, S, B>(
    io: I,
    service: S,
    head: HeadLimits,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head.timeout)
        .max_buf_size(head.bytes);
    if let Some(lines) = head.lines {
        http.max_headers(lines);
    }
    let connection = http.serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "HTTP connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn head_that_never_ends_is_cut_off_by_its_time_limit() {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        let service = hyper::service::service_fn(|_| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let serving = serve_http1(
            server,
            service,
            HeadLimits::within(Duration::from_millis(50)),
            CancellationToken::new(),
        );
        let ended = tokio::time::timeout(Duration::from_secs(20), serving).await;
        assert!(ended.is_ok(), "the connection is not held");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}
