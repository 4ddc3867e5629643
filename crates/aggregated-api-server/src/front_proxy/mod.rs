//! Who calls: the aggregator, proved by its client certificate, and for whom, told by its headers.
//!
//! kube-apiserver writes into `ConfigMap` `kube-system/extension-apiserver-authentication` which CA has signed its aggregator's certificate,
//! which names that may have, and in which headers it says who the user is. Whoever has no such certificate is nobody here, whatever
//! headers it sends. The Role `extension-apiserver-authentication-reader` in `kube-system` lets a `ServiceAccount` read the `ConfigMap`.

mod certificate_name;
mod follow;
mod verifier;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use parking_lot::RwLock;
use percent_encoding::percent_decode_str;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

pub use self::verifier::client_certificate_verifier;
use crate::caller::Caller;

/// What the `ConfigMap` said last, for the server to believe an aggregator by.
#[derive(Debug, Default)]
pub struct FrontProxyConfig {
    trusted: RwLock<Option<Arc<Trusted>>>,
}

/// The text of the `ConfigMap`, read.
#[derive(Debug)]
struct Trusted {
    chain: Arc<dyn ClientCertVerifier>,
    /// Empty: any name that the CA has signed.
    names: Vec<String>,
    user_headers: Vec<String>,
    uid_headers: Vec<String>,
    group_headers: Vec<String>,
    extra_prefixes: Vec<String>,
}

/// What is wrong with the `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ConfigMap kube-system/extension-apiserver-authentication, {key}: {problem}")]
pub struct FrontProxyConfigError {
    /// The key in its data.
    pub key: &'static str,
    /// What it lacks.
    pub problem: String,
}

/// Why a caller is nobody; for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unauthenticated {
    #[error("it is not known yet which aggregator to believe")]
    NothingTrusted,
    #[error("the client shows no certificate")]
    NoCertificate,
    #[error("the client certificate is not one of the aggregator's CA: {0}")]
    Untrusted(String),
    #[error("the client certificate has the name {0:?}, which is none of the aggregator's")]
    WrongName(String),
    #[error("the aggregator names no user")]
    NoUser,
}

impl FrontProxyConfig {
    /// Nothing is trusted yet: every request is refused.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes over what the `ConfigMap` says.
    ///
    /// # Errors
    /// When a key lacks or cannot be read. What held before still holds.
    pub fn set(&self, data: &BTreeMap<String, String>) -> Result<(), FrontProxyConfigError> {
        let trusted = Trusted::read(data)?;
        *self.trusted.write() = Some(Arc::new(trusted));
        Ok(())
    }

    /// Whether an aggregator can be believed at all.
    pub fn is_ready(&self) -> bool {
        self.trusted.read().is_some()
    }

    /// Finds out who calls, by the certificates of the connection (the client's own first) and the headers of the request.
    pub(crate) fn authenticate(
        &self,
        peer: &[CertificateDer<'_>],
        headers: &HeaderMap,
    ) -> Result<Caller, Unauthenticated> {
        let trusted = self.trusted.read().clone();
        let trusted = trusted.ok_or(Unauthenticated::NothingTrusted)?;
        let (own, intermediates) = peer.split_first().ok_or(Unauthenticated::NoCertificate)?;
        trusted
            .chain
            .verify_client_cert(own, intermediates, UnixTime::now())
            .map_err(|error| Unauthenticated::Untrusted(error.to_string()))?;
        if !trusted.names.is_empty() {
            let name = certificate_name::common_name(own).unwrap_or_default();
            if !trusted.names.contains(&name) {
                return Err(Unauthenticated::WrongName(name));
            }
        }
        trusted.caller(headers)
    }
}

impl Trusted {
    fn read(data: &BTreeMap<String, String>) -> Result<Self, FrontProxyConfigError> {
        let ca = "requestheader-client-ca-file";
        let wrong = |key, problem: String| FrontProxyConfigError { key, problem };
        let pem = data.get(ca).ok_or_else(|| {
            wrong(
                ca,
                "it lacks: kube-apiserver needs --requestheader-client-ca-file".into(),
            )
        })?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| wrong(ca, error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| wrong(ca, error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| wrong(ca, error.to_string()))?;
        let list = |key: &'static str| -> Result<Vec<String>, FrontProxyConfigError> {
            match data.get(key).map(String::as_str) {
                None | Some("") => Ok(Vec::new()),
                Some(text) => serde_json::from_str(text)
                    .map_err(|_| wrong(key, "it is not a list of strings as JSON".into())),
            }
        };
        let user_key = "requestheader-username-headers";
        let trusted = Self {
            chain,
            names: list("requestheader-allowed-names")?,
            user_headers: list(user_key)?,
            uid_headers: list("requestheader-uid-headers")?,
            group_headers: list("requestheader-group-headers")?,
            extra_prefixes: list("requestheader-extra-headers-prefix")?
                .into_iter()
                .map(|prefix| prefix.to_ascii_lowercase())
                .collect(),
        };
        if trusted.user_headers.is_empty() {
            return Err(wrong(user_key, "it names no header".into()));
        }
        Ok(trusted)
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unauthenticated> {
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let first = |names: &[String]| {
            let values = names.iter().filter_map(|name| headers.get(name.as_str()));
            values.map(text).find(|value| !value.is_empty())
        };
        let user = first(&self.user_headers).ok_or(Unauthenticated::NoUser)?;
        let groups = self
            .group_headers
            .iter()
            .flat_map(|name| headers.get_all(name.as_str()))
            .map(text)
            .collect();
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            // Header names are in lower case already.
            let mut prefixes = self.extra_prefixes.iter();
            if let Some(key) = prefixes.find_map(|prefix| name.as_str().strip_prefix(&**prefix)) {
                let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                extra.entry(key).or_default().push(text(value));
            }
        }
        Ok(Caller {
            user,
            uid: first(&self.uid_headers).unwrap_or_default(),
            groups,
            extra,
        })
    }
}

#[cfg(test)]
mod tests;
