//! The certificates of the data API that the operator makes itself (`--data-api-certificate-secret`), so that API aggregation needs neither
//! cert-manager nor a person who renews them.
//!
//! One Secret, which the chart makes empty, holds an authority and the serving certificate of `SERVICE.NAMESPACE.svc`. The leader fills it,
//! renews it, and writes the authorities into the `APIService`'s `caBundle`; nothing is written while nothing is due. Every replica reads the
//! Secret again and again, and serves what it holds without a restart.
//!
//! | file | what it holds |
//! |---|---|
//! | `material` | what the Secret holds: reading, making and judging it |
//! | `decide` | what is to be done next, a pure decision |
//! | `keeper` | the loop against the API server |

mod decide;
mod keeper;
mod material;

pub use keeper::{CertificateError, CertificateKeeper, Step};

/// The `APIService` of the group's only version.
pub const API_SERVICE: &str = "v1alpha1.data.connectors.pupau.ai";

/// Where the operator keeps its own certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// Namespace of the Secret and of the Service: the operator's own.
    pub namespace: String,
    /// `--data-api-certificate-secret`: the Secret, which must exist.
    pub secret: String,
    /// `--data-api-service`: the Service that the `APIService` names.
    pub service: String,
}

impl CertificateSettings {
    /// The name that the aggregator asks a certificate for.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}
