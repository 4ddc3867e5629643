//! The program as a user runs it: its output and its exit code when an argument is wrong.

#![allow(clippy::unwrap_used)]

mod backup;
mod data_api;
mod dev;
mod doctor;
mod traces;

use std::net::TcpListener;
use std::process::{Command, Output};

/// Runs the program without the environment variables of this machine, some of which are flags.
fn run_program(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_telegram-connector-operator"))
        .args(args)
        .env_clear()
        .envs(std::env::var("PATH").map(|path| ("PATH".to_owned(), path)))
        .envs(env.iter().copied())
        .output()
        .expect("the program starts")
}

/// A kubeconfig of a cluster that does not exist, which is enough to get past reading it.
fn kubeconfig(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("kubeconfig");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n\
                users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n";
    std::fs::write(&path, text).expect("the folder is there");
    path.display().to_string()
}

fn error_output(output: &Output) -> String {
    assert!(
        !output.status.success(),
        "it should have refused: {output:?}"
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let store = format!("sqlite:{}/c.db", folder.path().display());
    let output = run_program(
        &["run", "--admin-listen", &address, "--store", &store],
        &[("KUBECONFIG", &kubeconfig(&folder))],
    );
    let error = error_output(&output);
    assert!(
        error.contains("--admin-listen") && error.contains(&address),
        "{error}"
    );
}

#[test]
fn unusable_ca_file_is_reported_with_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    let path = file.display().to_string();
    // A run that ignored the file would fail here too, with another message.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run_program(
        &["run", "--admin-listen", &address],
        &[
            ("KUBECONFIG", &kubeconfig(&folder)),
            ("ASSISTANT_CA_FILE", &path),
        ],
    );
    let error = error_output(&output);
    assert!(
        error.contains("--assistant-ca-file") && error.contains(&path),
        "{error}"
    );
}

#[test]
fn a_store_that_cannot_be_written_is_named_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let store = format!("sqlite:{}/below/c.db", file.display());
    let args = ["run", "--admin-listen", "127.0.0.1:0", "--store", &store];
    let error = error_output(&run_program(&args, &[("KUBECONFIG", &kubeconfig(&folder))]));
    assert!(error.contains(file.to_str().unwrap()), "{error}");
}

#[test]
fn an_unknown_store_is_refused_with_the_forms_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "run",
        "--admin-listen",
        "127.0.0.1:0",
        "--store",
        "mysql://db/connectors",
    ];
    let error = error_output(&run_program(&args, &[("KUBECONFIG", &kubeconfig(&folder))]));
    assert!(
        error.contains("sqlite:") && error.contains("postgres://"),
        "{error}"
    );
}

#[test]
fn listing_without_a_store_says_where_to_run_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/connectors.db");
    let store = format!("sqlite:{}", path.display());
    for command in ["denied", "sessions", "dead-letters", "requests", "grants"] {
        let error = error_output(&run_program(
            &[command, "-n", "acme", "support"],
            &[("STORE", &store)],
        ));
        assert!(
            error.contains(&store) && error.contains("exec deploy/"),
            "{error}"
        );
        assert!(!path.exists(), "{command} made a store");
    }
}

#[test]
fn without_a_cluster_run_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("none").display().to_string();
    let home = folder.path().display().to_string();
    let error = error_output(&run_program(
        &["run", "--admin-listen", "127.0.0.1:0"],
        &[("KUBECONFIG", &nowhere), ("HOME", &home)],
    ));
    assert!(error.contains("KUBECONFIG"), "{error}");
}

#[test]
fn an_address_or_host_that_is_none_is_named_with_its_flag() {
    for (flag, value) in [
        ("--allow-assistant-address", "localhost"),
        ("--deny-assistant-address", "10.0.0.0/40"),
        ("--allow-assistant-host", "http://agent.acme.svc/"),
        ("--allow-file-host", "http://files.acme.example/"),
    ] {
        let args = ["run", "--admin-listen", "127.0.0.1:0", flag, value];
        let error = error_output(&run_program(&args, &[]));
        assert!(error.contains(flag) && error.contains(value), "{error}");
    }
}

#[test]
fn a_flag_can_be_given_by_its_environment_variable() {
    let error = error_output(&run_program(&["run"], &[("CONNECTION_MODE", "webhook")]));
    assert!(
        error.contains("--public-url") && error.contains("--webhook-key"),
        "{error}"
    );
}

#[test]
fn crds_prints_the_definitions_as_yaml() {
    let output = run_program(&["crds"], &[]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<String> = serde_yaml::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .map(|crd: serde_json::Value| {
            crd["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(
        names,
        [
            "telegramconnectors.connectors.pupau.ai",
            "telegramuserlists.connectors.pupau.ai",
            "clustertelegramuserlists.connectors.pupau.ai"
        ]
    );
}

#[test]
fn check_ends_with_one_and_names_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connector.yaml");
    let text = "apiVersion: connectors.pupau.ai/v1alpha1\nkind: TelegramConnector\nmetadata:\n  name: support\nspec:\n  \
                botTokenSecretRef:\n    name: bot\n  assistant:\n    protocol: Pigeon\n    url: http://agent.svc/v1\n  access:\n    level: Open\n";
    std::fs::write(&path, text).unwrap();
    let output = run_program(&["check", path.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        stdout.contains(&format!("{}:9: spec.assistant.protocol", path.display())),
        "{stdout}"
    );
}

#[test]
fn the_quickstart_passes_check() {
    let output = run_program(&["check", "examples/quickstart"], &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn denied_of_an_empty_store_is_empty_and_since_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}/c.db", folder.path().display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = runtime.block_on(telegram_connector_operator::store::open(&store));
    drop(opened.unwrap());
    let none = run_program(
        &[
            "denied",
            "--namespace",
            "acme",
            "support",
            "--store",
            &store,
        ],
        &[],
    );
    assert!(none.status.success(), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("saveDeniedConversations"));
    let error = error_output(&run_program(
        &[
            "denied",
            "support",
            "--since",
            "yesterday",
            "--store",
            &store,
        ],
        &[],
    ));
    assert!(error.contains("--since yesterday"), "{error}");
}
