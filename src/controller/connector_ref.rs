//! Who a connector is, by its metadata.

use kube::core::ObjectMeta;

use crate::identity::{ConnectorRef, ConnectorUid};

/// Namespace, name and uid of an object that the API server gave; empty where it left one out.
pub(super) fn connector_ref_of(metadata: &ObjectMeta) -> ConnectorRef {
    ConnectorRef {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
        uid: ConnectorUid::from(metadata.uid.as_deref().unwrap_or_default()),
    }
}
