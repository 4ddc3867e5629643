//! A wire between two addresses, most often to the API server, that can be cut: what is on it goes nowhere, and nothing says so.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::test_env::any_port;

/// A wire; it ends with the test's runtime.
pub struct TcpProxy {
    /// The server's kubeconfig, by way of this wire.
    pub kubeconfig: String,
    /// Where it leads at first.
    pub server: SocketAddr,
    here: SocketAddr,
    there: watch::Sender<SocketAddr>,
    cut: watch::Sender<bool>,
    resets: watch::Sender<()>,
}

impl TcpProxy {
    /// A wire to the server of a kubeconfig on loopback.
    pub async fn for_kubeconfig(kubeconfig: &str) -> Self {
        let pattern = regex::Regex::new(r"127\.0\.0\.1:\d+").expect("a good pattern");
        let found = pattern.find(kubeconfig).expect("a server on loopback");
        let target = found.as_str().parse().expect("an address");
        let mut proxy = Self::start(any_port(), target).await;
        let here = proxy.here.to_string();
        proxy.kubeconfig = pattern.replace(kubeconfig, here).into_owned();
        proxy
    }

    /// A wire from an address to another.
    pub async fn start(here: SocketAddr, there: SocketAddr) -> Self {
        let listener = TcpListener::bind(here).await.expect("a free port");
        let here = listener.local_addr().expect("its address");
        let (cut, is_cut) = watch::channel(false);
        let server = there;
        let (resets, reset_receiver) = watch::channel(());
        let (there, target) = watch::channel(there);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let there = *target.borrow();
                let (is_cut, mut reset_receiver) = (is_cut.clone(), reset_receiver.clone());
                reset_receiver.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = forward(stream, there, is_cut) => {}
                        _ = reset_receiver.changed() => {}
                    }
                });
            }
        });
        Self {
            kubeconfig: String::new(),
            server,
            here,
            there,
            cut,
            resets,
        }
    }

    /// The connections that are open break; new ones go through.
    pub fn reset_connections(&self) {
        self.resets.send_replace(());
    }

    /// New connections lead elsewhere from now on.
    pub fn set_target(&self, there: SocketAddr) {
        self.there.send_replace(there);
    }

    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// New connections go through again; those that were open break.
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
        // Both ends stay open, in silence.
        let _ = cut.wait_for(|cut| !*cut).await;
        return;
    }
    let _ = cut.wait_for(|cut| !*cut).await;
}
