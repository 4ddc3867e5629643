//! Role-based access control, once it is enforced ([`ControlPlane::enforce_rbac`](super::ControlPlane::enforce_rbac)): what the roles that are
//! bound to a user allow, and the roles that every cluster begins with.
//!
//! Sources: kubernetes `plugin/pkg/auth/authorizer/rbac` and `pkg/apis/rbac/v1/evaluation_helpers.go`. Not here: the rule that
//! nobody may grant more than they have.

use serde_json::{Value, json};

use super::ServerState;
use super::access_review::Access;
use super::object::{metadata_str, str_at, value_at};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Why the roles of a user allow something; `None` if they do not.
pub(super) fn allows(
    server: &ServerState,
    user: &str,
    groups: &[String],
    access: &Access<'_>,
) -> Option<String> {
    if groups.iter().any(|group| group == "system:masters") {
        return Some(String::new());
    }
    let wide = bindings(server, "clusterrolebindings", "");
    let narrow = if access.namespace.is_empty() {
        Vec::new()
    } else {
        bindings(server, "rolebindings", access.namespace)
    };
    let mut all = wide.iter().chain(&narrow);
    all.find_map(|binding| {
        let subjects = value_at(binding, &["subjects"]).as_array()?;
        let subject = subjects.iter().find(|subject| {
            is_subject(subject, user, groups, metadata_str(binding, "namespace"))
        })?;
        let rules = rules(server, binding);
        rules.iter().any(|rule| rule_allows(rule, access)).then(|| {
            let (kind, name) = (str_at(binding, &["kind"]), metadata_str(binding, "name"));
            let role = |part: &str| str_at(binding, &["roleRef", part]).to_owned();
            format!(
                "RBAC: allowed by {kind} {name:?} of {} {:?} to {} {:?}",
                role("kind"),
                role("name"),
                str_at(subject, &["kind"]),
                str_at(subject, &["name"]),
            )
        })
    })
}

fn bindings(server: &ServerState, plural: &str, namespace: &str) -> Vec<Value> {
    let snapshot = server.store.list(&format!("{plural}.{GROUP}"), namespace);
    let objects = snapshot.objects.iter();
    objects.map(|stored| stored.object()).collect()
}

fn is_subject(subject: &Value, user: &str, groups: &[String], namespace: &str) -> bool {
    let name = str_at(subject, &["name"]);
    match str_at(subject, &["kind"]) {
        "User" => name == user || name == "*",
        "Group" => groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let inside = match str_at(subject, &["namespace"]) {
                "" => namespace,
                given => given,
            };
            user == format!("system:serviceaccount:{inside}:{name}")
        }
        _ => false,
    }
}

/// The rules of the role that a binding names. A role that is not there has none.
fn rules(server: &ServerState, binding: &Value) -> Vec<Value> {
    let name = str_at(binding, &["roleRef", "name"]);
    let is_cluster_role = str_at(binding, &["roleRef", "kind"]) == "ClusterRole";
    let found = if is_cluster_role {
        server.store.get(&format!("clusterroles.{GROUP}"), "", name)
    } else {
        let namespace = metadata_str(binding, "namespace");
        server.store.get(&format!("roles.{GROUP}"), namespace, name)
    };
    let Some(role) = found.map(|stored| stored.object()) else {
        return Vec::new();
    };
    let own = |role: &Value| value_at(role, &["rules"]).as_array().cloned();
    let mut all = own(&role).unwrap_or_default();
    // What the aggregation controller writes into the role, read from where it would take it.
    let selectors = value_at(&role, &["aggregationRule", "clusterRoleSelectors"]);
    for selector in selectors.as_array().into_iter().flatten() {
        let wanted = value_at(selector, &["matchLabels"]).as_object();
        let snapshot = server.store.list(&format!("clusterroles.{GROUP}"), "");
        for other in snapshot.objects.iter().map(|stored| stored.object()) {
            let has = |(key, value): (&String, &Value)| {
                value_at(&other, &["metadata", "labels"]).get(key) == Some(value)
            };
            if wanted.is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(has)) {
                all.extend(own(&other).unwrap_or_default());
            }
        }
    }
    all
}

fn rule_allows(rule: &Value, access: &Access<'_>) -> bool {
    let words = |field: &str| -> Vec<&str> {
        let all = value_at(rule, &[field]).as_array();
        all.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let names = |field: &str, word: &str| {
        let all = words(field);
        all.contains(&"*") || all.contains(&word)
    };
    if !names("verbs", access.verb) {
        return false;
    }
    if !access.path.is_empty() {
        return words("nonResourceURLs").into_iter().any(|url| {
            url == "*"
                || url == access.path
                || url
                    .strip_suffix('*')
                    .is_some_and(|prefix| access.path.starts_with(prefix))
        });
    }
    let resources = words("resources");
    let part = if access.subresource.is_empty() {
        access.plural.to_owned()
    } else {
        format!("{}/{}", access.plural, access.subresource)
    };
    let every = format!("*/{}", access.subresource);
    let has_resource = resources.iter().any(|resource| {
        *resource == "*"
            || *resource == part
            || (!access.subresource.is_empty() && *resource == every)
    });
    let only = words("resourceNames");
    names("apiGroups", access.group)
        && has_resource
        && (only.is_empty() || only.contains(&access.name))
}

/// The roles and bindings that every cluster has from the start, as far as anything here is bound to them.
pub(super) fn bootstrap_objects() -> Vec<Value> {
    let any = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    let on_all = |verbs: &[&str]| json!({"apiGroups": ["*"], "resources": ["*"], "verbs": verbs});
    let read = ["get", "list", "watch"];
    let create = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["create"]});
    let urls = |urls: &[&str]| json!({"nonResourceURLs": urls, "verbs": ["get"]});
    let health = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/openapi",
        "/openapi/*",
    ];
    let discovery: Vec<&str> = discovery.into_iter().chain(health).collect();
    let authorization = "authorization.k8s.io";
    let mut objects = Vec::new();
    for (name, rules) in [
        (
            "cluster-admin",
            vec![any, json!({"nonResourceURLs": ["*"], "verbs": ["*"]})],
        ),
        ("system:discovery", vec![urls(&discovery)]),
        ("system:public-info-viewer", vec![urls(&health)]),
        (
            "system:basic-user",
            vec![create(authorization, &["selfsubjectaccessreviews"])],
        ),
        (
            "system:auth-delegator",
            vec![create(authorization, &["subjectaccessreviews"])],
        ),
        (
            "system:controller:namespace-controller",
            vec![on_all(&["delete", "deletecollection", "get", "list"])],
        ),
        (
            "system:controller:generic-garbage-collector",
            vec![on_all(&[
                "delete", "get", "list", "patch", "update", "watch",
            ])],
        ),
    ] {
        objects.push(json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}));
    }
    objects.extend(aggregated_roles());
    for (role, subjects) in [
        ("cluster-admin", vec!["system:masters"]),
        ("system:discovery", vec!["system:authenticated"]),
        ("system:basic-user", vec!["system:authenticated"]),
        (
            "system:public-info-viewer",
            vec!["system:authenticated", "system:unauthenticated"],
        ),
    ] {
        let subject = |name: &&str| json!({"apiGroup": GROUP, "kind": "Group", "name": name});
        let subjects: Vec<Value> = subjects.iter().map(subject).collect();
        objects.push(cluster_role_binding(role, &subjects.into()));
    }
    for controller in ["namespace-controller", "generic-garbage-collector"] {
        let account =
            json!([{"kind": "ServiceAccount", "name": controller, "namespace": "kube-system"}]);
        let role = format!("system:controller:{controller}");
        objects.push(cluster_role_binding(&role, &account));
    }
    objects.push(json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Role",
        "metadata": {"name": "extension-apiserver-authentication-reader", "namespace": "kube-system"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["extension-apiserver-authentication"], "verbs": read}]}));
    objects
}

/// `view`, `edit` and `admin`: of the built-in kinds, and of whatever roles say that they belong to them.
fn aggregated_roles() -> Vec<Value> {
    let read = ["get", "list", "watch"];
    let write = ["create", "delete", "deletecollection", "patch", "update"];
    let both: Vec<&str> = read.into_iter().chain(write).collect();
    let shown = ["configmaps", "events", "pods", "services"];
    let kept = ["configmaps", "events", "pods", "secrets", "services"];
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let select =
        |role: &str| json!({"matchLabels": {format!("{GROUP}/aggregate-to-{role}"): "true"}});
    [
        (
            "view",
            vec![rule("", &shown, &read), rule("apps", &["deployments"], &read)],
            vec![select("view")],
        ),
        (
            "edit",
            vec![rule("", &kept, &both), rule("apps", &["deployments"], &both)],
            vec![select("edit"), select("view")],
        ),
        (
            "admin",
            vec![
                rule("", &kept, &both),
                rule("apps", &["deployments"], &both),
                rule(GROUP, &["roles", "rolebindings"], &both),
            ],
            vec![select("admin"), select("edit"), select("view")],
        ),
    ]
    .into_iter()
    .map(|(name, rules, selectors)| {
        json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": {"name": name},
            "rules": rules, "aggregationRule": {"clusterRoleSelectors": selectors}})
    })
    .collect()
}

fn cluster_role_binding(role: &str, subjects: &Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}, "subjects": subjects})
}
