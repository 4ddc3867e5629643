//! A thousand connectors in polling mode: how long until all are Ready, how much memory, and what an idle minute writes.
//!
//! `cargo bench --bench connectors` (`-- --connectors 1000 --idle-seconds 60` to change the load). Control plane, Bot API simulator and
//! operator are three processes of the release binary on one machine, so that each one's memory is its own. Figures are printed
//! with their conditions; nothing here passes or fails by time.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use telegram_connector_operator::api::TelegramConnector;
use telegram_connector_operator::api::conditions::types::READY;

type Failure = Box<dyn Error + Send + Sync>;

const BINARY: &str = env!("CARGO_BIN_EXE_telegram-connector-operator");

/// A process of the release binary; ended when dropped.
struct Process {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(args: &[&str], env: &[(&str, &str)]) -> Result<Self, Failure> {
        let mut child = Command::new(BINARY)
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

fn argument(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|a| a != name);
    args.nth(1).and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let connectors = argument("--connectors", 1000);
    let idle = argument("--idle-seconds", 60);
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    let kubeconfig = kubeconfig
        .to_str()
        .ok_or("the temporary folder's name is not UTF-8")?;
    let store = format!("sqlite:{}", folder.path().join("store.db").display());

    let mut control_plane =
        Process::start(&["dev", "control-plane", "--kubeconfig", kubeconfig], &[])?;
    control_plane.value("KUBECONFIG")?;
    let mut telegram = Process::start(&["dev", "telegram"], &[])?;
    let root = telegram.value("TELEGRAM_API_URL")?;
    let client = client(kubeconfig).await?;
    let listen = free_address()?;
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
    answers(&format!("{admin}/readyz")).await?;
    let empty = operator.memory("VmRSS")?;

    println!(
        "{connectors} connectors, polling, SQLite, release build, {} CPUs",
        std::thread::available_parallelism()?
    );
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": "bench"}}))?,
        )
        .await?;
    let before = writes(&admin).await?;
    let started = Instant::now();
    stream::iter(0..connectors)
        .map(|n| create(client.clone(), n))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await?;
    println!(
        "created after            {:>8.2} s",
        started.elapsed().as_secs_f64()
    );
    all_ready(&client, connectors).await?;
    println!(
        "all Ready after          {:>8.2} s",
        started.elapsed().as_secs_f64()
    );
    settle(&admin).await?;
    let after = writes(&admin).await?;
    println!(
        "writes per connector     {:>8.2}",
        (after - before) / connectors as f64
    );
    println!(
        "operator peak            {:>8.1} MB",
        operator.memory("VmHWM")? as f64 / 1024.0
    );
    println!(
        "operator resident        {:>8.1} MB",
        operator.memory("VmRSS")? as f64 / 1024.0
    );
    println!(
        "operator per connector   {:>8.1} kB above {:.1} MB with none",
        (operator.memory("VmRSS")?.saturating_sub(empty)) as f64 / connectors as f64,
        empty as f64 / 1024.0
    );
    println!(
        "control plane peak       {:>8.1} MB",
        control_plane.memory("VmHWM")? as f64 / 1024.0
    );
    println!(
        "simulator peak           {:>8.1} MB",
        telegram.memory("VmHWM")? as f64 / 1024.0
    );
    tokio::time::sleep(Duration::from_secs(idle)).await;
    println!(
        "writes in {idle} idle seconds {:>6}",
        writes(&admin).await? - after
    );
    println!(
        "operator resident then   {:>8.1} MB",
        operator.memory("VmRSS")? as f64 / 1024.0
    );
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

async fn answers(url: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reqwest::get(url)
        .await
        .is_ok_and(|r| r.status().is_success())
    {
        if Instant::now() > deadline {
            return Err(format!("{url} did not answer with success within 30 s").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn create(client: Client, n: u64) -> Result<(), Failure> {
    let name = format!("bot-{n:04}");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "bench");
    let token = format!("{}:benchmark-not-a-real-token", 7_000_000 + n);
    let secret = json!({"metadata": {"name": name}, "stringData": {"token": token}});
    secrets
        .create(&PostParams::default(), &serde_json::from_value(secret)?)
        .await?;
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

async fn all_ready(client: &Client, expected: u64) -> Result<(), Failure> {
    let api: Api<TelegramConnector> = Api::namespaced(client.clone(), "bench");
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let list = api.list(&ListParams::default()).await?;
        let ready = list.items.iter().filter(|c| is_ready(c)).count() as u64;
        if ready == expected {
            return Ok(());
        }
        if Instant::now() > deadline {
            let reasons: BTreeSet<String> = list
                .items
                .iter()
                .filter(|c| !is_ready(c))
                .map(reason)
                .collect();
            return Err(format!(
                "{ready} of {expected} Ready after 120 s; the others: {reasons:?}"
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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

/// Waits until the operator has written nothing for two seconds.
async fn settle(admin: &str) -> Result<(), Failure> {
    let mut last = writes(admin).await?;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = writes(admin).await?;
        if (now - last).abs() < f64::EPSILON {
            return Ok(());
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
