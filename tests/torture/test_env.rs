//! Everything that survives a kill of the operator: the control plane with the connectors, the simulated Telegram, the assistant, and
//! the volume with the store.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use bot_api_simulator::sample_assistant::SampleAssistant;
use bot_api_simulator::{Simulator, SimulatorOptions};
use embedded_control_plane::{ControlPlane, ServerHandle};
use rand::Rng;
use telegram_connector_operator::identity::BotId;

use crate::operator::{Operator, ProcessEnvironment, command};

/// How Telegram delivers updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryMode {
    /// The operator calls getUpdates.
    Polling,
    /// Telegram calls the operator's webhook over TLS.
    Webhook,
}

/// The environment of one test.
pub(crate) struct TestEnv {
    pub(crate) telegram: Simulator,
    pub(crate) assistant: SampleAssistant,
    pub(crate) plane: ControlPlane,
    pub(crate) bots: Vec<BotId>,
    /// The value of `--store`.
    pub(crate) store: String,
    /// The address of the operator's admin endpoint.
    pub(crate) admin: SocketAddr,
    flags: Vec<String>,
    folder: tempfile::TempDir,
    _served: ServerHandle,
}

/// A free port that stays free while the operator is down: it is below the range from which the system takes ports for outgoing
/// connections.
fn reserve_port() -> SocketAddr {
    loop {
        let port = rand::rng().random_range(20_000..30_000);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn token(n: usize) -> String {
    format!("{}:AAFakeTokenFakeTokenFakeTokenFakeTok", 8_400_000_001 + n)
}

/// The name of the connector of bot `n`.
pub(crate) fn connector_name(n: usize) -> String {
    format!("bot{n}")
}

impl TestEnv {
    /// With a store in a `SQLite` file.
    pub(crate) async fn new(mode: DeliveryMode, bots: usize, seed: u64) -> Self {
        Self::with_store(mode, bots, seed, None).await
    }

    /// With the store at this address, else in a `SQLite` file.
    pub(crate) async fn with_store(
        mode: DeliveryMode,
        bots: usize,
        seed: u64,
        store: Option<String>,
    ) -> Self {
        let telegram = Simulator::start(SimulatorOptions {
            seed,
            // Local mode allows webhooks on any port. Telegram's webhook retries are ten times as fast as in reality, as the kills are.
            local_mode: true,
            webhook_second_micros: 100_000,
            keep_messages: 10_000_000,
            ..SimulatorOptions::default()
        })
        .await
        .unwrap();
        let assistant = SampleAssistant::start().await.unwrap();
        let plane = ControlPlane::builder()
            .crds(telegram_connector_operator::api::crds::all())
            .build();
        let served = plane.serve(([127, 0, 0, 1], 0).into()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), &served.kubeconfig).unwrap();
        std::fs::create_dir(folder.path().join("volume")).unwrap();

        let mut manifests = "apiVersion: v1\nkind: Namespace\nmetadata: {name: acme}\n".to_owned();
        let mut ids = Vec::new();
        for n in 0..bots {
            let (name, token) = (connector_name(n), token(n));
            ids.push(BotId(telegram.add_bot(
                &token,
                &format!("{name}_bot"),
                "Bot",
            )));
            let url = assistant.url();
            write!(
                manifests,
                "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: acme}}\nstringData: {{token: '{token}'}}\n\
                 ---\napiVersion: connectors.pupau.ai/v1alpha1\nkind: TelegramConnector\nmetadata: {{name: {name}, namespace: acme}}\n\
                 spec:\n  botTokenSecretRef: {{name: {name}}}\n  access: {{level: Open}}\n  groups: {{respondTo: All}}\n  limits: {{messagesPerMinute: 600}}\n  sending: {{perMinute: 1000}}\n  \
                 assistant: {{protocol: OpenAI, url: '{url}', model: sample, timeoutSeconds: 5}}\n"
            )
            .unwrap();
        }
        let path = folder.path().join("connectors.yaml");
        std::fs::write(&path, manifests).unwrap();
        plane.apply_manifests(&[path]).unwrap();

        let admin = reserve_port();
        let sqlite = || format!("sqlite:{}/volume/connectors.db", folder.path().display());
        let store = store.unwrap_or_else(sqlite);
        let mut flags: Vec<String> = ["--store", &store, "--admin-listen", &admin.to_string()]
            .map(str::to_owned)
            .into();
        flags.extend(["--telegram-api-url".into(), telegram.url().into()]);
        flags.push("--allow-assistant-address=127.0.0.1".into());
        // One replica, so that nobody waits for the Lease of a leader that was killed.
        flags.push("--leader-election=false".into());
        if mode == DeliveryMode::Webhook {
            let listen = reserve_port();
            let generated =
                rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
            let file = |name: &str, text: String| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).unwrap();
                path.display().to_string()
            };
            let certificate = file("certificate.pem", generated.cert.pem());
            let key = file("key.pem", generated.signing_key.serialize_pem());
            for (flag, value) in [
                ("--connection-mode", "webhook"),
                ("--public-url", &format!("https://{listen}")),
                ("--webhook-listen", &listen.to_string()),
                ("--webhook-key", "0123456789abcdef0123456789abcdef"),
                ("--webhook-tls-cert", &certificate),
                ("--webhook-tls-key", &key),
            ] {
                flags.extend([flag.to_owned(), value.to_owned()]);
            }
            flags.push("--webhook-upload-certificate".into());
        }
        Self {
            telegram,
            assistant,
            plane,
            bots: ids,
            store,
            admin,
            flags,
            folder,
            _served: served,
        }
    }

    pub(crate) fn start(&self) -> Operator {
        self.start_with(&ProcessEnvironment::default())
    }

    pub(crate) fn start_with(&self, process_env: &ProcessEnvironment) -> Operator {
        let folder = self.folder.path();
        let (kubeconfig, log) = (folder.join("kubeconfig"), folder.join("log"));
        Operator::start(&kubeconfig, &log, &self.flags, process_env)
    }

    /// Sets `--telegram-api-url` for operators that are started from now on.
    pub(crate) fn set_telegram_url(&mut self, root: &str) {
        let flag = self.flags.iter().position(|f| f == "--telegram-api-url");
        root.clone_into(&mut self.flags[flag.unwrap() + 1]);
    }

    /// Writes a hosts file for [`ProcessEnvironment::hosts`].
    pub(crate) fn write_hosts(&self, lines: &str) -> PathBuf {
        let path = self.folder.path().join("hosts");
        std::fs::write(&path, lines).unwrap();
        path
    }

    /// The log of all operators of this environment.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A folder for the test's own files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that holds nothing but the store.
    pub(crate) fn volume(&self) -> PathBuf {
        self.folder.path().join("volume")
    }

    /// The dead letters of all connectors, from the `dead-letters` command.
    pub(crate) fn dead_letters(&self) -> Vec<serde_json::Value> {
        let rows_by_connector = (0..self.bots.len()).flat_map(|n| {
            let name = connector_name(n);
            let listing = command(&[
                "dead-letters",
                &name,
                "--namespace",
                "acme",
                "--store",
                &self.store,
                "-o",
                "json",
            ]);
            let rows: Vec<_> = listing
                .lines()
                .map(|row| serde_json::from_str(row).unwrap())
                .collect();
            rows
        });
        rows_by_connector.collect()
    }

    /// Puts all dead letters back into the inbox with `dead-letters --retry all`.
    pub(crate) fn retry_dead_letters(&self) {
        for n in 0..self.bots.len() {
            let name = connector_name(n);
            command(&[
                "dead-letters",
                &name,
                "--namespace",
                "acme",
                "--store",
                &self.store,
                "--retry",
                "all",
            ]);
        }
    }
}
