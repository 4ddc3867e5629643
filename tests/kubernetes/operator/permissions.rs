//! The chart grants exactly the permissions that the operator needs: the operator uses each of them, and is forbidden a call if one
//! is removed.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use telegram_connector_operator::controller::LeaseSettings;

use super::operator_account::{OperatorAccount, Permission, Scope, chart_permissions};
use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::{Cluster, WAIT_TIMEOUT};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core, Rbac],
        chart_permissions_are_all_used_and_sufficient
    );
    add!(
        suite,
        [Core, Rbac],
        each_chart_permission_is_missed_when_removed
    );
}

/// Makes the operator use every permission: a polled connector with a user list and a Lease, and a connector by webhook, which has a
/// finalizer.
async fn use_every_permission(env: &TestEnv) {
    let lease = LeaseSettings::new(&env.cluster.namespace, "operator", Duration::from_secs(6));
    let operator = env
        .start_operator(OperatorOptions {
            lease: Some(lease),
            ..OperatorOptions::polling()
        })
        .await;
    env.create_user_list("staff", json!([{"id": 1001}])).await;
    let staff =
        json!({"access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}}});
    let (bot, _) = env.create_connector_with_bot("polled", staff).await;
    env.wait_until_ready("polled").await;
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    // A watch reports the deletion of the Secret, and an event is created for it.
    env.delete_secret("polled").await;
    env.wait_until_not_ready("polled", "TokenValid", "False", "SecretNotFound")
        .await;
    env.delete_connector("polled").await;
    env.wait_until_gone("polled").await;
    let calls = env.account.as_ref().expect("an account").calls.clone();
    env.cluster
        .eventually("the Lease is renewed", || async {
            let is_renewal = |p: &Permission| p.resource == "leases" && p.verb == "update";
            calls.allowed().iter().any(is_renewal).then_some(())
        })
        .await;
    operator.shutdown().await;

    let operator = env.start_operator(OperatorOptions::webhook()).await;
    env.create_working_connector("called").await;
    env.wait_until_ready("called").await;
    env.delete_connector("called").await;
    env.wait_until_gone("called").await;
    operator.shutdown().await;
}

async fn chart_permissions_are_all_used_and_sufficient(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    use_every_permission(&env).await;
    let calls = &env.account.as_ref().expect("an account").calls;
    assert_eq!(calls.allowed(), chart_permissions());
}

async fn each_chart_permission_is_missed_when_removed(cluster: Cluster) {
    let all = chart_permissions();
    let runs = all.iter().enumerate().map(|(number, removed)| {
        let (cluster, mut granted) = (cluster.clone(), all.clone());
        granted.remove(removed);
        async move {
            let own = Cluster {
                namespace: format!("{}-{number}", cluster.namespace),
                ..cluster
            };
            own.create_namespace().await;
            let account = OperatorAccount::new(&own, &granted, Scope::Namespace).await;
            let env = TestEnv::with_account(own.clone(), account.clone()).await;
            let missed = async {
                while !account.calls.forbidden().contains(removed) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let was_missed = tokio::select! {
                () = missed => true,
                () = use_every_permission(&env) => false,
                () = tokio::time::sleep(WAIT_TIMEOUT) => false,
            };
            own.delete_namespace().await;
            (!was_missed).then(|| removed.to_string())
        }
    });
    let never_missed: Vec<String> = join_all(runs).await.into_iter().flatten().collect();
    assert!(
        never_missed.is_empty(),
        "the operator works without these permissions, so the chart must not grant them: {never_missed:#?}"
    );
}
