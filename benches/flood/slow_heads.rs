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

/// Holds slow connections against the operator, and delivers updates on new connections meanwhile.
pub async fn measure(
    operator: &Operator,
    connections: usize,
    head_bytes: usize,
) -> Result<(), Failure> {
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .build()?;
    let before = operator.resident_mb()?;
    let this = std::env::current_exe()?.display().to_string();
    let args = [
        "slow-heads",
        &operator.address(),
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
    let delivered = deliver(&http, operator, 90_000_000, until).await;
    let opened = slow.read_value("OPENED")?;
    let growth = *highest.lock().expect("no panic") - before;
    println!(
        "flood: {opened} slow connections with heads of {head_bytes} bytes: resident memory {before:.1} MB before, {growth:.1} MB more at most"
    );
    match delivered {
        Ok((times, ())) => {
            println!(
                "flood: meanwhile {} updates on new connections: p50 {:.1} ms, p99 {:.1} ms",
                times.len(),
                percentile(&times, 50),
                percentile(&times, 99)
            );
            verdict::judge(true, "right requests are answered meanwhile");
        }
        Err(error) => {
            println!("flood: a right request failed: {error}");
            verdict::judge(false, "right requests are answered meanwhile");
        }
    }
    verdict::judge(
        growth <= MAX_GROWTH_MB,
        &format!("slow connections take at most {MAX_GROWTH_MB} MB"),
    );
    Ok(())
}
