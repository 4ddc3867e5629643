//! A stock `kubectl` on the embedded control plane and on the real ones: what a person types, and what they read.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::aggregated_server::AggregatedServer;
use crate::cluster::{Cluster, ExternalAccess, WAIT_TIMEOUT};
use crate::suite::{ServerFeature, Suite};

pub fn register(suite: &mut Suite) {
    let there = std::process::Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .is_ok();
    if !there {
        eprintln!("*** kubectl is not on the PATH: no test runs with it ***");
        return;
    }
    add!(
        suite,
        [Core, Discovery],
        a_connector_is_applied_read_changed_and_deleted
    );
    add!(suite, [Core, Discovery], secrets_are_created_and_patched);
    add!(
        suite,
        [Core, Discovery],
        conditions_are_waited_for_and_events_shown
    );
    add!(suite, [Core, Discovery], a_list_is_followed);
    add!(
        suite,
        [Core, Discovery, FieldValidation],
        mistakes_are_named
    );
    add!(
        suite,
        [Core, Discovery, OwnServer],
        the_group_of_another_server_is_read
    );
}

const MANIFEST: &str = "
apiVersion: connectors.pupau.ai/v1alpha1
kind: TelegramConnector
metadata: {name: support}
spec:
  botTokenSecretRef: {name: bot}
  assistant: {protocol: OpenAI, url: \"http://assistant.example/v1\", model: m}
  access: {level: Open}
";

/// `kubectl` in the test's namespace.
struct Kubectl {
    external_access: ExternalAccess,
    namespace: String,
    validates: bool,
}

struct CommandOutput {
    ok: bool,
    out: String,
    error: String,
}

impl Kubectl {
    async fn new(cluster: &Cluster) -> Self {
        let validates = cluster.has(ServerFeature::FieldValidation);
        Self {
            external_access: cluster.external_access().await,
            namespace: cluster.namespace.clone(),
            validates,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(arguments)
            .args(["--namespace", &self.namespace])
            .env("KUBECONFIG", self.external_access.kubeconfig())
            .env("HOME", self.external_access.folder())
            .kill_on_drop(true);
        command
    }

    async fn try_run(&self, arguments: &[&str], input: &str) -> CommandOutput {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin
            .write_all(input.as_bytes())
            .await
            .expect("kubectl reads");
        drop(stdin);
        let output = tokio::time::timeout(WAIT_TIMEOUT, child.wait_with_output())
            .await
            .expect("in time")
            .expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        CommandOutput {
            ok: output.status.success(),
            out: text(&output.stdout),
            error: text(&output.stderr),
        }
    }

    async fn run_with(&self, arguments: &[&str], input: &str) -> String {
        let printed = self.try_run(arguments, input).await;
        assert!(
            printed.ok,
            "kubectl {}: {}{}",
            arguments.join(" "),
            printed.out,
            printed.error
        );
        printed.out
    }

    async fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, "").await
    }

    /// A server without field validation makes kubectl validate by itself, against a schema that lacks CRDs just made.
    fn validate(&self) -> &'static str {
        if self.validates {
            "--validate=true"
        } else {
            "--validate=false"
        }
    }
}

fn columns(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

async fn a_connector_is_applied_read_changed_and_deleted(cluster: Cluster) {
    let kubectl = Kubectl::new(&cluster).await;
    let apply = ["apply", kubectl.validate(), "-f", "-"];
    let object = "telegramconnector.connectors.pupau.ai/support";
    assert_eq!(
        kubectl.run_with(&apply, MANIFEST).await,
        format!("{object} created\n")
    );
    assert_eq!(
        kubectl.run_with(&apply, MANIFEST).await,
        format!("{object} unchanged\n")
    );
    let changed = MANIFEST.replace("level: Open", "level: Open, saveDeniedConversations: true");
    assert_eq!(
        kubectl.run_with(&apply, &changed).await,
        format!("{object} configured\n")
    );
    let server_side = ["apply", kubectl.validate(), "--server-side", "-f", "-"];
    assert_eq!(
        kubectl.run_with(&server_side, &changed).await,
        format!("{object} serverside-applied\n")
    );

    let table = kubectl.run(&["get", "tgc"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        columns(lines[0]),
        ["NAME", "BOT", "MODE", "ACCESS", "READY", "REASON", "AGE"]
    );
    assert_eq!(columns(lines[1])[..2], ["support", "Open"]);
    let wide = kubectl.run(&["get", "connectors", "-o", "wide"]).await;
    for title in ["USERS", "SESSION", "ASSISTANT", "MESSAGE"] {
        assert!(
            columns(wide.lines().next().expect("a head")).contains(&title),
            "{wide}"
        );
    }
    assert!(wide.contains("http://assistant.example/v1"), "{wide}");

    let described = kubectl.run(&["describe", "tgc", "support"]).await;
    assert!(
        described.contains("Level:") && described.contains("Kind:         TelegramConnector"),
        "{described}"
    );
    let explained = kubectl.run(&["explain", "tgc.spec.access.level"]).await;
    assert!(
        explained.contains("FIELD: level <string>")
            || explained.contains("FIELD:    level <string>"),
        "{explained}"
    );

    let patch = [
        "patch",
        "tgc",
        "support",
        "--type",
        "merge",
        "-p",
        r#"{"spec":{"displayName":"Desk"}}"#,
    ];
    assert_eq!(kubectl.run(&patch).await, format!("{object} patched\n"));
    let named = kubectl
        .run(&[
            "get",
            "tgc",
            "support",
            "-o",
            "jsonpath={.spec.displayName}",
        ])
        .await;
    assert_eq!(named, "Desk");
    assert_eq!(
        kubectl.run(&["label", "tgc", "support", "a=b"]).await,
        format!("{object} labeled\n")
    );
    let deleted = kubectl.run(&["delete", "tgc", "support"]).await;
    assert!(
        deleted.starts_with("telegramconnector.connectors.pupau.ai \"support\" deleted"),
        "{deleted}"
    );
    let absent = kubectl.try_run(&["get", "tgc", "support"], "").await;
    assert!(!absent.ok);
    assert_eq!(
        absent.error,
        "Error from server (NotFound): telegramconnectors.connectors.pupau.ai \"support\" not found\n"
    );
}

async fn secrets_are_created_and_patched(cluster: Cluster) {
    let kubectl = Kubectl::new(&cluster).await;
    let made = kubectl
        .run(&[
            "create",
            "secret",
            "generic",
            "bot",
            "--from-literal=token=t",
        ])
        .await;
    assert_eq!(made, "secret/bot created\n");
    let made = kubectl
        .run(&["create", "configmap", "c", "--from-literal=a=b"])
        .await;
    assert_eq!(made, "configmap/c created\n");
    kubectl
        .run(&[
            "patch",
            "secret",
            "bot",
            "-p",
            r#"{"stringData":{"other":"o"}}"#,
        ])
        .await;
    let table = kubectl.run(&["get", "secret", "bot"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(columns(lines[0]), ["NAME", "TYPE", "DATA", "AGE"]);
    assert_eq!(columns(lines[1])[..3], ["bot", "Opaque", "2"]);
    let described = kubectl.run(&["describe", "secret", "bot"]).await;
    assert!(described.contains("token:  1 bytes"), "{described}");
    let twice = kubectl
        .try_run(&["create", "secret", "generic", "bot"], "")
        .await;
    assert!(
        twice.error.contains("secrets \"bot\" already exists"),
        "{}",
        twice.error
    );
}

async fn conditions_are_waited_for_and_events_shown(cluster: Cluster) {
    let kubectl = Kubectl::new(&cluster).await;
    kubectl
        .run_with(&["apply", kubectl.validate(), "-f", "-"], MANIFEST)
        .await;
    let waiting = kubectl
        .command(&[
            "wait",
            "--for=condition=Ready",
            "tgc/support",
            "--timeout=25s",
        ])
        .output();
    let ready = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Yes", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let path = format!("{}/support/status", cluster.connectors());
        cluster
            .call_as("PATCH", &path, "application/merge-patch+json", &status)
            .await
            .expect_status(200)
    };
    let (waited, support) = tokio::join!(waiting, ready);
    let waited = waited.expect("kubectl ends");
    assert!(
        waited.status.success(),
        "{}",
        String::from_utf8_lossy(&waited.stderr)
    );
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Connected",
        "note": "the bot is connected", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "tests", "reportingInstance": "one", "action": "Connect",
        "regarding": {"apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector", "name": "support",
            "namespace": cluster.namespace, "uid": support.at("/metadata/uid")}});
    cluster
        .call("POST", &cluster.path("events.k8s.io/v1", "events"), &event)
        .await
        .expect_status(201);
    let events = kubectl.run(&["get", "events"]).await;
    let lines: Vec<&str> = events.lines().collect();
    assert_eq!(
        columns(lines[0]),
        ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    );
    assert!(
        lines[1].contains("telegramconnector/support") && lines[1].contains("the bot is connected"),
        "{events}"
    );
    let described = kubectl.run(&["describe", "tgc", "support"]).await;
    assert!(described.contains("the bot is connected"), "{described}");
}

async fn a_list_is_followed(cluster: Cluster) {
    let kubectl = Kubectl::new(&cluster).await;
    kubectl
        .run_with(&["apply", kubectl.validate(), "-f", "-"], MANIFEST)
        .await;
    let mut following = kubectl
        .command(&["get", "tgc", "-w"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut lines = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut next = async || {
        tokio::time::timeout(WAIT_TIMEOUT, lines.next_line())
            .await
            .expect("in time")
            .expect("a pipe")
            .expect("a line")
    };
    assert!(next().await.starts_with("NAME"));
    assert!(next().await.starts_with("support"));
    let path = format!("{}/support/status", cluster.connectors());
    let status = json!({"status": {"mode": "Polling"}});
    cluster
        .call_as("PATCH", &path, "application/merge-patch+json", &status)
        .await
        .expect_status(200);
    let line = next().await;
    assert_eq!(columns(&line)[..3], ["support", "Polling", "Open"]);
    following.kill().await.expect("it ends");
}

async fn mistakes_are_named(cluster: Cluster) {
    let kubectl = Kubectl::new(&cluster).await;
    let odd = MANIFEST.replace("level: Open", "level: Open, bogus: 1");
    let refused = kubectl.try_run(&["apply", "-f", "-"], &odd).await;
    assert!(
        refused
            .error
            .contains("strict decoding error: unknown field \"spec.access.bogus\""),
        "{}",
        refused.error
    );
    let wrong = MANIFEST.replace("level: Open", "level: Nobody");
    let refused = kubectl.try_run(&["apply", "-f", "-"], &wrong).await;
    assert!(
        refused
            .error
            .contains("spec.access.level: Unsupported value: \"Nobody\": supported values:"),
        "{}",
        refused.error
    );
}

async fn the_group_of_another_server_is_read(cluster: Cluster) {
    cluster.enforce_rbac();
    let server = AggregatedServer::started(&cluster).await;
    let kubectl = Kubectl::new(&cluster).await;
    // The columns are the other server's.
    let table = kubectl.run(&["get", "nt"]).await;
    let lines: Vec<Vec<&str>> = table.lines().map(columns).collect();
    assert_eq!(lines, [["NAME", "COLOR"], ["one", "blue"]]);
    let name = format!("v1.{}", server.group);
    let shown = kubectl.run(&["get", "apiservice", &name]).await;
    let line = columns(shown.lines().nth(1).expect("a row"));
    let service = format!("{}/notes", cluster.namespace);
    assert_eq!(line[..3], [name.as_str(), service.as_str(), "True"]);
    let yaml = kubectl.run(&["get", "note", "one", "-o", "jsonpath={.seen.user}"]);
    assert!(yaml.await.contains("admin"));
    let may = kubectl.run(&["auth", "can-i", "get", "notes"]).await;
    assert_eq!(may, "yes\n");
    let as_bob = ["auth", "can-i", "get", "notes", "--as", "bob"];
    assert_eq!(kubectl.try_run(&as_bob, "").await.out, "no\n");
    let refused = kubectl.try_run(&["get", "nt", "--as", "bob"], "").await;
    let why = "is forbidden: User \"bob\" cannot list resource \"notes\"";
    assert!(refused.error.contains(why), "{}", refused.error);
    let deleted = kubectl.run(&["delete", "note", "one"]).await;
    assert!(deleted.contains("\"one\" deleted"), "{deleted}");
    assert_eq!(server.notes_in(&cluster.namespace), 0);
}
