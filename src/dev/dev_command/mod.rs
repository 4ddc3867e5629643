//! `dev`: the whole environment, or one part of it, until Ctrl-C.
//!
//! The environment prints how to look at it with kubectl and how to write to the bot as a user; at a terminal, typed lines are
//! messages.

mod chat;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use embedded_control_plane::ManifestError;

use super::console::Console;
use super::environment::{Environment, EnvironmentOptions, ListenAddresses};
use super::playground_sources::{EmbeddedCluster, OperatorStore};
use crate::cli::{DevArgs, DevPart};
use crate::clock::SystemClock;
use crate::kube_client::kubectl_table;
use crate::telemetry::logs;
use bot_api_simulator::sample_assistant;
use chat::chat_as_users;
use playground::Playground;

/// Runs `dev` or one of its parts until Ctrl-C.
///
/// # Errors
/// A sentence that names the address, file or path, and what is wrong with it.
pub async fn run(args: DevArgs) -> Result<()> {
    let traces = args.log.trace_exporter("dev")?;
    logs::init_with_traces(args.log.format(), &args.log.log_level, traces.as_ref())?;
    run_part(args).await?;
    if let Some(traces) = traces {
        traces.shutdown().await;
    }
    Ok(())
}

async fn run_part(args: DevArgs) -> Result<()> {
    match args.part {
        Some(DevPart::ControlPlane {
            listen,
            kubeconfig,
            manifests,
        }) => run_control_plane(listen, kubeconfig, manifests).await,
        Some(DevPart::Telegram { listen }) => run_simulator(listen).await,
        Some(DevPart::Assistant { listen }) => run_sample_assistant(listen).await,
        None => run_environment(args).await,
    }
}

async fn run_control_plane(
    listen: SocketAddr,
    kubeconfig: PathBuf,
    manifests: Vec<PathBuf>,
) -> Result<()> {
    let control_plane = super::control_plane_with_crds();
    let served = control_plane
        .serve(listen)
        .await
        .with_context(|| format!("--listen {listen}"))?;
    std::fs::write(&kubeconfig, &served.kubeconfig)
        .with_context(|| format!("--kubeconfig {} cannot be written", kubeconfig.display()))?;
    let manifest_watch = control_plane.watch_manifests(&manifests, print_manifest_result)?;
    let console = Console::new();
    console.assignment(
        "KUBECONFIG",
        &std::path::absolute(&kubeconfig)?.display().to_string(),
    );
    shutdown_signal().await;
    drop(manifest_watch);
    served.shutdown();
    Ok(())
}

async fn run_simulator(listen: SocketAddr) -> Result<()> {
    let options = bot_api_simulator::SimulatorOptions {
        register_any_token: true,
        ..bot_api_simulator::SimulatorOptions::default()
    };
    let simulator = bot_api_simulator::serve(listen, options)
        .await
        .with_context(|| format!("--listen {listen}"))?;
    Console::new().assignment(
        "TELEGRAM_API_URL",
        simulator.url().as_str().trim_end_matches('/'),
    );
    shutdown_signal().await;
    simulator.stop();
    Ok(())
}

async fn run_sample_assistant(listen: SocketAddr) -> Result<()> {
    let assistant = sample_assistant::serve(listen, 0)
        .await
        .with_context(|| format!("--listen {listen}"))?;
    Console::new().assignment("ASSISTANT_URL", assistant.url().as_str());
    shutdown_signal().await;
    Ok(())
}

async fn run_environment(args: DevArgs) -> Result<()> {
    let console = Console::new();
    let options = EnvironmentOptions {
        manifests: args.manifests,
        watch: true,
        on_manifest_applied: print_manifest_result,
        telegram_api_url: args.telegram_api_url,
        store: args.store,
        kubeconfig: args.kubeconfig,
        listen: ListenAddresses {
            control_plane: args.control_plane_listen,
            telegram: args.telegram_listen,
            assistant: args.assistant_listen,
            admin: args.admin_listen,
        },
    };
    let environment = Environment::start(options, Arc::new(SystemClock)).await?;
    let page = serve_page(&environment, args.page_listen).await?;
    if let Some(page) = &page {
        console.item(&format!("Open {}", page.url()));
    }
    print_overview(console, &environment);
    if let Err(error) = environment.wait_until_ready().await {
        // Not fatal: the user may correct a manifest, which is then applied again.
        console.item(&format!("{error:#}"));
    }
    console.block(
        &kubectl_table::render(
            &environment.client,
            "/apis/connectors.pupau.ai/v1alpha1/telegramconnectors",
            false,
        )
        .await?,
    );
    match environment.telegram.clone() {
        Some(simulator) => chat_as_users(console, &environment, &simulator).await?,
        None => shutdown_signal().await,
    }
    console.heading("Stopping");
    drop(page);
    environment.shutdown().await;
    Ok(())
}

/// The page, unless another Bot API than the simulator is used.
async fn serve_page(environment: &Environment, listen: SocketAddr) -> Result<Option<Playground>> {
    let Some(simulator) = environment.telegram.clone() else {
        return Ok(None);
    };
    let address = |label: &str, url: String| (label.to_owned(), url);
    let sources = playground::Sources {
        simulator,
        assistant: environment.assistant.clone(),
        cluster: Arc::new(EmbeddedCluster {
            client: environment.client.clone(),
            registry: environment.operator.registry().clone(),
            store: environment.operator.store().clone(),
        }),
        stored: Arc::new(OperatorStore(environment.operator.store().clone())),
        addresses: vec![
            address("Kubernetes API", environment.served.url()),
            address("Bot API", environment.telegram_api_url.to_string()),
            address("Assistant", environment.assistant.url().to_string()),
            address(
                "Metrics",
                format!("http://{}/metrics", environment.operator.admin_address()),
            ),
        ],
    };
    let page = playground::serve(listen, sources)
        .await
        .with_context(|| format!("--page-listen {listen}"))?;
    Ok(Some(page))
}

fn print_overview(console: Console, environment: &Environment) {
    console.heading("Running; Ctrl-C ends it");
    console.pair("Kubernetes API", &environment.served.url());
    console.pair("Telegram", environment.telegram_api_url.as_str());
    console.pair("assistant", environment.assistant.url().as_str());
    console.pair(
        "metrics",
        &format!("http://{}/metrics", environment.operator.admin_address()),
    );
    for manifest in &environment.manifests {
        console.pair(
            "manifests",
            &format!("{} (applied again when they change)", manifest.display()),
        );
    }
    console.heading("Look at it with kubectl");
    console.item(&format!(
        "export KUBECONFIG={}",
        environment.kubeconfig.display()
    ));
    console.item("kubectl get tgc -A");
    console.heading("");
}

/// Prints that a manifest was applied again, or why it was not.
fn print_manifest_result(path: &Path, applied: Result<usize, ManifestError>) {
    let console = Console::new();
    match applied {
        Ok(objects) => console.item(&format!(
            "(applied {} again: {objects} objects)",
            path.display()
        )),
        Err(error) => console.item(&format!("(not applied: {error})")),
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
