//! The data API: what the store holds of denied messages, conversations, dead letters, outgoing messages and of who is let in, as Kubernetes resources of the group
//! `data.connectors.pupau.ai`, so that `kubectl` and RBAC serve what only `exec` into a Pod did.
//!
//! The Kubernetes side of it is the crate `aggregated-api-server`; here are the resources over the [`store`](crate::store), and the listener.

mod access_grants;
mod access_requests;
pub mod certificate;
mod conversations;
mod dead_letters;
mod denied_messages;
mod outgoing_messages;
mod server;
mod stored_resource;

use std::sync::Arc;

use aggregated_api_server::Resource;

use crate::registry::Registry;
use crate::store::Store;

pub use server::{DataApiCertificate, DataApiServer, DataApiSettings};

/// The API group.
pub const GROUP: &str = "data.connectors.pupau.ai";
pub(crate) const VERSION: &str = "v1alpha1";

/// Every resource of the group, over one store. Only connectors of the registry send, and get grants.
pub fn resources(store: &Arc<dyn Store>, registry: &Arc<Registry>) -> Vec<Arc<dyn Resource>> {
    vec![
        Arc::new(denied_messages::resource(store.clone())),
        Arc::new(conversations::resource(store.clone())),
        Arc::new(dead_letters::resource(store.clone())),
        Arc::new(outgoing_messages::OutgoingMessages::new(
            registry.clone(),
            store.clone(),
        )),
        Arc::new(access_grants::resource(store.clone(), registry.clone())),
        Arc::new(access_requests::resource(store.clone(), registry.clone())),
    ]
}

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod outgoing_tests;
#[cfg(test)]
mod tests;
