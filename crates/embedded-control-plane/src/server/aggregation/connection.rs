//! One request to a server behind the aggregator, over a TLS connection of its own: a watch would hold a shared one anyway.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{RemoteApi, front_proxy};
use crate::server::ServerState;
use crate::server::caller::Caller;
use crate::server::object::{str_at, value_at};
use crate::server::response::{self, ApiResponse, ApiResponseBody};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take to say what it serves, as kube-aggregator allows.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest such document.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// Why a server could not be asked.
#[derive(Debug)]
pub(super) enum ProxyError {
    /// The `APIService` leads nowhere.
    NoService { reason: &'static str, why: String },
    /// It cannot be used as it is written.
    Misconfigured(String),
    /// Nobody answers there, or not as they must.
    Unreachable(String),
}

impl ProxyError {
    /// What the client is answered: plain text, as kube-aggregator does.
    pub(super) fn into_response(self) -> ApiResponse {
        let (status, text) = match self {
            Self::NoService { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "service unavailable".to_owned(),
            ),
            Self::Misconfigured(why) => (StatusCode::INTERNAL_SERVER_ERROR, why),
            Self::Unreachable(why) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("error trying to reach service: {why}"),
            ),
        };
        let text = format!("{text}\n");
        response::with_media_type(status, "text/plain; charset=utf-8", text)
    }

    /// Reason and message of the condition `Available`.
    pub(super) fn condition(self, api: &RemoteApi, host: &str) -> (&'static str, String) {
        match self {
            Self::NoService { reason, why } => (reason, why),
            Self::Misconfigured(why) | Self::Unreachable(why) => {
                let url = format!("https://{host}{}", api.root());
                let why = format!("failing or missing response from {url}: Get {url:?}: {why}");
                ("FailedDiscoveryCheck", why)
            }
        }
    }
}

/// Where the service of an `APIService` is, as `host:port`.
pub(super) fn resolve(server: &ServerState, api: &RemoteApi) -> Result<String, ProxyError> {
    let nowhere = |reason: &'static str, why: String| ProxyError::NoService { reason, why };
    let (namespace, name) = (&api.service_namespace, &api.service_name);
    let service = server
        .store
        .get("services", namespace, name)
        .ok_or_else(|| {
            let why = format!("service/{name} in {namespace:?} is not present");
            nowhere("ServiceNotFound", why)
        })?
        .object();
    if str_at(&service, &["spec", "type"]) != "ExternalName" {
        let why = format!(
            "cannot find endpoints for service/{name} in {namespace:?}: only services of type ExternalName lead anywhere"
        );
        return Err(nowhere("EndpointsNotFound", why));
    }
    let host = str_at(value_at(&service, &["spec"]), &["externalName"]);
    Ok(format!("{host}:{}", api.port))
}

/// Sends a request on behalf of a caller. The answer's body arrives as the server writes it.
pub(super) async fn send(
    server: &ServerState,
    api: &RemoteApi,
    caller: &Caller,
    mut request: Request<ApiResponseBody>,
) -> Result<Response<Incoming>, ProxyError> {
    let host = resolve(server, api)?;
    let unreachable = |error: &dyn std::fmt::Display| ProxyError::Unreachable(error.to_string());
    let config = front_proxy::identity(server)
        .client_config(api)
        .map_err(ProxyError::Misconfigured)?;
    let headers = request.headers_mut();
    strip_hop_headers(headers);
    add_identity(headers, caller);
    let host_value = HeaderValue::from_str(&host).map_err(|error| unreachable(&error))?;
    headers.insert(header::HOST, host_value);
    *request.version_mut() = http::Version::HTTP_11;

    let name = format!("{}.{}.svc", api.service_name, api.service_namespace);
    let connecting = async {
        let stream = TcpStream::connect(&host)
            .await
            .map_err(|error| format!("dial tcp {host}: connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await;
        stream.map_err(|error| error.to_string())
    };
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| ProxyError::Unreachable(format!("dial tcp {host}: i/o timeout")))?
        .map_err(ProxyError::Unreachable)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(&error))?;
    // It ends when the answer has been read or nobody wants it any more.
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .map_err(|error| unreachable(&error))
}

/// Asks a server for a document of its own, or for a change that has a short answer.
pub(super) async fn call(
    server: &ServerState,
    api: &RemoteApi,
    caller: &Caller,
    request: (Method, &str, &str),
    body: &Value,
) -> Result<Document, ProxyError> {
    let (method, path, accept) = request;
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, accept);
    if !bytes.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(response::full_body(bytes))
        .map_err(|error| ProxyError::Misconfigured(error.to_string()))?;
    let asking = async {
        let answer = send(server, api, caller, request).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MAX_DOCUMENT_BYTES).collect().await;
        let bytes = body
            .map_err(|error| ProxyError::Unreachable(error.to_string()))?
            .to_bytes();
        let media = parts.headers.get(header::CONTENT_TYPE);
        let media = media.and_then(|value| value.to_str().ok());
        Ok(Document {
            status: parts.status,
            media: media.unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        })
    };
    tokio::time::timeout(DOCUMENT_TIMEOUT, asking)
        .await
        .map_err(|_| ProxyError::Unreachable("context deadline exceeded".into()))?
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Document {
    pub status: StatusCode,
    pub media: String,
    /// `Null` when it is no JSON.
    pub body: Value,
}

/// Takes away what concerns one connection only (RFC 9110 §7.6.1).
pub(super) fn strip_hop_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        headers.remove(name);
    }
}

/// Says who calls, and takes away what anybody else said of it.
fn add_identity(headers: &mut HeaderMap, caller: &Caller) {
    crate::server::caller::strip_identity(headers);
    let mut add = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    add("x-remote-user", &caller.name);
    for group in &caller.groups {
        add("x-remote-group", group);
    }
    for (key, value) in &caller.extra {
        let key: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        add(
            &format!("x-remote-extra-{}", key.replace('+', "%20")),
            value,
        );
    }
}
