//! The commands that ask the data API, where there is none; and the binary as a kubectl plugin.

use std::process::Command;

use super::{error_output, kubeconfig, run_program};

#[test]
fn binary_named_kubectl_tgc_is_a_kubectl_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-tgc");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_telegram-connector-operator"), &plugin).unwrap();
    let output = Command::new(&plugin)
        .args(["denied", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(help.contains("Usage: kubectl tgc denied"), "{help}");
}

#[test]
fn listing_without_data_api_and_store_says_where_to_run() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["denied", "sessions", "dead-letters"] {
        let output = run_program(
            &[command, "support"],
            &[("KUBECONFIG", &kubeconfig(&folder))],
        );
        let error = error_output(&output);
        for part in ["no data API", "kubectl -n", "--store", "does not answer"] {
            assert!(error.contains(part), "{command}: no {part} in {error}");
        }
    }
}

#[test]
fn named_store_is_read_without_asking_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}/c.db", folder.path().display());
    let error = error_output(&run_program(
        &["denied", "support", "--store", &store],
        &[("KUBECONFIG", &kubeconfig(&folder))],
    ));
    assert!(error.contains("there is no store"), "{error}");
}

#[test]
fn message_without_a_data_api_is_not_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let error = error_output(&run_program(
        &["send", "support", "--chat", "-1001", "hello"],
        &[("KUBECONFIG", &kubeconfig(&folder))],
    ));
    assert!(error.contains("data API"), "{error}");
}
