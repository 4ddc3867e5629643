//! A flood of forged webhook requests: what it does to Telegram's own.
//!
//! `cargo bench --bench flood` (`-- --forgeries 100000` to change the load). The operator with its store, those who forge and Telegram
//! are processes of their own on one machine. Telegram keeps its connections open and delivers at a steady pace, each update durable before its
//! 200; a forgery opens a connection of its own, as the server ends it after a refusal. Calm and flood take turns.
//! The program is the one `OPERATOR` names, if it is set. Figures are printed with their conditions and are held against their bars; the exit
//! code is 1 if one is missed.

#[path = "throughput/verdict.rs"]
mod verdict;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use secrecy::ExposeSecret;
use telegram_connector_operator::api::TelegramConnector;
use telegram_connector_operator::api::conditions::types::READY;
use telegram_connector_operator::connection::webhook::secret_token;
use telegram_connector_operator::identity::BotId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

type Failure = Box<dyn Error + Send + Sync>;

/// The program under test, unless `OPERATOR` names another build of it.
const BINARY: &str = env!("CARGO_BIN_EXE_telegram-connector-operator");
const KEY: &str = "0123456789abcdef0123456789abcdef";
const BOT: BotId = BotId(8_400_000_001);
/// Nobody who writes is let in, and nobody is told so: what an update costs after its 200 is the same with and without a flood.
const CONNECTOR: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: a, namespace: default}
stringData: {token: "8400000001:benchmark-not-a-real-token"}
---
apiVersion: connectors.pupau.ai/v1alpha1
kind: TelegramConnector
metadata: {name: a, namespace: default}
spec:
  botTokenSecretRef: {name: a}
  assistant: {protocol: OpenAI, url: "http://127.0.0.1:9/v1", model: none}
  access: {level: Specific, specificUsers: {users: [{id: 1}]}, deniedReply: ""}
"#;
/// Telegram's own deliveries a second, and on how many connections.
const RATE: u64 = 100;
const CONNECTIONS: usize = 40;
/// Forgeries under way at once.
const FORGERS: usize = 32;
/// Calm and flood take turns so often, and the p99 in the middle counts: a disk that stops for two seconds, as disks do, is no flood's doing.
const ROUNDS: usize = 5;
/// How long each calm is.
const CALM: Duration = Duration::from_secs(8);
/// How many times as long Telegram's own may wait while forgers are about.
const FACTOR: f64 = 2.0;

fn main() -> Result<ExitCode, Failure> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let after = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.get(at + 1)
    };
    let forgeries = after("--forgeries").map_or(Ok(100_000), |n| n.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match after("forgers") {
            Some(url) => forge(url, forgeries).await,
            None => compare(forgeries).await,
        }
    })?;
    Ok(ExitCode::from(u8::from(!verdict::all_passed())))
}

/// The operator in webhook mode with one connector, and what it needs around it.
struct Operator {
    /// The connector's webhook, as it is reached here.
    url: String,
    secret: String,
    _processes: [Process; 3],
}

impl Operator {
    async fn start(folder: &Path) -> Result<Self, Failure> {
        let program = std::env::var("OPERATOR").unwrap_or_else(|_| BINARY.to_owned());
        let path = |name: &str| folder.join(name).display().to_string();
        let (kubeconfig, manifest) = (path("kubeconfig"), path("connector.yaml"));
        std::fs::write(&manifest, CONNECTOR)?;
        let part = [
            "dev",
            "control-plane",
            "--kubeconfig",
            &kubeconfig,
            &manifest,
        ];
        let mut plane = Process::start(&program, &part, &[])?;
        plane.value("KUBECONFIG")?;
        let mut telegram = Process::start(&program, &["dev", "telegram"], &[])?;
        let root = telegram.value("TELEGRAM_API_URL")?;
        let (admin, listen) = (free_address()?, free_address()?);
        let store = format!("sqlite:{}", path("store.db"));
        let flags = [
            "run",
            "--connection-mode=webhook",
            // Telegram's name for it; here it is called without TLS, as by an Ingress.
            "--public-url=https://203.0.113.7",
            "--webhook-listen",
            &listen,
            "--admin-listen",
            &admin,
            "--store",
            &store,
            "--telegram-api-url",
            &root,
        ];
        let env = [
            ("KUBECONFIG", &*kubeconfig),
            ("WEBHOOK_KEY", KEY),
            ("LOG_LEVEL", "warn"),
        ];
        let operator = Process::start(&program, &flags, &env)?;
        let uid = wait_until_ready(&kubeconfig).await?;
        let secret = secret_token::derive_secret_token(&KEY.into(), &uid.as_str().into(), BOT);
        Ok(Self {
            url: format!("http://{listen}/telegram/{uid}"),
            secret: secret.expose_secret().to_owned(),
            _processes: [operator, telegram, plane],
        })
    }
}

/// Waits until the connector is Ready. Its uid.
async fn wait_until_ready(kubeconfig: &str) -> Result<String, Failure> {
    let config = Config::from_custom_kubeconfig(
        Kubeconfig::read_from(kubeconfig)?,
        &KubeConfigOptions::default(),
    )
    .await?;
    let connectors: Api<TelegramConnector> = Api::namespaced(Client::try_from(config)?, "default");
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let found = connectors.get("a").await?;
        let conditions = found.status.iter().flat_map(|s| &s.conditions);
        if conditions
            .into_iter()
            .any(|c| c.type_ == READY && c.status == "True")
        {
            return Ok(found.metadata.uid.ok_or("no uid")?);
        }
        if Instant::now() > deadline {
            return Err(format!("not Ready after a minute: {:?}", found.status).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An address that was free a moment ago.
fn free_address() -> Result<String, Failure> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

/// So many requests with a wrong secret, as fast as they are answered.
async fn forge(url: &str, forgeries: usize) -> Result<(), Failure> {
    let (server, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or("no URL")?;
    let server: SocketAddr = server.parse()?;
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Telegram-Bot-Api-Secret-Token: forged\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let one = |n: usize| {
        let request = &request;
        async move {
            // Forgers come from many addresses; from one alone the kernel would search for a free port ever longer.
            let from = u8::try_from(n % 200)? + 2;
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, from], 0)))?;
            let mut stream = socket.connect(server).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            // The server ends the connection with what was sent unread: a reset is an answer, too.
            let _ = stream.read_to_end(&mut answer).await;
            Ok::<_, Failure>(answer.starts_with(b"HTTP/1.1 401"))
        }
    };
    let refused = futures::stream::iter(0..forgeries)
        .map(one)
        .buffer_unordered(FORGERS)
        .filter(|answer| std::future::ready(matches!(answer, Ok(true))))
        .count()
        .await;
    println!("REFUSED={refused}");
    Ok(())
}

/// A process; ended when dropped.
struct Process(Child, BufReader<std::process::ChildStdout>);

impl Process {
    fn start(program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Self, Failure> {
        let mut child = Command::new(program)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self(child, out))
    }

    /// Reads on until a line `NAME=value`.
    fn value(&mut self, name: &str) -> Result<String, Failure> {
        let mut line = String::new();
        while self.1.read_line(&mut line)? > 0 {
            if let Some((found, value)) = line.trim().split_once('=')
                && found == name
            {
                return Ok(value.to_owned());
            }
            line.clear();
        }
        Err(format!("the process ended without {name}=").into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Telegram's deliveries until `until` resolves: how long each waited for its 200, in milliseconds.
async fn deliver<T>(
    http: &reqwest::Client,
    operator: &Operator,
    first: u64,
    until: impl Future<Output = T>,
) -> Result<(Vec<f64>, T), Failure> {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    let mut until = std::pin::pin!(until);
    let mut under_way = Vec::new();
    let ended = loop {
        tokio::select! {
            ended = until.as_mut() => break ended,
            _ = tick.tick() => {}
        }
        let id = first + under_way.len() as u64;
        let body = format!(
            r#"{{"update_id":{id},"message":{{"message_id":{id},"date":1790000000,"chat":{{"id":{c},"type":"private"}},"from":{{"id":{c},"is_bot":false,"first_name":"Ann"}},"text":"Where is my order?"}}}}"#,
            c = 1000 + id % 500
        );
        let request = http
            .post(&operator.url)
            .header("content-type", "application/json")
            .header(secret_token::SECRET_HEADER, &operator.secret)
            .body(body);
        under_way.push(tokio::spawn(async move {
            let began = Instant::now();
            let answer = request.send().await?.error_for_status()?;
            answer.bytes().await?;
            Ok::<_, reqwest::Error>(began.elapsed().as_secs_f64() * 1000.0)
        }));
    };
    let mut times = Vec::new();
    for request in under_way {
        times.push(request.await??);
    }
    times.sort_by(f64::total_cmp);
    Ok((times, ended))
}

/// `hundredths`: 99 for the p99.
fn percentile(times: &[f64], hundredths: usize) -> f64 {
    let at = times.len() * hundredths / 100;
    times
        .get(at.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

/// Prints what the rounds made of it; the p99 of the round in the middle.
fn median_round(what: &str, mut rounds: Vec<Vec<f64>>) -> f64 {
    rounds.sort_by(|a, b| percentile(a, 99).total_cmp(&percentile(b, 99)));
    let times = &rounds[rounds.len() / 2];
    let all: Vec<String> = rounds
        .iter()
        .map(|r| format!("{:.1}", percentile(r, 99)))
        .collect();
    println!(
        "flood: {what:>8}: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms from delivery to 200 ({} updates at {RATE}/s; the p99 of each round: {})",
        percentile(times, 50),
        percentile(times, 99),
        percentile(times, 100),
        times.len(),
        all.join(", ")
    );
    percentile(times, 99)
}

async fn compare(forgeries: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let operator = Operator::start(folder.path()).await?;
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(CONNECTIONS)
        .build()?;
    let warm = tokio::time::sleep(Duration::from_secs(2));
    deliver(&http, &operator, 1, warm).await?;
    let (mut calm, mut flooded) = (Vec::new(), Vec::new());
    let (mut refused, mut took) = (0, 0.0);
    for round in 1..=ROUNDS {
        let first = 2_000_000 * u64::try_from(round)?;
        calm.push(
            deliver(&http, &operator, first, tokio::time::sleep(CALM))
                .await?
                .0,
        );
        let began = Instant::now();
        let forged = {
            let share = forgeries * round / ROUNDS - forgeries * (round - 1) / ROUNDS;
            let (url, share) = (operator.url.clone(), share.to_string());
            let this = std::env::current_exe()?.display().to_string();
            tokio::task::spawn_blocking(move || {
                let args = ["forgers", &url, "--forgeries", &share];
                Process::start(&this, &args, &[])?.value("REFUSED")
            })
        };
        let (times, share) = deliver(&http, &operator, first + 1_000_000, forged).await?;
        flooded.push(times);
        refused += share??.parse::<usize>()?;
        took += began.elapsed().as_secs_f64();
    }
    println!(
        "flood: {refused} of {forgeries} forgeries refused in {took:.1} s ({:.0}/s, {FORGERS} at once), {} CPUs",
        forgeries as f64 / took,
        std::thread::available_parallelism()?
    );
    let before = median_round("calm", calm);
    let during = median_round("flooded", flooded);
    println!("flood: p99 changes by a factor of {:.2}", during / before);
    verdict::judge(refused == forgeries, "each forgery is answered 401");
    verdict::judge(
        during <= FACTOR * before,
        &format!("p99 of right requests during the flood at most {FACTOR} times the calm one"),
    );
    Ok(())
}
