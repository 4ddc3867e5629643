//! A wire between two addresses, most often to the API server, that can be cut: what is on it goes nowhere, and nothing says so.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::house::any_port;

/// A wire; it ends with the test's runtime.
pub struct Wire {
    /// The server's kubeconfig, by way of this wire.
    pub kubeconfig: String,
    /// Where it leads at first.
    pub server: SocketAddr,
    here: SocketAddr,
    there: watch::Sender<SocketAddr>,
    cut: watch::Sender<bool>,
    snapped: watch::Sender<()>,
}

impl Wire {
    /// A wire to the server of a kubeconfig on loopback.
    pub async fn to(kubeconfig: &str) -> Self {
        let pattern = regex::Regex::new(r"127\.0\.0\.1:\d+").expect("a good pattern");
        let found = pattern.find(kubeconfig).expect("a server on loopback");
        let target = found.as_str().parse().expect("an address");
        let mut wire = Self::between(any_port(), target).await;
        let here = wire.here.to_string();
        wire.kubeconfig = pattern.replace(kubeconfig, here).into_owned();
        wire
    }

    /// A wire from an address to another.
    pub async fn between(here: SocketAddr, there: SocketAddr) -> Self {
        let listener = TcpListener::bind(here).await.expect("a free port");
        let here = listener.local_addr().expect("its address");
        let (cut, is_cut) = watch::channel(false);
        let server = there;
        let (snapped, snaps) = watch::channel(());
        let (there, target) = watch::channel(there);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let there = *target.borrow();
                let (is_cut, mut snaps) = (is_cut.clone(), snaps.clone());
                snaps.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(stream, there, is_cut) => {}
                        _ = snaps.changed() => {}
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
            snapped,
        }
    }

    /// The connections that are open break; new ones go through.
    pub fn snap(&self) {
        self.snapped.send_replace(());
    }

    /// New connections lead elsewhere from now on.
    pub fn lead_to(&self, there: SocketAddr) {
        self.there.send_replace(there);
    }

    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// New connections go through again; those that were open break.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn carry(mut stream: TcpStream, target: SocketAddr, mut cut: watch::Receiver<bool>) {
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
