//! A thousand connectors in polling mode, from creation to deletion: how long until all are Ready, how much memory, how many writes each
//! costs the API server, and what an idle minute writes.
//!
//! `cargo bench --bench connectors` (`-- --connectors 1000 --idle-seconds 60` to change the load). Control plane, Bot API simulator and
//! operator are three processes of the release binary on one machine, so that each one's memory is its own. With `--kubeconfig FILE` the
//! control plane is that cluster (its namespace `bench` is made, and deleted at the end); `real.sh` beside this file starts a real API server
//! and does so. The program is the one `OPERATOR` names, if it is set. Figures are printed with their conditions; with `--bars` the run fails where one is over its bar.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use telegram_connector_operator::api::conditions::types::READY;
use telegram_connector_operator::api::{TelegramConnector, crds};

type Failure = Box<dyn Error + Send + Sync>;

/// The processes under test are these, unless `OPERATOR` names another build of the program.
const BINARY: &str = env!("CARGO_BIN_EXE_telegram-connector-operator");

/// A process of the program; ended when dropped.
struct Process {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(args: &[&str], env: &[(&str, &str)]) -> Result<Self, Failure> {
        let binary = std::env::var("OPERATOR").unwrap_or_else(|_| BINARY.to_owned());
        let mut child = Command::new(binary)
            .args(args)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, out })
    }

    /// Reads on until a line `NAME=value`.
    fn value(&mut self, name: &str) -> Result<String, Failure> {
        let mut line = String::new();
        while self.out.read_line(&mut line)? > 0 {
            if let Some(value) = line
                .trim()
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='))
            {
                return Ok(value.to_owned());
            }
            line.clear();
        }
        Err(format!("the process ended without {name}=").into())
    }

    /// A figure of `/proc/PID/status` in kB: `VmHWM` is the peak, `VmRSS` what is resident now.
    fn memory(&self, figure: &str) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find(|l| l.starts_with(figure))
            .ok_or("no such figure")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the bars are.
const READY_SECONDS: f64 = 15.0;
const WRITES: f64 = 4.0;
const PEAK_MB: f64 = 200.0;
/// Of a thousand idle connectors, and of each further one.
const IDLE_MB: f64 = 60.0;
const EACH_KB: f64 = 40.0;

fn text(name: &str) -> Option<String> {
    std::env::args().skip_while(|a| a != name).nth(1)
}

fn argument(name: &str, default: u64) -> u64 {
    text(name).and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let connectors = argument("--connectors", 1000);
    let idle = argument("--idle-seconds", 60);
    let folder = tempfile::tempdir()?;
    let own = folder.path().join("kubeconfig");
    let own = own
        .to_str()
        .ok_or("the temporary folder's name is not UTF-8")?;
    let given = text("--kubeconfig");
    let kubeconfig = given.as_deref().unwrap_or(own);
    let store = format!("sqlite:{}", folder.path().join("store.db").display());

    let control_plane = match &given {
        Some(_) => None,
        None => {
            let mut embedded =
                Process::start(&["dev", "control-plane", "--kubeconfig", kubeconfig], &[])?;
            embedded.value("KUBECONFIG")?;
            Some(embedded)
        }
    };
    let mut telegram = Process::start(&["dev", "telegram"], &[])?;
    let root = telegram.value("TELEGRAM_API_URL")?;
    let client = client(kubeconfig).await?;
    if given.is_some() {
        install(&client).await?;
    }
    let listen = free_address()?;
    let starting = Instant::now();
    let operator = Process::start(
        &[
            "run",
            "--telegram-api-url",
            &root,
            "--admin-listen",
            &listen,
            "--store",
            &store,
        ],
        &[("KUBECONFIG", kubeconfig), ("LOG_LEVEL", "warn")],
    )?;
    let admin = format!("http://{listen}");
    wait_until_ready(&format!("{admin}/readyz")).await?;
    let ready = starting.elapsed();
    let empty = operator.memory("VmRSS")?;

    println!(
        "{connectors} connectors, polling, SQLite, {}, {} CPUs",
        if given.is_some() {
            "a real API server"
        } else {
            "the embedded control plane"
        },
        std::thread::available_parallelism()?
    );
    println!("start to ready           {:>8.3} s", ready.as_secs_f64());
    println!("operator idle with none  {:>8.1} MB", empty as f64 / 1024.0);
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": "bench"}}))?,
        )
        .await?;
    let began = writes(&admin).await?;
    let each = |now: f64, before: f64| (now - before) / connectors as f64;
    for_each_connector(connectors, |n| give_token(client.clone(), n)).await?;
    let started = Instant::now();
    for_each_connector(connectors, |n| create(client.clone(), n)).await?;
    println!(
        "created after            {:>8.2} s",
        started.elapsed().as_secs_f64()
    );
    let all_ready = wait_for_all(&client, connectors, is_ready).await?;
    let until_ready = started.elapsed().as_secs_f64();
    println!("all Ready after          {until_ready:>8.2} s");
    let slowest = all_ready.iter().filter_map(seconds_to_ready).max();
    let slowest = slowest.ok_or("no connector says when it became Ready")?;
    println!("slowest, made to Ready   {slowest:>5} s (whole seconds)");
    let made = wait_until_quiet(&admin).await?;
    println!("writes each, to Ready    {:>8.2}", each(made, began));
    println!(
        "operator resident        {:>8.1} MB",
        megabytes(operator.memory("VmRSS")?)
    );
    tokio::time::sleep(Duration::from_secs(idle)).await;
    let rested = writes(&admin).await?;
    println!("writes in {idle} idle seconds {:>6}", rested - made);
    let resident = operator.memory("VmRSS")?;
    println!("operator resident then   {:>8.1} MB", megabytes(resident));
    let per_connector = resident.saturating_sub(empty) as f64 / connectors as f64;
    println!(
        "operator per connector   {per_connector:>8.1} kB above {:.1} MB with none",
        megabytes(empty)
    );

    for_each_connector(connectors, |n| {
        change(client.clone(), n, json!({"displayName": "changed"}))
    })
    .await?;
    wait_for_all(&client, connectors, |c| is_observed(c) && is_ready(c)).await?;
    let changed = wait_until_quiet(&admin).await?;
    println!("writes each, changed     {:>8.2}", each(changed, rested));
    for_each_connector(connectors, |n| {
        change(client.clone(), n, json!({"suspend": true}))
    })
    .await?;
    wait_for_all(&client, connectors, |c| is_observed(c) && !is_ready(c)).await?;
    let suspended = wait_until_quiet(&admin).await?;
    println!("writes each, suspended   {:>8.2}", each(suspended, changed));
    for_each_connector(connectors, |n| delete(client.clone(), n)).await?;
    wait_for_all(&client, 0, |_| true).await?;
    let deleted = wait_until_quiet(&admin).await?;
    println!("writes each, deleted     {:>8.2}", each(deleted, suspended));
    let life = each(deleted, began);
    println!("writes each, whole life  {life:>8.2}");
    let peak = megabytes(operator.memory("VmHWM")?);
    println!("operator peak            {peak:>8.1} MB");
    if let Some(embedded) = &control_plane {
        println!(
            "control plane peak       {:>8.1} MB",
            megabytes(embedded.memory("VmHWM")?)
        );
    }
    println!(
        "simulator peak           {:>8.1} MB",
        megabytes(telegram.memory("VmHWM")?)
    );
    namespaces.delete("bench", &DeleteParams::default()).await?;
    let over = until_ready > READY_SECONDS
        || life > WRITES
        || rested - made > 0.0
        || peak > PEAK_MB
        || megabytes(resident) > IDLE_MB
        || per_connector > EACH_KB;
    if over && std::env::args().any(|a| a == "--bars") {
        return Err(format!(
            "over a bar: all Ready within {READY_SECONDS} s of the first one's creation, {WRITES} writes in a life, none at rest, a peak of {PEAK_MB} MB, \
             {IDLE_MB} MB at rest, {EACH_KB} kB each"
        )
        .into());
    }
    Ok(())
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

/// Does it for every connector, sixteen at a time.
async fn for_each_connector<F>(connectors: u64, work: impl Fn(u64) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    stream::iter(0..connectors)
        .map(work)
        .buffer_unordered(16)
        .try_collect()
        .await
}

/// The CRDs, if they are not there.
async fn install(client: &Client) -> Result<(), Failure> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in crds::all() {
        match definitions
            .create(&PostParams::default(), &definition)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            created => drop(created?),
        }
    }
    Ok(())
}

fn name(n: u64) -> String {
    format!("bot-{n:04}")
}

async fn change(client: Client, n: u64, spec: serde_json::Value) -> Result<(), Failure> {
    let connectors: Api<TelegramConnector> = Api::namespaced(client, "bench");
    let patch = Patch::Merge(json!({"spec": spec}));
    connectors
        .patch(&name(n), &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn delete(client: Client, n: u64) -> Result<(), Failure> {
    let connectors: Api<TelegramConnector> = Api::namespaced(client, "bench");
    connectors
        .delete(&name(n), &DeleteParams::default())
        .await?;
    Ok(())
}

async fn client(kubeconfig: &str) -> Result<Client, Failure> {
    let config = Config::from_custom_kubeconfig(
        Kubeconfig::read_from(kubeconfig)?,
        &KubeConfigOptions::default(),
    )
    .await?;
    Ok(Client::try_from(config)?)
}

/// An address that was free a moment ago.
fn free_address() -> Result<String, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .to_string())
}

async fn wait_until_ready(url: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reqwest::get(url)
        .await
        .is_ok_and(|r| r.status().is_success())
    {
        if Instant::now() > deadline {
            return Err(format!("{url} did not answer with success within 30 s").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// The Secrets come first, as in a folder that is applied in the order of its names; they are no part of what is timed.
async fn give_token(client: Client, n: u64) -> Result<(), Failure> {
    let name = name(n);
    let secrets: Api<Secret> = Api::namespaced(client, "bench");
    let token = format!("{}:benchmark-not-a-real-token", 7_000_000 + n);
    let secret = json!({"metadata": {"name": name}, "stringData": {"token": token}});
    secrets
        .create(&PostParams::default(), &serde_json::from_value(secret)?)
        .await?;
    Ok(())
}

async fn create(client: Client, n: u64) -> Result<(), Failure> {
    let name = name(n);
    let connectors: Api<TelegramConnector> = Api::namespaced(client, "bench");
    let connector = json!({
        "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector", "metadata": {"name": name},
        "spec": {
            "botTokenSecretRef": {"name": name},
            "assistant": {"protocol": "OpenAI", "url": "http://127.0.0.1:9/v1", "model": "none"},
            "access": {"level": "Specific", "specificUsers": {"users": [{"id": 1000 + n}]}},
        },
    });
    connectors
        .create(&PostParams::default(), &serde_json::from_value(connector)?)
        .await?;
    Ok(())
}

/// Waits until there are so many, and all of them are so.
async fn wait_for_all(
    client: &Client,
    expected: u64,
    matches: impl Fn(&TelegramConnector) -> bool,
) -> Result<Vec<TelegramConnector>, Failure> {
    let api: Api<TelegramConnector> = Api::namespaced(client.clone(), "bench");
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let list = api.list(&ListParams::default()).await?;
        let others: BTreeSet<String> = list
            .items
            .iter()
            .filter(|c| !matches(c))
            .map(reason)
            .collect();
        if others.is_empty() && list.items.len() as u64 == expected {
            return Ok(list.items);
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{} of {expected} are there after 120 s; not as they must be: {others:?}",
                list.items.len()
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// From its creation to Ready, by the API server's clock and the operator's, which are one here.
fn seconds_to_ready(connector: &TelegramConnector) -> Option<i64> {
    let made = connector.metadata.creation_timestamp.as_ref()?.0;
    let conditions = connector.status.iter().flat_map(|s| &s.conditions);
    let ready = conditions.into_iter().find(|c| c.type_ == READY)?;
    Some(ready.last_transition_time.0.as_second() - made.as_second())
}

fn is_observed(connector: &TelegramConnector) -> bool {
    let observed = connector
        .status
        .as_ref()
        .and_then(|s| s.observed_generation);
    observed == connector.metadata.generation
}

fn is_ready(connector: &TelegramConnector) -> bool {
    let conditions = connector.status.iter().flat_map(|s| &s.conditions);
    conditions
        .into_iter()
        .any(|c| c.type_ == READY && c.status == "True")
}

fn reason(connector: &TelegramConnector) -> String {
    let conditions = connector.status.iter().flat_map(|s| &s.conditions);
    conditions
        .into_iter()
        .find(|c| c.type_ == READY)
        .map_or_else(
            || "no status".into(),
            |c| format!("{}: {}", c.reason, c.message),
        )
}

/// Waits until the operator has written nothing for two seconds. Its writes so far.
async fn wait_until_quiet(admin: &str) -> Result<f64, Failure> {
    let mut last = writes(admin).await?;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = writes(admin).await?;
        if (now - last).abs() < f64::EPSILON {
            return Ok(now);
        }
        last = now;
    }
}

/// Requests that the operator made to change something, from its own metrics.
async fn writes(admin: &str) -> Result<f64, Failure> {
    let text = reqwest::get(format!("{admin}/metrics"))
        .await?
        .text()
        .await?;
    let total = text
        .lines()
        .filter(|l| l.starts_with("telegram_connector_operator_kubernetes_calls_total{"))
        .filter(|l| {
            ["create", "update", "patch", "delete"]
                .iter()
                .any(|verb| l.contains(&format!("verb=\"{verb}\"")))
        })
        .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    Ok(total)
}
