//! An API server on a loopback port, over TLS, as an operator would serve it.

use std::sync::Arc;

use aggregated_api_server::{ApiServer, client_certificate_verifier};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Identity;

/// Serves until the runtime ends; returns the port.
pub async fn serve(server: Arc<ApiServer>, identity: Identity) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(client_certificate_verifier())
        .with_single_cert(vec![identity.certificate], identity.key)
        .expect("a certificate with its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let peer: Arc<[CertificateDer<'static>]> = shown.into();
                let service = service_fn(move |request: Request<Incoming>| {
                    let (server, peer) = (server.clone(), peer.clone());
                    async move { Ok::<_, std::convert::Infallible>(server.handle(&peer, request).await) }
                });
                // A client that hangs up is no news.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}
