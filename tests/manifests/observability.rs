//! Compares with the code what monitoring uses: the metrics reference, the chart's alerts and dashboard, the runbooks and the table of
//! reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use telegram_connector_operator::api::conditions::Reason;
use telegram_connector_operator::telemetry::Metrics;
use telegram_connector_operator::telemetry::outcomes::{UpdateOutcome, WebhookRefusal};

use super::{compare_page, folder};

/// Metrics with a sample in every family: a family without one is not printed.
fn metrics_with_samples() -> Metrics {
    let metrics = Metrics::new();
    let moment = Duration::from_millis(1);
    metrics.record_reconcile("connector", "ok", moment);
    metrics.count_kubernetes_call("patch", "telegramconnectors/status", "ok");
    metrics.set_connectors_with_reason("MessagesFlow", 1);
    metrics.set_cluster_view("secrets", 0, moment);
    metrics.set_leading(true);
    metrics.count_updates(UpdateOutcome::Received, 1);
    metrics.count_webhook_refusal(WebhookRefusal::BadSecret);
    metrics.count_poll("ok");
    metrics.add_pollers(1);
    metrics.set_queue(1, moment);
    metrics.set_dead_letters(0);
    metrics.record_assistant_exchange("OpenAI", "ok", moment);
    metrics.count_assistant_tokens("OpenAI", 1, 1);
    metrics.count_decision("approval", "approved");
    metrics.count_limited("user_messages", 1);
    metrics.record_telegram_call("sendMessage", "ok", moment);
    metrics.record_throttling("sendMessage", moment);
    metrics.record_store_operation("accept", moment);
    metrics.count_store_failure("accept");
    metrics.set_data_api_available(Some(true));
    metrics.set_data_api_certificate_left(moment);
    metrics
}

/// Every sample's name with the names of its labels.
fn samples() -> BTreeMap<String, BTreeSet<String>> {
    let sample = Regex::new(r"^([a-z_]+)(?:\{(.*)\})? ").unwrap();
    let label = Regex::new(r#"([a-z_]+)=""#).unwrap();
    metrics_with_samples()
        .encode()
        .lines()
        .filter_map(|line| sample.captures(line))
        .map(|found| {
            let labels = found.get(2).map_or("", |labels| labels.as_str());
            let labels = label
                .captures_iter(labels)
                .map(|name| name[1].to_owned())
                .collect();
            (found[1].to_owned(), labels)
        })
        .collect()
}

fn dashboard_expressions() -> Vec<String> {
    let text = fs::read_to_string(folder(
        "charts/telegram-connector-operator/files/dashboards/telegram-connector-operator.json",
    ))
    .unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

fn alerts() -> Vec<Value> {
    let text = fs::read_to_string(folder(
        "charts/telegram-connector-operator/files/alerts.yaml",
    ))
    .unwrap();
    serde_yaml::from_str(&text).unwrap()
}

#[test]
fn alerts_and_dashboard_use_metrics_and_labels_that_exist() {
    let samples = samples();
    let name = Regex::new(r"telegram_connector_operator_[a-z_]+").unwrap();
    let grouped = Regex::new(r"by \(([a-z_, ]+)\)").unwrap();
    let mut expressions = dashboard_expressions();
    expressions.extend(
        alerts()
            .iter()
            .map(|alert| alert["expr"].as_str().unwrap().to_owned()),
    );
    assert!(expressions.len() > 30, "{}", expressions.len());
    for expression in &expressions {
        let names: Vec<&str> = name
            .find_iter(expression)
            .map(|found| found.as_str())
            .collect();
        assert!(!names.is_empty(), "{expression}");
        for found in &names {
            assert!(
                samples.contains_key(*found),
                "no metric {found}: {expression}"
            );
        }
        for group in grouped.captures_iter(expression) {
            for label in group[1].split(", ") {
                assert!(
                    names.iter().all(|found| samples[*found].contains(label)),
                    "no label {label}: {expression}"
                );
            }
        }
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let word = Regex::new("([a-z])([A-Z])").unwrap();
    let wanted: BTreeSet<String> = alerts()
        .iter()
        .map(|alert| {
            word.replace_all(alert["alert"].as_str().unwrap(), "$1-$2")
                .to_lowercase()
                + ".md"
        })
        .collect();
    let found: BTreeSet<String> = fs::read_dir(folder("docs/runbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(wanted, found);

    let index = fs::read_to_string(folder("docs/runbooks.md")).unwrap();
    for alert in alerts() {
        let (name, severity) = (&alert["alert"], &alert["labels"]["severity"]);
        let row = format!("| [{}](runbooks/", name.as_str().unwrap());
        let line = index.lines().find(|line| line.starts_with(&row));
        let end = format!("| {} |", severity.as_str().unwrap());
        assert!(line.is_some_and(|l| l.ends_with(&end)), "{name}: {line:?}");
    }
}

#[test]
fn the_metrics_reference_is_that_of_the_code() {
    let samples = samples();
    let text = metrics_with_samples().encode();
    let help = Regex::new(r"(?m)^# HELP (\S+) (.*)$").unwrap();
    let kind = Regex::new(r"(?m)^# TYPE (\S+) (\S+)$").unwrap();
    let kinds: BTreeMap<&str, &str> = kind
        .captures_iter(&text)
        .map(|found| {
            (
                found.get(1).unwrap().as_str(),
                found.get(2).unwrap().as_str(),
            )
        })
        .collect();
    let mut wanted = String::from(
        "# Metrics\n\nGenerated from `src/telemetry/metrics.rs`; `UPDATE_DOCS=1 cargo test --test manifests metrics` writes it anew. No label holds a \
         namespace, a connector, a chat or a user.\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for found in help.captures_iter(&text) {
        let (name, meaning) = (&found[1], found[2].trim_end_matches('.'));
        let kind = kinds[name];
        let (shown, sample) = match kind {
            "counter" => (format!("{name}_total"), format!("{name}_total")),
            "histogram" => (name.to_owned(), format!("{name}_count")),
            _ => (name.to_owned(), name.to_owned()),
        };
        let labels: Vec<&str> = samples[&sample].iter().map(String::as_str).collect();
        wanted += &[
            "| `",
            &shown,
            "` | ",
            kind,
            " | ",
            &labels.join(", "),
            " | ",
            meaning,
            " |\n",
        ]
        .concat();
    }
    compare_page("docs/metrics.md", &wanted);
}

#[test]
fn every_reason_is_in_the_troubleshooting_table() {
    let wanted: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let table = fs::read_to_string(folder("docs/troubleshooting.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `([A-Za-z]+)` \|").unwrap();
    let found: BTreeSet<&str> = row
        .captures_iter(&table)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    assert_eq!(wanted, found);
}
