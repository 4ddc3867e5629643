//! The command `check` over manifests: each file of `invalid/` has one error and names its field in the first line, `valid/` has none.
//!
//! The Kubernetes tests send the same files to the embedded control plane and to a real API server.

#![allow(clippy::unwrap_used)]

mod chart;
mod command_page;
mod docs;
mod observability;
mod pages;
mod references;
mod resource_pages;

use std::fs;
use std::path::{Path, PathBuf};

use telegram_connector_operator::commands::check::{self, CheckOptions, CheckSummary};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

/// Holds a generated page to `wanted`; with `UPDATE_DOCS` writes it.
fn compare_page(name: &str, wanted: &str) {
    let path = folder(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == wanted,
        "{name} is not what the code says: UPDATE_DOCS=1 cargo test --test manifests"
    );
}

fn check_files(paths: &[PathBuf]) -> (CheckSummary, String) {
    let mut out = Vec::new();
    let outcome = check::run(paths, CheckOptions::default(), &mut out).unwrap();
    (outcome, String::from_utf8(out).unwrap())
}

fn check_text(name: &str, content: &str) -> (CheckSummary, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let (outcome, output) = check_files(&[path]);
    (
        outcome,
        output.replace(&format!("{}/", folder.path().display()), ""),
    )
}

#[test]
fn invalid_manifests_are_refused_with_the_field() {
    let files = files("tests/manifests/invalid");
    assert!(files.len() >= 30, "{}", files.len());
    for file in files {
        let manifest = fs::read_to_string(&file).unwrap();
        let field = manifest
            .lines()
            .next()
            .unwrap()
            .strip_prefix("# field: ")
            .expect("the first line names the field");
        let (outcome, output) = check_files(std::slice::from_ref(&file));
        let named = output.lines().any(|line| {
            let rest = line.split_once(".yaml:").map_or("", |(_, rest)| rest);
            let found = rest.split(": ").nth(1).unwrap_or_default();
            (found == field
                || found
                    .strip_prefix(field)
                    .is_some_and(|more| more.starts_with('[')))
                && !line.contains("warning: ")
        });
        assert_eq!(outcome.exit_code(), 1, "{}: accepted", file.display());
        assert!(
            named,
            "{}: no error names {field}:\n{output}",
            file.display()
        );
    }
}

#[test]
fn valid_manifests_are_accepted() {
    let files = files("tests/manifests/valid");
    assert!(files.len() >= 15, "{}", files.len());
    for file in files {
        let (outcome, output) = check_files(std::slice::from_ref(&file));
        assert_eq!(outcome.errors, 0, "{output}");
        assert_eq!(outcome.connectors + outcome.lists, 1, "{output}");
        assert_eq!(outcome.exit_code(), 0);
    }
}

#[test]
fn every_example_passes_without_an_error() {
    let (outcome, output) = check_files(&[folder("examples")]);
    assert_eq!(outcome.errors, 0, "{output}");
    assert!(outcome.connectors > 0, "{output}");
    // A Secret is often created elsewhere; nothing else may be missing.
    let others: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("warning: ") && !line.contains("warning: Secret "))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn argo_cd_is_given_the_health_check_of_the_examples() {
    let folder = folder("examples/gitops/argocd");
    let wanted = fs::read_to_string(folder.join("health.lua")).unwrap();
    let map: serde_json::Value =
        serde_yaml::from_str(&fs::read_to_string(folder.join("argocd-cm.yaml")).unwrap()).unwrap();
    for kind in ["TelegramConnector", "TelegramUserList"] {
        let key = format!("resource.customizations.health.connectors.pupau.ai_{kind}");
        assert_eq!(map["data"][&key], wanted, "{kind}");
    }
}

#[test]
fn the_quickstart_passes_without_a_warning() {
    let (outcome, output) = check_files(&[folder("examples/quickstart")]);
    assert_eq!((outcome.errors, outcome.warnings), (0, 0), "{output}");
}

const CONNECTOR: &str = "\
apiVersion: connectors.pupau.ai/v1alpha1
kind: TelegramConnector
metadata:
  name: support
  namespace: acme
spec:
  botTokenSecretRef:
    name: support-bot
  assistant:
    protocol: OpenAI
    url: http://a.acme.svc/v1
    model: m
  access:
    level: Company
    companyUsers:
      listRefs:
        - name: acme-staff
      users:
        - id: 1
        - username: ann
";

#[test]
fn errors_name_file_line_field_and_fix() {
    let (outcome, output) = check_text("bot.yaml", CONNECTOR);
    assert_eq!(outcome.exit_code(), 1);
    insta::assert_snapshot!(output, @r#"
    bot.yaml:8: spec.botTokenSecretRef.name: warning: Secret "support-bot" is not in these files: it must exist in the same namespace with a key "token"
    bot.yaml:17: spec.access.companyUsers.listRefs[0].name: warning: TelegramUserList "acme-staff" is not in these files: until it exists in the same namespace, its users are denied
    bot.yaml:20: spec.access.companyUsers.users[1].username: Invalid value: "ann": username must be 5 to 32 letters, digits or underscores, with or without a leading @
    1 file: 1 error, 2 warnings (1 TelegramConnector and 0 TelegramUserLists checked, 0 of other kinds passed over)
    "#);
}

#[test]
fn lines_are_right_in_the_second_document_and_in_a_list_object() {
    let indented = format!("    {}\n", CONNECTOR.trim_end().replace('\n', "\n    "));
    let listed = indented.replacen("    api", "  - api", 1);
    let (_, output) = check_text(
        "all.yaml",
        &format!("# first\n---\napiVersion: v1\nkind: List\nitems:\n{listed}"),
    );
    assert!(
        output.contains("all.yaml:25: spec.access.companyUsers.users[1].username: "),
        "{output}"
    );
}

#[test]
fn a_misspelt_field_is_an_error_with_a_suggestion() {
    let (outcome, output) = check_text(
        "bot.yaml",
        &CONNECTOR
            .replace("listRefs", "listrefs")
            .replace("username: ann", "username: ann_example"),
    );
    assert_eq!(outcome.errors, 1, "{output}");
    assert!(
        output.contains(
            "bot.yaml:16: spec.access.companyUsers.listrefs: unknown field: did you mean listRefs?"
        ),
        "{output}"
    );
}

#[test]
fn a_misspelt_group_version_or_kind_is_an_error() {
    for (right, wrong, line) in [
        (
            "connectors.pupau.ai/v1alpha1",
            "connectors.pupau.io/v1alpha1",
            1,
        ),
        ("connectors.pupau.ai/v1alpha1", "connectors.pupau.ai/v1", 1),
        ("kind: TelegramConnector", "kind: TelegramConector", 2),
    ] {
        let (outcome, output) = check_text(
            "bot.yaml",
            &CONNECTOR
                .replace("username: ann", "id: 2")
                .replace(right, wrong),
        );
        assert_eq!(outcome.errors, 1, "{wrong}: {output}");
        assert!(
            output.starts_with(&format!("bot.yaml:{line}: ")),
            "{output}"
        );
    }
}

#[test]
fn duplicate_key_is_reported_with_both_lines() {
    let (_, output) = check_text(
        "bot.yaml",
        &CONNECTOR.replace("    model: m\n", "    model: m\n    model: n\n"),
    );
    assert!(
        output.contains("bot.yaml:13: model: stands twice in the same mapping, first on line 12"),
        "{output}"
    );
}

#[test]
fn invalid_yaml_is_an_error_and_other_documents_are_checked() {
    let (outcome, output) = check_text("bot.yaml", &format!("a: [1, 2\n---\n{CONNECTOR}"));
    assert_eq!(outcome.errors, 2, "{output}");
    assert!(output.contains("not YAML: "), "{output}");
    assert!(
        output.contains("bot.yaml:22: spec.access.companyUsers.users[1].username: "),
        "{output}"
    );
}

#[test]
fn json_is_checked_like_yaml() {
    let value: serde_json::Value = serde_yaml::from_str(CONNECTOR).unwrap();
    let (outcome, output) = check_text("bot.json", &serde_json::to_string_pretty(&value).unwrap());
    assert_eq!((outcome.connectors, outcome.errors), (1, 1), "{output}");
    assert!(
        output.contains("spec.access.companyUsers.users[1].username: "),
        "{output}"
    );
}

#[test]
fn whole_number_in_float_notation_is_accepted_as_by_the_server() {
    for written in ["7.123456789e+09", "7123456789.0"] {
        let (outcome, output) = check_text(
            "bot.yaml",
            &CONNECTOR.replace("username: ann", &format!("id: {written}")),
        );
        assert_eq!(outcome.errors, 0, "{written}: {output}");
    }
    let twice = CONNECTOR
        .replace("username: ann", "id: 7123456789")
        .replace("- id: 1\n", "- id: 7.123456789e+09\n");
    let (outcome, output) = check_text("bot.yaml", &twice);
    assert_eq!(outcome.errors, 1, "{output}");
    assert!(output.contains("the same id stands twice"), "{output}");
}

#[test]
fn number_of_the_wrong_type_is_one_error_with_line_and_field() {
    let good = CONNECTOR.replace("username: ann", "id: 2");
    let (outcome, output) = check_text(
        "bot.yaml",
        &format!("{good}  session:\n    durationHours: 24.5\n"),
    );
    assert_eq!(outcome.errors, 1, "{output}");
    assert!(
        output.contains(
            "bot.yaml:22: spec.session.durationHours: Invalid value: 24.5: must be a whole number ("
        ),
        "{output}"
    );
}

#[test]
fn null_is_a_warning_since_server_side_apply_refuses_it() {
    let good = CONNECTOR.replace("username: ann", "id: 2");
    let (outcome, output) =
        check_text("bot.yaml", &format!("{good}  greeting: null\n  session:\n"));
    assert_eq!((outcome.errors, outcome.warnings), (0, 4), "{output}");
    for place in ["bot.yaml:21: spec.greeting", "bot.yaml:22: spec.session"] {
        let warning = format!("{place}: warning: null means absent here, but server-side apply");
        assert!(output.contains(&warning), "{output}");
    }
    // One that is required is an error already.
    let (outcome, output) = check_text("bot.yaml", &good.replace("level: Company", "level: null"));
    assert_eq!(outcome.errors, 1, "{output}");
    assert!(!output.contains("null means absent"), "{output}");
}

#[test]
fn list_too_long_for_client_side_apply_is_a_warning() {
    // An entry has 35 bytes as JSON, so that 7,480 of them fit.
    let check = |users: usize| {
        let entries: Vec<String> = (1..=users)
            .map(|n| format!("    - {{id: {}, note: on call}}", 1_000_000_000 + n))
            .collect();
        let text = format!(
            "apiVersion: connectors.pupau.ai/v1alpha1\nkind: TelegramUserList\nmetadata: {{name: staff}}\nspec:\n  users:\n{}\n",
            entries.join("\n")
        );
        check_text("list.yaml", &text)
    };
    let (outcome, output) = check(7_400);
    assert_eq!((outcome.errors, outcome.warnings), (0, 0), "{output}");
    let (outcome, output) = check(7_600);
    assert_eq!((outcome.errors, outcome.warnings), (0, 1), "{output}");
    assert!(
        output.contains("list.yaml:4: spec: warning: ")
            && output.contains("262144")
            && output.contains("--server-side"),
        "{output}"
    );
}

#[test]
fn token_is_never_printed() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: support-bot, namespace: acme}\nstringData: {token: hunter2-hunter2}\n";
    let (_, output) = check_text("bot.yaml", &format!("{CONNECTOR}---\n{secret}"));
    assert!(
        output.contains("bot.yaml:25: stringData.token: warning: is not a bot token"),
        "{output}"
    );
    assert!(!output.contains("hunter2"), "{output}");
}

#[test]
fn other_kinds_are_passed_over_and_counted() {
    let (outcome, output) = check_text(
        "all.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: 1}\n---\nnot: an object\n---\n",
    );
    assert_eq!(
        (outcome.errors, outcome.warnings, outcome.others),
        (0, 0, 1),
        "{output}"
    );
}

#[test]
fn unreadable_file_is_an_error() {
    let (outcome, output) = check_files(&[PathBuf::from("no/such/file.yaml")]);
    assert_eq!(outcome.exit_code(), 1);
    assert!(
        output.starts_with("no/such/file.yaml:1: cannot be read: "),
        "{output}"
    );
    let empty = tempfile::tempdir().unwrap();
    let (outcome, output) = check_files(&[empty.path().to_path_buf()]);
    assert_eq!(outcome.exit_code(), 1, "{output}");
}
