use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::{FrontProxyConfig, Unauthenticated};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Every CA of these tests has the same name: the key decides.
        params.distinguished_name.push(DnType::CommonName, "ca");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params
            .distinguished_name
            .push(DnType::CommonName, "front-proxy-client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        vec![signed.der().clone()]
    }

    fn data(&self) -> BTreeMap<String, String> {
        [
            ("requestheader-client-ca-file", self.pem.as_str()),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            (
                "requestheader-extra-headers-prefix",
                r#"["X-Remote-Extra-"]"#,
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    fn config(&self) -> Arc<FrontProxyConfig> {
        let config = FrontProxyConfig::new();
        config.set(&self.data()).expect("a good one");
        config
    }
}

fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
    all.iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_static(value))
        })
        .collect()
}

fn refusal(config: &FrontProxyConfig, peer: &[CertificateDer<'_>]) -> Unauthenticated {
    let forged = headers(&[
        ("x-remote-user", "admin"),
        ("x-remote-group", "system:masters"),
    ]);
    config
        .authenticate(peer, &forged)
        .expect_err("it is refused")
}

#[test]
fn the_aggregator_says_who_calls() {
    let authority = Authority::new();
    let all = headers(&[
        ("x-remote-user", "alice"),
        ("x-remote-group", "a"),
        ("x-remote-group", "b"),
        ("x-remote-extra-scopes", "one"),
        ("x-remote-extra-scopes", "two"),
        ("x-remote-extra-acme.org%2fproject", "p"),
        ("x-other", "x"),
    ]);
    let caller = authority
        .config()
        .authenticate(&authority.sign(|_| {}), &all)
        .expect("the aggregator");
    assert_eq!((caller.user.as_str(), caller.uid.as_str()), ("alice", ""));
    assert_eq!(caller.groups, ["a", "b"]);
    assert_eq!(caller.extra["scopes"], ["one", "two"]);
    assert_eq!(caller.extra["acme.org/project"], ["p"]);
    assert_eq!(caller.extra.len(), 2);
}

#[test]
fn who_shows_no_certificate_is_refused() {
    let config = Authority::new().config();
    assert_eq!(refusal(&config, &[]), Unauthenticated::NoCertificate);
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let config = Authority::new().config();
    let other = Authority::new().sign(|_| {});
    assert!(matches!(
        refusal(&config, &other),
        Unauthenticated::Untrusted(_)
    ));
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new();
    let named = authority.sign(|params| {
        params.distinguished_name.push(DnType::CommonName, "admin");
    });
    assert_eq!(
        refusal(&authority.config(), &named),
        Unauthenticated::WrongName("admin".into())
    );
    let nameless = authority.sign(|params| {
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "front-proxy-client");
    });
    assert_eq!(
        refusal(&authority.config(), &nameless),
        Unauthenticated::WrongName(String::new())
    );
}

#[test]
fn an_empty_list_of_names_allows_any_name() {
    let authority = Authority::new();
    let mut data = authority.data();
    data.insert("requestheader-allowed-names".into(), "[]".into());
    let config = FrontProxyConfig::new();
    config.set(&data).expect("a good one");
    let named = authority.sign(|params| {
        params.distinguished_name.push(DnType::CommonName, "other");
    });
    let all = headers(&[("x-remote-user", "alice")]);
    assert!(config.authenticate(&named, &all).is_ok());
}

#[test]
fn a_server_certificate_or_an_old_one_is_refused() {
    let authority = Authority::new();
    let server = authority.sign(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let old = authority.sign(|params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    for peer in [server, old] {
        assert!(matches!(
            refusal(&authority.config(), &peer),
            Unauthenticated::Untrusted(_)
        ));
    }
}

#[test]
fn an_aggregator_that_names_nobody_is_refused() {
    let authority = Authority::new();
    let peer = authority.sign(|_| {});
    let refused = authority
        .config()
        .authenticate(&peer, &headers(&[("x-remote-user", "")]));
    assert_eq!(refused, Err(Unauthenticated::NoUser));
}

#[test]
fn a_rotated_ca_is_followed_and_a_bad_one_is_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let config = FrontProxyConfig::new();
    let all = headers(&[("x-remote-user", "alice")]);
    let peer = old.sign(|_| {});
    assert_eq!(
        config.authenticate(&peer, &all),
        Err(Unauthenticated::NothingTrusted)
    );
    config.set(&old.data()).expect("a good one");
    assert!(config.authenticate(&peer, &all).is_ok());
    for (key, value) in [
        ("requestheader-client-ca-file", "no certificate"),
        ("requestheader-username-headers", "[]"),
        ("requestheader-allowed-names", "front-proxy-client"),
    ] {
        let mut bad = new.data();
        bad.insert(key.into(), value.into());
        assert_eq!(config.set(&bad).expect_err("a bad one").key, key);
        assert!(
            config.authenticate(&peer, &all).is_ok(),
            "the last good one"
        );
    }
    assert!(config.set(&BTreeMap::new()).is_err());
    config.set(&new.data()).expect("a good one");
    assert!(config.authenticate(&peer, &all).is_err());
    assert!(config.authenticate(&new.sign(|_| {}), &all).is_ok());
}
