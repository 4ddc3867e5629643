//! The command line: one type per command, each flag with an environment variable of the same name in capitals.
//!
//! Parsing and validation only; what a command does lives in the room that does it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::allow::change::User;
use crate::api::connector::ConnectionMode;
use crate::telemetry::Traces;
use crate::telemetry::logs::LogFormat;
use crate::telemetry::traces::TracesError;

/// Connects Telegram bots to assistants, as `TelegramConnector` resources say.
#[derive(Debug, Parser)]
#[command(
    name = "telegram-connector-operator",
    version,
    about,
    propagate_version = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator against the cluster of the kubeconfig or of the Pod it runs in.
    Run(Box<RunArgs>),
    /// Everything embedded on this machine, and it stays: control plane, Bot API simulator, sample assistant, operator.
    #[cfg(feature = "dev")]
    Dev(Box<DevArgs>),
    /// Everything embedded on this machine: plays a conversation, checks it, prints it, ends.
    #[cfg(feature = "dev")]
    Demo(DemoArgs),
    /// Print the `CustomResourceDefinitions`.
    Crds,
    /// Validate manifests offline against the schema and the CEL rules; ends with 1 when one is wrong.
    Check(CheckArgs),
    /// List stored conversations of users who were denied.
    Denied(DeniedArgs),
    /// List sessions, without their text unless asked.
    Sessions(SessionsArgs),
    /// List messages that could not be handled, or hand them back to be tried again.
    DeadLetters(DeadLettersArgs),
    /// Copy a `SQLite` store while the operator uses it, to standard output or a file.
    Backup(BackupArgs),
    /// Let a user write to a bot: print what to change in Git, or change it in the cluster.
    Allow(AllowArgs),
    /// Shut a user out: print what to change in Git, or change it in the cluster.
    Deny(DenyArgs),
}

/// How the environment receives updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Telegram calls the operator.
    Webhook,
    /// The operator asks Telegram.
    Polling,
}

impl From<Mode> for ConnectionMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Webhook => Self::Webhook,
            Mode::Polling => Self::Polling,
        }
    }
}

/// How logs look, how much of them, and where traces go.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines look [default: json in a container, else text]
    #[arg(long, env = "LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// error, warn, info, debug, trace, or a tracing filter such as `info,telegram_connector_operator::connection=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Send traces to a collector: its OTLP/HTTP address, such as `http://otel-collector.monitoring:4318`
    #[arg(long, env = "OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Url>,
}

impl LogArgs {
    /// The way to the collector of `--otlp-endpoint`. `instance` names this process.
    ///
    /// # Errors
    /// [`TracesError`].
    pub fn traces(&self, instance: &str) -> Result<Option<Traces>, TracesError> {
        self.otlp_endpoint
            .as_ref()
            .map(|endpoint| Traces::to(endpoint, instance))
            .transpose()
    }

    /// The format in effect: as asked, else JSON in a Kubernetes Pod and text anywhere else.
    pub fn format(&self) -> LogFormat {
        self.log_format
            .unwrap_or(if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
                LogFormat::Json
            } else {
                LogFormat::Text
            })
    }
}

/// Where the store is.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// `sqlite:PATH`, or `postgres://...` for more than one replica
    #[arg(
        long,
        env = "STORE",
        default_value = "sqlite:data/connectors.db",
        hide_env_values = true
    )]
    pub store: String,
}

/// `run`: what the administrator sets once for all connectors.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// How every connector of this environment receives updates
    #[arg(long, env = "CONNECTION_MODE", value_enum, default_value = "polling")]
    pub connection_mode: Mode,
    /// Public https base URL of the webhook server; required for webhook
    #[arg(long, env = "PUBLIC_URL", required_if_eq("connection_mode", "webhook"))]
    pub public_url: Option<Url>,
    /// Address of the webhook server
    #[arg(long, env = "WEBHOOK_LISTEN", default_value = "0.0.0.0:8443")]
    pub webhook_listen: SocketAddr,
    /// Secret of 32 characters or more from which each connector's webhook `secret_token` is derived; required for webhook
    #[arg(long, env = "WEBHOOK_KEY", hide_env_values = true, value_parser = secret, required_if_eq("connection_mode", "webhook"))]
    pub webhook_key: Option<SecretString>,
    /// The `--webhook-key` before its last rotation: requests made with it are still taken
    #[arg(long, env = "WEBHOOK_PREVIOUS_KEY", hide_env_values = true, value_parser = secret)]
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
    /// Metrics, health, readiness
    #[arg(long, env = "ADMIN_LISTEN", default_value = "0.0.0.0:8080")]
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
    /// Namespace to watch; repeatable; absent: all
    #[arg(long, env = "WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// Days that denied conversations are kept
    #[arg(long, env = "DENIED_RETENTION_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub denied_retention_days: u32,
    /// Days that a session is kept after its last message
    #[arg(long, env = "SESSION_RETENTION_DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub session_retention_days: u32,
    /// Elect one leader by a Lease, for more than one replica [default: true with `PostgreSQL`, false with `SQLite`]
    #[arg(long, env = "LEADER_ELECTION", action = clap::ArgAction::Set)]
    pub leader_election: Option<bool>,
    /// Namespace of the leader's Lease [default: the Pod's own, else `default`]
    #[arg(long, env = "LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Seconds after which a leader that gives no sign of life is replaced
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(3..=300))]
    pub lease_seconds: u32,
    /// Address range that an assistant may have although it is link-local or a metadata service; repeatable
    #[arg(
        long,
        env = "ALLOW_ASSISTANT_ADDRESS",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    pub allow_assistant_address: Vec<String>,
    /// PEM bundle of authorities that assistants over https may be vouched for by, beside the public ones; read at the start
    #[arg(long, env = "ASSISTANT_CA_FILE", value_name = "PATH")]
    pub assistant_ca_file: Option<PathBuf>,
    /// Seconds that SIGTERM leaves to what is in flight
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub shutdown_grace_seconds: u32,
    /// Logs
    #[command(flatten)]
    pub log: LogArgs,
}

/// `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Manifests: YAML or JSON files, or folders of them
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// One JSON object a line.
    Json,
}

/// Which connector a listing is about.
#[derive(Debug, Clone, Args)]
pub struct ConnectorArgs {
    /// The connector's namespace
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
    /// The connector's name
    pub name: String,
    /// Table for people, or one JSON object a line
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: Output,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `denied`.
#[derive(Debug, Clone, Args)]
pub struct DeniedArgs {
    /// Which connector
    #[command(flatten)]
    pub connector: ConnectorArgs,
    /// Only since then: RFC 3339, or a duration back from now such as `24h` or `7d`
    #[arg(long)]
    pub since: Option<String>,
}

/// `sessions`.
#[derive(Debug, Clone, Args)]
pub struct SessionsArgs {
    /// Which connector
    #[command(flatten)]
    pub connector: ConnectorArgs,
    /// Have the messages too (with `-o json`)
    #[arg(long)]
    pub with_text: bool,
}

/// `dead-letters`.
#[derive(Debug, Clone, Args)]
pub struct DeadLettersArgs {
    /// Which connector
    #[command(flatten)]
    pub connector: ConnectorArgs,
    /// Hand these back to be tried again: numbers of the first column, or `all`
    #[arg(long, value_name = "NUMBER|all", value_delimiter = ',')]
    pub retry: Vec<String>,
}

/// `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
    /// A new file for the copy [default: standard output]
    #[arg(long)]
    pub output: Option<PathBuf>,
}

/// How a change is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChangeOutput {
    /// The entry, for the file in Git.
    Entry,
    /// A JSON patch (RFC 6902), as YAML.
    Patch,
    /// A manifest for server-side apply, with the whole list.
    Manifest,
}

/// Whom, for which connector, and whether to do it.
#[derive(Debug, Clone, Args)]
pub struct ChangeArgs {
    /// The connector's namespace
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
    /// The connector's name
    pub connector: String,
    /// The user's numeric id, or @username
    #[arg(allow_negative_numbers = true)]
    pub user: User,
    /// What is printed without --apply
    #[arg(long, short, value_enum, default_value = "entry")]
    pub output: ChangeOutput,
    /// Change the list in the cluster instead of printing the change
    #[arg(long)]
    pub apply: bool,
    /// Take the list over from the field manager that keeps it
    #[arg(long, requires = "apply")]
    pub force_conflicts: bool,
    /// The kubeconfig's context [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
}

/// `allow`.
#[derive(Debug, Clone, Args)]
pub struct AllowArgs {
    /// Whom
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Who it is, for people; at most 256 characters
    #[arg(long)]
    pub note: Option<String>,
    /// The `TelegramUserList` to add to [default: the connector's own entries if it has any, else its only list]
    #[arg(long)]
    pub list: Option<String>,
}

/// `deny`.
#[derive(Debug, Clone, Args)]
pub struct DenyArgs {
    /// Whom
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `demo`.
#[cfg(feature = "dev")]
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Logs; the transcript is what the demo is for, so only warnings unless asked
    #[arg(long, env = "LOG_LEVEL", default_value = "warn")]
    pub log_level: String,
}

/// `dev`.
#[cfg(feature = "dev")]
#[derive(Debug, Clone, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true
)]
pub struct DevArgs {
    /// Start one part alone instead of everything
    #[command(subcommand)]
    pub part: Option<DevPart>,
    /// Manifests, or folders of them; applied, and applied again when they change [default: the quickstart's]
    pub manifests: Vec<PathBuf>,
    /// A Bot API root instead of the simulator; with `https://api.telegram.org` and a real token it serves a real bot
    #[arg(long, env = "TELEGRAM_API_URL")]
    pub telegram_api_url: Option<Url>,
    /// The store [default: a folder that goes when `dev` ends]
    #[arg(long, env = "STORE")]
    pub store: Option<String>,
    /// Where to write the kubeconfig [default: in a folder that goes when `dev` ends]
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the control plane
    #[arg(long, default_value = "127.0.0.1:0")]
    pub control_plane_listen: SocketAddr,
    /// Address of the Bot API simulator
    #[arg(long, default_value = "127.0.0.1:0")]
    pub telegram_listen: SocketAddr,
    /// Address of the sample assistant
    #[arg(long, default_value = "127.0.0.1:0")]
    pub assistant_listen: SocketAddr,
    /// Address of metrics, health, readiness
    #[arg(long, default_value = "127.0.0.1:0")]
    pub admin_listen: SocketAddr,
    /// Logs
    #[command(flatten)]
    pub log: LogArgs,
}

/// The parts of `dev`, each to be started alone.
#[cfg(feature = "dev")]
#[derive(Debug, Clone, Subcommand)]
pub enum DevPart {
    /// The embedded control plane; prints the kubeconfig's path
    ControlPlane {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Where to write the kubeconfig
        #[arg(long, default_value = "dev.kubeconfig")]
        kubeconfig: PathBuf,
        /// Manifests, or folders of them; applied, and applied again when they change
        manifests: Vec<PathBuf>,
    },
    /// The Bot API simulator; prints its address
    Telegram {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// The sample assistant; prints its address
    Assistant {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

/// Fewest characters of `--webhook-key`.
const WEBHOOK_KEY_CHARACTERS: usize = 32;

/// Takes any value: clap's own complaint about a wrong one would show it.
#[allow(clippy::unnecessary_wraps, reason = "the shape clap wants")]
fn secret(value: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(value.into())
}

impl RunArgs {
    /// What clap cannot say of single flags.
    ///
    /// # Errors
    /// A sentence that names the flag and what to do; no secret in it.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(key) = &self.webhook_key {
            let length = key.expose_secret().chars().count();
            if length < WEBHOOK_KEY_CHARACTERS {
                return Err(format!(
                    "--webhook-key has {length} characters and needs {WEBHOOK_KEY_CHARACTERS} or more; make one with: openssl rand -hex 32"
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
    use super::*;

    fn parse(words: &[&str]) -> Result<Cli, String> {
        Cli::try_parse_from(
            std::iter::once("telegram-connector-operator").chain(words.iter().copied()),
        )
        .map_err(|e| e.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn webhook_mode_asks_for_a_public_url_and_a_key() {
        let error = parse(&["run", "--connection-mode", "webhook"]).unwrap_err();
        assert!(
            error.contains("--public-url") && error.contains("--webhook-key"),
            "{error}"
        );
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
    fn the_webhook_key_is_not_in_the_debug_output() {
        let key = "k".repeat(32);
        let cli = parse(&["run", "--webhook-key", &key]).unwrap();
        assert!(!format!("{cli:?}").contains(&key));
    }

    #[cfg(feature = "dev")]
    #[test]
    fn dev_takes_manifests_or_the_name_of_a_part() {
        let Command::Dev(all) = parse(&["dev", "examples/quickstart"]).unwrap().command else {
            panic!()
        };
        assert!(all.part.is_none() && all.manifests.len() == 1);
        let Command::Dev(part) = parse(&["dev", "telegram"]).unwrap().command else {
            panic!()
        };
        assert!(matches!(part.part, Some(DevPart::Telegram { .. })));
    }
}
