//! Lists of the cluster: who may use them, by name and by label, what an operator without the right or the kind says, and their status.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use telegram_connector_operator::api::crds;
use telegram_connector_operator::identity::BotId;

use super::operator_account::{OperatorAccount, Permission, Scope, chart_permissions};
use super::test_env::{OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::servers::install;
use crate::suite::{ServerFeature, Suite};

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], list_serves_the_namespaces_that_it_names);
    add!(suite, [Core], labels_of_a_namespace_decide_at_once);
    add!(
        suite,
        [Core, Rbac],
        missing_right_is_said_and_asked_for_rarely
    );
    add!(
        suite,
        [Core, OwnServer],
        kind_that_comes_later_is_said_and_found
    );
    add!(suite, [Core, OwnServer], status_counts_users_and_connectors);
}

const LISTS: &str = "/apis/connectors.pupau.ai/v1alpha1/clustertelegramuserlists";
const WAIT: Duration = Duration::from_secs(20);

fn permission(group: &str, resource: &str, verb: &str) -> Permission {
    Permission {
        group: group.to_owned(),
        resource: resource.to_owned(),
        verb: verb.to_owned(),
    }
}

/// An operator that may read lists of the cluster, as with `rbac.clusterUserLists`.
async fn reading(cluster: Cluster) -> TestEnv {
    if !cluster.has(ServerFeature::Rbac) {
        return TestEnv::new(cluster).await;
    }
    let mut permissions: BTreeSet<Permission> = chart_permissions();
    for verb in ["list", "watch"] {
        permissions.insert(permission(
            "connectors.pupau.ai",
            "clustertelegramuserlists",
            verb,
        ));
        permissions.insert(permission("", "namespaces", verb));
    }
    let account = OperatorAccount::new(&cluster, &permissions, Scope::Cluster).await;
    TestEnv::with_account(cluster, account).await
}

/// Creates a list of this test, named as its namespace is, with user 1001.
async fn create_list(cluster: &Cluster, allowed: Value) {
    let list = json!({
        "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "ClusterTelegramUserList",
        "metadata": {"name": cluster.namespace},
        "spec": {"users": [{"id": 1001, "note": "Ann of the board"}], "allowedNamespaces": allowed},
    });
    cluster.call("POST", LISTS, &list).await.expect_status(201);
}

async fn patch(cluster: &Cluster, path: &str, patch: Value) {
    cluster
        .call_as("PATCH", path, "application/merge-patch+json", &patch)
        .await
        .expect_status(200);
}

/// A connector at level Company that refers to this test's list, and nobody else.
async fn create_connector(env: &TestEnv) -> BotId {
    let reference = json!({"kind": "ClusterTelegramUserList", "name": env.cluster.namespace});
    let access = json!({"access": {"level": "Company", "companyUsers": {"listRefs": [reference]}}});
    env.create_connector_with_bot("a", access).await.0
}

/// What user 1001 is told; a denied user is told their id.
async fn is_let_in(env: &TestEnv, bot: BotId, text: &str) -> bool {
    let answer = env.telegram.send_and_wait(bot, 1001, text, WAIT).await;
    !answer.text.contains("1001")
}

async fn delete_list(cluster: &Cluster) {
    let path = format!("{LISTS}/{}", cluster.namespace);
    cluster
        .call("DELETE", &path, &json!({}))
        .await
        .expect_status(200);
}

async fn list_serves_the_namespaces_that_it_names(cluster: Cluster) {
    let env = reading(cluster).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let bot = create_connector(&env).await;
    env.wait_until_not_ready("a", "AccessResolved", "False", "UserListNotFound")
        .await;
    create_list(&env.cluster, json!({"names": ["somewhere-else"]})).await;
    let message = env
        .wait_until_not_ready("a", "AccessResolved", "False", "UserListNotAllowed")
        .await;
    assert!(message.contains("allowedNamespaces"), "{message}");
    assert!(
        !message.contains("Ann") && !message.contains("somewhere"),
        "{message}"
    );
    assert!(!is_let_in(&env, bot, "hello").await);
    let path = format!("{LISTS}/{}", env.cluster.namespace);
    let names = json!([env.cluster.namespace]);
    patch(
        &env.cluster,
        &path,
        json!({"spec": {"allowedNamespaces": {"names": names}}}),
    )
    .await;
    env.wait_until_ready("a").await;
    assert!(is_let_in(&env, bot, "and now?").await);
    delete_list(&env.cluster).await;
    env.wait_until_not_ready("a", "AccessResolved", "False", "UserListNotFound")
        .await;
    operator.shutdown().await;
}

async fn labels_of_a_namespace_decide_at_once(cluster: Cluster) {
    let env = reading(cluster).await;
    let own = format!("/api/v1/namespaces/{}", env.cluster.namespace);
    let selector = json!({"selector": {"matchLabels": {"bots": env.cluster.namespace}}});
    create_list(&env.cluster, selector).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    let bot = create_connector(&env).await;
    env.wait_until_not_ready("a", "AccessResolved", "False", "UserListNotAllowed")
        .await;
    let labels = |value: Value| json!({"metadata": {"labels": {"bots": value}}});
    patch(&env.cluster, &own, labels(json!(env.cluster.namespace))).await;
    env.wait_until_ready("a").await;
    assert!(is_let_in(&env, bot, "hello").await);
    patch(&env.cluster, &own, labels(json!("none"))).await;
    env.wait_until_not_ready("a", "AccessResolved", "False", "UserListNotAllowed")
        .await;
    assert!(!is_let_in(&env, bot, "still there?").await);
    delete_list(&env.cluster).await;
    operator.shutdown().await;
}

async fn missing_right_is_said_and_asked_for_rarely(cluster: Cluster) {
    let account = OperatorAccount::new(&cluster, &chart_permissions(), Scope::Namespace).await;
    let env = TestEnv::with_account(cluster, account.clone()).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    env.create_working_connector("other").await;
    env.wait_until_ready("other").await;
    let forbidden = account.calls.forbidden();
    assert!(forbidden.is_empty(), "nobody needs it: {forbidden:?}");
    let names = json!({"names": [env.cluster.namespace]});
    create_list(&env.cluster, names).await;
    let bot = create_connector(&env).await;
    let message = env
        .wait_until_not_ready("a", "AccessResolved", "False", "UserListInvalid")
        .await;
    let right = "no right to list and watch clustertelegramuserlists.connectors.pupau.ai";
    assert!(message.contains(right), "{message}");
    assert!(!is_let_in(&env, bot, "hello").await);
    let list = permission("connectors.pupau.ai", "clustertelegramuserlists", "list");
    assert_eq!(account.calls.forbidden(), BTreeSet::from([list]));
    delete_list(&env.cluster).await;
    operator.shutdown().await;
}

async fn kind_that_comes_later_is_said_and_found(cluster: Cluster) {
    let env = reading(cluster).await;
    let [connectors, lists, cluster_lists] = crds::all();
    install(&env.cluster.client, [connectors, lists]).await;
    let operator = env.start_operator(OperatorOptions::polling()).await;
    create_connector(&env).await;
    let message = env
        .wait_until_not_ready("a", "AccessResolved", "False", "UserListInvalid")
        .await;
    assert!(message.contains("does not know"), "{message}");
    install(&env.cluster.client, [cluster_lists]).await;
    create_list(&env.cluster, json!({"names": [env.cluster.namespace]})).await;
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn status_counts_users_and_connectors(cluster: Cluster) {
    let env = TestEnv::cluster_wide(cluster).await;
    install(&env.cluster.client, crds::all()).await;
    let options = OperatorOptions {
        all_namespaces: true,
        client: Some(env.cluster.client.clone()),
        ..OperatorOptions::polling()
    };
    let operator = env.start_operator(options).await;
    create_connector(&env).await;
    create_list(&env.cluster, json!({"names": [env.cluster.namespace]})).await;
    let path = format!("{LISTS}/{}", env.cluster.namespace);
    let shows = async |users: i64, ended: Value, used_by: i64| {
        env.cluster
            .eventually("the status of the list", || async {
                let list = env.cluster.get(&path).await.expect_status(200);
                let status = list.at("/status");
                let counts = json!([status["users"], status["ended"], status["usedBy"]]);
                let ready = status["conditions"].as_array()?.iter();
                let ready = ready
                    .clone()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True");
                (ready && counts == json!([users, ended, used_by])).then_some(())
            })
            .await;
    };
    shows(1, Value::Null, 1).await;
    let users = json!([{"id": 1001}, {"id": 1002, "until": "2020-01-31"}]);
    patch(&env.cluster, &path, json!({"spec": {"users": users}})).await;
    shows(1, json!(1), 1).await;
    env.delete_connector("a").await;
    shows(1, json!(1), 0).await;
    operator.shutdown().await;
}
