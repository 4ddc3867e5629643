//! Requests that go on to another server: authorized here as on a real cluster, then sent as they came, streams in both
//! directions included.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;

use super::RemoteApi;
use super::connection::{self, ProxyError};
use crate::server::ServerState;
use crate::server::access_review::{self, Access};
use crate::server::caller::Caller;
use crate::server::faults::RequestAttributes;
use crate::server::request::{Query, RequestInfo, Verb};
use crate::server::request_log::RecordedRequest;
use crate::server::response::{self, ApiResponse, ApiResponseBody, BoxError};
use crate::server::service::{connection_refused, lost_answer};
use crate::server::status_error::StatusError;

/// So much of the body of a refused request is read.
const MAX_REFUSED_BODY: usize = 1024 * 1024;

/// Answers a request for a path that `api` serves.
pub(in crate::server) async fn handle(
    server: Arc<ServerState>,
    api: RemoteApi,
    caller: Caller,
    parts: Parts,
    body: ApiResponseBody,
) -> Result<ApiResponse, BoxError> {
    let path = parts.uri.path().to_owned();
    let Some((info, verb, query)) = resource_request(&parts) else {
        let access = Access {
            verb: access_verb(&parts.method),
            path: &path,
            ..Access::default()
        };
        if let Err(error) = access_review::authorize(&server, &caller, &access) {
            return Ok(refuse(&error, body).await);
        }
        return Ok(forward(&server, &api, &caller, parts, body).await);
    };
    let resource = format!("{}.{}", info.plural, info.group);
    let outcome = server.faults.evaluate(&RequestAttributes {
        verb,
        resource: &resource,
        subresource: &info.subresource,
        name: &info.name,
    });
    let mut record = RecordedRequest {
        verb,
        resource,
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        status: 0,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        user_agent: response::header_text(&parts.headers, &header::USER_AGENT),
    };
    if !outcome.delay.is_zero() {
        tokio::time::sleep(outcome.delay).await;
    }
    let response = if outcome.refuse_connection || server.faults.is_down() {
        Err(connection_refused())
    } else if let Some(error) = &outcome.error {
        Ok(response::status_error(error))
    } else if let Err(error) =
        access_review::authorize(&server, &caller, &Access::of_request(verb, &info, &query))
    {
        Ok(refuse(&error, body).await)
    } else {
        let response = forward(&server, &api, &caller, parts, body).await;
        if outcome.drop_response {
            Err(lost_answer())
        } else {
            Ok(response)
        }
    };
    record.status = response
        .as_ref()
        .map_or(0, |response| response.status().as_u16());
    server.request_log.record(record);
    response
}

/// The answer to a request that may not go on. What the client sends is read all the same: one that is still writing when the connection ends
/// sees a broken pipe, not the answer.
async fn refuse(error: &StatusError, mut body: ApiResponseBody) -> ApiResponse {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await
        && bytes < MAX_REFUSED_BODY
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    response::status_error(error)
}

/// The resource that is asked for and what is done; `None` for the documents at the root of a group.
fn resource_request(parts: &Parts) -> Option<(RequestInfo, Verb, Query)> {
    if !parts.uri.path().starts_with("/apis/") {
        return None;
    }
    // Whatever lies below a subresource belongs to it.
    let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let longest = if segments.get(3) == Some(&"namespaces") && segments.len() > 5 {
        8
    } else {
        6
    };
    let path = segments[..segments.len().min(longest)].join("/");
    let info = RequestInfo::parse(&path)?;
    let query = Query::parse(&parts.uri).unwrap_or_default();
    let verb = match parts.method {
        // A subresource of an object can be created.
        Method::POST => Verb::Create,
        _ => Verb::from_request(&parts.method, &info, &query)?,
    };
    Some((info, verb, query))
}

fn access_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

async fn forward(
    server: &ServerState,
    api: &RemoteApi,
    caller: &Caller,
    parts: Parts,
    body: ApiResponseBody,
) -> ApiResponse {
    if parts.headers.contains_key(header::UPGRADE) {
        let error = StatusError::injected(
            400,
            "connections are not upgraded on their way to another server",
        );
        return response::status_error(&error);
    }
    if !api.is_available {
        let text = "service unavailable\n";
        let media = "text/plain; charset=utf-8";
        return response::with_media_type(StatusCode::SERVICE_UNAVAILABLE, media, text);
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let mut request = Request::builder().method(parts.method).uri(target);
    if let Some(headers) = request.headers_mut() {
        *headers = parts.headers;
    }
    let sent = match request.body(body) {
        Ok(request) => connection::send(server, api, caller, request).await,
        Err(error) => Err(ProxyError::Misconfigured(error.to_string())),
    };
    match sent {
        Ok(answer) => {
            let (mut parts, body) = answer.into_parts();
            connection::strip_hop_headers(&mut parts.headers);
            ApiResponse::from_parts(parts, body.map_err(Into::into).boxed_unsync())
        }
        Err(error) => {
            // Whether it is there at all shows now, not at the next look.
            server.aggregation.wake();
            error.into_response()
        }
    }
}
