//! An identity provider that answers as a test says: who approves which code, how slow it is, and whether it is there.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use telegram_connector_operator::identity_provider::{
    DeviceAuthorization, Member, PollOutcome, ProviderError, RecheckOutcome, SignInProvider,
};
use telegram_connector_operator::registry::SignInPolicy;

pub(crate) const ISSUER: &str = "https://id.example";
/// Where a code is entered.
pub(crate) const LINK: &str = "https://id.example/device";

/// What a person does with a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entered {
    /// Signs in as this subject.
    As(String),
    Refuses,
    /// Signs in, and is no member.
    WithoutClaims,
}

#[derive(Debug, Default)]
struct State {
    /// By device code.
    entered: HashMap<String, Entered>,
    used: HashSet<String>,
    started: usize,
    polls: usize,
    rechecks: usize,
    away: bool,
    delay: Duration,
    revoked: HashSet<String>,
    without_claims: HashSet<String>,
    gives_no_token: bool,
}

#[derive(Debug)]
pub(crate) struct FakeProvider {
    state: Mutex<State>,
    code_life: Duration,
}

impl FakeProvider {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_codes_for(Duration::from_mins(10))
    }

    pub(crate) fn with_codes_for(code_life: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            code_life,
        })
    }

    pub(crate) fn policy(self: &Arc<Self>, recheck: Duration, grace: Duration) -> SignInPolicy {
        SignInPolicy {
            provider: self.clone(),
            recheck,
            grace,
        }
    }

    /// What a person does who was sent this code.
    pub(crate) fn enter(&self, user_code: &str, entered: Entered) {
        let device = user_code.replace("CODE", "device");
        self.state.lock().unwrap().entered.insert(device, entered);
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.state.lock().unwrap().away = away;
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    pub(crate) fn give_no_tokens(&self) {
        self.state.lock().unwrap().gives_no_token = true;
    }

    pub(crate) fn revoke(&self, subject: &str) {
        self.state.lock().unwrap().revoked.insert(subject.into());
    }

    pub(crate) fn take_claims_from(&self, subject: &str) {
        let mut state = self.state.lock().unwrap();
        state.without_claims.insert(subject.into());
    }

    pub(crate) fn rechecks(&self) -> usize {
        self.state.lock().unwrap().rechecks
    }

    pub(crate) fn started(&self) -> usize {
        self.state.lock().unwrap().started
    }

    async fn respond(&self) -> Result<(), ProviderError> {
        let (delay, away) = {
            let state = self.state.lock().unwrap();
            (state.delay, state.away)
        };
        tokio::time::sleep(delay).await;
        if away {
            return Err(ProviderError::Unreachable("it is away".into()));
        }
        Ok(())
    }

    fn member(state: &State, subject: &str) -> Member {
        let token = (!state.gives_no_token).then(|| format!("refresh-{subject}").into());
        Member {
            issuer: ISSUER.into(),
            subject: subject.into(),
            refresh_token: token,
        }
    }
}

#[async_trait]
impl SignInProvider for FakeProvider {
    fn issuer(&self) -> &str {
        ISSUER
    }

    async fn start_device_authorization(&self) -> Result<DeviceAuthorization, ProviderError> {
        self.respond().await?;
        let mut state = self.state.lock().unwrap();
        state.started += 1;
        let number = state.started;
        Ok(DeviceAuthorization {
            device_code: format!("device-{number}").into(),
            user_code: format!("CODE-{number}"),
            verification_uri: LINK.into(),
            verification_uri_complete: None,
            expires_in: self.code_life,
            interval: Duration::from_millis(20),
        })
    }

    async fn poll(&self, device_code: &SecretString) -> Result<PollOutcome, ProviderError> {
        self.respond().await?;
        let mut state = self.state.lock().unwrap();
        state.polls += 1;
        let device = device_code.expose_secret();
        if state.used.contains(device) {
            return Ok(PollOutcome::Expired);
        }
        let Some(entered) = state.entered.get(device).cloned() else {
            return Ok(PollOutcome::Pending);
        };
        state.used.insert(device.into());
        Ok(match entered {
            Entered::As(subject) => PollOutcome::SignedIn(Self::member(&state, &subject)),
            Entered::Refuses => PollOutcome::Denied,
            Entered::WithoutClaims => PollOutcome::ClaimsMissing {
                claim: "groups".into(),
            },
        })
    }

    async fn recheck(
        &self,
        refresh_token: &SecretString,
        subject: &str,
    ) -> Result<RecheckOutcome, ProviderError> {
        self.respond().await?;
        let mut state = self.state.lock().unwrap();
        state.rechecks += 1;
        assert_eq!(refresh_token.expose_secret(), format!("refresh-{subject}"));
        Ok(if state.revoked.contains(subject) {
            RecheckOutcome::Revoked
        } else if state.without_claims.contains(subject) {
            RecheckOutcome::ClaimsMissing {
                claim: "groups".into(),
            }
        } else {
            RecheckOutcome::Member(Self::member(&state, subject))
        })
    }
}
