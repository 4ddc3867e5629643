//! The environment of an operator test: the simulated Telegram, the sample assistant, and the API server that the suite has
//! given to the test.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bot_api_simulator::sample_assistant::SampleAssistant;
use bot_api_simulator::{Simulator, SimulatorOptions};
use embedded_control_plane::ServerHandle;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use telegram_connector_operator::api::{ALLOW_USE_LABEL, TelegramConnector, TelegramUserList};
use telegram_connector_operator::assistant::{AddressPolicy, ExtraRootCertificates};
use telegram_connector_operator::clock::SystemClock;
use telegram_connector_operator::controller;
use telegram_connector_operator::identity::BotId;
use telegram_connector_operator::identity_provider::Sealer;
use telegram_connector_operator::operator::{Operator, OperatorSettings, assistant_factory};
use telegram_connector_operator::telemetry::kubernetes_calls::KubernetesCallsLayer;
use telegram_connector_operator::telemetry::{self, Metrics};

pub use super::operator_options::{
    KEY, OperatorOptions, any_port, free_address, write_certificate,
};

use super::operator_account::{OperatorAccount, Scope, chart_permissions};
use crate::cluster::Cluster;
use crate::suite::ServerFeature;

/// Everything a test of the operator needs. Dropping it fails the test if the operator made a call that the chart's roles forbid.
pub struct TestEnv {
    pub cluster: Cluster,
    pub telegram: Simulator,
    pub assistant: SampleAssistant,
    /// The service account that the operator uses; `None` on a server without RBAC.
    pub account: Option<OperatorAccount>,
    /// Whether a call that RBAC forbids fails the test.
    audited: bool,
    store: tempfile::TempDir,
    /// The embedded control plane over HTTP; started when a kubeconfig is first requested.
    served: tokio::sync::OnceCell<ServerHandle>,
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if let Some(account) = self.account.as_ref().filter(|_| self.audited)
            && !std::thread::panicking()
        {
            let forbidden = account.calls.forbidden();
            assert!(
                forbidden.is_empty(),
                "the operator made calls that the chart's roles forbid: {forbidden:#?}"
            );
        }
    }
}

/// The client configuration that a kubeconfig describes.
pub async fn client_config(kubeconfig: &str) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("our own kubeconfig")
}

/// The number of counted writes to the Kubernetes API. Writes to the Lease are left out: they depend on time alone.
pub fn count_writes(metrics: &Metrics) -> u64 {
    count_writes_in(&metrics.encode())
}

/// [`count_writes`] in what `/metrics` says.
pub fn count_writes_in(metrics: &str) -> u64 {
    metrics
        .lines()
        .filter(|l| l.starts_with("telegram_connector_operator_kubernetes_calls_total{"))
        .filter(|l| {
            !l.contains("resource=\"leases\"")
                && ["create", "update", "patch", "delete"]
                    .iter()
                    .any(|verb| l.contains(&format!("verb=\"{verb}\"")))
        })
        .filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

static NEXT_BOT: AtomicI64 = AtomicI64::new(8_400_000_001);

impl TestEnv {
    pub async fn new(cluster: Cluster) -> Self {
        Self::with_scope(cluster, Scope::Namespace).await
    }

    /// Grants the permissions of an operator that serves all namespaces, for a test that deletes its namespace. Forbidden calls are
    /// not checked then: a namespace that is being deleted also answers 403 to new events, which no role can change.
    pub async fn cluster_wide(cluster: Cluster) -> Self {
        Self::with_scope(cluster, Scope::Cluster).await
    }

    async fn with_scope(cluster: Cluster, scope: Scope) -> Self {
        let account = if cluster.has(ServerFeature::Rbac) {
            Some(OperatorAccount::new(&cluster, &chart_permissions(), scope).await)
        } else {
            None
        };
        Self::start(cluster, account, scope == Scope::Namespace).await
    }

    /// Uses an account with other permissions. The test checks the forbidden calls itself.
    pub async fn with_account(cluster: Cluster, account: OperatorAccount) -> Self {
        Self::start(cluster, Some(account), false).await
    }

    async fn start(cluster: Cluster, account: Option<OperatorAccount>, audited: bool) -> Self {
        // TEST_LOG=debug prints the operator's log, to debug a single test.
        if let Ok(level) = std::env::var("TEST_LOG") {
            let _ = telemetry::logs::init(telemetry::logs::LogFormat::Text, &level);
        }
        let options = SimulatorOptions {
            local_mode: true,
            ..SimulatorOptions::default()
        };
        Self {
            cluster,
            account,
            audited,
            telegram: Simulator::start(options).await.expect("a simulator"),
            assistant: SampleAssistant::start().await.expect("an assistant"),
            store: tempfile::tempdir().expect("a folder"),
            served: tokio::sync::OnceCell::new(),
        }
    }

    /// A kubeconfig with the operator's permissions, as YAML.
    pub async fn kubeconfig(&self) -> String {
        if let Some(account) = &self.account {
            return account.kubeconfig.clone();
        }
        let Some(control_plane) = &self.cluster.control_plane else {
            return self.cluster.kubeconfig.clone();
        };
        let serve = || async { control_plane.serve(any_port()).await.expect("a free port") };
        self.served.get_or_init(serve).await.kubeconfig.clone()
    }

    /// A client whose calls are counted in the metrics that come with it.
    pub async fn counting_client(&self) -> (Client, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let config = client_config(&self.kubeconfig().await).await;
        let client = ClientBuilder::try_from(config)
            .expect("a client")
            .with_layer(&KubernetesCallsLayer(metrics.clone()))
            .build();
        (client, metrics)
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        self.store.path()
    }

    /// `--store`.
    pub fn store(&self) -> String {
        format!("sqlite:{}", self.folder().join("connectors.db").display())
    }

    /// Starts an operator that watches this test's namespace only, unless the options say otherwise.
    pub async fn start_operator(&self, options: OperatorOptions) -> Operator {
        let mut watch_namespaces = options.more_namespaces;
        watch_namespaces.push(self.cluster.namespace.clone());
        if options.all_namespaces {
            watch_namespaces.clear();
        }
        let settings = OperatorSettings {
            controller: controller::ControllerSettings {
                connection: options.connection,
                watch_namespaces,
                identity: "test".into(),
                leader_election: options.lease,
                recheck_interval: options.recheck_interval,
                require_secret_label: options.require_secret_label,
            },
            webhook_listen: options.webhook_listen,
            webhook_tls: options.webhook_tls,
            data_api: None,
            admin_listen: any_port(),
            store: self.store(),
            telegram_api_url: self.telegram.url(),
            telegram_files: None,
            denied_retention: Duration::from_hours(24),
            session_retention: Duration::from_hours(24),
            max_concurrent_chats: 1024,
            shutdown_grace: Duration::from_secs(2),
            sealer: options.seals.then(|| Arc::new(Sealer::ephemeral())),
        };
        let default_client = || match &self.account {
            Some(account) => account.client.clone(),
            None => self.cluster.client.clone(),
        };
        let client = options.client.unwrap_or_else(default_client);
        let factory = assistant_factory(
            AddressPolicy::allowing_loopback(),
            &ExtraRootCertificates::default(),
            &ExtraRootCertificates::default(),
        )
        .expect("a factory");
        Operator::start(
            client,
            settings,
            Arc::new(Metrics::new()),
            factory,
            Arc::new(SystemClock),
        )
        .await
        .expect("the operator starts")
    }

    /// Waits until a follower has put the connectors into its registry.
    pub async fn wait_for_registry(&self, follower: &Operator) {
        self.cluster
            .eventually("the follower's registry is warm", || async {
                (!follower.registry().all().is_empty()).then_some(())
            })
            .await;
    }

    /// Adds a bot to the simulated Telegram. Returns its id and token.
    pub fn add_bot(&self) -> (BotId, String) {
        let id = NEXT_BOT.fetch_add(1, Ordering::Relaxed);
        let token = format!("{id}:AAHtestTokenOfThisBotAlone_0123456789");
        let bot = self
            .telegram
            .add_bot(&token, &format!("test_{id}_bot"), "Test");
        (BotId(bot), token)
    }

    pub fn connectors(&self) -> Api<TelegramConnector> {
        self.cluster.api()
    }

    /// Creates a Secret with one key. An existing Secret of this name is deleted first.
    pub async fn set_secret(&self, name: &str, key: &str, value: &str) {
        let api: Api<Secret> = self.cluster.api();
        let _ = api.delete(name, &DeleteParams::default()).await;
        let secret = json!({"metadata": {"name": name}, "stringData": {key: value}});
        api.create(
            &PostParams::default(),
            &serde_json::from_value(secret).expect("a Secret"),
        )
        .await
        .expect("the Secret");
    }

    /// Sets or removes the label by which a Secret may be used.
    pub async fn set_allow_use_label(&self, secret: &str, value: Option<&str>) {
        let api: Api<Secret> = self.cluster.api();
        let patch = json!({"metadata": {"labels": {ALLOW_USE_LABEL: value}}});
        api.patch(secret, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("the patch");
    }

    pub async fn delete_secret(&self, name: &str) {
        let api: Api<Secret> = self.cluster.api();
        api.delete(name, &DeleteParams::default())
            .await
            .expect("the deletion");
    }

    /// Creates a connector with access level Open whose bot token is in the Secret `name`. Each field of `spec` replaces the
    /// default field.
    pub async fn create_connector(&self, name: &str, spec: Value) {
        let mut object = json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1",
            "kind": "TelegramConnector",
            "metadata": {"name": name},
            "spec": {
                "botTokenSecretRef": {"name": name},
                "assistant": {"protocol": "OpenAI", "url": self.assistant.url(), "model": "sample"},
                "access": {"level": "Open"},
            },
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        let object = serde_json::from_value(object).expect("a connector");
        self.connectors()
            .create(&PostParams::default(), &object)
            .await
            .expect("the connector");
    }

    /// Creates a bot, its Secret and a connector for it; `spec` as in [`Self::create_connector`]. Returns the bot's id and token.
    pub async fn create_connector_with_bot(&self, name: &str, spec: Value) -> (BotId, String) {
        let (bot, token) = self.add_bot();
        self.set_secret(name, "token", &token).await;
        self.create_connector(name, spec).await;
        (bot, token)
    }

    /// Creates a bot, its Secret and a valid connector for it. Returns the bot's id and token.
    pub async fn create_working_connector(&self, name: &str) -> (BotId, String) {
        self.create_connector_with_bot(name, json!({})).await
    }

    /// The uid of a connector.
    pub async fn uid_of(&self, name: &str) -> String {
        let connector = self.connectors().get(name).await.expect("the connector");
        connector.metadata.uid.expect("a uid")
    }

    /// An environment with a running operator and the connector `a`, which is Ready. Also returns the bot's id and token.
    pub async fn with_ready_connector(
        cluster: Cluster,
        options: OperatorOptions,
    ) -> (Self, Operator, (BotId, String)) {
        let env = Self::new(cluster).await;
        let operator = env.start_operator(options).await;
        let bot = env.create_working_connector("a").await;
        env.wait_until_ready("a").await;
        (env, operator, bot)
    }

    pub async fn create_user_list(&self, name: &str, users: Value) {
        let api: Api<TelegramUserList> = self.cluster.api();
        let list = json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1",
            "kind": "TelegramUserList",
            "metadata": {"name": name},
            "spec": {"users": users},
        });
        api.create(
            &PostParams::default(),
            &serde_json::from_value(list).expect("a list"),
        )
        .await
        .expect("the list");
    }

    pub async fn patch_connector(&self, name: &str, patch: Value) {
        self.connectors()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("the patch");
    }

    pub async fn delete_connector(&self, name: &str) {
        self.connectors()
            .delete(name, &DeleteParams::default())
            .await
            .expect("the deletion");
    }

    pub async fn wait_until_gone(&self, name: &str) {
        let connectors = self.connectors();
        self.cluster
            .eventually("the connector is gone", || async {
                connectors
                    .get_opt(name)
                    .await
                    .expect("the API server answers")
                    .is_none()
                    .then_some(())
            })
            .await;
    }

    /// Waits until a condition has this status and reason for the current generation.
    pub async fn wait_for_condition(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Condition {
        let connectors = self.connectors();
        let what = format!("{type_} of {name} is {status} with {reason}");
        self.cluster
            .eventually(&what, || async {
                let object = connectors.get(name).await.expect("the connector");
                let generation = object.metadata.generation;
                let current = object.status?;
                let condition = current.conditions.into_iter().find(|c| c.type_ == type_)?;
                (condition.status == status
                    && condition.reason == reason
                    && condition.observed_generation == generation
                    && current.observed_generation == generation)
                    .then_some(condition)
            })
            .await
    }

    /// Waits until `Ready` is True, and checks that no kstatus condition (Stalled, Reconciling) contradicts it.
    pub async fn wait_until_ready(&self, name: &str) {
        self.wait_for_condition(name, "Ready", "True", "MessagesFlow")
            .await;
        let status = self.connectors().get(name).await.expect("it").status;
        let conditions = status.expect("a status").conditions;
        assert!(
            conditions
                .iter()
                .all(|c| c.type_ != "Stalled" && c.type_ != "Reconciling"),
            "kstatus: {conditions:?}"
        );
    }

    /// Waits until a condition has this status and reason and `Ready` is False with the same reason. Returns the message, which
    /// must be the same in both.
    pub async fn wait_until_not_ready(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> String {
        let condition = self.wait_for_condition(name, type_, status, reason).await;
        let ready = self
            .wait_for_condition(name, "Ready", "False", reason)
            .await;
        assert_eq!(ready.message, condition.message);
        condition.message
    }

    /// The notes of all events with this reason that regard the connector.
    pub async fn event_notes(&self, name: &str, reason: &str) -> Vec<String> {
        let api: Api<Event> = self.cluster.api();
        let all = api.list(&ListParams::default()).await.expect("the events");
        all.items
            .into_iter()
            .filter(|e| {
                e.reason.as_deref() == Some(reason)
                    && e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name)
            })
            .filter_map(|e| e.note)
            .collect()
    }
}
