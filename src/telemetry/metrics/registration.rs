//! Under which name and with which help each metric is exported.

use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, PREFIX};

impl Metrics {
    /// Exports all metrics.
    pub(super) fn register_all(mut self) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        self.register_controller(&mut registry);
        self.register_connections(&mut registry);
        self.register_questions(&mut registry);
        self.register_people(&mut registry);
        self.register_services(&mut registry);
        self.registry = registry;
        self
    }

    /// The Kubernetes side: reconciles, calls, watches and who leads.
    fn register_controller(&self, r: &mut Registry) {
        r.register(
            "reconciles",
            "Reconciles, by kind and result (ok, or the error's class)",
            self.reconciles.clone(),
        );
        r.register_with_unit(
            "reconcile",
            "How long a reconcile took",
            Unit::Seconds,
            self.reconcile_seconds.clone(),
        );
        r.register(
            "kubernetes_calls",
            "Calls to the Kubernetes API, by verb, resource and result",
            self.kubernetes_calls.clone(),
        );
        r.register(
            "connectors",
            "TelegramConnectors by the reason of their Ready condition",
            self.connectors.clone(),
        );
        r.register(
            "watches_failing",
            "Watches that do not show the cluster now, by resource; /readyz names their namespaces",
            self.watches_failing.clone(),
        );
        r.register_with_unit(
            "cluster_view_age",
            "For how long the view of the cluster has not been current, by resource; 0 while every watch is",
            Unit::Seconds,
            self.cluster_view_age_seconds.clone(),
        );
        r.register(
            "leader",
            "1 while this process holds the Lease",
            self.leader.clone(),
        );
        r.register(
            "leadership_changes",
            "How often this process won or lost the Lease",
            self.leadership_changes.clone(),
        );
    }

    /// What comes from Telegram: updates, polls and shards.
    fn register_connections(&self, r: &mut Registry) {
        r.register(
            "updates",
            "Telegram updates by what became of them",
            self.updates.clone(),
        );
        r.register(
            "webhook_refusals",
            "Webhook requests turned away, by reason",
            self.webhook_refusals.clone(),
        );
        r.register("polls", "getUpdates calls, by result", self.polls.clone());
        r.register("pollers", "Pollers running now", self.pollers.clone());
        r.register(
            "shards",
            "Shards of bots that this process polls, of 256 in all; 0 where the polling is not shared (SQLite, webhooks)",
            self.shards.clone(),
        );
        r.register(
            "shards_taken",
            "Shards that this process has taken: when it joined, from a replica that was lost or stopped, or to even out",
            self.shards_taken.clone(),
        );
    }

    /// What is done with messages: the inbox, the assistants, and what people decide.
    fn register_questions(&self, r: &mut Registry) {
        r.register(
            "queue_depth",
            "Updates in the inbox that are not done",
            self.queue_depth.clone(),
        );
        r.register_with_unit(
            "queue_oldest",
            "Age of the oldest update in the inbox that is not done",
            Unit::Seconds,
            self.queue_oldest_seconds.clone(),
        );
        r.register(
            "dead_letters",
            "Updates given up for good that are still kept",
            self.dead_letters.clone(),
        );
        r.register_with_unit(
            "assistant",
            "How long assistants took to an answer, by protocol and result: ok, an answer that is not whole (truncated_length, truncated_filter, cut, broken, empty, stopped), or what failed (unreachable, timed_out, key_refused, forbidden, overloaded, quota_exhausted, context_full, filtered, pictures_refused, files_refused, server_fault, task_failed, too_large, misconfigured)",
            Unit::Seconds,
            self.assistant_seconds.clone(),
        );
        r.register(
            "assistant_tokens",
            "Tokens that assistants counted for their answers, whole or not, by protocol and direction (input: question, history and prompt; output: answer and reasoning)",
            self.assistant_tokens.clone(),
        );
        r.register(
            "access_requests",
            "Requests for access that were made (asked), and what came of them (allowed, refused, muted, expired)",
            self.access_requests.clone(),
        );
        r.register(
            "decisions",
            "Questions with buttons that ended, by kind (choice, approval) and result (chosen, approved, refused, expired, superseded: the conversation went on without it)",
            self.decisions.clone(),
        );
    }

    /// Who is limited, and who signs in.
    fn register_people(&self, r: &mut Registry) {
        r.register(
            "limited_messages",
            "Messages that were not asked of the assistant because a limit of the day is reached, by limit (user_messages, user_tokens, connector_messages, connector_tokens)",
            self.limited.clone(),
        );
        r.register(
            "sign_ins",
            "Sign-ins with the organization's account, by outcome (begun, signed_in, refused, expired, claims_missing, provider_failed, cancelled)",
            self.sign_ins.clone(),
        );
        r.register(
            "membership_rechecks",
            "Rechecks of people who signed in, by outcome (member, retried, not_due: they go on; revoked, claims_missing, sign_in_again, unreachable, other_provider: their access ends)",
            self.membership_rechecks.clone(),
        );
    }

    /// What the operator stands on: the Bot API, the store and the data API.
    fn register_services(&self, r: &mut Registry) {
        r.register_with_unit(
            "telegram",
            "How long Bot API calls took, by method and result (without getUpdates)",
            Unit::Seconds,
            self.telegram_seconds.clone(),
        );
        r.register(
            "throttled",
            "How often Telegram asked to wait (429), by method",
            self.throttled.clone(),
        );
        r.register_with_unit(
            "throttled_wait",
            "How long Telegram asked to wait, in all",
            Unit::Seconds,
            self.throttled_seconds.clone(),
        );
        r.register_with_unit(
            "store",
            "How long store operations took",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        r.register(
            "store_errors",
            "Store operations that failed",
            self.store_errors.clone(),
        );
        r.register(
            "data_api_available",
            "1 while the API servers reach the data API, as the condition Available of its APIService says; the leader's, where the operator makes the certificates itself",
            self.data_api_available.clone(),
        );
        r.register_with_unit(
            "data_api_certificate_left",
            "For how long the data API's certificate is still good, where the operator makes it itself",
            Unit::Seconds,
            self.data_api_certificate_left_seconds.clone(),
        );
    }
}
