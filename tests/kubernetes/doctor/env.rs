//! A healthy environment as `doctor` finds it in a cluster: an operator's Deployment and Lease, a connector with all that it names, and the
//! peers outside. No operator runs in it: what it would have written is planted, so that a fault stays the only one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bot_api_simulator::{Simulator, SimulatorOptions};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::process::Command;

use super::peers::{self, API_KEY, MODEL, Peer, Validity, WebhookBehaviour};
use crate::cluster::{Cluster, ExternalAccess, WAIT_TIMEOUT};

const PROGRAM: &str = env!("CARGO_BIN_EXE_telegram-connector-operator");
/// Name of the operator's Deployment and of its `ServiceAccount`.
pub const OPERATOR: &str = "tco";
/// The token of the connector's bot.
pub const TOKEN: &str = "8400000001:planted-and-not-real";
/// The part of it that nobody may see.
pub const TOKEN_SECRET: &str = "planted-and-not-real";
/// The bot's id.
pub const BOT: i64 = 8_400_000_001;

/// The environment, in the test's own namespace.
pub struct DoctorEnv {
    pub cluster: Cluster,
    pub telegram: Simulator,
    pub assistant: Option<Peer>,
    pub webhook: Option<Peer>,
    /// The operator as a process of this machine, whose flags are told behind `--`.
    pub process: Option<Peer>,
    /// Another Bot API root than the simulator's.
    pub telegram_root: Option<Peer>,
    pub webhook_behaviour: Arc<Mutex<WebhookBehaviour>>,
    pub uid: String,
    external_access: ExternalAccess,
    webhook_address: SocketAddr,
    more_arguments: Vec<String>,
    ready_replicas: AtomicU32,
}

/// One line of `doctor -o json`.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Finding {
    pub check: String,
    pub object: String,
    pub level: String,
    pub message: String,
    pub fix: Option<String>,
}

/// What `doctor` printed.
#[derive(Debug)]
pub struct Examination {
    pub code: Option<i32>,
    pub out: String,
    pub error: String,
    pub findings: Vec<Finding>,
}

impl Examination {
    /// The checks whose findings have this level.
    pub fn checks(&self, level: &str) -> BTreeSet<&str> {
        let found = self.findings.iter().filter(|f| f.level == level);
        found.map(|f| f.check.as_str()).collect()
    }

    pub fn find(&self, check: &str, level: &str) -> Option<&Finding> {
        let mut findings = self.findings.iter();
        findings.find(|f| f.check == check && f.level == level)
    }
}

/// How often an environment is examined anew because a real controller has counted its Pods.
const MAX_TRIES: u32 = 10;

impl DoctorEnv {
    pub async fn new(cluster: Cluster) -> Self {
        let mut env = Self::bare(cluster).await;
        env.plant().await;
        env
    }

    /// The peers, and nothing in the cluster.
    pub async fn bare(cluster: Cluster) -> Self {
        let options = SimulatorOptions {
            local_mode: true,
            ..SimulatorOptions::default()
        };
        let telegram = Simulator::start(options).await.expect("a simulator");
        telegram.add_bot(TOKEN, "acme_support_bot", "Acme Support");
        let behaviour = WebhookBehaviour {
            uid: String::new(),
            validity: Validity::Long,
            foreign: false,
        };
        let behaviour = Arc::new(Mutex::new(behaviour));
        let webhook = peers::webhook_server(behaviour.clone()).await;
        Self {
            external_access: cluster.external_access().await,
            cluster,
            telegram,
            assistant: Some(peers::assistant().await),
            webhook_address: webhook.address,
            webhook: Some(webhook),
            webhook_behaviour: behaviour,
            process: None,
            telegram_root: None,
            uid: String::new(),
            more_arguments: Vec::new(),
            ready_replicas: AtomicU32::new(0),
        }
    }

    /// The path of the store.
    pub fn store(&self) -> PathBuf {
        self.external_access.folder().join("connectors.db")
    }

    /// Examines as whom a kubeconfig names.
    pub fn use_kubeconfig(&self, kubeconfig: &str) {
        let path = self.external_access.kubeconfig();
        std::fs::write(path, kubeconfig).expect("a writable folder");
    }

    /// A flag more in the Deployment.
    pub async fn add_argument(&mut self, argument: &str) {
        self.more_arguments.push(argument.to_owned());
        self.apply_deployment().await;
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let namespace = &self.cluster.namespace;
        let child = Command::new(PROGRAM)
            .args(["doctor", "--timeout", "5"])
            .args([
                "--operator-namespace",
                namespace,
                "--operator-name",
                OPERATOR,
            ])
            .args(self.only_own_namespace())
            .args(arguments)
            .env("KUBECONFIG", self.external_access.kubeconfig())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(WAIT_TIMEOUT, child).await;
        output.expect("in time").expect("the program runs")
    }

    /// A real server is shared with other tests.
    fn only_own_namespace(&self) -> Vec<&str> {
        match self.cluster.control_plane {
            Some(_) => Vec::new(),
            None => vec!["--namespace", &self.cluster.namespace],
        }
    }

    /// What it prints for people, without the store: how full a disk is here is not the test's to say.
    pub async fn examine_as_text(&self) -> String {
        let output = self.run(&[]).await;
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `doctor` for this environment. A real controller counts the Pods of the Deployment, of which none ever runs, and may have done so
    /// since the status was planted: then it is planted again.
    pub async fn examine(&self, arguments: &[&str]) -> Examination {
        let mut tries = 0;
        loop {
            let examination = self.examine_once(arguments).await;
            tries += 1;
            if tries == MAX_TRIES || !self.is_counted_by_a_controller(&examination) {
                return examination;
            }
            let planted = self.ready_replicas.load(Ordering::Relaxed);
            self.set_ready_replicas(planted).await;
        }
    }

    /// Whether a real controller has counted the Pods since they were planted as ready.
    pub fn is_counted_by_a_controller(&self, examination: &Examination) -> bool {
        let planted = self.ready_replicas.load(Ordering::Relaxed);
        let operator = examination.find("operator", "failure");
        let counted = operator.is_some_and(|o| o.message.starts_with("0 of 1"));
        self.cluster.control_plane.is_none() && planted > 0 && counted
    }

    async fn examine_once(&self, arguments: &[&str]) -> Examination {
        let store = format!("sqlite:{}", self.store().display());
        let arguments: Vec<&str> = ["-o", "json", "--store", &store]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        if let Some(process) = &self.process {
            arguments.push("--".to_owned());
            arguments.extend(self.operator_flags());
            arguments.push(format!("--admin-listen={}", process.address));
            arguments.push(format!("--webhook-key={}", "k".repeat(32)));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.run(&arguments).await;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let findings = out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
        Examination {
            code: output.status.code(),
            findings: findings.collect(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
            out,
        }
    }

    pub fn custom(&self, plural: &str) -> String {
        self.cluster.path("connectors.pupau.ai/v1alpha1", plural)
    }

    pub async fn create(&self, path: &str, object: &Value) -> Value {
        let made = self.cluster.call("POST", path, object).await;
        made.expect_status(201).body
    }

    pub async fn delete(&self, path: &str) {
        self.cluster
            .call("DELETE", path, &Value::Null)
            .await
            .expect_status(200);
    }

    pub async fn patch(&self, path: &str, patch: Value) {
        let media = "application/merge-patch+json";
        self.cluster
            .call_as("PATCH", path, media, &patch)
            .await
            .expect_status(200);
    }

    pub async fn set_secret(&self, name: &str, data: Value) {
        let path = self.cluster.path("v1", "secrets");
        // There may be none.
        let _ = self
            .cluster
            .call("DELETE", &format!("{path}/{name}"), &Value::Null)
            .await;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        self.create(&path, &secret).await;
    }

    /// A connector whose status says that all is well.
    pub async fn create_connector(&self, name: &str, secret: &str) -> String {
        let assistant = self
            .assistant
            .as_ref()
            .map(|a| a.address)
            .expect("an assistant");
        let connector = json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector",
            "metadata": {"name": name, "finalizers": ["connectors.pupau.ai/disconnect"]},
            "spec": {
                "botTokenSecretRef": {"name": secret},
                "assistant": {"protocol": "OpenAI", "url": format!("http://{assistant}/v1"), "model": MODEL, "apiKeySecretRef": {"name": "agent"}},
                "access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}},
            },
        });
        let made = self
            .create(&self.custom("telegramconnectors"), &connector)
            .await;
        let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": "as it should be", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1});
        let status = json!({"status": {"observedGeneration": 1, "mode": "Webhook", "conditions": [
            condition("TokenValid", "TokenAccepted"),
            condition("AccessResolved", "Resolved"),
            condition("Connected", "WebhookVerified"),
            condition("AssistantReady", "ExchangesSucceed"),
            condition("Ready", "MessagesFlow"),
        ]}});
        self.patch(
            &format!("{}/{name}/status", self.custom("telegramconnectors")),
            status,
        )
        .await;
        made["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }

    /// Waits until what is created is younger than the connector: the API counts in seconds.
    pub async fn wait_for_a_younger_second(&self) {
        let path = format!("{}/support", self.custom("telegramconnectors"));
        let connector = self.cluster.get(&path).await;
        let created = connector.at("/metadata/creationTimestamp").as_str();
        let created: Timestamp = created.expect("a time").parse().expect("RFC 3339");
        let passed =
            || async { (Timestamp::now().as_second() > created.as_second()).then_some(()) };
        self.cluster.eventually("a second passes", passed).await;
    }

    pub fn webhook_url(&self) -> String {
        format!("https://{}/telegram/{}", self.webhook_address, self.uid)
    }

    /// Sets the bot's webhook at Telegram.
    pub async fn set_webhook(&self, url: &str) {
        let call = self.telegram.url().join(&format!("/bot{TOKEN}/setWebhook"));
        let call = call.expect("a URL");
        loop {
            let request = reqwest::Client::new().post(call.clone());
            let answer = request.json(&json!({"url": url})).send().await;
            let answer: Value = answer.expect("an answer").json().await.expect("JSON");
            // More than one a second are too many for Telegram, which says how long to wait.
            let Some(seconds) = answer["parameters"]["retry_after"].as_u64() else {
                assert_eq!(answer["ok"], true, "{answer}");
                return;
            };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// A Lease that was renewed so long ago.
    pub async fn set_lease(&self, seconds_ago: i64) {
        let path = self.cluster.path("coordination.k8s.io/v1", "leases");
        let name = "telegram-connector-operator";
        let _ = self
            .cluster
            .call("DELETE", &format!("{path}/{name}"), &Value::Null)
            .await;
        let renewed = Timestamp::now() - jiff::SignedDuration::from_secs(seconds_ago);
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
            "spec": {"holderIdentity": "tco-0", "leaseDurationSeconds": 12, "renewTime": format!("{renewed:.6}")},
        });
        self.create(&path, &lease).await;
    }

    pub async fn set_ready_replicas(&self, ready: u32) {
        self.ready_replicas.store(ready, Ordering::Relaxed);
        let path = format!(
            "{}/{OPERATOR}/status",
            self.cluster.path("apps/v1", "deployments")
        );
        let status = json!({"status": {"replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready}});
        self.patch(&path, status).await;
    }

    pub async fn create_list(&self) {
        let list = json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramUserList",
            "metadata": {"name": "staff"}, "spec": {"users": [{"id": 1001}]},
        });
        self.create(&self.custom("telegramuserlists"), &list).await;
    }

    async fn plant(&mut self) {
        self.create_list().await;
        self.set_secret("support-bot", json!({"token": TOKEN}))
            .await;
        self.set_secret("agent", json!({"api-key": API_KEY})).await;
        self.uid = self.create_connector("support", "support-bot").await;
        self.set_webhook(&self.webhook_url()).await;
        self.webhook_behaviour.lock().uid.clone_from(&self.uid);
        self.create_service_account().await;
        self.apply_deployment().await;
        // However long a test takes on a busy machine.
        self.set_lease(-600).await;
        let store = format!("sqlite:{}", self.store().display());
        drop(
            telegram_connector_operator::store::open(&store)
                .await
                .expect("a store"),
        );
    }

    /// The flags of `run`.
    fn operator_flags(&self) -> Vec<String> {
        let root = match &self.telegram_root {
            Some(peer) => format!("http://{}", peer.address),
            None => self.telegram.url().to_string(),
        };
        let namespace = &self.cluster.namespace;
        let mut flags = vec![
            "--connection-mode=webhook".to_owned(),
            format!("--public-url=https://{}", self.webhook_address),
            "--webhook-tls-cert=/etc/webhook-tls/tls.crt".to_owned(),
            "--webhook-tls-key=/etc/webhook-tls/tls.key".to_owned(),
            "--webhook-upload-certificate".to_owned(),
            "--store=sqlite:/data/connectors.db".to_owned(),
            "--leader-election=true".to_owned(),
            format!("--lease-namespace={namespace}"),
            format!("--watch-namespace={namespace}"),
            format!("--telegram-api-url={root}"),
            "--allow-assistant-address=127.0.0.1".to_owned(),
        ];
        flags.extend(self.more_arguments.iter().cloned());
        flags
    }

    /// The Deployment as the chart makes it.
    pub async fn apply_deployment(&self) {
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(self.operator_flags());
        let labels = json!({"app.kubernetes.io/name": "telegram-connector-operator", "app.kubernetes.io/instance": OPERATOR});
        let container = json!({
            "name": "operator",
            "image": format!("registry.example/telegram-connector-operator:{}", env!("CARGO_PKG_VERSION")),
            "args": arguments,
            "env": [{"name": "WEBHOOK_KEY", "valueFrom": {"secretKeyRef": {"name": "webhook-key", "key": "key"}}}],
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": OPERATOR, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"serviceAccountName": OPERATOR, "containers": [container]}},
            },
        });
        let path = self.cluster.path("apps/v1", "deployments");
        let _ = self
            .cluster
            .call("DELETE", &format!("{path}/{OPERATOR}"), &Value::Null)
            .await;
        self.create(&path, &deployment).await;
        self.set_ready_replicas(1).await;
    }

    /// The `ServiceAccount` with the rights of the chart, on a server that has such.
    async fn create_service_account(&self) {
        if self.cluster.control_plane.is_some() {
            return;
        }
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OPERATOR}});
        self.create(&self.cluster.path("v1", "serviceaccounts"), &account)
            .await;
        let rules: Vec<Value> = crate::operator::chart_permissions()
            .iter()
            .map(|p| json!({"apiGroups": [p.group], "resources": [p.resource], "verbs": [p.verb]}))
            .collect();
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        let role = json!({"apiVersion": version, "kind": "Role", "metadata": {"name": OPERATOR}, "rules": rules});
        self.create(&self.cluster.path(&version, "roles"), &role)
            .await;
        let binding = json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": OPERATOR},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": OPERATOR},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": self.cluster.namespace}],
        });
        self.create(&self.cluster.path(&version, "rolebindings"), &binding)
            .await;
    }
}
