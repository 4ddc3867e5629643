//! The listener of the data API: TLS for kube-apiserver's aggregator, which proves itself by its client certificate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aggregated_api_server::{
    ApiGroup, ApiServer, Authorizer, FrontProxyConfig, Resource, ServerSettings,
    SubjectAccessReviewer, client_certificate_verifier,
};
use http::StatusCode;
use kube::Client;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::certificate::CertificateSettings;
use super::{GROUP, VERSION};
use crate::http_server::tls::{CertificateFiles, ServedCertificate, TlsFiles};
use crate::http_server::{self, ConnectionLimits, HeadLimits, TrackedConnection};

/// The connections at once. An aggregator keeps a few for all its users, and one more for each watch.
const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits {
    untrusted: 256,
    untrusted_per_peer: 128,
    crowd: 32,
    trusted: 4096,
};
/// Time limit for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// The bounds of heads: an aggregator names every group of its user in a line of its own, and closes what it does not use after 90 s.
const HEAD_LIMITS: HeadLimits = HeadLimits {
    timeout: Duration::from_mins(2),
    bytes: 128 * 1024,
    lines: Some(2048),
};
/// So long what is answered at the end may take; watches go on at another replica.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// The administrator's settings of the data API.
#[derive(Debug, Clone)]
pub struct DataApiSettings {
    /// `--data-api-listen`.
    pub listen: SocketAddr,
    /// Where its certificate comes from.
    pub certificate: DataApiCertificate,
}

/// Where the certificate of the data API comes from.
#[derive(Debug, Clone)]
pub enum DataApiCertificate {
    /// From `--data-api-tls-cert` and `--data-api-tls-key`.
    Files(TlsFiles),
    /// The operator makes and renews it itself.
    Kept(CertificateSettings),
}

/// The data API before it listens.
pub struct DataApiServer {
    tls: Arc<ServerConfig>,
    /// Read again when they change.
    files: Option<CertificateFiles>,
}

impl DataApiServer {
    /// Loads the certificate. One that is kept is what its keeper puts into `kept`; until then no connection is taken.
    ///
    /// # Errors
    /// The file that cannot be used, and what is wrong.
    pub fn new(
        settings: &DataApiSettings,
        kept: &Arc<ServedCertificate>,
    ) -> Result<Self, (PathBuf, String)> {
        let (served, path, files) = match &settings.certificate {
            DataApiCertificate::Kept(_) => (kept.clone(), PathBuf::new(), None),
            DataApiCertificate::Files(files) => {
                let path = files.certificate.clone();
                let loaded = CertificateFiles::load("data API", files.clone())
                    .map_err(|e| (path.clone(), e.to_string()))?;
                (loaded.served(), path, Some(loaded))
            }
        };
        let tls = served
            .server_config(Some(client_certificate_verifier()))
            .map_err(|e| (path, e.to_string()))?;
        Ok(Self { tls, files })
    }

    /// Serves until `stop` is cancelled: whom the cluster's aggregator speaks for, as far as its RBAC allows them.
    pub async fn serve(
        self,
        listener: TcpListener,
        client: Client,
        resources: Vec<Arc<dyn Resource>>,
        stop: CancellationToken,
    ) {
        let front_proxy = FrontProxyConfig::new();
        let authorizer = Arc::new(SubjectAccessReviewer::new(client.clone()));
        let following = front_proxy.clone();
        let stop_following = stop.clone();
        tokio::spawn(async move {
            let followed = following.follow(client);
            stop_following.run_until_cancelled(followed).await
        });
        self.serve_with(listener, front_proxy, authorizer, resources, stop)
            .await;
    }

    /// The same, with the aggregator's identity and the rights from elsewhere.
    async fn serve_with(
        self,
        listener: TcpListener,
        front_proxy: Arc<FrontProxyConfig>,
        authorizer: Arc<dyn Authorizer>,
        resources: Vec<Arc<dyn Resource>>,
        stop: CancellationToken,
    ) {
        if let Some(files) = self.files {
            tokio::spawn(files.reload_on_change(stop.clone()));
        }
        let group = ApiGroup {
            group: GROUP.into(),
            version: VERSION.into(),
            product_version: env!("CARGO_PKG_VERSION").into(),
        };
        let settings = ServerSettings::default();
        let api = ApiServer::new(group, resources, front_proxy, authorizer, settings);
        let (api, acceptor) = (Arc::new(api), TlsAcceptor::from(self.tls));
        let stopped = stop.clone();
        let serve = move |stream: TcpStream, connection: TrackedConnection| {
            let (api, acceptor, stop) = (api.clone(), acceptor.clone(), stop.clone());
            serve_connection(api, acceptor, stream, connection, stop)
        };
        let limits = CONNECTION_LIMITS;
        http_server::accept_connections("data API", listener, limits, stopped, serve).await;
    }
}

async fn serve_connection(
    api: Arc<ApiServer>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    connection: TrackedConnection,
    stop: CancellationToken,
) {
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake with a client of the data API failed");
            return;
        }
        Err(_) => {
            tracing::debug!("TLS handshake with a client of the data API timed out");
            return;
        }
    };
    let peer: Vec<CertificateDer<'static>> = stream
        .get_ref()
        .1
        .peer_certificates()
        .map(|chain| {
            chain
                .iter()
                .cloned()
                .map(CertificateDer::into_owned)
                .collect()
        })
        .unwrap_or_default();
    let (api, peer, connection) = (&*api, &*peer, &connection);
    let service = hyper::service::service_fn(move |request| async move {
        let response = api.handle(peer, request).await;
        // Only the aggregator's certificate gets as far.
        if response.status() != StatusCode::UNAUTHORIZED {
            connection.trust();
        }
        Ok::<_, Infallible>(response)
    });
    let ended = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        () = http_server::serve_http1(stream, service, HEAD_LIMITS, stop.clone()) => {}
        () = ended => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use reqwest::{Certificate, Identity};

    use super::super::resources;
    use super::super::tests::{Authority, Everybody};
    use super::*;

    /// A data API that listens, and whoever may sign for its aggregator.
    struct Listening {
        address: SocketAddr,
        server: Certificate,
        front_proxy: Authority,
        stop: CancellationToken,
        ended: tokio::task::JoinHandle<()>,
        _folder: tempfile::TempDir,
    }

    impl Listening {
        async fn start() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
            let made = made.expect("a certificate");
            let files = TlsFiles {
                certificate: folder.path().join("tls.crt"),
                key: folder.path().join("tls.key"),
            };
            std::fs::write(&files.certificate, made.cert.pem()).expect("written");
            std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
            let settings = DataApiSettings {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                certificate: DataApiCertificate::Files(files),
            };
            let server = DataApiServer::new(&settings, &Arc::default());
            let store = format!("sqlite:{}/connectors.db", folder.path().display());
            let store = crate::store::open(&store).await.expect("a store");
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("bound");
            let address = listener.local_addr().expect("an address");
            let front_proxy = Authority::new();
            let (trusted, stop) = (FrontProxyConfig::new(), CancellationToken::new());
            trusted.set(&front_proxy.config_map()).expect("a good one");
            let stopped = stop.clone();
            let server = server.map_err(|(_, why)| why).expect("a server");
            let ended = tokio::spawn(async move {
                let rights = Arc::new(Everybody);
                let resources = resources(&store, &Arc::default());
                server
                    .serve_with(listener, trusted, rights, resources, stopped)
                    .await;
            });
            Self {
                address,
                server: Certificate::from_pem(made.cert.pem().as_bytes()).expect("one"),
                front_proxy,
                stop,
                ended,
                _folder: folder,
            }
        }

        /// Asks for the group as `admin`, as whoever has this certificate.
        async fn ask(&self, identity: Option<&str>) -> reqwest::Response {
            let mut client = reqwest::Client::builder()
                .add_root_certificate(self.server.clone())
                .resolve("localhost", self.address)
                .no_proxy();
            if let Some(identity) = identity {
                let identity = Identity::from_pem(identity.as_bytes()).expect("an identity");
                client = client.identity(identity);
            }
            let url = format!(
                "https://localhost:{}/apis/{GROUP}/{VERSION}/deadletters",
                self.address.port()
            );
            let client = client.build().expect("a client");
            let request = client.get(url).header("x-remote-user", "admin");
            request.send().await.expect("an answer")
        }
    }

    #[tokio::test]
    async fn only_the_aggregators_certificate_is_served() {
        let data_api = Listening::start().await;
        let aggregator = data_api.front_proxy.client("front-proxy-client");
        assert_eq!(data_api.ask(Some(&aggregator)).await.status(), 200);
        let of_another_ca = Authority::new().client("front-proxy-client");
        let of_another_name = data_api.front_proxy.client("somebody");
        for refused in [None, Some(&*of_another_ca), Some(&*of_another_name)] {
            let answer = data_api.ask(refused).await;
            assert_eq!(answer.status(), 401, "{refused:?}");
            let status = answer.text().await.expect("a text");
            assert!(status.contains("Unauthorized"), "{status}");
        }
    }

    #[tokio::test]
    async fn open_watch_does_not_hold_up_the_end() {
        let data_api = Listening::start().await;
        let identity = data_api.front_proxy.client("front-proxy-client");
        let client = reqwest::Client::builder()
            .add_root_certificate(data_api.server.clone())
            .resolve("localhost", data_api.address)
            .identity(Identity::from_pem(identity.as_bytes()).expect("an identity"))
            .no_proxy()
            .build()
            .expect("a client");
        let url = format!(
            "https://localhost:{}/apis/{GROUP}/{VERSION}/deadletters?watch=true&resourceVersion=1",
            data_api.address.port()
        );
        let watch = client.get(url).header("x-remote-user", "admin").send();
        let watch = watch.await.expect("a watch");
        assert_eq!(watch.status(), 200);
        data_api.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), data_api.ended).await;
        ended.expect("it ends").expect("without a panic");
    }
}
