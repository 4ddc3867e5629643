//! What an admin reads with kubectl.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::world::{ANN, MALLORY, PLEA, QUESTION, World};
use crate::kubectl_client::{Kubectl, columns};

const TIMEOUT: Duration = Duration::from_mins(1);

/// The lines of a table, each in words.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(columns).collect()
}

pub async fn tables_show_what_is_there(world: &World, kubectl: &Kubectl) {
    let (acme, other) = (world.acme(), world.other());
    let table = kubectl.run(&format!("get tgdm -n {acme}")).await;
    let rows_of_denied = rows(&table);
    assert_eq!(
        rows_of_denied[0],
        ["NAME", "CONNECTOR", "USER", "USERNAME", "CONTENT", "AGE"]
    );
    assert_eq!(rows_of_denied.len(), 4, "{table}");
    // Chats are handled at once, in no order.
    let of_mallory = |row: &&Vec<&str>| row[1..3] == ["support", "5001"];
    let count = rows_of_denied[1..].iter().filter(of_mallory).count();
    assert_eq!(count, 2, "{table}");
    let wide = kubectl.run("get deniedmessages -A -o wide").await;
    let heads: &[&str] = &[
        "NAMESPACE",
        "NAME",
        "CONNECTOR",
        "USER",
        "USERNAME",
        "CONTENT",
        "NAME",
        "CHAT",
        "LEVEL",
        "TEXT",
        "AGE",
    ];
    assert_eq!(rows(&wide)[0], heads);
    assert!(wide.contains(PLEA) && wide.contains("Company"), "{wide}");
    assert!(wide.contains(&format!("{other} ")), "{wide}");
    assert_eq!(wide.lines().count(), 5, "{wide}");

    let all = kubectl
        .run(&format!("get tgdm,tgconv,tgdl,tgout -n {acme} -o name"))
        .await;
    for part in ["deniedmessage", "conversation", "deadletter"] {
        let part = format!("{part}.data.connectors.pupau.ai/");
        assert!(all.contains(&part), "{part}: {all}");
    }
    let conversations = kubectl.run(&format!("get tgconv -n {other} -o wide")).await;
    assert_eq!(
        rows(&conversations)[1][1..4],
        ["support", "1001", "1"],
        "{conversations}"
    );
    let dead = kubectl.run(&format!("get tgdl -n {acme}")).await;
    assert_eq!(rows(&dead)[1][1..4], ["support", "reply", "1002"], "{dead}");
    assert!(!dead.contains("hay"), "{dead}");

    let name = &world.names(&other, "deniedmessages").await[0];
    let yaml = kubectl
        .run(&format!("get deniedmessage {name} -n {other} -o yaml"))
        .await;
    let object: Value = serde_yaml::from_str(&yaml).expect("YAML");
    assert_eq!(object["kind"], "DeniedMessage");
    assert_eq!(
        (&object["spec"]["user"]["id"], &object["spec"]["text"]),
        (&json!(MALLORY), &json!(PLEA))
    );
    let absent = kubectl.fail(&format!("get tgdm {name} -n {acme}")).await;
    assert!(absent.contains("(NotFound)"), "{absent}");
}

pub async fn objects_are_selected_by_their_fields(world: &World, kubectl: &Kubectl) {
    let acme = world.acme();
    let count = async |selected: &str| {
        let line = format!("get tgdm -o name {selected}");
        kubectl.run(&line).await.lines().count()
    };
    let of = |field: &str| format!("-n {acme} --field-selector spec.{field}");
    assert_eq!(count(&of("user.id=5001")).await, 2);
    assert_eq!(count(&of("user.id!=5001")).await, 1);
    assert_eq!(count(&of("chat.id=5002,spec.connector=support")).await, 1);
    assert_eq!(count(&of("connector=none")).await, 0);
    assert_eq!(count("-A --field-selector spec.user.id=5001").await, 3);
    assert_eq!(count("-A --chunk-size=1").await, 4);
    let refused = kubectl.fail(&format!("get tgdm {}", of("text=x"))).await;
    assert!(
        refused.contains("field label not supported: spec.text"),
        "{refused}"
    );
}

pub async fn kinds_are_explained(_world: &World, kubectl: &Kubectl) {
    // An API server merges the documents of others a moment after it has found them.
    let explained = async {
        loop {
            let output = kubectl.try_run("explain tgdm.spec", "").await;
            if output.ok {
                return output.text;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let text = tokio::time::timeout(TIMEOUT, explained)
        .await
        .expect("in time");
    for part in ["connectorUID", "What was written", "level"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for (field, part) in [
        ("tgconv.status", "lastMessage"),
        ("tgdl", "without its text"),
        (
            "outgoingmessages.spec.to",
            "whom the connector's access level names",
        ),
    ] {
        let text = kubectl.run(&format!("explain {field}")).await;
        let text = columns(&text).join(" ");
        assert!(text.contains(part), "{field}: {text}");
    }
}

pub async fn words_are_read_by_a_right_of_their_own(world: &World, kubectl: &Kubectl) {
    let acme = world.acme();
    let of_ann = format!("get tgconv -n {acme} --field-selector spec.user.id={ANN} -o");
    let shown = kubectl.run(&format!("{of_ann} yaml")).await;
    assert!(!shown.contains(QUESTION), "{shown}");
    let name = kubectl
        .run(&format!("{of_ann} jsonpath={{.items[0].metadata.name}}"))
        .await;
    let path = World::path(&acme, &format!("conversations/{name}/transcript"));
    let words = kubectl.run(&format!("get --raw {path} --as reader")).await;
    let words: Value = serde_json::from_str(&words).expect("JSON");
    assert_eq!(
        words["messages"][0],
        json!({"role": "user", "text": QUESTION})
    );
    assert_eq!(words["messages"][1]["role"], "assistant");
    kubectl
        .run(&format!("get tgconv {name} -n {acme} --as editor"))
        .await;
    let refused = kubectl.fail(&format!("get --raw {path} --as editor")).await;
    assert!(
        refused.contains("cannot get resource \"conversations/transcript\""),
        "{refused}"
    );
}

pub async fn watch_tells_who_comes_and_goes(world: &World, kubectl: &Kubectl) {
    let acme = world.acme();
    let before = world.names(&acme, "deniedmessages").await;
    let mut following = kubectl
        .command(&format!(
            "get tgdm -n {acme} -w --output-watch-events --as reader"
        ))
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut lines = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut next = async || {
        let line = tokio::time::timeout(TIMEOUT, lines.next_line()).await;
        let line = line.expect("in time").expect("a pipe").expect("a line");
        columns(&line)[..2].join(" ")
    };
    assert_eq!(next().await, "EVENT NAME");
    for name in &before {
        assert_eq!(next().await, format!("ADDED {name}"));
    }
    world.write_denied(5003, "and me?");
    let added = next().await;
    let name = added.strip_prefix("ADDED ").expect("it is new");
    assert!(!before.iter().any(|known| known == name), "{name}");
    kubectl
        .run(&format!("delete tgdm {name} -n {acme} --as keeper"))
        .await;
    assert_eq!(next().await, format!("DELETED {name}"));
    following.kill().await.expect("it ends");
}
