//! The whole of it on one machine: control plane, Bot API simulator, sample assistant and operator in one process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use embedded_control_plane::{ControlPlane, ManifestError, ServerHandle};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::DropGuard;
use tower::Layer;
use url::Url;

use super::quickstart;
use crate::api::conditions::ConditionType;
use crate::api::connector::{AssistantSpec, TranscriptionSpec};
use crate::api::{TelegramConnector, TelegramUserList};
use crate::assistant::{AddressPolicy, Assistant, ExtraRootCertificates, Transcriber};
use crate::clock::SharedClock;
use crate::connection::ConnectionSettings;
use crate::controller::{self, AssistantFactory, SharedAssistantFactory};
use crate::identity::BotId;
use crate::operator::{Operator, OperatorSettings, assistant_factory};
use crate::telegram::BotToken;
use crate::telemetry::Metrics;
use crate::telemetry::kubernetes_calls::KubernetesCallsLayer;
use bot_api_simulator::sample_assistant::{self, SampleAssistant};
use bot_api_simulator::{self, Simulator};

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct EnvironmentOptions {
    /// Manifests and folders of them; empty: the quickstart's.
    pub manifests: Vec<PathBuf>,
    /// Apply them again when they change.
    pub watch: bool,
    /// Hears of each file that was applied again, or could not be.
    pub on_manifest_applied: fn(&Path, Result<usize, ManifestError>),
    /// A Bot API root instead of the simulator.
    pub telegram_api_url: Option<Url>,
    /// A store that stays, instead of one that goes with the environment.
    pub store: Option<String>,
    /// Where to write the kubeconfig, instead of into a folder that goes with the environment.
    pub kubeconfig: Option<PathBuf>,
    /// Where the parts listen; port 0 is a free one.
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

/// Where the parts listen.
#[derive(Debug, Clone, Copy)]
pub struct ListenAddresses {
    /// The Kubernetes API.
    pub control_plane: SocketAddr,
    /// The Bot API.
    pub telegram: SocketAddr,
    /// The sample assistant.
    pub assistant: SocketAddr,
    /// Metrics, health, readiness.
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

/// One environment, running. It ends with [`Environment::shutdown`].
pub struct Environment {
    /// The embedded Kubernetes API.
    pub control_plane: ControlPlane,
    /// A client of it.
    pub client: Client,
    /// Where it is served, for kubectl.
    pub served: ServerHandle,
    /// The kubeconfig for kubectl.
    pub kubeconfig: PathBuf,
    /// The simulated Telegram; `None` when a real Bot API is used.
    pub telegram: Option<Simulator>,
    /// The Bot API's root in use.
    pub telegram_api_url: Url,
    /// The sample assistant.
    pub assistant: SampleAssistant,
    /// The operator.
    pub operator: Operator,
    /// What was applied.
    pub manifests: Vec<PathBuf>,
    folder: TempDir,
    _watching: Option<DropGuard>,
}

/// How many questions the sample assistant remembers, for the demo's checks.
const KEPT_REQUESTS: usize = 100;
/// How long connectors may take until they are Ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

impl Environment {
    /// Starts everything and applies the manifests.
    ///
    /// # Errors
    /// A sentence that names the file, address or path, and what is wrong with it.
    pub async fn start(options: EnvironmentOptions, clock: SharedClock) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("telegram-connector-")
            .tempdir()
            .context("no temporary folder")?;
        let control_plane = super::control_plane_with_crds();
        let client = control_plane.client();
        let served = control_plane
            .serve(options.listen.control_plane)
            .await
            .with_context(|| format!("--control-plane-listen {}", options.listen.control_plane))?;
        let kubeconfig = options
            .kubeconfig
            .unwrap_or_else(|| folder.path().join("kubeconfig"));
        std::fs::write(&kubeconfig, &served.kubeconfig).with_context(|| {
            format!("the kubeconfig {} cannot be written", kubeconfig.display())
        })?;
        let assistant = sample_assistant::serve(options.listen.assistant, KEPT_REQUESTS)
            .await
            .with_context(|| format!("--assistant-listen {}", options.listen.assistant))?;
        let telegram = match options.telegram_api_url {
            Some(_) => None,
            None => Some(
                bot_api_simulator::serve(
                    options.listen.telegram,
                    bot_api_simulator::SimulatorOptions {
                        register_any_token: true,
                        ..Default::default()
                    },
                )
                .await
                .with_context(|| format!("--telegram-listen {}", options.listen.telegram))?,
            ),
        };
        let telegram_api_url = match (&telegram, options.telegram_api_url) {
            (Some(simulator), _) => simulator.url(),
            (None, Some(url)) => url,
            (None, None) => unreachable!("without a simulator there is a URL"),
        };
        let manifests = if options.manifests.is_empty() {
            vec![quickstart::folder(folder.path())?]
        } else {
            options.manifests
        };
        let watching = if options.watch {
            Some(control_plane.watch_manifests(&manifests, options.on_manifest_applied)?)
        } else {
            control_plane.apply_manifests(&manifests)?;
            None
        };
        if let Some(simulator) = &telegram {
            register_bots(&client, simulator).await?;
        }
        let settings = OperatorSettings {
            controller: controller::ControllerSettings {
                connection: ConnectionSettings::Polling,
                watch_namespaces: Vec::new(),
                identity: "dev".to_owned(),
                leader_election: None,
                recheck_interval: controller::DEFAULT_RECHECK_INTERVAL,
            },
            webhook_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            webhook_tls: None,
            admin_listen: options.listen.admin,
            store: options.store.unwrap_or_else(|| {
                format!("sqlite:{}", folder.path().join("connectors.db").display())
            }),
            telegram_api_url: telegram_api_url.clone(),
            denied_retention: Duration::from_hours(720),
            session_retention: Duration::from_hours(2160),
            shutdown_grace: Duration::from_secs(5),
        };
        let factory = Arc::new(SampleAssistantFactory {
            factory: assistant_factory(
                AddressPolicy::default(),
                &ExtraRootCertificates::default(),
            )?,
            sample: assistant.url(),
        });
        let metrics = Arc::new(Metrics::new());
        let counted = Client::new(
            KubernetesCallsLayer(metrics.clone()).layer(control_plane.service()),
            "default",
        );
        let operator = Operator::start(counted, settings, metrics, factory, clock).await?;
        Ok(Self {
            control_plane,
            client,
            served,
            kubeconfig,
            telegram,
            telegram_api_url,
            assistant,
            operator,
            manifests,
            folder,
            _watching: watching,
        })
    }

    /// Waits until every connector is Ready or suspended.
    ///
    /// # Errors
    /// Those that are not after 20 s, each with the message of its status.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let api: Api<TelegramConnector> = Api::all(self.client.clone());
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
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
    /// The control plane's.
    pub async fn bots(&self) -> Result<BTreeMap<BotId, String>> {
        let api: Api<TelegramConnector> = Api::all(self.client.clone());
        let bots = api
            .list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter_map(|c| c.status?.bot);
        Ok(bots.map(|b| (BotId(b.id), b.username)).collect())
    }

    /// The people whom the user lists and connectors name, by their note and by their username, lower case; a username
    /// without an id gets a made-up one.
    ///
    /// # Errors
    /// The control plane's.
    pub async fn users(&self) -> Result<Vec<SimulatedUser>> {
        let lists: Api<TelegramUserList> = Api::all(self.client.clone());
        let connectors: Api<TelegramConnector> = Api::all(self.client.clone());
        let listed = lists
            .list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .flat_map(|l| l.spec.users);
        let inline = connectors
            .list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .flat_map(|c| {
                let access = c.spec.access;
                [
                    access.company_users,
                    access.agent_users,
                    access.specific_users,
                ]
                .into_iter()
                .flatten()
                .flat_map(|selection| selection.users.unwrap_or_default())
            });
        let mut people: Vec<SimulatedUser> = Vec::new();
        for entry in listed.chain(inline) {
            let username = entry.username.map(|u| u.trim_start_matches('@').to_owned());
            let made_up = 5_000_001 + i64::try_from(people.len()).unwrap_or(0);
            let id = entry.id.unwrap_or(made_up);
            let name = entry
                .note
                .or_else(|| username.clone())
                .unwrap_or_else(|| id.to_string());
            if !people.iter().any(|p| p.id == id) {
                people.push(SimulatedUser { id, name, username });
            }
        }
        Ok(people)
    }

    /// Ends the operator, then the rest, and removes what was temporary.
    pub async fn shutdown(self) {
        self.operator.shutdown().await;
        self.served.shutdown();
        drop(self.folder);
    }
}

/// Somebody who may be spoken as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedUser {
    /// The numeric id.
    pub id: i64,
    /// The note of their entry, else username or id.
    pub name: String,
    /// Without @.
    pub username: Option<String>,
}

impl From<&SimulatedUser> for bot_api_simulator::User {
    fn from(person: &SimulatedUser) -> Self {
        let user = Self::new(person.id, &person.name).language("en");
        match &person.username {
            Some(username) => user.username(username),
            None => user,
        }
    }
}

/// Why a connector is not where it should be, in one line.
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

/// Makes the tokens of all connectors known to the simulator, under names that tell whose bot it is.
async fn register_bots(client: &Client, simulator: &Simulator) -> Result<()> {
    let connectors: Api<TelegramConnector> = Api::all(client.clone());
    for connector in connectors.list(&ListParams::default()).await? {
        let namespace = connector.namespace().unwrap_or_default();
        let reference = &connector.spec.bot_token_secret_ref;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let Some(secret) = secrets.get_opt(&reference.name).await? else {
            continue;
        };
        let key = reference.key.as_deref().unwrap_or("token");
        let token = secret
            .data
            .and_then(|mut d| d.remove(key))
            .and_then(|v| String::from_utf8(v.0).ok());
        if let Some(token) = token.filter(|t| BotToken::parse(t).is_ok()) {
            let username =
                format!("{namespace}_{}_bot", connector.name_any()).replace(['-', '.'], "_");
            let name = connector
                .spec
                .display_name
                .clone()
                .unwrap_or_else(|| connector.name_any());
            simulator.add_bot(token.trim(), &username, &name);
        }
    }
    Ok(())
}

/// There is no cluster network here: the quickstart's assistant and every `*.svc` name lead to the sample assistant.
struct SampleAssistantFactory {
    factory: SharedAssistantFactory,
    sample: Url,
}

impl AssistantFactory for SampleAssistantFactory {
    fn build_assistant(
        &self,
        spec: &AssistantSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<dyn Assistant>, String> {
        let url = redirect_to_sample(&spec.url, &self.sample);
        let spec = AssistantSpec {
            url,
            ..spec.clone()
        };
        self.factory.build_assistant(&spec, key)
    }

    fn build_transcriber(
        &self,
        spec: &TranscriptionSpec,
        key: Option<SecretString>,
    ) -> Result<Arc<Transcriber>, String> {
        let url = redirect_to_sample(&spec.url, &self.sample);
        let spec = TranscriptionSpec {
            url,
            ..spec.clone()
        };
        self.factory.build_transcriber(&spec, key)
    }
}

fn redirect_to_sample(written: &str, sample: &Url) -> String {
    let Ok(mut url) = written.parse::<Url>() else {
        return written.to_owned();
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    let quickstart = format!("{host}:{}", url.port_or_known_default().unwrap_or(0))
        == quickstart::ASSISTANT_ADDRESS;
    let in_cluster = host.trim_end_matches(".cluster.local").rsplit('.').next() == Some("svc");
    // Setting the host and port of an http URL cannot fail.
    if (quickstart || in_cluster)
        && url.set_scheme(sample.scheme()).is_ok()
        && url.set_host(sample.host_str()).is_ok()
        && url.set_port(sample.port()).is_ok()
    {
        return url.into();
    }
    written.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_used_for(url: &str) -> String {
        redirect_to_sample(url, &"http://127.0.0.1:4321/v1".parse().unwrap())
    }

    #[test]
    fn cluster_names_and_the_quickstarts_address_lead_to_the_sample_and_nothing_else_does() {
        assert_eq!(
            url_used_for("http://127.0.0.1:8081/v1"),
            "http://127.0.0.1:4321/v1"
        );
        assert_eq!(
            url_used_for("http://agent.acme.svc:8080/v1"),
            "http://127.0.0.1:4321/v1"
        );
        assert_eq!(
            url_used_for("https://agent.acme.svc.cluster.local/v1"),
            "http://127.0.0.1:4321/v1"
        );
        assert_eq!(
            url_used_for("https://api.openai.com/v1"),
            "https://api.openai.com/v1"
        );
    }
}
