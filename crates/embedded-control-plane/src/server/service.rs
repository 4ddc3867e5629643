//! The API as a tower service: what `kube::Client` uses directly, and what the HTTP server serves.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tower::Service;

use super::ServerState;
use super::access_review::{self, Access};
use super::aggregation::{self, RemoteApi};
use super::caller::Caller;
use super::faults::{FaultOutcome, RequestAttributes};
use super::kinds::Kind;
use super::request::{Query, Representation, RequestInfo, Verb};
use super::response::{self, ApiResponse, ApiResponseBody, BoxError};
use super::status_error::StatusError;
use super::write::WriteRequest;
use super::{delete, discovery, openapi, read, request_log, watch};

/// The Kubernetes API of one control plane, as a tower service. Clones are cheap and see the same objects.
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
            let response = if let Some(api) = aggregation::remote_api_of(&server, parts.uri.path())
            {
                let body = body
                    .map_frame(|frame| {
                        frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
                    })
                    .map_err(Into::into);
                handle_proxied(Arc::clone(&server), api, parts, body.boxed_unsync()).await
            } else {
                let body = body.collect().await.map_err(Into::into)?.to_bytes();
                handle_request(Arc::clone(&server), parts, body).await
            };
            aggregation::keep_running(&server);
            response
        })
    }
}

/// A request whose path another server serves.
async fn handle_proxied(
    server: Arc<ServerState>,
    api: RemoteApi,
    parts: http::request::Parts,
    body: ApiResponseBody,
) -> Result<ApiResponse, BoxError> {
    if server.faults.is_down() {
        return Err(connection_refused());
    }
    match Caller::from_headers(&parts.headers) {
        Ok(caller) => aggregation::handle(server, api, caller, parts, body).await,
        Err(error) => Ok(response::status_error(&error)),
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
    let caller = match Caller::from_headers(&parts.headers) {
        Ok(caller) => caller,
        Err(error) => return Ok(response::status_error(&error)),
    };
    if let Some(response) = access_review::respond(&server, &caller, path, &parts.method, &body) {
        return Ok(response);
    }
    if let Some(response) = document(&server, path, &parts.headers).await {
        let reading = Access {
            verb: "get",
            path,
            ..Access::default()
        };
        return Ok(match access_review::authorize(&server, &caller, &reading) {
            Ok(()) => response,
            Err(error) => response::status_error(&error),
        });
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
    handle_resource_request(server, kind, info, caller, parts, body).await
}

/// The answer to a path that is no resource's.
async fn document(server: &ServerState, path: &str, headers: &HeaderMap) -> Option<ApiResponse> {
    if let Some(response) = discovery::respond(server, path, headers).await {
        return Some(response);
    }
    openapi::respond(server, path, headers).await
}

async fn handle_resource_request(
    server: Arc<ServerState>,
    kind: Arc<Kind>,
    info: RequestInfo,
    caller: Caller,
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
        user_agent: response::header_text(&parts.headers, &header::USER_AGENT),
    };
    let request = ResourceRequest {
        server: &server,
        kind: &kind,
        info: &info,
        query: &query,
        verb,
        caller: &caller,
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
    caller: &'a Caller,
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
        let access = Access::of_request(self.verb, self.info, self.query);
        if let Err(error) = access_review::authorize(self.server, self.caller, &access) {
            return Ok(response::status_error(&error));
        }
        let done = self.dispatch();
        if outcome.drop_response {
            return Err(lost_answer());
        }
        Ok(done.unwrap_or_else(|error| response::status_error(&error)))
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
            caller: _,
        } = *self;
        check_request(kind, info, &parts.method)?;
        if &*kind.storage == "configmaps" && info.namespace == "kube-system" && !verb.is_write() {
            aggregation::publish_front_proxy(server);
        }
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

pub(super) fn connection_refused() -> BoxError {
    io::Error::new(
        io::ErrorKind::ConnectionRefused,
        "connection refused (injected fault: the API server is down)",
    )
    .into()
}

pub(super) fn lost_answer() -> BoxError {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "the answer was lost (injected fault)",
    )
    .into()
}
