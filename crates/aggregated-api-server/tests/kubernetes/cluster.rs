//! A kube-apiserver with notes behind its aggregator.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aggregated_api_server::{
    ApiGroup, ApiServer, FrontProxyConfig, Resource, ServerSettings, SubjectAccessReviewer,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role, RoleBinding};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::notes::Notes;
use crate::servers::processes::ServerProcesses;
use crate::servers::{ServerKind, connect};
use crate::tls;

pub const WAIT_TIMEOUT: Duration = Duration::from_mins(1);

pub struct Cluster {
    pub client: Client,
    pub kubeconfig: String,
    pub notes: Arc<Notes>,
    /// Where the server listens.
    pub port: u16,
    /// The CA of its certificate.
    pub serving: Authority,
    processes: Mutex<Option<ServerProcesses>>,
}

impl Cluster {
    pub async fn start(assets: &Path) -> Self {
        let processes = ServerProcesses::start(assets, ServerKind::KubeApiserver);
        let kubeconfig = processes.kubeconfig.clone();
        let client = connect(&kubeconfig).await;

        let front_proxy = FrontProxyConfig::new();
        let (followed, with) = (front_proxy.clone(), client.clone());
        tokio::spawn(async move { followed.follow(with).await });
        let notes = Notes::new();
        let resources: [Arc<dyn Resource>; 1] = [notes.clone()];
        let group = ApiGroup {
            group: "notes.example.com".into(),
            version: "v1".into(),
            product_version: "1.2.3".into(),
        };
        let authorizer = Arc::new(SubjectAccessReviewer::new(client.clone()));
        let settings = ServerSettings {
            watch_interval: Duration::from_millis(50),
            ..ServerSettings::default()
        };
        let server = ApiServer::new(group, resources, front_proxy, authorizer, settings);
        let serving = Authority::new();
        let identity = serving.server(&["notes.default.svc", "localhost"]);
        let port = tls::serve(Arc::new(server), identity).await;
        let cluster = Self {
            client,
            kubeconfig,
            notes,
            port,
            serving,
            processes: Mutex::new(Some(processes)),
        };
        cluster.register().await;
        cluster
    }

    /// Ends the servers.
    pub fn stop(&self) {
        drop(self.processes.lock().take());
    }

    /// Puts the notes back to what each test begins with.
    pub fn reset(&self) {
        self.notes.is_away.store(false, Ordering::Relaxed);
        for (namespace, name) in self.notes.names() {
            self.notes.remove(&namespace, &name);
        }
        for (namespace, name, owner) in [
            ("acme", "first", "ann"),
            ("acme", "second", "bob"),
            ("other", "third", "ann"),
        ] {
            self.notes.add(namespace, name, owner);
        }
    }

    async fn register(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in ["acme", "other"] {
            create(&namespaces, json!({"metadata": {"name": name}})).await;
        }
        let services: Api<Service> = Api::default_namespaced(self.client.clone());
        create(&services, json!({"metadata": {"name": "notes"}, "spec": {"type": "ExternalName", "externalName": "localhost",
            "ports": [{"port": self.port}]}})).await;
        let rules = json!([
            {"apiGroups": ["notes.example.com"], "resources": ["notes"], "verbs": ["get", "list", "watch", "create", "delete", "deletecollection"]},
            {"apiGroups": ["notes.example.com"], "resources": ["notes/stamp"], "verbs": ["create"]}]);
        let roles: Api<Role> = Api::namespaced(self.client.clone(), "acme");
        create(
            &roles,
            json!({"metadata": {"name": "writer"}, "rules": rules}),
        )
        .await;
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), "acme");
        create(&bindings, json!({"metadata": {"name": "writer"}, "subjects": [{"kind": "User", "name": "member", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"kind": "Role", "name": "writer", "apiGroup": "rbac.authorization.k8s.io"}})).await;
        // For namespace deletion: the controller of kube-controller-manager may do everything only with its aggregated roles.
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        create(&roles, json!({"metadata": {"name": "notes-admin", "labels": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}}, "rules": rules})).await;
        let services: Api<APIService> = Api::all(self.client.clone());
        let mut service: APIService = parse(
            json!({"metadata": {"name": "v1.notes.example.com"}, "spec": {"group": "notes.example.com", "version": "v1",
            "groupPriorityMinimum": 1000, "versionPriority": 10, "service": {"name": "notes", "namespace": "default", "port": self.port}}}),
        );
        service.spec.as_mut().expect("given").ca_bundle =
            Some(ByteString(self.serving.pem.clone().into_bytes()));
        services
            .create(&PostParams::default(), &service)
            .await
            .expect("an APIService");
        let available = async {
            loop {
                let service = services
                    .get("v1.notes.example.com")
                    .await
                    .expect("it is there");
                let conditions = service
                    .status
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                if conditions
                    .iter()
                    .any(|one| one.type_ == "Available" && one.status == "True")
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, available)
            .await
            .expect("available in time");
        // It says so a moment before it hands requests on.
        let served = async {
            loop {
                let request = http::Request::get("/apis/notes.example.com/v1");
                let request = request.body(Vec::new()).expect("a request");
                if self.client.request_text(request).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, served)
            .await
            .expect("served in time");
    }
}

fn parse<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("a good object")
}

pub async fn create<K>(api: &Api<K>, value: Value)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + DeserializeOwned,
{
    let object: K = parse(value);
    api.create(&PostParams::default(), &object)
        .await
        .expect("it is made");
}
