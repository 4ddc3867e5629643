//! A list is written page by page: what 100,000 objects take at once is what 1,000 take.
//!
//! The measure is the memory that is allocated at once, which no slow machine changes.

#![allow(unreachable_pub, dead_code)] // a test binary has no outside to reach, and not all of the certificates is used

#[path = "../common/certificates.rs"]
mod certificates;

use std::sync::Arc;

use aggregated_api_server::{
    AccessAttributes, AccessDecision, ApiError, ApiGroup, ApiServer, Authorizer, Caller, Changes,
    FrontProxyConfig, ListQuery, Object, ObjectPage, Resource, ResourceDescription, ResourceVerb,
    ServerSettings,
};
use async_trait::async_trait;
use http::Request;
use http_body_util::{BodyExt, Empty};
use serde_json::json;

use crate::certificates::Authority;

/// So many lines, each made when it is asked for.
struct LineResource {
    description: ResourceDescription,
    count: usize,
}

#[async_trait]
impl Resource for LineResource {
    fn description(&self) -> &ResourceDescription {
        &self.description
    }

    async fn list(&self, query: &ListQuery) -> Result<ObjectPage, ApiError> {
        let first: usize = query
            .after
            .as_ref()
            .map_or(0, |text| text.parse().expect("ours"));
        let end = self.count.min(first + query.limit);
        let object = |number: usize| Object {
            namespace: "acme".into(),
            name: format!("line-{number:06}"),
            spec: json!({"text": "x".repeat(200)}),
            ..Object::default()
        };
        Ok(ObjectPage {
            objects: (first..end).map(object).collect(),
            next: (end < self.count).then(|| end.to_string()),
            revision: 1,
        })
    }

    async fn get(&self, _namespace: &str, _name: &str) -> Result<Object, ApiError> {
        Err(ApiError::NotFound)
    }

    async fn changes(
        &self,
        _namespace: Option<&str>,
        _after: i64,
        _limit: usize,
    ) -> Result<Changes, ApiError> {
        Ok(Changes::default())
    }
}

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

/// The greatest number of bytes that a list of `count` lines had allocated at once, and how long it was.
fn cost(count: usize, accept: &str) -> (u64, usize) {
    let authority = Authority::new();
    let front_proxy = FrontProxyConfig::new();
    front_proxy
        .set(&authority.config_map())
        .expect("a good one");
    let group = ApiGroup {
        group: "lines.example.com".into(),
        version: "v1".into(),
        product_version: String::new(),
    };
    let description = ResourceDescription {
        plural: "lines".into(),
        kind: "Line".into(),
        verbs: vec![ResourceVerb::Get, ResourceVerb::List],
        ..ResourceDescription::default()
    };
    let lines: [Arc<dyn Resource>; 1] = [Arc::new(LineResource { description, count })];
    let settings = ServerSettings::default();
    let server = ApiServer::new(group, lines, front_proxy, Arc::new(Everyone), settings);
    let peer = [authority.client("front-proxy-client").certificate];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut length = 0;
    let measured = allocation_counter::measure(|| {
        runtime.block_on(async {
            let request = Request::get("/apis/lines.example.com/v1/namespaces/acme/lines")
                .header("x-remote-user", "ann")
                .header("accept", accept)
                .body(Empty::new())
                .expect("a request");
            let response = server.handle(&peer, request).await;
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                length += frame.expect("no error").into_data().expect("data").len();
            }
        });
    });
    (measured.bytes_max, length)
}

#[test]
fn a_list_of_100_000_is_streamed_with_flat_memory() {
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for accept in ["application/json", table] {
        let (small, _) = cost(1_000, accept);
        let (large, length) = cost(100_000, accept);
        eprintln!(
            "{accept}: 1,000 objects take {small} bytes at once; 100,000 take {large}, for {length} bytes of answer"
        );
        assert!(length > 20_000_000, "all of them are sent: {length}");
        assert!(large < small + small / 4, "{accept}: {small} and {large}");
        assert!(large < 4_000_000, "{large}");
    }
}
