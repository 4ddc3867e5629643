//! `run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{LogArgs, StoreArgs};
use crate::api::connector::ConnectionMode;
use crate::telegram::LocalFiles;

/// How the environment receives updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConnectionModeArg {
    /// Telegram calls the operator.
    Webhook,
    /// The operator asks Telegram.
    Polling,
}

impl From<ConnectionModeArg> for ConnectionMode {
    fn from(mode: ConnectionModeArg) -> Self {
        match mode {
            ConnectionModeArg::Webhook => Self::Webhook,
            ConnectionModeArg::Polling => Self::Polling,
        }
    }
}

/// `run`: what the administrator sets once for all connectors.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// How every connector of this environment receives updates
    #[arg(long, env = "CONNECTION_MODE", value_enum, default_value = "polling")]
    pub connection_mode: ConnectionModeArg,
    /// Public https base URL of the webhook server; required for webhook
    #[arg(long, env = "PUBLIC_URL", required_if_eq("connection_mode", "webhook"))]
    pub public_url: Option<Url>,
    /// Address of the webhook server; `[::]` takes IPv4 too, and is `0.0.0.0` where there is no IPv6
    #[arg(long, env = "WEBHOOK_LISTEN", default_value = "[::]:8443")]
    pub webhook_listen: SocketAddr,
    /// Secret of 32 characters or more from which each connector's webhook `secret_token` is derived; required for webhook
    #[arg(long, env = "WEBHOOK_KEY", hide_env_values = true, value_parser = parse_secret, required_if_eq("connection_mode", "webhook"))]
    pub webhook_key: Option<SecretString>,
    /// The `--webhook-key` before its last rotation: requests made with it are still taken
    #[arg(long, env = "WEBHOOK_PREVIOUS_KEY", hide_env_values = true, value_parser = parse_secret)]
    pub webhook_previous_key: Option<SecretString>,
    /// PEM certificate for the webhook server to serve TLS itself (read again when it changes)
    #[arg(long, env = "WEBHOOK_TLS_CERT", requires = "webhook_tls_key")]
    pub webhook_tls_cert: Option<PathBuf>,
    /// PEM private key of `--webhook-tls-cert`
    #[arg(long, env = "WEBHOOK_TLS_KEY", requires = "webhook_tls_cert")]
    pub webhook_tls_key: Option<PathBuf>,
    /// Upload `--webhook-tls-cert` to Telegram: for a self-signed certificate
    #[arg(
        long,
        env = "WEBHOOK_UPLOAD_CERTIFICATE",
        requires = "webhook_tls_cert"
    )]
    pub webhook_upload_certificate: bool,
    /// Address of the data API, which kube-apiserver's aggregator calls; absent: there is none; it wants a certificate
    #[arg(long, env = "DATA_API_LISTEN")]
    pub data_api_listen: Option<SocketAddr>,
    /// PEM certificate of the data API, for the name of its Service (read again when it changes)
    #[arg(
        long,
        env = "DATA_API_TLS_CERT",
        requires_all = ["data_api_tls_key", "data_api_listen"]
    )]
    pub data_api_tls_cert: Option<PathBuf>,
    /// PEM private key of `--data-api-tls-cert`
    #[arg(long, env = "DATA_API_TLS_KEY", requires = "data_api_tls_cert")]
    pub data_api_tls_key: Option<PathBuf>,
    /// Secret in which the operator keeps the data API's authority and certificate, made and renewed by itself; it must exist, empty at first
    #[arg(
        long,
        env = "DATA_API_CERTIFICATE_SECRET",
        value_name = "NAME",
        requires = "data_api_service",
        conflicts_with = "data_api_tls_cert"
    )]
    pub data_api_certificate_secret: Option<String>,
    /// Service of the data API in the operator's own namespace, for which `--data-api-certificate-secret` is
    #[arg(
        long,
        env = "DATA_API_SERVICE",
        value_name = "NAME",
        requires = "data_api_certificate_secret"
    )]
    pub data_api_service: Option<String>,
    /// Address of metrics, health, readiness
    #[arg(long, env = "ADMIN_LISTEN", default_value = "[::]:8080")]
    pub admin_listen: SocketAddr,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
    /// Bot API root: a self-hosted Bot API server, or a test peer
    #[arg(
        long,
        env = "TELEGRAM_API_URL",
        default_value = "https://api.telegram.org"
    )]
    pub telegram_api_url: Url,
    /// Where the operator sees the files of a Bot API server in `--local` mode, which may then have more than 20 MB: one path, or the server's own and the operator's
    #[arg(
        long,
        env = "TELEGRAM_FILES_DIR",
        value_name = "SERVER_PATH=LOCAL_PATH"
    )]
    pub telegram_files_dir: Option<LocalFiles>,
    /// Namespace to watch; repeatable; absent: all
    #[arg(long, env = "WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// Days that denied conversations are kept
    #[arg(long, env = "DENIED_RETENTION_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub denied_retention_days: u32,
    /// Days that a session is kept after its last message, and a message that was given up
    #[arg(long, env = "SESSION_RETENTION_DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub session_retention_days: u32,
    /// Chats that are answered at once, of all connectors together; each connector may have 4 beyond it
    #[arg(long, env = "MAX_CONCURRENT_CHATS", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub max_concurrent_chats: u16,
    /// Elect one leader by a Lease, for more than one replica [default: true with `PostgreSQL`, false with `SQLite`]
    #[arg(long, env = "LEADER_ELECTION", action = clap::ArgAction::Set)]
    pub leader_election: Option<bool>,
    /// Namespace of the leader's Lease [default: the Pod's own, else `default`]
    #[arg(long, env = "LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Seconds after which a leader that gives no sign of life is replaced
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(3..=300))]
    pub lease_seconds: u32,
    /// Address or range that an assistant may have although it is refused otherwise: loopback, link-local, a metadata service, an address of the operator or its node, a denied range; repeatable
    #[arg(
        long,
        env = "ALLOW_ASSISTANT_ADDRESS",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    pub allow_assistant_address: Vec<String>,
    /// Address or range that no assistant may have, such as the cluster's nodes; repeatable
    #[arg(
        long,
        env = "DENY_ASSISTANT_ADDRESS",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    pub deny_assistant_address: Vec<String>,
    /// Host that assistants may have: a name, `*.suffix`, an address or a range; repeatable; if given, no other host is called
    #[arg(
        long,
        env = "ALLOW_ASSISTANT_HOST",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    pub allow_assistant_host: Vec<String>,
    /// Host that files of answers are fetched from, beside each assistant's own origin: a name, `*.suffix`, an address or a range; repeatable
    #[arg(
        long,
        env = "ALLOW_FILE_HOST",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    pub allow_file_host: Vec<String>,
    /// PEM bundle of authorities that assistants over https may be vouched for by, beside the public ones; read at the start
    #[arg(long, env = "ASSISTANT_CA_FILE", value_name = "PATH")]
    pub assistant_ca_file: Option<PathBuf>,
    /// PEM bundle of authorities that identity providers may be vouched for by, beside the public ones; read at the start
    #[arg(long, env = "IDENTITY_PROVIDER_CA_FILE", value_name = "PATH")]
    pub identity_provider_ca_file: Option<PathBuf>,
    /// File with the key that seals what a sign-in with the company account leaves in the store: 32 random bytes as Base64, one key a line, of which the first seals and all open; absent: nobody can sign in; read at the start
    #[arg(long, env = "SIGN_IN_KEY_FILE", value_name = "PATH")]
    pub sign_in_key_file: Option<PathBuf>,
    /// Use a Secret only if it has the label `connectors.pupau.ai/allow-use: "true"`
    #[arg(long, env = "REQUIRE_SECRET_LABEL")]
    pub require_secret_label: bool,
    /// Seconds that SIGTERM leaves to what is in flight
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub shutdown_grace_seconds: u32,
    /// Logs
    #[command(flatten)]
    pub log: LogArgs,
}

/// Fewest characters of `--webhook-key`.
const MIN_WEBHOOK_KEY_CHARACTERS: usize = 32;

/// Takes any value: clap's own complaint about a wrong one would show it.
#[allow(clippy::unnecessary_wraps, reason = "the shape clap wants")]
fn parse_secret(value: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(value.into())
}

impl RunArgs {
    /// Whether one leader is elected by a Lease.
    pub fn elects_leader(&self) -> bool {
        let postgres = self.store.store.starts_with("postgres");
        self.leader_election.unwrap_or(postgres)
    }

    /// What clap cannot say of single flags.
    ///
    /// # Errors
    /// A sentence that names the flag and what to do; no secret in it.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(key) = &self.webhook_key {
            let length = key.expose_secret().chars().count();
            if length < MIN_WEBHOOK_KEY_CHARACTERS {
                return Err(format!(
                    "--webhook-key has {length} characters and needs {MIN_WEBHOOK_KEY_CHARACTERS} or more; make one with: openssl rand -hex 32"
                ));
            }
        }
        if let Some(url) = &self.public_url
            && (url.scheme() != "https" || url.query().is_some() || url.fragment().is_some())
        {
            return Err(format!(
                "--public-url {url} must be https without query and fragment: Telegram delivers to https only"
            ));
        }
        if self.data_api_listen.is_some()
            && self.data_api_tls_cert.is_none()
            && self.data_api_certificate_secret.is_none()
        {
            return Err("--data-api-listen needs a certificate: --data-api-tls-cert with --data-api-tls-key, or --data-api-certificate-secret with --data-api-service".to_owned());
        }
        if !matches!(self.telegram_api_url.scheme(), "http" | "https") {
            return Err(format!(
                "--telegram-api-url {} must be http or https",
                self.telegram_api_url
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Command;
    use crate::cli::tests::parse;

    #[test]
    fn webhook_mode_requires_public_url_and_key() {
        let error = parse(&["run", "--connection-mode", "webhook"]).unwrap_err();
        assert!(
            error.contains("--public-url") && error.contains("--webhook-key"),
            "{error}"
        );
    }

    #[test]
    fn repeated_flag_counts_last_and_lists_grow() {
        let words = "run --log-level=info --admin-listen=[::]:1 --require-secret-label --watch-namespace=acme \
             --log-level=debug --admin-listen=[::]:2 --require-secret-label --watch-namespace=beta,gamma";
        let words: Vec<&str> = words.split_whitespace().collect();
        let Command::Run(run) = parse(&words).unwrap().command else {
            panic!()
        };
        assert_eq!(run.log.log_level, "debug");
        assert_eq!(run.admin_listen.port(), 2);
        assert!(run.require_secret_label);
        assert_eq!(run.watch_namespace, ["acme", "beta", "gamma"]);
    }

    #[test]
    fn both_address_families_are_listened_at_by_default() {
        let Command::Run(run) = parse(&["run"]).unwrap().command else {
            panic!()
        };
        let listened = [run.admin_listen, run.webhook_listen].map(|a| a.to_string());
        assert_eq!(listened, ["[::]:8080", "[::]:8443"]);
    }

    #[test]
    fn a_short_webhook_key_is_refused_without_being_shown() {
        let Command::Run(run) = parse(&["run", "--webhook-key", "abcdefg"]).unwrap().command else {
            panic!()
        };
        let error = run.validate().unwrap_err();
        assert!(
            error.contains("--webhook-key") && error.contains("32 or more"),
            "{error}"
        );
        assert!(!error.contains("abcdefg"), "{error}");
    }

    #[test]
    fn data_api_without_a_certificate_is_refused() {
        let words = ["run", "--data-api-listen", "127.0.0.1:0"];
        let Command::Run(run) = parse(&words).unwrap().command else {
            panic!()
        };
        let error = run.validate().unwrap_err();
        assert!(error.contains("--data-api-certificate-secret"), "{error}");
        let error = parse(&["run", "--data-api-certificate-secret", "tls"]).unwrap_err();
        assert!(error.contains("--data-api-service"), "{error}");
    }

    #[test]
    fn the_webhook_key_is_not_in_the_debug_output() {
        let key = "k".repeat(32);
        let cli = parse(&["run", "--webhook-key", &key]).unwrap();
        assert!(!format!("{cli:?}").contains(&key));
    }
}
