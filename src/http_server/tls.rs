//! TLS of the listeners: a certificate that can be replaced while they run, and files that are read again when they change, so that a renewal needs no
//! restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

/// How often the files are compared with what is in use.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Paths of certificate and key; both are reloaded when they change.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// The certificate that a listener shows to new connections. Without one it refuses them.
#[derive(Debug, Default)]
pub struct ServedCertificate(ArcSwapOption<CertifiedKey>);

impl ServedCertificate {
    /// Shows this one from now on: PEM of the chain, leaf first, and of the key.
    ///
    /// # Errors
    /// [`CertificateError`]; then the one before is shown as before.
    pub fn set(&self, certificate: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| CertificateError::Certificate(format!("no PEM certificates: {e}")))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|e| CertificateError::Key(format!("no PEM private key: {e}")))?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|e| CertificateError::Certificate(e.to_string()))?;
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// Shows this one from now on; whether it is another one than before.
    pub fn replace(&self, certificate: CertifiedKey) -> bool {
        let is_shown = |shown: &Arc<CertifiedKey>| shown.cert == certificate.cert;
        if self.0.load().as_ref().is_some_and(is_shown) {
            return false;
        }
        self.0.store(Some(Arc::new(certificate)));
        true
    }

    /// What is shown now.
    pub fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }

    /// How a listener that shows it speaks TLS. `clients` looks at the clients' certificates; `None`: they are asked for none.
    ///
    /// # Errors
    /// The versions of TLS cannot be had, which is a fault of the build.
    pub(crate) fn server_config(
        self: &Arc<Self>,
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> io::Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(clients.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for ServedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It is none, or is not of the key.
    #[error("{0}")]
    Certificate(String),
    /// The key is none.
    #[error("{0}")]
    Key(String),
}

/// Contents of the certificate file and of the key file.
type PemFiles = (Vec<u8>, Vec<u8>);

/// A certificate from files.
pub struct CertificateFiles {
    /// Whose it is, for logs: `webhook server`.
    owner: &'static str,
    files: TlsFiles,
    in_use: Mutex<PemFiles>,
    served: Arc<ServedCertificate>,
}

impl CertificateFiles {
    /// Loads the files for a listener; fails if either cannot be used.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(owner: &'static str, files: TlsFiles) -> io::Result<Self> {
        let loaded = Self {
            owner,
            files,
            in_use: Mutex::default(),
            served: Arc::default(),
        };
        loaded.reload_if_changed()?;
        Ok(loaded)
    }

    /// What a listener shows.
    pub fn served(&self) -> Arc<ServedCertificate> {
        self.served.clone()
    }

    /// Reloads changed files until `stop`. If they cannot be used, the previous certificate stays in use.
    pub(crate) async fn reload_on_change(self, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL))
            .await
            .is_some()
        {
            match self.reload_if_changed() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "reloaded the {} certificate", self.owner);
                }
                Err(error) => {
                    tracing::error!(%error, "failed to reload the {} certificate; the previous one stays in use", self.owner);
                }
            }
        }
    }

    fn reload_if_changed(&self) -> io::Result<bool> {
        let pems = read(&self.files)?;
        let mut in_use = self.in_use.lock();
        if pems == *in_use {
            return Ok(false);
        }
        self.served.set(&pems.0, &pems.1).map_err(|error| {
            let path = match &error {
                CertificateError::Certificate(_) => &self.files.certificate,
                CertificateError::Key(_) => &self.files.key,
            };
            let why = format!("{}: {error}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        *in_use = pems;
        Ok(true)
    }
}

fn read(files: &TlsFiles) -> io::Result<PemFiles> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    };
    Ok((read(&files.certificate)?, read(&files.key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &TlsFiles, name: &str) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn renewed_certificate_is_used_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        write(&files, "one.example");
        let tls = CertificateFiles::load("test", files.clone()).unwrap();
        assert!(!tls.reload_if_changed().unwrap(), "nothing changed");
        write(&files, "two.example");
        assert!(tls.reload_if_changed().unwrap());
        let in_use = tls.in_use.lock().clone();
        std::fs::write(&files.key, "rubbish").unwrap();
        let error = tls.reload_if_changed().unwrap_err().to_string();
        assert!(error.contains("tls.key"), "{error}");
        assert_eq!(*tls.in_use.lock(), in_use);
    }
}
