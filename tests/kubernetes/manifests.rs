//! The manifests of `tests/manifests` and `examples`, on every server: what `check` says of them offline must be what servers say.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{ApiResponse, Cluster};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Cel, FieldValidation],
        invalid_manifests_are_refused_with_the_field
    );
    // An API server of 2020 takes an empty text for a null (`deniedReply: ""`).
    add!(suite, [Cel], valid_manifests_are_accepted);
    add!(suite, [], examples_are_accepted);
}

async fn invalid_manifests_are_refused_with_the_field(cluster: Cluster) {
    let files = manifests("tests/manifests/invalid");
    assert!(files.len() >= 30, "{}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a manifest of ours");
        let field = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# field: "))
            .expect("the first line names the field");
        for object in objects(&text) {
            let answer = send(&cluster, &object).await;
            let message = answer.at("/message").as_str().unwrap_or_default();
            let named =
                message.contains(&format!("{field}:")) || message.contains(&format!("\"{field}\""));
            if !matches!(answer.status.as_u16(), 400 | 422) || !named {
                wrong.push(format!("{}: {} {message}", file.display(), answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn valid_manifests_are_accepted(cluster: Cluster) {
    accepted(&cluster, manifests("tests/manifests/valid"), 15).await;
}

async fn examples_are_accepted(cluster: Cluster) {
    accepted(&cluster, manifests("examples"), 15).await;
}

async fn accepted(cluster: &Cluster, files: Vec<PathBuf>, at_least: usize) {
    let (mut sent, mut wrong) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).expect("a manifest of ours");
        for object in objects(&text) {
            sent += 1;
            let answer = send(cluster, &object).await;
            if answer.status.as_u16() != 201 {
                wrong.push(format!(
                    "{}: {} {}",
                    file.display(),
                    answer.status,
                    answer.at("/message")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(sent >= at_least, "{sent}");
}

/// Creates an object as a dry run, strictly, in the test's namespace.
async fn send(cluster: &Cluster, object: &Value) -> ApiResponse {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    let in_namespace = |plural| cluster.path("connectors.pupau.ai/v1alpha1", plural);
    let path = match object["kind"].as_str() {
        Some("TelegramUserList") => in_namespace("telegramuserlists"),
        Some("ClusterTelegramUserList") => {
            "/apis/connectors.pupau.ai/v1alpha1/clustertelegramuserlists".to_owned()
        }
        _ => in_namespace("telegramconnectors"),
    };
    cluster
        .call(
            "POST",
            &format!("{path}?dryRun=All&fieldValidation=Strict"),
            &object,
        )
        .await
}

/// The objects of our group in a file.
fn objects(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("a manifest of ours is YAML"))
        .filter(|object| {
            object["apiVersion"]
                .as_str()
                .is_some_and(|version| version.starts_with("connectors.pupau.ai/"))
        })
        .collect()
}

/// Every YAML file below a folder of the project.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours") {
            let path = entry.expect("a folder of ours").path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
