//! `allow` and `deny` as an administrator uses them: the real program against every server.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::cluster::{Cluster, ExternalAccess, WAIT_TIMEOUT};
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [], every_printed_form_lets_the_user_in);
    add!(suite, [], apply_respects_whoever_keeps_the_list);
    add!(suite, [], additions_made_at_once_are_all_kept);
    add!(suite, [], a_denied_user_is_taken_out_wherever_they_stand);
    add!(suite, [], what_cannot_be_done_names_object_and_field);
    add!(suite, [], nothing_to_do_is_a_success_and_says_so);
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_telegram-connector-operator");

struct OperatorCli {
    external_access: ExternalAccess,
    cluster: Cluster,
}

#[derive(Debug)]
struct CommandOutput {
    code: Option<i32>,
    out: String,
    error: String,
}

impl OperatorCli {
    async fn new(cluster: Cluster) -> Self {
        Self {
            external_access: cluster.external_access().await,
            cluster,
        }
    }

    async fn run(&self, arguments: &[&str]) -> CommandOutput {
        let child = Command::new(PROGRAM)
            .args(arguments)
            .args(["--namespace", &self.cluster.namespace])
            .env("KUBECONFIG", self.external_access.kubeconfig())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(WAIT_TIMEOUT, child)
            .await
            .expect("in time")
            .expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        CommandOutput {
            code: output.status.code(),
            out: text(&output.stdout),
            error: text(&output.stderr),
        }
    }

    async fn run_ok(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out
    }

    async fn run_err(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
        assert_eq!(ended.out, "", "nothing that could be piped on");
        ended.error
    }

    async fn list(&self, name: &str, users: Value) {
        let list = json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramUserList",
            "metadata": {"name": name, "namespace": self.cluster.namespace},
            "spec": {"users": users},
        });
        self.cluster
            .call("POST", &self.path("telegramuserlists"), &list)
            .await
            .expect_status(201);
    }

    async fn connector(&self, name: &str, access: Value) {
        let connector = json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector",
            "metadata": {"name": name, "namespace": self.cluster.namespace},
            "spec": {
                "botTokenSecretRef": {"name": "bot"},
                "assistant": {"protocol": "OpenAI", "url": "http://assistant.example/v1", "model": "m"},
                "access": access,
            },
        });
        self.cluster
            .call("POST", &self.cluster.connectors(), &connector)
            .await
            .expect_status(201);
    }

    fn path(&self, plural: &str) -> String {
        self.cluster.path("connectors.pupau.ai/v1alpha1", plural)
    }

    /// Applies a JSON patch that was printed.
    async fn patch(&self, path: &str, printed: &str) {
        let media = "application/json-patch+json";
        self.cluster
            .call_as("PATCH", path, media, &yaml(printed))
            .await
            .expect_status(200);
    }

    async fn users(&self, list: &str) -> Value {
        let path = format!("{}/{list}", self.path("telegramuserlists"));
        self.cluster
            .get(&path)
            .await
            .expect_status(200)
            .at("/spec/users")
            .clone()
    }

    async fn inline(&self, connector: &str) -> Value {
        let path = format!("{}/{connector}", self.cluster.connectors());
        self.cluster
            .get(&path)
            .await
            .expect_status(200)
            .at("/spec/access/specificUsers/users")
            .clone()
    }
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("YAML")
}

async fn every_printed_form_lets_the_user_in(cluster: Cluster) {
    let operator = OperatorCli::new(cluster).await;
    operator
        .list("staff", json!([{"id": 1, "note": "Ann"}]))
        .await;
    let by_list = json!({"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}});
    operator.connector("support", by_list).await;
    let path = format!("{}/staff", operator.path("telegramuserlists"));

    let entry = operator
        .run_ok(&["allow", "support", "2", "--note", "Bob: on call"])
        .await;
    assert!(
        entry.starts_with("# TelegramUserList ") && entry.contains("/staff: add to spec.users\n"),
        "{entry}"
    );
    assert_eq!(yaml(&entry), json!([{"id": 2, "note": "Bob: on call"}]));
    assert_eq!(
        operator.users("staff").await,
        json!([{"id": 1, "note": "Ann"}]),
        "printing changes nothing"
    );

    let patch = operator
        .run_ok(&["allow", "support", "2", "-o", "patch"])
        .await;
    operator.patch(&path, &patch).await;
    let manifest = operator
        .run_ok(&["allow", "support", "3", "-o", "manifest"])
        .await;
    operator
        .cluster
        .apply(&path, "somebody", true, &yaml(&manifest))
        .await
        .expect_status(200);
    assert_eq!(
        operator.users("staff").await,
        json!([{"id": 1, "note": "Ann"}, {"id": 2}, {"id": 3}])
    );
    let patch = operator
        .run_ok(&["deny", "support", "2", "-o", "patch"])
        .await;
    operator.patch(&path, &patch).await;
    assert_eq!(
        operator.users("staff").await,
        json!([{"id": 1, "note": "Ann"}, {"id": 3}])
    );
}

async fn apply_respects_whoever_keeps_the_list(cluster: Cluster) {
    let operator = OperatorCli::new(cluster).await;
    let namespace = operator.cluster.namespace.clone();
    let manifest = json!({
        "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramUserList",
        "metadata": {"name": "staff", "namespace": namespace, "annotations": {"argocd.argoproj.io/tracking-id": "people:connectors.pupau.ai/TelegramUserList:x/staff"}},
        "spec": {"users": [{"id": 1}]},
    });
    let path = format!("{}/staff", operator.path("telegramuserlists"));
    operator
        .cluster
        .apply(&path, "argocd-controller", false, &manifest)
        .await
        .expect_status(201);
    let by_list = json!({"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}});
    operator.connector("support", by_list.clone()).await;
    operator.connector("sales", by_list).await;

    let error = operator
        .run_err(&["allow", "support", "2", "--apply"])
        .await;
    for part in [
        "/staff: spec.users is kept by argocd-controller",
        "--force-conflicts",
        "kept by Argo CD (people)",
        "also decides for sales",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(operator.users("staff").await, json!([{"id": 1}]));

    // What to type next is the error's last sentence.
    let (_, command) = error.trim_end().rsplit_once(", type: ").expect("a command");
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], env!("CARGO_PKG_NAME"), "{error}");
    let typed: Vec<&str> = words[1..]
        .iter()
        .copied()
        .filter(|word| *word != "--namespace" && *word != namespace)
        .collect();
    operator.run_ok(&typed).await;
    operator.run_ok(&["allow", "support", "3", "--apply"]).await;
    operator.run_ok(&["deny", "support", "1", "--apply"]).await;
    assert_eq!(operator.users("staff").await, json!([{"id": 2}, {"id": 3}]));
}

async fn additions_made_at_once_are_all_kept(cluster: Cluster) {
    let operator = OperatorCli::new(cluster).await;
    operator
        .connector(
            "support",
            json!({"level": "Specific", "specificUsers": {"users": [{"id": 1}]}}),
        )
        .await;
    operator
        .run_ok(&["allow", "support", "2", "--apply", "--force-conflicts"])
        .await;
    let allow = |user: &'static str| {
        let operator = &operator;
        async move {
            operator
                .run_ok(&["allow", "support", user, "--apply"])
                .await
        }
    };
    tokio::join!(allow("3"), allow("4"), allow("@carol_example"));
    let mut users = operator.inline("support").await;
    users
        .as_array_mut()
        .expect("a list")
        .sort_by_key(ToString::to_string);
    assert_eq!(
        users,
        json!([{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}, {"username": "carol_example"}])
    );
}

async fn a_denied_user_is_taken_out_wherever_they_stand(cluster: Cluster) {
    let operator = OperatorCli::new(cluster).await;
    operator.list("guests", json!([{"id": 7}, {"id": 2}])).await;
    operator
        .connector(
            "support",
            json!({"level": "Specific", "specificUsers": {"users": [{"id": 1}, {"id": 7}], "listRefs": [{"name": "guests"}]}}),
        )
        .await;
    let printed = operator.run_ok(&["deny", "support", "7"]).await;
    assert!(
        printed.contains("support: remove from spec.access.specificUsers.users\n")
            && printed.contains("guests: remove from spec.users\n"),
        "{printed}"
    );
    operator
        .run_ok(&["deny", "support", "7", "--apply", "--force-conflicts"])
        .await;
    assert_eq!(operator.inline("support").await, json!([{"id": 1}]));
    assert_eq!(operator.users("guests").await, json!([{"id": 2}]));
}

async fn what_cannot_be_done_names_object_and_field(cluster: Cluster) {
    let operator = OperatorCli::new(cluster).await;
    let namespace = operator.cluster.namespace.clone();
    operator.connector("open", json!({"level": "Open"})).await;
    operator
        .connector(
            "one",
            json!({"level": "Specific", "specificUsers": {"users": [{"id": 1}]}}),
        )
        .await;
    operator.list("a", json!([])).await;
    let two =
        json!({"level": "Company", "companyUsers": {"listRefs": [{"name": "a"}, {"name": "b"}]}});
    operator.connector("two", two).await;
    let long = "n".repeat(257);
    for (arguments, parts) in [
        (
            vec!["allow", "open", "2"],
            vec![format!(
                "TelegramConnector {namespace}/open: spec.access.level is Open"
            )],
        ),
        (
            vec!["allow", "none", "2"],
            vec![format!("there is no TelegramConnector {namespace}/none")],
        ),
        (
            vec!["allow", "one", "2", "--note", &long],
            vec![format!(
                "TelegramConnector {namespace}/one: spec.access.specificUsers.users[1].note"
            )],
        ),
        // The last entry: the level would have no list. Refused also by servers that know no CEL.
        (
            vec!["deny", "one", "1", "--apply"],
            vec![
                format!("TelegramConnector {namespace}/one: spec.access.specificUsers"),
                "at least one entry".to_owned(),
            ],
        ),
        (
            vec!["deny", "one", "@ann_example"],
            vec!["1 entries are ids".to_owned()],
        ),
        (
            vec!["allow", "two", "2"],
            vec![
                "companyUsers.listRefs names several lists".to_owned(),
                "--list (a, b)".to_owned(),
            ],
        ),
        (
            vec!["allow", "two", "2", "--list", "b"],
            vec!["TelegramUserList \"b\", which does not exist".to_owned()],
        ),
    ] {
        let error = operator.run_err(&arguments).await;
        for part in parts {
            assert!(error.contains(&part), "{arguments:?}: {part}: {error}");
        }
    }
    let usage = operator.run(&["allow", "one", "-1001234567890"]).await;
    assert_eq!(usage.code, Some(2), "{usage:?}");
    assert!(
        usage.error.contains("a negative id is a group's"),
        "{usage:?}"
    );
}

async fn nothing_to_do_is_a_success_and_says_so(cluster: Cluster) {
    let operator = OperatorCli::new(cluster).await;
    operator
        .connector(
            "support",
            json!({"level": "Specific", "specificUsers": {"users": [{"id": 1}, {"username": "Bob_Example"}]}}),
        )
        .await;
    for arguments in [
        ["allow", "support", "1"],
        ["allow", "support", "@bob_example"],
        ["deny", "support", "9"],
    ] {
        let ended = operator.run(&arguments).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.is_empty(), "{ended:?}");
        assert!(ended.error.contains("nothing to do"), "{ended:?}");
    }
    let ended = operator.run(&["deny", "support", "9"]).await;
    assert!(ended.error.contains("1 entries are usernames"), "{ended:?}");
}
