//! `doctor` against a running `dev`, and where there is nothing to examine.

use std::time::{Duration, Instant};

use super::dev::Dev;
use super::run_program;

/// How long `dev` may take until its connector is Ready.
const WAIT_TIMEOUT: Duration = Duration::from_mins(1);

#[test]
fn doctor_finds_nothing_to_mend_in_a_running_dev() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let _dev = Dev::start(&kubeconfig, &[]);
    let path = kubeconfig.display().to_string();
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let text = loop {
        let output = run_program(&["doctor"], &[("KUBECONFIG", &path)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(0) {
            break text;
        }
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(Instant::now() < deadline, "{text}{error}");
        std::thread::sleep(Duration::from_millis(100));
    };
    println!("{text}");
    // How full the disk of this machine is, is no fault of dev.
    let mut lines = text.lines().filter(|line| line.contains("  -- "));
    assert!(
        lines.all(|line| line.starts_with("ok    ") || line.contains("store-space")),
        "{text}"
    );
    for check in [
        "crd ",
        "operator  ",
        "bot acme/support",
        "assistant acme/support",
        "telegram  ",
        "store  ",
    ] {
        assert!(text.contains(&format!("ok    {check}")), "{check}: {text}");
    }
}

#[test]
fn doctor_without_a_cluster_ends_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("none").display().to_string();
    let home = folder.path().display().to_string();
    let output = run_program(&["doctor"], &[("KUBECONFIG", &nowhere), ("HOME", &home)]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("KUBECONFIG"), "{error}");
}

#[test]
fn doctor_names_an_api_server_that_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = super::kubeconfig(&folder);
    let output = run_program(
        &["doctor", "--timeout", "2"],
        &[("KUBECONFIG", &kubeconfig)],
    );
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("FAIL  api-server  -- it cannot be reached"),
        "{text}"
    );
}
