//! What `check` says of the objects that connectors refer to and of each other: Secrets, labels, lists, tokens.

use super::*;

#[test]
fn references_that_the_files_do_not_hold_are_warnings() {
    let good = CONNECTOR.replace("username: ann", "id: 2");
    let (outcome, output) = check_text("bot.yaml", &good);
    assert_eq!(
        (outcome.errors, outcome.warnings, outcome.exit_code()),
        (0, 2, 0),
        "{output}"
    );
    assert!(output.contains("bot.yaml:8: spec.botTokenSecretRef.name: warning: Secret \"support-bot\" is not in these files"), "{output}");
    assert!(output.contains("bot.yaml:17: spec.access.companyUsers.listRefs[0].name: warning: TelegramUserList \"acme-staff\""), "{output}");

    let with = format!(
        "{good}---\n{{apiVersion: v1, kind: Secret, metadata: {{name: support-bot, namespace: acme}}, stringData: {{bot-token: x}}}}\n---\n\
         {{apiVersion: connectors.pupau.ai/v1alpha1, kind: TelegramUserList, metadata: {{name: acme-staff, namespace: acme}}, spec: {{users: [{{id: 1}}]}}}}\n"
    );
    let (outcome, output) = check_text("bot.yaml", &with);
    assert_eq!((outcome.errors, outcome.warnings), (0, 1), "{output}");
    assert!(
        output.contains("Secret \"support-bot\" has no key \"token\"; keys present: bot-token"),
        "{output}"
    );

    let elsewhere = with
        .replace(
            "name: acme-staff, namespace: acme",
            "name: acme-staff, namespace: other",
        )
        .replace(
            "bot-token: x",
            "token: '7000001:quickstart-not-a-real-token'",
        );
    let (outcome, output) = check_text("bot.yaml", &elsewhere);
    assert_eq!((outcome.errors, outcome.warnings), (0, 1), "{output}");
    assert!(
        output.contains("TelegramUserList \"acme-staff\""),
        "{output}"
    );
}

#[test]
fn cluster_list_that_does_not_name_the_namespace_is_a_warning() {
    let connector = CONNECTOR.replace("username: ann", "id: 2").replace(
        "- name: acme-staff",
        "- {kind: ClusterTelegramUserList, name: acme-staff}",
    );
    let list = |names: &str| {
        format!(
            "{connector}---\n{{apiVersion: connectors.pupau.ai/v1alpha1, kind: ClusterTelegramUserList, metadata: {{name: acme-staff}}, \
             spec: {{users: [{{id: 1}}], allowedNamespaces: {{names: [{names}]}}}}}}\n"
        )
    };
    let (_, output) = check_text("bot.yaml", &connector);
    assert!(
        output.contains("warning: ClusterTelegramUserList \"acme-staff\" is not in these files"),
        "{output}"
    );
    let (outcome, output) = check_text("bot.yaml", &list("beta"));
    assert_eq!(outcome.errors, 0, "{output}");
    assert!(
        output.contains("does not allow namespace \"acme\""),
        "{output}"
    );
    let (_, output) = check_text("bot.yaml", &list("beta, acme"));
    assert!(!output.contains("ClusterTelegramUserList"), "{output}");
}

#[test]
fn entries_that_ended_are_warnings_with_their_line() {
    let list = "apiVersion: connectors.pupau.ai/v1alpha1\nkind: TelegramUserList\nmetadata: {name: staff}\nspec:\n  users:\n  - {id: 1}\n  \
                - {id: 2, until: \"2020-01-31\"}\n  - {id: 3, until: \"2999-01-31\"}\n";
    let (outcome, output) = check_text("list.yaml", list);
    assert_eq!((outcome.errors, outcome.warnings), (0, 1), "{output}");
    let expected = "list.yaml:7: spec.users[1].until: warning: the entry ended (2020-01-31): it lets nobody in";
    assert!(output.contains(expected), "{output}");
    let approvers =
        "\n  approvals: {approvers: {users: [{id: 9, until: \"2020-01-31T12:00:00Z\"}]}}\n";
    let connector = format!("{}{approvers}", CONNECTOR.trim_end());
    let (_, output) = check_text("bot.yaml", &connector);
    assert!(
        output.contains("spec.approvals.approvers.users[0].until: warning: the entry ended"),
        "{output}"
    );
}

#[test]
fn time_zone_that_there_is_none_of_is_a_warning() {
    let zone = |name: &str| {
        let limits = format!("  limits: {{messagesPerDay: 5, timeZone: {name}}}\n");
        check_text("bot.yaml", &format!("{}\n{limits}", CONNECTOR.trim_end()))
    };
    let (_, output) = zone("Europe/Rmoe");
    let warning = "spec.limits.timeZone: warning: there is no time zone \"Europe/Rmoe\"";
    assert!(output.contains(warning), "{output}");
    let (_, output) = zone("Europe/Rome");
    assert!(!output.contains("timeZone"), "{output}");
}

#[test]
fn unlabelled_secret_is_a_warning_where_the_label_is_required() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.yaml");
    let check = |secret: &str, require_secret_label| {
        fs::write(&path, format!("{CONNECTOR}---\n{secret}\n")).unwrap();
        let options = CheckOptions {
            require_secret_label,
        };
        let mut out = Vec::new();
        check::run(std::slice::from_ref(&path), options, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let warning = "bot.yaml:8: spec.botTokenSecretRef.name: warning: Secret \"support-bot\" gets no label connectors.pupau.ai/allow-use";
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: support-bot, namespace: acme}, stringData: {token: '7000001:quickstart-not-a-real-token'}}";
    let label = "labels: {connectors.pupau.ai/allow-use: 'true'}, ";
    let labelled = secret.replace("metadata: {", &format!("metadata: {{{label}"));
    let external = "{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: support-bot}, spec: {target: {template: {metadata: {LABELS}}}}}";
    for (secret, required, warned) in [
        (secret.to_owned(), true, true),
        (secret.to_owned(), false, false),
        (labelled.replace("'true'", "'false'"), true, true),
        (labelled, true, false),
        (external.replace("LABELS", ""), true, true),
        (
            external.replace("LABELS", label.trim_end_matches(", ")),
            true,
            false,
        ),
    ] {
        let output = check(&secret, required);
        assert_eq!(output.contains(warning), warned, "{secret}: {output}");
    }
}

#[test]
fn secrets_of_headers_are_looked_for() {
    let headers = "    headers:
      - {name: X-Team, value: support}
      - {name: X-Key, valueFrom: {secretKeyRef: {name: gateway, key: key}}}
";
    let good = CONNECTOR
        .replace("username: ann", "id: 2")
        .replace("    model: m\n", &format!("    model: m\n{headers}"));
    let (outcome, output) = check_text("bot.yaml", &good);
    assert_eq!((outcome.errors, outcome.warnings), (0, 3), "{output}");
    let warning = "bot.yaml:15: spec.assistant.headers[1].valueFrom.secretKeyRef.name: warning: Secret \"gateway\" is not in these files: it must exist in the same namespace with a key \"key\"";
    assert!(output.contains(warning), "{output}");
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: gateway, namespace: acme}, stringData: {other: x}}";
    let (_, output) = check_text("bot.yaml", &format!("{good}---\n{secret}\n"));
    assert!(
        output.contains("Secret \"gateway\" has no key \"key\"; keys present: other"),
        "{output}"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.yaml");
    fs::write(&path, format!("{good}---\n{secret}\n")).unwrap();
    let options = CheckOptions {
        require_secret_label: true,
    };
    let mut out = Vec::new();
    check::run(&[path], options, &mut out).unwrap();
    let output = String::from_utf8(out).unwrap();
    assert!(
        output.contains(
            "headers[1].valueFrom.secretKeyRef.name: warning: Secret \"gateway\" gets no label"
        ),
        "{output}"
    );
}

#[test]
fn assistant_that_admission_cannot_judge_is_a_warning() {
    let good = CONNECTOR.replace("username: ann", "id: 2");
    for (assistant, warning) in [
        (
            "protocol: Pupau, url: https://api.pupau.ai, assistantId: a, apiKeySecretRef: {name: pupau}, headers: [{name: Api-Key, value: x}]",
            "bot.yaml:9: spec.assistant.headers: warning: api-key carries the API key of apiKeySecretRef: remove it here",
        ),
        (
            &format!(
                "protocol: OpenAI, url: http://a/v1, model: m, openAI: {{parameters: {{x: {}}}}}",
                "a".repeat(70_000)
            ),
            "spec.assistant.openAI.parameters: warning: the fields have ",
        ),
    ] {
        let start = good.find("  assistant:").unwrap();
        let end = good.find("  access:").unwrap();
        let text = format!(
            "{}  assistant: {{{assistant}}}\n{}",
            &good[..start],
            &good[end..]
        );
        let (outcome, output) = check_text("bot.yaml", &text);
        assert_eq!(outcome.errors, 0, "{output}");
        assert!(output.contains(warning), "{output}");
    }
}

#[test]
fn two_connectors_with_one_token_are_a_warning() {
    let good = CONNECTOR.replace("username: ann", "id: 2");
    let (outcome, output) = check_text(
        "bots.yaml",
        &format!(
            "{good}---\n{}",
            good.replace("name: support\n", "name: sales\n")
        ),
    );
    assert_eq!(outcome.errors, 0, "{output}");
    assert!(
        output.contains("TelegramConnector \"support\" names the same token"),
        "{output}"
    );
}

#[test]
fn one_connector_written_twice_shares_its_token_with_others_only() {
    let support = CONNECTOR.replace("username: ann", "id: 2");
    let sales = support.replace("name: support\n", "name: sales\n");
    let elsewhere = support.replace("namespace: acme", "namespace: other");
    let all = [&support, &support, &elsewhere, &sales, &support];
    let (_, output) = check_text("bots.yaml", &all.map(String::as_str).join("---\n"));
    let shared: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("names the same token"))
        .map(|line| line.split('"').nth(1).unwrap())
        .collect();
    // Of sales, and of the last support.
    assert_eq!(shared, ["support", "sales"], "{output}");
    let replaced = output.matches("one of them replaces the other").count();
    assert_eq!(replaced, 2, "{output}");
}
