//! The operator's outgoing connections to Telegram: proxies of the environment, and an address that does not answer.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::not_tried::not_tried;
use crate::operator::{ProcessEnvironment, can_replace_hosts};
use crate::test_env::{DeliveryMode, TestEnv};

/// A host name that only the proxy, or the hosts file of a test, resolves.
const NAME: &str = "telegram.test";
const ANN: i64 = 1001;
/// A test that has to wait longer fails.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The longest delay until the first answer that a dead address may cause. Waiting for its timeout takes longer at each connection.
const MAX_DELAY: Duration = Duration::from_secs(4);

/// An HTTP proxy that forwards every request to one target and rejects CONNECT.
struct Proxy {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let recorded = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorded = recorded.clone();
                tokio::spawn(async move {
                    let _ = forward(stream, target, &recorded).await;
                });
            }
        });
        Self { url, requests }
    }

    /// The requests so far, one line for each connection: method and host.
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn forward(
    mut stream: TcpStream,
    target: SocketAddr,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    // Without the path, which holds the token.
    let method_and_host = line.split("/bot").next().unwrap_or_default();
    requests.lock().unwrap().push(method_and_host.to_owned());
    if line.starts_with("CONNECT ") {
        return stream
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            .await;
    }
    let mut server = TcpStream::connect(target).await?;
    server.write_all(&head).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

/// A listener whose queue is full: connection attempts are neither accepted nor refused, as behind a broken route.
struct SilentListener {
    _listener: tokio::net::TcpListener,
    _queued: Vec<TcpStream>,
}

impl SilentListener {
    /// Listens on the IPv6 loopback. `None` if this machine has no IPv6.
    async fn start(port: u16) -> Option<Self> {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let socket = TcpSocket::new_v6().ok()?;
        if let Err(error) = socket.bind(address) {
            not_tried(&format!("no IPv6 on this machine: {error}"));
            return None;
        }
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        let timeout = Duration::from_millis(500);
        // Nothing is accepted. Once the queue is full, the kernel no longer answers connection attempts.
        while let Ok(stream) = tokio::time::timeout(timeout, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
            assert!(queued.len() < 100, "the queue does not become full");
        }
        Some(Self {
            _listener: listener,
            _queued: queued,
        })
    }
}

fn telegram_address(env: &TestEnv) -> SocketAddr {
    let url = env.telegram.url();
    url.socket_addrs(|| None).unwrap()[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_telegram_calls_use_the_proxy_of_the_environment() {
    let mut env = TestEnv::new(DeliveryMode::Polling, 1, 1).await;
    let proxy = Proxy::start(telegram_address(&env)).await;
    env.set_telegram_url(&format!("http://{NAME}/"));
    let operator = env.start_with(&ProcessEnvironment {
        env: vec![
            ("HTTP_PROXY", proxy.url.clone()),
            ("NO_PROXY", "127.0.0.1".into()),
        ],
        hosts: None,
    });
    let answer = env
        .telegram
        .send_and_wait(env.bots[0], ANN, "by a proxy", TIMEOUT)
        .await;
    assert!(answer.text.starts_with("You said: by a proxy"));
    let requests = proxy.requests();
    let expected = format!("POST http://{NAME}");
    assert!(!requests.is_empty(), "only the proxy can resolve the name");
    assert!(
        requests.iter().all(|line| *line == expected),
        "{requests:?}"
    );
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_calls_are_tunnelled_and_api_server_calls_are_direct() {
    let mut env = TestEnv::new(DeliveryMode::Polling, 1, 1).await;
    let proxy = Proxy::start(telegram_address(&env)).await;
    env.set_telegram_url(&format!("https://{NAME}/"));
    // The API server is on loopback, which needs no NO_PROXY, as for kubectl.
    let operator = env.start_with(&ProcessEnvironment {
        env: vec![("HTTPS_PROXY", proxy.url.clone())],
        hosts: None,
    });
    let tunnel = format!("CONNECT {NAME}:443 HTTP/1.1");
    let started = Instant::now();
    while !proxy.requests().contains(&tunnel) {
        assert!(
            started.elapsed() < TIMEOUT,
            "{:?} {}",
            proxy.requests(),
            env.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        proxy.requests().iter().all(|line| *line == tunnel),
        "{:?}",
        proxy.requests()
    );
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_in_no_proxy_are_called_directly() {
    if !can_replace_hosts() {
        return;
    }
    let mut env = TestEnv::new(DeliveryMode::Polling, 1, 1).await;
    let proxy = Proxy::start(telegram_address(&env)).await;
    env.set_telegram_url(&format!("http://{NAME}:{}/", telegram_address(&env).port()));
    let operator = env.start_with(&ProcessEnvironment {
        env: vec![
            ("HTTP_PROXY", proxy.url.clone()),
            ("NO_PROXY", "127.0.0.1,.test".into()),
        ],
        hosts: Some(env.write_hosts(&format!("127.0.0.1 {NAME}\n"))),
    });
    env.telegram
        .send_and_wait(env.bots[0], ANN, "straight", TIMEOUT)
        .await;
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_ipv6_address_hardly_delays_startup() {
    if !can_replace_hosts() {
        return;
    }
    let mut env = TestEnv::new(DeliveryMode::Polling, 1, 1).await;
    let port = telegram_address(&env).port();
    let Some(_listener) = SilentListener::start(port).await else {
        return;
    };
    env.set_telegram_url(&format!("http://{NAME}:{port}/"));
    let mut first_answers = Vec::new();
    for (user, hosts) in [
        (1001, format!("127.0.0.1 {NAME}\n")),
        (1002, format!("::1 {NAME}\n127.0.0.1 {NAME}\n")),
    ] {
        let started = Instant::now();
        let operator = env.start_with(&ProcessEnvironment {
            env: Vec::new(),
            hosts: Some(env.write_hosts(&hosts)),
        });
        let answer = env
            .telegram
            .send_and_wait(env.bots[0], user, "anybody there?", TIMEOUT)
            .await;
        assert!(answer.text.starts_with("You said: anybody there?"));
        first_answers.push(started.elapsed());
        operator.kill();
    }
    eprintln!(
        "from the start to the first answer: {:.1?} by IPv4, {:.1?} with a dead IPv6 address before it",
        first_answers[0], first_answers[1]
    );
    assert!(
        first_answers[1] < first_answers[0] + MAX_DELAY,
        "{first_answers:?}"
    );
}
