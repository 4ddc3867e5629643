//! What is asked of kube-apiserver: who the aggregator is, and who may do what. The answers are made up here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aggregated_api_server::{
    AccessAttributes, ApiError, Authorizer, Caller, FrontProxyConfig, SubjectAccessReviewer,
};
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::fixture::WAIT_TIMEOUT;

/// A kube-apiserver that gives these answers, one after the other, and keeps what it was asked. After the last one it says nothing.
#[derive(Clone, Default)]
struct Kubernetes {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Kubernetes {
    fn answering(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            asked: Arc::default(),
        }
    }

    fn client(&self) -> kube::Client {
        let own = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| own.clone().answer(request));
        kube::Client::new(service, "default")
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        let uri = request.uri().to_string();
        let body = request.into_body().collect().await;
        let body = body.expect("a whole body").to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        self.asked.lock().push((uri, body));
        let answer = self.answers.lock().pop_front();
        let Some((code, value)) = answer else {
            return std::future::pending().await;
        };
        let response = Response::builder().status(code);
        let body = Body::from(value.to_string().into_bytes());
        Ok(response.body(body).expect("a response"))
    }
}

fn review(allowed: bool) -> (u16, Value) {
    let status = json!({"allowed": allowed, "reason": "RBAC says so"});
    (
        201,
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}, "status": status}),
    )
}

fn member() -> Caller {
    Caller {
        user: "member".into(),
        uid: "7".into(),
        groups: vec!["writers".into()],
        extra: [("scopes".to_owned(), vec!["one".to_owned()])].into(),
    }
}

fn reading(name: &str) -> AccessAttributes {
    AccessAttributes {
        verb: "get".into(),
        group: "notes.example.com".into(),
        version: "v1".into(),
        resource: "notes".into(),
        subresource: "words".into(),
        namespace: "acme".into(),
        name: name.into(),
    }
}

#[tokio::test]
async fn a_review_tells_everything_and_is_remembered() {
    let kubernetes = Kubernetes::answering([review(true), review(false)]);
    let reviewer = SubjectAccessReviewer::new(kubernetes.client());
    for _ in 0..3 {
        let decision = reviewer.authorize(&member(), &reading("n")).await;
        assert!(decision.expect("a decision").allowed);
    }
    let (uri, asked) = kubernetes.asked.lock().pop().expect("it was asked");
    assert!(
        uri.contains("/apis/authorization.k8s.io/v1/subjectaccessreviews"),
        "{uri}"
    );
    let expected = json!({"user": "member", "uid": "7", "groups": ["writers"], "extra": {"scopes": ["one"]},
        "resourceAttributes": {"verb": "get", "group": "notes.example.com", "version": "v1", "resource": "notes",
            "subresource": "words", "namespace": "acme", "name": "n"}});
    assert_eq!(asked["spec"], expected);
    assert!(kubernetes.asked.lock().is_empty(), "it was asked once");
    let other = reviewer.authorize(&member(), &reading("m")).await;
    let other = other.expect("a decision");
    assert_eq!(
        (other.allowed, other.reason.as_str()),
        (false, "RBAC says so")
    );
}

#[tokio::test]
async fn no_answer_to_a_review_is_no_permission() {
    let error = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "no", "reason": "InternalError"});
    let kubernetes = Kubernetes::answering([(500, error), review(true)]);
    let reviewer = SubjectAccessReviewer::new(kubernetes.client());
    let refused = reviewer.authorize(&member(), &reading("n")).await;
    assert!(
        matches!(refused, Err(ApiError::Unavailable { .. })),
        "{refused:?}"
    );
    let again = reviewer.authorize(&member(), &reading("n")).await;
    assert!(
        again.expect("a decision").allowed,
        "an error is not remembered"
    );
}

#[tokio::test]
async fn the_aggregators_identity_is_followed() {
    let authority = Authority::new();
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": authority.config_map(),
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system", "resourceVersion": "1"}});
    let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": [config_map]});
    let denied = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "message": "no", "reason": "Forbidden"});
    // Refused at first, as long as the right to read it lacks.
    let kubernetes = Kubernetes::answering([(403, denied), (200, list)]);
    let front_proxy = FrontProxyConfig::new();
    let followed = front_proxy.clone();
    let client = kubernetes.client();
    let following = tokio::spawn(async move { followed.follow(client).await });
    let ready = async {
        while !front_proxy.is_ready() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, ready)
        .await
        .expect("in time");
    following.abort();
    let (uri, _) = kubernetes.asked.lock()[0].clone();
    assert!(uri.contains("/namespaces/kube-system/configmaps?"), "{uri}");
    assert!(
        uri.contains("metadata.name%3Dextension-apiserver-authentication"),
        "{uri}"
    );
}
