//! The client of identity providers against one that misbehaves at will.

mod fake_provider;

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use self::fake_provider::{FakeProvider, SigningKey, without_signature};
use super::*;
use crate::assistant::{AddressPolicy, ExtraRootCertificates};
use crate::clock::{Clock, ManualClock};

/// A provider, and the client under test.
struct Env {
    fake: FakeProvider,
    clock: Arc<ManualClock>,
    provider: Arc<IdentityProvider>,
}

impl Env {
    async fn new(configure: impl FnOnce(&mut ProviderConfig)) -> Self {
        let fake = FakeProvider::start().await;
        let mut config = ProviderConfig {
            issuer: fake.issuer.clone(),
            client_id: "bot".to_owned(),
            client_secret: Some("s3cret".into()),
            required_claims: vec![RequiredClaim {
                claim: "groups".to_owned(),
                values: vec!["staff".to_owned()],
            }],
            scopes: None,
            unavailable: None,
        };
        configure(&mut config);
        let clock = Arc::new(ManualClock::new(
            "2027-01-01T00:00:00Z".parse().expect("a time"),
        ));
        let provider = IdentityProvider::new(config, http(Duration::from_secs(20)), clock.clone());
        Self {
            fake,
            clock,
            provider: Arc::new(provider),
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// The claims of somebody who belongs to the company.
    fn claims(&self) -> Value {
        let now = self.now();
        json!({
            "iss": self.fake.issuer, "aud": "bot", "sub": "ann", "iat": now, "exp": now + 300,
            "groups": ["guests", "staff"], "email_verified": "true",
        })
    }

    /// The next poll brings this ID token.
    fn gives(&self, id_token: &str) {
        let tokens = json!({
            "access_token": "access-1", "token_type": "Bearer", "refresh_token": "refresh-1", "id_token": id_token,
        });
        self.fake.answer(200, tokens);
    }

    async fn poll(&self) -> Result<PollOutcome, ProviderError> {
        self.provider.poll(&"device-code-1".into()).await
    }

    async fn poll_with(&self, id_token: &str) -> Result<PollOutcome, ProviderError> {
        self.gives(id_token);
        self.poll().await
    }

    async fn poll_signed(&self, claims: &Value) -> Result<PollOutcome, ProviderError> {
        let token = self.fake.signed(claims);
        self.poll_with(&token).await
    }

    async fn recheck(&self) -> Result<RecheckOutcome, ProviderError> {
        self.provider.recheck(&"refresh-1".into(), "ann").await
    }
}

fn http(request: Duration) -> IdentityProviderHttpClient {
    let limits = ProviderLimits {
        request,
        ..ProviderLimits::default()
    };
    let roots = ExtraRootCertificates::default();
    IdentityProviderHttpClient::new(&roots, limits, AddressPolicy::allowing_loopback())
        .expect("a client")
}

/// What a poll came to, in a word.
fn word(polled: &Result<PollOutcome, ProviderError>) -> String {
    match polled {
        Ok(PollOutcome::SignedIn(member)) => format!("signed in: {}", member.subject),
        Ok(PollOutcome::ClaimsMissing { claim }) => format!("lacks {claim}"),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

fn changed(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

#[tokio::test]
async fn a_person_signs_in_by_link_and_code() {
    let env = Env::new(|_| {}).await;
    let started = env.provider.start_device_authorization().await;
    let started = started.expect("codes");
    assert_eq!(started.user_code, "ABCD-EFGH");
    assert!(started.verification_uri.ends_with("/code"));
    assert_eq!(started.interval, Duration::from_secs(7));
    assert_eq!(started.expires_in, Duration::from_mins(10));
    assert!(!format!("{started:?}").contains("device-code-1"));

    assert_eq!(word(&env.poll().await), "Pending");
    for (status, error, expected) in [
        (400, "slow_down", "SlowDown"),
        (428, "authorization_pending", "Pending"),
        (403, "access_denied", "Denied"),
        (400, "expired_token", "Expired"),
        (400, "invalid_grant", "Expired"),
        (403, "invalid_request", "Expired"),
    ] {
        env.fake.answer(status, json!({"error": error}));
        assert_eq!(word(&env.poll().await), expected);
    }
    let polled = env.poll_signed(&env.claims()).await.expect("an outcome");
    let PollOutcome::SignedIn(member) = polled else {
        panic!("{polled:?}")
    };
    assert_eq!(
        (member.subject.as_str(), member.issuer),
        ("ann", env.fake.issuer.clone())
    );
    assert_eq!(
        member.refresh_token.expect("one").expose_secret(),
        "refresh-1"
    );

    let forms = env.fake.behaviour.lock().forms.clone();
    let basic = Some("Basic Ym90OnMzY3JldA==".to_owned());
    assert_eq!(
        forms[0],
        (
            basic.clone(),
            "scope=openid+offline_access&client_id=bot".to_owned()
        )
    );
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let form = format!("grant_type={grant}&device_code=device-code-1&client_id=bot");
    assert_eq!(forms[1], (basic, form));
}

#[tokio::test]
async fn no_refresh_token_is_kept_where_none_is_wanted() {
    let env = Env::new(|config| config.scopes = Some(vec!["groups".to_owned()])).await;
    let started = env.provider.start_device_authorization().await;
    started.expect("codes");
    let form = env.fake.behaviour.lock().forms[0].1.clone();
    assert_eq!(form, "scope=openid+groups&client_id=bot");
    let polled = env.poll_signed(&env.claims()).await;
    assert!(matches!(polled, Ok(PollOutcome::SignedIn(m)) if m.refresh_token.is_none()));
}

#[rstest]
#[case::all_is_well(json!({}), "signed in: ann")]
#[case::another_audience(json!({"aud": "other"}), "for another client")]
#[case::one_more_audience(json!({"aud": ["bot", "other"]}), "for another client")]
#[case::another_issuer(json!({"iss": "https://id.evil.example"}), "another issuer")]
#[case::expired_within_the_skew(json!({"iat": -600, "exp": -290}), "signed in: ann")]
#[case::expired(json!({"iat": -600, "exp": -310}), "check the clocks")]
#[case::issued_ahead_within_the_skew(json!({"iat": 290}), "signed in: ann")]
#[case::issued_ahead(json!({"iat": 310, "exp": 900}), "check the clocks")]
#[case::not_valid_yet(json!({"nbf": 310}), "check the clocks")]
#[case::of_nobody(json!({"sub": ""}), "names nobody")]
#[case::without_the_claim(json!({"groups": null}), "lacks groups")]
#[case::in_another_group(json!({"groups": ["guests"]}), "lacks groups")]
#[tokio::test]
async fn an_id_token_is_accepted_only_if_all_of_it_holds(
    #[case] changes: Value,
    #[case] expected: &str,
) {
    let env = Env::new(|_| {}).await;
    let mut claims = changed(&env.claims(), &changes);
    for name in ["iat", "exp", "nbf"] {
        if let Some(offset) = changes[name].as_i64() {
            claims[name] = json!(env.now() + offset);
        }
    }
    let found = word(&env.poll_signed(&claims).await);
    assert!(found.contains(expected), "{found}");
}

#[tokio::test]
async fn a_signature_that_is_none_is_refused() {
    let env = Env::new(|_| {}).await;
    let claims = env.claims();
    let with_public_key = {
        let behaviour = env.fake.behaviour.lock();
        let (kid, key) = &behaviour.keys[0];
        key.sign_with_public_key(kid, &claims)
    };
    let by_another = SigningKey::es256().sign("first", &claims);
    for (token, expected) in [
        (without_signature(&claims), "in a way that is not accepted"),
        (with_public_key, "in a way that is not accepted"),
        (by_another, "by none of the provider's keys"),
        ("a.b.c".to_owned(), "cannot be read"),
        ("x".repeat(70_000), "is too large"),
    ] {
        let polled = env.poll_with(&token).await;
        let found = word(&polled);
        assert!(matches!(polled, Err(ProviderError::Invalid(_))), "{found}");
        assert!(found.contains(expected), "{found}");
        assert!(!found.contains(&token));
    }
}

#[tokio::test]
async fn keys_that_rotate_are_read_again_once_a_minute() {
    let env = Env::new(|_| {}).await;
    let signed_in = "signed in: ann";
    assert_eq!(word(&env.poll_signed(&env.claims()).await), signed_in);
    env.clock.advance_seconds(61);
    env.fake.behaviour.lock().keys = vec![("second", SigningKey::ed_dsa())];
    assert_eq!(word(&env.poll_signed(&env.claims()).await), signed_in);
    assert_eq!(env.fake.behaviour.lock().keys_read, 2);
    // Somebody who signs with keys of their own makes no request beside one a minute.
    for _ in 0..5 {
        let forged = SigningKey::es256().sign("forged", &env.claims());
        let found = word(&env.poll_with(&forged).await);
        assert!(found.contains("by none of the provider's keys"), "{found}");
    }
    assert_eq!(env.fake.behaviour.lock().keys_read, 2);
    env.clock.advance_seconds(61);
    env.fake.behaviour.lock().keys = vec![("third", SigningKey::es256())];
    assert_eq!(word(&env.poll_signed(&env.claims()).await), signed_in);
    assert_eq!(env.fake.behaviour.lock().keys_read, 3);
}

#[tokio::test]
async fn claims_that_the_token_lacks_are_looked_up() {
    let env = Env::new(|_| {}).await;
    let mut claims = env.claims();
    claims.as_object_mut().expect("an object").remove("groups");
    assert_eq!(word(&env.poll_signed(&claims).await), "lacks groups");
    for (userinfo, expected) in [
        (json!({"sub": "ann", "groups": ["staff"]}), "signed in: ann"),
        (json!({"sub": "ann", "groups": ["guests"]}), "lacks groups"),
        (json!({"sub": "eve", "groups": ["staff"]}), "lacks groups"),
        (json!({"groups": ["staff"]}), "lacks groups"),
    ] {
        env.fake.behaviour.lock().userinfo = Some(userinfo);
        assert_eq!(word(&env.poll_signed(&claims).await), expected);
    }
    // A claim that the token makes is not looked up elsewhere.
    env.fake.behaviour.lock().userinfo = Some(json!({"sub": "ann", "groups": ["staff"]}));
    let guest = changed(&env.claims(), &json!({"groups": ["guests"]}));
    assert_eq!(word(&env.poll_signed(&guest).await), "lacks groups");
}

#[tokio::test]
async fn a_recheck_sees_who_left() {
    let env = Env::new(|_| {}).await;
    let tokens = |id_token: Option<String>| {
        let mut tokens = json!({"access_token": "access-1", "token_type": "Bearer"});
        if let Some(token) = id_token {
            tokens["id_token"] = token.into();
        }
        tokens
    };
    env.fake
        .answer(200, tokens(Some(env.fake.signed(&env.claims()))));
    let Ok(RecheckOutcome::Member(member)) = env.recheck().await else {
        panic!("no member")
    };
    let kept = member.refresh_token.expect("the old one");
    assert_eq!(kept.expose_secret(), "refresh-1");

    env.fake.answer(400, json!({"error": "invalid_grant"}));
    assert!(matches!(env.recheck().await, Ok(RecheckOutcome::Revoked)));

    let other = changed(&env.claims(), &json!({"sub": "eve"}));
    env.fake.answer(200, tokens(Some(env.fake.signed(&other))));
    assert!(matches!(env.recheck().await, Ok(RecheckOutcome::Revoked)));

    let guest = changed(&env.claims(), &json!({"groups": ["guests"]}));
    env.fake.answer(200, tokens(Some(env.fake.signed(&guest))));
    let rechecked = env.recheck().await;
    assert!(matches!(rechecked, Ok(RecheckOutcome::ClaimsMissing { claim }) if claim == "groups"));

    // Without an ID token userinfo says who it is.
    for (sub, groups, stays) in [
        ("ann", "staff", true),
        ("eve", "staff", false),
        ("ann", "guests", false),
    ] {
        env.fake.behaviour.lock().userinfo = Some(json!({"sub": sub, "groups": [groups]}));
        env.fake.answer(200, tokens(None));
        let rechecked = env.recheck().await.expect("an outcome");
        assert_eq!(matches!(rechecked, RecheckOutcome::Member(_)), stays);
    }
    env.fake.behaviour.lock().everything = Some((503, Vec::new(), ""));
    assert!(matches!(
        env.recheck().await,
        Err(ProviderError::Unreachable(_))
    ));
}

#[tokio::test]
async fn what_was_read_holds_while_the_provider_is_away() {
    let env = Env::new(|_| {}).await;
    assert_eq!(env.provider.check().await, Standing::Ready);
    env.clock.advance_seconds(2 * 60 * 60);
    env.fake.behaviour.lock().metadata = json!({"issuer": "http://127.0.0.1:1/other"});
    assert_eq!(
        word(&env.poll_signed(&env.claims()).await),
        "signed in: ann"
    );
    let Standing::Failing(error) = env.provider.check().await else {
        panic!("not failing")
    };
    assert!(error.to_string().contains("another issuer"), "{error}");
    env.fake.behaviour.lock().metadata = json!({});
    assert_eq!(env.provider.check().await, Standing::Ready);
}

#[tokio::test]
async fn a_standing_says_what_is_wrong() {
    let env = Env::new(|_| {}).await;
    assert_eq!(env.provider.standing(), Standing::Unknown);
    for (error, advice) in [
        ("invalid_client", "does not know clientId"),
        ("unauthorized_client", "device authorization grant"),
    ] {
        env.fake.answer(401, json!({"error": error}));
        let Standing::Failing(ProviderError::Refused(why)) = env.provider.check().await else {
            panic!("{error}: not refused")
        };
        assert!(why.contains(advice), "{why}");
    }
    env.fake.behaviour.lock().metadata = json!({"device_authorization_endpoint": null});
    let failing = Standing::Failing(ProviderError::NoDeviceEndpoint);
    assert_eq!(env.provider.check().await, failing);
    let started = env.provider.start_device_authorization().await;
    assert_eq!(started.err(), Some(ProviderError::NoDeviceEndpoint));
    env.fake.behaviour.lock().metadata = json!({});
    assert_eq!(env.provider.check().await, Standing::Ready);
}

#[rstest]
#[case::redirect_to_the_metadata_service(
    (302, Vec::new(), "http://169.254.169.254/latest/"),
    "redirect, which is not followed"
)]
#[case::huge_body((200, vec![b' '; 2 << 20], ""), "is too large")]
#[case::not_found((404, b"<html>".to_vec(), ""), "answers 404 where")]
#[case::not_json((200, b"<html>".to_vec(), ""), "something else than JSON")]
#[tokio::test]
async fn a_hostile_provider_is_as_good_as_none(
    #[case] everything: (u16, Vec<u8>, &'static str),
    #[case] expected: &str,
) {
    let env = Env::new(|_| {}).await;
    env.fake.behaviour.lock().everything = Some(everything);
    let started = env.provider.start_device_authorization().await;
    let error = started.expect_err("an error");
    assert!(matches!(error, ProviderError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[rstest]
#[case("token_endpoint", "http://169.254.169.254/token")]
#[case("token_endpoint", "https://169.254.169.254/token")]
#[case("jwks_uri", "https://metadata.google.internal/keys")]
#[case("userinfo_endpoint", "http://id.acme.example/userinfo")]
#[case("device_authorization_endpoint", "https://[fe80::1]/device")]
#[tokio::test]
async fn a_provider_leads_nowhere_that_the_guard_forbids(
    #[case] endpoint: &str,
    #[case] url: &str,
) {
    let env = Env::new(|_| {}).await;
    env.fake.behaviour.lock().metadata = json!({endpoint: url});
    let started = env.provider.start_device_authorization().await;
    let error = started.expect_err("an error").to_string();
    assert!(
        error.contains("address") || error.contains("is not https"),
        "{error}"
    );
    assert!(env.fake.behaviour.lock().forms.is_empty());
}

#[tokio::test]
async fn a_provider_that_never_answers_is_given_up() {
    let env = Env::new(|_| {}).await;
    env.fake.behaviour.lock().hangs = true;
    let config = ProviderConfig {
        issuer: env.fake.issuer.clone(),
        client_id: "bot".to_owned(),
        client_secret: None,
        required_claims: Vec::new(),
        scopes: None,
        unavailable: None,
    };
    let limit = Duration::from_millis(50);
    let provider = IdentityProvider::new(config, http(limit), env.clock.clone());
    let error = provider.start_device_authorization().await;
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("or no whole answer in time"), "{error}");
    // Who comes right after waits for nothing.
    env.fake.behaviour.lock().hangs = false;
    assert!(provider.start_device_authorization().await.is_err());
    env.clock.advance_seconds(11);
    assert!(provider.start_device_authorization().await.is_ok());
}

#[tokio::test]
async fn loopback_is_refused_where_the_guard_refuses_it() {
    let env = Env::new(|_| {}).await;
    let roots = ExtraRootCertificates::default();
    let limits = ProviderLimits::default();
    let http = IdentityProviderHttpClient::new(&roots, limits, AddressPolicy::default());
    let config = ProviderConfig {
        issuer: env.fake.issuer.clone(),
        client_id: "bot".to_owned(),
        client_secret: None,
        required_claims: Vec::new(),
        scopes: None,
        unavailable: None,
    };
    let provider = IdentityProvider::new(config, http.expect("a client"), env.clock.clone());
    let Standing::Failing(error) = provider.check().await else {
        panic!("not failing")
    };
    assert!(error.to_string().contains("a loopback address"), "{error}");
}
