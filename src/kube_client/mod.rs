//! The client of the cluster that the environment names, for the commands that need one.

mod dev_operator;
mod direct;
pub(crate) mod kubectl_table;
mod proxy;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kube::client::ClientBuilder;
use kube::config::KubeConfigOptions;
use kube::{Client, Config};

pub(crate) use self::dev_operator::DevOperator;

use self::direct::{IDLE_TIMEOUT, direct_client_builder};
use crate::telemetry::Metrics;
use crate::telemetry::kubernetes_calls::KubernetesCallsLayer;

/// kube's own 30 s would outlast the back-off of the watches when an API server comes back.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration from the kubeconfig (or the service account), with the proxy of the environment. `context` chooses one of the kubeconfig.
///
/// # Errors
/// No kubeconfig and no service account, or a kubeconfig without this context.
pub(crate) async fn infer_config(context: Option<&str>) -> Result<Config> {
    let mut config = match context {
        None => Config::infer().await?,
        Some(context) => {
            let options = KubeConfigOptions {
                context: Some(context.to_owned()),
                ..KubeConfigOptions::default()
            };
            Config::from_kubeconfig(&options).await?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Ok(proxy::with_environment_proxy(config))
}

/// A client whose every call is counted in `metrics`.
///
/// # Errors
/// A configuration whose certificates or proxy cannot be used.
pub(crate) fn counting_client(config: Config, metrics: Arc<Metrics>) -> Result<Client> {
    let layer = KubernetesCallsLayer(metrics);
    Ok(match config.proxy_url {
        None => direct_client_builder(&config, IDLE_TIMEOUT)?
            .with_layer(&layer)
            .build(),
        Some(_) => ClientBuilder::try_from(config)?.with_layer(&layer).build(),
    })
}
