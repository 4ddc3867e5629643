//! What the Secret holds: the serving certificate and its key, the authorities (the newest first), and the newest one's key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};

use super::decide::{AUTHORITY_LIFETIME, MaterialState, SERVING_LIFETIME};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
/// The subject of every authority: which one has issued a certificate is told by the key's identifier.
const AUTHORITY_NAME: &str = "telegram-connector-operator data API";
/// Clocks of a cluster differ by less.
const CLOCK_SKEW: Duration = Duration::from_hours(1);
/// The end of the year 9999, which no certificate outlives (RFC 5280, 4.1.2.5).
const FAR_FUTURE_SECONDS: u64 = 253_402_300_799;

/// Certificates and keys that belong together, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    certificate: String,
    key: String,
    authorities: Vec<String>,
    authority_key: String,
}

impl Material {
    /// Reads the data of the Secret.
    ///
    /// # Errors
    /// What is missing or does not belong together; no part of a key is in it.
    pub(super) fn parse(data: &BTreeMap<String, ByteString>) -> Result<Self, String> {
        let text = |key: &str| {
            let bytes = data.get(key).map_or(&[][..], |value| &value.0);
            match std::str::from_utf8(bytes) {
                Ok(text) if !text.trim().is_empty() => Ok(text.to_owned()),
                _ => Err(format!("no {key}")),
            }
        };
        let material = Self {
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
            authorities: split_certificates(&text(AUTHORITIES)?),
            authority_key: text(AUTHORITY_KEY)?,
        };
        material.certified_key()?;
        material.check_authority_key()?;
        Ok(material)
    }

    /// The data of the Secret.
    pub(super) fn data(&self) -> BTreeMap<String, ByteString> {
        let entries = [
            (CERTIFICATE, &self.certificate),
            (KEY, &self.key),
            (AUTHORITIES, &self.bundle()),
            (AUTHORITY_KEY, &self.authority_key),
        ];
        entries
            .map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))
            .into()
    }

    /// The authorities, for the `caBundle`.
    pub(super) fn bundle(&self) -> String {
        self.authorities.concat()
    }

    /// The serving certificate with its key, for the TLS server.
    ///
    /// # Errors
    /// They cannot be read or do not belong together.
    pub(super) fn certified_key(&self) -> Result<CertifiedKey, String> {
        let chain = parse_certificates(CERTIFICATE, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| format!("{KEY}: {error}"))?;
        CertifiedKey::from_der(chain, key, &default_provider())
            .map_err(|error| format!("{CERTIFICATE} and {KEY}: {error}"))
    }

    /// A new authority and a serving certificate for `host`.
    ///
    /// # Errors
    /// The system has no random numbers, or `host` is no DNS name.
    pub(super) fn create(host: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        let (authority, authority_key) = make_authority(now)?;
        let (certificate, key) = issue(&authority_key, host, now)?;
        Ok(Self {
            certificate,
            key,
            authorities: vec![authority],
            authority_key,
        })
    }

    /// The same with a new authority before the others, which has issued nothing yet.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn with_new_authority(&self, now: Timestamp) -> Result<Self, rcgen::Error> {
        let (authority, authority_key) = make_authority(now)?;
        let mut authorities = vec![authority];
        authorities.extend(self.authorities.iter().cloned());
        Ok(Self {
            authorities,
            authority_key,
            ..self.clone()
        })
    }

    /// The same with a new serving certificate of the newest authority. Of the others stays the one that has issued the certificate that is
    /// replaced: some replica may serve that for a while. The next renewal, weeks later, leaves it out.
    ///
    /// # Errors
    /// As [`Material::create`].
    pub(super) fn renewed(&self, host: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        let (certificate, key) = issue(&self.authority_key, host, now)?;
        let issuer_of_replaced = |authority: &&String| self.verify(host, authority, now).is_ok();
        let (newest, older) = self.authorities.split_at(self.authorities.len().min(1));
        let mut authorities = newest.to_vec();
        if !newest.iter().any(|newest| issuer_of_replaced(&newest)) {
            authorities.extend(older.iter().filter(issuer_of_replaced).cloned());
        }
        Ok(Self {
            certificate,
            key,
            authorities,
            authority_key: self.authority_key.clone(),
        })
    }

    /// What is left of it at `now`, as certificate of `host`; `published`: the `caBundle` of the `APIService`.
    pub(super) fn judge(
        &self,
        host: &str,
        published: Option<&[u8]>,
        now: Timestamp,
    ) -> MaterialState {
        let issuers = || self.authorities.iter().enumerate();
        let issuer = issuers().find(|(_, authority)| self.verify(host, authority, now).is_ok());
        MaterialState {
            serving_left: issuer.and_then(|(_, authority)| {
                let end = self.verify_at(host, authority, FAR_FUTURE_SECONDS);
                left(&end, now)
            }),
            issued_by_newest: issuer.is_some_and(|(position, _)| position == 0),
            authority_left: self
                .authorities
                .first()
                .and_then(|authority| authority_left(authority, now))
                .unwrap_or_default(),
            published: published == Some(self.bundle().as_bytes()),
        }
    }

    /// Whether `authority` vouches for the serving certificate as that of `host` at `now`.
    fn verify(&self, host: &str, authority: &str, now: Timestamp) -> Result<(), Error> {
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        self.verify_at(host, authority, seconds)
    }

    fn verify_at(&self, host: &str, authority: &str, seconds: u64) -> Result<(), Error> {
        let chain = parse_certificates(CERTIFICATE, &self.certificate).map_err(Error::General)?;
        let authority = parse_certificates(AUTHORITIES, authority).map_err(Error::General)?;
        verify_chain(&chain, &authority, host, seconds)
    }

    /// The newest authority's key is that of its certificate.
    fn check_authority_key(&self) -> Result<(), String> {
        let key = KeyPair::from_pem(&self.authority_key)
            .map_err(|error| format!("{AUTHORITY_KEY}: {error}"))?;
        let newest = self.authorities.first().map_or("", String::as_str);
        let mut roots = RootCertStore::empty();
        for certificate in parse_certificates(AUTHORITIES, newest)? {
            roots
                .add(certificate)
                .map_err(|error| format!("{AUTHORITIES}: {error}"))?;
        }
        // Without the head of the outer sequence.
        let belongs = roots.roots.first().is_some_and(|root| {
            rcgen::PublicKeyData::subject_public_key_info(&key)
                .ends_with(root.subject_public_key_info.as_ref())
        });
        if belongs {
            Ok(())
        } else {
            Err(format!(
                "{AUTHORITY_KEY} is not the key of the first certificate of {AUTHORITIES}"
            ))
        }
    }
}

/// Each certificate of a PEM text by itself.
fn split_certificates(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    bundle
        .split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| format!("{}\n", part.trim()))
        .collect()
}

fn parse_certificates(name: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{name}: no certificate")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// # Errors
/// The TLS library's verdict.
fn verify_chain(
    chain: &[CertificateDer<'_>],
    authorities: &[CertificateDer<'static>],
    host: &str,
    seconds: u64,
) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
    let name = ServerName::try_from(host).map_err(|error| Error::General(error.to_string()))?;
    let Some((end_entity, intermediates)) = chain.split_first() else {
        return Err(Error::NoCertificatesPresented);
    };
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier
        .verify_server_cert(end_entity, intermediates, &name, &[], at)
        .map(drop)
}

/// How long is left, from the TLS library's verdict in the far future: that the certificate ended, and when.
fn left(verdict: &Result<(), Error>, now: Timestamp) -> Option<Duration> {
    let Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) =
        verdict
    else {
        return None;
    };
    let now = u64::try_from(now.as_second()).ok()?;
    Some(Duration::from_secs(not_after.as_secs().saturating_sub(now)))
}

/// The end of an authority: the library looks at the time before it refuses an authority as a server's certificate.
fn authority_left(authority: &str, now: Timestamp) -> Option<Duration> {
    let certificates = parse_certificates(AUTHORITIES, authority).ok()?;
    let verdict = verify_chain(
        &certificates,
        &certificates,
        "authority.invalid",
        FAR_FUTURE_SECONDS,
    );
    left(&verdict, now)
}

/// The certificate and key of a new authority.
fn make_authority(now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = authority_params(now).self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, AUTHORITY_NAME);
    params.distinguished_name = name;
    set_validity(&mut params, now, AUTHORITY_LIFETIME);
    params
}

/// A certificate of `host` and its key.
fn issue(
    authority_key: &str,
    host: &str,
    now: Timestamp,
) -> Result<(String, String), rcgen::Error> {
    let issuer = Issuer::new(authority_params(now), KeyPair::from_pem(authority_key)?);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "telegram-connector-operator");
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, SERVING_LIFETIME);
    let certificate = params.signed_by(&key, &issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, lifetime: Duration) {
    // A clock outside of the years that exist gives a certificate that is not valid, which the next look says.
    let now = time::OffsetDateTime::from_unix_timestamp(now.as_second())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    params.not_before = now.saturating_sub(time::Duration::seconds_f64(CLOCK_SKEW.as_secs_f64()));
    params.not_after = now.saturating_add(time::Duration::seconds_f64(lifetime.as_secs_f64()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "operator-data.connectors.svc";
    const DAY: i64 = 24 * 60 * 60;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + number * DAY).expect("a time")
    }

    fn days(left: Duration) -> u64 {
        left.as_secs() / 86_400
    }

    #[test]
    fn new_material_is_read_back_and_good_for_its_host_only() {
        let made = Material::create(HOST, day(0)).unwrap();
        let read = Material::parse(&made.data()).unwrap();
        assert!(read == made);
        let bundle = read.bundle();
        let state = read.judge(HOST, Some(bundle.as_bytes()), day(0));
        assert_eq!(state.serving_left.map(days), Some(90));
        assert_eq!(days(state.authority_left), 3650);
        assert!(state.issued_by_newest && state.published, "{state:?}");
        let other = read.judge("other.connectors.svc", None, day(0));
        assert_eq!(other.serving_left, None);
        assert!(!other.published);
        assert_eq!(read.judge(HOST, None, day(91)).serving_left, None);
        assert!(read.judge(HOST, None, day(3651)).authority_left.is_zero());
    }

    #[test]
    fn old_authority_stays_until_the_renewal_after_the_next() {
        let first = Material::create(HOST, day(0)).unwrap();
        let added = first.with_new_authority(day(2500)).unwrap();
        // The certificate is still that of the first authority, which day 50 of its life shows.
        let state = added.judge(HOST, None, day(50));
        assert!(
            state.serving_left.is_some() && !state.issued_by_newest,
            "{state:?}"
        );

        let first = first.renewed(HOST, day(2490)).unwrap();
        let added = first.with_new_authority(day(2500)).unwrap();
        let switched = added.renewed(HOST, day(2501)).unwrap();
        assert_eq!(switched.authorities, added.authorities);
        assert!(switched.judge(HOST, None, day(2502)).issued_by_newest);
        let next = switched.renewed(HOST, day(2562)).unwrap();
        assert_eq!(next.authorities, added.authorities[..1]);
        assert!(Material::parse(&next.data()).is_ok());
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let one = Material::create(HOST, day(0)).unwrap();
        let other = Material::create(HOST, day(0)).unwrap();
        for (part, expected) in [
            (KEY, "tls.crt and tls.key"),
            (AUTHORITY_KEY, "ca.key is not the key"),
        ] {
            let mut data = one.data();
            data.insert(part.to_owned(), other.data()[part].clone());
            let error = Material::parse(&data).err().unwrap_or_default();
            assert!(error.contains(expected), "{part}: {error}");
            data.insert(part.to_owned(), ByteString(Vec::new()));
            let error = Material::parse(&data).err().unwrap_or_default();
            assert_eq!(error, format!("no {part}"));
        }
        assert!(Material::parse(&BTreeMap::new()).is_err());
    }

    #[test]
    fn authorities_of_a_hand_edited_secret_are_told_apart() {
        let one = Material::create(HOST, day(0)).unwrap();
        let two = one.with_new_authority(day(0)).unwrap();
        let edited = format!("# ours\n{}\n\n{}", two.authorities[0], two.authorities[1]);
        assert_eq!(split_certificates(&edited).len(), 2);
    }
}
