//! The process's metrics: one typed method per event, so that no caller can invent a name or an unbounded label.
//!
//! Labels never hold a namespace, a connector, a chat or a user: their values are a fixed set. What concerns a single connector is in
//! its status, its events and the log.

mod registration;

use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::outcomes::{RecheckOutcome, SignInOutcome, UpdateOutcome, WebhookRefusal};

/// The prefix of every metric's name.
const PREFIX: &str = "telegram_connector_operator";

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// The limits of a day that can refuse a message, as the metric's labels.
const DAY_LIMITS: [&str; 4] = [
    "user_messages",
    "user_tokens",
    "connector_messages",
    "connector_tokens",
];

/// The kinds of questions with buttons, and what comes of them (`store::TakenDecision::result`).
const DECISION_RESULTS: [(&str, &str); 6] = [
    ("choice", "chosen"),
    ("choice", "superseded"),
    ("approval", "approved"),
    ("approval", "refused"),
    ("approval", "expired"),
    ("approval", "superseded"),
];

/// What becomes of requests for access.
const ACCESS_REQUEST_OUTCOMES: [&str; 5] = ["asked", "allowed", "refused", "muted", "expired"];

/// All metrics of one operator. Methods never fail and never block.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Counters<2>,
    reconcile_seconds: Histograms<1>,
    kubernetes_calls: Counters<3>,
    connectors: Family<Labels<1>, Gauge>,
    watches_failing: Family<Labels<1>, Gauge>,
    cluster_view_age_seconds: Family<Labels<1>, Gauge<f64, std::sync::atomic::AtomicU64>>,
    leader: Gauge,
    leadership_changes: Counter,
    updates: Counters<1>,
    webhook_refusals: Counters<1>,
    polls: Counters<1>,
    pollers: Gauge,
    shards: Gauge,
    shards_taken: Counter,
    queue_depth: Gauge,
    queue_oldest_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
    dead_letters: Gauge,
    assistant_seconds: Histograms<2>,
    assistant_tokens: Counters<2>,
    decisions: Counters<2>,
    access_requests: Counters<1>,
    limited: Counters<1>,
    sign_ins: Counters<1>,
    membership_rechecks: Counters<1>,
    telegram_seconds: Histograms<2>,
    throttled: Counters<1>,
    throttled_seconds: Counter<f64, std::sync::atomic::AtomicU64>,
    store_seconds: Histograms<1>,
    store_errors: Counters<1>,
    data_api_available: Family<Labels<0>, Gauge>,
    data_api_certificate_left_seconds: Family<Labels<0>, Gauge<f64, std::sync::atomic::AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(|| buckets(0.001, 2.0, 14)),
            kubernetes_calls: Family::default(),
            connectors: Family::default(),
            watches_failing: Family::default(),
            cluster_view_age_seconds: Family::default(),
            leader: Gauge::default(),
            leadership_changes: Counter::default(),
            updates: Family::default(),
            webhook_refusals: Family::default(),
            polls: Family::default(),
            pollers: Gauge::default(),
            shards: Gauge::default(),
            shards_taken: Counter::default(),
            queue_depth: Gauge::default(),
            queue_oldest_seconds: Gauge::default(),
            dead_letters: Gauge::default(),
            // The longest timeout of an assistant is 600 s.
            assistant_seconds: Family::new_with_constructor(|| buckets(0.05, 2.0, 15)),
            assistant_tokens: Family::default(),
            decisions: Family::default(),
            access_requests: Family::default(),
            limited: Family::default(),
            sign_ins: Family::default(),
            membership_rechecks: Family::default(),
            telegram_seconds: Family::new_with_constructor(|| buckets(0.005, 2.0, 14)),
            throttled: Family::default(),
            throttled_seconds: Counter::default(),
            store_seconds: Family::new_with_constructor(|| buckets(0.0001, 2.5, 12)),
            store_errors: Family::default(),
            data_api_available: Family::default(),
            data_api_certificate_left_seconds: Family::default(),
        };
        metrics.initialize_counters();
        metrics.register_all()
    }

    /// Creates the counters that alerts use: `increase()` does not see a counter's first value, so a counter that is created with its first
    /// failure would hide that failure.
    fn initialize_counters(&self) {
        for outcome in UpdateOutcome::ALL {
            self.count_updates(outcome, 0);
        }
        for refusal in WebhookRefusal::ALL {
            drop(
                self.webhook_refusals
                    .get_or_create(&[("reason", refusal.label())]),
            );
        }
        drop(self.throttled.get_or_create(&[("method", "sendMessage")]));
        for outcome in ACCESS_REQUEST_OUTCOMES {
            drop(self.access_requests.get_or_create(&[("outcome", outcome)]));
        }
        for outcome in SignInOutcome::ALL {
            let labels = [("outcome", outcome.label())];
            drop(self.sign_ins.get_or_create(&labels));
        }
        for outcome in RecheckOutcome::ALL {
            let labels = [("outcome", outcome.label())];
            drop(self.membership_rechecks.get_or_create(&labels));
        }
        for (kind, result) in DECISION_RESULTS {
            drop(
                self.decisions
                    .get_or_create(&[("kind", kind), ("result", result)]),
            );
        }
        for limit in DAY_LIMITS {
            self.count_limited(limit, 0);
        }
    }

    /// Records a finished reconcile. `kind` is `connector` or `user_list`; `result` is `ok` or the error's label.
    pub fn record_reconcile(&self, kind: &'static str, result: &'static str, took: Duration) {
        self.reconciles
            .get_or_create(&[("kind", kind), ("result", result)])
            .inc();
        self.reconcile_seconds
            .get_or_create(&[("kind", kind)])
            .observe(took.as_secs_f64());
    }

    /// Counts a finished call to the Kubernetes API; see [`super::kubernetes_calls`] for the labels.
    pub fn count_kubernetes_call(
        &self,
        verb: &'static str,
        resource: &'static str,
        result: &'static str,
    ) {
        self.kubernetes_calls
            .get_or_create(&[("verb", verb), ("resource", resource), ("result", result)])
            .inc();
    }

    /// Sets how many connectors have this reason on their `Ready` condition. `reason` is one of a fixed set.
    pub fn set_connectors_with_reason(&self, reason: &'static str, count: usize) {
        self.connectors
            .get_or_create(&[("reason", reason)])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets how many watches of a resource fail, and for how long the first of them has (zero if none does).
    pub fn set_cluster_view(&self, resource: &'static str, failing: usize, age: Duration) {
        let labels = [("resource", resource)];
        self.watches_failing
            .get_or_create(&labels)
            .set(i64::try_from(failing).unwrap_or(i64::MAX));
        self.cluster_view_age_seconds
            .get_or_create(&labels)
            .set(age.as_secs_f64());
    }

    /// Sets whether this process holds the Lease. Counts a change.
    pub fn set_leading(&self, leading: bool) {
        if (self.leader.set(i64::from(leading)) != 0) != leading {
            self.leadership_changes.inc();
        }
    }

    /// Counts `count` updates with this outcome.
    pub fn count_updates(&self, outcome: UpdateOutcome, count: usize) {
        self.updates
            .get_or_create(&[("outcome", outcome.label())])
            .inc_by(count as u64);
    }

    /// Counts a request that the webhook server refused.
    pub fn count_webhook_refusal(&self, refusal: WebhookRefusal) {
        self.webhook_refusals
            .get_or_create(&[("reason", refusal.label())])
            .inc();
    }

    /// Counts a finished `getUpdates`. `result` is `ok` or the label of a [`crate::telegram::TelegramError`].
    pub fn count_poll(&self, result: &'static str) {
        self.polls.get_or_create(&[("result", result)]).inc();
    }

    /// Adds to the number of running pollers: `+1` or `-1`.
    pub fn add_pollers(&self, change: i64) {
        self.pollers.inc_by(change);
    }

    /// Sets how many shards of bots this process polls.
    pub(crate) fn set_shards(&self, shards: usize) {
        self.shards.set(i64::try_from(shards).unwrap_or(i64::MAX));
    }

    /// Counts shards that this process has taken.
    pub(crate) fn count_taken_shards(&self, count: usize) {
        self.shards_taken
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Sets how many messages wait in the inbox, and the age of the oldest (zero if none waits).
    pub fn set_queue(&self, depth: usize, oldest: Duration) {
        self.queue_depth
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.queue_oldest_seconds.set(oldest.as_secs_f64());
    }

    /// Sets how many dead letters are stored.
    pub fn set_dead_letters(&self, count: usize) {
        self.dead_letters
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Records an exchange with an assistant. `protocol` is as in the spec; `result` is as in the metric's help.
    pub fn record_assistant_exchange(
        &self,
        protocol: &'static str,
        result: &'static str,
        took: Duration,
    ) {
        self.assistant_seconds
            .get_or_create(&[("protocol", protocol), ("result", result)])
            .observe(took.as_secs_f64());
    }

    /// Counts the tokens of an exchange with an assistant, as the assistant says. `protocol` is as in the spec.
    pub fn count_assistant_tokens(&self, protocol: &'static str, input: u64, output: u64) {
        for (direction, tokens) in [("input", input), ("output", output)] {
            self.assistant_tokens
                .get_or_create(&[("protocol", protocol), ("direction", direction)])
                .inc_by(tokens);
        }
    }

    /// Counts a question with buttons that ended.
    pub fn count_decision(&self, kind: &'static str, result: &'static str) {
        self.decisions
            .get_or_create(&[("kind", kind), ("result", result)])
            .inc();
    }

    /// Counts a request for access that was made (`asked`), or what came of one.
    pub(crate) fn count_access_request(&self, outcome: &'static str) {
        self.access_requests
            .get_or_create(&[("outcome", outcome)])
            .inc();
    }

    /// Counts messages that a limit of the day refused. `limit` is its label.
    pub fn count_limited(&self, limit: &'static str, messages: usize) {
        self.limited
            .get_or_create(&[("limit", limit)])
            .inc_by(messages as u64);
    }

    /// Counts what becomes of a sign-in.
    pub(crate) fn count_sign_in(&self, outcome: SignInOutcome) {
        let labels = [("outcome", outcome.label())];
        self.sign_ins.get_or_create(&labels).inc();
    }

    /// Counts a recheck of a member.
    pub(crate) fn count_membership_recheck(&self, outcome: RecheckOutcome) {
        let labels = [("outcome", outcome.label())];
        self.membership_rechecks.get_or_create(&labels).inc();
    }

    /// Records a finished Bot API call other than `getUpdates`. `method` is its name; `result` is `ok` or an error's label.
    pub fn record_telegram_call(&self, method: &'static str, result: &'static str, took: Duration) {
        self.telegram_seconds
            .get_or_create(&[("method", method), ("result", result)])
            .observe(took.as_secs_f64());
    }

    /// Records a 429 of Telegram and the wait that it asked for.
    pub fn record_throttling(&self, method: &'static str, wait: Duration) {
        self.throttled.get_or_create(&[("method", method)]).inc();
        self.throttled_seconds.inc_by(wait.as_secs_f64());
    }

    /// Records a successful store operation. `operation` is one of a fixed set.
    pub fn record_store_operation(&self, operation: &'static str, took: Duration) {
        self.store_seconds
            .get_or_create(&[("operation", operation)])
            .observe(took.as_secs_f64());
    }

    /// Creates the failure counter of a store operation at zero.
    pub(crate) fn declare_store_operation(&self, operation: &'static str) {
        drop(self.store_errors.get_or_create(&[("operation", operation)]));
    }

    /// Counts a failed store operation.
    pub fn count_store_failure(&self, operation: &'static str) {
        self.store_errors
            .get_or_create(&[("operation", operation)])
            .inc();
    }

    /// Sets whether the API servers reach the data API; `None` where this process does not look.
    pub fn set_data_api_available(&self, available: Option<bool>) {
        match available {
            Some(available) => {
                self.data_api_available
                    .get_or_create(&[])
                    .set(i64::from(available));
            }
            None => self.data_api_available.clear(),
        }
    }

    /// Sets for how long the data API's certificate is still good.
    pub fn set_data_api_certificate_left(&self, left: Duration) {
        self.data_api_certificate_left_seconds
            .get_or_create(&[])
            .set(left.as_secs_f64());
    }

    /// All metrics in the `OpenMetrics` text format: the body of `/metrics`.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

fn buckets(start: f64, factor: f64, length: u16) -> Histogram {
    Histogram::new(exponential_buckets(start, factor, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_prefix() {
        let m = Metrics::new();
        m.count_updates(UpdateOutcome::Received, 3);
        m.count_updates(UpdateOutcome::Denied, 1);
        m.count_kubernetes_call("patch", "telegramconnectors/status", "ok");
        m.set_queue(7, Duration::from_millis(1500));
        m.record_assistant_exchange("OpenAI", "ok", Duration::from_millis(200));
        let text = m.encode();
        assert!(
            text.contains("telegram_connector_operator_updates_total{outcome=\"received\"} 3"),
            "{text}"
        );
        assert!(text.contains("telegram_connector_operator_queue_depth 7"));
        assert!(text.contains("telegram_connector_operator_queue_oldest_seconds 1.5"));
        assert!(text.contains(
            "telegram_connector_operator_assistant_seconds_count{protocol=\"OpenAI\",result=\"ok\"} 1"
        ));
        assert!(text.contains(
            "kubernetes_calls_total{verb=\"patch\",resource=\"telegramconnectors/status\",result=\"ok\"} 1"
        ));
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            assert!(line.starts_with(PREFIX), "{line}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn labels_are_those_of_the_stores_enums() {
        use crate::store::ReachedLimit::{
            ConnectorMessages, ConnectorTokens, UserMessages, UserTokens,
        };
        use crate::store::{DecidedHow, DecisionKind, TakenDecision};
        let limits = [UserMessages, UserTokens, ConnectorMessages, ConnectorTokens];
        assert_eq!(limits.map(crate::store::ReachedLimit::label), DAY_LIMITS);
        let taken = |how, option| TakenDecision {
            how,
            option,
            by: None,
            tapped_message: None,
        };
        let endings = [
            taken(DecidedHow::Tap, Some(0)),
            taken(DecidedHow::Tap, Some(1)),
            taken(DecidedHow::Typed, None),
            taken(DecidedHow::Expired, None),
            taken(DecidedHow::Superseded, None),
        ];
        let mut results = std::collections::BTreeSet::new();
        for kind in [DecisionKind::Choice, DecisionKind::Approval] {
            results.extend(endings.iter().map(|end| (kind.label(), end.result(kind))));
        }
        // A choice whose time is over counts as superseded.
        results.remove(&("choice", "expired"));
        assert_eq!(results, DECISION_RESULTS.into());
    }

    #[test]
    fn leadership_changes_count_flips_only() {
        let m = Metrics::new();
        m.set_leading(false);
        m.set_leading(true);
        m.set_leading(true);
        m.set_leading(false);
        assert!(
            m.encode()
                .contains("telegram_connector_operator_leadership_changes_total 2")
        );
    }
}
