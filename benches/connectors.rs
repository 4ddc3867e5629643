//! Measures a thousand connectors in polling mode from creation to deletion: the time until all are Ready, memory, writes to the API
//! server per connector, and writes in an idle minute.
//!
//! `cargo bench --bench connectors` (`-- --connectors 1000 --idle-seconds 60` changes the load). Control plane, Bot API simulator and
//! operator are separate processes of the release binary on one machine, so that the memory of each can be measured. With
//! `--kubeconfig FILE` the control plane is that cluster (its namespace `bench` is created, and deleted at the end); `real.sh` does this
//! with a real API server. `OPERATOR` names another build of the program. With `--bars` the run fails if a figure misses its limit.

#[path = "support/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use process::{Process, free_address, program};
use serde_json::json;
use telegram_connector_operator::api::conditions::ConditionType;
use telegram_connector_operator::api::{TelegramConnector, crds};

type Failure = Box<dyn Error + Send + Sync>;

/// The longest time from the first creation until all connectors are Ready.
const MAX_READY_SECONDS: f64 = 15.0;
/// The most writes per connector from creation to deletion.
const MAX_WRITES: f64 = 4.0;
/// The highest peak memory of the operator.
const MAX_PEAK_MB: f64 = 200.0;
/// The highest memory of the operator with a thousand idle connectors.
const MAX_IDLE_MB: f64 = 60.0;
/// The highest memory per connector, above an operator without any.
const MAX_CONNECTOR_KB: f64 = 40.0;

/// The argument after the flag `name`.
fn flag_value(name: &str) -> Option<String> {
    std::env::args().skip_while(|a| a != name).nth(1)
}

fn flag_number(name: &str, default: u64) -> u64 {
    flag_value(name)
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let connectors = flag_number("--connectors", 1000);
    let idle = flag_number("--idle-seconds", 60);
    let folder = tempfile::tempdir()?;
    let own = folder.path().join("kubeconfig");
    let own = own
        .to_str()
        .ok_or("the temporary folder's name is not UTF-8")?;
    let given = flag_value("--kubeconfig");
    let kubeconfig = given.as_deref().unwrap_or(own);
    let store = format!("sqlite:{}", folder.path().join("store.db").display());

    let control_plane = match &given {
        Some(_) => None,
        None => {
            let mut embedded = Process::start(
                &program(),
                &["dev", "control-plane", "--kubeconfig", kubeconfig],
                &[],
            )?;
            embedded.read_value("KUBECONFIG")?;
            Some(embedded)
        }
    };
    let mut telegram = Process::start(&program(), &["dev", "telegram"], &[])?;
    let root = telegram.read_value("TELEGRAM_API_URL")?;
    let client = client(kubeconfig).await?;
    if given.is_some() {
        install_crds(&client).await?;
    }
    let listen = free_address()?;
    let starting = Instant::now();
    let operator = Process::start(
        &program(),
        &[
            "run",
            "--telegram-api-url",
            &root,
            "--admin-listen",
            &listen,
            "--store",
            &store,
            "--allow-assistant-address=127.0.0.1",
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
    let before = count_writes(&admin).await?;
    let per_connector_since = |now: f64, earlier: f64| (now - earlier) / connectors as f64;
    for_each_connector(connectors, |n| create_secret(client.clone(), n)).await?;
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
    let created = wait_until_quiet(&admin).await?;
    println!(
        "writes each, to Ready    {:>8.2}",
        per_connector_since(created, before)
    );
    println!(
        "operator resident        {:>8.1} MB",
        megabytes(operator.memory("VmRSS")?)
    );
    tokio::time::sleep(Duration::from_secs(idle)).await;
    let idle_end = count_writes(&admin).await?;
    println!("writes in {idle} idle seconds {:>6}", idle_end - created);
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
    println!(
        "writes each, changed     {:>8.2}",
        per_connector_since(changed, idle_end)
    );
    for_each_connector(connectors, |n| {
        change(client.clone(), n, json!({"suspend": true}))
    })
    .await?;
    wait_for_all(&client, connectors, |c| is_observed(c) && !is_ready(c)).await?;
    let suspended = wait_until_quiet(&admin).await?;
    println!(
        "writes each, suspended   {:>8.2}",
        per_connector_since(suspended, changed)
    );
    for_each_connector(connectors, |n| delete(client.clone(), n)).await?;
    wait_for_all(&client, 0, |_| true).await?;
    let deleted = wait_until_quiet(&admin).await?;
    println!(
        "writes each, deleted     {:>8.2}",
        per_connector_since(deleted, suspended)
    );
    let writes_per_life = per_connector_since(deleted, before);
    println!("writes each, whole life  {writes_per_life:>8.2}");
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
    let over = until_ready > MAX_READY_SECONDS
        || writes_per_life > MAX_WRITES
        || idle_end - created > 0.0
        || peak > MAX_PEAK_MB
        || megabytes(resident) > MAX_IDLE_MB
        || per_connector > MAX_CONNECTOR_KB;
    if over && std::env::args().any(|a| a == "--bars") {
        return Err(format!(
            "a limit is missed: all Ready within {MAX_READY_SECONDS} s of the first one's creation, {MAX_WRITES} writes per connector in all, none while idle, a peak of {MAX_PEAK_MB} MB, \
             {MAX_IDLE_MB} MB while idle, {MAX_CONNECTOR_KB} kB each"
        )
        .into());
    }
    Ok(())
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

/// Runs `work` for every connector, 16 at a time.
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

/// Creates the CRDs that do not exist.
async fn install_crds(client: &Client) -> Result<(), Failure> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in crds::all() {
        match definitions
            .create(&PostParams::default(), &definition)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            result => drop(result?),
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

/// Creates the Secret of a connector. Secrets are created before the connectors and are not part of the measured time.
async fn create_secret(client: Client, n: u64) -> Result<(), Failure> {
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

/// Waits until there are `expected` connectors and all of them match.
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

/// Seconds from creation to Ready. The API server and the operator share one clock here.
fn seconds_to_ready(connector: &TelegramConnector) -> Option<i64> {
    let created = connector.metadata.creation_timestamp.as_ref()?.0;
    let conditions = connector.status.iter().flat_map(|s| &s.conditions);
    let ready = conditions
        .into_iter()
        .find(|c| c.type_ == ConditionType::Ready)?;
    Some(ready.last_transition_time.0.as_second() - created.as_second())
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
        .any(|c| c.type_ == ConditionType::Ready && c.status == "True")
}

fn reason(connector: &TelegramConnector) -> String {
    let conditions = connector.status.iter().flat_map(|s| &s.conditions);
    conditions
        .into_iter()
        .find(|c| c.type_ == ConditionType::Ready)
        .map_or_else(
            || "no status".into(),
            |c| format!("{}: {}", c.reason, c.message),
        )
}

/// Waits until the operator has written nothing for two seconds. Returns the number of its writes so far.
async fn wait_until_quiet(admin: &str) -> Result<f64, Failure> {
    let mut last = count_writes(admin).await?;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = count_writes(admin).await?;
        if (now - last).abs() < f64::EPSILON {
            return Ok(now);
        }
        last = now;
    }
}

/// The number of writing requests of the operator, from its metrics.
async fn count_writes(admin: &str) -> Result<f64, Failure> {
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
