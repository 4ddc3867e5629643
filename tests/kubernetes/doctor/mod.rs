//! `doctor` as an administrator uses it: the real program against a healthy environment, and against the same one with a fault planted.

mod env;
mod faults;
mod peers;

use embedded_control_plane::ControlPlane;
use serde_json::json;

use self::env::{DoctorEnv, Examination, TOKEN_SECRET};
use self::faults::Fault;
use self::peers::API_KEY;
use crate::cluster::Cluster;
use crate::operator::{OperatorAccount, Scope, chart_permissions};
use crate::suite::{ServerFeature, Suite};

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], healthy_environment_is_all_ok);
    add!(suite, [Crds, Cel], faults_of_custom_resources_are_named);
    // A real controller counts the Deployment's Pods anew after each fault, and faster than they can be planted.
    add!(suite, [Embedded], faults_in_the_cluster_are_named);
    add!(
        suite,
        [Core, Rbac],
        operators_own_rights_suffice_for_its_checks
    );
    add!(suite, [Embedded], faults_of_the_control_plane_are_named);
    add!(suite, [Embedded], faults_outside_are_named);
    add!(suite, [Embedded], no_secret_is_printed_whatever_is_broken);
    add!(suite, [Embedded], api_server_that_is_down_ends_it_with_two);
    add!(suite, [Embedded], plain_output_ends_with_the_line_to_type);
}

/// Without CEL the schema of an old server differs, and that is told.
fn expected_warnings(cluster: &Cluster) -> Vec<&'static str> {
    if cluster.has(ServerFeature::Cel) {
        Vec::new()
    } else {
        vec!["crd"]
    }
}

fn assert_healthy(examination: &Examination, warnings: &[&str]) {
    let Examination { out, error, .. } = examination;
    assert_eq!(examination.code, Some(0), "{out}{error}");
    // What the disk of the machine is like is not the test's to say.
    let found = examination.checks("warning");
    let warned: Vec<_> = found.into_iter().filter(|c| *c != "store-space").collect();
    assert_eq!(warned, warnings, "{out}");
    assert!(examination.checks("failure").is_empty(), "{out}");
    assert!(examination.checks("skipped").is_empty(), "{out}");
}

async fn healthy_environment_is_all_ok(cluster: Cluster) {
    let warnings = expected_warnings(&cluster);
    let env = DoctorEnv::new(cluster).await;
    let examination = env.examine(&[]).await;
    // A real controller counts the Deployment's Pods, of which none ever runs, and may be faster than `doctor` each time that they are planted.
    let is_counted = env.is_counted_by_a_controller(&examination);
    if is_counted {
        let failures: Vec<_> = examination.checks("failure").into_iter().collect();
        assert_eq!(failures, ["operator"], "{}", examination.out);
    } else {
        assert_healthy(&examination, &warnings);
    }
    let ok = examination.checks("ok");
    for check in [
        "api-server",
        "caller-rights",
        "operator-rights",
        "operator",
        "operator-version",
        "operator-flags",
        "lease",
        "connector",
        "user-list",
        "bot-token",
        "bot",
        "bot-webhook",
        "api-key",
        "public-url",
        "certificate",
        "webhook-server",
        "telegram",
        "assistant",
        "store",
        "clock",
    ] {
        let is_ok = ok.contains(check) || (is_counted && check == "operator");
        assert!(is_ok, "{check}: {}", examination.out);
    }
}

/// Each fault in an environment of its own.
async fn assert_each_is_named(cluster: &Cluster, faults: Vec<Fault>) {
    for fault in faults {
        let cluster = fresh(cluster).await;
        let warnings = expected_warnings(&cluster);
        let mut env = DoctorEnv::new(cluster).await;
        (fault.plant)(&mut env).await;
        let examination = env.examine(&[]).await;
        let (check, level, says) = fault.expected;
        let (name, out) = (fault.name, &examination.out);
        let found = examination.find(check, level);
        let found = found
            .unwrap_or_else(|| panic!("{name}: no {level} of {check}: {out}{}", examination.error));
        assert!(found.message.contains(says), "{name}: {found:?}");
        assert!(
            level == "skipped" || found.fix.is_some(),
            "{name}: nothing to type: {found:?}"
        );
        assert!(
            found.object.is_empty() || !found.object.contains(' '),
            "{found:?}"
        );
        let failures = examination.checks("failure");
        let others: Vec<_> = failures.iter().filter(|c| **c != check).collect();
        assert!(others.is_empty(), "{name}: {others:?} failed too: {out}");
        let expected_code = i32::from(level == "failure");
        assert_eq!(examination.code, Some(expected_code), "{name}: {out}");
        let warned = examination.checks("warning");
        let unexpected = warned
            .iter()
            .filter(|c| !warnings.contains(c) && **c != check && **c != "store-space");
        assert_eq!(unexpected.count(), 0, "{name}: {out}");
        env.telegram.stop();
    }
}

/// A control plane of its own; of a real server, another namespace.
async fn fresh(cluster: &Cluster) -> Cluster {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut fresh = Cluster {
        namespace: format!("{}-{number}", cluster.namespace),
        ..cluster.clone()
    };
    if fresh.control_plane.is_some() {
        let control_plane = ControlPlane::builder().crds(crate::crds()).build();
        fresh.client = control_plane.client();
        fresh.control_plane = Some(control_plane);
    }
    fresh.create_namespace().await;
    fresh
}

async fn faults_in_the_cluster_are_named(cluster: Cluster) {
    assert_each_is_named(&cluster, faults::in_the_cluster()).await;
}

/// As in the operator's Pod: what its rights do not reach is not checked, and nothing else fails for it.
async fn operators_own_rights_suffice_for_its_checks(cluster: Cluster) {
    let account = OperatorAccount::new(&cluster, &chart_permissions(), Scope::Namespace).await;
    let mut env = DoctorEnv::new(cluster).await;
    env.process = Some(peers::ready_operator().await);
    env.use_kubeconfig(&account.kubeconfig);
    let examination = env.examine(&[]).await;
    let Examination { out, error, .. } = &examination;
    assert_eq!(examination.code, Some(0), "{out}{error}");
    let skipped: Vec<_> = examination.checks("skipped").into_iter().collect();
    assert_eq!(skipped, ["caller-rights", "crd"], "{out}");
    let rights = examination.find("caller-rights", "skipped").expect("found");
    assert!(
        rights.message.contains("get customresourcedefinitions"),
        "{rights:?}"
    );
    for check in [
        "operator-rights",
        "lease",
        "connector",
        "bot-token",
        "bot-webhook",
        "assistant",
    ] {
        assert!(examination.find(check, "ok").is_some(), "{check}: {out}");
    }
}

/// On a server of custom resources alone there are no Secrets, but all that these checks read.
async fn faults_of_custom_resources_are_named(cluster: Cluster) {
    let env = DoctorEnv::bare(cluster).await;
    let offline = ["--offline", "--", "--connection-mode=polling"];
    env.create_list().await;
    env.create_connector("support", "support-bot").await;
    let connector = format!("{}/support", env.custom("telegramconnectors"));
    let healthy = env.examine(&offline).await;
    for check in ["api-server", "crd", "connector", "user-list"] {
        assert!(
            healthy.find(check, "ok").is_some(),
            "{check}: {}",
            healthy.out
        );
        assert!(
            healthy.find(check, "failure").is_none(),
            "{check}: {}",
            healthy.out
        );
    }
    let condition = json!({"type": "Connected", "status": "False", "reason": "PollingConflict", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"conditions": [condition]}});
    env.patch(&format!("{connector}/status"), status).await;
    env.delete(&format!("{}/staff", env.custom("telegramuserlists")))
        .await;
    let broken = env.examine(&offline).await;
    for (check, says) in [
        ("connector", "Connected is False, PollingConflict: m"),
        ("user-list", "\"staff\" does not exist"),
    ] {
        let found = broken.find(check, "failure").expect(check);
        assert!(found.message.contains(says), "{found:?}");
    }
    env.delete(&connector).await;
    let deleted = env.examine(&offline).await;
    assert!(
        deleted.find("connector-deletion", "warning").is_some(),
        "{}",
        deleted.out
    );
}

async fn faults_of_the_control_plane_are_named(cluster: Cluster) {
    assert_each_is_named(&cluster, faults::of_the_control_plane()).await;
}

async fn faults_outside_are_named(cluster: Cluster) {
    assert_each_is_named(&cluster, faults::outside()).await;
    assert_each_is_named(&cluster, faults::of_the_machine()).await;
}

async fn no_secret_is_printed_whatever_is_broken(cluster: Cluster) {
    let all = [faults::in_the_cluster(), faults::outside()];
    for fault in all.into_iter().flatten() {
        let mut env = DoctorEnv::new(fresh(&cluster).await).await;
        (fault.plant)(&mut env).await;
        let examination = env.examine(&[]).await;
        let printed = format!("{}{}", examination.out, examination.error);
        for secret in [
            TOKEN_SECRET,
            API_KEY,
            "sk-planted-and-wrong",
            "8400000001-AAF7",
            "planted-secret-path",
        ] {
            assert!(!printed.contains(secret), "{}: {printed}", fault.name);
        }
        env.telegram.stop();
    }
}

async fn api_server_that_is_down_ends_it_with_two(cluster: Cluster) {
    let env = DoctorEnv::new(cluster).await;
    env.cluster.control_plane().faults().take_down();
    let examination = env.examine(&[]).await;
    assert_eq!(examination.code, Some(2), "{examination:?}");
    assert!(examination.find("api-server", "failure").is_some());
    assert_eq!(examination.findings.len(), 1, "{examination:?}");
}

async fn plain_output_ends_with_the_line_to_type(cluster: Cluster) {
    let env = DoctorEnv::new(cluster).await;
    let healthy = env.examine_as_text().await;
    assert!(
        healthy.ends_with("\nnothing to mend; 1 not checked\n"),
        "{healthy}"
    );
    env.delete(&format!(
        "{}/support-bot",
        env.cluster.path("v1", "secrets")
    ))
    .await;
    let broken = env.examine_as_text().await;
    let namespace = &env.cluster.namespace;
    let first = format!(
        "first: kubectl -n {namespace} create secret generic support-bot --from-file=token=FILE\n"
    );
    assert!(broken.ends_with(&first), "{broken}");
    assert!(broken.contains("\n1 broken, 1 not checked\n"), "{broken}");
    println!("{healthy}\n\n{broken}");
}
