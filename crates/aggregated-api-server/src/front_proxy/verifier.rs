//! The client certificates of the TLS connection.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Asks every client for a certificate, and lets a client without one in, too: only requests are refused, with a `Status`.
///
/// TLS proves here that the client has the key of the certificate that it shows. Whose certificate that is, is found out for each request
/// anew, by [`FrontProxyConfig`](crate::FrontProxyConfig), so that a connection does not outlive the trust in its certificate. For
/// `rustls::ServerConfig::builder().with_client_cert_verifier(…)`; give what the client showed to
/// [`ApiServer::handle`](crate::ApiServer::handle).
pub fn client_certificate_verifier() -> Arc<dyn ClientCertVerifier> {
    Arc::new(AnyCertificate {
        algorithms: rustls::crypto::ring::default_provider().signature_verification_algorithms,
    })
}

#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: Go shows a certificate to whoever names no authority, and the authority may change while a connection lasts.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
