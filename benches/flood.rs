//! Measures how much a flood of forged webhook requests delays Telegram's own requests, and how much memory unfinished requests take,
//! there and on the port of metrics and health.
//!
//! `cargo bench --bench flood` (`-- --forgeries 100000 --connections 10000 --head-bytes 8000` changes the load; `--forgeries 0` leaves the forgeries out). The operator with its store, the sender of the forgeries and
//! Telegram are separate processes on one machine. Telegram reuses its connections and delivers at a steady rate; each update is durable
//! before its 200. Each forgery opens a new connection, because the server closes it after the refusal. Phases with and without a flood
//! alternate. `OPERATOR` names another build of the program. The exit code is 1 if a figure misses its limit.

#[path = "support/process.rs"]
mod process;
#[path = "flood/slow_heads.rs"]
mod slow_heads;
#[path = "support/surroundings.rs"]
mod surroundings;
#[path = "throughput/verdict.rs"]
mod verdict;

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use process::{Process, free_address, program};
use secrecy::ExposeSecret;
use slow_heads::Listener;
use surroundings::Surroundings;
use telegram_connector_operator::api::TelegramConnector;
use telegram_connector_operator::api::conditions::ConditionType;
use telegram_connector_operator::connection::webhook::secret_token;
use telegram_connector_operator::identity::BotId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

type Failure = Box<dyn Error + Send + Sync>;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const BOT: BotId = BotId(8_400_000_001);
/// All senders are denied without a reply, so that the work after the 200 is the same with and without a flood.
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
/// Telegram's own deliveries per second.
const RATE: u64 = 100;
/// The connections that Telegram keeps open.
const CONNECTIONS: usize = 40;
/// The number of concurrent forgeries.
const CONCURRENT_FORGERIES: usize = 32;
/// The number of phases with and without a flood. The median of their p99 counts, so that a disk that stalls for two seconds does not
/// fail the run.
const ROUNDS: usize = 5;
/// The length of a phase without a flood.
const CALM: Duration = Duration::from_secs(8);
/// The largest factor by which the p99 of Telegram's requests may grow during a flood.
const MAX_FACTOR: f64 = 2.0;

fn main() -> Result<ExitCode, Failure> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let value_of = |name: &str| {
        let index = args.iter().position(|a| a == name)?;
        args.get(index + 1)
    };
    let number = |name: &str, default| value_of(name).map_or(Ok(default), |n| n.parse());
    let forgeries = number("--forgeries", 100_000)?;
    let (connections, head_bytes) = (
        number("--connections", 10_000)?,
        number("--head-bytes", 8000)?,
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match (value_of("forgers"), value_of("slow-heads")) {
            (Some(url), _) => forge(url, forgeries).await,
            (_, Some(server)) => slow_heads::hold(server, connections, head_bytes).await,
            (None, None) => {
                if forgeries > 0 {
                    let folder = tempfile::tempdir()?;
                    compare(&Operator::start(folder.path()).await?, forgeries).await?;
                }
                for listener in [Listener::Webhook, Listener::Admin] {
                    // A new one each: what one of them cost is not given back at once.
                    let folder = tempfile::tempdir()?;
                    let operator = Operator::start(folder.path()).await?;
                    slow_heads::measure(&operator, listener, connections, head_bytes).await?;
                }
                Ok(())
            }
        }
    })?;
    Ok(ExitCode::from(u8::from(!verdict::all_passed())))
}

/// The operator in webhook mode with one connector, its API server and a simulated Telegram.
struct Operator {
    /// The connector's webhook at the operator's own address, without TLS.
    url: String,
    secret: String,
    /// Host and port of metrics and health.
    admin: String,
    process: Process,
    _around: Surroundings,
}

impl Operator {
    async fn start(folder: &Path) -> Result<Self, Failure> {
        let program = program();
        let around = Surroundings::start(folder, CONNECTOR)?;
        let (admin, listen) = (free_address()?, free_address()?);
        let store = format!("sqlite:{}", folder.join("store.db").display());
        let flags = [
            "run",
            "--connection-mode=webhook",
            // The registered URL. This benchmark calls the operator directly without TLS, as an Ingress does.
            "--public-url=https://203.0.113.7",
            "--webhook-listen",
            &listen,
            "--admin-listen",
            &admin,
            "--store",
            &store,
            "--telegram-api-url",
            &around.telegram_url,
            "--allow-assistant-address=127.0.0.1",
        ];
        let env = [
            ("KUBECONFIG", &*around.kubeconfig),
            ("WEBHOOK_KEY", KEY),
            ("LOG_LEVEL", "warn"),
        ];
        let operator = Process::start(&program, &flags, &env)?;
        let uid = wait_until_ready(&around.kubeconfig).await?;
        let secret = secret_token::derive_secret_token(&KEY.into(), &uid.as_str().into(), BOT);
        Ok(Self {
            url: format!("http://{listen}/telegram/{uid}"),
            secret: secret.expose_secret().to_owned(),
            admin,
            process: operator,
            _around: around,
        })
    }

    /// Host and port of the webhook server.
    fn address(&self) -> String {
        let address = self.url.split('/').nth(2);
        address.unwrap_or_default().to_owned()
    }

    /// The resident memory of its process, in MB.
    fn resident_mb(&self) -> Result<f64, Failure> {
        Ok(self.process.memory("VmRSS")? as f64 / 1024.0)
    }
}

/// Waits until the connector is Ready and returns its uid.
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
            .any(|c| c.type_ == ConditionType::Ready && c.status == "True")
        {
            return Ok(found.metadata.uid.ok_or("no uid")?);
        }
        if Instant::now() > deadline {
            return Err(format!("not Ready after a minute: {:?}", found.status).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends requests with a wrong secret as fast as they are answered. Prints how many were refused with 401.
async fn forge(url: &str, forgeries: usize) -> Result<(), Failure> {
    let (server, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or("no URL")?;
    let server: SocketAddr = server.parse()?;
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Telegram-Bot-Api-Secret-Token: forged\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let send_forgery = |n: usize| {
        let request = &request;
        async move {
            // Many source addresses: with one alone the kernel's search for a free port would become slower and slower.
            let from = u8::try_from(n % 200)? + 2;
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, from], 0)))?;
            let mut stream = socket.connect(server).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            // The server closes the connection without reading the body, so a reset after the answer is no error.
            let _ = stream.read_to_end(&mut answer).await;
            Ok::<_, Failure>(answer.starts_with(b"HTTP/1.1 401"))
        }
    };
    let refused = futures::stream::iter(0..forgeries)
        .map(send_forgery)
        .buffer_unordered(CONCURRENT_FORGERIES)
        .filter(|answer| std::future::ready(matches!(answer, Ok(true))))
        .count()
        .await;
    println!("REFUSED={refused}");
    Ok(())
}

/// Delivers updates until `until` resolves. Returns the sorted times until each 200 in milliseconds, and the output of `until`.
async fn deliver<T>(
    http: &reqwest::Client,
    operator: &Operator,
    first: u64,
    until: impl Future<Output = T>,
) -> Result<(Vec<f64>, T), Failure> {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    let mut until = std::pin::pin!(until);
    let mut requests = Vec::new();
    let output = loop {
        tokio::select! {
            output = until.as_mut() => break output,
            _ = tick.tick() => {}
        }
        let id = first + requests.len() as u64;
        let body = format!(
            r#"{{"update_id":{id},"message":{{"message_id":{id},"date":1790000000,"chat":{{"id":{c},"type":"private"}},"from":{{"id":{c},"is_bot":false,"first_name":"Ann"}},"text":"Where is my order?"}}}}"#,
            c = 1000 + id % 500
        );
        let request = http
            .post(&operator.url)
            .header("content-type", "application/json")
            .header(secret_token::SECRET_HEADER, &operator.secret)
            .body(body);
        requests.push(tokio::spawn(async move {
            let started = Instant::now();
            let answer = request.send().await?.error_for_status()?;
            answer.bytes().await?;
            Ok::<_, reqwest::Error>(started.elapsed().as_secs_f64() * 1000.0)
        }));
    };
    let mut times = Vec::new();
    for request in requests {
        times.push(request.await??);
    }
    times.sort_by(f64::total_cmp);
    Ok((times, output))
}

/// A percentile of sorted times: 99 for the p99.
fn percentile(times: &[f64], percent: usize) -> f64 {
    let index = times.len() * percent / 100;
    times
        .get(index.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

/// Prints the times of the phase whose p99 is the median, and returns that p99.
fn median_round(phase: &str, mut rounds: Vec<Vec<f64>>) -> f64 {
    rounds.sort_by(|a, b| percentile(a, 99).total_cmp(&percentile(b, 99)));
    let times = &rounds[rounds.len() / 2];
    let all: Vec<String> = rounds
        .iter()
        .map(|r| format!("{:.1}", percentile(r, 99)))
        .collect();
    println!(
        "flood: {phase:>8}: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms from delivery to 200 ({} updates at {RATE}/s; the p99 of each round: {})",
        percentile(times, 50),
        percentile(times, 99),
        percentile(times, 100),
        times.len(),
        all.join(", ")
    );
    percentile(times, 99)
}

async fn compare(operator: &Operator, forgeries: usize) -> Result<(), Failure> {
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(CONNECTIONS)
        .build()?;
    let warm_up = tokio::time::sleep(Duration::from_secs(2));
    deliver(&http, operator, 1, warm_up).await?;
    let (mut calm, mut flooded) = (Vec::new(), Vec::new());
    let (mut refused, mut took) = (0, 0.0);
    for round in 1..=ROUNDS {
        let first = 2_000_000 * u64::try_from(round)?;
        calm.push(
            deliver(&http, operator, first, tokio::time::sleep(CALM))
                .await?
                .0,
        );
        let started = Instant::now();
        let forged = {
            let share = forgeries * round / ROUNDS - forgeries * (round - 1) / ROUNDS;
            let (url, share) = (operator.url.clone(), share.to_string());
            let this = std::env::current_exe()?.display().to_string();
            tokio::task::spawn_blocking(move || {
                let args = ["forgers", &url, "--forgeries", &share];
                Process::start(&this, &args, &[])?.read_value("REFUSED")
            })
        };
        let (times, share) = deliver(&http, operator, first + 1_000_000, forged).await?;
        flooded.push(times);
        refused += share??.parse::<usize>()?;
        took += started.elapsed().as_secs_f64();
    }
    println!(
        "flood: {refused} of {forgeries} forgeries refused in {took:.1} s ({:.0}/s, {CONCURRENT_FORGERIES} at once), {} CPUs",
        forgeries as f64 / took,
        std::thread::available_parallelism()?
    );
    let before = median_round("calm", calm);
    let during = median_round("flooded", flooded);
    println!("flood: p99 changes by a factor of {:.2}", during / before);
    verdict::judge(refused == forgeries, "each forgery is answered 401");
    verdict::judge(
        during <= MAX_FACTOR * before,
        &format!("p99 of right requests during the flood at most {MAX_FACTOR} times the calm one"),
    );
    Ok(())
}
