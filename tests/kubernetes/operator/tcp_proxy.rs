//! A TCP proxy, mostly in front of the API server, whose connections can be cut: they stay open, but no byte arrives any more.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::test_env::any_port;

/// A running proxy; it ends with the test's runtime.
pub struct TcpProxy {
    /// The server's kubeconfig with the address of this proxy; empty if the proxy was not made for a kubeconfig.
    pub kubeconfig: String,
    /// The first target.
    pub server: SocketAddr,
    listen_address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    cut: watch::Sender<bool>,
    resets: watch::Sender<()>,
}

impl TcpProxy {
    /// Starts a proxy to the server of a kubeconfig, which must be on loopback.
    pub async fn for_kubeconfig(kubeconfig: &str) -> Self {
        let pattern = regex::Regex::new(r"127\.0\.0\.1:\d+").expect("a good pattern");
        let address = pattern.find(kubeconfig).expect("a server on loopback");
        let target = address.as_str().parse().expect("an address");
        let mut proxy = Self::start(any_port(), target).await;
        let listen_address = proxy.listen_address.to_string();
        proxy.kubeconfig = pattern.replace(kubeconfig, listen_address).into_owned();
        proxy
    }

    /// Starts a proxy that listens on `listen` and forwards to `server`.
    pub async fn start(listen: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(listen).await.expect("a free port");
        let listen_address = listener.local_addr().expect("its address");
        let (cut, is_cut) = watch::channel(false);
        let (resets, reset_receiver) = watch::channel(());
        let (target, target_receiver) = watch::channel(server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let target = *target_receiver.borrow();
                let (is_cut, mut reset_receiver) = (is_cut.clone(), reset_receiver.clone());
                reset_receiver.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = forward(stream, target, is_cut) => {}
                        _ = reset_receiver.changed() => {}
                    }
                });
            }
        });
        Self {
            kubeconfig: String::new(),
            server,
            listen_address,
            target,
            cut,
            resets,
        }
    }

    /// Closes the open connections. New ones are forwarded.
    pub fn reset_connections(&self) {
        self.resets.send_replace(());
    }

    /// Forwards new connections to another address.
    pub fn set_target(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// Stops forwarding. Open and new connections stay open without an answer.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Ends a cut: new connections are forwarded again, those from before and during the cut are closed.
    pub fn restore(&self) {
        self.cut.send_replace(false);
    }
}

async fn forward(mut stream: TcpStream, target: SocketAddr, mut cut: watch::Receiver<bool>) {
    if !*cut.borrow() {
        let Ok(mut server) = TcpStream::connect(target).await else {
            return;
        };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut stream, &mut server) => return,
            _ = cut.wait_for(|cut| *cut) => {}
        }
        // Both streams are kept open, so neither side notices the cut.
        let _ = cut.wait_for(|cut| !*cut).await;
        return;
    }
    let _ = cut.wait_for(|cut| !*cut).await;
}
