//! `dev`: everything on this machine, and it stays. Prints how to look at it with kubectl and how to speak as a user; at a
//! terminal one simply types.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use embedded_control_plane::ManifestError;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::console::Console;
use super::environment::{Environment, EnvironmentOptions, ListenAddresses, SimulatedUser};
use super::kubectl_table;
use crate::cli::{DevArgs, DevPart};
use crate::clock::SystemClock;
use crate::identity::BotId;
use crate::telemetry::logs;
use bot_api_simulator::{Simulator, sample_assistant};

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
    let watching = control_plane.watch_manifests(&manifests, print_manifest_result)?;
    let console = Console::new();
    console.assignment(
        "KUBECONFIG",
        &std::path::absolute(&kubeconfig)?.display().to_string(),
    );
    shutdown_signal().await;
    drop(watching);
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
    print_overview(console, &environment);
    if let Err(error) = environment.wait_until_ready().await {
        // Not the end: the manifests are watched, and so is everything they refer to.
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
    environment.shutdown().await;
    Ok(())
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

/// Carries what is typed to the bot, and shows what the bots say.
async fn chat_as_users(
    console: Console,
    environment: &Environment,
    simulator: &Simulator,
) -> Result<()> {
    let users = environment.users().await?;
    for person in &users {
        simulator.add_user(person.into());
    }
    let Some((bot, username)) = environment.bots().await?.pop_first() else {
        console.item("no bot is connected yet; see kubectl get tgc -A");
        shutdown_signal().await;
        return Ok(());
    };
    console.heading("Speak as a user");
    let from = users.first().map_or(1, |p| p.id);
    console.item(&format!(
        "curl -s {}control/say -H 'content-type: application/json' -d '{{\"bot\": {bot}, \"from\": {from}, \"text\": \"Hello\"}}'",
        simulator.url()
    ));
    console.item(&format!(
        "curl -s {}control/bots/{bot}/sent",
        simulator.url()
    ));
    let listener = tokio::spawn(print_bot_messages(
        console,
        simulator.clone(),
        bot,
        username,
        users.clone(),
    ));
    if std::io::stdin().is_terminal() {
        let names: Vec<String> = users.iter().map(|p| p.name.to_lowercase()).collect();
        console.item(&format!(
            "or type here, as {}: a line goes out as the last one who spoke; \"stranger: hello\" and \"4711: hello\" work too",
            names.join(", ")
        ));
        tokio::select! {
            result = send_typed_lines(console, simulator, bot, &users) => result?,
            () = shutdown_signal() => {}
        }
    } else {
        shutdown_signal().await;
    }
    listener.abort();
    Ok(())
}

/// Reads lines such as `ann: hello` until the input ends.
async fn send_typed_lines(
    console: Console,
    simulator: &Simulator,
    bot: BotId,
    users: &[SimulatedUser],
) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut speaker = users.first().cloned().unwrap_or_else(unlisted_user);
    while let Some(line) = lines.next_line().await? {
        let (who, text) = parse_typed_line(&line, users, &speaker);
        if text.is_empty() {
            continue;
        }
        simulator.add_user((&who).into());
        simulator.send_private_message(bot, who.id, &text);
        if who != speaker {
            console.item(&format!("(speaking as {}, id {})", who.name, who.id));
        }
        speaker = who;
    }
    // The input has ended (Ctrl-D); the environment goes on until Ctrl-C.
    std::future::pending().await
}

/// Who says what: `name: text` with a known name, `stranger: text`, `<id>: text`, or text by whoever spoke last.
fn parse_typed_line(
    line: &str,
    users: &[SimulatedUser],
    last: &SimulatedUser,
) -> (SimulatedUser, String) {
    let line = line.trim();
    if let Some((who, text)) = line.split_once(':') {
        let who = who.trim();
        let known = users
            .iter()
            .find(|p| p.name.eq_ignore_ascii_case(who))
            .cloned();
        let by_id = who.parse().ok().map(|id| SimulatedUser {
            id,
            name: format!("user {id}"),
            username: None,
        });
        let unknown = who.eq_ignore_ascii_case("stranger").then(unlisted_user);
        if let Some(person) = known.or(by_id).or(unknown) {
            return (person, text.trim().to_owned());
        }
    }
    (last.clone(), line.to_owned())
}

fn unlisted_user() -> SimulatedUser {
    SimulatedUser {
        id: 6600,
        name: "Stranger".into(),
        username: None,
    }
}

/// Shows what the bot says in private chats.
async fn print_bot_messages(
    console: Console,
    simulator: Simulator,
    bot: BotId,
    username: String,
    users: Vec<SimulatedUser>,
) {
    let mut shown: HashMap<i64, usize> = HashMap::new();
    loop {
        let chats: Vec<i64> = simulator.chats(bot);
        for chat in chats {
            let sent = simulator.sent_messages(bot, chat);
            let seen = shown.entry(chat).or_default();
            for message in &sent[(*seen).min(sent.len())..] {
                let name = users
                    .iter()
                    .find(|p| p.id == chat)
                    .map_or_else(|| chat.to_string(), |p| p.name.clone());
                let time = message.at.strftime("%H:%M:%S").to_string();
                console.chat(&time, &format!("@{username} to {name}"), &message.text);
            }
            *seen = sent.len();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Says that a manifest was applied again, or why not.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_spoken_by_whom_it_names_and_else_by_the_last_speaker() {
        let ann = SimulatedUser {
            id: 1001,
            name: "Ann".into(),
            username: None,
        };
        let bob = SimulatedUser {
            id: 1002,
            name: "Bob".into(),
            username: None,
        };
        let users = [ann.clone(), bob.clone()];
        assert_eq!(
            parse_typed_line("bob: hi there", &users, &ann),
            (bob.clone(), "hi there".into())
        );
        assert_eq!(
            parse_typed_line("and now?", &users, &bob),
            (bob.clone(), "and now?".into())
        );
        assert_eq!(
            parse_typed_line("note: not a name", &users, &bob),
            (bob, "note: not a name".into())
        );
        assert_eq!(parse_typed_line("4711: hi", &users, &ann).0.id, 4711);
        assert_eq!(
            parse_typed_line("stranger: hi", &users, &ann).0,
            unlisted_user()
        );
    }
}
