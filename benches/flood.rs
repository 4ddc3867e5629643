//! A flood of forged webhook requests: what it does to Telegram's own.
//!
//! `cargo bench --bench flood` (`-- --forgeries 100000` to change the load). The webhook server with its store, those who forge and Telegram
//! are three processes on one machine. Telegram keeps its connections open and delivers at a steady pace, each update durable before its
//! 200; a forgery opens a connection of its own, as the server ends it after a refusal. Figures are printed with their conditions.

use std::collections::HashSet;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use secrecy::ExposeSecret;
use telegram_connector_operator::api::connector::AccessLevel;
use telegram_connector_operator::connection::webhook::{self, WebhookServer, secret};
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::registry::{
    AccessPolicy, DeniedReply, Registry, ResolvedConnector, SessionDuration, SessionPolicy,
    Transcription,
};
use telegram_connector_operator::store::{self, StoreOptions};
use telegram_connector_operator::telegram::{Bot, BotToken, TelegramApi};
use telegram_connector_operator::telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn Error + Send + Sync>;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const UID: &str = "11111111-2222-3333-4444-555555555555";
const BOT: BotId = BotId(8_400_000_001);
/// Telegram's own deliveries a second, and on how many connections.
const RATE: u64 = 100;
const CONNECTIONS: usize = 40;
/// Forgeries under way at once.
const FORGERS: usize = 32;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let after = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.get(at + 1)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if let Some(store) = after("server") {
            serve(store).await
        } else if let Some(address) = after("forgers") {
            forge(
                address.parse()?,
                after("--forgeries").map_or(Ok(100_000), |n| n.parse())?,
            )
            .await
        } else {
            compare(after("--forgeries").map_or(Ok(100_000), |n| n.parse())?).await
        }
    })
}

/// The webhook server and its store, for one connector. Prints where it listens.
async fn serve(address: &str) -> Result<(), Failure> {
    let options = StoreOptions {
        backlog_per_bot: u64::MAX,
        ..StoreOptions::default()
    };
    let inbox = store::open_with(address, options).await?;
    let registry = Arc::new(Registry::default());
    let api = Arc::new(TelegramApi::new("http://127.0.0.1:9/".parse()?)?);
    registry.publish(Arc::new(ResolvedConnector {
        connector: ConnectorRef {
            namespace: "acme".into(),
            name: "a".into(),
            uid: ConnectorUid::from(UID),
        },
        generation: 1,
        bot: Bot::new(
            api,
            BotToken::parse(&format!("{BOT}:benchmark-not-a-real-token"))?,
        ),
        bot_username: "a_bot".into(),
        access: AccessPolicy {
            level: AccessLevel::Open,
            ids: Arc::new(HashSet::new()),
            usernames: Arc::new(HashSet::new()),
        },
        save_denied_conversations: false,
        denied_reply: DeniedReply::Default,
        session: SessionPolicy {
            duration: SessionDuration::None,
            max_messages: 2,
        },
        groups: None,
        greeting: None,
        messages_per_minute: u32::MAX,
        transcription: Transcription::None,
        assistant: None,
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("LISTEN={}", listener.local_addr()?);
    let server = WebhookServer {
        registry,
        inbox,
        metrics: Arc::new(Metrics::new()),
        keys: vec![KEY.into()],
        tls: None,
    };
    Ok(webhook::serve(listener, server, CancellationToken::new()).await?)
}

/// So many requests with a wrong secret, as fast as they are answered.
async fn forge(server: SocketAddr, forgeries: usize) -> Result<(), Failure> {
    let request = format!(
        "POST /telegram/{UID} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Telegram-Bot-Api-Secret-Token: forged\r\nContent-Length: 2\r\n\r\n{{}}"
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

struct Process(Child, BufReader<std::process::ChildStdout>);

impl Process {
    fn start(args: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self(child, out))
    }

    fn value(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        let (_, value) = line
            .trim()
            .split_once('=')
            .ok_or("the process ended early")?;
        Ok(value.to_owned())
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
    server: &str,
    first: u64,
    until: impl Future<Output = T>,
) -> Result<(Vec<f64>, T), Failure> {
    let secret = secret::derive(&KEY.into(), &UID.into(), BOT);
    let url = format!("http://{server}/telegram/{UID}");
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
            .post(&url)
            .header("content-type", "application/json")
            .header(secret::SECRET_HEADER, secret.expose_secret())
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

async fn compare(forgeries: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let store = format!("sqlite:{}", folder.path().join("store.db").display());
    let mut server = Process::start(&["server", &store])?;
    let address = server.value()?;
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(CONNECTIONS)
        .build()?;
    deliver(
        &http,
        &address,
        1,
        tokio::time::sleep(Duration::from_secs(2)),
    )
    .await?;
    let calm = tokio::time::sleep(Duration::from_secs(15));
    let (calm, ()) = deliver(&http, &address, 1_000_000, calm).await?;
    let began = Instant::now();
    let forged = {
        let (address, forgeries) = (address.clone(), forgeries.to_string());
        tokio::task::spawn_blocking(move || {
            Process::start(&["forgers", &address, "--forgeries", &forgeries])?.value()
        })
    };
    let (flooded, refused) = deliver(&http, &address, 2_000_000, forged).await?;
    let took = began.elapsed().as_secs_f64();
    println!(
        "flood: {} of {forgeries} forgeries refused in {took:.1} s ({:.0}/s, {FORGERS} at once), {} CPUs",
        refused??,
        forgeries as f64 / took,
        std::thread::available_parallelism()?
    );
    for (what, times) in [("calm", &calm), ("flooded", &flooded)] {
        println!(
            "flood: {what:>8}: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms from delivery to 200 ({} updates at {RATE}/s)",
            percentile(times, 50),
            percentile(times, 99),
            percentile(times, 100),
            times.len()
        );
    }
    println!(
        "flood: p99 changes by a factor of {:.2}",
        percentile(&flooded, 99) / percentile(&calm, 99)
    );
    Ok(())
}
