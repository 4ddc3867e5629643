//! Connections that send the beginning of a request's head and no more: what they cost in memory, and whether right requests are answered meanwhile.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::{Failure, Operator, Process, deliver, percentile, verdict};

/// The largest growth of the operator's memory.
const MAX_GROWTH_MB: f64 = 64.0;
/// How long the connections are held against the operator.
const DURATION: Duration = Duration::from_secs(20);
/// The pause before a connection that the server has closed is opened again.
const PAUSE: Duration = Duration::from_secs(5);

/// The process that opens the connections: keeps `connections` of them open at `server`, each with a head of `head_bytes` that does not end, until
/// it is killed. Prints how many were open at once after the first round.
pub async fn hold(server: &str, connections: usize, head_bytes: usize) -> Result<(), Failure> {
    let server: SocketAddr = server.parse()?;
    let beginning = "POST /telegram/x HTTP/1.1\r\nHost: x\r\nX-Filler: ";
    let filler = "x".repeat(head_bytes.saturating_sub(beginning.len()));
    let head: Arc<str> = format!("{beginning}{filler}").into();
    let opened = Arc::new(AtomicUsize::new(0));
    for n in 0..connections {
        let (head, opened) = (head.clone(), opened.clone());
        tokio::spawn(async move {
            let mut first = true;
            loop {
                if let Ok(mut stream) = open(server, n).await {
                    if std::mem::take(&mut first) {
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                    // Until the server closes the connection.
                    if stream.write_all(head.as_bytes()).await.is_ok() {
                        let _ = stream.read(&mut [0; 64]).await;
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        if n % 100 == 0 {
            // The listener's queue of connections is short.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("OPENED={}", opened.load(Ordering::Relaxed));
    std::future::pending().await
}

/// From one of 200 addresses.
async fn open(server: SocketAddr, n: usize) -> Result<TcpStream, Failure> {
    let from = u8::try_from(n % 200)? + 2;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, from], 0)))?;
    Ok(socket.connect(server).await?)
}

/// Where the slow connections lead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Listener {
    /// What Telegram calls.
    Webhook,
    /// What the kubelet and Prometheus call.
    Admin,
}

/// Holds slow connections against a listener of the operator, and sends right requests on new connections meanwhile: updates, or what the kubelet asks.
pub async fn measure(
    operator: &Operator,
    listener: Listener,
    connections: usize,
    head_bytes: usize,
) -> Result<(), Failure> {
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .build()?;
    let (address, requests) = match listener {
        Listener::Webhook => (operator.address(), "updates"),
        Listener::Admin => (operator.admin.clone(), "requests for /healthz"),
    };
    let before = operator.resident_mb()?;
    let this = std::env::current_exe()?.display().to_string();
    let args = [
        "slow-heads",
        &address,
        "--connections",
        &connections.to_string(),
        "--head-bytes",
        &head_bytes.to_string(),
    ];
    let mut slow = Process::start(&this, &args, &[])?;
    let highest = Mutex::new(before);
    let until = async {
        let started = Instant::now();
        while started.elapsed() < DURATION {
            if let Ok(now) = operator.resident_mb() {
                let mut highest = highest.lock().expect("no panic");
                *highest = highest.max(now);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let answered = match listener {
        Listener::Webhook => deliver(&http, operator, 90_000_000, until).await,
        Listener::Admin => ask_for_health(&http, &address, until).await,
    };
    let opened = slow.read_value("OPENED")?;
    let growth = *highest.lock().expect("no panic") - before;
    println!(
        "flood: {opened} slow connections to the {listener:?} listener with heads of {head_bytes} bytes: resident memory {before:.1} MB before, {growth:.1} MB more at most"
    );
    match &answered {
        Ok((times, ())) => println!(
            "flood: meanwhile {} {requests} on new connections: p50 {:.1} ms, p99 {:.1} ms",
            times.len(),
            percentile(times, 50),
            percentile(times, 99)
        ),
        Err(error) => println!("flood: a right request failed: {error}"),
    }
    verdict::judge(answered.is_ok(), "right requests are answered meanwhile");
    verdict::judge(
        growth <= MAX_GROWTH_MB,
        &format!("slow connections take at most {MAX_GROWTH_MB} MB"),
    );
    Ok(())
}

/// Asks for `/healthz` until `until` resolves. Returns the sorted times in milliseconds.
async fn ask_for_health(
    http: &reqwest::Client,
    address: &str,
    until: impl Future<Output = ()>,
) -> Result<(Vec<f64>, ()), Failure> {
    let mut until = std::pin::pin!(until);
    let mut times = Vec::new();
    loop {
        tokio::select! {
            () = until.as_mut() => break,
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
        let asked = Instant::now();
        let answer = http.get(format!("http://{address}/healthz")).send().await?;
        answer.error_for_status()?;
        times.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok((times, ()))
}
