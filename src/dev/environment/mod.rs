//! The control plane, the Bot API simulator, the sample assistant and the operator in one process.

mod data_api;
mod sample_factory;
pub(in crate::dev) mod users;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use embedded_control_plane::{ControlPlane, ManifestError, ServerHandle};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tempfile::TempDir;
use tokio_util::sync::DropGuard;
use tower::Layer;
use url::Url;

use super::quickstart;
use crate::api::TelegramConnector;
use crate::api::conditions::ConditionType;
use crate::assistant::{AddressPolicy, ExtraRootCertificates};
use crate::clock::SharedClock;
use crate::connection::ConnectionSettings;
use crate::controller;
use crate::identity::BotId;
use crate::identity_provider::Sealer;
use crate::kube_client::DevOperator;
use crate::operator::{Operator, OperatorSettings, assistant_factory};
use crate::telemetry::Metrics;
use crate::telemetry::kubernetes_calls::KubernetesCallsLayer;
use bot_api_simulator::sample_assistant::{self, SampleAssistant};
use bot_api_simulator::{self, Simulator};
use data_api::DataApi;
use sample_factory::SampleAssistantFactory;
pub(crate) use sample_factory::redirect_to_sample;
pub use users::SimulatedUser;

/// How an environment differs from the default: the quickstart's manifests, free ports and a temporary store.
#[derive(Debug, Clone)]
pub struct EnvironmentOptions {
    /// Manifests and folders of them; empty: the quickstart's.
    pub manifests: Vec<PathBuf>,
    /// Apply a manifest again when its file changes.
    pub watch: bool,
    /// Called after each such apply, with the number of objects or the error.
    pub on_manifest_applied: fn(&Path, Result<usize, ManifestError>),
    /// The root URL of a Bot API to use instead of the simulator.
    pub telegram_api_url: Option<Url>,
    /// The store's URL, instead of a temporary one that is removed on shutdown.
    pub store: Option<String>,
    /// Where to write the kubeconfig, instead of a temporary file that is removed on shutdown.
    pub kubeconfig: Option<PathBuf>,
    /// Port 0 means any free port.
    pub listen: ListenAddresses,
}

impl Default for EnvironmentOptions {
    fn default() -> Self {
        Self {
            manifests: Vec::new(),
            watch: false,
            on_manifest_applied: |_, _| {},
            telegram_api_url: None,
            store: None,
            kubeconfig: None,
            listen: ListenAddresses::default(),
        }
    }
}

/// The listen address of each part.
#[derive(Debug, Clone, Copy)]
pub struct ListenAddresses {
    /// The Kubernetes API.
    pub control_plane: SocketAddr,
    /// The Bot API.
    pub telegram: SocketAddr,
    /// The sample assistant.
    pub assistant: SocketAddr,
    /// The operator's metrics, health and readiness endpoints.
    pub admin: SocketAddr,
}

impl Default for ListenAddresses {
    fn default() -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            control_plane: free,
            telegram: free,
            assistant: free,
            admin: free,
        }
    }
}

/// A running environment. [`Environment::shutdown`] ends it.
pub struct Environment {
    /// A client of the embedded Kubernetes API; its calls are not counted in the operator's metrics.
    pub client: Client,
    /// The HTTP server of that API, for kubectl.
    pub served: ServerHandle,
    /// The path of the kubeconfig for kubectl.
    pub kubeconfig: PathBuf,
    /// The Bot API simulator; `None` when another Bot API is used.
    pub telegram: Option<Simulator>,
    /// The root URL of the Bot API in use.
    pub telegram_api_url: Url,
    /// The sample assistant.
    pub assistant: SampleAssistant,
    /// The operator.
    pub operator: Operator,
    /// Files and folders that were applied.
    pub manifests: Vec<PathBuf>,
    temp_dir: TempDir,
    _manifest_watch: Option<DropGuard>,
}

/// How many requests the sample assistant keeps, for the demo's checks.
const KEPT_REQUESTS: usize = 100;
/// Limit of [`Environment::wait_until_ready`].
const READY_TIMEOUT: Duration = Duration::from_secs(20);

impl Environment {
    /// Starts every part and applies the manifests.
    ///
    /// # Errors
    /// A sentence that names the file, address or path, and what is wrong with it.
    pub async fn start(options: EnvironmentOptions, clock: SharedClock) -> Result<Self> {
        let temp_dir = tempfile::Builder::new()
            .prefix("telegram-connector-")
            .tempdir()
            .context("no temporary folder")?;
        let listen = options.listen;
        let control_plane = super::control_plane_with_crds();
        let client = control_plane.client();
        let served = control_plane
            .serve(listen.control_plane)
            .await
            .with_context(|| format!("--control-plane-listen {}", listen.control_plane))?;
        let kubeconfig = options
            .kubeconfig
            .unwrap_or_else(|| temp_dir.path().join("kubeconfig"));
        let assistant = sample_assistant::serve(listen.assistant, KEPT_REQUESTS)
            .await
            .with_context(|| format!("--assistant-listen {}", listen.assistant))?;
        let (telegram, telegram_api_url) =
            start_telegram(options.telegram_api_url, listen.telegram).await?;
        let manifests = if options.manifests.is_empty() {
            vec![quickstart::folder(temp_dir.path())?]
        } else {
            options.manifests
        };
        let manifest_watch = if options.watch {
            Some(control_plane.watch_manifests(&manifests, options.on_manifest_applied)?)
        } else {
            control_plane.apply_manifests(&manifests)?;
            None
        };
        if let Some(simulator) = &telegram {
            users::register_bots(&client, simulator).await?;
        }
        let store = options.store.unwrap_or_else(|| {
            format!("sqlite:{}", temp_dir.path().join("connectors.db").display())
        });
        let data_api = DataApi::new(temp_dir.path())?;
        let settings = OperatorSettings {
            data_api: Some(data_api.settings.clone()),
            ..operator_settings(store.clone(), telegram_api_url.clone(), listen.admin)
        };
        let operator = start_operator(&control_plane, settings, assistant.url(), clock).await?;
        if let Some(address) = operator.data_api_address() {
            data_api.register(&client, address).await?;
        }
        let flags = run_flags(&store, &telegram_api_url, operator.admin_address());
        let sample_assistant = Some(assistant.url());
        let content = DevOperator {
            flags,
            sample_assistant,
        }
        .add_to(&served.kubeconfig)?;
        std::fs::write(&kubeconfig, content).with_context(|| {
            format!("the kubeconfig {} cannot be written", kubeconfig.display())
        })?;
        Ok(Self {
            client,
            served,
            kubeconfig,
            telegram,
            telegram_api_url,
            assistant,
            operator,
            manifests,
            temp_dir,
            _manifest_watch: manifest_watch,
        })
    }

    /// Waits until every connector is Ready or suspended.
    ///
    /// # Errors
    /// After 20 s, with the status message of each connector that is not.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let api: Api<TelegramConnector> = Api::all(self.client.clone());
        let deadline = tokio::time::Instant::now() + READY_TIMEOUT;
        loop {
            let list = api.list(&ListParams::default()).await?;
            let waiting: Vec<String> = list.items.iter().filter_map(not_ready).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "not Ready after 20 s:\n{}",
                waiting.join("\n")
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The bots of all connectors: bot id and username.
    ///
    /// # Errors
    /// The Kubernetes API cannot be read.
    pub async fn bots(&self) -> Result<BTreeMap<BotId, String>> {
        let api: Api<TelegramConnector> = Api::all(self.client.clone());
        let bots = api
            .list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter_map(|connector| connector.status?.bot);
        Ok(bots.map(|bot| (BotId(bot.id), bot.username)).collect())
    }

    /// The users that the user lists and connectors name. An entry without an id gets an invented one.
    ///
    /// # Errors
    /// The Kubernetes API cannot be read.
    pub async fn users(&self) -> Result<Vec<SimulatedUser>> {
        users::list_users(&self.client).await
    }

    /// Stops the operator first, then the servers it uses, and removes temporary files.
    pub async fn shutdown(self) {
        self.operator.shutdown().await;
        self.served.shutdown();
        drop(self.temp_dir);
    }
}

/// The simulator, unless `api_url` names another Bot API; and the root URL of the Bot API in use.
async fn start_telegram(
    api_url: Option<Url>,
    listen: SocketAddr,
) -> Result<(Option<Simulator>, Url)> {
    if let Some(url) = api_url {
        return Ok((None, url));
    }
    let options = bot_api_simulator::SimulatorOptions {
        register_any_token: true,
        ..Default::default()
    };
    let simulator = bot_api_simulator::serve(listen, options)
        .await
        .with_context(|| format!("--telegram-listen {listen}"))?;
    let url = simulator.url();
    Ok((Some(simulator), url))
}

/// What `run` would take from its flags: polling, all namespaces, no leader election, the default retentions.
fn operator_settings(
    store: String,
    telegram_api_url: Url,
    admin_listen: SocketAddr,
) -> OperatorSettings {
    OperatorSettings {
        controller: controller::ControllerSettings {
            connection: ConnectionSettings::Polling,
            watch_namespaces: Vec::new(),
            identity: "dev".to_owned(),
            leader_election: None,
            require_secret_label: false,
            recheck_interval: controller::DEFAULT_RECHECK_INTERVAL,
        },
        webhook_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        webhook_tls: None,
        data_api: None,
        admin_listen,
        store,
        telegram_api_url,
        telegram_files: None,
        denied_retention: Duration::from_hours(720),
        session_retention: Duration::from_hours(2160),
        max_concurrent_chats: 1024,
        shutdown_grace: Duration::from_secs(5),
        sealer: Some(Arc::new(Sealer::ephemeral())),
    }
}

/// The flags of `run` that would start the same operator.
fn run_flags(store: &str, telegram_api_url: &Url, admin: SocketAddr) -> Vec<String> {
    vec![
        format!("--store={store}"),
        format!("--telegram-api-url={telegram_api_url}"),
        format!("--admin-listen={admin}"),
        "--allow-assistant-address=127.0.0.1,::1".to_owned(),
    ]
}

async fn start_operator(
    control_plane: &ControlPlane,
    settings: OperatorSettings,
    sample: Url,
    clock: SharedClock,
) -> Result<Operator> {
    let factory = Arc::new(SampleAssistantFactory {
        factory: assistant_factory(
            AddressPolicy::allowing_loopback(),
            &ExtraRootCertificates::default(),
            &ExtraRootCertificates::default(),
        )?,
        sample,
    });
    let metrics = Arc::new(Metrics::new());
    let client = Client::new(
        KubernetesCallsLayer(metrics.clone()).layer(control_plane.service()),
        "default",
    );
    Ok(Operator::start(client, settings, metrics, factory, clock).await?)
}

/// The reason and message of a connector that is neither Ready nor suspended, in one line.
fn not_ready(connector: &TelegramConnector) -> Option<String> {
    if connector.spec.suspend == Some(true) {
        return None;
    }
    let name = format!(
        "{}/{}",
        connector.namespace().unwrap_or_default(),
        connector.name_any()
    );
    let ready = connector
        .status
        .iter()
        .flat_map(|s| &s.conditions)
        .find(|c| c.type_ == ConditionType::Ready);
    match ready {
        Some(c) if c.status == "True" => None,
        Some(c) => Some(format!("  {name}: {}: {}", c.reason, c.message)),
        None => Some(format!("  {name}: the operator has not looked at it yet")),
    }
}
