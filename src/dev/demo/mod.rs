//! `demo`: sends a conversation through the whole operator, prints it together with kubectl's tables, and exits with success only
//! if every check held.

mod conversation;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::console::Console;
use super::environment::{Environment, EnvironmentOptions};
use crate::cli::DemoArgs;
use crate::clock::SystemClock;
use crate::kube_client::kubectl_table;
use crate::store::ListingQuery;
use crate::telemetry::logs::{self, LogFormat};
use bot_api_simulator::Simulator;
use conversation::{DemoRun, run_conversation};

/// Limit of one reply, ten times what any takes.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the demo waits to see that the bot does not reply.
const NO_REPLY_WAIT: Duration = Duration::from_millis(300);
const CONNECTORS: &str = "/apis/connectors.pupau.ai/v1alpha1/namespaces/acme/telegramconnectors";
const LISTS: &str = "/apis/connectors.pupau.ai/v1alpha1/namespaces/acme/telegramuserlists";

/// Runs the demo. 0 if every check held, 1 if not.
///
/// # Errors
/// When a part cannot start.
pub async fn run(args: DemoArgs) -> Result<ExitCode> {
    logs::init(LogFormat::Text, &args.log_level)?;
    let started = Instant::now();
    let console = Console::new();
    let environment =
        Environment::start(EnvironmentOptions::default(), Arc::new(SystemClock)).await?;
    let simulator = environment
        .telegram
        .clone()
        .context("the demo needs the simulated Telegram")?;
    print_environment(console, &environment, &simulator);

    environment.wait_until_ready().await?;
    let (bot, username) = environment
        .bots()
        .await?
        .pop_first()
        .context("the quickstart has a connector")?;
    console.heading(&format!(
        "Ready after {:.2} s",
        started.elapsed().as_secs_f64()
    ));
    print_table(
        console,
        &environment,
        "kubectl get tgc -n acme",
        CONNECTORS,
        false,
    )
    .await?;

    let mut run = DemoRun {
        console,
        simulator,
        bot,
        username,
        checks: Vec::new(),
        assistant: environment.assistant.clone(),
    };
    run_conversation(&mut run).await?;
    check_results(&mut run, &environment).await?;

    console.heading("Checks");
    for (held, statement) in &run.checks {
        console.check_result(*held, statement);
    }
    environment.shutdown().await;
    Ok(print_summary(console, &run.checks, started.elapsed()))
}

/// Prints how many checks held; failure if one did not.
fn print_summary(console: Console, checks: &[(bool, String)], elapsed: Duration) -> ExitCode {
    let failed = checks.iter().filter(|(held, _)| !held).count();
    if failed == 0 {
        console.heading(&format!(
            "All {} checks held, in {:.1} s. Now try: cargo run --release -- dev",
            checks.len(),
            elapsed.as_secs_f64()
        ));
        return ExitCode::SUCCESS;
    }
    console.heading(&format!("{failed} of {} checks failed", checks.len()));
    ExitCode::FAILURE
}

fn print_environment(console: Console, environment: &Environment, simulator: &Simulator) {
    console.heading("Everything on this machine, in one process");
    console.pair("Kubernetes API", &environment.served.url());
    console.pair("Telegram", &format!("{} (simulated)", simulator.url()));
    console.pair(
        "assistant",
        &format!(
            "{} (sample, OpenAI Chat Completions)",
            environment.assistant.url()
        ),
    );
    for manifest in &environment.manifests {
        console.pair("applied", &manifest.display().to_string());
    }
}

/// Checks what an administrator sees after the conversation: stored messages and kubectl's tables.
async fn check_results(run: &mut DemoRun, environment: &Environment) -> Result<()> {
    let console = run.console;
    let listing = ListingQuery {
        namespace: Some("acme".into()),
        name: Some("support".into()),
        texts: true,
        limit: 100,
        ..ListingQuery::default()
    };
    let denied = environment.operator.store().denied(&listing).await?.rows;
    console.heading("What was stored of the denied conversation (saveDeniedConversations: true)");
    for message in &denied {
        console.item(&format!(
            "{} {}: {}",
            message.user_id.unwrap_or_default(),
            message.user_name.as_deref().unwrap_or("-"),
            message.text.as_deref().unwrap_or("-")
        ));
    }
    run.record_check(
        denied.len() == 2,
        "both of Dave's messages are stored, because the connector asks for it",
    );

    console.heading("What kubectl shows now");
    let ready = tokio::time::timeout(REPLY_TIMEOUT, wait_for_assistant_ready(environment)).await;
    run.record_check(
        matches!(ready, Ok(Ok(()))),
        "the status says that the assistant answers",
    );
    print_table(
        console,
        environment,
        "kubectl get tgc -n acme -o wide",
        CONNECTORS,
        true,
    )
    .await?;
    print_table(
        console,
        environment,
        "kubectl get tgul -n acme",
        LISTS,
        false,
    )
    .await?;
    let connectors = kubectl_table::render(&environment.client, CONNECTORS, false).await?;
    run.record_check(connectors.contains("True"), "kubectl get tgc says Ready");
    Ok(())
}

/// Waits until a connector's condition `AssistantReady` is true.
async fn wait_for_assistant_ready(environment: &Environment) -> Result<()> {
    use crate::api::{TelegramConnector, conditions::ConditionType};
    let api: kube::Api<TelegramConnector> = kube::Api::all(environment.client.clone());
    loop {
        let list = api.list(&kube::api::ListParams::default()).await?;
        let mut conditions = list
            .items
            .iter()
            .flat_map(|connector| &connector.status)
            .flat_map(|status| &status.conditions);
        if conditions.any(|condition| {
            condition.type_ == ConditionType::AssistantReady && condition.status == "True"
        }) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Prints a `kubectl get` command and its output.
async fn print_table(
    console: Console,
    environment: &Environment,
    command: &str,
    path: &str,
    wide: bool,
) -> Result<()> {
    console.item(&format!("$ {command}"));
    console.block(&kubectl_table::render(&environment.client, path, wide).await?);
    Ok(())
}
