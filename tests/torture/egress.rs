//! The way out to Telegram: proxies of the environment, and an address where nothing answers.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::not_tried::not_tried;
use crate::operator::{Surroundings, names_can_be_given};
use crate::world::{Way, World};

/// A name that nobody resolves but the proxy, or the `/etc/hosts` of a test.
const NAME: &str = "telegram.test";
const ANN: i64 = 1001;
/// A test that waits so long has failed.
const SOON: Duration = Duration::from_mins(1);
/// What connecting may take longer where half of the addresses are dead. Waiting for a dead one to time out takes longer at each connection.
const LITTLE: Duration = Duration::from_secs(4);

/// A proxy that leads everything to one place, and tunnels nothing.
struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let book = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let book = book.clone();
                tokio::spawn(async move {
                    let _ = carry(stream, target, &book).await;
                });
            }
        });
        Self { url, asked }
    }

    /// What it was asked for so far, a line for each connection: the method and the host.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn carry(
    mut stream: TcpStream,
    target: SocketAddr,
    book: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    let asked = line.split("/bot").next().unwrap_or_default();
    book.lock().unwrap().push(asked.to_owned());
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

/// A socket that takes no connection and refuses none, like an address behind a broken route.
struct Silence {
    _listener: tokio::net::TcpListener,
    _full: Vec<TcpStream>,
}

impl Silence {
    /// `None`: there is no IPv6 here.
    async fn at(port: u16) -> Option<Self> {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let socket = TcpSocket::new_v6().ok()?;
        if let Err(error) = socket.bind(address) {
            not_tried(&format!("no IPv6 on this machine: {error}"));
            return None;
        }
        let listener = socket.listen(1).unwrap();
        let mut full = Vec::new();
        let patience = Duration::from_millis(500);
        // Nobody accepts; once the queue is full, nothing is answered any more.
        while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            full.push(stream.unwrap());
            assert!(full.len() < 100, "the queue is never full");
        }
        Some(Self {
            _listener: listener,
            _full: full,
        })
    }
}

fn address(world: &World) -> SocketAddr {
    let root = world.telegram.url();
    root.socket_addrs(|| None).unwrap()[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_telegram_go_through_the_environments_proxy_and_nothing_else_does() {
    let mut world = World::new(Way::Polling, 1, 1).await;
    let proxy = Proxy::to(address(&world)).await;
    world.call_telegram(&format!("http://{NAME}/"));
    let operator = world.start_in(&Surroundings {
        env: vec![
            ("HTTP_PROXY", proxy.url.clone()),
            ("NO_PROXY", "127.0.0.1".into()),
        ],
        hosts: None,
    });
    let answer = world
        .telegram
        .send_and_wait(world.bots[0], ANN, "by a proxy", SOON)
        .await;
    assert!(answer.text.starts_with("You said: by a proxy"));
    let asked = proxy.asked();
    let telegrams = format!("POST http://{NAME}");
    assert!(!asked.is_empty(), "the name is resolved by the proxy alone");
    assert!(asked.iter().all(|line| *line == telegrams), "{asked:?}");
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_telegram_over_tls_are_tunnelled_and_the_api_server_is_reached_straight() {
    let mut world = World::new(Way::Polling, 1, 1).await;
    let proxy = Proxy::to(address(&world)).await;
    world.call_telegram(&format!("https://{NAME}/"));
    // The API server is on this machine; NO_PROXY need not say so, as for kubectl.
    let operator = world.start_in(&Surroundings {
        env: vec![("HTTPS_PROXY", proxy.url.clone())],
        hosts: None,
    });
    let tunnel = format!("CONNECT {NAME}:443 HTTP/1.1");
    let began = Instant::now();
    while !proxy.asked().contains(&tunnel) {
        assert!(
            began.elapsed() < SOON,
            "{:?} {}",
            proxy.asked(),
            world.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        proxy.asked().iter().all(|line| *line == tunnel),
        "{:?}",
        proxy.asked()
    );
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_proxy_names_is_called_straight() {
    if !names_can_be_given() {
        return;
    }
    let mut world = World::new(Way::Polling, 1, 1).await;
    let proxy = Proxy::to(address(&world)).await;
    world.call_telegram(&format!("http://{NAME}:{}/", address(&world).port()));
    let operator = world.start_in(&Surroundings {
        env: vec![
            ("HTTP_PROXY", proxy.url.clone()),
            ("NO_PROXY", "127.0.0.1,.test".into()),
        ],
        hosts: Some(world.hosts(&format!("127.0.0.1 {NAME}\n"))),
    });
    world
        .telegram
        .send_and_wait(world.bots[0], ANN, "straight", SOON)
        .await;
    assert!(proxy.asked().is_empty(), "{:?}", proxy.asked());
    operator.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipv6_address_where_nothing_answers_costs_next_to_nothing() {
    if !names_can_be_given() {
        return;
    }
    let mut world = World::new(Way::Polling, 1, 1).await;
    let port = address(&world).port();
    let Some(_silence) = Silence::at(port).await else {
        return;
    };
    world.call_telegram(&format!("http://{NAME}:{port}/"));
    let mut took = Vec::new();
    for (person, hosts) in [
        (1001, format!("127.0.0.1 {NAME}\n")),
        (1002, format!("::1 {NAME}\n127.0.0.1 {NAME}\n")),
    ] {
        let began = Instant::now();
        let operator = world.start_in(&Surroundings {
            env: Vec::new(),
            hosts: Some(world.hosts(&hosts)),
        });
        let answer = world
            .telegram
            .send_and_wait(world.bots[0], person, "anybody there?", SOON)
            .await;
        assert!(answer.text.starts_with("You said: anybody there?"));
        took.push(began.elapsed());
        operator.kill();
    }
    eprintln!(
        "from the start to the first answer: {:.1?} by IPv4, {:.1?} with a dead IPv6 address before it",
        took[0], took[1]
    );
    assert!(took[1] < took[0] + LITTLE, "{took:?}");
}
