//! What the data API means for namespaces that go: they take its objects along, and wait while it is away.

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::world::{AGGREGATOR_TIMEOUT, MALLORY, PLEA, World};

fn namespaces(world: &World) -> Api<Namespace> {
    Api::all(world.cluster().client.clone())
}

async fn create(world: &World, name: &str) {
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}}));
    let namespace = namespace.expect("a namespace");
    namespaces(world)
        .create(&PostParams::default(), &namespace)
        .await
        .expect("made");
}

async fn delete(world: &World, name: &str) {
    let parameters = DeleteParams::default();
    namespaces(world)
        .delete(name, &parameters)
        .await
        .expect("it begins to go");
}

async fn wait_until_gone(world: &World, name: &str) {
    let all = namespaces(world);
    let gone = || async {
        all.get_opt(name)
            .await
            .expect("an answer")
            .is_none()
            .then_some(())
    };
    let what = format!("{name} is gone");
    world
        .cluster()
        .eventually_within(AGGREGATOR_TIMEOUT, &what, gone)
        .await;
}

pub async fn namespace_goes_with_its_objects(world: &World) {
    let (passing, other) = (world.passing(), world.other());
    create(world, &passing).await;
    let bot = world.create_connector(&passing).await;
    for bot in [bot, world.other_bot] {
        world.env.telegram.send_private_message(bot, MALLORY, PLEA);
    }
    world.wait_for(&passing, "deniedmessages", 1).await;
    world.wait_for(&other, "deniedmessages", 1).await;
    delete(world, &passing).await;
    wait_until_gone(world, &passing).await;
    assert!(world.names(&passing, "deniedmessages").await.is_empty());
    assert_eq!(world.names(&other, "deniedmessages").await.len(), 1);
}

/// Nothing of the data API is in the namespace that has to wait: it is anybody's.
pub async fn namespaces_wait_until_the_operator_is_back(world: &mut World) {
    let name = format!("{}-of-somebody", world.acme());
    world.kill_operator();
    world.wait_until_available("False").await;
    create(world, &name).await;
    delete(world, &name).await;
    let all = namespaces(world);
    let waits = || async {
        let conditions = all.get(&name).await.expect("it waits").status?.conditions?;
        let failed = |one: &NamespaceCondition| {
            let message = one.message.as_deref().unwrap_or_default();
            one.type_ == "NamespaceDeletionDiscoveryFailure"
                && one.status == "True"
                && message.contains("data.connectors.pupau.ai")
        };
        conditions.iter().any(failed).then_some(())
    };
    world
        .cluster()
        .eventually("it says what it waits for", waits)
        .await;
    world.start_operator();
    world.wait_until_available("True").await;
    wait_until_gone(world, &name).await;
}
