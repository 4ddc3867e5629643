//! The API server, its clock, and the two CRDs.

use std::time::Duration;

use http::{HeaderMap, Request, header};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::clock::ClockReading;
use super::context::Context;
use super::finding::Finding;
use super::probe::within;
use crate::api::{VERSION, crds};

const API_SERVER: &str = "api-server";
const CRD: &str = "crd";
/// Installs the CRDs, in a checkout of this program's version.
const APPLY_CRDS: &str = "kubectl apply --server-side -f crds/";
/// What CEL rules are called in a schema.
const CEL_RULES: &str = "x-kubernetes-validations";
/// The first minor version of Kubernetes that keeps them.
const FIRST_MINOR_WITH_CEL: u32 = 25;

/// What the API server says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct ApiServer {
    /// `v1.36.0`.
    version: String,
    /// 36; `None` where it does not say.
    minor: Option<u32>,
    /// Its clock.
    pub(super) date: Option<Timestamp>,
}

impl ApiServer {
    /// Its clock, when ours was at `ours`.
    pub(super) fn clock(&self, ours: Timestamp) -> Option<ClockReading> {
        let date = self.date?;
        Some(ClockReading::new("the API server", date, ours))
    }
}

/// Asks the API server for its version.
///
/// # Errors
/// The finding that it cannot be reached.
pub(super) async fn reach(
    client: &Client,
    limit: Duration,
) -> Result<(ApiServer, Finding), Finding> {
    let unreachable = |why: String| {
        Finding::failure(API_SERVER, "", format!("it cannot be reached: {why}"))
            .with_fix("kubectl cluster-info")
    };
    let request = Request::get("/version").body(Body::empty());
    let request = request.map_err(|e| unreachable(e.to_string()))?;
    let response = within(limit, client.send(request))
        .await
        .map_err(unreachable)?;
    let date = date_header(response.headers());
    let status = response.status();
    let body = within(limit, response.into_body().collect_bytes()).await;
    let info: Option<Info> = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok());
    let server = match info {
        Some(info) => ApiServer {
            version: info.git_version,
            minor: info.minor.trim_end_matches('+').parse().ok(),
            date,
        },
        None => ApiServer {
            version: format!("it answers {status} without a version"),
            date,
            ..ApiServer::default()
        },
    };
    let finding = Finding::ok(API_SERVER, "", server.version.clone());
    Ok((server, finding))
}

/// `Date` of an HTTP answer.
pub(super) fn date_header(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

/// All CRDs: there, established, and the same as those of this program.
pub(super) async fn check_crds(ctx: &Context, server: &ApiServer) -> Vec<Finding> {
    let mut findings = Vec::new();
    for expected in crds::all() {
        findings.push(check_crd(ctx, server, &expected).await);
    }
    findings
}

async fn check_crd(
    ctx: &Context,
    server: &ApiServer,
    expected: &CustomResourceDefinition,
) -> Finding {
    let name = expected.name_any();
    let api: Api<CustomResourceDefinition> = Api::all(ctx.client.clone());
    match tokio::time::timeout(ctx.timeout, api.get_opt(&name)).await {
        Ok(Ok(Some(found))) => judge_crd(expected, &found, server),
        Ok(Ok(None)) => missing(&name),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            check_served(ctx, expected).await
        }
        Ok(Err(error)) => Finding::skipped(CRD, name, error),
        Err(_) => Finding::skipped(CRD, name, "the API server does not answer in time"),
    }
}

fn missing(name: &str) -> Finding {
    Finding::failure(CRD, name, "it is not installed").with_fix(APPLY_CRDS)
}

/// For whoever may not read CRDs: whether the kind is served at all.
async fn check_served(ctx: &Context, expected: &CustomResourceDefinition) -> Finding {
    let (client, limit, namespaces) = (&ctx.client, ctx.timeout, ctx.namespaces());
    let name = expected.name_any();
    let spec = &expected.spec;
    let resource = kube::api::ApiResource {
        group: spec.group.clone(),
        version: VERSION.to_owned(),
        api_version: format!("{}/{VERSION}", spec.group),
        kind: spec.names.kind.clone(),
        plural: spec.names.plural.clone(),
    };
    let namespace = namespaces.first().filter(|_| spec.scope != "Cluster");
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let query = ListParams::default().limit(1);
    match tokio::time::timeout(limit, api.list_metadata(&query)).await {
        Ok(Ok(_)) => Finding::skipped(
            CRD,
            name,
            "no right to get customresourcedefinitions; the kind is served, in whichever version of its schema",
        ),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => missing(&name),
        Ok(Err(error)) => Finding::skipped(CRD, name, error),
        Err(_) => Finding::skipped(CRD, name, "the API server does not answer in time"),
    }
}

fn judge_crd(
    expected: &CustomResourceDefinition,
    found: &CustomResourceDefinition,
    server: &ApiServer,
) -> Finding {
    let name = expected.name_any();
    if found.metadata.deletion_timestamp.is_some() {
        return Finding::failure(CRD, name, "it is being deleted, with all its objects");
    }
    if !is_established(found) {
        return Finding::failure(CRD, &*name, "it is not established")
            .with_fix(format!("kubectl describe crd {name}"));
    }
    let version = |crd: &CustomResourceDefinition| {
        let mut versions = crd.spec.versions.iter();
        versions.find(|v| v.name == VERSION).cloned()
    };
    let fix = fix_for(found);
    let Some(served) = version(found).filter(|v| v.served && v.storage) else {
        let problem = format!("it does not serve and store version {VERSION}");
        return Finding::failure(CRD, name, problem).with_fix(fix);
    };
    let (wanted, has) = (schema(version(expected).as_ref()), schema(Some(&served)));
    let Some(difference) = first_difference(&wanted, &has, "") else {
        return Finding::ok(CRD, name, format!("{VERSION}, as of this program"));
    };
    let (wanted, has) = (without_rules(wanted), without_rules(has));
    match first_difference(&wanted, &has, "") {
        None if server.minor.is_some_and(|minor| minor < FIRST_MINOR_WITH_CEL) => Finding::warning(
            CRD,
            name,
            format!("{VERSION}, but {} drops its CEL rules: what they refuse elsewhere is admitted here", server.version),
        )
        .with_fix("telegram-connector-operator check FILES checks them offline"),
        None => Finding::failure(CRD, name, format!("{VERSION} has other rules than this program: {difference}"))
            .with_fix(fix),
        Some(difference) => Finding::failure(
            CRD,
            name,
            format!("{VERSION} has another schema than this program: {difference}"),
        )
        .with_fix(fix),
    }
}

/// Whoever installed them installs them again.
fn fix_for(found: &CustomResourceDefinition) -> String {
    let annotations = found.annotations();
    let release = annotations.get("meta.helm.sh/release-name");
    let namespace = annotations.get("meta.helm.sh/release-namespace");
    match (release, namespace) {
        (Some(release), Some(namespace)) => {
            format!(
                "helm -n {namespace} upgrade {release} CHART with the chart of this program's version"
            )
        }
        _ => APPLY_CRDS.to_owned(),
    }
}

fn is_established(found: &CustomResourceDefinition) -> bool {
    let status = found.status.as_ref();
    let mut conditions = status
        .into_iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|c| c.type_ == "Established" && c.status == "True")
}

fn schema(version: Option<&CustomResourceDefinitionVersion>) -> Value {
    let schema = version.and_then(|v| v.schema.as_ref());
    schema
        .and_then(|schema| serde_json::to_value(&schema.open_api_v3_schema).ok())
        .unwrap_or_default()
}

fn without_rules(mut schema: Value) -> Value {
    fn remove(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove(CEL_RULES);
                map.values_mut().for_each(remove);
            }
            Value::Array(items) => items.iter_mut().for_each(remove),
            _ => {}
        }
    }
    remove(&mut schema);
    schema
}

/// Where two schemas differ first, by the path of the field.
fn first_difference(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    if wanted == found {
        return None;
    }
    let (Value::Object(wanted), Value::Object(found)) = (wanted, found) else {
        return Some(format!("{} differs", named(path)));
    };
    let below = |key: &str| match key {
        "properties" => path.to_owned(),
        "items" => format!("{path}[]"),
        _ if path.is_empty() => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    for (key, value) in wanted {
        match found.get(key) {
            None => return Some(format!("{} is missing there", named(&below(key)))),
            Some(other) => {
                if let Some(difference) = first_difference(value, other, &below(key)) {
                    return Some(difference);
                }
            }
        }
    }
    let unknown = found.keys().find(|key| !wanted.contains_key(*key))?;
    Some(format!("{} is unknown here", named(&below(unknown))))
}

fn named(path: &str) -> &str {
    if path.is_empty() { "the schema" } else { path }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(minor: u32) -> ApiServer {
        ApiServer {
            version: format!("v1.{minor}.0"),
            minor: Some(minor),
            date: None,
        }
    }

    /// The first CRD as a server has it once it is established, changed by `change`.
    fn judged(minor: u32, change: impl FnOnce(&mut Value)) -> Finding {
        let [expected, ..] = crds::all();
        let mut found = serde_json::to_value(&expected).expect("JSON");
        found["status"] = json!({
            "acceptedNames": {"kind": "TelegramConnector", "plural": "telegramconnectors"},
            "conditions": [{"type": "Established", "status": "True"}],
            "storedVersions": ["v1alpha1"],
        });
        change(&mut found);
        let found = serde_json::from_value(found).expect("a CRD");
        judge_crd(&expected, &found, &server(minor))
    }

    const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";

    #[test]
    fn same_crd_is_ok_and_an_older_one_is_told_by_its_field() {
        assert_eq!(judged(36, |_| {}).level.word(), "ok");
        let older = judged(36, |crd| {
            let fields = crd.pointer_mut(SPEC).and_then(Value::as_object_mut);
            fields.expect("fields").remove("transcription");
        });
        assert_eq!(older.level.word(), "FAIL");
        assert!(
            older
                .message
                .ends_with("spec.transcription is missing there"),
            "{older:?}"
        );
        let newer = judged(36, |crd| {
            crd.pointer_mut(SPEC).expect("fields")["later"] = json!({"type": "string"});
        });
        assert!(
            newer.message.ends_with("spec.later is unknown here"),
            "{newer:?}"
        );
    }

    #[test]
    fn rules_are_missed_on_a_server_without_cel_only_as_a_warning() {
        let drop_rules = |crd: &mut Value| *crd = without_rules(crd.take());
        assert_eq!(judged(20, drop_rules).level.word(), "WARN");
        assert_eq!(judged(36, drop_rules).level.word(), "FAIL");
    }

    #[test]
    fn helm_mends_what_helm_installed() {
        let finding = judged(36, |crd| {
            crd["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "tco", "meta.helm.sh/release-namespace": "ops"});
            crd["spec"]["versions"][0]["served"] = json!(false);
        });
        let fix = finding.fix.expect("a fix");
        assert!(fix.starts_with("helm -n ops upgrade tco"), "{fix}");
    }
}
