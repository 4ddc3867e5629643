//! One running operator: starts its parts and stops them in the order that loses no message.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::api::connector::{AssistantSpec, ExtractSpec, SpeechSpec, TranscriptionSpec};
use crate::assistant::{
    AddressPolicy, Assistant, AssistantHttpClient, Credentials, ExtraRootCertificates, Extractor,
    HttpLimits, Speaker, Transcriber,
};
use crate::clock::SharedClock;
use crate::connection::ConnectionSettings;
use crate::connection::webhook::{self, WebhookServer};
use crate::controller::{
    self, AssistantFactory, Controller, ControllerDependencies, SharedAssistantFactory,
};
use crate::data_api::certificate::CertificateKeeper;
use crate::data_api::{self, DataApiCertificate, DataApiServer, DataApiSettings};
use crate::http_server::bind_listener;
use crate::http_server::tls::{ServedCertificate, TlsFiles};
use crate::identity_provider::{
    IdentityProvider, IdentityProviderHttpClient, ProviderConfig, ProviderLimits, Sealer,
};
use crate::observation::{Notice, Observations};
use crate::pipeline::{DeadLetterHook, Pipeline, PipelineContext, PipelineLimits};
use crate::registry::Registry;
use crate::store::{self, Store, StoreError};
use crate::telegram::{LocalFiles, TelegramApi};
use crate::telemetry::admin::{self, AdminState, StoreProbe};
use crate::telemetry::{Metrics, Readiness};

/// The administrator's settings of one operator (API.md, "The environment").
#[derive(Debug, Clone)]
pub struct OperatorSettings {
    /// Connection mode, namespaces and leader election.
    pub controller: controller::ControllerSettings,
    /// `--webhook-listen`; used in webhook mode only.
    pub webhook_listen: SocketAddr,
    /// `--webhook-tls-cert` and `--webhook-tls-key`.
    pub webhook_tls: Option<TlsFiles>,
    /// `--data-api-listen`; `None`: no data API.
    pub data_api: Option<DataApiSettings>,
    /// `--admin-listen`.
    pub admin_listen: SocketAddr,
    /// `--store`.
    pub store: String,
    /// `--telegram-api-url`.
    pub telegram_api_url: Url,
    /// `--telegram-files-dir`.
    pub telegram_files: Option<LocalFiles>,
    /// `--denied-retention-days`.
    pub denied_retention: Duration,
    /// `--session-retention-days`.
    pub session_retention: Duration,
    /// `--max-concurrent-chats`.
    pub max_concurrent_chats: u16,
    /// How long a shutdown waits for what is in flight.
    pub shutdown_grace: Duration,
    /// `--sign-in-key-file`; `None`: nobody can sign in.
    pub sealer: Option<Arc<Sealer>>,
}

/// Why an operator cannot start; each names the flag and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An address cannot be bound.
    #[error("{flag} {address}: {source}; choose another address or end the process that holds it")]
    Listen {
        /// The flag.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file cannot be used.
    #[error("{flag} {}: {reason}", path.display())]
    File {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot start: {0}")]
    Http(String),
}

/// A running operator. Dropping it leaves its tasks to the runtime; [`Operator::shutdown`] ends them in order.
pub struct Operator {
    controller: Controller,
    pipeline: Pipeline,
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    stop_servers: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    admin: SocketAddr,
    webhook: Option<SocketAddr>,
    data_api: Option<SocketAddr>,
    shutdown_grace: Duration,
}

impl Operator {
    /// Opens the store, binds the addresses, then starts pipeline, controller and servers.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn start(
        client: Client,
        settings: OperatorSettings,
        metrics: Arc<Metrics>,
        assistants: SharedAssistantFactory,
        clock: SharedClock,
    ) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&settings)?;
        let (admin, webhook) = listeners.addresses(&settings);
        let served = Arc::<ServedCertificate>::default();
        let data_api_server = settings.data_api.as_ref();
        let data_api_server = data_api_server.map(|settings| DataApiServer::new(settings, &served));
        let data_api_server = data_api_server.transpose().map_err(|(path, reason)| {
            let flag = "--data-api-tls-cert";
            StartError::File { flag, path, reason }
        })?;
        let telegram = TelegramApi::new(settings.telegram_api_url.clone())
            .map_err(|e| StartError::Http(e.to_string()))?
            .with_local_files(settings.telegram_files.clone());
        let options = store::StoreOptions {
            clock: clock.clone(),
            metrics: Some(metrics.clone()),
            ..store::StoreOptions::default()
        };
        let store = store::open_with(&settings.store, options).await?;

        let readiness = Arc::new(Readiness::default());
        let registry = Arc::new(Registry::default());
        // A test in a hurry looks again sooner, at this too.
        let (observations, changed_connectors) =
            Observations::with_fault_hold(settings.controller.recheck_interval);
        let observations = Arc::new(observations);
        let stop_servers = CancellationToken::new();

        let pipeline = Pipeline::start(PipelineContext {
            registry: registry.clone(),
            store: store.clone(),
            observations: observations.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            limits: pipeline_limits(&settings),
            on_dead_letter: Some(dead_letter_hook(observations.clone())),
            // Without a key no provider is asked, and nothing is sealed.
            sealer: settings
                .sealer
                .clone()
                .unwrap_or_else(|| Arc::new(Sealer::ephemeral())),
        });
        let mut servers = Vec::new();
        if let (Some(listener), ConnectionSettings::Webhook(webhook)) =
            (listeners.webhook, &settings.controller.connection)
        {
            let server = WebhookServer {
                registry: registry.clone(),
                inbox: store.clone(),
                metrics: metrics.clone(),
                keys: std::iter::once(&webhook.key)
                    .chain(&webhook.previous_key)
                    .cloned()
                    .collect(),
                tls: settings.webhook_tls.clone(),
                connection_limits: webhook::CONNECTION_LIMITS,
            };
            servers.push(spawn_webhook_server(listener, server, stop_servers.clone()));
        }
        let data_api_address = listeners.data_api.as_ref().zip(settings.data_api.as_ref());
        let data_api_address =
            data_api_address.map(|(bound, data_api)| local_address(bound, data_api.listen));
        if let (Some(listener), Some(server)) = (listeners.data_api, data_api_server) {
            let stop = stop_servers.clone();
            let resources = data_api::resources(&store, &registry);
            let serving = server.serve(listener, client.clone(), resources, stop);
            servers.push(tokio::spawn(serving));
        }
        let controller = Controller::start(
            ControllerDependencies {
                client: client.clone(),
                registry: registry.clone(),
                observations,
                inbox: store.clone(),
                telegram: Arc::new(telegram),
                assistants,
                can_seal: settings.sealer.is_some(),
                settings: settings.controller,
                metrics: metrics.clone(),
                readiness: readiness.clone(),
                clock: clock.clone(),
            },
            changed_connectors,
        );
        if let Some(DataApiCertificate::Kept(kept)) = settings.data_api.map(|s| s.certificate) {
            let keeper = CertificateKeeper::new(
                client,
                kept,
                served,
                controller.leading(),
                clock,
                metrics.clone(),
            );
            servers.push(tokio::spawn(keeper.run(stop_servers.clone())));
        }
        let state = AdminState {
            metrics: metrics.clone(),
            readiness,
            store_probe: store_probe(store.clone()),
        };
        servers.push(spawn_admin_server(
            listeners.admin,
            state,
            stop_servers.clone(),
        ));
        Ok(Self {
            controller,
            pipeline,
            store,
            registry,
            metrics,
            stop_servers,
            servers,
            admin,
            webhook,
            data_api: data_api_address,
            shutdown_grace: settings.shutdown_grace,
        })
    }

    /// The address of `/metrics`, `/healthz` and `/readyz`.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The address of the webhook server; `None` in polling mode.
    pub fn webhook_address(&self) -> Option<SocketAddr> {
        self.webhook
    }

    /// The address of the data API; `None` where there is none.
    pub fn data_api_address(&self) -> Option<SocketAddr> {
        self.data_api
    }

    /// The store, for listings.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The resolved connectors.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The metrics of this operator.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Ends intake first (pollers, then the webhook server), then the pipeline within the grace period; what is not finished
    /// stays in the store for the next start. Whatever does not answer, it ends at most six seconds after the grace period: three for what the
    /// controller gives back, two for the claims, and one for the servers.
    pub async fn shutdown(self) {
        self.controller.shutdown().await;
        self.stop_servers.cancel();
        self.pipeline.shutdown(self.shutdown_grace).await;
        // They have had the grace period too. A client that keeps its connection open, or a delivery that waits for the store, must not keep the process.
        let ended = futures::future::join_all(self.servers);
        let _ = tokio::time::timeout(SERVERS_TIMEOUT, ended).await;
    }
}

/// How long the servers' last requests may take once the pipeline has ended.
const SERVERS_TIMEOUT: Duration = Duration::from_secs(1);

/// A factory of assistants that may connect only where `guard` allows; their certificates are verified against the public CAs and `roots`, those
/// of identity providers against the public CAs and `provider_roots`.
///
/// # Errors
/// [`StartError::Http`].
pub fn assistant_factory(
    guard: AddressPolicy,
    roots: &ExtraRootCertificates,
    provider_roots: &ExtraRootCertificates,
) -> Result<SharedAssistantFactory, StartError> {
    let limits = ProviderLimits::default();
    let providers = IdentityProviderHttpClient::new(provider_roots, limits, guard.clone());
    let context = AssistantHttpClient::with_extra_roots(roots, HttpLimits::default(), guard)
        .map_err(|e| StartError::Http(e.to_string()))?;
    let providers = providers.map_err(StartError::Http)?;
    Ok(Arc::new(GuardedAssistantFactory(context, providers)))
}

/// All assistants share one pool of connections, and all identity providers another.
struct GuardedAssistantFactory(AssistantHttpClient, IdentityProviderHttpClient);

impl AssistantFactory for GuardedAssistantFactory {
    fn build_assistant(
        &self,
        spec: &AssistantSpec,
        credentials: Credentials,
    ) -> Result<Arc<dyn Assistant>, String> {
        crate::assistant::build_assistant(spec, credentials, &self.0).map_err(|e| e.to_string())
    }

    fn build_transcriber(
        &self,
        spec: &TranscriptionSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Transcriber>, String> {
        crate::assistant::build_transcriber(spec, key, &self.0)
    }

    fn build_extractor(
        &self,
        spec: &ExtractSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Extractor>, String> {
        crate::assistant::build_extractor(spec, key, &self.0)
    }

    fn build_speaker(
        &self,
        spec: &SpeechSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Speaker>, String> {
        crate::assistant::build_speaker(spec, key, &self.0)
    }

    fn build_identity_provider(
        &self,
        config: ProviderConfig,
        clock: SharedClock,
    ) -> IdentityProvider {
        IdentityProvider::new(config, self.1.clone(), clock)
    }
}

/// Reports a dead letter to the controller, which writes an event of the connector.
fn dead_letter_hook(observations: Arc<Observations>) -> DeadLetterHook {
    Arc::new(move |connector, reason| {
        // The pipeline does not wait for the event.
        drop(observations.queue_notice(
            &connector.uid,
            Notice::DeadLetter {
                reason: reason.to_owned(),
            },
        ));
    })
}

/// The bound addresses; binding comes before everything that would have to be stopped again.
struct Listeners {
    admin: TcpListener,
    /// In webhook mode only.
    webhook: Option<TcpListener>,
    /// Where it is wanted.
    data_api: Option<TcpListener>,
}

impl Listeners {
    fn bind(settings: &OperatorSettings) -> Result<Self, StartError> {
        let admin = bind("--admin-listen", settings.admin_listen)?;
        let webhook = match settings.controller.connection {
            ConnectionSettings::Webhook(_) => {
                Some(bind("--webhook-listen", settings.webhook_listen)?)
            }
            ConnectionSettings::Polling => None,
        };
        let data_api = settings.data_api.as_ref();
        let data_api = data_api.map(|data_api| bind("--data-api-listen", data_api.listen));
        Ok(Self {
            admin,
            webhook,
            data_api: data_api.transpose()?,
        })
    }

    /// The addresses of the admin endpoint and the webhook server, with the ports that were chosen for port 0.
    fn addresses(&self, settings: &OperatorSettings) -> (SocketAddr, Option<SocketAddr>) {
        (
            local_address(&self.admin, settings.admin_listen),
            self.webhook
                .as_ref()
                .map(|listener| local_address(listener, settings.webhook_listen)),
        )
    }
}

fn pipeline_limits(settings: &OperatorSettings) -> PipelineLimits {
    PipelineLimits {
        lanes: usize::from(settings.max_concurrent_chats),
        denied_retention: settings.denied_retention,
        session_retention: settings.session_retention,
        ..PipelineLimits::default()
    }
}

fn store_probe(store: Arc<dyn Store>) -> StoreProbe {
    Arc::new(move || {
        let store = store.clone();
        Box::pin(async move { store.writable().await.map_err(|e| e.to_string()) })
    })
}

fn spawn_webhook_server(
    listener: TcpListener,
    server: WebhookServer,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(e) = webhook::serve(listener, server, stop).await {
            tracing::error!(error = %e, "webhook server ended; no updates arrive until a restart");
        }
    })
}

fn spawn_admin_server(
    listener: TcpListener,
    state: AdminState,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(admin::serve(listener, state, stop))
}

fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    bind_listener(address).map_err(|source| StartError::Listen {
        flag,
        address,
        source,
    })
}

fn local_address(listener: &TcpListener, configured: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(configured)
}
