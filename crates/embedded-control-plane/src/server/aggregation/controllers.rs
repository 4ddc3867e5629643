//! The one task of a control plane with aggregated groups: it keeps the condition `Available` right, as kube-aggregator's
//! available controller does, and has namespaces and owners that go take along what lies on other servers.
//!
//! It looks every five seconds (kube-aggregator: thirty), at once when something changed, and after a failure again soon, ever
//! more slowly.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::connection::{self, Document};
use super::{RemoteApi, STORAGE, available_condition, cleanup, replace_condition};
use crate::server::ServerState;
use crate::server::caller::Caller;
use crate::server::object::{now, str_at, value_at};

/// How often everything is looked at while all is well, and at most how slowly a failure is looked at again.
const INTERVAL: Duration = Duration::from_secs(5);
/// How soon a failure is looked at again.
const FIRST_RETRY: Duration = Duration::from_millis(50);

/// Starts the task when there is something to do and it does not run: at a request, since only then is there a runtime.
pub(in crate::server) fn keep_running(server: &Arc<ServerState>) {
    if !server.aggregation.is_used() {
        return;
    }
    let mut task = server.aggregation.task.lock();
    // It ends with its runtime; the control plane may be used from another.
    if task
        .as_ref()
        .is_none_or(tokio::task::JoinHandle::is_finished)
    {
        *task = Some(tokio::spawn(run(Arc::downgrade(server))));
    }
}

async fn run(server: Weak<ServerState>) {
    let mut retry = FIRST_RETRY;
    loop {
        let wake = {
            let Some(server) = server.upgrade() else {
                return;
            };
            // Nobody reaches anybody while the API server is down.
            let done = server.faults.is_down() || look_once(&server).await;
            retry = if done {
                FIRST_RETRY
            } else {
                (retry * 2).min(INTERVAL)
            };
            let wait = if done { INTERVAL } else { retry };
            (Arc::clone(&server.aggregation.wake), wait)
        };
        let (wake, wait) = wake;
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Returns whether nothing is left to do.
async fn look_once(server: &Arc<ServerState>) -> bool {
    let mut all_available = true;
    for api in super::remote_apis(server) {
        let verdict = probe(server, &api).await;
        all_available &= verdict.available;
        set_available(server, &api.name, &verdict);
    }
    // What was found out just now decides about the rest.
    let apis = super::remote_apis(server);
    let owners_done = cleanup::collect_dependents(server, &apis).await;
    let namespaces_done = cleanup::empty_namespaces(server, &apis).await;
    all_available && owners_done && namespaces_done
}

/// What the condition `Available` is to say.
pub(super) struct Verdict {
    available: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    /// Of a group that this server serves itself.
    pub(super) fn local() -> Self {
        Self {
            available: true,
            reason: "Local",
            message: "Local APIServices are always available".into(),
        }
    }
}

async fn probe(server: &ServerState, api: &RemoteApi) -> Verdict {
    let host = connection::resolve(server, api).unwrap_or_default();
    let caller = Caller::system("system:kube-aggregator", &["system:masters"]);
    let root = api.root();
    let request = (Method::GET, root.as_str(), "application/json");
    // As kube-aggregator does: whether a server is there says nothing of who it is. Its users are not served so.
    let unproven = RemoteApi {
        insecure_skip_tls_verify: true,
        ..api.clone()
    };
    let answer = connection::call(server, &unproven, &caller, request, &Value::Null).await;
    let (reason, message) = match answer {
        Ok(Document { status, .. }) if status.is_success() => {
            return Verdict {
                available: true,
                reason: "Passed",
                message: "all checks passed".into(),
            };
        }
        Ok(Document { status, .. }) => ("FailedDiscoveryCheck", bad_status(&host, &root, status)),
        Err(error) => error.condition(api, &host),
    };
    Verdict {
        available: false,
        reason,
        message,
    }
}

fn bad_status(host: &str, root: &str, status: StatusCode) -> String {
    let url = format!("https://{host}{root}");
    let code = status.as_u16();
    format!("failing or missing response from {url}: bad status from {url}: {code}")
}

/// Writes the condition `Available` unless it says so already.
pub(super) fn set_available(server: &ServerState, name: &str, verdict: &Verdict) {
    // Whoever wrote in between may have changed what the verdict is about: it is looked at again.
    let Some(stored) = server.store.get(STORAGE, "", name) else {
        return;
    };
    let mut object = stored.object();
    let known = available_condition(&object);
    let status = if verdict.available { "True" } else { "False" };
    let same = |field: &str, text: &str| str_at(&known, &[field]) == text;
    if same("status", status) && same("reason", verdict.reason) && same("message", &verdict.message)
    {
        return;
    }
    let since = if same("status", status) {
        value_at(&known, &["lastTransitionTime"]).clone()
    } else {
        now().into()
    };
    let condition = json!({"type": "Available", "status": status, "reason": verdict.reason,
        "message": verdict.message, "lastTransitionTime": since});
    replace_condition(&mut object, condition);
    let storage: Arc<str> = STORAGE.into();
    let _ = server.store.put(&storage, Some(stored.revision), object);
}
