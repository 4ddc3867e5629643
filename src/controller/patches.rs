//! The operator's writes to its own objects: finalizer and status. Each says what it expects, so that it never undoes somebody else's.

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::conditions::ConditionType;
use crate::api::{FIELD_MANAGER, FINALIZER};

/// Of one namespace, or "" for objects that are in none. Untyped, so that an object whose spec cannot be read can be let go all the same.
fn api<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    match namespace {
        "" => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

/// Puts our finalizer on, or takes it off. The object's `resourceVersion` after the write; `None` when it is gone already, which is as
/// good as without.
///
/// # Errors
/// The API server's; a conflict when the object changed meanwhile.
pub(super) async fn set_finalizer<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
    present: bool,
) -> Result<Option<String>, kube::Error> {
    let others = metadata.finalizers.iter().flatten();
    let mut wanted: Vec<String> = others.filter(|f| *f != FINALIZER).cloned().collect();
    if present {
        wanted.push(FINALIZER.to_owned());
    }
    match patch_finalizers::<K>(client, metadata, &wanted).await {
        Err(kube::Error::Api(status)) if status.code == 404 && !present => Ok(None),
        other => other,
    }
}

/// A merge patch replaces the list whole; uid and resourceVersion make it fail rather than undo somebody else's change.
async fn patch_finalizers<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
    wanted: &[String],
) -> Result<Option<String>, kube::Error> {
    let patch = json!({"metadata": {
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
        "finalizers": wanted,
    }});
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = api::<K>(client, namespace)
        .patch(name, &params, &Patch::Merge(patch))
        .await?;
    Ok(patched.metadata.resource_version)
}

/// Takes objects out of the status, so that it can be applied without them where it was refused.
///
/// Older API servers (1.20 among them) turn an object that its only applier no longer applies into `null`, and then refuse the whole
/// status because of it.
///
/// # Errors
/// The API server's. A field that is not there any more is as good.
pub(super) async fn remove_from_status<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
    fields: &[&str],
) -> Result<(), kube::Error> {
    let removals = fields
        .iter()
        .map(|field| json!({"op": "remove", "path": format!("/status/{field}")}));
    patch_status_json::<K>(client, metadata, removals.collect())
        .await
        .map(drop)
}

/// A JSON patch of the status. The object's `resourceVersion` after the write; `None` when the patch does not fit the object any more.
async fn patch_status_json<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
    operations: Value,
) -> Result<Option<String>, kube::Error> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = api::<K>(client, namespace)
        .patch_status(name, &params, &Patch::<()>::Json(patch))
        .await;
    match patched {
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(None),
        other => other.map(|patched| patched.metadata.resource_version),
    }
}

/// What a status has that the one that was applied has not, as operations of a JSON patch that removes it. Conditions of types that the
/// operator does not write are left alone.
fn foreign_parts(status: &Value, applied: &Value) -> Vec<Value> {
    let is_applied = |type_: &Value| {
        let mut conditions = applied["conditions"].as_array().into_iter().flatten();
        conditions.any(|c| c["type"] == *type_)
    };
    let is_known = |type_: &Value| type_.as_str().and_then(ConditionType::parse).is_some();
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let foreign_conditions = conditions
        .enumerate()
        .filter(|(_, c)| is_known(&c["type"]) && !is_applied(&c["type"]))
        .map(|(index, _)| format!("conditions/{index}"));
    let fields = status.as_object().into_iter().flatten();
    let foreign_fields = fields
        .map(|(field, _)| field)
        .filter(|field| *field != "conditions" && applied[field.as_str()].is_null())
        .cloned();
    // From the last, because a removal moves what follows.
    let mut parts: Vec<String> = foreign_fields.chain(foreign_conditions).collect();
    parts.reverse();
    parts
        .into_iter()
        .map(|part| json!({"op": "remove", "path": format!("/status/{part}")}))
        .collect()
}

/// Applies the status whole. `is_altered`: somebody else has written into it, and what they put beside ours is removed. The object's
/// `resourceVersion` after the write.
///
/// # Errors
/// The API server's; a conflict when the object was replaced by another of its name.
pub(super) async fn apply_status<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
    status: &impl Serialize,
    is_altered: bool,
) -> Result<Option<String>, kube::Error> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let mut patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": metadata.uid},
        "status": status,
    });
    if !namespace.is_empty() {
        patch["metadata"]["namespace"] = namespace.into();
    }
    // Nobody else has a say in our status.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = api::<K>(client, namespace)
        .patch_status(name, &params, &Patch::Apply(&patch))
        .await?;
    let version = written.metadata.resource_version;
    if !is_altered {
        return Ok(version);
    }
    let mut operations = foreign_parts(&written.data["status"], &patch["status"]);
    if operations.is_empty() {
        return Ok(version);
    }
    let unchanged = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
    operations.insert(0, unchanged);
    let removed = patch_status_json::<K>(client, metadata, operations.into()).await?;
    Ok(removed.or(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_parts_are_those_that_only_the_operator_writes() {
        let condition = |type_: &str| json!({"type": type_});
        let status = json!({
            "accessUsers": 3,
            "webhook": {"url": "https://x"},
            "conditions": [condition("Stalled"), condition("Ready"), condition("Theirs"), condition("Reconciling")],
        });
        let applied = json!({"accessUsers": 2, "conditions": [condition("Ready")]});
        let paths: Vec<_> = foreign_parts(&status, &applied)
            .into_iter()
            .map(|operation| operation["path"].as_str().expect("a path").to_owned())
            .collect();
        assert_eq!(
            paths,
            [
                "/status/conditions/3",
                "/status/conditions/0",
                "/status/webhook"
            ]
        );
        assert!(foreign_parts(&applied, &applied).is_empty());
    }
}
