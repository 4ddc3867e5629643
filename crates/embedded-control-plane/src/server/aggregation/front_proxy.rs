//! The front proxy's identity: how servers behind the aggregator know that it is the aggregator who speaks for a user.
//!
//! Everything is made when it is first wanted, so that a control plane without aggregated groups pays nothing.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::json;

use super::RemoteApi;
use crate::server::{ServerState, manifests};

/// The common name of the client certificate.
const CLIENT_NAME: &str = "front-proxy-client";

/// A certificate authority and the client certificate that it signed.
pub(super) struct FrontProxy {
    /// PEM.
    authority: String,
    /// PEM of the authority of client certificates. Nobody has one: there is no authentication.
    client_authority: String,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl fmt::Debug for FrontProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FrontProxy")
    }
}

impl FrontProxy {
    fn new() -> Self {
        let (authority, issuer) = authority("front-proxy-ca");
        let (client_authority, _) = self::authority("kubernetes");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, CLIENT_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a P-256 key");
        let certificate = params
            .signed_by(&key, &issuer)
            .expect("a plain certificate is signed");
        Self {
            authority,
            client_authority,
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        }
    }

    /// How to speak TLS to a server.
    pub(super) fn client_config(&self, api: &RemoteApi) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if api.insecure_skip_tls_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            let roots = Arc::new(roots(&api.ca_bundle)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|_| "x509: certificate signed by unknown authority".to_owned())?;
            builder.with_webpki_verifier(verifier)
        };
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        builder
            .with_client_auth_cert(vec![self.certificate.clone()], key)
            .map_err(|error| error.to_string())
    }
}

/// An authority: its certificate as PEM, and what signs with it.
fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a P-256 key");
    let certificate = params
        .self_signed(&key)
        .expect("a plain certificate is signed");
    (certificate.pem(), Issuer::new(params, key))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("caBundle: {error}"))?;
    }
    Ok(roots)
}

/// The identity, made now if nobody wanted it before.
pub(super) fn identity(server: &ServerState) -> &FrontProxy {
    server.aggregation.front_proxy.get_or_init(FrontProxy::new)
}

/// Writes `kube-system/extension-apiserver-authentication`, by which servers know whom to believe, the first time that anybody
/// may look for it.
pub(in crate::server) fn publish(server: &ServerState) {
    if server.aggregation.front_proxy.get().is_some() {
        return;
    }
    let identity = identity(server);
    let list = |entry: &str| json!([entry]).to_string();
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": identity.client_authority,
            "requestheader-allowed-names": list(CLIENT_NAME),
            "requestheader-client-ca-file": identity.authority,
            "requestheader-extra-headers-prefix": list("X-Remote-Extra-"),
            "requestheader-group-headers": list("X-Remote-Group"),
            "requestheader-username-headers": list("X-Remote-User"),
        },
    });
    // Refused only when somebody deleted the namespace, and then there is nothing to read.
    let _ = manifests::apply_object(server, &config_map);
}

/// `insecureSkipTLSVerify`: takes any certificate, but still wants proof that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
