//! The data API of an environment, so that `kubectl get tgdm` shows in the first five minutes what it shows on a cluster: the embedded
//! control plane hands the group over to the operator, as kube-apiserver does. The certificate is made anew for each environment.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::PostParams;
use kube::{Api, Client};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::data_api::certificate::API_SERVICE;
use crate::data_api::{DataApiCertificate, DataApiSettings, GROUP, VERSION};
use crate::http_server::tls::TlsFiles;

/// Where the Service lies; every cluster has this namespace, and nobody deletes it.
const NAMESPACE: &str = "kube-system";
const SERVICE: &str = "telegram-connector-operator-data-api";

/// The data API before the operator serves it.
pub(super) struct DataApi {
    /// For the operator: any free port of the loopback interface.
    pub(super) settings: DataApiSettings,
    /// PEM.
    authority: String,
}

impl DataApi {
    /// Makes an authority and a certificate, whose files go with `folder`.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let params = CertificateParams::new(vec![format!("{SERVICE}.{NAMESPACE}.svc")])?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        let files = TlsFiles {
            certificate: folder.join("data-api.crt"),
            key: folder.join("data-api.key"),
        };
        for (file, pem) in [
            (&files.certificate, certificate),
            (&files.key, key.serialize_pem()),
        ] {
            std::fs::write(file, pem)
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
        let settings = DataApiSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate: DataApiCertificate::Files(files),
        };
        Ok(Self {
            settings,
            authority,
        })
    }

    /// Tells the control plane who serves the group.
    pub(super) async fn register(self, client: &Client, address: SocketAddr) -> Result<()> {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": SERVICE},
            "spec": {"type": "ExternalName", "externalName": address.ip().to_string()},
        }))?;
        let api_service: APIService = serde_json::from_value(json!({
            "metadata": {"name": API_SERVICE},
            "spec": {"group": GROUP, "version": VERSION, "groupPriorityMinimum": 1000, "versionPriority": 15,
                "caBundle": STANDARD.encode(self.authority),
                "service": {"namespace": NAMESPACE, "name": SERVICE, "port": address.port()}},
        }))?;
        let params = PostParams::default();
        let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
        services.create(&params, &service).await?;
        let api_services: Api<APIService> = Api::all(client.clone());
        api_services.create(&params, &api_service).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::Request;

    use super::super::{Environment, EnvironmentOptions};
    use crate::clock::SystemClock;

    #[tokio::test(flavor = "multi_thread")]
    async fn environment_serves_the_data_api_through_its_control_plane() {
        let environment = Environment::start(EnvironmentOptions::default(), Arc::new(SystemClock))
            .await
            .unwrap();
        let list = async || {
            let path = "/apis/data.connectors.pupau.ai/v1alpha1/namespaces/acme/deniedmessages";
            let request = Request::get(path).body(Vec::new()).unwrap();
            environment.client.request_text(request).await
        };
        let mut answer = list().await;
        for _ in 0..600 {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
            answer = list().await;
        }
        let answer = answer.unwrap();
        assert!(answer.contains("DeniedMessageList"), "{answer}");
        environment.shutdown().await;
    }
}
