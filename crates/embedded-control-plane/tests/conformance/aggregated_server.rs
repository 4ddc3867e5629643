//! A small server behind the aggregator: it keeps notes, says who asked for them, and believes only the front proxy that the
//! cluster names.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{ApiResponse, Cluster};

/// The server, and what tells the cluster of it.
pub struct AggregatedServer {
    /// Of this test alone: real servers are shared.
    pub group: String,
    state: Arc<ServerState>,
    listening: tokio::task::JoinHandle<()>,
    port: u16,
    authority: String,
}

#[derive(Default)]
struct ServerState {
    group: String,
    notes: Mutex<BTreeMap<(String, String), Value>>,
    /// Who deleted a collection.
    deleted_by: Mutex<Vec<String>>,
    /// Lets an open watch tell its second event.
    more: Arc<Notify>,
}

type Body = BoxBody<Bytes, Infallible>;

impl AggregatedServer {
    /// Starts it with the note `one` in the test's namespace.
    pub async fn start(cluster: &Cluster) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let name = format!("notes.{}.svc", cluster.namespace);
        let params = CertificateParams::new(vec![name]).expect("a plain name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));

        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(front_proxy_ca(cluster).await.as_bytes()) {
            roots.add(authority.expect("PEM")).expect("an authority");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .expect("a verifier");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let group = format!("{}.notes.example", cluster.namespace);
        let state = Arc::new(ServerState {
            group: group.clone(),
            ..ServerState::default()
        });
        let server = Self {
            group,
            state: Arc::clone(&state),
            listening: tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), state)),
            port,
            authority,
        };
        server.add_note(&cluster.namespace, "one", &json!({}));
        server
    }

    pub fn add_note(&self, namespace: &str, name: &str, more: &Value) {
        let mut note = json!({"apiVersion": format!("{}/v1", self.group), "kind": "Note",
            "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}"), "resourceVersion": "1"}});
        for (field, value) in more.as_object().into_iter().flatten() {
            note["metadata"][field] = value.clone();
        }
        let key = (namespace.to_owned(), name.to_owned());
        self.state.notes.lock().insert(key, note);
    }

    pub fn notes_in(&self, namespace: &str) -> usize {
        let notes = self.state.notes.lock();
        notes
            .keys()
            .filter(|(inside, _)| inside == namespace)
            .count()
    }

    pub fn deleted_by(&self) -> Vec<String> {
        self.state.deleted_by.lock().clone()
    }

    /// Lets an open watch tell more.
    pub fn tell_more(&self) {
        self.state.more.notify_one();
    }

    /// Takes it away.
    pub async fn stop(&mut self) {
        self.listening.abort();
        let _ = (&mut self.listening).await;
    }

    pub fn api_service(&self) -> String {
        format!(
            "/apis/apiregistration.k8s.io/v1/apiservices/v1.{}",
            self.group
        )
    }

    /// The test's notes.
    pub fn path(&self, cluster: &Cluster) -> String {
        cluster.path(&format!("{}/v1", self.group), "notes")
    }

    /// Tells the cluster of it.
    pub async fn register(&self, cluster: &Cluster) {
        self.register_with(cluster, &self.authority).await;
    }

    /// Tells the cluster of it, with a CA that may be wrong.
    pub async fn register_with(&self, cluster: &Cluster, authority: &str) {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "notes"},
            "spec": {"type": "ExternalName", "externalName": "localhost"}});
        let path = cluster.path("v1", "services");
        cluster
            .call("POST", &path, &service)
            .await
            .expect_status(201);
        let api_service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("v1.{}", self.group)},
            "spec": {"group": self.group, "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
                "caBundle": STANDARD.encode(authority),
                "service": {"namespace": cluster.namespace, "name": "notes", "port": self.port}}});
        let root = "/apis/apiregistration.k8s.io/v1/apiservices";
        cluster
            .call("POST", root, &api_service)
            .await
            .expect_status(201);
    }

    /// Waits until the cluster says whether the server can be reached; returns the condition.
    pub async fn wait_for(&self, cluster: &Cluster, status: &str) -> Value {
        let look = || async {
            let answer = cluster.get(&self.api_service()).await;
            let all = answer.at("/status/conditions").as_array().cloned();
            all.into_iter()
                .flatten()
                .find(|one| one["type"] == "Available" && one["status"] == status)
        };
        cluster.eventually("the condition Available", look).await
    }

    /// Starts, registers and waits.
    pub async fn started(cluster: &Cluster) -> Self {
        let server = Self::start(cluster).await;
        server.register(cluster).await;
        server.wait_for(cluster, "True").await;
        // A real server proxies a moment after the condition says so.
        let look =
            || async { (cluster.get(&server.path(cluster)).await.status == 200).then_some(()) };
        cluster.eventually("the group is proxied", look).await;
        server
    }
}

async fn front_proxy_ca(cluster: &Cluster) -> String {
    let config_maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "kube-system");
    let look = || async {
        let found = config_maps.get("extension-apiserver-authentication").await;
        found.ok()?.data?.remove("requestheader-client-ca-file")
    };
    cluster
        .eventually("the front proxy's authority", look)
        .await
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<ServerState>) {
    // Connections end with this task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let peer = stream.get_ref().1.peer_certificates();
            let name = peer.map(|all| common_name(&all[0])).unwrap_or_default();
            let handler = service_fn(move |request: Request<Incoming>| {
                let (state, name) = (Arc::clone(&state), name.clone());
                async move { Ok::<_, Infallible>(state.respond(&name, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), handler)
                .await;
        });
    }
}

/// The last common name in a certificate, which is the subject's.
fn common_name(certificate: &[u8]) -> String {
    let oid = [0x06, 0x03, 0x55, 0x04, 0x03];
    let at = certificate.windows(5).rposition(|window| window == oid);
    let Some(text) = at.map(|at| &certificate[at + 6..]) else {
        return String::new();
    };
    let (length, text) = text.split_first().expect("a length");
    String::from_utf8_lossy(&text[..usize::from(*length)]).into_owned()
}

fn json_response(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let media = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", media);
    response
}

fn headers(parts: &Parts, name: &str) -> Vec<String> {
    let all = parts.headers.get_all(name).iter();
    all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect()
}

impl ServerState {
    async fn respond(&self, peer: &str, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let body = body.unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match segments.as_slice() {
            ["apis"] => json_response(
                200,
                &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
            ),
            ["apis", _, "v1"] => json_response(200, &self.resources()),
            ["openapi", ..] => json_response(200, &self.openapi(&path)),
            ["apis", _, "v1", "notes"] => self.list(&parts, ""),
            ["apis", _, "v1", "namespaces", namespace, "notes"] => match parts.method {
                Method::POST => {
                    let mut note: Value = serde_json::from_slice(&body).unwrap_or_default();
                    note["seen"] = self.seen(peer, &parts);
                    json_response(201, &note)
                }
                Method::DELETE => {
                    let by = headers(&parts, "x-remote-user").concat();
                    self.deleted_by.lock().push(by);
                    let mut notes = self.notes.lock();
                    notes.retain(|(inside, _), _| inside != namespace);
                    json_response(
                        200,
                        &json!({"kind": "NoteList", "apiVersion": format!("{}/v1", self.group), "metadata": {}, "items": []}),
                    )
                }
                _ if parts
                    .uri
                    .query()
                    .is_some_and(|query| query.contains("watch=")) =>
                {
                    self.watch()
                }
                _ => self.list(&parts, namespace),
            },
            ["apis", _, "v1", "namespaces", namespace, "notes", name] => {
                let key = ((*namespace).to_owned(), (*name).to_owned());
                let found = if parts.method == Method::DELETE {
                    self.notes.lock().remove(&key)
                } else {
                    self.notes.lock().get(&key).cloned()
                };
                match found {
                    Some(note) if accepts(&parts, "as=Table") => {
                        json_response(200, &table(&[note]))
                    }
                    Some(mut note) => {
                        note["seen"] = self.seen(peer, &parts);
                        json_response(200, &note)
                    }
                    None => json_response(
                        404,
                        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "reason": "NotFound", "message": "notes not found", "code": 404}),
                    ),
                }
            }
            _ => json_response(
                404,
                &json!({"kind": "Status", "apiVersion": "v1", "code": 404}),
            ),
        }
    }

    /// Who asked, and how.
    #[allow(clippy::unused_self)] // beside its siblings
    fn seen(&self, peer: &str, parts: &Parts) -> Value {
        let others: Vec<String> = parts
            .headers
            .keys()
            .map(ToString::to_string)
            .filter(|name| name.starts_with("impersonate") || name == "authorization")
            .collect();
        json!({"certificate": peer, "user": headers(parts, "x-remote-user"), "groups": headers(parts, "x-remote-group"),
            "reason": headers(parts, "x-remote-extra-reason"), "accept": headers(parts, "accept"), "others": others,
            "query": parts.uri.query()})
    }

    fn resources(&self) -> Value {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{}/v1", self.group), "resources": [
            {"name": "notes", "singularName": "note", "namespaced": true, "kind": "Note", "shortNames": ["nt"],
                "verbs": ["get", "list", "watch", "create", "delete", "deletecollection"]},
            {"name": "notes/words", "singularName": "", "namespaced": true, "kind": "Note", "verbs": ["get"]},
        ]})
    }

    fn openapi(&self, path: &str) -> Value {
        let root = format!("apis/{}/v1", self.group);
        let note = json!({"type": "object", "description": "A note.", "x-kubernetes-group-version-kind":
            [{"group": self.group, "version": "v1", "kind": "Note"}]});
        let paths = json!({format!("/{root}/namespaces/{{namespace}}/notes"): {"get": {"responses": {"200": {"description": "OK"}}}}});
        match path {
            "/openapi/v2" => {
                json!({"swagger": "2.0", "info": {"title": "notes", "version": "1"}, "paths": paths,
                "definitions": {"example.notes.v1.Note": note}})
            }
            "/openapi/v3" => {
                json!({"paths": {root.clone(): {"serverRelativeURL": format!("/openapi/v3/{root}?hash=abc")}}})
            }
            _ => {
                json!({"openapi": "3.0.0", "info": {"title": "notes", "version": "1"}, "paths": paths,
                "components": {"schemas": {"example.notes.v1.Note": note}}})
            }
        }
    }

    fn list(&self, parts: &Parts, namespace: &str) -> Response<Body> {
        let notes = self.notes.lock();
        let inside = notes
            .iter()
            .filter(|((inside, _), _)| namespace.is_empty() || inside == namespace);
        let items: Vec<Value> = inside.map(|(_, note)| note.clone()).collect();
        if accepts(parts, "as=Table") {
            return json_response(200, &table(&items));
        }
        let (kind, version) = if accepts(parts, "as=PartialObjectMetadataList") {
            ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned())
        } else {
            ("NoteList", format!("{}/v1", self.group))
        };
        json_response(
            200,
            &json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}),
        )
    }

    /// One event at once, and one when the test says so.
    fn watch(&self) -> Response<Body> {
        let event = |name: &str| {
            let event = json!({"type": "ADDED", "object": {"apiVersion": format!("{}/v1", self.group), "kind": "Note",
                "metadata": {"name": name}}});
            format!("{event}\n")
        };
        let (first, second) = (event("first"), event("second"));
        let (send, receive) = futures::channel::mpsc::unbounded();
        let _ = send.unbounded_send(first);
        let more = Arc::clone(&self.more);
        tokio::spawn(async move {
            more.notified().await;
            let _ = send.unbounded_send(second);
        });
        let frames = receive.map(|line| Ok::<_, Infallible>(Frame::data(Bytes::from(line))));
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
        let media = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", media);
        response
    }
}

fn accepts(parts: &Parts, what: &str) -> bool {
    headers(parts, "accept").concat().contains(what)
}

fn table(notes: &[Value]) -> Value {
    let rows: Vec<Value> = notes
        .iter()
        .map(|note| json!({"cells": [note["metadata"]["name"], "blue"], "object": {"kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1", "metadata": note["metadata"]}}))
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "1"}, "columnDefinitions": [
        {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
        {"name": "Color", "type": "string", "format": "", "description": "", "priority": 0}], "rows": rows})
}

/// A GET as another user, with further headers.
pub async fn get_with(cluster: &Cluster, path: &str, headers: &[(&str, &str)]) -> ApiResponse {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    cluster
        .send(request.body(Vec::new()).expect("a request"))
        .await
}
