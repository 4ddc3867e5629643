//! The server: who asks, whether they may, and who answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use crate::audit::AuditLine;
use crate::body;
use crate::caller::{AccessAttributes, Authorizer, Caller};
use crate::description::{ResourceVerb, SubresourceVerb};
use crate::documents::Documents;
use crate::front_proxy::FrontProxyConfig;
use crate::list::{self, Scope};
use crate::negotiation::Representation;
use crate::request::{self, Parameters, ResourcePath};
use crate::resource::Resource;
use crate::response::{self, ApiBody, ApiResponse, BoxError};
use crate::selector::Selector;
use crate::served::Served;
use crate::status::StatusError;
use crate::watch::{self, HubSettings, WatchHub, WatchTimes};
use crate::write::Operation;

/// Bounds of the server.
#[derive(Debug, Clone, Copy)]
pub struct ServerSettings {
    /// How much a client may send. 1 MiB.
    pub body_limit: usize,
    /// How long a request may take, watches and what follows the first page of a list aside. 60 s.
    pub request_timeout: Duration,
    /// How often the storage is asked for changes while somebody watches. 500 ms.
    pub watch_interval: Duration,
    /// How long a watch lasts, unless the client says how long. 30 min.
    pub watch_timeout: Duration,
    /// How many of the latest changes are kept for watches, per resource. 2048.
    pub watch_ring: usize,
    /// How many watches there may be per resource. 1000.
    pub watches: usize,
    /// How long the client of a watch may read nothing of what waits for it, before the watch ends. 30 s.
    pub watch_stall: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            body_limit: 1 << 20,
            request_timeout: Duration::from_mins(1),
            watch_interval: Duration::from_millis(500),
            watch_timeout: Duration::from_mins(30),
            watch_ring: 2048,
            watches: 1000,
            watch_stall: Duration::from_secs(30),
        }
    }
}

/// One version of an API group, behind kube-apiserver's aggregator.
pub struct ApiServer {
    group: String,
    version: String,
    resources: HashMap<String, Arc<Served>>,
    documents: Documents,
    front_proxy: Arc<FrontProxyConfig>,
    authorizer: Arc<dyn Authorizer>,
    settings: ServerSettings,
}

/// The group that is served, and by what.
#[derive(Debug, Clone, Default)]
pub struct ApiGroup {
    /// As in `data.example.com`.
    pub group: String,
    /// As in `v1alpha1`.
    pub version: String,
    /// The version of the program, for `/version`.
    pub product_version: String,
}

/// A request while it is answered.
pub(crate) struct ResourceRequest<'a> {
    method: &'a Method,
    headers: &'a http::HeaderMap,
    pub path: ResourcePath,
    pub parameters: Parameters,
    pub caller: Caller,
    pub verb: &'static str,
    /// Whether a body says that nothing is to be done; a query may say so, too.
    pub dry_run_in_body: AtomicBool,
}

impl ApiServer {
    /// Serves `resources`.
    pub fn new(
        group: ApiGroup,
        resources: impl IntoIterator<Item = Arc<dyn Resource>>,
        front_proxy: Arc<FrontProxyConfig>,
        authorizer: Arc<dyn Authorizer>,
        settings: ServerSettings,
    ) -> Self {
        let hub = HubSettings {
            interval: settings.watch_interval,
            ring: settings.watch_ring,
            watches: settings.watches,
        };
        let served: Vec<Arc<Served>> = resources
            .into_iter()
            .map(|resource| {
                Arc::new(Served {
                    group: group.group.clone(),
                    version: group.version.clone(),
                    hub: WatchHub::new(resource.clone(), hub),
                    resource,
                })
            })
            .collect();
        let descriptions: Vec<_> = served.iter().map(|one| one.description()).collect();
        let documents = Documents::new(
            &group.group,
            &group.version,
            &group.product_version,
            &descriptions,
        );
        let resources = served
            .iter()
            .map(|one| (one.description().plural.clone(), one.clone()))
            .collect();
        Self {
            group: group.group,
            version: group.version,
            resources,
            documents,
            front_proxy,
            authorizer,
            settings,
        }
    }

    /// How many watches there are now.
    pub fn watches(&self) -> usize {
        self.resources.values().map(|one| one.hub.watches()).sum()
    }

    /// Answers a request that came over a TLS connection on which the client showed the certificates `peer` (its own first; empty if
    /// none). The connection has to be one of a [`client_certificate_verifier`](crate::client_certificate_verifier): that the client has
    /// the key of the certificate is believed.
    pub async fn handle<B>(
        &self,
        peer: &[CertificateDer<'_>],
        request: Request<B>,
    ) -> Response<ApiBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let answer = self.answer(peer, request).await;
        answer.unwrap_or_else(|error| response::refusal(&error))
    }

    async fn answer<B>(
        &self,
        peer: &[CertificateDer<'_>],
        request: Request<B>,
    ) -> Result<ApiResponse, StatusError>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let caller = self
            .front_proxy
            .authenticate(peer, &parts.headers)
            .map_err(|why| {
                tracing::debug!(%why, "a request to the aggregated API was refused");
                StatusError::unauthorized()
            })?;
        let segments: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
        let segments = segments.strip_suffix(&[""]).unwrap_or(&segments);
        if let Some(response) = self.documents.respond(segments, &parts.headers) {
            return match parts.method {
                Method::GET | Method::HEAD => response,
                _ => Err(StatusError::method_not_allowed()),
            };
        }
        let path = match segments {
            ["apis", group, version, rest @ ..]
                if *group == self.group && *version == self.version =>
            {
                ResourcePath::parse(rest).ok_or_else(StatusError::path_not_found)?
            }
            _ => return Err(StatusError::path_not_found()),
        };
        let parameters = Parameters::parse(parts.uri.query());
        let verb = request::verb(&parts.method, &path, parameters.flag("watch"))
            .ok_or_else(StatusError::method_not_allowed)?;
        let asked = ResourceRequest {
            method: &parts.method,
            headers: &parts.headers,
            path,
            parameters,
            caller,
            verb,
            dry_run_in_body: AtomicBool::new(false),
        };
        let line = AuditLine::new(&asked);
        let answered = self.authorize_and_carry_out(&asked, body);
        let answer = tokio::time::timeout(self.settings.request_timeout, answered)
            .await
            .unwrap_or_else(|_| Err(StatusError::timeout()));
        line.write(match &answer {
            Ok(response) => response.status().as_u16(),
            Err(error) => error.code,
        });
        answer
    }

    async fn authorize_and_carry_out<B>(
        &self,
        asked: &ResourceRequest<'_>,
        body: B,
    ) -> Result<ApiResponse, StatusError>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let path = &asked.path;
        let served = self.resources.get(&path.resource);
        let served = served.ok_or_else(StatusError::path_not_found)?;
        let description = served.description();
        let parameters = &asked.parameters;
        let is_collection = matches!(asked.verb, "list" | "watch" | "deletecollection");
        let mut selector = if is_collection {
            let labels = parameters.text("labelSelector");
            Selector::parse(description, labels, parameters.text("fieldSelector"))?
        } else {
            Selector::default()
        };
        if is_collection && !path.name.is_empty() {
            selector = selector.with_name(&path.name);
        }
        self.authorize(asked, served, selector.name()).await?;

        if !path.subresource.is_empty() && description.subresource(&path.subresource).is_none() {
            return Err(StatusError::path_not_found());
        }
        if !has_verb(served, asked) {
            return Err(StatusError::method_not_allowed());
        }
        let include = parameters.get("includeObject");
        let representation = Representation::choose(asked.headers, include)?;
        let body = if matches!(*asked.method, Method::POST | Method::DELETE) {
            body::parse(
                asked.headers,
                &body::read(body, self.settings.body_limit).await?,
            )?
        } else {
            Value::Null
        };
        let dry_run = body["dryRun"] == serde_json::json!(["All"]);
        asked.dry_run_in_body.store(dry_run, Ordering::Relaxed);
        let scope = Scope {
            namespace: (!path.namespace.is_empty()).then(|| path.namespace.clone()),
            selector,
        };
        self.carry_out(asked, served, scope, representation, body)
            .await
    }

    async fn carry_out(
        &self,
        asked: &ResourceRequest<'_>,
        served: &Arc<Served>,
        scope: Scope,
        representation: Representation,
        body: Value,
    ) -> Result<ApiResponse, StatusError> {
        let path = &asked.path;
        let parameters = &asked.parameters;
        let timeout = self.settings.request_timeout;
        let operation = Operation {
            served,
            caller: &asked.caller,
            path,
            parameters,
            body,
        };
        match (asked.verb, path.subresource.is_empty()) {
            ("list", _) => list::respond(served, scope, parameters, representation, timeout).await,
            ("watch", _) => {
                let times = WatchTimes {
                    watch: self.settings.watch_timeout,
                    page: timeout,
                    stall: self.settings.watch_stall,
                };
                watch::respond(served, scope, parameters, representation, times).await
            }
            ("get", true) => {
                let read = served.resource.get(&path.namespace, &path.name).await;
                let object = read.map_err(|error| served.error(error, &path.name))?;
                let value = crate::encoding::object(served, &object, representation);
                Ok(response::json(http::StatusCode::OK, &value))
            }
            ("get", false) => operation.get_subresource().await,
            ("create", true) => operation.create(representation).await,
            ("create", false) => operation.create_subresource().await,
            ("delete", true) => operation.delete().await,
            ("deletecollection", true) => operation.delete_collection(scope, timeout).await,
            _ => Err(StatusError::method_not_allowed()),
        }
    }

    async fn authorize(
        &self,
        asked: &ResourceRequest<'_>,
        served: &Served,
        selected_name: Option<&str>,
    ) -> Result<(), StatusError> {
        let path = &asked.path;
        let name = match path.name.as_str() {
            "" => selected_name.unwrap_or_default(),
            name => name,
        };
        let attributes = AccessAttributes {
            verb: asked.verb.to_owned(),
            group: self.group.clone(),
            version: self.version.clone(),
            resource: path.resource.clone(),
            subresource: path.subresource.clone(),
            namespace: path.namespace.clone(),
            name: name.to_owned(),
        };
        let decided = self.authorizer.authorize(&asked.caller, &attributes).await;
        let decision = decided.map_err(|error| served.error(error, name))?;
        if decision.allowed {
            return Ok(());
        }
        Err(StatusError::forbidden(
            &asked.caller,
            &attributes,
            &decision.reason,
            served.subject(name),
        ))
    }
}

/// Whether the resource can be treated so, at this path.
fn has_verb(served: &Served, asked: &ResourceRequest<'_>) -> bool {
    let path = &asked.path;
    let description = served.description();
    if let Some(part) = description.subresource(&path.subresource) {
        return match asked.verb {
            "get" => part.verbs.contains(&SubresourceVerb::Get),
            "create" => part.verbs.contains(&SubresourceVerb::Create),
            _ => false,
        };
    }
    let (verb, everywhere) = match asked.verb {
        "get" => (ResourceVerb::Get, false),
        "list" => (ResourceVerb::List, true),
        "watch" => (ResourceVerb::Watch, true),
        "create" if path.name.is_empty() => (ResourceVerb::Create, false),
        "delete" => (ResourceVerb::Delete, false),
        "deletecollection" => (ResourceVerb::DeleteCollection, false),
        _ => return false,
    };
    description.allows(verb) && (everywhere || !path.namespace.is_empty())
}
