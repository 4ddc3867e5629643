//! How the operator of a test is started: its settings, and the addresses and files that they name.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use kube::Client;
use telegram_connector_operator::connection::{ConnectionSettings, WebhookSettings};
use telegram_connector_operator::controller::{self, LeaseSettings};
use telegram_connector_operator::http_server::tls::TlsFiles;

/// The webhook key of [`OperatorOptions::webhook`].
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Options of [`super::test_env::TestEnv::start_operator`].
#[derive(Clone)]
pub struct OperatorOptions {
    pub connection: ConnectionSettings,
    pub lease: Option<LeaseSettings>,
    pub recheck_interval: Duration,
    pub require_secret_label: bool,
    pub client: Option<Client>,
    /// Namespaces to watch before the test's own.
    pub more_namespaces: Vec<String>,
    /// Watch all namespaces instead, on a server of the test's own.
    pub all_namespaces: bool,
    pub webhook_listen: SocketAddr,
    pub webhook_tls: Option<TlsFiles>,
    /// Whether there is a `--sign-in-key-file`.
    pub seals: bool,
}

impl OperatorOptions {
    pub fn polling() -> Self {
        Self {
            connection: ConnectionSettings::Polling,
            lease: None,
            recheck_interval: controller::DEFAULT_RECHECK_INTERVAL,
            require_secret_label: false,
            client: None,
            more_namespaces: Vec::new(),
            all_namespaces: false,
            webhook_listen: any_port(),
            webhook_tls: None,
            seals: true,
        }
    }

    /// Polling, where what is looked at again after minutes is after seconds.
    pub fn in_a_hurry() -> Self {
        Self {
            recheck_interval: Duration::from_secs(3),
            ..Self::polling()
        }
    }

    /// Webhook mode over plain HTTP, which a Bot API server accepts in local mode only.
    pub fn webhook() -> Self {
        let address = free_address();
        Self {
            connection: ConnectionSettings::Webhook(WebhookSettings {
                public_url: format!("http://{address}").parse().expect("a URL"),
                key: KEY.into(),
                previous_key: None,
                max_connections: 40,
                certificate: None,
            }),
            webhook_listen: address,
            ..Self::polling()
        }
    }
}

/// The loopback address with port 0, for which the system chooses a free port.
pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A free address on loopback. Connections to it are refused until something listens there.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(any_port()).expect("a free port");
    listener.local_addr().expect("its address")
}

/// Writes a new self-signed certificate for loopback and its key into a folder.
pub fn write_certificate(folder: &Path) -> TlsFiles {
    let generated =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let files = TlsFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    std::fs::write(&files.certificate, generated.cert.pem()).expect("a writable folder");
    std::fs::write(&files.key, generated.signing_key.serialize_pem()).expect("a writable folder");
    files
}
