//! The certificates that the operator makes for the data API: one authority however many replicas begin, no write in the steady state, and
//! years of renewals through which the API servers trust what every replica serves.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Secret, ServiceAccount};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition,
};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use serde_json::{Value, json};
use telegram_connector_operator::clock::{Clock, ManualClock};
use telegram_connector_operator::data_api::certificate::{
    API_SERVICE, CertificateError, CertificateKeeper, CertificateSettings, Step,
};
use telegram_connector_operator::telemetry::Metrics;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::not_tried::not_tried;
use crate::suite::Suite;

const DAY: i64 = 24 * 60 * 60;
const SECRET: &str = "data-api-certificate";
const SERVICE: &str = "data-api";

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core, OwnServer],
        replicas_that_begin_together_share_one_authority
    );
    add!(
        suite,
        [Core, OwnServer],
        served_certificates_are_trusted_through_twelve_years
    );
    add!(
        suite,
        [Core, OwnServer],
        data_api_of_another_installation_is_left_alone
    );
    // With RBAC there are the real servers alone, and their controllers are what the runbook is about.
    add!(
        suite,
        [Core, Rbac, Controllers, OwnServer],
        namespaces_wait_while_the_data_api_is_away
    );
    // An API server of 2020 panics when an APIService is applied server-side.
    add!(
        suite,
        [Core, OwnServer, Kubernetes130],
        applying_the_chart_again_keeps_the_certificates
    );
}

/// A keeper of one replica.
struct Replica {
    keeper: CertificateKeeper,
    _leading: watch::Sender<bool>,
}

impl Replica {
    fn new(cluster: &Cluster, clock: &Arc<ManualClock>, leads: bool) -> Self {
        let (sender, leading) = watch::channel(leads);
        let settings = CertificateSettings {
            namespace: cluster.namespace.clone(),
            secret: SECRET.into(),
            service: SERVICE.into(),
        };
        let keeper = CertificateKeeper::new(
            cluster.client.clone(),
            settings,
            Arc::default(),
            leading,
            clock.clone(),
            Arc::new(Metrics::new()),
        );
        Self {
            keeper,
            _leading: sender,
        }
    }

    /// Looks until nothing is due.
    async fn settle(&mut self) {
        for _ in 0..20 {
            if self.keeper.step().await.expect("a step") == Step::Idle {
                return;
            }
        }
        panic!("something is due again and again");
    }

    fn certificate(&self) -> CertificateDer<'static> {
        let serving = self.keeper.serving().current().expect("a certificate");
        serving.cert[0].clone()
    }
}

/// Whether the server has API aggregation; says so where it has not.
async fn aggregates(cluster: &Cluster) -> bool {
    let path = "/apis/apiregistration.k8s.io/v1/apiservices";
    let has = cluster.get(path).await.status.is_success();
    if !has {
        not_tried("the data API's certificates: this server has no APIService");
    }
    has
}

fn api_services(cluster: &Cluster) -> Api<APIService> {
    Api::all(cluster.client.clone())
}

fn secret_manifest() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "type": "Opaque"})
}

fn api_service_manifest(cluster: &Cluster, service: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API_SERVICE},
        "spec": {
            "group": "data.connectors.pupau.ai", "version": "v1alpha1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"name": service, "namespace": cluster.namespace, "port": 443},
        },
    })
}

/// As the chart makes them: the Secret is empty.
async fn install(cluster: &Cluster, service: &str) {
    let secret: Secret = serde_json::from_value(secret_manifest()).expect("a Secret");
    let secrets: Api<Secret> = cluster.api();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .expect("the Secret");
    let api_service: APIService =
        serde_json::from_value(api_service_manifest(cluster, service)).expect("an APIService");
    api_services(cluster)
        .create(&PostParams::default(), &api_service)
        .await
        .expect("the APIService");
}

async fn published(cluster: &Cluster) -> Vec<u8> {
    let found = api_services(cluster)
        .get(API_SERVICE)
        .await
        .expect("the APIService");
    let bundle = found.spec.and_then(|spec| spec.ca_bundle);
    bundle.map(|bundle| bundle.0).unwrap_or_default()
}

async fn secret(cluster: &Cluster) -> Secret {
    let secrets: Api<Secret> = cluster.api();
    secrets.get(SECRET).await.expect("the Secret")
}

/// How often the Secret was written after it was as in `before`.
async fn writes_since(cluster: &Cluster, before: &Secret) -> usize {
    let secrets: Api<Secret> = cluster.api();
    let params = WatchParams::default()
        .fields(&format!("metadata.name={SECRET}"))
        .timeout(1);
    let version = before.metadata.resource_version.as_deref();
    let events = secrets
        .watch(&params, version.expect("a version"))
        .await
        .expect("a watch");
    let written = |event: &Result<WatchEvent<Secret>, _>| {
        std::future::ready(matches!(event, Ok(WatchEvent::Modified(_))))
    };
    events.filter(written).count().await
}

/// Today to the second, as certificates have it.
fn today() -> Arc<ManualClock> {
    let now = Timestamp::from_second(Timestamp::now().as_second()).expect("a time");
    Arc::new(ManualClock::new(now))
}

async fn replicas_that_begin_together_share_one_authority(cluster: Cluster) {
    if !aggregates(&cluster).await {
        return;
    }
    let clock = today();
    let mut early = Replica::new(&cluster, &clock, true);
    let error = early.keeper.step().await.expect_err("there is no Secret");
    assert!(matches!(error, CertificateError::NoSecret(_)), "{error}");

    install(&cluster, SERVICE).await;
    let mut follower = Replica::new(&cluster, &clock, false);
    assert_eq!(follower.keeper.step().await.expect("a step"), Step::Waiting);
    assert!(follower.keeper.serving().current().is_none());
    let empty = secret(&cluster).await;
    let mut replicas: Vec<Replica> = (0..6)
        .map(|_| Replica::new(&cluster, &clock, true))
        .collect();
    let begin = replicas.iter_mut().map(|replica| replica.keeper.step());
    for step in futures::future::join_all(begin).await {
        step.expect("a step");
    }
    for replica in &mut replicas {
        replica.settle().await;
    }
    follower.settle().await;
    let first = replicas[0].certificate();
    for replica in replicas.iter().chain([&follower]) {
        assert_eq!(replica.certificate(), first);
    }
    let filled = secret(&cluster).await;
    let authorities = filled.data.clone().expect("data")["ca.crt"].0.clone();
    assert_eq!(CertificateDer::pem_slice_iter(&authorities).count(), 1);
    assert_eq!(published(&cluster).await, authorities);
    assert_eq!(writes_since(&cluster, &empty).await, 1);

    // Nothing is written while nothing is due, and what somebody else writes is put right.
    for replica in &mut replicas {
        assert_eq!(replica.keeper.step().await.expect("a step"), Step::Idle);
    }
    let version = |secret: &Secret| secret.metadata.resource_version.clone();
    assert_eq!(version(&secret(&cluster).await), version(&filled));
    let emptied = Patch::Merge(json!({"spec": {"caBundle": null}}));
    api_services(&cluster)
        .patch(API_SERVICE, &PatchParams::default(), &emptied)
        .await
        .expect("the patch");
    replicas[0].settle().await;
    assert_eq!(published(&cluster).await, authorities);

    // A Secret that was emptied is filled anew, and everybody follows.
    let secrets: Api<Secret> = cluster.api();
    let emptied = Patch::Merge(json!({"data": null}));
    secrets
        .patch(SECRET, &PatchParams::default(), &emptied)
        .await
        .expect("the patch");
    replicas[0].settle().await;
    follower.settle().await;
    assert_ne!(follower.certificate(), first);
    assert_eq!(follower.certificate(), replicas[0].certificate());
    handshake(&cluster, &follower, &clock).await;
}

async fn served_certificates_are_trusted_through_twelve_years(cluster: Cluster) {
    const STEP_DAYS: i64 = 20;
    if !aggregates(&cluster).await {
        return;
    }
    install(&cluster, SERVICE).await;
    let clock = today();
    let mut leader = Replica::new(&cluster, &clock, true);
    // One reads the Secret whenever it was written, the other one weeks later.
    let mut prompt = Replica::new(&cluster, &clock, false);
    let mut follower = Replica::new(&cluster, &clock, false);
    leader.settle().await;
    prompt.settle().await;
    follower.settle().await;
    let (mut certificates, mut authorities) = (1, 1);
    for day in (0..12 * 365).step_by(usize::try_from(STEP_DAYS).expect("days")) {
        clock.advance_seconds(STEP_DAYS * DAY);
        let before = (leader.certificate(), published(&cluster).await);
        // One thing at a time, and each moment is one at which an API server may connect to any of them.
        for _ in 0..10 {
            let step = leader.keeper.step().await.expect("a step");
            prompt.settle().await;
            handshake(&cluster, &leader, &clock).await;
            handshake(&cluster, &prompt, &clock).await;
            handshake(&cluster, &follower, &clock).await;
            if step == Step::Idle {
                break;
            }
        }
        assert_eq!(
            leader.keeper.step().await.expect("a step"),
            Step::Idle,
            "day {day}"
        );
        follower.settle().await;
        handshake(&cluster, &follower, &clock).await;
        certificates += usize::from(leader.certificate() != before.0);
        authorities += usize::from(published(&cluster).await.len() > before.1.len());
    }
    assert!(certificates > 12 * 4, "{certificates}");
    assert_eq!(authorities, 2);
    assert_eq!(
        CertificateDer::pem_slice_iter(&published(&cluster).await).count(),
        1,
        "the old authority has gone"
    );
}

async fn data_api_of_another_installation_is_left_alone(cluster: Cluster) {
    if !aggregates(&cluster).await {
        return;
    }
    install(&cluster, "of-somebody-else").await;
    let mut replica = Replica::new(&cluster, &today(), true);
    assert_eq!(
        replica.keeper.step().await.expect("a step"),
        Step::SecretWritten
    );
    let error = replica.keeper.step().await.expect_err("not ours");
    assert!(error.to_string().contains("of-somebody-else"), "{error}");
    assert!(published(&cluster).await.is_empty());
    api_services(&cluster)
        .delete(API_SERVICE, &DeleteParams::default())
        .await
        .expect("deleted");
    let error = replica.keeper.step().await.expect_err("none there");
    assert!(matches!(error, CertificateError::NoApiService), "{error}");
    assert!(
        replica.keeper.serving().current().is_some(),
        "it serves on, whatever the APIService says"
    );
}

/// Why the data API is off by default, and what the runbook says to do.
async fn namespaces_wait_while_the_data_api_is_away(cluster: Cluster) {
    let accounts: Api<ServiceAccount> = cluster.api();
    cluster
        .eventually("the controllers of the server run", || async {
            accounts.get_opt("default").await.ok().flatten()
        })
        .await;
    install(&cluster, SERVICE).await;
    cluster
        .eventually("the data API is known to be away", || async {
            let found = api_services(&cluster).get(API_SERVICE).await.ok()?;
            let conditions = found.status?.conditions?;
            let away = |c: &APIServiceCondition| c.type_ == "Available" && c.status == "False";
            conditions.iter().any(away).then_some(())
        })
        .await;
    let doomed = Cluster {
        namespace: format!("{}-doomed", cluster.namespace),
        ..cluster.clone()
    };
    doomed.create_namespace().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces
        .delete(&doomed.namespace, &DeleteParams::default())
        .await
        .expect("accepted");
    cluster
        .eventually("the deletion says what it waits for", || async {
            let found = namespaces.get(&doomed.namespace).await.expect("it waits");
            let conditions = found.status?.conditions?;
            let waits = |c: &NamespaceCondition| {
                c.type_ == "NamespaceDeletionDiscoveryFailure"
                    && c.status == "True"
                    && c.message
                        .as_deref()
                        .is_some_and(|message| message.contains("data.connectors.pupau.ai"))
            };
            conditions.iter().any(waits).then_some(())
        })
        .await;
    api_services(&cluster)
        .delete(API_SERVICE, &DeleteParams::default())
        .await
        .expect("deleted");
    let gone_by = Instant::now() + Duration::from_secs(90);
    while let Ok(Some(_)) = namespaces.get_opt(&doomed.namespace).await {
        assert!(Instant::now() < gone_by, "the namespace still waits");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// As Argo CD applies it again and again: the chart names neither the Secret's data nor the `caBundle`.
async fn applying_the_chart_again_keeps_the_certificates(cluster: Cluster) {
    if !aggregates(&cluster).await {
        return;
    }
    let secret_path = format!("{}/{SECRET}", cluster.path("v1", "secrets"));
    let api_service_path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}");
    let apply = async || {
        for (path, object) in [
            (&secret_path, secret_manifest()),
            (&api_service_path, api_service_manifest(&cluster, SERVICE)),
        ] {
            let answer = cluster
                .apply(path, "argocd-controller", false, &object)
                .await;
            assert!(answer.status.is_success(), "{answer:?}");
        }
    };
    apply().await;
    let mut replica = Replica::new(&cluster, &today(), true);
    replica.settle().await;
    let held = (secret(&cluster).await, published(&cluster).await);
    assert!(!held.1.is_empty());
    for _ in 0..2 {
        apply().await;
        assert_eq!(replica.keeper.step().await.expect("a step"), Step::Idle);
        assert_eq!((secret(&cluster).await, published(&cluster).await), held);
    }
}

/// The time of the test's clock, for TLS.
#[derive(Debug)]
struct ClockTime(Arc<ManualClock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// A TLS handshake as an API server has it with a replica: it trusts what is published, and asks for the Service's name.
async fn handshake(cluster: &Cluster, replica: &Replica, clock: &Arc<ManualClock>) {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&published(cluster).await) {
        roots.add(authority.expect("PEM")).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client =
        ClientConfig::builder_with_details(provider.clone(), Arc::new(ClockTime(clock.clone())))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(replica.keeper.serving());
    let host = format!("{SERVICE}.{}.svc", cluster.namespace);
    let name = ServerName::try_from(host).expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("written");
        server.read_tls(&mut Cursor::new(bytes)).expect("read");
        server
            .process_new_packets()
            .expect("the server takes the client");
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).expect("written");
        client.read_tls(&mut Cursor::new(bytes)).expect("read");
        client
            .process_new_packets()
            .expect("the API server trusts the replica");
    }
}
