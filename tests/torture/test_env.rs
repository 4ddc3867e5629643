//! What outlives the operator: the control plane with the connectors, Telegram, the assistant, and the volume with the store.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use bot_api_simulator::sample_assistant::SampleAssistant;
use bot_api_simulator::{Simulator, SimulatorOptions};
use rand::Rng;
use telegram_connector_operator::dev::control_plane::{ControlPlane, ServerHandle};
use telegram_connector_operator::identity::BotId;

use crate::operator::{Operator, Surroundings, command};

/// How updates come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The operator asks.
    Polling,
    /// Telegram calls, over TLS.
    Webhook,
}

pub(crate) struct World {
    pub(crate) telegram: Simulator,
    pub(crate) assistant: SampleAssistant,
    pub(crate) plane: ControlPlane,
    pub(crate) bots: Vec<BotId>,
    /// `--store`.
    pub(crate) store: String,
    pub(crate) admin: SocketAddr,
    flags: Vec<String>,
    folder: tempfile::TempDir,
    _served: ServerHandle,
}

/// A port that stays ours while the operator is dead: below the range out of which systems give ports to outgoing connections.
fn port() -> SocketAddr {
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

/// The name of the connector of a bot.
pub(crate) fn connector(n: usize) -> String {
    format!("bot{n}")
}

impl World {
    pub(crate) async fn new(way: Way, bots: usize, seed: u64) -> Self {
        let telegram = Simulator::start(SimulatorOptions {
            seed,
            // Webhooks on any port, and retried ten times as soon as in life: kills come faster than in life, too.
            local_mode: true,
            webhook_second_micros: 100_000,
            keep_messages: 10_000_000,
            ..SimulatorOptions::default()
        })
        .await
        .unwrap();
        let assistant = SampleAssistant::start().await.unwrap();
        let plane = ControlPlane::new();
        let served = plane.serve(([127, 0, 0, 1], 0).into()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), &served.kubeconfig).unwrap();
        std::fs::create_dir(folder.path().join("volume")).unwrap();

        let mut manifests = "apiVersion: v1\nkind: Namespace\nmetadata: {name: acme}\n".to_owned();
        let mut ids = Vec::new();
        for n in 0..bots {
            let (name, token) = (connector(n), token(n));
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
                 spec:\n  botTokenSecretRef: {{name: {name}}}\n  access: {{level: Open}}\n  groups: {{respondTo: All}}\n  limits: {{messagesPerMinute: 600}}\n  \
                 assistant: {{protocol: OpenAI, url: '{url}', model: sample, timeoutSeconds: 5}}\n"
            )
            .unwrap();
        }
        let path = folder.path().join("connectors.yaml");
        std::fs::write(&path, manifests).unwrap();
        plane.apply_manifests(&[path]).unwrap();

        let admin = port();
        let store = format!("sqlite:{}/volume/connectors.db", folder.path().display());
        let mut flags: Vec<String> = ["--store", &store, "--admin-listen", &admin.to_string()]
            .map(str::to_owned)
            .into();
        flags.extend(["--telegram-api-url".into(), telegram.url().into()]);
        if way == Way::Webhook {
            let listen = port();
            let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
            let file = |name: &str, text: String| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).unwrap();
                path.display().to_string()
            };
            let certificate = file("certificate.pem", made.cert.pem());
            let key = file("key.pem", made.signing_key.serialize_pem());
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
        self.start_in(&Surroundings::default())
    }

    pub(crate) fn start_in(&self, surroundings: &Surroundings) -> Operator {
        let folder = self.folder.path();
        let (kubeconfig, log) = (folder.join("kubeconfig"), folder.join("log"));
        Operator::start(&kubeconfig, &log, &self.flags, surroundings)
    }

    /// From the next start on the Bot API has this root.
    pub(crate) fn call_telegram(&mut self, root: &str) {
        let flag = self.flags.iter().position(|f| f == "--telegram-api-url");
        root.clone_into(&mut self.flags[flag.unwrap() + 1]);
    }

    /// Writes an `/etc/hosts`, for [`Surroundings`].
    pub(crate) fn hosts(&self, lines: &str) -> PathBuf {
        let path = self.folder.path().join("hosts");
        std::fs::write(&path, lines).unwrap();
        path
    }

    /// What the operators of this world have logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The folder with the store and nothing else.
    pub(crate) fn volume(&self) -> PathBuf {
        self.folder.path().join("volume")
    }

    /// The dead letters of all connectors, as the on-call engineer lists them.
    pub(crate) fn dead_letters(&self) -> Vec<serde_json::Value> {
        let listed = (0..self.bots.len()).flat_map(|n| {
            let name = connector(n);
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
        listed.collect()
    }

    /// Hands all dead letters back, as the on-call engineer does.
    pub(crate) fn retry_dead_letters(&self) {
        for n in 0..self.bots.len() {
            let name = connector(n);
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
