//! `demo`: plays a conversation through the whole operator, prints it together with what kubectl shows, and ends with
//! success only if everything came out as it must.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::{Timestamp, ToSpan};

use super::console::Console;
use super::environment::{Environment, EnvironmentOptions, SimulatedUser};
use super::kubectl_table;
use crate::cli::DemoArgs;
use crate::clock::SystemClock;
use crate::identity::BotId;
use crate::store::Listing;
use crate::telemetry::logs::{self, LogFormat};
use bot_api_simulator::{Simulator, UserAction, sample_assistant};

/// How long the bot may take to answer. Nothing here takes a tenth of it.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the demo watches that nothing more comes.
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

    let DemoRun { checks, .. } = run;
    console.heading("Checks");
    for (good, what) in &checks {
        console.check_result(*good, what);
    }
    environment.shutdown().await;
    let failed = checks.iter().filter(|(good, _)| !good).count();
    let took = started.elapsed().as_secs_f64();
    if failed == 0 {
        console.heading(&format!(
            "All {} checks held, in {took:.1} s. Now try: cargo run --release -- dev",
            checks.len()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    console.heading(&format!("{failed} of {} checks failed", checks.len()));
    Ok(ExitCode::FAILURE)
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

/// Where the conversation is played, and what came of it.
struct DemoRun {
    console: Console,
    simulator: Simulator,
    bot: BotId,
    username: String,
    assistant: sample_assistant::SampleAssistant,
    checks: Vec<(bool, String)>,
}

impl DemoRun {
    fn record_check(&mut self, good: bool, what: impl Into<String>) {
        self.checks.push((good, what.into()));
    }

    /// Somebody writes, and the bot answers. The answer's text, or nothing if none came in time.
    async fn send_and_wait(
        &mut self,
        person: &SimulatedUser,
        at: Timestamp,
        text: &str,
    ) -> Option<String> {
        let before = self.simulator.sent_messages(self.bot, person.id).len();
        let time = at.strftime("%a %H:%M").to_string();
        self.console.chat(&time, &person.name, text);
        let action = UserAction {
            bot: Some(self.bot.0),
            from: Some(person.id),
            text: Some(text.to_owned()),
            date: Some(at.as_second()),
            ..UserAction::default()
        };
        self.simulator.perform(&action).ok()?;
        let answer = self
            .simulator
            .wait_until(self.bot, REPLY_TIMEOUT, |s| {
                s.sent_messages(self.bot, person.id).into_iter().nth(before)
            })
            .await
            .map(|sent| sent.text);
        match &answer {
            Some(answer) => self
                .console
                .chat(&time, &format!("@{}", self.username), answer),
            None => self.console.item("(no answer)"),
        }
        answer
    }

    /// How many messages of a conversation the assistant was given with its last question, the question included.
    fn messages_in_last_request(&self) -> usize {
        let last = self.assistant.requests().pop();
        let messages =
            last.and_then(|r| r.body.get("messages").and_then(|m| m.as_array().cloned()));
        messages
            .unwrap_or_default()
            .iter()
            .filter(|m| m["role"] != "system")
            .count()
    }
}

async fn run_conversation(run: &mut DemoRun) -> Result<()> {
    let ann = SimulatedUser {
        id: 1001,
        name: "Ann".into(),
        username: None,
    };
    let carol = SimulatedUser {
        id: 1003,
        name: "Carol".into(),
        username: Some("Carol_Example".into()),
    };
    let dave = SimulatedUser {
        id: 6600,
        name: "Dave".into(),
        username: Some("dave_example".into()),
    };
    for person in [&ann, &carol, &dave] {
        run.simulator.add_user(person.into());
    }
    let today = Timestamp::now();
    let tomorrow = today + 25.hours();

    run.console
        .heading("Ann (id 1001) is on the list acme-staff");
    let greeting = run.send_and_wait(&ann, today, "/start").await;
    run.record_check(
        greeting.is_some_and(|g| g.contains("Acme")),
        "/start is answered with the connector's greeting",
    );
    let first = run
        .send_and_wait(&ann, today, "Where is my order 17?")
        .await;
    run.record_check(
        first.is_some() && run.assistant.requests().len() == 1,
        "an allowed user gets the assistant's answer",
    );
    run.send_and_wait(&ann, today, "And order 18?").await;
    run.record_check(
        run.messages_in_last_request() == 3,
        "within a session the assistant is sent the conversation so far",
    );

    run.console
        .heading("Carol is on it by her username, Dave is not on it at all");
    let by_name = run.send_and_wait(&carol, today, "Do you know me?").await;
    run.record_check(
        by_name.is_some() && run.messages_in_last_request() == 1,
        "a username counts whatever its case; every chat has a session of its own",
    );
    let asked = run.assistant.requests().len();
    let refusal = run.send_and_wait(&dave, today, "Let me in, please.").await;
    run.record_check(
        refusal.is_some_and(|r| r.contains("6600")),
        "a denied user is told so, with the id to hand on",
    );
    run.simulator
        .perform(&UserAction {
            bot: Some(run.bot.0),
            from: Some(dave.id),
            text: Some("Hello?".into()),
            ..UserAction::default()
        })
        .map_err(anyhow::Error::msg)?;
    run.console
        .chat(&today.strftime("%a %H:%M").to_string(), "Dave", "Hello?");
    tokio::time::sleep(NO_REPLY_WAIT).await;
    run.record_check(
        run.simulator.sent_messages(run.bot, dave.id).len() == 1,
        "and told once an hour at most",
    );
    run.record_check(
        run.assistant.requests().len() == asked,
        "nothing a denied user writes reaches the assistant",
    );

    run.console
        .heading("A day later the session of 24 hours has ended; /new begins another at once");
    run.send_and_wait(&ann, tomorrow, "Do you remember my orders?")
        .await;
    run.record_check(
        run.messages_in_last_request() == 1,
        "a session ends by the time of the message: the next begins with no history",
    );
    run.send_and_wait(&ann, tomorrow, "One more thing.").await;
    let fresh = run.send_and_wait(&ann, tomorrow, "/new").await;
    run.send_and_wait(&ann, tomorrow, "Who are you?").await;
    run.record_check(
        fresh.is_some() && run.messages_in_last_request() == 1,
        "/new begins a new session and says so",
    );
    Ok(())
}

/// What an administrator sees afterwards.
async fn check_results(run: &mut DemoRun, environment: &Environment) -> Result<()> {
    let console = run.console;
    let listing = Listing {
        namespace: Some("acme".into()),
        name: Some("support".into()),
        texts: true,
        limit: 100,
        ..Listing::default()
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
    let ready = tokio::time::timeout(REPLY_TIMEOUT, assistant_ready(environment)).await;
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
    let all = kubectl_table::render(&environment.client, CONNECTORS, false).await?;
    run.record_check(all.contains("True"), "kubectl get tgc says Ready");
    Ok(())
}

async fn assistant_ready(environment: &Environment) -> Result<()> {
    use crate::api::{TelegramConnector, conditions::ConditionType};
    let api: kube::Api<TelegramConnector> = kube::Api::all(environment.client.clone());
    loop {
        let list = api.list(&kube::api::ListParams::default()).await?;
        let mut conditions = list
            .items
            .iter()
            .flat_map(|c| &c.status)
            .flat_map(|s| &s.conditions);
        if conditions.any(|c| c.type_ == ConditionType::AssistantReady && c.status == "True") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

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
