//! The page of `dev`: the connectors with their conditions, a chat as Telegram shows it, and what is stored of it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`source`] | what the page shows of the operator, as traits that `dev` implements |
//! | `selection` | which bot, user and chat a page is about, and its URL |
//! | `faults` | what can be made to fail |
//! | `routes`, `actions`, `live_updates` | the page, what a click does, and what changes while it is open |
//! | `request_guard` | which requests are refused |
//! | `view` | HTML |

mod actions;
mod assets;
mod faults;
mod live_updates;
mod request_guard;
mod routes;
mod selection;
pub mod source;
mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bot_api_simulator::sample_assistant::{Behaviour, SampleAssistant};
use bot_api_simulator::{Simulator, User};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use source::{ClusterView, StoredData};

/// Everything that the page shows.
#[derive(Clone)]
pub struct Sources {
    /// The Telegram that the users write in.
    pub simulator: Simulator,
    /// The assistant whose requests are shown.
    pub assistant: SampleAssistant,
    /// The connectors.
    pub cluster: Arc<dyn ClusterView>,
    /// The operator's store.
    pub stored: Arc<dyn StoredData>,
    /// Label and address of each server, for the head of the page.
    pub addresses: Vec<(String, String)>,
}

/// A user whom no manifest names, for trying what a denied user sees.
const STRANGER: (i64, &str) = (6600, "Stranger");
/// Milliseconds between two words of the sample assistant: as a language model writes, so that previews grow.
const WORD_DELAY_MS: u64 = 40;

/// A running page; it ends when this is dropped.
#[derive(Debug)]
pub struct Playground {
    /// The listen address.
    pub addr: SocketAddr,
    _stop_on_drop: DropGuard,
}

impl Playground {
    /// The page's URL.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}

/// Serves the page on an address of loopback (port 0: any free one).
///
/// # Errors
/// The address is not one of loopback, or cannot be listened on.
pub async fn serve(listen: SocketAddr, sources: Sources) -> io::Result<Playground> {
    if !listen.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the page has no login and may listen on loopback only: use 127.0.0.1:PORT or [::1]:PORT",
        ));
    }
    let listener = TcpListener::bind(listen).await?;
    let addr = listener.local_addr()?;
    let (id, name) = STRANGER;
    sources
        .simulator
        .add_user(User::new(id, name).language("en"));
    sources.assistant.set_behaviour(Behaviour {
        word_delay_ms: WORD_DELAY_MS,
        ..Behaviour::default()
    });
    let router = routes::router(Arc::new(sources));
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            // Serving ends by an error of the listener only, after which the page cannot be reached.
            _ = axum::serve(listener, router) => {}
        }
    });
    Ok(Playground {
        addr,
        _stop_on_drop: stop.drop_guard(),
    })
}
