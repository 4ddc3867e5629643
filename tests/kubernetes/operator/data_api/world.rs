//! A cluster with the chart's objects of the data API, the operator's binary behind its aggregator, and people who write to its bots.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bot_api_simulator::{Fault, FaultKind};
use kube::config::{AuthInfo, Kubeconfig};
use serde_json::{Value, json};
use telegram_connector_operator::data_api::certificate::API_SERVICE;
use telegram_connector_operator::identity::BotId;

use crate::cluster::Cluster;
use crate::kubectl_client::Kubectl;
use crate::operator::operator_account::{OperatorAccount, rendered};
use crate::operator::operator_process::OperatorProcess;
use crate::operator::test_env::{TestEnv, free_address};
use crate::servers::install;
use crate::suite::ServerFeature;

/// The root of the group.
pub const ROOT: &str = "/apis/data.connectors.pupau.ai/v1alpha1";
/// As the snapshot of the chart that is installed names them.
pub const RELEASE_NAMESPACE: &str = "telegram-connectors";
const ACCOUNT: &str = "operator-telegram-connector-operator";
pub const SERVICE: &str = "operator-telegram-connector-operator-data-api";
const SECRET: &str = "operator-telegram-connector-operator-data-api-certificate";
/// What the names of the chart's `ClusterRole`s begin with.
const ROLES: &str = "telegram-connectors-operator-telegram-connector-operator-";

/// Whom the bots answer.
pub const ANN: i64 = 1001;
pub const BOB: i64 = 1002;
/// Whom they deny.
pub const MALLORY: i64 = 5001;
pub const TRUDY: i64 = 5002;
/// What Ann asks; only transcripts may show it.
pub const QUESTION: &str = "when is the harvest";
/// What Mallory writes.
pub const PLEA: &str = "let me in";
/// So long an aggregator may take to see that a server has come or gone: it looks every half minute.
pub const AGGREGATOR_TIMEOUT: Duration = Duration::from_mins(3);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Everything a case needs.
pub struct World {
    pub env: TestEnv,
    /// Where the data API listens.
    pub address: SocketAddr,
    pub acme_bot: BotId,
    pub other_bot: BotId,
    operator: Option<OperatorProcess>,
    kubeconfig: String,
    operator_kubeconfig: String,
}

impl World {
    /// Starts all of it; returns when the group is served.
    pub async fn start(cluster: Cluster) -> Self {
        install(&cluster.client, crate::crds()).await;
        cluster.enforce_rbac();
        for namespace in [RELEASE_NAMESPACE, &other(&cluster)] {
            let namespace = json!({"metadata": {"name": namespace}});
            let made = cluster.call("POST", "/api/v1/namespaces", &namespace).await;
            made.expect_status(201);
        }
        let address = free_address();
        install_chart(&cluster, address.port()).await;

        // The embedded control plane knows no tokens, but who acts as whom.
        let (env, kubeconfig, operator_kubeconfig) = if cluster.has(ServerFeature::Rbac) {
            let account = OperatorAccount::of(&cluster, RELEASE_NAMESPACE, ACCOUNT).await;
            let (admin, own) = (cluster.kubeconfig.clone(), account.kubeconfig.clone());
            (TestEnv::with_account(cluster, account).await, admin, own)
        } else {
            let env = TestEnv::new(cluster).await;
            let admin = env.kubeconfig().await;
            let own = acting_as_the_operator(&admin);
            (env, admin, own)
        };
        let mut world = Self {
            env,
            address,
            acme_bot: BotId(0),
            other_bot: BotId(0),
            operator: None,
            kubeconfig,
            operator_kubeconfig,
        };
        world.start_operator();
        world.wait_until_served().await;
        world.acme_bot = world.create_connector(&world.acme()).await;
        world.other_bot = world.create_connector(&world.other()).await;
        world
    }

    pub fn cluster(&self) -> &Cluster {
        &self.env.cluster
    }

    /// The namespace in which people have rights.
    pub fn acme(&self) -> String {
        self.cluster().namespace.clone()
    }

    /// One in which they have none.
    pub fn other(&self) -> String {
        other(self.cluster())
    }

    /// One of the operator's namespaces that is not there yet.
    pub fn passing(&self) -> String {
        format!("{}-passing", self.acme())
    }

    /// The path of a resource in a namespace.
    pub fn path(namespace: &str, resource: &str) -> String {
        format!("{ROOT}/namespaces/{namespace}/{resource}")
    }

    /// A kubectl of the cluster's admin.
    pub fn kubectl(&self, client: &Path) -> Kubectl {
        Kubectl::new(client, &self.kubeconfig)
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Starts the binary, always at the same address.
    pub fn start_operator(&mut self) {
        let listen = self.address.to_string();
        let (other, passing) = (self.other(), self.passing());
        let flags = [
            ["--data-api-listen", &*listen],
            ["--data-api-certificate-secret", SECRET],
            ["--data-api-service", SERVICE],
            ["--lease-namespace", RELEASE_NAMESPACE],
            ["--watch-namespace", &other],
            ["--watch-namespace", &passing],
        ];
        let flags = flags.concat();
        let operator = self
            .env
            .start_process("operator", &self.operator_kubeconfig, &flags);
        self.operator = Some(operator);
    }

    /// Kills it.
    pub fn kill_operator(&mut self) {
        self.operator.take().expect("it runs").kill();
    }

    /// Waits for the condition `Available` of the `APIService`.
    pub async fn wait_until_available(&self, status: &str) {
        let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}");
        let what = format!("the data API's Available is {status}");
        let look = || async {
            let found = self.cluster().get(&path).await;
            let conditions = found.at("/status/conditions").as_array()?.clone();
            let is = |one: &Value| one["type"] == "Available" && one["status"] == status;
            conditions.iter().any(is).then_some(())
        };
        let cluster = self.cluster();
        cluster
            .eventually_within(AGGREGATOR_TIMEOUT, &what, look)
            .await;
    }

    async fn wait_until_served(&self) {
        self.wait_until_available("True").await;
        // It says so a moment before it hands requests on.
        let path = Self::path(&self.acme(), "conversations");
        let look = || async {
            self.cluster()
                .get(&path)
                .await
                .status
                .is_success()
                .then_some(())
        };
        self.cluster()
            .eventually("the data API is served", look)
            .await;
    }

    /// The group in which the acme bot's approvers are asked.
    fn admins_group(&self, bot: BotId) -> i64 {
        self.env
            .telegram
            .add_group("supergroup", "Admins", &[bot.0])
    }

    /// Makes a bot, its Secret and a connector `support` that keeps what the denied write, sends, and lets them ask.
    pub async fn create_connector(&self, namespace: &str) -> BotId {
        let (bot, token) = self.env.add_bot();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "support"}, "stringData": {"token": token}});
        let connector = json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector", "metadata": {"name": "support"},
            "spec": {
                "botTokenSecretRef": {"name": "support"},
                "assistant": {"protocol": "OpenAI", "url": self.env.assistant.url(), "model": "sample"},
                "access": {
                    "level": "Company", "companyUsers": {"users": [{"id": ANN}, {"id": BOB}]}, "saveDeniedConversations": true,
                    "requests": {"notify": {"chat": self.admins_group(bot)}, "approvers": {"users": [{"id": BOB}]}, "perUserPerDay": 10},
                },
                "session": {"durationHours": 24},
                "sending": {"perMinute": 1000},
            },
        });
        let connectors =
            format!("/apis/connectors.pupau.ai/v1alpha1/namespaces/{namespace}/telegramconnectors");
        for (path, object) in [
            (format!("/api/v1/namespaces/{namespace}/secrets"), secret),
            (connectors.clone(), connector),
        ] {
            self.cluster()
                .call("POST", &path, &object)
                .await
                .expect_status(201);
        }
        let ready = || async {
            let connector = self.cluster().get(&format!("{connectors}/support")).await;
            let conditions = connector.at("/status/conditions").as_array()?.clone();
            let is = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
            conditions.iter().any(is).then_some(())
        };
        self.cluster()
            .eventually("the connector is ready", ready)
            .await;
        bot
    }

    /// The names of a resource's objects in a namespace, as the admin lists them.
    pub async fn names(&self, namespace: &str, resource: &str) -> Vec<String> {
        let list = self.cluster().get(&Self::path(namespace, resource)).await;
        let list = list.expect_status(200);
        let items = list.at("/items").as_array().expect("a list").iter();
        let name = |item: &Value| {
            item["metadata"]["name"]
                .as_str()
                .expect("a name")
                .to_owned()
        };
        items.map(name).collect()
    }

    /// Waits until a resource has so many objects in a namespace, and returns their names.
    pub async fn wait_for(&self, namespace: &str, resource: &str, count: usize) -> Vec<String> {
        let what = format!("{count} {resource} in {namespace}");
        let look = || async {
            let names = self.names(namespace, resource).await;
            (names.len() == count).then_some(names)
        };
        self.cluster().eventually(&what, look).await
    }

    /// Somebody whom the bot denies writes something.
    pub fn write_denied(&self, user: i64, text: &str) {
        self.env
            .telegram
            .send_private_message(self.acme_bot, user, text);
    }

    /// Puts everything back to what the cases begin with: in acme a conversation with Ann, two messages of Mallory and one of Trudy, and a dead
    /// letter of Bob's; elsewhere one message of Mallory's and a conversation with Ann.
    pub async fn reset(&self) {
        let telegram = &self.env.telegram;
        telegram.clear_faults();
        let (acme, other) = (self.acme(), self.other());
        for namespace in [&acme, &other] {
            for resource in ["deniedmessages", "conversations", "deadletters"] {
                let path = Self::path(namespace, resource);
                self.cluster()
                    .call("DELETE", &path, &Value::Null)
                    .await
                    .expect_status(200);
                self.wait_for(namespace, resource, 0).await;
            }
        }
        for bot in [self.acme_bot, self.other_bot] {
            telegram.send_and_wait(bot, ANN, QUESTION, TIMEOUT).await;
            telegram.send_private_message(bot, MALLORY, PLEA);
        }
        self.write_denied(MALLORY, "please");
        self.write_denied(TRUDY, "spam");
        let refusal = FaultKind::Status {
            code: 400,
            description: "Bad Request: this test refuses it".into(),
        };
        let fault = Fault::new(refusal).bot(self.acme_bot).chat(BOB);
        telegram.add_fault(fault);
        telegram.send_private_message(self.acme_bot, BOB, "and the hay?");
        self.wait_for(&acme, "deadletters", 1).await;
        telegram.clear_faults();
        self.wait_for(&acme, "deniedmessages", 3).await;
        self.wait_for(&other, "deniedmessages", 1).await;
        self.wait_for(&other, "conversations", 1).await;
    }

    /// What people did stands in the operator's log, and nothing of what anybody wrote; and the chart's rights were enough for it.
    pub fn assert_audited_without_words(&self) {
        let log = self.operator.as_ref().expect("it runs").log();
        let audited = |verb: &str, resource: &str, subresource: &str| {
            log.lines().any(|line| {
                let line: Value = serde_json::from_str(line).unwrap_or_default();
                let has =
                    |name: &str, value: &str| line[name] == value || line["fields"][name] == value;
                has("verb", verb) && has("resource", resource) && has("subresource", subresource)
            })
        };
        for (verb, resource, subresource) in [
            ("get", "conversations", "transcript"),
            ("create", "deadletters", "retry"),
            ("create", "outgoingmessages", ""),
            ("deletecollection", "deniedmessages", ""),
        ] {
            let what = format!("{verb} {resource}/{subresource}");
            assert!(
                audited(verb, resource, subresource),
                "{what} is not audited"
            );
        }
        for words in [QUESTION, PLEA, "is forbidden: User"] {
            let line = log.lines().find(|line| line.contains(words));
            assert!(line.is_none(), "{line:?}");
        }
    }

    /// The name of one of the chart's roles for people.
    pub fn role(name: &str) -> String {
        format!("{ROLES}{name}")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(operator) = self.operator.as_ref().filter(|_| std::thread::panicking()) {
            let log = operator.log();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("the operator's last words, the last one first: {tail:#?}");
        }
    }
}

fn other(cluster: &Cluster) -> String {
    format!("{}-other", cluster.namespace)
}

/// Creates what the chart has of the data API and of rights. The Service leads to this port of the loopback.
async fn install_chart(cluster: &Cluster, port: u16) {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    for mut object in rendered("data-api") {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        let name = object["metadata"]["name"].as_str().expect("a name");
        let root = match &*kind {
            // The embedded control plane has none, only people of their names.
            "ServiceAccount" if !cluster.has(ServerFeature::Rbac) => continue,
            "ServiceAccount" | "Secret" => "/api/v1",
            "Service" if name == SERVICE => {
                object["spec"] = json!({"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]});
                "/api/v1"
            }
            "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => RBAC,
            "APIService" => {
                object["spec"]["service"]["port"] = port.into();
                "/apis/apiregistration.k8s.io/v1"
            }
            _ => continue,
        };
        let namespace = object["metadata"]["namespace"].as_str();
        let namespace = namespace
            .map(|name| format!("namespaces/{name}/"))
            .unwrap_or_default();
        let path = format!("{root}/{namespace}{}s", kind.to_lowercase());
        cluster
            .call("POST", &path, &object)
            .await
            .expect_status(201);
    }
}

/// The admin's kubeconfig, acting as the operator's `ServiceAccount`.
fn acting_as_the_operator(admin: &str) -> String {
    let mut kubeconfig = Kubeconfig::from_yaml(admin).expect("our own kubeconfig");
    for user in &mut kubeconfig.auth_infos {
        let account = format!("system:serviceaccount:{RELEASE_NAMESPACE}:{ACCOUNT}");
        user.auth_info = Some(AuthInfo {
            impersonate: Some(account),
            ..AuthInfo::default()
        });
    }
    serde_json::to_string(&kubeconfig).expect("a kubeconfig")
}
