//! A reconcile for each reason that a status can give: a reason that is added needs its row here.

use serde_json::json;

use super::scenario::{
    Scenario, forbidden_secret, list_problem, malformed, missing_key, missing_secret, scenario,
    unreachable_identity,
};
use super::*;
use crate::api::conditions::Reason;
use crate::assistant::AssistantFault;
use crate::observation::{AssistantFact, DayLimitFact, UsageFact};
use crate::store::ReachedLimit;

/// A leader's reconcile that finds what the reason says.
fn scenario_of(reason: Reason) -> Scenario {
    let no_token = |problem| scenario().no_bot(TokenState::Unavailable(problem));
    let webhook = |fact| scenario().webhook().connection(Some(fact));
    let detail = || "why".to_owned();
    match reason {
        Reason::SecretNotFound => no_token(missing_secret()),
        Reason::SecretKeyMissing => no_token(missing_key()),
        Reason::SecretNotAllowed => no_token(forbidden_secret()),
        Reason::TokenMalformed => scenario().no_bot(malformed()),
        Reason::TokenUnauthorized => scenario().refused(),
        Reason::DuplicateBot => scenario().older_connector("acme"),
        Reason::TelegramUnreachable => {
            let unreachable = scenario().identity(Some(unreachable_identity()));
            unreachable.connection(None)
        }
        Reason::TokenAccepted
        | Reason::Resolved
        | Reason::Polling
        | Reason::NoExchangeYet
        | Reason::MessagesFlow => scenario(),
        Reason::UserListNotFound => list_problem(AccessProblem::ListNotFound("staff".into())),
        Reason::UserListInvalid => list_problem(AccessProblem::SelectionMissing("agentUsers")),
        Reason::UserListNotAllowed => list_problem(AccessProblem::ListNotAllowed("staff".into())),
        Reason::IdentityProviderUnreachable
        | Reason::IdentityProviderRefused
        | Reason::DeviceFlowUnsupported
        | Reason::SignInKeyMissing => list_problem(AccessProblem::SignIn(reason, detail())),
        Reason::WebhookRejected => webhook(ConnectionFact::WebhookRejected { detail: detail() }),
        Reason::WebhookUnreachable => {
            webhook(ConnectionFact::WebhookUnreachable { detail: detail() })
        }
        Reason::WebhookContested => webhook(ConnectionFact::WebhookContested { host: detail() }),
        Reason::WebhookVerified => scenario().webhook(),
        Reason::PollingConflict => scenario().connection(Some(ConnectionFact::PollingConflict)),
        Reason::RateLimited => {
            scenario().connection(Some(ConnectionFact::RateLimited { retry_after: 3 }))
        }
        Reason::Suspended => scenario().suspended(),
        Reason::Connecting => {
            let connecting = scenario().connection(None);
            connecting.incomplete_for(INCOMPLETE_STATUS_DELAY)
        }
        Reason::ApiKeyNotFound => {
            scenario().resolved(|r| r.assistant = AssistantState::KeyUnavailable(missing_key()))
        }
        Reason::AssistantUnreachable => failing(AssistantFault::Unreachable),
        Reason::AssistantUnauthorized => failing(AssistantFault::Unauthorized),
        Reason::AssistantFailing => failing(AssistantFault::Failing),
        Reason::ExchangesSucceed => scenario().assistant(AssistantFact::Succeeding),
        Reason::DayLimitReached
        | Reason::TimeZoneUnknown
        | Reason::UsageNotReported
        | Reason::NotReached => limited(reason),
    }
}

fn failing(fault: AssistantFault) -> Scenario {
    let detail = "why".to_owned();
    scenario().assistant(AssistantFact::Failing { fault, detail })
}

/// With limits of a day, and what was seen of them.
fn limited(reason: Reason) -> Scenario {
    let zone = match reason {
        Reason::TimeZoneUnknown => "Europe/Rmoe",
        _ => "Europe/Rome",
    };
    let mut scenario = scenario().limits(json!({"tokensPerDay": 500, "timeZone": zone}));
    let observed = &mut scenario.facts.observed;
    observed.day_limits = (reason == Reason::DayLimitReached).then(|| DayLimitFact {
        generation: 3,
        until: Timestamp::from_second(5_000).expect("a time"),
        reached: vec![ReachedLimit::UserTokens],
    });
    observed.usage = Some(UsageFact {
        generation: 3,
        is_reported: reason != Reason::UsageNotReported,
    });
    scenario
}

#[test]
fn every_reason_is_reported_by_the_leader_alone() {
    for reason in Reason::ALL {
        let plan = scenario_of(*reason).plan();
        let StatusPlan::Report(report) = plan.status else {
            panic!("{reason} is reported");
        };
        let mut conditions = report.status.conditions.iter();
        assert!(
            conditions.any(|condition| condition.reason == *reason),
            "{reason}: {:?}",
            report.status.conditions
        );
        let follower = scenario_of(*reason).follower().plan();
        assert!(matches!(follower.status, StatusPlan::Skip), "{reason}");
    }
}
