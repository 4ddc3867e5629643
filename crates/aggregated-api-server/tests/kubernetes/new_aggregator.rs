//! What a client of today is handed on by an aggregator of today: aggregated discovery and `OpenAPI` 3, which kube-apiserver 1.20 does not ask
//! for. It stands here for one that hands on everything, from a port without TLS.

use std::convert::Infallible;
use std::sync::Arc;

use aggregated_api_server::{
    AccessAttributes, AccessDecision, ApiError, ApiGroup, ApiServer, Authorizer, Caller,
    FrontProxyConfig, Resource, ServerSettings,
};
use async_trait::async_trait;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::certificates::Authority;
use crate::notes::Notes;

struct Everyone;

#[async_trait]
impl Authorizer for Everyone {
    async fn authorize(
        &self,
        _caller: &Caller,
        _attributes: &AccessAttributes,
    ) -> Result<AccessDecision, ApiError> {
        Ok(AccessDecision {
            allowed: true,
            reason: String::new(),
        })
    }
}

/// An aggregator for one user.
pub struct NewAggregator {
    pub kubeconfig: String,
    /// The paths that were asked for.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl NewAggregator {
    pub async fn start(notes: Arc<Notes>) -> Self {
        let authority = Authority::new();
        let front_proxy = FrontProxyConfig::new();
        front_proxy
            .set(&authority.config_map())
            .expect("a good one");
        let group = ApiGroup {
            group: "notes.example.com".into(),
            version: "v1".into(),
            product_version: "1.36.0".into(),
        };
        let resources: [Arc<dyn Resource>; 1] = [notes];
        let settings = ServerSettings::default();
        let server = ApiServer::new(group, resources, front_proxy, Arc::new(Everyone), settings);
        let server = Arc::new(server);
        let peer = [authority.client("front-proxy-client").certificate];
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, peer, log) = (server.clone(), peer.clone(), log.clone());
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let (server, peer) = (server.clone(), peer.clone());
                    log.lock().push(request.uri().to_string());
                    let user = HeaderValue::from_static("admin");
                    request.headers_mut().insert("x-remote-user", user);
                    async move { Ok::<_, Infallible>(server.handle(&peer, request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // A client that hangs up is no news.
                tokio::spawn(async move { connection.await.ok() });
            }
        });
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: new, cluster: {{server: \"http://127.0.0.1:{port}\"}}}}]\n\
             users: [{{name: admin, user: {{}}}}]\ncontexts: [{{name: new, context: {{cluster: new, user: admin}}}}]\ncurrent-context: new\n"
        );
        Self { kubeconfig, asked }
    }
}
