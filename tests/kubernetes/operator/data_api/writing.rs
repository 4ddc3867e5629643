//! What people send, try again and erase with kubectl.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{ANN, BOB, MALLORY, World};
use crate::kubectl_client::Kubectl;

const TIMEOUT: Duration = Duration::from_secs(30);

/// An outgoing message, as a file says it.
fn message(name: &str, spec: Value) -> String {
    json!({"apiVersion": "data.connectors.pupau.ai/v1alpha1", "kind": "OutgoingMessage", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

pub async fn messages_are_sent_and_waited_for(world: &World, kubectl: &Kubectl) {
    let acme = world.acme();
    let telegram = &world.env.telegram;
    let before = telegram.sent_messages(world.acme_bot, ANN).len();
    let name = format!("nightly-{}", kubectl.minor());
    let spec = json!({"connector": "support", "to": {"user": ANN}, "text": "The **import** is done.", "idempotencyKey": name});
    let create = format!("create -n {acme} -f - --as sender");
    let made = kubectl
        .try_run(&create, &message(&name, spec.clone()))
        .await;
    let expected = format!("outgoingmessage.data.connectors.pupau.ai/{name} created\n");
    assert_eq!(made.text, expected, "{made:?}");
    let wait = format!("wait outgoingmessage/{name} -n {acme} --timeout=30s --as reader");
    let met = kubectl.run(&format!("{wait} --for=condition=Sent")).await;
    assert!(met.contains("condition met"), "{met}");
    if kubectl.minor() >= 23 {
        kubectl
            .run(&format!("{wait} --for=jsonpath={{.status.phase}}=Sent"))
            .await;
    }
    let sent = telegram.sent_messages(world.acme_bot, ANN);
    assert_eq!(sent.len(), before + 1);
    assert_eq!(sent[before].text, "The import is done.");
    let again = kubectl
        .try_run(&create, &message(&format!("{name}-2"), spec))
        .await;
    assert!(again.ok, "the same key is the same message: {again:?}");
    assert_eq!(
        telegram.sent_messages(world.acme_bot, ANN).len(),
        before + 1
    );
    let table = kubectl
        .run(&format!("get tgout {name} -n {acme} -o wide --as reader"))
        .await;
    assert!(table.contains("Sent") && table.contains("1001"), "{table}");
    let found = format!(
        "get tgout -n {acme} --field-selector metadata.name={name},status.phase=Sent -o name"
    );
    assert_eq!(kubectl.run(&found).await.lines().count(), 1);
}

pub async fn mistakes_are_named(world: &World, kubectl: &Kubectl) {
    let acme = world.acme();
    let create = format!("create -n {acme} -f -");
    let to = |user: i64| json!({"connector": "support", "to": {"user": user}, "text": "x"});
    let denied = kubectl
        .try_run(&create, &message("denied", to(MALLORY)))
        .await;
    assert!(
        denied.error.contains("spec.to.user: Forbidden"),
        "{denied:?}"
    );
    let mut odd = to(ANN);
    odd["txt"] = "x".into();
    let odd = kubectl.try_run(&create, &message("odd", odd)).await;
    assert!(
        !odd.ok && odd.error.contains("unknown field \"") && odd.error.contains("txt\""),
        "{odd:?}"
    );
    let mut empty = to(ANN);
    empty["text"] = "".into();
    let empty = kubectl.try_run(&create, &message("empty", empty)).await;
    assert!(!empty.ok && empty.error.contains("spec.text"), "{empty:?}");
    let dry = format!("{create} --dry-run=server");
    let dry = kubectl.try_run(&dry, &message("dry", to(ANN))).await;
    assert!(dry.text.contains("created (server dry run)"), "{dry:?}");
    for name in ["denied", "odd", "empty", "dry"] {
        kubectl.fail(&format!("get tgout {name} -n {acme}")).await;
    }
}

pub async fn dead_letters_are_tried_again(world: &World, kubectl: &Kubectl) {
    let acme = world.acme();
    let telegram = &world.env.telegram;
    let before = telegram.sent_messages(world.acme_bot, BOB).len();
    let name = &world.names(&acme, "deadletters").await[0];
    let body = kubectl.folder.path().join("retry.json");
    std::fs::write(&body, "{}").expect("writable");
    let path = World::path(&acme, &format!("deadletters/{name}/retry"));
    let line = format!("create --raw {path} -f {}", body.display());
    let refused = kubectl.fail(&format!("{line} --as reader")).await;
    assert!(
        refused.contains("cannot create resource \"deadletters/retry\""),
        "{refused}"
    );
    let tried = kubectl.run(&format!("{line} --as keeper")).await;
    assert!(tried.contains("\"phase\":\"Waiting\""), "{tried}");
    world.wait_for(&acme, "deadletters", 0).await;
    telegram
        .wait_for_sent_messages(world.acme_bot, BOB, before, TIMEOUT)
        .await;
    let gone = kubectl.fail(&format!("{line} --as keeper")).await;
    assert!(gone.to_lowercase().contains("not found"), "{gone}");
}

pub async fn people_are_erased_by_selector(world: &World, kubectl: &Kubectl) {
    let (acme, other) = (world.acme(), world.other());
    let keep = format!("-n {acme} --as keeper");
    let line = format!("delete tgdm {keep} --field-selector spec.user.id={MALLORY}");
    let dry = kubectl.run(&format!("{line} --dry-run=server")).await;
    assert_eq!(dry.matches("server dry run").count(), 2, "{dry}");
    assert_eq!(world.names(&acme, "deniedmessages").await.len(), 3);
    kubectl.run(&line).await;
    let left = world.names(&acme, "deniedmessages").await;
    assert_eq!(left.len(), 1, "Trudy's stays: {left:?}");
    let gone = kubectl
        .run(&format!("delete tgdm {} {keep}", left[0]))
        .await;
    assert!(gone.contains("deleted"), "{gone}");

    kubectl.run(&format!("delete tgconv {keep} --all")).await;
    assert!(world.names(&acme, "conversations").await.is_empty());
    // The session has ended: what Ann asks next begins another one.
    world
        .env
        .telegram
        .send_and_wait(world.acme_bot, ANN, "and now?", TIMEOUT)
        .await;
    world.wait_for(&acme, "conversations", 1).await;
    for resource in ["deniedmessages", "conversations"] {
        assert_eq!(
            world.names(&other, resource).await.len(),
            1,
            "elsewhere all is as it was"
        );
    }
}
