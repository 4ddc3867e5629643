//! Certificate authorities that are trusted over https beside the built-in public ones: those of `--assistant-ca-file` and
//! `--identity-provider-ca-file`, such as a cluster's or a company's own.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Certificates of additional authorities; none by default.
#[derive(Debug, Clone, Default)]
pub struct ExtraRootCertificates(Vec<CertificateDer<'static>>);

/// Why a file of authorities cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {}: {why}", path.display())]
pub struct CaFileError {
    /// The flag that names the file.
    pub flag: &'static str,
    /// Path of the file, as given.
    pub path: PathBuf,
    /// What is wrong with the file; a clause that continues the error message.
    pub why: String,
}

impl ExtraRootCertificates {
    /// Reads a PEM bundle of one or more certificates; text between them is ignored.
    ///
    /// # Errors
    /// [`CaFileError`] if the file cannot be read, holds no certificate, or holds an invalid one.
    pub fn read(flag: &'static str, path: &Path) -> Result<Self, CaFileError> {
        let error = |why| CaFileError {
            flag,
            path: path.to_owned(),
            why,
        };
        let pem = std::fs::read(path).map_err(|e| error(format!("it cannot be read: {e}")))?;
        Self::parse(&pem).map_err(error)
    }

    fn parse(pem: &[u8]) -> Result<Self, String> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|e| format!("it is no PEM bundle: {e}"))?;
        if found.is_empty() {
            return Err("it holds no certificate (-----BEGIN CERTIFICATE-----)".into());
        }
        // Checked here, because the HTTP client would report it later and without the file's name.
        let mut store = RootCertStore::empty();
        for (n, certificate) in found.iter().enumerate() {
            store
                .add(certificate.clone())
                .map_err(|e| format!("certificate {} of it is none: {e}", n + 1))?;
        }
        Ok(Self(found))
    }

    /// Makes a client trust these authorities too.
    ///
    /// # Errors
    /// The client's message, if it refuses a certificate that [`Self::read`] accepted.
    pub(super) fn add_to(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
        for certificate in &self.0 {
            let certificate = Certificate::from_der(certificate).map_err(|e| e.to_string())?;
            builder = builder.add_root_certificate(certificate);
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        let made = rcgen::generate_simple_self_signed(vec!["ca.acme".to_owned()]);
        made.expect("a certificate").cert.pem()
    }

    #[test]
    fn bundle_yields_every_certificate_in_it() {
        let bundle = format!("# ours\n{}\n# theirs\r\n{}", authority(), authority());
        let roots = ExtraRootCertificates::parse(bundle.as_bytes()).expect("two certificates");
        assert_eq!(roots.0.len(), 2);
    }

    #[test]
    fn unusable_file_is_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let says = |pem: &str, what: &str| {
            std::fs::write(&path, pem).expect("written");
            let message = ExtraRootCertificates::read("--assistant-ca-file", &path)
                .expect_err("refused")
                .to_string();
            let named = format!("--assistant-ca-file {}: ", path.display());
            assert!(
                message.starts_with(&named) && message.contains(what),
                "{message}"
            );
        };
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("made");
        says("", "holds no certificate");
        says(&made.signing_key.serialize_pem(), "holds no certificate");
        says(
            "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n",
            "no PEM bundle",
        );
        let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        says(
            &format!("{}{none}", authority()),
            "certificate 2 of it is none",
        );
        std::fs::remove_file(&path).expect("removed");
        let message = ExtraRootCertificates::read("--assistant-ca-file", &path)
            .expect_err("refused")
            .to_string();
        assert!(message.contains("cannot be read"), "{message}");
    }
}
