//! See `main.rs`. What a provider says comes from the provider; people sign in by its control port.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use telegram_connector_operator::assistant::{AddressPolicy, ExtraRootCertificates};
use telegram_connector_operator::clock::SystemClock;
use telegram_connector_operator::identity_provider::{
    DeviceAuthorization, IdentityProvider, IdentityProviderHttpClient, Member, PollOutcome,
    ProviderConfig, ProviderError, ProviderLimits, RecheckOutcome, RequiredClaim, Standing,
};

/// What `ci.sh` set.
fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run tests/identity_provider/ci.sh"))
}

/// A provider of `ci.sh`, by the beginning of its variables.
struct Peer(&'static str);

/// Groups come in the ID token.
const BY_TOKEN: Peer = Peer("OIDC_PROVIDER_TOKEN");
/// Groups come from userinfo.
const BY_USERINFO: Peer = Peer("OIDC_PROVIDER_USERINFO");
const AUTHLIB: Peer = Peer("AUTHLIB");

impl Peer {
    fn provider(&self, client: &str, secret: Option<&str>) -> Arc<IdentityProvider> {
        let (claim, scopes) = match self.0 {
            "AUTHLIB" => ("realm_access.roles", None),
            _ => ("groups", None),
        };
        let config = ProviderConfig {
            issuer: variable(self.0),
            client_id: client.to_owned(),
            client_secret: secret.map(Into::into),
            required_claims: vec![RequiredClaim {
                claim: claim.to_owned(),
                values: vec!["staff".to_owned()],
            }],
            scopes,
            unavailable: None,
        };
        let (roots, limits) = (ExtraRootCertificates::default(), ProviderLimits::default());
        let policy = AddressPolicy::allowing_loopback();
        let http = IdentityProviderHttpClient::new(&roots, limits, policy).expect("a client");
        Arc::new(IdentityProvider::new(config, http, Arc::new(SystemClock)))
    }

    fn public(&self) -> Arc<IdentityProvider> {
        self.provider("public", None)
    }

    fn authlib() -> Arc<IdentityProvider> {
        AUTHLIB.provider("support bot", Some("authlib-secret"))
    }

    async fn control(&self, what: &str, query: &[(&str, &str)]) {
        let url = format!("{}/{what}", variable(&format!("{}_CONTROL", self.0)));
        let sent = reqwest::Client::new().post(url).query(query).send().await;
        let answer = sent.expect("an answer of the control port");
        let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
        assert!(status.is_success(), "{what}: {text}");
    }

    /// A person does what the message says.
    async fn answers(&self, what: &str, codes: &DeviceAuthorization, account: &str) {
        let uri = codes
            .verification_uri_complete
            .as_deref()
            .expect("an address with the code");
        let query = [
            ("uri", uri),
            ("user_code", &codes.user_code),
            ("account", account),
        ];
        self.control(what, &query).await;
    }

    async fn sign_in(&self, provider: &IdentityProvider, account: &str) -> PollOutcome {
        let codes = provider.start_device_authorization().await.expect("codes");
        assert!(matches!(
            provider.poll(&codes.device_code).await,
            Ok(PollOutcome::Pending)
        ));
        self.answers("sign-in", &codes, account).await;
        settled(provider, &codes.device_code).await
    }

    async fn member(&self, provider: &IdentityProvider) -> Member {
        match self.sign_in(provider, "ann").await {
            PollOutcome::SignedIn(member) => member,
            other => panic!("{other:?}"),
        }
    }
}

/// Polls until the provider no longer says that it is pending or polled too often.
async fn settled(provider: &IdentityProvider, device_code: &SecretString) -> PollOutcome {
    loop {
        match provider.poll(device_code).await.expect("an outcome") {
            PollOutcome::Pending | PollOutcome::SlowDown => {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            other => return other,
        }
    }
}

async fn recheck(provider: &IdentityProvider, member: &Member) -> RecheckOutcome {
    let token = member.refresh_token.as_ref().expect("a refresh token");
    let rechecked = provider.recheck(token, &member.subject).await;
    rechecked.expect("an outcome")
}

#[tokio::test]
async fn somebody_signs_in_at_oidc_provider() {
    for (peer, client, secret) in [
        (BY_TOKEN, "public", None),
        (BY_TOKEN, "basic", Some("basic secret +&%")),
        (BY_TOKEN, "rsa", None),
        (BY_USERINFO, "public", None),
    ] {
        let provider = peer.provider(client, secret);
        assert_eq!(provider.check().await, Standing::Ready, "{client}");
        let member = peer.member(&provider).await;
        assert_eq!(
            (member.subject.as_str(), member.issuer.as_str()),
            ("ann", provider.issuer())
        );
        let RecheckOutcome::Member(again) = recheck(&provider, &member).await else {
            panic!("{client}: no member")
        };
        let tokens = [&member, &again].map(|m| {
            m.refresh_token
                .as_ref()
                .map(|t| t.expose_secret().to_owned())
        });
        assert_ne!(tokens[0], tokens[1], "it gives a new one each time");
    }
}

#[tokio::test]
async fn somebody_signs_in_at_authlib() {
    let provider = Peer::authlib();
    assert_eq!(provider.check().await, Standing::Ready);
    let member = AUTHLIB.member(&provider).await;
    assert_eq!(member.subject, "uid/ann");
    let RecheckOutcome::Member(again) = recheck(&provider, &member).await else {
        panic!("no member")
    };
    assert!(matches!(
        recheck(&provider, &again).await,
        RecheckOutcome::Member(_)
    ));
    AUTHLIB.control("revoke", &[]).await;
    assert!(matches!(
        recheck(&provider, &again).await,
        RecheckOutcome::Revoked
    ));
}

#[tokio::test]
async fn somebody_without_the_group_does_not_get_in() {
    for peer in [BY_TOKEN, BY_USERINFO] {
        let outcome = peer.sign_in(&peer.public(), "eve").await;
        assert!(
            matches!(outcome, PollOutcome::ClaimsMissing { ref claim } if claim == "groups"),
            "{outcome:?}"
        );
    }
    let outcome = AUTHLIB.sign_in(&Peer::authlib(), "eve").await;
    assert!(
        matches!(outcome, PollOutcome::ClaimsMissing { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn somebody_who_refuses_does_not_get_in() {
    for (peer, provider) in [(BY_TOKEN, BY_TOKEN.public()), (AUTHLIB, Peer::authlib())] {
        let codes = provider.start_device_authorization().await.expect("codes");
        peer.answers("refuse", &codes, "ann").await;
        let outcome = settled(&provider, &codes.device_code).await;
        assert!(matches!(outcome, PollOutcome::Denied), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_code_serves_once_and_its_own_client_only() {
    let provider = BY_TOKEN.public();
    let codes = provider.start_device_authorization().await.expect("codes");
    BY_TOKEN.answers("sign-in", &codes, "ann").await;
    let other = BY_TOKEN.provider("other", Some("other-secret"));
    assert!(matches!(
        other.poll(&codes.device_code).await,
        Ok(PollOutcome::Expired)
    ));
    assert!(matches!(
        settled(&provider, &codes.device_code).await,
        PollOutcome::SignedIn(_)
    ));
    assert!(matches!(
        provider.poll(&codes.device_code).await,
        Ok(PollOutcome::Expired)
    ));
    assert!(matches!(
        provider.poll(&"invented".into()).await,
        Ok(PollOutcome::Expired)
    ));

    let provider = Peer::authlib();
    let codes = provider.start_device_authorization().await.expect("codes");
    AUTHLIB.answers("sign-in", &codes, "ann").await;
    assert!(matches!(
        settled(&provider, &codes.device_code).await,
        PollOutcome::SignedIn(_)
    ));
    assert!(matches!(
        provider.poll(&codes.device_code).await,
        Ok(PollOutcome::Expired)
    ));
}

#[tokio::test]
async fn whoever_left_is_seen_at_the_recheck() {
    let provider = BY_USERINFO.public();
    let member = BY_USERINFO.member(&provider).await;
    BY_USERINFO
        .control("groups", &[("account", "ann"), ("groups", "guests")])
        .await;
    let outcome = recheck(&provider, &member).await;
    BY_USERINFO
        .control("groups", &[("account", "ann"), ("groups", "staff")])
        .await;
    assert!(
        matches!(outcome, RecheckOutcome::ClaimsMissing { .. }),
        "{outcome:?}"
    );

    let provider = BY_TOKEN.public();
    let outcome = BY_TOKEN.sign_in(&provider, "bob").await;
    assert!(
        matches!(outcome, PollOutcome::ClaimsMissing { .. }),
        "{outcome:?}"
    );
    BY_TOKEN
        .control("groups", &[("account", "bob"), ("groups", "staff")])
        .await;
    let PollOutcome::SignedIn(bob) = BY_TOKEN.sign_in(&provider, "bob").await else {
        panic!("bob is not in")
    };
    // A token of one client is worth nothing to another.
    let other = BY_TOKEN.provider("other", Some("other-secret"));
    assert!(matches!(
        recheck(&other, &bob).await,
        RecheckOutcome::Revoked
    ));
    BY_TOKEN.control("disable", &[("account", "bob")]).await;
    assert!(matches!(
        recheck(&provider, &bob).await,
        RecheckOutcome::Revoked
    ));
}

#[tokio::test]
async fn a_refresh_token_that_is_revoked_ends_it() {
    let provider = BY_TOKEN.public();
    let member = BY_TOKEN.member(&provider).await;
    let token = member.refresh_token.as_ref().expect("one").expose_secret();
    let form = [("client_id", "public"), ("token", token)];
    let url = format!("{}/token/revocation", provider.issuer());
    let revoked = reqwest::Client::new().post(url).form(&form).send().await;
    assert!(revoked.is_ok_and(|answer| answer.status().is_success()));
    assert!(matches!(
        recheck(&provider, &member).await,
        RecheckOutcome::Revoked
    ));
}

#[tokio::test]
async fn keys_that_rotate_are_no_outage() {
    // Keys are read again once a minute; a client that is new has read none yet.
    for (peer, provider) in [(BY_TOKEN, BY_TOKEN.public()), (AUTHLIB, Peer::authlib())] {
        peer.member(&provider).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        peer.control("rotate", &[]).await;
        peer.member(&provider).await;
    }
}

#[tokio::test]
async fn a_clock_may_be_two_minutes_off_and_not_ten() {
    for (peer, provider) in [(BY_TOKEN, BY_TOKEN.public()), (AUTHLIB, Peer::authlib())] {
        for seconds in ["-120", "120"] {
            peer.control("clock", &[("seconds", seconds)]).await;
            peer.member(&provider).await;
        }
        for seconds in ["-900", "600"] {
            peer.control("clock", &[("seconds", seconds)]).await;
            let codes = provider.start_device_authorization().await.expect("codes");
            peer.answers("sign-in", &codes, "ann").await;
            let error = loop {
                match provider.poll(&codes.device_code).await {
                    Ok(PollOutcome::Pending | PollOutcome::SlowDown) => {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                    }
                    other => break other.expect_err(seconds),
                }
            };
            assert!(
                matches!(&error, ProviderError::Invalid(why) if why.contains("clocks")),
                "{error}"
            );
        }
        peer.control("clock", &[("seconds", "0")]).await;
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_unreachable_until_it_is_back() {
    let provider = BY_USERINFO.public();
    let member = BY_USERINFO.member(&provider).await;
    BY_USERINFO.control("away", &[]).await;
    let token = member.refresh_token.as_ref().expect("one");
    let error = provider
        .recheck(token, "ann")
        .await
        .expect_err("it is away");
    assert!(matches!(error, ProviderError::Unreachable(_)), "{error}");
    assert!(matches!(
        provider.check().await,
        Standing::Failing(ProviderError::Unreachable(_))
    ));
    BY_USERINFO.control("back", &[]).await;
    assert_eq!(provider.check().await, Standing::Ready);
    assert!(matches!(
        recheck(&provider, &member).await,
        RecheckOutcome::Member(_)
    ));
}

#[tokio::test]
async fn a_client_that_is_refused_is_seen_before_anybody_signs_in() {
    let wrong = [
        BY_TOKEN.provider("nobody", None),
        BY_TOKEN.provider("basic", Some("wrong")),
        BY_TOKEN.provider("basic", None),
        BY_TOKEN.provider("no-device", None),
        AUTHLIB.provider("support bot", Some("wrong")),
        AUTHLIB.provider("nobody", Some("authlib-secret")),
    ];
    for provider in wrong {
        let standing = provider.check().await;
        assert!(
            matches!(standing, Standing::Failing(ProviderError::Refused(_))),
            "{provider:?}: {standing:?}"
        );
        let started = provider.start_device_authorization().await;
        assert!(
            matches!(started, Err(ProviderError::Refused(_))),
            "{provider:?}"
        );
    }
}
