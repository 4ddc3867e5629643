//! The commands that ask the data API: of a running `dev`, and where there is none; and the binary as a kubectl plugin.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use telegram_connector_operator::identity::ConnectorRef;
use telegram_connector_operator::store::{self, GrantSource, NewGrant};

use super::dev::Dev;
use super::{error_output, kubeconfig, run_program};

/// How long what people say may take until it is listed.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Has a user of the simulator write to the only bot; false while there is none.
fn say(simulator: &str, user: i64, text: &str) -> bool {
    let body = serde_json::json!({"from": user, "text": text}).to_string();
    let request = Command::new("curl")
        .args([
            "-sf",
            "-X",
            "POST",
            "-H",
            "Content-Type: application/json",
            "-d",
            &body,
        ])
        .arg(format!("{simulator}/control/say"))
        .output();
    request.expect("curl is here").status.success()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn commands_list_retry_and_send_by_the_data_api() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let manifests = folder.path().join("manifests");
    std::fs::create_dir(&manifests).unwrap();
    for file in std::fs::read_dir("examples/quickstart").unwrap() {
        let file = file.unwrap();
        let mut text = std::fs::read_to_string(file.path()).unwrap();
        if text.contains("kind: TelegramConnector\n") {
            text.push_str("  sending: {perMinute: 60}\n");
        }
        std::fs::write(manifests.join(file.file_name()), text).unwrap();
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let simulator = format!("http://{address}");
    let manifests = manifests.display().to_string();
    let _dev = Dev::start(&path, &["--telegram-listen", &address, &manifests]);
    let kubeconfig = path.display().to_string();
    let run = |args: &[&str]| {
        let output = run_program(args, &[("KUBECONFIG", &kubeconfig)]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8_lossy(&output.stdout).into_owned(), error)
    };
    eventually("there is a bot", || say(&simulator, 1001, "hello"));
    assert!(say(&simulator, 5001, "let me \u{1b}[31min"));
    eventually("the denied message is listed", || {
        run(&["denied", "support", "-n", "acme"]).0.contains("5001")
    });
    let (denied, _) = run(&["denied", "support", "-n", "acme"]);
    assert!(
        denied.contains("let me") && !denied.contains('\u{1b}'),
        "{denied}"
    );
    eventually("the conversation is listed", || {
        let with_text = [
            "sessions",
            "support",
            "-n",
            "acme",
            "-o",
            "json",
            "--with-text",
        ];
        run(&with_text).0.contains(r#""text":"hello""#)
    });
    let (_, none) = run(&["dead-letters", "support", "-n", "acme", "--retry", "7"]);
    assert!(none.contains("--retry 7"), "{none}");
    let (sent, error) = run(&[
        "send", "support", "-n", "acme", "--user", "1001", "**done**",
    ]);
    assert!(sent.ends_with("sent\n"), "{sent}{error}");
    let (_, refused) = run(&["send", "support", "-n", "acme", "--user", "5001", "x"]);
    assert!(refused.contains("does not name user 5001"), "{refused}");
    let (status, error) = run(&["status", "support", "-n", "acme"]);
    for part in [
        "acme/support",
        "MessagesFlow",
        "1 message in 1 conversation",
        "denied, kept     1",
    ] {
        assert!(status.contains(part), "no {part}: {status}{error}");
    }
}

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
    for command in ["denied", "sessions", "dead-letters", "requests", "grants"] {
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
fn grants_and_requests_are_listed_from_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/c.db", folder.path().display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = store::open(&address).await.unwrap();
        for (name, user) in [("support", 5001), ("sales", 5002)] {
            let connector = ConnectorRef {
                namespace: "acme".into(),
                name: name.into(),
                uid: name.into(),
            };
            store.register(&connector).await.unwrap();
            let grant = NewGrant {
                connector,
                user,
                name: "Ann\u{1b}[31m".into(),
                username: Some("ann".into()),
                source: GrantSource::Admin,
                by: "alice".into(),
                until: None,
            };
            store.grant(grant).await.unwrap();
        }
    });
    let run = |args: &[&str]| {
        let mut words = vec![args[0], "-n", "acme", "--store", &address];
        words.extend(&args[1..]);
        let output = run_program(&words, &[("KUBECONFIG", &kubeconfig(&folder))]);
        assert!(output.status.success(), "{output:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8_lossy(&output.stdout).into_owned(), error)
    };
    let (table, _) = run(&["grants"]);
    for part in ["grant-1 ", "acme/support", "5001", "acme/sales", "Admin"] {
        assert!(table.contains(part), "no {part}: {table}");
    }
    assert!(!table.contains('\u{1b}'), "{table}");
    let (of_one, _) = run(&["grants", "support", "-o", "json"]);
    let grant: serde_json::Value = serde_json::from_str(&of_one).expect("one line");
    assert_eq!(
        (&grant["userId"], &grant["by"]),
        (&5001.into(), &"alice".into())
    );
    let (table, none) = run(&["requests"]);
    assert!(table.starts_with("NAME"), "{table}");
    assert!(none.contains("nobody has asked"), "{none}");
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
