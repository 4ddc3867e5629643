//! The watch of Secrets, metadata only: a change voids what was read, and reconciles the connectors that refer to it.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::context::Context;
use super::watches::{watch, without_managed_fields};
use crate::telemetry::{Readiness, ReadinessCheck, WatchedResource};

/// Runs until it is dropped; `synced` is told when all Secrets were listed.
pub(super) async fn watch_secrets(
    ctx: Arc<Context>,
    readiness: Arc<Readiness>,
    synced: watch::Sender<bool>,
) {
    let events = watch::<PartialObjectMeta<Secret>>(
        &ctx.client,
        &ctx.settings.watch_namespaces,
        WatchedResource::Secrets,
        without_managed_fields,
        &readiness,
    );
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret) => {
                let namespace = secret.namespace().unwrap_or_default();
                let name = secret.name_any();
                ctx.inputs.secrets.invalidate(&namespace, &name);
                ctx.requeue_objects(
                    &ctx.inputs
                        .references
                        .connectors_using_secret(&namespace, &name),
                );
            }
            Event::Init => {}
            Event::InitDone => {
                readiness.pass(ReadinessCheck::SecretsSynced);
                synced.send_replace(true);
            }
        }
    }
}
