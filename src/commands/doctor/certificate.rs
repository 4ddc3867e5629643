//! The certificate of the public URL. The TLS library verifies it; what it says is recorded instead of ending the connection, so that the
//! checks behind it are made too.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use url::Url;

use super::finding::Finding;

const CERTIFICATE: &str = "certificate";
/// Fewer days are few: whoever renews it has failed to.
const FEW_DAYS: i64 = 14;
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;
/// The end of the year 9999, which no certificate outlives (RFC 5280, 4.1.2.5).
const FAR_FUTURE_SECONDS: u64 = 253_402_300_799;

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CertificateProblem {
    /// It is not for this host.
    WrongName,
    /// No public authority vouches for it.
    Untrusted(String),
}

/// What the TLS library said.
#[derive(Debug, Clone)]
pub(super) struct RecordedCertificate {
    pub(super) problem: Option<CertificateProblem>,
    /// Unix seconds.
    pub(super) not_after: Option<u64>,
}

/// Accepts every certificate and remembers what is wrong with it.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    inner: Arc<WebPkiServerVerifier>,
    recorded: Mutex<Option<RecordedCertificate>>,
}

impl RecordingVerifier {
    /// Knows the public authorities, as Telegram does.
    ///
    /// # Errors
    /// The TLS library cannot start.
    pub(super) fn new() -> Result<Self, String> {
        let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let provider = Arc::new(default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            inner,
            recorded: Mutex::default(),
        })
    }

    /// The certificate of the last connection.
    pub(super) fn recorded(&self) -> Option<RecordedCertificate> {
        self.recorded.lock().clone()
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |at: UnixTime| {
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
                .err()
        };
        let far_future = UnixTime::since_unix_epoch(Duration::from_secs(FAR_FUTURE_SECONDS));
        let not_after = match verify(far_future) {
            Some(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => Some(not_after.as_secs()),
            _ => None,
        };
        // An expired one is judged as it was on its last day.
        let at = not_after.map_or(now.as_secs(), |end| now.as_secs().min(end));
        let error = verify(UnixTime::since_unix_epoch(Duration::from_secs(at)));
        let has_name = ParsedCertificate::try_from(end_entity)
            .and_then(|certificate| verify_server_name(&certificate, server_name));
        let problem = match (has_name, error) {
            (Err(_), _) => Some(CertificateProblem::WrongName),
            (Ok(()), Some(error)) => Some(CertificateProblem::Untrusted(error.to_string())),
            (Ok(()), None) => None,
        };
        *self.recorded.lock() = Some(RecordedCertificate { problem, not_after });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// `uploaded`: Telegram was given the certificate itself, and needs no authority. `is_official`: it is Telegram who judges it, not a Bot API
/// server of the administrator's own with authorities of its own.
pub(super) fn judge(
    url: &Url,
    problem: Option<CertificateProblem>,
    not_after: Option<u64>,
    (uploaded, is_official): (bool, bool),
    now: Timestamp,
) -> Finding {
    let host = url.host_str().unwrap_or_default();
    let seconds_left = not_after
        .and_then(|end| i64::try_from(end).ok())
        .map(|end| end - now.as_second());
    let days_left = seconds_left.map(|seconds| seconds.div_euclid(SECONDS_PER_DAY));
    let renew = format!("renew it: kubectl get certificates -A, or the file behind {host}");
    if let Some(days) = days_left.filter(|days| *days < 0) {
        let message = format!("it expired {} days ago: Telegram delivers nothing", -days);
        return Finding::failure(CERTIFICATE, host, message).with_fix(renew);
    }
    match problem {
        Some(CertificateProblem::WrongName) => {
            let message = format!("it is not for {host}: Telegram delivers nothing");
            return Finding::failure(CERTIFICATE, host, message)
                .with_fix(format!("serve a certificate for {host} there"));
        }
        Some(CertificateProblem::Untrusted(why)) if !uploaded => {
            let message = format!("no public authority vouches for it: {why}");
            let finding = if is_official {
                Finding::failure(CERTIFICATE, host, message)
            } else {
                Finding::warning(CERTIFICATE, host, message)
            };
            return finding.with_fix("serve one of a public authority with its intermediates, or upload your own with --webhook-upload-certificate");
        }
        Some(CertificateProblem::Untrusted(_)) | None => {}
    }
    match days_left {
        Some(days) if days < FEW_DAYS => {
            Finding::warning(CERTIFICATE, host, format!("it has {days} days left")).with_fix(renew)
        }
        Some(days) => Finding::ok(
            CERTIFICATE,
            host,
            format!("it is for {host} and has {days} days left"),
        ),
        None => Finding::ok(CERTIFICATE, host, format!("it is for {host}")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn untrusted() -> CertificateProblem {
        CertificateProblem::Untrusted("UnknownIssuer".into())
    }

    #[rstest]
    #[case::fine(None, 60, (false, true), "ok")]
    #[case::soon(None, 13, (false, true), "WARN")]
    #[case::expired(None, -1, (false, true), "FAIL")]
    #[case::wrong_name(Some(CertificateProblem::WrongName), 60, (true, true), "FAIL")]
    #[case::untrusted(Some(untrusted()), 60, (false, true), "FAIL")]
    #[case::own_bot_api(Some(untrusted()), 60, (false, false), "WARN")]
    #[case::uploaded(Some(untrusted()), 60, (true, true), "ok")]
    fn certificate_is_judged_as_telegram_does(
        #[case] problem: Option<CertificateProblem>,
        #[case] days: i64,
        #[case] trust: (bool, bool),
        #[case] expected: &str,
    ) {
        let url: Url = "https://b.example".parse().expect("a URL");
        let now = Timestamp::from_second(1_000_000_000).expect("a time");
        let not_after = 1_000_000_000_u64.saturating_add_signed(days * 86_400 + 3600);
        let finding = judge(&url, problem, Some(not_after), trust, now);
        assert_eq!(finding.level.word(), expected, "{finding:?}");
    }

    #[test]
    fn end_and_name_of_a_certificate_are_recorded() {
        let made = rcgen::generate_simple_self_signed(vec!["b.example".to_owned()]);
        let certificate = made.expect("a certificate").cert;
        let verifier = RecordingVerifier::new().expect("a verifier");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(20_000 * DAY));
        let verify = |host: &'static str| {
            let name = ServerName::try_from(host).expect("a name");
            let accepted = verifier.verify_server_cert(certificate.der(), &[], &name, &[], now);
            accepted.expect("everything is accepted");
            verifier.recorded().expect("recorded")
        };
        let own = verify("b.example");
        assert!(
            matches!(own.problem, Some(CertificateProblem::Untrusted(_))),
            "{own:?}"
        );
        // rcgen's default is 4096-01-01.
        assert_eq!(own.not_after.map(|end| end / DAY / 365), Some(2127));
        let other = verify("other.example");
        assert_eq!(other.problem, Some(CertificateProblem::WrongName));
    }
}
