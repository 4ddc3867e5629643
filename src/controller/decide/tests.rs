//! The rules of a reconcile as a table: a scenario, and the plan that it leads to.

use std::collections::HashSet;

use kube::core::DeserializeGuard;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::TelegramConnectorStatus;
use crate::api::conditions::{ConditionType, Reason};
use crate::api::connector::{AccessLevel, BotStatus, WebhookStatus};
use crate::controller::access::{AccessProblem, AccessState};
use crate::controller::status::{AssistantState, SecretProblem, find_condition};
use crate::identity::BotId;
use crate::observation::AssistantFact;
use crate::registry::{AccessPolicy, Transcription};
use crate::telegram::{BotToken, TelegramApi};

/// One reconcile: a leader in polling mode, whose bot Telegram has accepted and whose first poll has completed, unless changed.
struct Scenario {
    object: serde_json::Value,
    dereferenced: Dereferenced,
    facts: Facts,
    role: Role,
}

fn bot(id: i64) -> Bot {
    let url = "http://127.0.0.1:1".parse().expect("a URL");
    let api = Arc::new(TelegramApi::new(url).expect("a Bot API root"));
    let token = format!("{id}:AAFakeTokenFakeTokenFakeTokenFakeTok");
    Bot::new(api, BotToken::parse(&token).expect("a token"))
}

/// The same bot with its token revoked and given anew.
fn bot_with_new_token(id: i64) -> Bot {
    let url = "http://127.0.0.1:1".parse().expect("a URL");
    let api = Arc::new(TelegramApi::new(url).expect("a Bot API root"));
    let token = format!("{id}:BBFakeTokenFakeTokenFakeTokenFakeTok");
    Bot::new(api, BotToken::parse(&token).expect("a token"))
}

fn given(id: i64) -> TokenState {
    TokenState::Given {
        bot: BotId(id),
        secret: "support-bot".into(),
        duplicate_of: None,
    }
}

fn scenario() -> Scenario {
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
        dereferenced: Dereferenced::Resolved(Box::new(Resolved {
            token: given(84),
            bot: Some(bot(84)),
            assistant: AssistantState::Built { changed: false },
            built_assistant: None,
            transcription: Transcription::None,
            access: AccessState::default(),
            policy: AccessPolicy {
                level: AccessLevel::Open,
                ids: Arc::new(HashSet::new()),
                usernames: Arc::new(HashSet::new()),
            },
        })),
        facts: Facts {
            previous: None,
            status_altered: false,
            observed: observation::ObservedFacts {
                identity: Some(IdentityFact::Accepted(BotProfile {
                    id: BotId(84),
                    username: "acme_bot".into(),
                    name: "Acme".into(),
                })),
                connection: Some(ConnectionFact::PollCompleted(BotId(84))),
                assistant: AssistantFact::Unknown,
                changes_in: None,
                moved_groups: Vec::new(),
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

impl Scenario {
    fn follower(mut self) -> Self {
        self.role = Role::Follower;
        self.facts.connects = false;
        self.facts.owner = None;
        self
    }
    /// Another process leads, and this one holds the bot's shard.
    fn polling_follower(mut self) -> Self {
        self.role = Role::Follower;
        self
    }
    /// Another process holds the bot's shard and has shared what it saw.
    fn polled_elsewhere(mut self) -> Self {
        self.facts.connects = false;
        self
    }
    fn suspended(mut self) -> Self {
        self.object["spec"]["suspend"] = json!(true);
        self.facts.owner = None;
        self
    }
    fn unreadable(mut self) -> Self {
        self.object["spec"] = json!({"botTokenSecretRef": 7});
        self.dereferenced = Dereferenced::Unreadable;
        self
    }
    fn deleted(mut self) -> Self {
        self.object["metadata"]["deletionTimestamp"] = json!("2026-11-27T20:00:00Z");
        self.dereferenced = Dereferenced::Deleted { bot: None };
        self.facts.finalizer_present = true;
        self
    }
    fn skipping_disconnect(mut self) -> Self {
        self.object["metadata"]["annotations"] =
            json!({crate::api::SKIP_DISCONNECT_ANNOTATION: "true"});
        self
    }
    fn deleting_webhook(mut self, progress: WebhookDeletion) -> Self {
        self.facts.webhook_deletion = progress;
        self
    }
    fn deref_bot(mut self, id: i64) -> Self {
        self.dereferenced = Dereferenced::Deleted { bot: Some(bot(id)) };
        self
    }
    fn remembering(mut self, bot: Option<Bot>, has_token: bool) -> Self {
        self.facts.remembered = RememberedBot { bot, has_token };
        self
    }
    fn with_finalizer(mut self, present: bool) -> Self {
        self.facts.finalizer_present = present;
        self
    }
    fn webhook(mut self) -> Self {
        self.facts.mode = ConnectionMode::Webhook;
        self.facts.webhook_url = Some("https://bots.example/telegram/u-1".into());
        self.facts.finalizer_present = true;
        self.facts.observed.connection = Some(ConnectionFact::WebhookVerified(BotId(84)));
        self
    }
    fn identity(mut self, fact: Option<IdentityFact>) -> Self {
        self.facts.observed.identity = fact;
        self
    }
    fn connection(mut self, fact: Option<ConnectionFact>) -> Self {
        self.facts.observed.connection = fact;
        self
    }
    fn refused(self) -> Self {
        let detail = "Unauthorized".into();
        let mut refused = self.identity(Some(IdentityFact::Refused { detail }));
        refused.facts.owner = None;
        refused
    }
    fn owner(mut self, owner: BotOwner) -> Self {
        self.facts.owner = Some(owner);
        self
    }
    fn older_connector(self, namespace: &str) -> Self {
        self.owner(BotOwner::OlderConnector(ConnectorRef {
            namespace: namespace.into(),
            name: "older".into(),
            uid: "u-0".into(),
        }))
    }
    fn incomplete_for(mut self, waited: Duration) -> Self {
        self.facts.incomplete_for = waited;
        self
    }
    /// The status has this bot, and the condition `TokenValid` this status.
    fn reported(mut self, id: i64, token_valid: &str) -> Self {
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
    fn resolved(mut self, change: impl FnOnce(&mut Resolved)) -> Self {
        if let Dereferenced::Resolved(resolved) = &mut self.dereferenced {
            change(resolved);
        }
        self
    }
    fn no_bot(self, token: TokenState) -> Self {
        let mut scenario = self.resolved(|r| {
            r.token = token;
            r.bot = None;
        });
        scenario.facts.owner = None;
        scenario
    }
    fn rotated(self, new: Bot) -> Self {
        let mut scenario = self.identity(None).connection(None).resolved(|r| {
            r.token = given(new.id().0);
            r.bot = Some(new);
        });
        scenario.facts.incomplete_for = INCOMPLETE_STATUS_DELAY;
        scenario
    }
    fn plan(&self) -> Plan {
        let object: GuardedConnector =
            serde_json::from_value::<DeserializeGuard<TelegramConnector>>(self.object.clone())
                .expect("metadata can always be read");
        decide(&object, &self.dereferenced, &self.facts, self.role)
    }
}

/// What a plan does, in words: connection, registry, then what else it changes, then what the status says.
fn summary(plan: &Plan) -> String {
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

fn missing_key() -> SecretProblem {
    SecretProblem::KeyMissing {
        secret: "s".into(),
        key: "k".into(),
        present: Vec::new(),
    }
}

fn missing_secret() -> SecretProblem {
    SecretProblem::NotFound {
        secret: "s".into(),
        key: "k".into(),
    }
}

fn forbidden_secret() -> SecretProblem {
    SecretProblem::NotAllowed { secret: "s".into() }
}

fn header_problem(problem: SecretProblem) -> Scenario {
    scenario().resolved(|resolved| {
        resolved.assistant = AssistantState::HeaderUnavailable {
            name: "X-Key".into(),
            position: 1,
            problem,
        };
    })
}

fn malformed() -> TokenState {
    TokenState::Malformed {
        secret: "s".into(),
        key: "k".into(),
    }
}

fn list_problem(problem: AccessProblem) -> Scenario {
    scenario().resolved(|r| r.access.problems = vec![problem])
}

fn unreachable_identity() -> IdentityFact {
    IdentityFact::Unreachable {
        detail: "no route".into(),
    }
}

// A leader and its connection.
#[rstest]
#[case(scenario(), "connect, publish(acme_bot), MessagesFlow")]
#[case(scenario().webhook(), "connect, publish(acme_bot), MessagesFlow")]
#[case(scenario().connection(None), "connect, publish(acme_bot), wait")]
#[case(scenario().connection(None).incomplete_for(INCOMPLETE_STATUS_DELAY), "connect, publish(acme_bot), Connecting")]
#[case(scenario().identity(None).connection(None), "connect, withdraw, wait")]
#[case(scenario().identity(None).connection(None).reported(84, "True"), "connect, publish(reported_bot), wait")]
#[case(scenario().identity(None).connection(None).reported(85, "True"), "connect, withdraw, wait")]
#[case(scenario().identity(Some(unreachable_identity())).connection(None), "connect, withdraw, TelegramUnreachable")]
#[case(scenario().identity(Some(IdentityFact::RateLimited { retry_after: 3 })).connection(None), "connect, withdraw, TelegramUnreachable")]
#[case(scenario().connection(Some(ConnectionFact::PollingConflict)), "connect, publish(acme_bot), PollingConflict")]
#[case(scenario().connection(Some(ConnectionFact::RateLimited { retry_after: 3 })), "connect, publish(acme_bot), RateLimited")]
#[case(scenario().connection(Some(ConnectionFact::Unreachable { detail: "d".into() })), "connect, publish(acme_bot), TelegramUnreachable")]
#[case(scenario().webhook().connection(Some(ConnectionFact::WebhookRejected { detail: "d".into() })), "connect, publish(acme_bot), WebhookRejected")]
#[case(scenario().webhook().connection(Some(ConnectionFact::WebhookUnreachable { detail: "d".into() })), "connect, publish(acme_bot), WebhookUnreachable")]
#[case(scenario().webhook().connection(Some(ConnectionFact::WebhookContested { host: "h".into() })), "connect, publish(acme_bot), WebhookContested")]
#[case(scenario().refused(), "keep, withdraw, TokenUnauthorized")]
#[case(scenario().refused().reported(84, "True"), "keep, withdraw, TokenUnauthorized")]
fn leader_connects_and_reports(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// What is wrong with the inputs.
#[rstest]
#[case(scenario().no_bot(TokenState::Unavailable(missing_secret())), "disconnect, withdraw, void, SecretNotFound")]
#[case(scenario().no_bot(TokenState::Unavailable(missing_key())), "disconnect, withdraw, void, SecretKeyMissing")]
#[case(scenario().no_bot(TokenState::Unavailable(forbidden_secret())), "disconnect, withdraw, void, SecretNotAllowed")]
#[case(scenario().webhook().no_bot(TokenState::Unavailable(forbidden_secret())), "disconnect, withdraw, void, SecretNotAllowed")]
#[case(scenario().no_bot(TokenState::Unavailable(forbidden_secret())).follower(), "disconnect, withdraw, void")]
#[case(scenario().no_bot(malformed()), "disconnect, withdraw, void, TokenMalformed")]
#[case(scenario().no_bot(malformed()).remembering(None, false), "disconnect, withdraw, TokenMalformed")]
#[case(scenario().no_bot(malformed()).follower(), "disconnect, withdraw, void")]
#[case(scenario().older_connector("acme"), "identify, withdraw, DuplicateBot")]
#[case(scenario().older_connector("other"), "identify, withdraw, DuplicateBot")]
#[case(scenario().owner(BotOwner::Undecided), "identify, publish(acme_bot), MessagesFlow")]
#[case(scenario().owner(BotOwner::Undecided).identity(None).connection(None), "identify, withdraw, wait")]
#[case(list_problem(AccessProblem::ListNotFound("staff".into())), "connect, publish(acme_bot), UserListNotFound")]
#[case(list_problem(AccessProblem::ListInvalid("staff".into(), "why".into())), "connect, publish(acme_bot), UserListInvalid")]
#[case(scenario().resolved(|r| r.assistant = AssistantState::KeyUnavailable(missing_key())), "connect, publish(acme_bot), ApiKeyNotFound")]
#[case(scenario().resolved(|r| r.assistant = AssistantState::KeyUnavailable(forbidden_secret())), "connect, publish(acme_bot), SecretNotAllowed")]
#[case(
    header_problem(missing_secret()),
    "connect, publish(acme_bot), ApiKeyNotFound"
)]
#[case(
    header_problem(forbidden_secret()),
    "connect, publish(acme_bot), SecretNotAllowed"
)]
#[case(scenario().resolved(|r| r.assistant = AssistantState::Unusable("why".into())), "connect, publish(acme_bot), AssistantFailing")]
#[case(scenario().unreadable(), "disconnect, withdraw")]
#[case(scenario().unreadable().follower(), "disconnect, withdraw")]
fn wrong_inputs_are_reported(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// Followers publish what the leader's status vouches for, and write nothing.
#[rstest]
#[case(scenario().follower(), "elsewhere, withdraw")]
#[case(scenario().follower().reported(84, "True"), "elsewhere, publish(reported_bot)")]
#[case(scenario().follower().reported(84, "Unknown"), "elsewhere, withdraw")]
#[case(scenario().follower().reported(84, "False"), "elsewhere, withdraw")]
#[case(scenario().follower().reported(85, "True"), "elsewhere, withdraw")]
#[case(scenario().follower().suspended(), "disconnect, withdraw")]
#[case(scenario().webhook().follower().with_finalizer(false), "elsewhere, withdraw")]
#[case(scenario().webhook().reported(84, "True").follower().suspended(), "disconnect, withdraw")]
#[case(scenario().rotated(bot(85)).follower().reported(84, "True"), "elsewhere, withdraw")]
fn follower_takes_the_leaders_word(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// Where shards are shared, the one that holds a bot's connects it, and the leader writes what it is told.
#[rstest]
#[case(scenario().polling_follower(), "connect, publish(acme_bot), share")]
#[case(scenario().polling_follower().connection(None), "connect, publish(acme_bot)")]
#[case(scenario().polling_follower().identity(None).connection(None), "connect, withdraw")]
#[case(scenario().polling_follower().refused(), "keep, withdraw, share")]
#[case(scenario().polling_follower().refused().reported(84, "True"), "keep, withdraw, share")]
#[case(scenario().polling_follower().older_connector("acme"), "identify, withdraw, share")]
#[case(scenario().polling_follower().suspended(), "disconnect, withdraw, share end")]
#[case(scenario().polling_follower().deleted(), "disconnect, withdraw, share end")]
#[case(scenario().polled_elsewhere(), "elsewhere, publish(acme_bot), MessagesFlow")]
#[case(scenario().polled_elsewhere().refused(), "elsewhere, withdraw, TokenUnauthorized")]
#[case(scenario().polled_elsewhere().older_connector("acme"), "elsewhere, withdraw, DuplicateBot")]
#[case(scenario().polled_elsewhere().identity(None).connection(None).reported(84, "True"), "elsewhere, publish(reported_bot), wait")]
#[case(scenario().polled_elsewhere().connection(Some(ConnectionFact::PollingConflict)), "elsewhere, publish(acme_bot), PollingConflict")]
#[case(scenario().polled_elsewhere().with_finalizer(true), "elsewhere, publish(acme_bot), -finalizer, MessagesFlow")]
fn holder_of_the_shard_connects_and_the_leader_reports(
    #[case] scenario: Scenario,
    #[case] expected: &str,
) {
    let plan = scenario.plan();
    let shared = match &plan.shared {
        SharePlan::Nothing => "",
        SharePlan::Disconnected => ", share end",
        SharePlan::Facts(..) => ", share",
    };
    assert_eq!(format!("{}{shared}", summary(&plan)), expected);
}

// Suspension, the finalizer and the webhook.
#[rstest]
#[case(scenario().suspended(), "disconnect, withdraw, Suspended")]
#[case(scenario().webhook().suspended(), "disconnect, withdraw, Suspended")]
#[case(scenario().webhook().reported(84, "True").suspended(), "disconnect, withdraw, delete webhook of 84, Suspended")]
#[case(scenario().webhook().with_finalizer(false), "connect, publish(acme_bot), +finalizer, MessagesFlow")]
#[case(scenario().webhook().with_finalizer(false).suspended(), "disconnect, withdraw, Suspended")]
#[case(scenario().with_finalizer(true), "connect, publish(acme_bot), -finalizer, MessagesFlow")]
#[case(scenario().with_finalizer(true).connection(None), "connect, publish(acme_bot), wait")]
#[case(scenario().webhook().no_bot(malformed()), "disconnect, withdraw, void, TokenMalformed")]
fn finalizer_is_there_while_a_webhook_may_be(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// Another token.
#[rstest]
#[case(scenario().rotated(bot_with_new_token(84)), "connect, withdraw, void, Connecting")]
#[case(scenario().rotated(bot_with_new_token(84)).reported(84, "True"), "connect, publish(reported_bot), void, Connecting")]
#[case(scenario().rotated(bot(85)), "connect, withdraw, void, Connecting")]
#[case(scenario().webhook().rotated(bot(85)), "connect, withdraw, delete webhook of 84, void, Connecting")]
#[case(scenario().webhook().rotated(bot_with_new_token(84)), "connect, withdraw, void, Connecting")]
#[case(scenario().webhook().rotated(bot(85)).remembering(Some(bot(84)), false), "connect, withdraw, delete webhook of 84, Connecting")]
#[case(scenario().remembering(None, false), "connect, publish(acme_bot), MessagesFlow")]
fn another_token_voids_what_was_seen(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

// Deletion.
#[rstest]
#[case(scenario().deleted(), "disconnect, withdraw, delete webhook of 84 and wait")]
#[case(scenario().deleted().follower(), "disconnect, withdraw")]
#[case(scenario().deleted().with_finalizer(false), "disconnect, withdraw")]
#[case(scenario().deleted().skipping_disconnect(), "disconnect, withdraw, delete data")]
#[case(scenario().deleted().deleting_webhook(WebhookDeletion::Running), "disconnect, withdraw")]
#[case(scenario().deleted().deleting_webhook(WebhookDeletion::Done), "disconnect, withdraw, delete data")]
#[case(scenario().deleted().remembering(None, false), "disconnect, withdraw, delete data")]
#[case(scenario().deleted().remembering(None, false).deref_bot(84), "disconnect, withdraw, delete webhook of 84 and wait")]
#[case(scenario().unreadable().deleted().remembering(None, false), "disconnect, withdraw, delete data")]
fn deletion_ends_webhook_then_data(#[case] scenario: Scenario, #[case] expected: &str) {
    assert_eq!(summary(&scenario.plan()), expected);
}

#[test]
fn last_bot_is_remembered_while_its_token_is_gone() {
    let plan = scenario().no_bot(malformed()).plan();
    let remembered = plan.remembered.expect("the bot is remembered");
    assert_eq!(remembered.bot.map(|b| b.id()), Some(BotId(84)));
    assert!(!remembered.has_token);
}

#[test]
fn suspension_remembers_nothing_new() {
    assert!(scenario().suspended().plan().remembered.is_none());
}

#[test]
fn incomplete_status_is_decided_again_when_its_delay_is_over() {
    let waited = Duration::from_millis(500);
    let plan = scenario().connection(None).incomplete_for(waited).plan();
    assert_eq!(plan.requeue, INCOMPLETE_STATUS_DELAY.checked_sub(waited));
    assert_eq!(scenario().plan().requeue, None);
}

#[test]
fn unchanged_status_is_not_written() {
    let mut scenario = scenario();
    let report = |plan: Plan| match plan.status {
        StatusPlan::Report(report) => report,
        _ => panic!("a report"),
    };
    let first = report(scenario.plan());
    assert!(first.changed);
    scenario.facts.previous = Some(first.status.clone());
    scenario.facts.now = jiff::Timestamp::from_second(9_000).expect("a time");
    let second = report(scenario.plan());
    assert!(!second.changed && second.events.is_empty());
    assert_eq!(second.status, first.status);
}

#[test]
fn other_connectors_name_is_told_in_its_own_namespace_only() {
    let message = |namespace: &str| {
        let StatusPlan::Report(report) = scenario().older_connector(namespace).plan().status else {
            panic!("a report");
        };
        let token = find_condition(&report.status, ConditionType::TokenValid);
        token.expect("TokenValid").message.clone()
    };
    assert!(message("acme").contains("\"older\""), "{}", message("acme"));
    assert!(
        !message("other").contains("older\""),
        "{}",
        message("other")
    );
}
