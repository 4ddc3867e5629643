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

/// Adds our finalizer.
///
/// # Errors
/// The API server's; a conflict when the finalizers changed meanwhile.
pub(super) async fn add_finalizer<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
) -> Result<(), kube::Error> {
    let present = metadata.finalizers.as_deref().unwrap_or_default();
    let mut wanted = present.to_vec();
    wanted.push(FINALIZER.to_owned());
    patch_finalizers::<K>(client, metadata, &wanted).await
}

/// Takes our finalizer away; an object that is gone already is as good.
///
/// # Errors
/// The API server's; a conflict when the finalizers changed meanwhile.
pub(super) async fn remove_finalizer<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
) -> Result<(), kube::Error> {
    let present = metadata.finalizers.as_deref().unwrap_or_default();
    let wanted: Vec<String> = present
        .iter()
        .filter(|f| *f != FINALIZER)
        .cloned()
        .collect();
    match patch_finalizers::<K>(client, metadata, &wanted).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

/// A merge patch replaces the list whole; uid and resourceVersion make it fail rather than undo somebody else's change.
async fn patch_finalizers<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
    wanted: &[String],
) -> Result<(), kube::Error> {
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
    api::<K>(client, namespace)
        .patch(name, &params, &Patch::Merge(patch))
        .await
        .map(drop)
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
