//! One identity provider: asks it for codes, polls, rechecks, and verifies who signed in.

use std::fmt;

use http::header::{ACCEPT, AUTHORIZATION};
use openidconnect::IssuerUrl;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use super::claims::{ClaimCheck, Claims, RequiredClaim};
use super::device_answer::DeviceAnswer;
use super::discovery::{Discovered, OFFLINE_ACCESS};
use super::http_client::{IdentityProviderHttpClient, NoAnswer};
use super::id_token::{self, Refusal};
use super::metadata_cache::MetadataCache;
use super::outcomes::{
    DeviceAuthorization, Member, PollOutcome, ProviderError, RecheckOutcome, Standing,
};
use super::token_endpoint::{self, Client, DEVICE_GRANT, Failure, Tokens};
use crate::clock::SharedClock;

/// The longest subject that is taken, in bytes (`OpenID` Connect Core, section 2).
const MAX_SUBJECT_BYTES: usize = 255;

/// A provider as a connector names it.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// The issuer, exactly as the provider writes it.
    pub issuer: String,
    /// The client that the provider knows us by.
    pub client_id: String,
    /// Its secret; `None`: a public client.
    pub client_secret: Option<SecretString>,
    /// All of them must hold.
    pub required_claims: Vec<RequiredClaim>,
    /// Scopes beside `openid`; `None`: `offline_access` where the provider offers it.
    pub scopes: Option<Vec<String>>,
    /// Why it cannot be asked at all, where something that it needs is missing: every use fails with this.
    pub unavailable: Option<ProviderError>,
}

/// One provider for one connector. Metadata and keys are read when they are needed and kept.
pub struct IdentityProvider {
    issuer: String,
    client: Client,
    required_claims: Vec<RequiredClaim>,
    scopes: Option<Vec<String>>,
    http: IdentityProviderHttpClient,
    clock: SharedClock,
    pub(super) metadata: MetadataCache,
    standing: watch::Sender<Standing>,
}

/// Shows whom it is for, no secret.
impl fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityProvider")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client.id)
            .finish_non_exhaustive()
    }
}

/// Whether somebody is a member.
enum Verified {
    Member { subject: String },
    ClaimsMissing { claim: String },
}

impl IdentityProvider {
    /// A provider that is not asked anything yet. One whose address the guard refuses fails at every use.
    pub fn new(
        config: ProviderConfig,
        http: IdentityProviderHttpClient,
        clock: SharedClock,
    ) -> Self {
        let usable = match config.unavailable {
            Some(error) => Err(error),
            None => checked_issuer(&config.issuer, &http).map_err(ProviderError::Unreachable),
        };
        Self {
            issuer: config.issuer,
            metadata: MetadataCache::new(usable, http.clone(), clock.clone()),
            client: Client {
                id: config.client_id,
                secret: config.client_secret,
            },
            required_claims: config.required_claims,
            scopes: config.scopes,
            http,
            clock,
            standing: watch::Sender::new(Standing::Unknown),
        }
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Asks for a code that a person can sign in with.
    ///
    /// # Errors
    /// [`ProviderError`]; never `Invalid`.
    pub async fn start_device_authorization(&self) -> Result<DeviceAuthorization, ProviderError> {
        let started = self.try_start().await;
        self.note(started.as_ref().err());
        started
    }

    /// As [`Self::start_device_authorization`], for [`Self::standing`] to tell what comes of it.
    pub(super) async fn try_start(&self) -> Result<DeviceAuthorization, ProviderError> {
        let discovered = self.metadata.current().await?.discovered.clone();
        let url = discovered.device_endpoint.as_ref();
        let url = url.ok_or(ProviderError::NoDeviceEndpoint)?;
        let scope = self.scope(&discovered);
        let answer: DeviceAnswer = token_endpoint::post(
            url,
            &[("scope", &scope)],
            &self.client,
            discovered.secret_method,
            &self.http,
        )
        .await
        .map_err(Failure::into_provider_error)?;
        answer.checked()
    }

    /// Asks once whether the person has signed in. The caller waits between polls.
    ///
    /// # Errors
    /// [`ProviderError`]. After [`ProviderError::Invalid`] the code is used up.
    pub async fn poll(&self, device_code: &SecretString) -> Result<PollOutcome, ProviderError> {
        let polled = self.try_poll(device_code).await;
        self.note(polled.as_ref().err());
        polled
    }

    async fn try_poll(&self, device_code: &SecretString) -> Result<PollOutcome, ProviderError> {
        let form = [
            ("grant_type", DEVICE_GRANT),
            ("device_code", device_code.expose_secret()),
        ];
        let tokens = match self.request_tokens(&form).await {
            Ok(tokens) => tokens,
            Err(Failure::Error(code)) => {
                return Ok(match code.as_str() {
                    "authorization_pending" => PollOutcome::Pending,
                    "slow_down" => PollOutcome::SlowDown,
                    // Entra ID has words of its own.
                    "access_denied" | "authorization_declined" => PollOutcome::Denied,
                    // Authlib calls a code that it does not know an invalid request.
                    "expired_token"
                    | "invalid_grant"
                    | "bad_verification_code"
                    | "invalid_request" => PollOutcome::Expired,
                    _ => return Err(Failure::Error(code).into_provider_error()),
                });
            }
            Err(Failure::Other(error)) => return Err(error),
        };
        if tokens.id_token.is_none() {
            return Err(ProviderError::Invalid(
                "there is no ID token in the answer; let the client use scope openid".to_owned(),
            ));
        }
        Ok(match self.verify(&tokens).await? {
            Verified::Member { subject } => {
                PollOutcome::SignedIn(self.member(subject, tokens.refresh_token))
            }
            Verified::ClaimsMissing { claim } => PollOutcome::ClaimsMissing { claim },
        })
    }

    /// Looks whether `subject`, who once signed in, still is a member.
    ///
    /// # Errors
    /// [`ProviderError`]: it could not be found out. A refresh token may then be used up all the same.
    pub async fn recheck(
        &self,
        refresh_token: &SecretString,
        subject: &str,
    ) -> Result<RecheckOutcome, ProviderError> {
        let rechecked = self.try_recheck(refresh_token, subject).await;
        self.note(rechecked.as_ref().err());
        rechecked
    }

    async fn try_recheck(
        &self,
        refresh_token: &SecretString,
        subject: &str,
    ) -> Result<RecheckOutcome, ProviderError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose_secret()),
        ];
        let mut tokens = match self.request_tokens(&form).await {
            Ok(tokens) => tokens,
            Err(Failure::Error(code)) => {
                return match code.as_str() {
                    "invalid_grant"
                    | "interaction_required"
                    | "login_required"
                    | "consent_required"
                    | "access_denied" => Ok(RecheckOutcome::Revoked),
                    _ => Err(Failure::Error(code).into_provider_error()),
                };
            }
            Err(Failure::Other(error)) => return Err(error),
        };
        Ok(match self.verify(&tokens).await? {
            Verified::Member { subject: found } if found != subject => RecheckOutcome::Revoked,
            Verified::Member { subject } => {
                // Not every provider gives a new one each time.
                let next = tokens.refresh_token.take();
                let next = next.unwrap_or_else(|| refresh_token.clone());
                RecheckOutcome::Member(self.member(subject, Some(next)))
            }
            Verified::ClaimsMissing { claim } => RecheckOutcome::ClaimsMissing { claim },
        })
    }

    /// Asks the token endpoint.
    pub(super) async fn request_tokens(&self, form: &[(&str, &str)]) -> Result<Tokens, Failure> {
        let cached = self.metadata.current().await.map_err(Failure::Other)?;
        let discovered = &cached.discovered;
        token_endpoint::post(
            &discovered.token_endpoint,
            form,
            &self.client,
            discovered.secret_method,
            &self.http,
        )
        .await
    }

    /// Who the tokens are of, and whether the claims hold.
    async fn verify(&self, tokens: &Tokens) -> Result<Verified, ProviderError> {
        let mut by_userinfo = None;
        let claims = match &tokens.id_token {
            Some(raw) => self.verify_id_token(raw.expose_secret()).await?,
            // A refresh need not bring one (OpenID Connect Core, section 12.2).
            None => {
                by_userinfo = self.userinfo(tokens).await?;
                by_userinfo.clone().ok_or_else(|| {
                    ProviderError::Invalid("it gives neither an ID token nor userinfo".to_owned())
                })?
            }
        };
        let subject = subject_of(&claims)?;
        for required in &self.required_claims {
            let mut check = required.check(&claims);
            if check == ClaimCheck::Absent {
                if by_userinfo.is_none() {
                    by_userinfo = self.userinfo(tokens).await?;
                }
                let more = by_userinfo.get_or_insert_default();
                // Of somebody else it says nothing (OpenID Connect Core, section 5.3.2).
                let same = more.get("sub").and_then(|s| s.as_str()) == Some(&subject);
                check = if same { required.check(more) } else { check };
            }
            if check != ClaimCheck::Holds {
                return Ok(Verified::ClaimsMissing {
                    claim: required.claim.clone(),
                });
            }
        }
        Ok(Verified::Member { subject })
    }

    async fn verify_id_token(&self, raw: &str) -> Result<Claims, ProviderError> {
        let cached = self.metadata.current().await?;
        let issuer = self.metadata.issuer()?;
        let now = self.clock.now();
        let verify = |keys| id_token::verify(raw, issuer, &self.client.id, keys, now);
        match verify(&cached.keys) {
            Ok(claims) => return Ok(claims),
            Err(Refusal::Invalid(why)) => return Err(ProviderError::Invalid(why)),
            Err(Refusal::UnknownKey) => {}
        }
        let keys = self.metadata.newer_keys(&cached).await?;
        verify(&keys).map_err(|refusal| {
            ProviderError::Invalid(match refusal {
                Refusal::Invalid(why) => why,
                Refusal::UnknownKey => {
                    "the ID token is signed by none of the provider's keys".to_owned()
                }
            })
        })
    }

    /// What the userinfo endpoint says; `None` where there is none, or it does not say it in JSON.
    async fn userinfo(&self, tokens: &Tokens) -> Result<Option<Claims>, ProviderError> {
        let cached = self.metadata.current().await?;
        let Some(url) = &cached.discovered.userinfo_endpoint else {
            return Ok(None);
        };
        let bearer = format!("Bearer {}", tokens.access_token.expose_secret());
        let request = http::HeaderValue::try_from(bearer)
            .map_err(http::Error::from)
            .and_then(|mut bearer| {
                bearer.set_sensitive(true);
                http::Request::get(url.as_str())
                    .header(ACCEPT, "application/json")
                    .header(AUTHORIZATION, bearer)
                    .body(Vec::new())
            })
            .map_err(|_| ProviderError::Invalid("its access token is none".to_owned()))?;
        let answer = self.http.exchange(request).await;
        let answer = answer.map_err(|NoAnswer(why)| ProviderError::Unreachable(why))?;
        let status = answer.status();
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(ProviderError::Unreachable(format!(
                "the userinfo endpoint answers {}",
                status.as_u16()
            )));
        }
        Ok(serde_json::from_slice(answer.body())
            .ok()
            .filter(|_| status.is_success()))
    }

    fn member(&self, subject: String, refresh_token: Option<SecretString>) -> Member {
        Member {
            issuer: self.issuer.clone(),
            subject,
            refresh_token: refresh_token.filter(|_| self.wants_refresh_token()),
        }
    }

    /// Somebody who lists the scopes without `offline_access`, where it is offered, wants nothing kept.
    fn wants_refresh_token(&self) -> bool {
        let cached = self.metadata.known();
        let offered = cached
            .as_ref()
            .is_some_and(|c| c.discovered.offers_offline_access);
        match &self.scopes {
            Some(scopes) => !offered || scopes.iter().any(|s| s == OFFLINE_ACCESS),
            None => true,
        }
    }

    fn scope(&self, discovered: &Discovered) -> String {
        let mut scope = "openid".to_owned();
        let offline = [OFFLINE_ACCESS.to_owned()];
        let more: &[String] = match &self.scopes {
            Some(scopes) => scopes,
            None if discovered.offers_offline_access => &offline,
            None => &[],
        };
        for name in more.iter().filter(|name| *name != "openid") {
            scope.push(' ');
            scope.push_str(name);
        }
        scope
    }

    /// Whether it can be used, as far as is known.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Tells when the standing changes.
    pub(super) fn subscribe_standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// What an exchange shows of the standing: a client that is refused. Whether the provider is away is left to `check`, so that one
    /// request that failed changes no status.
    fn note(&self, error: Option<&ProviderError>) {
        if let Some(error @ (ProviderError::Refused(_) | ProviderError::NoDeviceEndpoint)) = error {
            self.set_standing(Standing::Failing(error.clone()));
        }
    }

    /// Tells whoever watches, if it is another.
    pub(super) fn set_standing(&self, standing: Standing) {
        self.standing.send_if_modified(|known| {
            let changed = *known != standing;
            *known = standing;
            changed
        });
    }
}

/// The issuer of the spec, unless the guard refuses its host.
fn checked_issuer(issuer: &str, http: &IdentityProviderHttpClient) -> Result<IssuerUrl, String> {
    let field = "spec.access.companyUsers.oidc.issuer";
    let url = IssuerUrl::new(issuer.to_owned()).map_err(|_| format!("{field} is no URL"))?;
    http.check_url(url.url())
        .map_err(|why| format!("{field}: {why}"))?;
    Ok(url)
}

/// Who a token is of.
fn subject_of(claims: &Claims) -> Result<String, ProviderError> {
    let subject = claims.get("sub").and_then(|s| s.as_str());
    subject
        .filter(|s| (1..=MAX_SUBJECT_BYTES).contains(&s.len()))
        .map(str::to_owned)
        .ok_or_else(|| ProviderError::Invalid("it names nobody (sub)".to_owned()))
}
