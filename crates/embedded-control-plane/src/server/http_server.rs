//! The control plane on a loopback port, with a kubeconfig for `kubectl`.

use std::io;
use std::net::SocketAddr;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::Service;

use super::{ApiService, ControlPlane};

/// A control plane that is served over HTTP until this is dropped or shut down.
#[derive(Debug)]
pub struct ServerHandle {
    /// Where it listens.
    pub addr: SocketAddr,
    /// A kubeconfig for it, as YAML.
    pub kubeconfig: String,
    stop: DropGuard,
}

impl ServerHandle {
    /// Stops listening and ends every open connection.
    pub fn shutdown(self) {
        drop(self.stop);
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl ControlPlane {
    /// Serves the API on `addr` (port 0: a free one). There is no authentication: use a loopback address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn serve(&self, addr: SocketAddr) -> io::Result<ServerHandle> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, self.service(), stop.clone()));
        Ok(ServerHandle {
            addr,
            kubeconfig: kubeconfig(addr),
            stop: stop.drop_guard(),
        })
    }
}

async fn accept(listener: TcpListener, service: ApiService, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // A connection that failed before it began concerns nobody else.
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        let stop = stop.clone();
        tokio::spawn(async move {
            let handler = service_fn(move |request: Request<Incoming>| {
                let response = service.clone().call(request);
                async move { response.await.map_err(io::Error::other) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), handler);
            // A client that hangs up, or an injected fault that breaks the connection, is no news.
            tokio::select! {
                () = stop.cancelled() => {}
                _ = connection => {}
            }
        });
    }
}

fn kubeconfig(addr: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: embedded\n  cluster:\n    server: http://{addr}\n\
         users:\n- name: embedded\n  user: {{}}\ncontexts:\n- name: embedded\n  context:\n    cluster: embedded\n    user: embedded\n\
         current-context: embedded\n"
    )
}
