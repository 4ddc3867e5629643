//! Rechecks: whether somebody who signed in still is a member.
//!
//! The provider is asked a little before the recheck is due, so that a moment's failure of it ends nobody's access. What is not found out until the
//! recheck is due and the grace is over ends the membership.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

use super::provider_call::{CALL_TIMEOUT, after, patiently, timed_out};
use crate::identity_provider::RecheckOutcome as Answer;
use crate::pipeline::decide::sign_in::policy;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::registry::{ResolvedConnector, SignInPolicy};
use crate::store::{ClaimedMembership, MembershipStep, StepOutcome, StoreError};
use crate::telemetry::outcomes::RecheckOutcome;

/// The provider is asked so long before a recheck is due at most.
const MOST_EARLY: Duration = Duration::from_mins(30);
/// Waits after it could not be asked.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(10));

/// When a member is asked about next who was found to be one now, and when that is due.
pub(super) fn times(policy: &SignInPolicy, now: Timestamp) -> (Timestamp, Timestamp) {
    let early = (policy.recheck / 10).min(MOST_EARLY);
    let due = after(now, policy.recheck);
    (due.checked_sub(early).unwrap_or(now), due)
}

/// What the seal of a member's token is bound to.
pub(super) fn context(connector: i64, user: i64) -> String {
    format!("membership:{connector}:{user}")
}

/// Rechecks a claimed membership.
pub(super) async fn take(
    pipeline: Arc<PipelineState>,
    connector: Arc<ResolvedConnector>,
    claimed: ClaimedMembership,
) -> Option<Duration> {
    let (step, outcome) = find_out(&pipeline, &connector, &claimed).await;
    let user = claimed.user;
    match write(&pipeline, claimed, step).await {
        Ok(StepOutcome::Done) => {
            pipeline.metrics.count_membership_recheck(outcome);
            if outcome.ends_access() {
                let outcome = outcome.label();
                tracing::info!(connector = %connector.connector_ref, user, outcome, "a membership has ended");
            }
        }
        Ok(StepOutcome::Lost | StepOutcome::Changed) => {}
        Err(error) => {
            tracing::warn!(connector = %connector.connector_ref, %error, "what came of a recheck was not written; it is made again");
        }
    }
    None
}

/// Asks the provider, and says what follows.
async fn find_out(
    pipeline: &PipelineState,
    connector: &ResolvedConnector,
    claimed: &ClaimedMembership,
) -> (MembershipStep, RecheckOutcome) {
    let Some(policy) = policy(connector).filter(|p| p.provider.issuer() == claimed.issuer) else {
        return (MembershipStep::End, RecheckOutcome::OtherProvider);
    };
    let now = pipeline.clock.now();
    let context = context(claimed.connector, claimed.user);
    let sealed = claimed.refresh_token.as_deref();
    // What cannot be opened is as good as none: its key is gone.
    let token = sealed.and_then(|sealed| pipeline.sealer.open(sealed, &context).ok());
    let Some(token) = token else {
        return if claimed.valid_until <= now {
            (MembershipStep::End, RecheckOutcome::SignInAgain)
        } else {
            let step = MembershipStep::Wait {
                recheck_at: claimed.valid_until,
                failures: 0,
            };
            (step, RecheckOutcome::NotDue)
        };
    };
    let asked = policy.provider.recheck(&token, &claimed.subject);
    let answer = tokio::time::timeout(CALL_TIMEOUT, asked).await;
    match answer.unwrap_or_else(|_| Err(timed_out())) {
        Ok(Answer::Member(member)) => {
            let (recheck_at, valid_until) = times(policy, pipeline.clock.now());
            let seal = |token: secrecy::SecretString| {
                let token = token.expose_secret().as_bytes();
                pipeline.sealer.seal(token, &context)
            };
            let step = MembershipStep::Keep {
                refresh_token: member.refresh_token.map(seal),
                recheck_at,
                valid_until,
            };
            (step, RecheckOutcome::Member)
        }
        Ok(Answer::Revoked) => (MembershipStep::End, RecheckOutcome::Revoked),
        Ok(Answer::ClaimsMissing { .. }) => (MembershipStep::End, RecheckOutcome::ClaimsMissing),
        Err(error) => {
            tracing::debug!(connector = %connector.connector_ref, %error, "a recheck failed");
            after_failure(policy, claimed, pipeline.clock.now())
        }
    }
}

fn after_failure(
    policy: &SignInPolicy,
    claimed: &ClaimedMembership,
    now: Timestamp,
) -> (MembershipStep, RecheckOutcome) {
    let end = after(claimed.valid_until, policy.grace);
    let left = end.duration_since(now);
    if left <= SignedDuration::ZERO {
        return (MembershipStep::End, RecheckOutcome::Unreachable);
    }
    let (first, most) = RETRY_DELAYS;
    let delay = first.saturating_mul(1 << claimed.failures.min(8)).min(most);
    let step = MembershipStep::Wait {
        recheck_at: after(now, delay).min(end),
        failures: claimed.failures.saturating_add(1),
    };
    (step, RecheckOutcome::Retried)
}

/// What a provider says may use up the token that it was asked with: the answer is not given up at the first failure of the store.
async fn write(
    pipeline: &PipelineState,
    claimed: ClaimedMembership,
    step: MembershipStep,
) -> Result<StepOutcome, StoreError> {
    patiently(|| {
        let store = &pipeline.store;
        store.step_membership(claimed.clone(), step.clone())
    })
    .await
}
