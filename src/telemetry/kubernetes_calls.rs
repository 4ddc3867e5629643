//! Counts every call to the Kubernetes API by verb, resource and result: a tower layer below the `kube::Client`.
//!
//! As a layer it counts the calls of libraries, such as the watches of kube-runtime, too.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

use super::Metrics;

/// The layer to add to a client's stack.
#[derive(Debug, Clone)]
pub struct KubernetesCallsLayer(pub Arc<Metrics>);

impl<S> Layer<S> for KubernetesCallsLayer {
    type Service = KubernetesCallsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        KubernetesCallsService {
            inner,
            metrics: self.0.clone(),
        }
    }
}

/// A Kubernetes API service that counts its calls.
#[derive(Debug, Clone)]
pub struct KubernetesCallsService<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, In, Out> Service<Request<In>> for KubernetesCallsService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    Out: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (verb, resource) = verb_and_resource(
            request.method(),
            request.uri().path(),
            request.uri().query().unwrap_or_default(),
        );
        let metrics = self.metrics.clone();
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await;
            let result = match &response {
                Ok(answer) => match answer.status().as_u16() {
                    200..=399 => "ok",
                    404 => "not_found",
                    409 => "conflict",
                    410 => "gone",
                    429 => "throttled",
                    400..=499 => "refused",
                    _ => "server_error",
                },
                Err(_) => "unreachable",
            };
            metrics.count_kubernetes_call(verb, resource, result);
            response
        })
    }
}

/// The resources that the operator uses, with their metric labels: the resource, and its subresources.
const RESOURCES: &[(&str, &str, &str)] = &[
    (
        "telegramconnectors",
        "telegramconnectors",
        "telegramconnectors/status",
    ),
    (
        "telegramuserlists",
        "telegramuserlists",
        "telegramuserlists/status",
    ),
    (
        "clustertelegramuserlists",
        "clustertelegramuserlists",
        "clustertelegramuserlists/status",
    ),
    ("namespaces", "namespaces", "namespaces/other"),
    ("secrets", "secrets", "secrets/other"),
    ("leases", "leases", "leases/other"),
    ("events", "events", "events/other"),
    ("configmaps", "configmaps", "configmaps/other"),
    ("apiservices", "apiservices", "apiservices/other"),
    (
        "subjectaccessreviews",
        "subjectaccessreviews",
        "subjectaccessreviews/other",
    ),
    (
        "customresourcedefinitions",
        "customresourcedefinitions",
        "customresourcedefinitions/other",
    ),
];

/// The Kubernetes verb and the resource of a request. Unknown resources share one label.
fn verb_and_resource(method: &Method, path: &str, query: &str) -> (&'static str, &'static str) {
    let mut rest = path.trim_start_matches('/').split('/');
    // "api/v1/..." or "apis/GROUP/VERSION/..."
    let prefix = if rest.next() == Some("apis") { 2 } else { 1 };
    let mut parts: Vec<&str> = rest.skip(prefix).collect();
    if parts.len() > 2 && parts[0] == "namespaces" {
        parts.drain(..2);
    }
    let known = parts
        .first()
        .and_then(|plural| RESOURCES.iter().find(|(name, ..)| name == plural));
    let resource = match (known, parts.len()) {
        (Some((_, whole, _)), 1 | 2) => whole,
        (Some((_, _, part)), _) => part,
        (None, _) => "other",
    };
    let named = parts.len() > 1;
    let verb = match *method {
        Method::GET
            if query
                .split('&')
                .any(|p| p == "watch=true" || p == "watch=1") =>
        {
            "watch"
        }
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("GET", "/api/v1/secrets?&watch=true&x=1", "watch", "secrets")]
    #[case("GET", "/api/v1/namespaces/a/secrets/s", "get", "secrets")]
    #[case("GET", "/api/v1/namespaces", "list", "namespaces")]
    #[case("GET", "/api/v1/nodes", "list", "other")]
    #[case(
        "PATCH",
        "/apis/connectors.pupau.ai/v1alpha1/namespaces/a/telegramconnectors/b/status",
        "patch",
        "telegramconnectors/status"
    )]
    #[case(
        "POST",
        "/apis/events.k8s.io/v1/namespaces/a/events",
        "create",
        "events"
    )]
    #[case(
        "PUT",
        "/apis/coordination.k8s.io/v1/namespaces/a/leases/l",
        "update",
        "leases"
    )]
    #[case("GET", "/version", "list", "other")]
    fn calls_are_named_as_kubernetes_names_them(
        #[case] method: &str,
        #[case] uri: &str,
        #[case] verb: &str,
        #[case] resource: &str,
    ) {
        let uri: http::Uri = uri.parse().unwrap();
        assert_eq!(
            verb_and_resource(
                &method.parse().unwrap(),
                uri.path(),
                uri.query().unwrap_or_default()
            ),
            (verb, resource)
        );
    }
}
