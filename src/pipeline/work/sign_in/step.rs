//! One step of a sign-in: asking the provider for a link, asking whether the person has signed in, or its end.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};

use super::provider_call::{CALL_TIMEOUT, after, patiently, timed_out};
use crate::identity_provider::{DeviceAuthorization, Member, PollOutcome, ProviderError};
use crate::pipeline::decide::access::{self, AccessDecision};
use crate::pipeline::decide::denied;
use crate::pipeline::decide::sign_in::policy;
use crate::pipeline::message::incoming_update::{IncomingUpdate, Sender};
use crate::pipeline::send::render;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::registry::{ResolvedConnector, SignInPolicy};
use crate::store::{ClaimedSignIn, NewMembership, ReplyPart, SignInStep, StepOutcome, StoreError};
use crate::telemetry::outcomes::{SignInOutcome, UpdateOutcome};
use crate::texts::{Texts, texts_for};

/// What a provider adds to the interval when it is asked too often (RFC 8628, section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// Waits after a provider could not be asked.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));
/// No code is good for longer: an end that is further away was set before the clock stepped back.
const LONGEST: SignedDuration = SignedDuration::from_hours(2);
/// So long before its end a code is not over: the provider knows nothing of it any more.
const EARLY: SignedDuration = SignedDuration::from_secs(10);
/// Takes the step that a claimed sign-in is due for.
pub(super) async fn take(
    pipeline: Arc<PipelineState>,
    connector: Arc<ResolvedConnector>,
    claimed: ClaimedSignIn,
) -> Option<Duration> {
    let step = Step {
        pipeline: &pipeline,
        connector: &connector,
        claimed: &claimed,
    };
    step.take().await.unwrap_or_else(|error| {
        tracing::warn!(connector = %connector.connector_ref, %error, "a sign-in is put off");
        None
    })
}

/// Puts everything back into the inbox that waits for a sign-in at a connector that has no provider any more: it is denied there, or not.
pub(super) async fn release_all(
    pipeline: &PipelineState,
    connector: &ResolvedConnector,
) -> Result<(), StoreError> {
    let uid = &connector.connector_ref.uid;
    while pipeline.store.release_sign_ins(uid).await? > 0 {}
    pipeline.store.work_notifier().notify(uid);
    Ok(())
}

/// How long it is until the next step; `None`: there is none, or another process takes it.
type Next = Option<Duration>;

struct Step<'a> {
    pipeline: &'a PipelineState,
    connector: &'a ResolvedConnector,
    claimed: &'a ClaimedSignIn,
}

impl Step<'_> {
    async fn take(&self) -> Result<Next, StoreError> {
        let claimed = self.claimed;
        let Some(policy) = policy(self.connector) else {
            return self.release().await;
        };
        let now = self.pipeline.clock.now();
        if claimed.is_cancelled {
            return self.end(SignInOutcome::Cancelled).await;
        }
        if self.is_let_in_otherwise().await? {
            return self.release().await;
        }
        let left = claimed.expires_at.duration_since(now);
        if left <= SignedDuration::ZERO || left > LONGEST {
            return self
                .end(match claimed.device {
                    Some(_) => SignInOutcome::Expired,
                    None => SignInOutcome::ProviderFailed,
                })
                .await;
        }
        let Some(sealed) = &claimed.device else {
            return self.ask(policy).await;
        };
        match self.pipeline.sealer.open(sealed, &self.context()) {
            Ok(device) => self.poll(policy, &device).await,
            Err(error) => {
                tracing::warn!(connector = %self.connector.connector_ref, %error, "a sign-in begins anew");
                self.begin_anew().await
            }
        }
    }

    /// What seals are bound to: nobody can move a code to another sign-in.
    fn context(&self) -> String {
        format!("sign_in:{}", self.claimed.claim.id)
    }

    /// Whether the person has been named meanwhile, or given a grant.
    async fn is_let_in_otherwise(&self) -> Result<bool, StoreError> {
        let claimed = self.claimed;
        let sender = Sender {
            id: claimed.user,
            is_bot: false,
            username: claimed.username.clone(),
            name: claimed.name.clone(),
            language_code: claimed.language.clone(),
            is_granted: false,
        };
        let now = self.pipeline.clock.now();
        if access::decide(&self.connector.access, Some(&sender), now) == AccessDecision::Allowed {
            return Ok(true);
        }
        let grants = self
            .pipeline
            .store
            .grants_of(claimed.connector, claimed.user);
        Ok(!grants.await?.is_empty())
    }

    /// Asks the provider for a link and a code, and tells the person.
    async fn ask(&self, policy: &SignInPolicy) -> Result<Next, StoreError> {
        let asked =
            tokio::time::timeout(CALL_TIMEOUT, policy.provider.start_device_authorization());
        let authorization = match asked.await.unwrap_or_else(|_| Err(timed_out())) {
            Ok(authorization) => authorization,
            Err(ProviderError::Unreachable(_)) => return self.try_later().await,
            Err(error) => return self.fail(&error).await,
        };
        let now = self.pipeline.clock.now();
        let device = authorization.device_code.expose_secret().as_bytes();
        let step = SignInStep::Asked {
            device: self.pipeline.sealer.seal(device, &self.context()),
            next_at: after(now, authorization.interval),
            poll_every: authorization.interval,
            expires_at: after(now, authorization.expires_in),
            parts: self.invitation(&authorization),
        };
        if self.write(step).await? == StepOutcome::Done {
            tracing::info!(connector = %self.connector.connector_ref, user = self.claimed.user, "somebody is asked to sign in");
            self.notify();
        }
        Ok(Some(authorization.interval))
    }

    async fn poll(&self, policy: &SignInPolicy, device: &SecretString) -> Result<Next, StoreError> {
        let polled = tokio::time::timeout(CALL_TIMEOUT, policy.provider.poll(device));
        match polled.await.unwrap_or_else(|_| Err(timed_out())) {
            Ok(PollOutcome::Pending) => self.wait(self.claimed.poll_every).await,
            Ok(PollOutcome::SlowDown) => self.wait(self.claimed.poll_every + SLOW_DOWN).await,
            Ok(PollOutcome::SignedIn(member)) => self.let_in(policy, member).await,
            Ok(PollOutcome::Denied) => self.end(SignInOutcome::Refused).await,
            Ok(PollOutcome::ClaimsMissing { claim }) => {
                tracing::info!(connector = %self.connector.connector_ref, user = self.claimed.user, claim, "somebody signed in whose claims do not hold");
                self.end(SignInOutcome::ClaimsMissing).await
            }
            Ok(PollOutcome::Expired) => {
                let left = self
                    .claimed
                    .expires_at
                    .duration_since(self.pipeline.clock.now());
                if left > EARLY {
                    // It was used, and the process ended before that was written down; or the provider has lost it.
                    return self.begin_anew().await;
                }
                self.end(SignInOutcome::Expired).await
            }
            Err(ProviderError::Unreachable(_)) => self.try_later().await,
            Err(error) => self.fail(&error).await,
        }
    }

    /// Another code is asked for, at once.
    async fn begin_anew(&self) -> Result<Next, StoreError> {
        match self.write(SignInStep::BeginAnew).await? {
            StepOutcome::Changed => self.end(SignInOutcome::ProviderFailed).await,
            StepOutcome::Done | StepOutcome::Lost => Ok(Some(Duration::ZERO)),
        }
    }

    async fn let_in(&self, policy: &SignInPolicy, member: Member) -> Result<Next, StoreError> {
        let ClaimedSignIn {
            connector, user, ..
        } = *self.claimed;
        let now = self.pipeline.clock.now();
        let (recheck_at, valid_until) = super::recheck::times(policy, now);
        let context = super::recheck::context(connector, user);
        let token = member.refresh_token.as_ref();
        let token = token.map(|token| {
            let token = token.expose_secret().as_bytes();
            self.pipeline.sealer.seal(token, &context)
        });
        for _ in 0..3 {
            let other = patiently(|| {
                let store = &self.pipeline.store;
                store.member_with(connector, &member.issuer, &member.subject)
            });
            let other = other.await?.filter(|(other, _)| *other != user);
            let membership = NewMembership {
                issuer: member.issuer.clone(),
                subject: member.subject.clone(),
                refresh_token: token.clone(),
                recheck_at,
                valid_until,
                replaced: other.map(|(other, language)| {
                    let texts = texts_for(language.as_deref());
                    (other, render::plain_parts(&texts.sign_in_replaced, None))
                }),
            };
            let is_replacing = membership.replaced.is_some();
            match self.write(SignInStep::SignedIn(membership.into())).await? {
                StepOutcome::Changed => {}
                StepOutcome::Lost => return Ok(None),
                StepOutcome::Done => {
                    self.count(SignInOutcome::SignedIn);
                    tracing::info!(connector = %self.connector.connector_ref, user, is_replacing, "somebody has signed in");
                    self.notify();
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Puts what waits back into the inbox.
    async fn release(&self) -> Result<Next, StoreError> {
        if self.write(SignInStep::Released).await? == StepOutcome::Done {
            self.count(SignInOutcome::Cancelled);
            self.notify();
        }
        Ok(None)
    }

    async fn wait(&self, poll_every: Duration) -> Result<Next, StoreError> {
        let step = SignInStep::Wait {
            next_at: after(self.pipeline.clock.now(), poll_every),
            poll_every,
            failures: 0,
        };
        self.write(step).await?;
        Ok(Some(poll_every))
    }

    async fn try_later(&self) -> Result<Next, StoreError> {
        let failures = self.claimed.failures.saturating_add(1);
        let (first, most) = RETRY_DELAYS;
        let delay = first.saturating_mul(1 << (failures - 1).min(5)).min(most);
        let delay = delay.max(self.claimed.poll_every);
        let step = SignInStep::Wait {
            next_at: after(self.pipeline.clock.now(), delay),
            poll_every: self.claimed.poll_every,
            failures,
        };
        self.write(step).await?;
        Ok(Some(delay))
    }

    async fn fail(&self, error: &ProviderError) -> Result<Next, StoreError> {
        tracing::warn!(connector = %self.connector.connector_ref, %error, "a sign-in failed");
        self.end(SignInOutcome::ProviderFailed).await
    }

    /// Ends it without success: the person is told, and what waited counts as denied.
    async fn end(&self, outcome: SignInOutcome) -> Result<Next, StoreError> {
        let uid = &self.connector.connector_ref.uid;
        for _ in 0..3 {
            let held = self
                .pipeline
                .store
                .held_messages(self.claimed.claim.id)
                .await?;
            let records = held.iter().filter_map(|message| {
                let incoming = IncomingUpdate::parse(&message.json).ok()?;
                denied::denied_message(self.connector, self.claimed.bot, &incoming)
            });
            let step = SignInStep::Ended {
                denied: records.collect(),
                parts: self.ending(outcome),
                last_message: held.last().map_or(0, |message| message.id),
            };
            match self.write(step).await? {
                StepOutcome::Changed => {}
                StepOutcome::Lost => return Ok(None),
                StepOutcome::Done => {
                    self.count(outcome);
                    let pipeline = self.pipeline;
                    pipeline
                        .metrics
                        .count_updates(UpdateOutcome::Denied, held.len());
                    if !held.is_empty() {
                        let now = pipeline.clock.now();
                        pipeline.observations.record_denied_message(uid, now);
                    }
                    self.notify();
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    async fn write(&self, step: SignInStep) -> Result<StepOutcome, StoreError> {
        let claim = self.claimed.claim;
        patiently(|| self.pipeline.store.step_sign_in(claim, step.clone())).await
    }

    fn texts(&self) -> &'static Texts {
        texts_for(self.claimed.language.as_deref())
    }

    fn invitation(&self, authorization: &DeviceAuthorization) -> Vec<ReplyPart> {
        let DeviceAuthorization {
            user_code,
            verification_uri,
            verification_uri_complete,
            expires_in,
            ..
        } = authorization;
        let link = verification_uri_complete
            .as_ref()
            .unwrap_or(verification_uri);
        let minutes = expires_in.as_secs().div_ceil(60);
        render::plain_parts(&self.texts().sign_in(link, user_code, minutes), None)
    }

    fn ending(&self, outcome: SignInOutcome) -> Vec<ReplyPart> {
        let texts = self.texts();
        let text = match outcome {
            SignInOutcome::Refused | SignInOutcome::Expired => &texts.sign_in_ended,
            SignInOutcome::ClaimsMissing => &texts.sign_in_no_access,
            SignInOutcome::ProviderFailed => &texts.sign_in_unavailable,
            // The person was told by the answer to what they wrote.
            SignInOutcome::Begun | SignInOutcome::SignedIn | SignInOutcome::Cancelled => {
                return Vec::new();
            }
        };
        render::plain_parts(text, None)
    }

    fn count(&self, outcome: SignInOutcome) {
        self.pipeline.metrics.count_sign_in(outcome);
    }

    fn notify(&self) {
        let uid = &self.connector.connector_ref.uid;
        self.pipeline.store.work_notifier().notify(uid);
    }
}
