//! The operator's writes to its own objects: finalizer and status. Each says what it expects, so that it never undoes somebody else's.

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde_json::json;

use crate::api::{FIELD_MANAGER, FINALIZER};

/// Untyped, so that an object whose spec cannot be read can be let go all the same.
fn api<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<K>(&()))
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
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let removals = fields
        .iter()
        .map(|field| json!({"op": "remove", "path": format!("/status/{field}")}));
    let patch = serde_json::from_value(removals.collect()).map_err(kube::Error::SerdeError)?;
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let removed = api::<K>(client, namespace)
        .patch_status(name, &params, &Patch::<()>::Json(patch))
        .await;
    match removed {
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(()),
        other => other.map(drop),
    }
}

/// Applies the status whole. The object's `resourceVersion` after the write.
///
/// # Errors
/// The API server's; a conflict when the object was replaced by another of its name.
pub(super) async fn apply_status<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
    status: &impl Serialize,
) -> Result<Option<String>, kube::Error> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "namespace": namespace, "uid": metadata.uid},
        "status": status,
    });
    // Nobody else has a say in our status.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = api::<K>(client, namespace)
        .patch_status(name, &params, &Patch::Apply(patch))
        .await?;
    Ok(written.metadata.resource_version)
}
