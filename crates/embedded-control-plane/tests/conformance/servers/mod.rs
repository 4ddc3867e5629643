//! The servers: the embedded control plane, made anew for each test, and the real ones of `KUBEBUILDER_ASSETS`, each started at
//! most once per run, when the first test needs it, and ended by process id.

mod processes;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use embedded_control_plane::ControlPlane;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use parking_lot::Mutex;

use self::processes::ServerProcesses;
use crate::cluster::Cluster;
use crate::suite::ServerFeature;

/// Which kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    Embedded,
    /// etcd, kube-apiserver and kube-controller-manager.
    KubeApiserver,
    /// etcd and the custom-resource API server alone.
    CrdServer,
}

/// A server, started or not.
pub struct Server {
    pub name: String,
    pub server_kind: ServerKind,
    /// Major and minor version.
    version: (u32, u32),
    assets: std::path::PathBuf,
    /// Our CRDs are on it from the start.
    with_crds: bool,
    running: Mutex<Option<ServerProcesses>>,
}

static NEXT_NAMESPACE: AtomicUsize = AtomicUsize::new(1);

impl Server {
    pub fn embedded() -> Self {
        Self::new(
            "embedded".into(),
            ServerKind::Embedded,
            (1, 36),
            Path::new(""),
        )
    }

    fn new(name: String, server_kind: ServerKind, version: (u32, u32), assets: &Path) -> Self {
        Self {
            name,
            server_kind,
            version,
            assets: assets.to_owned(),
            with_crds: true,
            running: Mutex::new(None),
        }
    }

    /// Another server of the same kind, for one test alone, without our CRDs.
    pub fn dedicated(&self) -> Self {
        Self {
            with_crds: false,
            ..Self::new(
                self.name.clone(),
                self.server_kind,
                self.version,
                &self.assets,
            )
        }
    }

    /// The real servers whose binaries lie in `folder`, with the versions that the binaries say they are.
    pub fn find_real(folder: &Path) -> Vec<Self> {
        let mut servers = Vec::new();
        for (binary, flag, server_kind) in [
            ("kube-apiserver", "--version", ServerKind::KubeApiserver),
            ("crd-server", "--help", ServerKind::CrdServer),
        ] {
            if !folder.join(binary).exists() {
                eprintln!(
                    "*** {} has no {binary}: nothing is tried on it ***",
                    folder.display()
                );
                continue;
            }
            let output = Command::new(folder.join(binary))
                .arg(flag)
                .output()
                .unwrap_or_else(|error| {
                    panic!(
                        "{} cannot be started: {error}",
                        folder.join(binary).display()
                    );
                });
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let version = version_in(&text)
                .unwrap_or_else(|| panic!("{binary} {flag} names no version: {text}"));
            let name = format!("{binary}-{}.{}", version.0, version.1);
            servers.push(Self::new(name, server_kind, version, folder));
        }
        servers
    }

    /// Whether the server has what a test needs.
    pub fn has(&self, feature: ServerFeature) -> bool {
        let since = |minor: u32| self.version >= (1, minor);
        match feature {
            ServerFeature::Core
            | ServerFeature::Discovery
            | ServerFeature::Controllers
            | ServerFeature::OwnServer => self.server_kind != ServerKind::CrdServer,
            ServerFeature::Rbac => self.server_kind == ServerKind::KubeApiserver,
            ServerFeature::Crds => true,
            ServerFeature::Cel | ServerFeature::FieldValidation => since(25),
            ServerFeature::Kubernetes130 => since(30),
            ServerFeature::StreamingLists => since(34),
            ServerFeature::Embedded => self.server_kind == ServerKind::Embedded,
        }
    }

    /// A cluster for one test.
    pub async fn cluster(&self) -> Cluster {
        let installed = if self.with_crds {
            crate::crds()
        } else {
            Vec::new()
        };
        let (client, kubeconfig, control_plane) = if self.server_kind == ServerKind::Embedded {
            let control_plane = ControlPlane::builder().crds(installed).build();
            (control_plane.client(), String::new(), Some(control_plane))
        } else {
            let kubeconfig = self.start();
            let client = connect(&kubeconfig).await;
            install(&client, installed).await;
            (client, kubeconfig, None)
        };
        let all = [
            ServerFeature::Core,
            ServerFeature::Rbac,
            ServerFeature::Controllers,
            ServerFeature::Crds,
            ServerFeature::Cel,
            ServerFeature::StreamingLists,
            ServerFeature::FieldValidation,
            ServerFeature::Kubernetes130,
            ServerFeature::Discovery,
            ServerFeature::Embedded,
        ];
        let cluster = Cluster {
            client,
            namespace: format!("test-{}", NEXT_NAMESPACE.fetch_add(1, Ordering::Relaxed)),
            kubeconfig,
            control_plane,
            features: all
                .into_iter()
                .filter(|feature| self.has(*feature))
                .collect(),
        };
        cluster.create_namespace().await;
        cluster
    }

    /// Starts the server unless it runs, and returns an administrator's kubeconfig.
    fn start(&self) -> String {
        let mut running = self.running.lock();
        let started =
            running.get_or_insert_with(|| ServerProcesses::start(&self.assets, self.server_kind));
        started.kubeconfig.clone()
    }

    /// Ends what was started.
    pub fn stop(&self) {
        drop(self.running.lock().take());
    }
}

/// The first `1.20`-like version after `v` or after `kube=…default:`.
fn version_in(text: &str) -> Option<(u32, u32)> {
    let pattern = regex::Regex::new(r"(?:Kubernetes v|kube=[^)]*default:)(\d+)\.(\d+)")
        .expect("a good pattern");
    let found = pattern.captures(text)?;
    Some((found[1].parse().ok()?, found[2].parse().ok()?))
}

async fn connect(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("our own kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.expect("our own kubeconfig");
    // A 503 is the answer that a test wants to see, not one to be asked about again for minutes.
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

/// Installs CRDs, unless they are there, and waits until they are served. They are created, not applied: an old server
/// drops what it does not know of a created CRD, but refuses to apply it.
pub async fn install(client: &Client, wanted: impl IntoIterator<Item = CustomResourceDefinition>) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in wanted {
        let name = definition.metadata.name.clone().expect("a CRD has a name");
        // Not by server-side apply, which an API server without CEL refuses for fields that it does not know.
        match definitions
            .create(&PostParams::default(), &definition)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            created => drop(created.expect("our CRD is accepted")),
        }
        let established = kube::runtime::conditions::is_crd_established();
        let established =
            kube::runtime::wait::await_condition(definitions.clone(), &name, established);
        tokio::time::timeout(crate::cluster::WAIT_TIMEOUT, established)
            .await
            .expect("in time")
            .expect("established");
    }
}
