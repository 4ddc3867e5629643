//! The command `run`: the operator against a cluster, until SIGTERM or SIGINT.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::api::connector::ConnectionMode;
use crate::assistant::{self, AddressPolicy, ExtraRootCertificates};
use crate::cli::{ConnectionModeArg, RunArgs};
use crate::clock::SystemClock;
use crate::connection::{ConnectionSettings, WebhookSettings};
use crate::controller::{self, LeaseSettings};
use crate::data_api::certificate::CertificateSettings;
use crate::data_api::{DataApiCertificate, DataApiSettings};
use crate::http_server::tls::TlsFiles;
use crate::identity_provider::Sealer;
use crate::kube_client;
use crate::operator::{Operator, OperatorSettings, assistant_factory};
use crate::telemetry::{Metrics, logs};

/// `max_connections` of a webhook: the most that the Bot API allows. A delivery is answered when it is durable, and deliveries that come
/// together share a commit.
const WEBHOOK_MAX_CONNECTIONS: u8 = 100;
/// The name of the Lease of leader election.
pub(crate) const LEASE_NAME: &str = "telegram-connector-operator";
/// The file with the Pod's namespace.
const POD_NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Runs until SIGTERM or SIGINT, then shuts down gracefully; a second signal ends the process at once.
///
/// # Errors
/// The text names the flag, file or address, and what to do.
pub async fn run(args: RunArgs) -> Result<()> {
    args.validate().map_err(|e| anyhow!(e))?;
    let identity = replica_identity();
    let traces = args.log.trace_exporter(&identity)?;
    logs::init_with_traces(args.log.format(), &args.log.log_level, traces.as_ref())?;
    raise_file_limit();
    let settings = settings(&args, identity)?;
    let guard = address_policy(&args)?
        .with_own_addresses(assistant::own_addresses().map_err(|e| anyhow!(e))?);
    let roots = extra_roots("--assistant-ca-file", args.assistant_ca_file.as_ref())?;
    let ca_file = args.identity_provider_ca_file.as_ref();
    let provider_roots = extra_roots("--identity-provider-ca-file", ca_file)?;
    let metrics = Arc::new(Metrics::new());
    let client = kube_client::infer_config(None)
        .await
        .and_then(|config| kube_client::counting_client(config, metrics.clone()))
        .context("no cluster: set KUBECONFIG, or run inside a Pod with a service account")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mode = settings.controller.connection.mode();
    let operator = Operator::start(
        client,
        settings,
        metrics,
        assistant_factory(guard, &roots, &provider_roots)?,
        Arc::new(SystemClock),
    )
    .await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        mode = if mode == ConnectionMode::Webhook { "webhook" } else { "polling" },
        admin = %operator.admin_address(),
        "started"
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: intake ends, messages in flight are finished");
    tokio::select! {
        () = operator.shutdown() => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("stopped by a second signal; unfinished messages stay in the store"),
        _ = interrupt.recv() => tracing::warn!("stopped by a second signal; unfinished messages stay in the store"),
    }
    if let Some(traces) = traces {
        traces.shutdown().await;
    }
    Ok(())
}

/// Converts flags and environment variables into settings.
///
/// # Errors
/// A file that cannot be read.
fn settings(args: &RunArgs, identity: String) -> Result<OperatorSettings> {
    let webhook_tls = tls_files(
        args.webhook_tls_cert.as_ref(),
        args.webhook_tls_key.as_ref(),
    );
    let connection = match (args.connection_mode, &args.public_url, &args.webhook_key) {
        (ConnectionModeArg::Polling, ..) => ConnectionSettings::Polling,
        (ConnectionModeArg::Webhook, Some(public_url), Some(key)) => {
            ConnectionSettings::Webhook(WebhookSettings {
                public_url: public_url.clone(),
                key: key.clone(),
                previous_key: args.webhook_previous_key.clone(),
                max_connections: WEBHOOK_MAX_CONNECTIONS,
                certificate: webhook_tls
                    .as_ref()
                    .filter(|_| args.webhook_upload_certificate)
                    .map(|files| files.certificate.clone()),
            })
        }
        (ConnectionModeArg::Webhook, ..) => {
            return Err(anyhow!(
                "--connection-mode webhook needs --public-url and --webhook-key"
            ));
        }
    };
    let leader_election = args.elects_leader().then(|| {
        LeaseSettings::new(
            own_namespace(args),
            LEASE_NAME,
            Duration::from_secs(u64::from(args.lease_seconds)),
        )
    });
    let data_api =
        args.data_api_listen
            .zip(data_api_certificate(args))
            .map(|(listen, certificate)| DataApiSettings {
                listen,
                certificate,
            });
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    Ok(OperatorSettings {
        controller: controller::ControllerSettings {
            connection,
            watch_namespaces: args.watch_namespace.clone(),
            identity,
            leader_election,
            require_secret_label: args.require_secret_label,
            recheck_interval: controller::DEFAULT_RECHECK_INTERVAL,
        },
        webhook_listen: args.webhook_listen,
        webhook_tls,
        data_api,
        admin_listen: args.admin_listen,
        store: args.store.store.clone(),
        telegram_api_url: args.telegram_api_url.clone(),
        telegram_files: args.telegram_files_dir.clone(),
        denied_retention: days(args.denied_retention_days),
        session_retention: days(args.session_retention_days),
        max_concurrent_chats: args.max_concurrent_chats,
        shutdown_grace: Duration::from_secs(u64::from(args.shutdown_grace_seconds)),
        sealer: args
            .sign_in_key_file
            .as_deref()
            .map(Sealer::read)
            .transpose()?
            .map(Arc::new),
    })
}

/// The authorities in the file of a flag; none without it.
fn extra_roots(flag: &'static str, path: Option<&PathBuf>) -> Result<ExtraRootCertificates> {
    Ok(match path {
        Some(path) => ExtraRootCertificates::read(flag, path)?,
        None => ExtraRootCertificates::default(),
    })
}

/// The files, where both are given.
fn tls_files(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<TlsFiles> {
    Some(TlsFiles {
        certificate: certificate?.clone(),
        key: key?.clone(),
    })
}

/// Where the data API's certificate comes from.
fn data_api_certificate(args: &RunArgs) -> Option<DataApiCertificate> {
    if let (Some(secret), Some(service)) =
        (&args.data_api_certificate_secret, &args.data_api_service)
    {
        return Some(DataApiCertificate::Kept(CertificateSettings {
            namespace: own_namespace(args),
            secret: secret.clone(),
            service: service.clone(),
        }));
    }
    let (certificate, key) = (&args.data_api_tls_cert, &args.data_api_tls_key);
    tls_files(certificate.as_ref(), key.as_ref()).map(DataApiCertificate::Files)
}

/// Where the operator's own objects are: its Lease, and the Secret and Service of the data API.
fn own_namespace(args: &RunArgs) -> String {
    args.lease_namespace
        .clone()
        .or_else(pod_namespace)
        .unwrap_or_else(|| "default".to_owned())
}

/// The policy for assistants' addresses from the flags.
///
/// # Errors
/// A flag or variable that holds no address or host.
pub(crate) fn address_policy(args: &RunArgs) -> Result<AddressPolicy> {
    Ok(AddressPolicy::allowing(parse_values(
        "--allow-assistant-address",
        &args.allow_assistant_address,
    )?)
    .denying(parse_values(
        "--deny-assistant-address",
        &args.deny_assistant_address,
    )?)
    .only(parse_values(
        "--allow-assistant-host",
        &args.allow_assistant_host,
    )?)
    .with_file_hosts(parse_values("--allow-file-host", &args.allow_file_host)?))
}

fn parse_values<T: FromStr<Err = String>>(flag: &str, values: &[String]) -> Result<Vec<T>> {
    let parsed: Result<_, String> = values.iter().map(|value| value.parse()).collect();
    parsed.map_err(|e| anyhow!("{flag}: {e}"))
}

/// The namespace of the Pod that this process runs in; `None` outside of one.
pub(crate) fn pod_namespace() -> Option<String> {
    std::fs::read_to_string(POD_NAMESPACE_FILE)
        .ok()
        .map(|n| n.trim().to_owned())
        .filter(|n| !n.is_empty())
}

/// Raises the soft limit of open files to the hard one. Container runtimes start processes with as few as 1,024, less than the connections that the
/// listeners may hold; whoever opens more must not keep Telegram out.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// The Pod's name with a random suffix: a restarted Pod must not be taken for the holder of its old Lease.
fn replica_identity() -> String {
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "operator".to_owned());
    let life = uuid::Uuid::new_v4().simple().to_string();
    format!("{host}_{}", &life[..8])
}
