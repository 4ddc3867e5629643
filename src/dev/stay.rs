//! `dev`: everything on this machine, and it stays. Prints how to look at it with kubectl and how to speak as a user; at a
//! terminal one simply types.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::console::Console;
use super::control_plane::{ControlPlane, SeedError};
use super::environment::{Environment, Listen, Options, Person};
use super::telegram::{self, Simulator};
use super::{assistant, table};
use crate::cli::{DevArgs, DevPart};
use crate::clock::SystemClock;
use crate::identity::BotId;
use crate::telemetry::logs;

/// Runs `dev` or one of its parts until Ctrl-C.
///
/// # Errors
/// A sentence that names the address, file or path, and what is wrong with it.
pub async fn dev(args: DevArgs) -> Result<()> {
    let traces = args.log.traces("dev")?;
    logs::init_with(args.log.format(), &args.log.log_level, traces.as_ref())?;
    part(args).await?;
    if let Some(traces) = traces {
        traces.shutdown().await;
    }
    Ok(())
}

async fn part(args: DevArgs) -> Result<()> {
    match args.part {
        Some(DevPart::ControlPlane {
            listen,
            kubeconfig,
            manifests,
        }) => control_plane(listen, kubeconfig, manifests).await,
        Some(DevPart::Telegram { listen }) => simulated_telegram(listen).await,
        Some(DevPart::Assistant { listen }) => sample_assistant(listen).await,
        None => everything(args).await,
    }
}

async fn control_plane(
    listen: SocketAddr,
    kubeconfig: PathBuf,
    manifests: Vec<PathBuf>,
) -> Result<()> {
    let control_plane = ControlPlane::new();
    let served = control_plane
        .serve(listen)
        .await
        .with_context(|| format!("--listen {listen}"))?;
    std::fs::write(&kubeconfig, &served.kubeconfig)
        .with_context(|| format!("--kubeconfig {} cannot be written", kubeconfig.display()))?;
    let watching = control_plane.watch_files(&manifests, report)?;
    let console = Console::new();
    console.assignment(
        "KUBECONFIG",
        &std::path::absolute(&kubeconfig)?.display().to_string(),
    );
    stopped().await;
    drop(watching);
    served.shutdown();
    Ok(())
}

async fn simulated_telegram(listen: SocketAddr) -> Result<()> {
    let options = telegram::Options {
        register_any_token: true,
        ..telegram::Options::default()
    };
    let simulator = telegram::serve(listen, options)
        .await
        .with_context(|| format!("--listen {listen}"))?;
    Console::new().assignment(
        "TELEGRAM_API_URL",
        simulator.url().as_str().trim_end_matches('/'),
    );
    stopped().await;
    simulator.stop();
    Ok(())
}

async fn sample_assistant(listen: SocketAddr) -> Result<()> {
    let assistant = assistant::serve(listen, 0)
        .await
        .with_context(|| format!("--listen {listen}"))?;
    Console::new().assignment("ASSISTANT_URL", assistant.url().as_str());
    stopped().await;
    Ok(())
}

async fn everything(args: DevArgs) -> Result<()> {
    let console = Console::new();
    let options = Options {
        manifests: args.manifests,
        watch: true,
        report,
        telegram_api_url: args.telegram_api_url,
        store: args.store,
        kubeconfig: args.kubeconfig,
        listen: Listen {
            control_plane: args.control_plane_listen,
            telegram: args.telegram_listen,
            assistant: args.assistant_listen,
            admin: args.admin_listen,
        },
    };
    let environment = Environment::start(options, Arc::new(SystemClock)).await?;
    describe(console, &environment);
    if let Err(error) = environment.ready().await {
        // Not the end: the manifests are watched, and so is everything they refer to.
        console.item(&format!("{error:#}"));
    }
    console.block(
        &table::get(
            &environment.client,
            "/apis/connectors.pupau.ai/v1alpha1/telegramconnectors",
            false,
        )
        .await?,
    );
    match environment.telegram.clone() {
        Some(simulator) => speak(console, &environment, &simulator).await?,
        None => stopped().await,
    }
    console.heading("Stopping");
    environment.shutdown().await;
    Ok(())
}

fn describe(console: Console, environment: &Environment) {
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
async fn speak(console: Console, environment: &Environment, simulator: &Simulator) -> Result<()> {
    let people = environment.people().await?;
    for person in &people {
        simulator.add_user(person.into());
    }
    let Some((bot, username)) = environment.bots().await?.pop_first() else {
        console.item("no bot is connected yet; see kubectl get tgc -A");
        stopped().await;
        return Ok(());
    };
    console.heading("Speak as a user");
    let from = people.first().map_or(1, |p| p.id);
    console.item(&format!(
        "curl -s {}control/say -H 'content-type: application/json' -d '{{\"bot\": {bot}, \"from\": {from}, \"text\": \"Hello\"}}'",
        simulator.url()
    ));
    console.item(&format!(
        "curl -s {}control/bots/{bot}/sent",
        simulator.url()
    ));
    let listener = tokio::spawn(listen(
        console,
        simulator.clone(),
        bot,
        username,
        people.clone(),
    ));
    if std::io::stdin().is_terminal() {
        let names: Vec<String> = people.iter().map(|p| p.name.to_lowercase()).collect();
        console.item(&format!(
            "or type here, as {}: a line goes out as the last one who spoke; \"stranger: hello\" and \"4711: hello\" work too",
            names.join(", ")
        ));
        tokio::select! {
            result = type_lines(console, simulator, bot, &people) => result?,
            () = stopped() => {}
        }
    } else {
        stopped().await;
    }
    listener.abort();
    Ok(())
}

/// Reads lines such as `ann: hello` until the input ends.
async fn type_lines(
    console: Console,
    simulator: &Simulator,
    bot: BotId,
    people: &[Person],
) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut speaker = people.first().cloned().unwrap_or_else(stranger);
    while let Some(line) = lines.next_line().await? {
        let (who, text) = spoken(&line, people, &speaker);
        if text.is_empty() {
            continue;
        }
        simulator.add_user((&who).into());
        simulator.say(bot, who.id, &text);
        if who != speaker {
            console.item(&format!("(speaking as {}, id {})", who.name, who.id));
        }
        speaker = who;
    }
    // The input has ended (Ctrl-D); the environment goes on until Ctrl-C.
    std::future::pending().await
}

/// Who says what: `name: text` with a known name, `stranger: text`, `<id>: text`, or text by whoever spoke last.
fn spoken(line: &str, people: &[Person], last: &Person) -> (Person, String) {
    let line = line.trim();
    if let Some((who, text)) = line.split_once(':') {
        let who = who.trim();
        let known = people
            .iter()
            .find(|p| p.name.eq_ignore_ascii_case(who))
            .cloned();
        let by_id = who.parse().ok().map(|id| Person {
            id,
            name: format!("user {id}"),
            username: None,
        });
        let unknown = who.eq_ignore_ascii_case("stranger").then(stranger);
        if let Some(person) = known.or(by_id).or(unknown) {
            return (person, text.trim().to_owned());
        }
    }
    (last.clone(), line.to_owned())
}

fn stranger() -> Person {
    Person {
        id: 6600,
        name: "Stranger".into(),
        username: None,
    }
}

/// Shows what the bot says in private chats.
async fn listen(
    console: Console,
    simulator: Simulator,
    bot: BotId,
    username: String,
    people: Vec<Person>,
) {
    let mut shown: HashMap<i64, usize> = HashMap::new();
    loop {
        let chats: Vec<i64> = simulator.chats(bot);
        for chat in chats {
            let sent = simulator.sent(bot, chat);
            let seen = shown.entry(chat).or_default();
            for message in &sent[(*seen).min(sent.len())..] {
                let name = people
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
fn report(path: &Path, applied: Result<usize, SeedError>) {
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
async fn stopped() {
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
        let ann = Person {
            id: 1001,
            name: "Ann".into(),
            username: None,
        };
        let bob = Person {
            id: 1002,
            name: "Bob".into(),
            username: None,
        };
        let people = [ann.clone(), bob.clone()];
        assert_eq!(
            spoken("bob: hi there", &people, &ann),
            (bob.clone(), "hi there".into())
        );
        assert_eq!(
            spoken("and now?", &people, &bob),
            (bob.clone(), "and now?".into())
        );
        assert_eq!(
            spoken("note: not a name", &people, &bob),
            (bob, "note: not a name".into())
        );
        assert_eq!(spoken("4711: hi", &people, &ann).0.id, 4711);
        assert_eq!(spoken("stranger: hi", &people, &ann).0, stranger());
    }
}
