//! Following the `ConfigMap`.

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use super::FrontProxyConfig;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

impl FrontProxyConfig {
    /// Follows `ConfigMap` `kube-system/extension-apiserver-authentication` for as long as this is polled. What was good last holds while it
    /// cannot be read, is gone, or makes no sense; the log says so.
    pub async fn follow(&self, client: Client) {
        let config_maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let mut followed = watcher::watch_object(config_maps, NAME)
            .default_backoff()
            .boxed();
        while let Some(event) = followed.next().await {
            match event {
                Ok(Some(found)) => self.take(&found),
                Ok(None) => self.complain("it is not there: kube-apiserver makes it"),
                Err(error) => self.complain(&format!(
                    "it cannot be read (Role extension-apiserver-authentication-reader in {NAMESPACE} gives the right): {error}"
                )),
            }
        }
    }

    fn take(&self, found: &ConfigMap) {
        let was_ready = self.is_ready();
        match self.set(&found.data.clone().unwrap_or_default()) {
            Ok(()) if was_ready => tracing::info!("the aggregator's identity was read anew"),
            Ok(()) => tracing::info!("the aggregator's identity is known"),
            Err(error) => self.complain(&error.to_string()),
        }
    }

    fn complain(&self, problem: &str) {
        let consequence = if self.is_ready() {
            "the last good one holds"
        } else {
            "every request is refused until then"
        };
        tracing::warn!(
            "ConfigMap {NAMESPACE}/{NAME} says who the aggregator is: {problem}; {consequence}"
        );
    }
}
