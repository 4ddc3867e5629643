//! TLS of the webhook server. Certificate and key are reloaded when their files change, so that a renewal needs no restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
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

/// Contents of the certificate file and of the key file.
type PemFiles = (Vec<u8>, Vec<u8>);

/// The TLS configuration in use, and the file contents it was made from.
pub(super) struct ReloadingTls {
    files: TlsFiles,
    in_use: ArcSwap<(PemFiles, Arc<ServerConfig>)>,
}

impl ReloadingTls {
    /// Loads the files; fails if either cannot be used.
    pub(super) fn load(files: TlsFiles) -> io::Result<Self> {
        let pems = read(&files)?;
        let config = configure(&files, &pems)?;
        Ok(Self {
            files,
            in_use: ArcSwap::from_pointee((pems, config)),
        })
    }

    /// The acceptor for a new connection, with the latest usable certificate.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.in_use.load().1.clone())
    }

    /// Reloads changed files until `stop`. If they cannot be used, the previous certificate stays in use.
    pub(super) async fn reload_on_change(self: Arc<Self>, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL))
            .await
            .is_some()
        {
            match self.reload_if_changed() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "reloaded the webhook server certificate");
                }
                Err(error) => {
                    tracing::error!(%error, "failed to reload the webhook server certificate; the previous one stays in use");
                }
            }
        }
    }

    fn reload_if_changed(&self) -> io::Result<bool> {
        let pems = read(&self.files)?;
        if pems == self.in_use.load().0 {
            return Ok(false);
        }
        let config = configure(&self.files, &pems)?;
        self.in_use.store(Arc::new((pems, config)));
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

fn configure(files: &TlsFiles, (certificate, key): &PemFiles) -> io::Result<Arc<ServerConfig>> {
    let bad = |path: &Path, why: String| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {why}", path.display()),
        )
    };
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(&files.certificate, format!("no PEM certificates: {e}")))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|e| bad(&files.key, format!("no PEM private key: {e}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| bad(&files.certificate, e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
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
        let tls = ReloadingTls::load(files.clone()).unwrap();
        assert!(!tls.reload_if_changed().unwrap(), "nothing changed");
        write(&files, "two.example");
        assert!(tls.reload_if_changed().unwrap());
        let in_use = tls.in_use.load().0.clone();
        std::fs::write(&files.key, "rubbish").unwrap();
        let error = tls.reload_if_changed().unwrap_err().to_string();
        assert!(error.contains("tls.key"), "{error}");
        assert_eq!(tls.in_use.load().0, in_use);
    }
}
