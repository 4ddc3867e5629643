//! A server around notes, and a client of it.

use std::sync::Arc;
use std::time::Duration;

use aggregated_api_server::{
    AccessAttributes, AccessDecision, ApiBody, ApiError, ApiGroup, ApiServer, Authorizer, Caller,
    FrontProxyConfig, ServerSettings,
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use crate::certificates::Authority;
use crate::notes::Notes;

pub const ROOT: &str = "/apis/notes.example.com/v1";

/// Long enough for a slow machine; what waits longer has failed.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// `admin` may do everything, `member` in the namespace `acme` only, nobody else anything.
#[derive(Default)]
pub struct Rules {
    pub asked: Mutex<Vec<AccessAttributes>>,
}

#[async_trait]
impl Authorizer for Rules {
    async fn authorize(
        &self,
        caller: &Caller,
        attributes: &AccessAttributes,
    ) -> Result<AccessDecision, ApiError> {
        self.asked.lock().push(attributes.clone());
        let allowed = match caller.user.as_str() {
            "admin" => true,
            "member" => attributes.namespace == "acme",
            "lost" => return Err(ApiError::unavailable("no kube-apiserver")),
            _ => false,
        };
        Ok(AccessDecision {
            allowed,
            reason: String::new(),
        })
    }
}

pub struct Fixture {
    pub server: Arc<ApiServer>,
    pub notes: Arc<Notes>,
    pub rules: Arc<Rules>,
    pub authority: Authority,
    peer: Vec<CertificateDer<'static>>,
}

/// An answer that has been read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code, the reason and the message of a refusal.
    pub fn refusal(&self) -> (u16, String, String) {
        let status = self.json();
        assert_eq!(status["kind"], "Status", "{status}");
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["code"], self.status.as_u16());
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), text("reason"), text("message"))
    }

    /// The names in a list or in the first column of a table.
    pub fn names(&self) -> Vec<String> {
        let list = self.json();
        let items = list["items"].as_array().or(list["rows"].as_array());
        let items = items.unwrap_or_else(|| panic!("no list: {list}"));
        let name = |item: &Value| {
            let name = item["cells"].get(0).unwrap_or(&item["metadata"]["name"]);
            name.as_str().expect("a name").to_owned()
        };
        items.iter().map(name).collect()
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(ServerSettings {
            watch_interval: Duration::from_millis(5),
            ..ServerSettings::default()
        })
    }

    pub fn with(settings: ServerSettings) -> Self {
        let authority = Authority::new();
        let front_proxy = FrontProxyConfig::new();
        front_proxy
            .set(&authority.config_map())
            .expect("a good one");
        let notes = Notes::new();
        let rules = Arc::new(Rules::default());
        let group = ApiGroup {
            group: "notes.example.com".into(),
            version: "v1".into(),
            product_version: "1.2.3".into(),
        };
        let resources: [Arc<dyn aggregated_api_server::Resource>; 1] = [notes.clone()];
        let server = ApiServer::new(group, resources, front_proxy, rules.clone(), settings);
        Self {
            server: Arc::new(server),
            peer: vec![authority.client("front-proxy-client").certificate],
            notes,
            rules,
            authority,
        }
    }

    /// Sends a request; `path` after the version unless it begins with a slash.
    pub async fn send(
        &self,
        user: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<ApiBody> {
        let uri = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("{ROOT}/{path}"),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("x-remote-user", user);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        self.server.handle(&self.peer, request).await
    }

    pub async fn call(
        &self,
        user: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let response = self.send(user, method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).expect("text"),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("admin", "GET", path, &[], "").await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.call("admin", "GET", path, &[("accept", accept)], "")
            .await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.call("admin", "POST", path, &json, body.to_string())
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("admin", "DELETE", path, &[], "").await
    }
}
