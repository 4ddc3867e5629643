//! The faults that are planted, each with the finding that names it.

use embedded_control_plane::AccessDenial;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::env::{BOT, DoctorEnv, OPERATOR, TOKEN};
use super::peers::{self, Validity};

/// What goes wrong, and what `doctor` says of it.
pub struct Fault {
    pub name: &'static str,
    pub plant: fn(&mut DoctorEnv) -> LocalBoxFuture<'_, ()>,
    /// Check, level, and a part of the message.
    pub expected: (&'static str, &'static str, &'static str),
}

macro_rules! fault {
    ($name:literal, ($check:literal, $level:literal, $says:literal), $env:ident => $plant:expr) => {
        Fault {
            name: $name,
            plant: |$env| $plant.boxed_local(),
            expected: ($check, $level, $says),
        }
    };
}

/// Faults of what lies in the cluster: any API server can have them.
pub fn in_the_cluster() -> Vec<Fault> {
    vec![
        fault!("token Secret missing", ("bot-token", "failure", "Secret \"support-bot\" does not exist"), env => async {
            env.delete(&format!("{}/support-bot", env.cluster.path("v1", "secrets"))).await;
        }),
        fault!("token key missing", ("bot-token", "failure", "has no key \"token\"; keys present: other"), env => async {
            env.set_secret("support-bot", json!({"other": TOKEN})).await;
        }),
        fault!("token malformed", ("bot-token", "failure", "not a bot token"), env => async {
            env.set_secret("support-bot", json!({"token": "8400000001-AAF7"})).await;
        }),
        fault!("api key missing", ("api-key", "failure", "Secret \"agent\" does not exist"), env => async {
            env.delete(&format!("{}/agent", env.cluster.path("v1", "secrets"))).await;
        }),
        fault!("list missing", ("user-list", "failure", "\"staff\" does not exist"), env => async {
            env.delete(&format!("{}/staff", env.custom("telegramuserlists"))).await;
        }),
        fault!("list empty", ("user-list", "warning", "\"staff\" is empty"), env => async {
            let list = format!("{}/staff", env.custom("telegramuserlists"));
            env.patch(&list, json!({"spec": {"users": []}})).await;
        }),
        fault!("two connectors with one bot", ("duplicate-bot", "failure", "which is older and keeps it"), env => async {
            env.wait_for_a_younger_second().await;
            env.create_connector("younger", "support-bot").await;
        }),
        fault!("condition false", ("connector", "failure", "Connected is False, WebhookContested: n8n.example"), env => async {
            let status = format!("{}/support/status", env.custom("telegramconnectors"));
            env.patch(&status, json!({"status": {"conditions": [
                {"type": "Connected", "status": "False", "reason": "WebhookContested", "message": "n8n.example", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]}})).await;
        }),
        fault!("deletion stuck", ("connector-deletion", "warning", "held by the finalizer connectors.pupau.ai/disconnect"), env => async {
            env.delete(&format!("{}/support", env.custom("telegramconnectors"))).await;
        }),
        fault!("operator not ready", ("operator", "failure", "0 of 1 Pods ready"), env => async {
            env.set_ready_replicas(0).await;
        }),
        fault!("operator missing", ("operator", "failure", "there is no Deployment"), env => async {
            env.delete(&format!("{}/{OPERATOR}", env.cluster.path("apps/v1", "deployments"))).await;
        }),
        fault!("wrong flag", ("operator-flags", "failure", "--conection-mode"), env => async {
            env.add_argument("--conection-mode=polling").await;
        }),
        fault!("Lease stale", ("lease", "failure", "no sign of life"), env => async {
            env.set_lease(300).await;
        }),
        fault!("label missing", ("bot-token", "failure", "requires its label"), env => async {
            env.add_argument("--require-secret-label").await;
            let agent = format!("{}/agent", env.cluster.path("v1", "secrets"));
            env.patch(&agent, json!({"metadata": {"labels": {"connectors.pupau.ai/allow-use": "true"}}})).await;
        }),
    ]
}

/// Faults of the control plane itself.
pub fn of_the_control_plane() -> Vec<Fault> {
    const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    vec![
        fault!("CRD missing", ("crd", "failure", "it is not installed"), env => async {
            env.delete(&format!("{CRDS}/telegramuserlists.connectors.pupau.ai")).await;
        }),
        fault!("CRD of an older schema", ("crd", "failure", "spec.transcription is missing there"), env => async {
            let path = format!("{CRDS}/telegramconnectors.connectors.pupau.ai");
            let mut crd = env.cluster.get(&path).await.body;
            let fields = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
            fields.and_then(Value::as_object_mut).expect("fields").remove("transcription");
            env.cluster.call("PUT", &path, &crd).await.expect_status(200);
        }),
        fault!("operator's right missing", ("operator-rights", "failure", "patch telegramconnectors.connectors.pupau.ai/status"), env => async {
            let user = format!("system:serviceaccount:{}:{OPERATOR}", env.cluster.namespace);
            let denial = AccessDenial::to_user(user).resource("telegramconnectors.connectors.pupau.ai/status");
            env.cluster.control_plane().faults().deny(denial);
        }),
        fault!("caller's right missing", ("bot-token", "skipped", "not checked: no right to get Secret support-bot"), env => async {
            env.cluster.control_plane().faults().deny(AccessDenial::to_caller().resource("secrets"));
        }),
    ]
}

/// Faults of what lies outside.
pub fn outside() -> Vec<Fault> {
    vec![
        fault!("token revoked", ("bot", "failure", "401 Unauthorized"), env => async {
            env.telegram.revoke(BOT);
        }),
        fault!("Telegram unreachable", ("telegram", "failure", "cannot be reached"), env => async {
            env.telegram.stop();
            env.telegram.wait().await;
        }),
        fault!("foreign webhook", ("bot-webhook", "failure", "a foreign one at 192.0.2.7"), env => async {
            env.set_webhook("https://192.0.2.7/hook/planted-secret-path").await;
        }),
        fault!("webhook missing", ("bot-webhook", "failure", "the webhook is none"), env => async {
            env.set_webhook("").await;
        }),
        fault!("certificate expired", ("certificate", "failure", "it expired"), env => async {
            env.webhook_behaviour.lock().validity = Validity::Expired;
        }),
        fault!("another server answers", ("webhook-server", "failure", "another server"), env => async {
            env.webhook_behaviour.lock().foreign = true;
        }),
        fault!("nobody answers", ("webhook-server", "failure", "no answer"), env => async {
            env.webhook = None;
        }),
        fault!("public URL without DNS", ("public-url", "failure", "its name is not resolved"), env => async {
            env.add_argument("--public-url=https://bots.invalid").await;
            // A webhook at that name cannot be set, so that of the connector would be wrong too.
            let path = format!("{}/support", env.custom("telegramconnectors"));
            env.patch(&path, json!({"spec": {"suspend": true}})).await;
            let seen = json!({"status": {"observedGeneration": 2}});
            env.patch(&format!("{path}/status"), seen).await;
        }),
        fault!("assistant down", ("assistant", "failure", "no connection to 127.0.0.1"), env => async {
            env.assistant = None;
            // From elsewhere an address of loopback says nothing.
            env.process = Some(peers::ready_operator().await);
        }),
        fault!("process not ready", ("operator", "failure", "does not answer"), env => async {
            env.process = Some(peers::ready_operator().await);
            env.process.as_mut().expect("just set").address.set_port(9);
        }),
        fault!("assistant refuses the key", ("assistant", "failure", "does not accept the API key"), env => async {
            env.set_secret("agent", json!({"api-key": "sk-planted-and-wrong"})).await;
        }),
        fault!("model not in the list", ("assistant", "failure", "has no model \"llama\"; it lists: support-agent"), env => async {
            set_assistant(env, json!({"model": "llama"})).await;
        }),
        fault!("assistant's address refused", ("assistant", "failure", "cloud metadata address"), env => async {
            set_assistant(env, json!({"url": "http://169.254.169.254/v1"})).await;
        }),
    ]
}

/// Faults of the machine.
pub fn of_the_machine() -> Vec<Fault> {
    vec![
        fault!("store of a newer version", ("store", "failure", "a newer version of the operator"), env => async {
            peers::make_store_newer(&env.store()).await;
        }),
        fault!("store missing", ("store", "failure", "there is no such file"), env => async {
            std::fs::remove_file(env.store()).expect("it was there");
        }),
        fault!("clock two minutes off", ("clock", "warning", "s ahead of Telegram"), env => async {
            env.telegram_root = Some(peers::late_telegram(env.telegram.url()).await);
            env.apply_deployment().await;
        }),
    ]
}

/// Changes the connector's assistant, as if the operator had seen it.
async fn set_assistant(env: &DoctorEnv, change: Value) {
    let path = format!("{}/support", env.custom("telegramconnectors"));
    env.patch(&path, json!({"spec": {"assistant": change}}))
        .await;
    let seen = json!({"status": {"observedGeneration": 2}});
    env.patch(&format!("{path}/status"), seen).await;
}
