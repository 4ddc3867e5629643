//! Waits for the custom resource definitions: `GitOps` installs in any order, so a missing one is no reason to exit.

use std::time::Duration;

use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Client, Resource};

use super::settings::ControllerSettings;
use super::watches::apis;
use crate::api::{TelegramConnector, TelegramUserList};
use crate::backoff::jittered;
use crate::telemetry::{Readiness, ReadinessCheck};

/// How often a missing CRD is looked for.
const CRD_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Returns once both kinds can be listed in one of the namespaces; until then `/readyz` says which cannot.
pub(super) async fn wait_for_crds(
    client: &Client,
    settings: &ControllerSettings,
    readiness: &Readiness,
) {
    let mut logged = false;
    loop {
        let missing = match (
            check_crd_served::<TelegramConnector>(client, settings).await,
            check_crd_served::<TelegramUserList>(client, settings).await,
        ) {
            (Ok(()), Ok(())) => {
                readiness.pass(ReadinessCheck::Crds);
                return;
            }
            (Err(why), _) | (_, Err(why)) => why,
        };
        if !std::mem::replace(&mut logged, true) {
            tracing::warn!(why = %missing, "waiting for the custom resource definitions");
        }
        readiness.fail(ReadinessCheck::Crds, missing);
        tokio::time::sleep(jittered(CRD_POLL_INTERVAL)).await;
    }
}

async fn check_crd_served<K>(client: &Client, settings: &ControllerSettings) -> Result<(), String>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let mut result = Ok(());
    // One that is forbidden says nothing of the others.
    for api in apis::<DeserializeGuard<K>>(client, &settings.watch_namespaces) {
        let Err(error) = api.list(&ListParams::default().limit(1)).await else {
            return Ok(());
        };
        result = Err(match error {
            kube::Error::Api(status) if status.code == 404 => format!(
                "the API server does not know {}.{}: apply crds/",
                K::plural(&()),
                K::group(&())
            ),
            error => format!("{} cannot be listed: {error}", K::plural(&())),
        });
    }
    result
}
