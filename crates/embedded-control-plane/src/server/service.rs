//! The API as a tower service: what `kube::Client` uses directly, and what the HTTP server serves.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tower::Service;

use super::ServerState;
use super::access_review::{self, Access};
use super::faults::{FaultOutcome, RequestAttributes};
use super::kinds::Kind;
use super::request::{Query, Representation, RequestInfo, Verb};
use super::response::{self, ApiResponse, BoxError};
use super::status_error::StatusError;
use super::write::WriteRequest;
use super::{delete, discovery, openapi, read, request_log, watch};

/// The Kubernetes API of one control plane. Clones are cheap and see the same objects.
#[derive(Debug, Clone)]
pub struct ApiService {
    pub(super) server: Arc<ServerState>,
}

impl<B> Service<Request<B>> for ApiService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = ApiResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<ApiResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            handle_request(server, parts, body).await
        })
    }
}

async fn handle_request(
    server: Arc<ServerState>,
    parts: http::request::Parts,
    body: Bytes,
) -> Result<ApiResponse, BoxError> {
    if server.faults.is_down() {
        return Err(connection_refused());
    }
    let path = parts.uri.path();
    if let Some(response) = discovery::respond(&server, path, &parts.headers)
        .or_else(|| openapi::respond(&server, path))
        .or_else(|| access_review::respond(&server, path, &parts.method, &body))
    {
        return Ok(response);
    }
    let found = RequestInfo::parse(path).and_then(|info| {
        let kind = server
            .kinds()
            .find(&info.group, &info.version, &info.plural)
            .cloned()?;
        Some((info, kind))
    });
    let Some((info, kind)) = found else {
        return Ok(response::with_media_type(
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "404 page not found\n",
        ));
    };
    handle_resource_request(server, kind, info, parts, body).await
}

async fn handle_resource_request(
    server: Arc<ServerState>,
    kind: Arc<Kind>,
    info: RequestInfo,
    parts: http::request::Parts,
    body: Bytes,
) -> Result<ApiResponse, BoxError> {
    let query = match Query::parse(&parts.uri) {
        Ok(query) => query,
        Err(error) => return Ok(response::status_error(&error)),
    };
    let Some(verb) = Verb::from_request(&parts.method, &info, &query) else {
        return Ok(response::status_error(&StatusError::method_not_allowed()));
    };
    let resource = kind.resource();
    let attributes = RequestAttributes {
        verb,
        resource: &resource,
        subresource: &info.subresource,
        name: &info.name,
    };
    let outcome = server.faults.evaluate(&attributes);
    let mut record = request_log::RecordedRequest {
        verb,
        resource: resource.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        status: 0,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        user_agent: header_text(&parts, &header::USER_AGENT),
    };
    let request = ResourceRequest {
        server: &server,
        kind: &kind,
        info: &info,
        query: &query,
        verb,
        parts: &parts,
        body: &body,
    };
    let response = request.respond_with_faults(outcome).await;
    record.status = response
        .as_ref()
        .map_or(0, |response| response.status().as_u16());
    server.request_log.record(record);
    response
}

/// A request for a resource, taken apart.
struct ResourceRequest<'a> {
    server: &'a Arc<ServerState>,
    kind: &'a Arc<Kind>,
    info: &'a RequestInfo,
    query: &'a Query,
    verb: Verb,
    parts: &'a http::request::Parts,
    body: &'a [u8],
}

impl ResourceRequest<'_> {
    /// What comes of it, faults included.
    async fn respond_with_faults(&self, outcome: FaultOutcome) -> Result<ApiResponse, BoxError> {
        if !outcome.delay.is_zero() {
            tokio::time::sleep(outcome.delay).await;
        }
        if outcome.refuse_connection || self.server.faults.is_down() {
            return Err(connection_refused());
        }
        if let Some(error) = outcome.error {
            return Ok(response::status_error(&error));
        }
        let access = self.access();
        if self.server.faults.is_denied(None, &access) {
            return Ok(response::status_error(&access.forbidden()));
        }
        let done = self.dispatch();
        if outcome.drop_response {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the answer was lost (injected fault)",
            )
            .into());
        }
        Ok(done.unwrap_or_else(|error| response::status_error(&error)))
    }

    fn access(&self) -> Access<'_> {
        let mut resource = self.kind.resource();
        if !self.info.subresource.is_empty() {
            resource.push('/');
            resource.push_str(&self.info.subresource);
        }
        Access {
            verb: self.verb.as_str(),
            resource,
            namespace: &self.info.namespace,
        }
    }

    fn dispatch(&self) -> Result<ApiResponse, StatusError> {
        let Self {
            server,
            kind,
            info,
            query,
            parts,
            body,
            verb,
        } = *self;
        check_request(kind, info, &parts.method)?;
        let representation = Representation::parse(&parts.headers)?;
        let write_request = WriteRequest {
            server,
            kind,
            info,
            query,
            representation,
            headers: &parts.headers,
            body,
        };
        match verb {
            Verb::Get => read::get(server, kind, info, query, representation),
            Verb::List => read::list(server, kind, info, query, representation),
            Verb::Watch => watch::start(server, kind, info, query, representation),
            Verb::Create => write_request.create(),
            Verb::Update => write_request.replace(),
            Verb::Patch => write_request.patch(),
            Verb::Delete => delete::delete_object(server, kind, info, query, body),
            Verb::DeleteCollection => delete::delete_collection(server, kind, info, query, body),
        }
    }
}

/// A subresource that the kind has, with a method that it takes.
fn check_request(kind: &Kind, info: &RequestInfo, method: &Method) -> Result<(), StatusError> {
    let known = match info.subresource.as_str() {
        "" => true,
        "status" => kind.status && *method != Method::DELETE,
        "finalize" => kind.strategy == super::kinds::Strategy::Namespace && *method == Method::PUT,
        _ => false,
    };
    if !known {
        return Err(StatusError::not_found(kind, &info.name));
    }
    if kind.namespaced
        && info.namespace.is_empty()
        && !(info.name.is_empty() && *method == Method::GET)
    {
        return Err(StatusError::path_not_found());
    }
    if !kind.namespaced && !info.namespace.is_empty() {
        return Err(StatusError::path_not_found());
    }
    Ok(())
}

fn connection_refused() -> BoxError {
    io::Error::new(
        io::ErrorKind::ConnectionRefused,
        "connection refused (injected fault: the API server is down)",
    )
    .into()
}

fn header_text(parts: &http::request::Parts, name: &header::HeaderName) -> String {
    parts
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}
