//! Everything that can be read without a resource: discovery, `OpenAPI`, health and the version. It is written once, so that it is answered
//! although the storage is away.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::continue_token::fingerprint;
use crate::description::ResourceDescription;
use crate::discovery;
use crate::negotiation::accept;
use crate::openapi::{self, Edition};
use crate::response::{self, ApiResponse};
use crate::status::StatusError;

/// A document as it is sent.
#[derive(Debug)]
struct Document {
    text: String,
    etag: String,
}

/// All documents.
#[derive(Debug)]
pub(crate) struct Documents {
    group_name: String,
    api_version: String,
    groups: Document,
    group: Document,
    resources: Document,
    aggregated_v2: Document,
    aggregated_v2beta1: Document,
    openapi_v2: Document,
    openapi_v3_index: Document,
    openapi_v3: Document,
    version: Document,
    root: Document,
}

impl Document {
    fn new(value: &Value) -> Self {
        let text = value.to_string();
        Self {
            etag: format!("{:016X}", fingerprint(&[&text])),
            text,
        }
    }

    /// With an `ETag`; 304 if the client has it already.
    fn response(&self, headers: &HeaderMap, media: &'static str) -> ApiResponse {
        let quoted = format!("\"{}\"", self.etag);
        let known = headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().trim_start_matches("W/") == quoted);
        let mut response = if known {
            response::with_body(StatusCode::NOT_MODIFIED, media, response::whole(""))
        } else {
            response::with_body(StatusCode::OK, media, response::whole(self.text.clone()))
        };
        if let Ok(etag) = HeaderValue::from_str(&quoted) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

impl Documents {
    pub(crate) fn new(
        group: &str,
        version: &str,
        product_version: &str,
        all: &[&ResourceDescription],
    ) -> Self {
        let aggregated =
            |form: &str| Document::new(&discovery::aggregated(form, group, version, all));
        let openapi_v3 = Document::new(&openapi::document(Edition::V3, group, version, all));
        let place = format!("apis/{group}/{version}");
        let url = format!("/openapi/v3/{place}?hash={}", openapi_v3.etag);
        let paths = json!([
            "/apis",
            format!("/apis/{group}"),
            format!("/{place}"),
            "/healthz",
            "/livez",
            "/openapi/v2",
            "/openapi/v3",
            format!("/openapi/v3/{place}"),
            "/readyz",
            "/version"
        ]);
        Self {
            group_name: group.to_owned(),
            api_version: version.to_owned(),
            groups: Document::new(&discovery::groups(group, version)),
            group: Document::new(&discovery::group(group, version)),
            resources: Document::new(&discovery::resources(group, version, all)),
            aggregated_v2: aggregated("v2"),
            aggregated_v2beta1: aggregated("v2beta1"),
            openapi_v2: Document::new(&openapi::document(Edition::V2, group, version, all)),
            openapi_v3_index: Document::new(&json!({"paths": {place: {"serverRelativeURL": url}}})),
            openapi_v3,
            version: Document::new(
                &json!({"major": "1", "minor": "0", "gitVersion": format!("v{product_version}"), "gitCommit": "", "gitTreeState": "",
                    "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux"}),
            ),
            root: Document::new(&json!({"paths": paths})),
        }
    }

    /// Answers a path that belongs to no resource; `None` for every other.
    pub(crate) fn respond(
        &self,
        segments: &[&str],
        headers: &HeaderMap,
    ) -> Option<Result<ApiResponse, StatusError>> {
        const JSON: &str = "application/json";
        let ours =
            |group: &str, version: &str| group == self.group_name && version == self.api_version;
        let accept = accept(headers);
        Some(Ok(match segments {
            ["healthz" | "livez" | "readyz", ..] => response::with_body(
                StatusCode::OK,
                "text/plain; charset=utf-8",
                response::whole("ok"),
            ),
            [] => self.root.response(headers, JSON),
            ["version"] => self.version.response(headers, JSON),
            ["apis"] => match discovery::aggregated_version(&accept) {
                Some("v2") => self.aggregated_v2.response(
                    headers,
                    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                ),
                Some(_) => self.aggregated_v2beta1.response(
                    headers,
                    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
                ),
                None if !takes_json(&accept) => return Some(Err(StatusError::not_acceptable())),
                None => self.groups.response(headers, JSON),
            },
            ["apis", group] if *group == self.group_name => self.group.response(headers, JSON),
            ["apis", group, version] if ours(group, version) => {
                self.resources.response(headers, JSON)
            }
            ["openapi", "v2"] if !takes_json(&accept) => {
                return Some(Err(StatusError::not_acceptable()));
            }
            ["openapi", "v2"] => self.openapi_v2.response(headers, JSON),
            ["openapi", "v3"] => self.openapi_v3_index.response(headers, JSON),
            ["openapi", "v3", "apis", group, version] if ours(group, version) => {
                self.openapi_v3.response(headers, JSON)
            }
            _ => return None,
        }))
    }
}

/// Whether a client can read JSON at all.
fn takes_json(accept: &str) -> bool {
    accept.trim().is_empty()
        || accept.split(',').any(|clause| {
            let media = clause.split(';').next().unwrap_or_default().trim();
            matches!(media, "application/json" | "application/*" | "*/*")
        })
}
