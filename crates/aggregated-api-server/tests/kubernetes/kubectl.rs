//! What people do with kubectl, as an admin, as a member of one namespace and as nobody.

use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cluster::{Cluster, WAIT_TIMEOUT, create};
use crate::kubectl_client::{Kubectl, columns};
use crate::new_aggregator::NewAggregator;

type Test = fn(Kubectl, Arc<Cluster>) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        /// Each test by its name.
        pub const TESTS: &[(&str, Test)] = &[$((stringify!($name), |kubectl, cluster| Box::pin($name(kubectl, cluster)))),*];
    };
}

tests![
    notes_are_shown_in_tables,
    notes_are_selected_and_paged,
    kinds_are_explained,
    notes_are_made_and_mistakes_named,
    dry_runs_change_nothing,
    notes_are_deleted,
    notes_are_followed_and_waited_for,
    subresources_have_rights_of_their_own,
    rbac_is_the_only_rule,
    can_i_agrees_with_what_happens,
    who_does_not_come_through_the_aggregator_is_refused,
    a_namespace_goes_with_its_notes,
    a_namespace_waits_for_a_storage_that_is_away,
    discovery_and_openapi_of_today_are_served,
];

fn note(name: &str) -> String {
    json!({"apiVersion": "notes.example.com/v1", "kind": "Note", "metadata": {"name": name}, "spec": {"text": "hi"}})
        .to_string()
}

async fn notes_are_shown_in_tables(kubectl: Kubectl, _cluster: Arc<Cluster>) {
    let table = kubectl.run("get nt -n acme").await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(columns(lines[0]), ["NAME", "OWNER", "PHASE", "AGE"]);
    assert_eq!(columns(lines[1])[..3], ["first", "ann", "Pending"]);
    assert_eq!(lines.len(), 3);
    let wide = kubectl.run("get notes -A -o wide").await;
    let heads = ["NAMESPACE", "NAME", "OWNER", "PHASE", "SIZE", "DUE", "AGE"];
    assert_eq!(columns(wide.lines().next().expect("a line")), heads);
    assert_eq!(wide.lines().count(), 4);
    let yaml = kubectl.run("get note first -n acme -o yaml").await;
    assert!(
        yaml.contains("kind: Note\n") && yaml.contains("  owner: ann\n"),
        "{yaml}"
    );
    let names = kubectl.run("get writings -n acme -o name").await;
    assert_eq!(
        names,
        "note.notes.example.com/first\nnote.notes.example.com/second\n"
    );
    let described = kubectl.run("describe note first -n acme").await;
    assert!(described.contains("Owner:  ann"), "{described}");
    let absent = kubectl.fail("get note none -n acme").await;
    assert_eq!(
        absent,
        "Error from server (NotFound): notes.notes.example.com \"none\" not found\n"
    );
    let served = kubectl
        .run("api-resources --api-group=notes.example.com --no-headers")
        .await;
    assert!(columns(&served)[..2] == ["notes", "nt"], "{served}");
}

async fn notes_are_selected_and_paged(kubectl: Kubectl, cluster: Arc<Cluster>) {
    let names = async |rest: &str| {
        kubectl
            .run(&format!("get notes -o name {rest}"))
            .await
            .replace("note.notes.example.com/", "")
    };
    assert_eq!(
        names("-A --field-selector spec.owner=ann").await,
        "first\nthird\n"
    );
    assert_eq!(
        names("-n acme --field-selector spec.owner!=ann").await,
        "second\n"
    );
    assert_eq!(names("-n acme -l owner=bob").await, "second\n");
    assert_eq!(names("-n acme -l owner!=bob").await, "first\n");
    let refused = kubectl
        .fail("get notes -n acme --field-selector spec.text=x")
        .await;
    assert!(
        refused.contains("field label not supported: spec.text"),
        "{refused}"
    );
    for number in 0..25 {
        cluster.notes.add("acme", &format!("n{number:02}"), "ann");
    }
    let all = kubectl
        .run("get notes -n acme --chunk-size=4 --no-headers")
        .await;
    assert_eq!(all.lines().count(), 27);
}

async fn kinds_are_explained(kubectl: Kubectl, _cluster: Arc<Cluster>) {
    // kube-apiserver merges the documents of others a moment after it has found them.
    let explained = async {
        loop {
            let output = kubectl.try_run("explain note.spec.owner", "").await;
            if output.ok {
                return output.text;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let text = tokio::time::timeout(WAIT_TIMEOUT, explained)
        .await
        .expect("in time");
    assert!(text.contains("Whose it is."), "{text}");
    let text = kubectl.run("explain note").await;
    for part in [
        "A note.",
        "apiVersion",
        "metadata",
        "What the note says.",
        "status",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let text = kubectl.run("explain note.metadata --recursive").await;
    assert!(text.contains("generateName"), "{text}");
}

async fn notes_are_made_and_mistakes_named(kubectl: Kubectl, _cluster: Arc<Cluster>) {
    let made = kubectl.try_run("create -n acme -f -", &note("made")).await;
    assert_eq!(
        made.text, "note.notes.example.com/made created\n",
        "{made:?}"
    );
    let again = kubectl.try_run("create -n acme -f -", &note("made")).await;
    assert!(
        again
            .error
            .contains("notes.notes.example.com \"made\" already exists"),
        "{again:?}"
    );
    let empty = kubectl
        .try_run("create -n acme -f -", &note("empty").replace("hi", ""))
        .await;
    assert!(
        empty
            .error
            .contains("spec.text: Required value: give the note a text"),
        "{empty:?}"
    );
    let odd = note("odd").replace("\"text\"", "\"colour\":\"red\",\"text\"");
    let refused = kubectl.try_run("create -n acme -f -", &odd).await;
    assert!(
        !refused.ok
            && refused.error.contains("unknown field \"")
            && refused.error.contains("colour\""),
        "{refused:?}"
    );
}

async fn dry_runs_change_nothing(kubectl: Kubectl, cluster: Arc<Cluster>) {
    let before = cluster.notes.revision();
    let made = kubectl
        .try_run("create --dry-run=server -n acme -f -", &note("made"))
        .await;
    assert_eq!(
        made.text, "note.notes.example.com/made created (server dry run)\n",
        "{made:?}"
    );
    let gone = kubectl
        .run("delete note first -n acme --dry-run=server")
        .await;
    assert!(
        gone.contains("deleted") && gone.contains("server dry run"),
        "{gone}"
    );
    assert_eq!(cluster.notes.revision(), before);
}

async fn notes_are_deleted(kubectl: Kubectl, cluster: Arc<Cluster>) {
    let gone = kubectl.run("delete nt first -n acme").await;
    assert!(gone.contains("\"first\" deleted"), "{gone}");
    for name in ["a", "b", "c"] {
        cluster.notes.add("acme", name, "ann");
    }
    kubectl
        .run("delete notes -n acme --field-selector spec.owner=ann")
        .await;
    let left = kubectl.run("get notes -A -o name --no-headers").await;
    assert_eq!(left.lines().count(), 2, "{left}");
    kubectl.run("delete notes -n acme --all").await;
    assert_eq!(cluster.notes.count(), 1);
}

async fn notes_are_followed_and_waited_for(kubectl: Kubectl, cluster: Arc<Cluster>) {
    let mut following = kubectl
        .command("get notes -n acme -w --output-watch-events")
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut lines = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut next = async || {
        let line = tokio::time::timeout(WAIT_TIMEOUT, lines.next_line()).await;
        let line = line.expect("in time").expect("a pipe").expect("a line");
        columns(&line)[..2].join(" ")
    };
    assert_eq!(next().await, "EVENT NAME");
    assert_eq!(next().await, "ADDED first");
    assert_eq!(next().await, "ADDED second");
    cluster.notes.set_phase("acme", "first", "Sent");
    cluster.notes.remove("acme", "second");
    assert_eq!(next().await, "MODIFIED first");
    assert_eq!(next().await, "DELETED second");
    following.kill().await.expect("it ends");

    let waiting = kubectl.run("wait note/first -n acme --for=delete --timeout=30s");
    let deleting = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.notes.remove("acme", "first");
    };
    let (text, ()) = tokio::join!(waiting, deleting);
    assert!(text.contains("condition met"), "{text}");
    if kubectl.minor() >= 23 {
        let waiting = kubectl
            .run("wait note/third -n other --for=jsonpath={.status.phase}=Sent --timeout=30s");
        let sending = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cluster.notes.set_phase("other", "third", "Sent");
        };
        let (text, ()) = tokio::join!(waiting, sending);
        assert!(text.contains("condition met"), "{text}");
    }
}

async fn subresources_have_rights_of_their_own(kubectl: Kubectl, cluster: Arc<Cluster>) {
    let root = "/apis/notes.example.com/v1/namespaces/acme/notes/first";
    let words: Value =
        serde_json::from_str(&kubectl.run(&format!("get --raw {root}/words")).await).expect("JSON");
    assert_eq!(words["words"], json!(["hello"]));
    let refused = kubectl
        .fail(&format!("get --raw {root}/words --as member"))
        .await;
    assert!(
        refused.contains("cannot get resource \"notes/words\""),
        "{refused}"
    );
    let file = kubectl.folder.path().join("stamp");
    std::fs::write(&file, r#"{"ink": "blue"}"#).expect("writable");
    let line = format!(
        "create --raw {root}/stamp -f {} --as member",
        file.display()
    );
    let made = kubectl.run(&line).await;
    assert!(made.contains("\"stamped\":true"), "{made}");
    let phase = kubectl
        .run("get note first -n acme -o jsonpath={.status.phase}")
        .await;
    assert_eq!(phase, "Stamped");
    assert_eq!(cluster.notes.count(), 3);
}

async fn rbac_is_the_only_rule(kubectl: Kubectl, cluster: Arc<Cluster>) {
    let names = kubectl.run("get notes -n acme -o name --as member").await;
    assert_eq!(names.lines().count(), 2);
    let refused = kubectl.fail("get notes -n other --as member").await;
    assert_eq!(
        refused,
        "Error from server (Forbidden): notes.notes.example.com is forbidden: User \"member\" cannot list resource \"notes\" in API group \"notes.example.com\" in the namespace \"other\"\n"
    );
    let refused = kubectl.fail("get notes -A --as member").await;
    assert!(refused.contains("at the cluster scope"), "{refused}");
    for line in [
        "get notes -n acme",
        "delete notes --all -n acme",
        "get note first -n acme -o yaml",
    ] {
        let refused = kubectl.fail(&format!("{line} --as nobody")).await;
        assert!(refused.contains("Forbidden"), "{line}: {refused}");
    }
    assert_eq!(cluster.notes.count(), 3);
    let made = kubectl
        .try_run("create -n acme --as member -f -", &note("made"))
        .await;
    assert!(made.ok, "{made:?}");
    let owner = kubectl
        .run("get note made -n acme -o jsonpath={.spec.owner} --as member")
        .await;
    assert_eq!(owner, "member");
    kubectl.run("delete note made -n acme --as member").await;
}

async fn can_i_agrees_with_what_happens(kubectl: Kubectl, _cluster: Arc<Cluster>) {
    for (user, verb, namespace, lines) in [
        ("admin", "list", "other", "get notes -n other"),
        ("member", "list", "acme", "get notes -n acme"),
        ("member", "list", "other", "get notes -n other"),
        ("nobody", "list", "acme", "get notes -n acme"),
        ("member", "get", "acme", "get note first -n acme"),
        ("nobody", "get", "acme", "get note first -n acme"),
        ("member", "delete", "other", "delete note third -n other"),
    ] {
        let identity = match user {
            "admin" => String::new(),
            user => format!(" --as {user}"),
        };
        let line = format!("auth can-i {verb} notes.notes.example.com -n {namespace}{identity}");
        let says = kubectl.try_run(&line, "").await.text.trim() == "yes";
        let does = kubectl.try_run(&format!("{lines}{identity}"), "").await;
        assert_eq!(says, does.ok, "{user} {lines}: {does:?}");
    }
}

async fn who_does_not_come_through_the_aggregator_is_refused(
    _kubectl: Kubectl,
    cluster: Arc<Cluster>,
) {
    let root =
        reqwest::Certificate::from_pem(cluster.serving.pem.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder()
        .use_rustls_tls()
        .no_proxy()
        .tls_built_in_root_certs(false)
        .add_root_certificate(root);
    let url = format!(
        "https://localhost:{}/apis/notes.example.com/v1/notes",
        cluster.port
    );
    let answer = client
        .build()
        .expect("a client")
        .get(url)
        .header("X-Remote-User", "admin")
        .header("X-Remote-Group", "system:masters");
    assert_eq!(answer.send().await.expect("an answer").status(), 401);
}

async fn discovery_and_openapi_of_today_are_served(kubectl: Kubectl, cluster: Arc<Cluster>) {
    let aggregator = NewAggregator::start(cluster.notes.clone()).await;
    let kubectl = Kubectl::new(&kubectl.path, &aggregator.kubeconfig);
    let table = kubectl.run("get nt -n acme").await;
    assert_eq!(table.lines().count(), 3, "{table}");
    if kubectl.minor() < 29 {
        // It reads OpenAPI as Protobuf alone, which kube-apiserver makes of our JSON.
        return;
    }
    let text = kubectl.run("explain note.spec").await;
    assert!(
        text.contains("What the note says.") && text.contains("owner"),
        "{text}"
    );
    let text = kubectl.run("explain note --recursive").await;
    assert!(text.contains("generateName"), "{text}");
    let odd = note("odd").replace("\"text\"", "\"colour\":\"red\",\"text\"");
    let refused = kubectl.try_run("create -n acme -f -", &odd).await;
    assert!(
        !refused.ok && refused.error.contains("unknown field \""),
        "{refused:?}"
    );
    let line = "create -n acme --dry-run=server -f -";
    let made = kubectl.try_run(line, &note("made")).await;
    assert!(
        made.ok && made.text.contains("(server dry run)"),
        "{made:?}"
    );
    kubectl.run("delete note first -n acme").await;
    let asked = aggregator.asked.lock().clone();
    let asks = |part: &str| asked.iter().any(|uri| uri.starts_with(part));
    // One request tells everything, and the server checks the fields.
    assert!(!asks("/apis/notes.example.com/v1?"), "{asked:?}");
    assert!(
        asks("/openapi/v3/apis/notes.example.com/v1?hash="),
        "{asked:?}"
    );
    let strict = |uri: &String| uri.contains("fieldValidation=Strict");
    assert!(asked.iter().any(strict), "{asked:?}");
}

/// Makes a namespace with so many notes and begins to delete it.
async fn passing_namespace(cluster: &Cluster, count: usize) -> (Api<Namespace>, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let name = format!("passing-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    create(&namespaces, json!({"metadata": {"name": name}})).await;
    for number in 0..count {
        cluster.notes.add(&name, &format!("n{number}"), "ann");
    }
    let parameters = DeleteParams::default();
    let begun = namespaces.delete(&name, &parameters).await;
    begun.expect("it begins to go");
    (namespaces, name)
}

async fn wait_until_gone(namespaces: &Api<Namespace>, name: &str) {
    let gone = async {
        while namespaces.get_opt(name).await.expect("an answer").is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(WAIT_TIMEOUT, gone).await.is_err() {
        let namespace = namespaces.get(name).await.expect("it is there");
        panic!("it does not go: {:?}", namespace.status);
    }
}

async fn a_namespace_goes_with_its_notes(_kubectl: Kubectl, cluster: Arc<Cluster>) {
    let (namespaces, name) = passing_namespace(&cluster, 600).await;
    wait_until_gone(&namespaces, &name).await;
    assert_eq!(cluster.notes.count(), 3, "those of other namespaces stay");
}

async fn a_namespace_waits_for_a_storage_that_is_away(kubectl: Kubectl, cluster: Arc<Cluster>) {
    cluster.notes.is_away.store(true, Ordering::Relaxed);
    let refused = kubectl.fail("get notes -n acme").await;
    assert!(refused.contains("the storage is away"), "{refused}");
    // What is not of this API is as it was, and what can be done with it is still known.
    kubectl.run("get configmaps -n acme").await;
    assert!(
        kubectl
            .run("api-resources")
            .await
            .contains("notes.example.com")
    );
    let (namespaces, name) = passing_namespace(&cluster, 3).await;
    let condition_names_resource = async {
        loop {
            let namespace = namespaces.get(&name).await.expect("it waits");
            let conditions = namespace.status.and_then(|status| status.conditions);
            let failed = |one: &NamespaceCondition| {
                one.type_ == "NamespaceDeletionContentFailure" && one.status == "True"
            };
            if conditions.unwrap_or_default().iter().any(failed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, condition_names_resource)
        .await
        .expect("its condition says why");
    cluster.notes.is_away.store(false, Ordering::Relaxed);
    wait_until_gone(&namespaces, &name).await;
    assert_eq!(cluster.notes.count(), 3);
}
