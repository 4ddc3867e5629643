//! What a reconcile is decided from, for the tables: a scenario that is changed in one point after the other, and a plan in one line.

use std::collections::HashSet;

use kube::core::DeserializeGuard;
use serde_json::json;

use super::super::*;
use crate::api::TelegramConnectorStatus;
use crate::api::conditions::Reason;
use crate::api::connector::{AccessLevel, BotStatus, WebhookStatus};
use crate::controller::access::{AccessProblem, AccessState};
use crate::controller::status::{AssistantState, SecretProblem};
use crate::identity::BotId;
use crate::observation::AssistantFact;
use crate::registry::{AccessPolicy, Extraction, Speech, Transcription};
use crate::telegram::{BotToken, TelegramApi};

/// One reconcile: a leader in polling mode, whose bot Telegram has accepted and whose first poll has completed, unless changed.
pub(super) struct Scenario {
    pub(super) object: serde_json::Value,
    pub(super) dereferenced: Dereferenced,
    pub(super) facts: Facts,
    pub(super) role: Role,
}

pub(super) fn bot(id: i64) -> Bot {
    bot_of(&format!("{id}:AAFakeTokenFakeTokenFakeTokenFakeTok"))
}

/// The same bot with its token revoked and given anew.
pub(super) fn bot_with_new_token(id: i64) -> Bot {
    bot_of(&format!("{id}:BBFakeTokenFakeTokenFakeTokenFakeTok"))
}

fn bot_of(token: &str) -> Bot {
    let url = "http://127.0.0.1:1".parse().expect("a URL");
    let api = Arc::new(TelegramApi::new(url).expect("a Bot API root"));
    Bot::new(api, BotToken::parse(token).expect("a token"))
}

pub(super) fn given(id: i64) -> TokenState {
    TokenState::Given {
        bot: BotId(id),
        secret: "support-bot".into(),
        duplicate_of: None,
    }
}

pub(super) fn scenario() -> Scenario {
    Scenario {
        object: json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1",
            "kind": "TelegramConnector",
            "metadata": {"namespace": "acme", "name": "support", "uid": "u-1", "generation": 3},
            "spec": {
                "botTokenSecretRef": {"name": "support-bot"},
                "assistant": {"protocol": "OpenAI", "url": "http://agent/v1", "model": "m"},
                "access": {"level": "Open"},
            },
        }),
        dereferenced: Dereferenced::Resolved(Box::new(resolved())),
        facts: Facts {
            previous: None,
            status_altered: false,
            observed: observation::ObservedFacts {
                identity: Some(IdentityFact::Accepted(BotProfile {
                    id: BotId(84),
                    username: "acme_bot".into(),
                    name: "Acme".into(),
                    reads_all_group_messages: None,
                })),
                connection: Some(ConnectionFact::PollCompleted(BotId(84))),
                assistant: AssistantFact::Unknown,
                changes_in: None,
                moved_groups: Vec::new(),
                day_limits: None,
                usage: None,
            },
            connects: true,
            owner: Some(BotOwner::ThisConnector),
            remembered: RememberedBot {
                bot: Some(bot(84)),
                has_token: true,
            },
            finalizer_present: false,
            webhook_deletion: WebhookDeletion::NotStarted,
            connection_changed: false,
            incomplete_for: Duration::ZERO,
            mode: ConnectionMode::Polling,
            webhook_url: None,
            now: jiff::Timestamp::from_second(1_000).expect("a time"),
        },
        role: Role::Leader,
    }
}

/// A token, an assistant and an open bot.
fn resolved() -> Resolved {
    Resolved {
        approvals: None,
        sign_in: None,
        requests: None,
        token: given(84),
        bot: Some(bot(84)),
        assistant: AssistantState::Built { changed: false },
        built_assistant: None,
        transcription: Transcription::None,
        extraction: Extraction::None,
        speech: Speech::default(),
        access: AccessState::default(),
        policy: AccessPolicy {
            level: AccessLevel::Open,
            ids: Arc::new(HashSet::new()),
            usernames: Arc::new(HashSet::new()),
            ends: Arc::default(),
            takes_grants: false,
        },
    }
}

impl Scenario {
    /// An entry of the deciding list ends so many seconds after 1970; now it is 1,000.
    pub(super) fn next_end(self, seconds: i64) -> Self {
        let end = jiff::Timestamp::from_second(seconds).expect("a time");
        self.resolved(|resolved| resolved.access.next_end = Some(end))
    }

    pub(super) fn follower(mut self) -> Self {
        self.role = Role::Follower;
        self.facts.connects = false;
        self.facts.owner = None;
        self
    }
    /// Another process leads, and this one holds the bot's shard.
    pub(super) fn polling_follower(mut self) -> Self {
        self.role = Role::Follower;
        self
    }
    /// Another process holds the bot's shard and has shared what it saw.
    pub(super) fn polled_elsewhere(mut self) -> Self {
        self.facts.connects = false;
        self
    }
    pub(super) fn suspended(mut self) -> Self {
        self.object["spec"]["suspend"] = json!(true);
        self.facts.owner = None;
        self
    }
    pub(super) fn unreadable(mut self) -> Self {
        self.object["spec"] = json!({"botTokenSecretRef": 7});
        self.dereferenced = Dereferenced::Unreadable;
        self
    }
    pub(super) fn deleted(mut self) -> Self {
        self.object["metadata"]["deletionTimestamp"] = json!("2026-11-27T20:00:00Z");
        self.dereferenced = Dereferenced::Deleted { bot: None };
        self.facts.finalizer_present = true;
        self
    }
    pub(super) fn skipping_disconnect(mut self) -> Self {
        self.object["metadata"]["annotations"] =
            json!({crate::api::SKIP_DISCONNECT_ANNOTATION: "true"});
        self
    }
    pub(super) fn deleting_webhook(mut self, progress: WebhookDeletion) -> Self {
        self.facts.webhook_deletion = progress;
        self
    }
    pub(super) fn deref_bot(mut self, id: i64) -> Self {
        self.dereferenced = Dereferenced::Deleted { bot: Some(bot(id)) };
        self
    }
    pub(super) fn remembering(mut self, bot: Option<Bot>, has_token: bool) -> Self {
        self.facts.remembered = RememberedBot { bot, has_token };
        self
    }
    pub(super) fn with_finalizer(mut self, present: bool) -> Self {
        self.facts.finalizer_present = present;
        self
    }
    pub(super) fn webhook(mut self) -> Self {
        self.facts.mode = ConnectionMode::Webhook;
        self.facts.webhook_url = Some("https://bots.example/telegram/u-1".into());
        self.facts.finalizer_present = true;
        self.facts.observed.connection = Some(ConnectionFact::WebhookVerified(BotId(84)));
        self
    }
    pub(super) fn identity(mut self, fact: Option<IdentityFact>) -> Self {
        self.facts.observed.identity = fact;
        self
    }
    pub(super) fn connection(mut self, fact: Option<ConnectionFact>) -> Self {
        self.facts.observed.connection = fact;
        self
    }
    pub(super) fn assistant(mut self, fact: AssistantFact) -> Self {
        self.facts.observed.assistant = fact;
        self
    }
    /// With these `spec.limits`.
    pub(super) fn limits(mut self, limits: serde_json::Value) -> Self {
        self.object["spec"]["limits"] = limits;
        self
    }
    pub(super) fn refused(self) -> Self {
        let detail = "Unauthorized".into();
        let mut refused = self.identity(Some(IdentityFact::Refused { detail }));
        refused.facts.owner = None;
        refused
    }
    pub(super) fn owner(mut self, owner: BotOwner) -> Self {
        self.facts.owner = Some(owner);
        self
    }
    pub(super) fn older_connector(self, namespace: &str) -> Self {
        self.owner(BotOwner::OlderConnector(ConnectorRef {
            namespace: namespace.into(),
            name: "older".into(),
            uid: "u-0".into(),
        }))
    }
    pub(super) fn incomplete_for(mut self, waited: Duration) -> Self {
        self.facts.incomplete_for = waited;
        self
    }
    /// The status has this bot, and the condition `TokenValid` this status.
    pub(super) fn reported(mut self, id: i64, token_valid: &str) -> Self {
        let condition = json!({
            "type": "TokenValid", "status": token_valid, "reason": "TokenAccepted", "message": "",
            "lastTransitionTime": "2026-11-27T20:00:00Z",
        });
        self.facts.previous = Some(TelegramConnectorStatus {
            bot: Some(BotStatus {
                id,
                username: "reported_bot".into(),
                name: "Acme".into(),
            }),
            webhook: self
                .facts
                .webhook_url
                .clone()
                .map(|url| WebhookStatus { url }),
            conditions: vec![serde_json::from_value(condition).expect("a condition")],
            ..TelegramConnectorStatus::default()
        });
        self
    }
    pub(super) fn resolved(mut self, change: impl FnOnce(&mut Resolved)) -> Self {
        if let Dereferenced::Resolved(resolved) = &mut self.dereferenced {
            change(resolved);
        }
        self
    }
    pub(super) fn no_bot(self, token: TokenState) -> Self {
        let mut scenario = self.resolved(|r| {
            r.token = token;
            r.bot = None;
        });
        scenario.facts.owner = None;
        scenario
    }
    pub(super) fn rotated(self, new: Bot) -> Self {
        let mut scenario = self.identity(None).connection(None).resolved(|r| {
            r.token = given(new.id().0);
            r.bot = Some(new);
        });
        scenario.facts.incomplete_for = INCOMPLETE_STATUS_DELAY;
        scenario
    }
    pub(super) fn plan(&self) -> Plan {
        let object: GuardedConnector =
            serde_json::from_value::<DeserializeGuard<TelegramConnector>>(self.object.clone())
                .expect("metadata can always be read");
        decide(&object, &self.dereferenced, &self.facts, self.role)
    }
}

/// What a plan does, in words: connection, registry, then what else it changes, then what the status says.
pub(super) fn summary(plan: &Plan) -> String {
    let mut words = vec![match &plan.connection {
        ConnectionPlan::Keep => "keep".to_owned(),
        ConnectionPlan::Elsewhere => "elsewhere".to_owned(),
        ConnectionPlan::Disconnect => "disconnect".to_owned(),
        ConnectionPlan::Ensure { goal, .. } => format!("{goal:?}").to_lowercase(),
    }];
    words.push(match &plan.registry {
        RegistryPlan::Publish(resolved) => format!("publish({})", resolved.bot_username),
        RegistryPlan::Withdraw => "withdraw".to_owned(),
    });
    match plan.finalizer {
        FinalizerChange::Keep => {}
        FinalizerChange::Add => words.push("+finalizer".to_owned()),
        FinalizerChange::Remove => words.push("-finalizer".to_owned()),
    }
    if let Some(webhook) = &plan.webhook_to_delete {
        let waits = if webhook.deletion_waits {
            " and wait"
        } else {
            ""
        };
        words.push(format!("delete webhook of {}{waits}", webhook.bot.id()));
    }
    if plan.delete_data {
        words.push("delete data".to_owned());
    }
    if plan.connection_changed {
        words.push("void".to_owned());
    }
    match &plan.status {
        StatusPlan::Skip => {}
        StatusPlan::Wait => words.push("wait".to_owned()),
        StatusPlan::Report(report) => {
            words.push(
                report
                    .ready_reason
                    .map_or("none", Reason::as_str)
                    .to_owned(),
            );
        }
    }
    words.join(", ")
}

pub(super) fn missing_key() -> SecretProblem {
    SecretProblem::KeyMissing {
        secret: "s".into(),
        key: "k".into(),
        present: Vec::new(),
    }
}

pub(super) fn missing_secret() -> SecretProblem {
    SecretProblem::NotFound {
        secret: "s".into(),
        key: "k".into(),
    }
}

pub(super) fn forbidden_secret() -> SecretProblem {
    SecretProblem::NotAllowed { secret: "s".into() }
}

pub(super) fn header_problem(problem: SecretProblem) -> Scenario {
    scenario().resolved(|resolved| {
        resolved.assistant = AssistantState::HeaderUnavailable {
            name: "X-Key".into(),
            position: 1,
            problem,
        };
    })
}

pub(super) fn malformed() -> TokenState {
    TokenState::Malformed {
        secret: "s".into(),
        key: "k".into(),
    }
}

pub(super) fn list_problem(problem: AccessProblem) -> Scenario {
    scenario().resolved(|r| r.access.problems = vec![problem])
}

pub(super) fn unreachable_identity() -> IdentityFact {
    IdentityFact::Unreachable {
        detail: "no route".into(),
    }
}
