//! The loop of one replica: reads the Secret and serves what it holds; the leader also fills and renews it, and publishes its authorities.
//!
//! All replicas may try at once: a Secret is replaced only as it was read (`resourceVersion`), so that one wins and the others take what it
//! has written.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::decide::{CertificateAction, next_action};
use super::material::Material;
use super::{API_SERVICE, CertificateSettings};
use crate::api::FIELD_MANAGER;
use crate::backoff::jittered;
use crate::clock::SharedClock;
use crate::http_server::tls::ServedCertificate;
use crate::telemetry::Metrics;

/// How often the Secret is read while all is well.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// The pause after an error, and while there is no certificate yet.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long every API server is given to learn the authorities before one of them issues a certificate.
const SETTLE_INTERVAL: Duration = Duration::from_secs(10);

/// What one look has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due.
    Idle,
    /// The Secret holds no certificate yet, and another replica leads.
    Waiting,
    /// The Secret was written, or somebody else was faster: look again.
    SecretWritten,
    /// The authorities were written into the `APIService`.
    Published,
}

/// Why the certificates cannot be looked after.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The Secret does not exist. The operator has no right to create one.
    #[error(
        "the Secret {0} does not exist; helm upgrade makes it, or kubectl create secret generic"
    )]
    NoSecret(String),
    /// A call failed.
    #[error("{what}: {source}")]
    Api {
        /// The object.
        what: String,
        /// The API server's error.
        source: kube::Error,
    },
    /// The group's `APIService` does not exist.
    #[error(
        "the APIService {API_SERVICE} does not exist; helm upgrade with dataApi.enabled=true makes it"
    )]
    NoApiService,
    /// The group is served by somebody else.
    #[error(
        "the APIService {API_SERVICE} leads to the Service {found}, not to {expected}: one installation of a cluster serves the data API"
    )]
    ForeignApiService {
        /// Namespace and name in the object.
        found: String,
        /// Ours.
        expected: String,
    },
    /// A certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Generate(#[from] rcgen::Error),
}

/// Keeps the certificate of this replica, and where it leads, that of all.
pub struct CertificateKeeper {
    secrets: Api<Secret>,
    api_services: Api<APIService>,
    settings: CertificateSettings,
    serving: Arc<ServedCertificate>,
    leading: watch::Receiver<bool>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    /// Told once, not at every look.
    last_error: Option<String>,
}

impl CertificateKeeper {
    /// `serving`: where the TLS server takes the certificate from. `leading`: whether this replica may write.
    pub fn new(
        client: Client,
        settings: CertificateSettings,
        serving: Arc<ServedCertificate>,
        leading: watch::Receiver<bool>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &settings.namespace),
            api_services: Api::all(client),
            settings,
            serving,
            leading,
            clock,
            metrics,
            last_error: None,
        }
    }

    /// The certificate in use, for the TLS server.
    pub fn serving(&self) -> Arc<ServedCertificate> {
        self.serving.clone()
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let step = tokio::select! {
                () = stop.cancelled() => return,
                step = self.step() => step,
            };
            let pause = self.pause_after(step);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(jittered(pause)) => {}
                () = became_leader(&mut self.leading) => {}
            }
        }
    }

    fn pause_after(&mut self, step: Result<Step, CertificateError>) -> Duration {
        let error = match step {
            Ok(step) => {
                self.last_error = None;
                return match step {
                    Step::Idle => POLL_INTERVAL,
                    Step::Waiting => RETRY_INTERVAL,
                    // Two that are equally fast do not meet again.
                    Step::SecretWritten => Duration::from_millis(200),
                    Step::Published => SETTLE_INTERVAL,
                };
            }
            Err(error) => error.to_string(),
        };
        if self.last_error.as_ref() != Some(&error) {
            tracing::error!(%error, "failed to look after the data API's certificate; the one in use stays");
            self.last_error = Some(error);
        }
        RETRY_INTERVAL
    }

    /// Looks once, and does at most one thing.
    ///
    /// # Errors
    /// [`CertificateError`]; the certificate in use stays.
    pub async fn step(&mut self) -> Result<Step, CertificateError> {
        let secret = self.read_secret().await?;
        let material = match Material::parse(&secret.data.clone().unwrap_or_default()) {
            Ok(material) => {
                self.serve(&material);
                Some(material)
            }
            Err(reason) => {
                if secret.data.as_ref().is_some_and(|data| !data.is_empty()) {
                    tracing::warn!(secret = %self.settings.secret, %reason, "the data API's Secret cannot be used; the leader fills it anew");
                }
                None
            }
        };
        let leading = *self.leading.borrow_and_update();
        if !leading {
            self.metrics.set_data_api_available(None);
        }
        match (leading, material) {
            (true, material) => self.look_after(secret, material).await,
            (false, Some(_)) => Ok(Step::Idle),
            (false, None) => Ok(Step::Waiting),
        }
    }

    fn serve(&self, material: &Material) {
        // It was checked when it was parsed.
        let Ok(certificate) = material.certified_key() else {
            return;
        };
        if self.serving.replace(certificate) {
            tracing::info!(host = %self.settings.host(), "the data API serves a new certificate");
        }
        let state = material.judge(&self.settings.host(), None, self.clock.now());
        self.metrics
            .set_data_api_certificate_left(state.serving_left.unwrap_or_default());
    }

    /// The leader's part.
    async fn look_after(
        &self,
        secret: Secret,
        material: Option<Material>,
    ) -> Result<Step, CertificateError> {
        let (host, now) = (self.settings.host(), self.clock.now());
        let published = self.read_published().await;
        let bundle = published.as_ref().ok().map(Vec::as_slice);
        let state = material.as_ref().map(|m| m.judge(&host, bundle, now));
        let Some(action) = next_action(state) else {
            return Ok(Step::Idle);
        };
        let wanted = match (action, &material) {
            (CertificateAction::Publish, Some(material)) => {
                published?;
                return self.publish(&material.bundle()).await;
            }
            (CertificateAction::AddAuthority, Some(material)) => {
                material.with_new_authority(now)?
            }
            (CertificateAction::Issue, Some(material)) => material.renewed(&host, now)?,
            (CertificateAction::Create, _) | (_, None) => Material::create(&host, now)?,
        };
        self.write_secret(secret, &wanted, action).await
    }

    async fn read_secret(&self) -> Result<Secret, CertificateError> {
        let name = &self.settings.secret;
        let found = self.secrets.get_opt(name).await;
        found
            .map_err(|source| self.secret_error(source))?
            .ok_or_else(|| CertificateError::NoSecret(self.secret_name()))
    }

    /// The compare-and-swap: the object carries the `resourceVersion` that was read.
    async fn write_secret(
        &self,
        secret: Secret,
        material: &Material,
        action: CertificateAction,
    ) -> Result<Step, CertificateError> {
        let secret = Secret {
            data: Some(material.data()),
            ..secret
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self
            .secrets
            .replace(&self.settings.secret, &params, &secret)
            .await
        {
            Ok(_) => {
                tracing::info!(secret = %self.secret_name(), ?action, "wrote the data API's certificates");
                Ok(Step::SecretWritten)
            }
            // Somebody else was faster; the next look shows what it has written.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Step::SecretWritten),
            Err(source) => Err(self.secret_error(source)),
        }
    }

    /// The `caBundle` of the `APIService`, if that is ours.
    async fn read_published(&self) -> Result<Vec<u8>, CertificateError> {
        let found = self.api_services.get_opt(API_SERVICE).await;
        let found = found
            .map_err(api_service_error)?
            .ok_or(CertificateError::NoApiService)?;
        let spec = found.spec.unwrap_or_default();
        let reference = spec.service.unwrap_or_default();
        let name = |namespace: Option<String>, name: Option<String>| {
            format!(
                "{}/{}",
                namespace.unwrap_or_default(),
                name.unwrap_or_default()
            )
        };
        let found_service = name(reference.namespace, reference.name);
        let own_service = name(
            Some(self.settings.namespace.clone()),
            Some(self.settings.service.clone()),
        );
        if found_service != own_service {
            return Err(CertificateError::ForeignApiService {
                found: found_service,
                expected: own_service,
            });
        }
        let conditions = found.status.and_then(|status| status.conditions);
        let available = conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Available" && condition.status == "True");
        self.metrics.set_data_api_available(Some(available));
        Ok(spec.ca_bundle.map(|bundle| bundle.0).unwrap_or_default())
    }

    async fn publish(&self, bundle: &str) -> Result<Step, CertificateError> {
        let patch = json!({"spec": {"caBundle": STANDARD.encode(bundle)}});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.api_services
            .patch(API_SERVICE, &params, &Patch::Merge(patch))
            .await
            .map_err(api_service_error)?;
        tracing::info!("wrote the data API's authorities into the APIService");
        Ok(Step::Published)
    }

    fn secret_name(&self) -> String {
        format!("{}/{}", self.settings.namespace, self.settings.secret)
    }

    fn secret_error(&self, source: kube::Error) -> CertificateError {
        CertificateError::Api {
            what: format!("Secret {}", self.secret_name()),
            source,
        }
    }
}

fn api_service_error(source: kube::Error) -> CertificateError {
    CertificateError::Api {
        what: format!("APIService {API_SERVICE}"),
        source,
    }
}

/// Resolves when this replica has begun to lead. Without anybody who could say so, never.
async fn became_leader(leading: &mut watch::Receiver<bool>) {
    while leading.changed().await.is_ok() {
        if *leading.borrow_and_update() {
            return;
        }
    }
    std::future::pending::<()>().await;
}
