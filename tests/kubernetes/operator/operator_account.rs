//! The `ServiceAccount` of the operator under test. On a server with RBAC every test runs the operator with such an account and the
//! roles that the chart renders, so a call that the chart forbids fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::client::ClientBuilder;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer, Service};

use crate::cluster::Cluster;

const NAME: &str = "telegram-connector-operator";
/// The namespace of the accounts.
const ACCOUNT_NAMESPACE: &str = "default";
/// Snapshots of `helm template`; `tests/chart/ci.sh` checks that they match the chart.
const NAMESPACED: &str = "namespaced-postgres";
const CLUSTER_WIDE: &str = "postgres-three-replicas";

/// One verb on one resource of one API group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    pub group: String,
    pub resource: String,
    pub verb: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.verb, self.resource, self.group)
    }
}

/// The permissions that the chart grants in the watched namespaces and on the Lease. They must be the same with and without
/// `watchNamespaces`.
pub fn chart_permissions() -> BTreeSet<Permission> {
    let rules = |snapshot: &str, kind: &str| -> Vec<PolicyRule> {
        let objects = rendered(snapshot);
        let of_kind = objects.iter().filter(|object| object["kind"] == kind);
        let is_operator_role = |name: &str| name.ends_with(NAME) || name.ends_with("-leader");
        let mut roles = BTreeMap::new();
        for object in of_kind {
            let name = object["metadata"]["name"].as_str().expect("a name");
            if is_operator_role(name) {
                // There is one Role per namespace; all have the same rules.
                let rules = serde_json::from_value(object["rules"].clone()).expect("rules");
                roles.insert(name.to_owned(), rules);
            }
        }
        roles
            .into_values()
            .flat_map(|rules: Vec<_>| rules)
            .collect()
    };
    let namespaced = permissions_of(&rules(NAMESPACED, "Role"));
    let mut cluster_wide = rules(CLUSTER_WIDE, "ClusterRole");
    cluster_wide.extend(rules(CLUSTER_WIDE, "Role"));
    assert_eq!(
        namespaced,
        permissions_of(&cluster_wide),
        "the chart grants other permissions with watchNamespaces than without"
    );
    namespaced
}

/// The objects that the chart renders, as in a snapshot.
pub fn rendered(snapshot: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/chart/snapshots/{snapshot}.yaml"));
    let text = fs::read_to_string(path).expect("a snapshot");
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .collect()
}

fn permissions_of(rules: &[PolicyRule]) -> BTreeSet<Permission> {
    let mut permissions = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    permissions.insert(Permission {
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                    });
                }
            }
        }
    }
    permissions
}

/// The permissions that the calls to the API server needed, and whether a call was forbidden.
#[derive(Debug, Clone, Default)]
pub struct RecordedCalls(Arc<Mutex<BTreeMap<Permission, bool>>>);

impl RecordedCalls {
    fn record(&self, permission: Permission, forbidden: bool) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(permission).or_default() |= forbidden;
    }

    fn filter(&self, forbidden: bool) -> BTreeSet<Permission> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls
            .iter()
            .filter(|(_, was_forbidden)| **was_forbidden == forbidden)
            .map(|(permission, _)| permission.clone())
            .collect()
    }

    pub fn allowed(&self) -> BTreeSet<Permission> {
        self.filter(false)
    }

    pub fn forbidden(&self) -> BTreeSet<Permission> {
        self.filter(true)
    }
}

/// The scope of an account's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A `Role` in the test's namespace, as with `watchNamespaces`. It is deleted with the namespace.
    Namespace,
    /// A `ClusterRole`, as without `watchNamespaces`.
    Cluster,
}

/// The `ServiceAccount` of one test. It is outside the test's namespace, as that of an installed operator is.
#[derive(Clone)]
pub struct OperatorAccount {
    pub client: Client,
    /// A kubeconfig with the account's token, as YAML.
    pub kubeconfig: String,
    pub calls: RecordedCalls,
}

impl OperatorAccount {
    /// Creates a `ServiceAccount` with these permissions, and a client that uses its token.
    pub async fn new(cluster: &Cluster, permissions: &BTreeSet<Permission>, scope: Scope) -> Self {
        let rules: Vec<Value> = permissions
            .iter()
            .map(|p| json!({"apiGroups": [p.group], "resources": [p.resource], "verbs": [p.verb]}))
            .collect();
        let name = &cluster.namespace;
        let metadata = json!({"name": name});
        let (kind, path) = match scope {
            Scope::Namespace => ("Role", format!("namespaces/{name}/")),
            Scope::Cluster => ("ClusterRole", String::new()),
        };
        let group = "rbac.authorization.k8s.io";
        let accounts = format!("/api/v1/namespaces/{ACCOUNT_NAMESPACE}/serviceaccounts");
        let role = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": metadata, "rules": rules});
        let binding = json!({
            "apiVersion": format!("{group}/v1"),
            "kind": format!("{kind}Binding"),
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": ACCOUNT_NAMESPACE}],
        });
        let plural = format!("/apis/{group}/v1/{path}{}", kind.to_lowercase());
        for (path, object) in [
            (
                accounts.clone(),
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
            ),
            (format!("{plural}s"), role),
            (format!("{plural}bindings"), binding),
        ] {
            cluster
                .call("POST", &path, &object)
                .await
                .expect_status(201);
        }
        let account = Self::of(cluster, ACCOUNT_NAMESPACE, name).await;
        account.wait_until_in_effect(cluster, permissions).await;
        account
    }

    /// A client with the token of a `ServiceAccount` that is there, whatever it may do.
    pub async fn of(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        // The kubelet requests the token of a Pod in the same way.
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}});
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let answer = cluster
            .call("POST", &path, &request)
            .await
            .expect_status(201);
        let token = answer.at("/status/token");
        let calls = RecordedCalls::default();
        let kubeconfig = kubeconfig(cluster, token.as_str().expect("a token"));
        let text = serde_json::to_string(&kubeconfig).expect("a kubeconfig");
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = ClientBuilder::try_from(config.expect("our own kubeconfig"))
            .expect("a client")
            .with_layer(&AuditLayer(calls.clone()))
            .build();
        Self {
            client,
            kubeconfig: text,
            calls,
        }
    }

    /// Waits until the API server enforces the roles: its authorizer reads them through a watch. Clears the recorded calls.
    async fn wait_until_in_effect(&self, cluster: &Cluster, expected: &BTreeSet<Permission>) {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": cluster.namespace}});
        let account_cluster = Cluster {
            client: self.client.clone(),
            ..cluster.clone()
        };
        cluster
            .eventually("the permissions are in effect", || async {
                let answer = account_cluster
                    .call("POST", path, &review)
                    .await
                    .expect_status(201);
                let rules: Vec<PolicyRule> =
                    serde_json::from_value(answer.at("/status/resourceRules").clone()).ok()?;
                expected.is_subset(&permissions_of(&rules)).then_some(())
            })
            .await;
        self.calls
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn kubeconfig(cluster: &Cluster, token: &str) -> Kubeconfig {
    let mut kubeconfig = Kubeconfig::from_yaml(&cluster.kubeconfig).expect("our own kubeconfig");
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = Some(AuthInfo {
            token: Some(token.into()),
            ..AuthInfo::default()
        });
    }
    kubeconfig
}

/// A layer that records every call of a client.
struct AuditLayer(RecordedCalls);

impl<S> Layer<S> for AuditLayer {
    type Service = AuditService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AuditService {
            inner,
            calls: self.0.clone(),
        }
    }
}

#[derive(Clone)]
struct AuditService<S> {
    inner: S,
    calls: RecordedCalls,
}

impl<S, In, Out> Service<Request<In>> for AuditService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let permission = permission_of(
            request.method(),
            request.uri().path(),
            request.uri().query().unwrap_or_default(),
        );
        let (calls, answer) = (self.calls.clone(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await;
            if let (Some(permission), Ok(answer)) = (permission, &answer) {
                calls.record(permission, answer.status() == http::StatusCode::FORBIDDEN);
            }
            answer
        })
    }
}

/// The permission that a request needs, as the API server's authorizer sees it; `None` for requests without a resource (discovery).
fn permission_of(method: &Method, path: &str, query: &str) -> Option<Permission> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match *parts.first()? {
        "api" => ("", parts.get(2..)?),
        "apis" => (*parts.get(1)?, parts.get(3..)?),
        _ => return None,
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let (resource, named) = match rest {
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, part] => (format!("{resource}/{part}"), true),
        _ => return None,
    };
    let watch = query
        .split('&')
        .any(|p| p == "watch=true" || p == "watch=1");
    let verb = match *method {
        Method::GET if watch => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "other",
    };
    Some(Permission {
        group: group.to_owned(),
        resource,
        verb: verb.to_owned(),
    })
}
