//! Ends running answers: looks in the inbox, for all of them at once, whether a command has come that does.
//!
//! The inbox is the only place where such a command is: whoever accepted it, this process or another, and whether or not the
//! process that answers lives to see it. Only the process that holds the chat's claim acts on it, in the write that settles the
//! answer; should it die before, the next one finds the command behind the message and does not even begin.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::message::Incoming;
use super::plan::{self, Plan};
use super::turn::Waiting;
use super::work::Work;
use crate::registry::ResolvedConnector;
use crate::store::WaitingMessage;

/// How often it looks while something is being answered: so long a `/stop` takes at most. Answers that are quicker than this
/// cost nothing.
const LOOK: Duration = Duration::from_millis(400);

/// The answers in the making, by the store's number of their lane.
#[derive(Debug, Default)]
pub(super) struct Interruptions {
    running: Mutex<HashMap<i64, Answer>>,
    began: Notify,
    answers: AtomicU64,
}

#[derive(Debug)]
struct Answer {
    /// Counts the answers: the next one of the same lane is another.
    number: u64,
    tell: mpsc::Sender<Vec<WaitingMessage>>,
}

/// An answer in the making; it is no longer one when this is dropped.
pub(super) struct Running<'a> {
    all: &'a Interruptions,
    lane: i64,
    arrived: mpsc::Receiver<Vec<WaitingMessage>>,
}

/// A command that ends the answer.
pub(super) enum Interruption {
    /// `/stop`, and with it what its sender had said before it and still waited.
    Stop {
        /// The command itself.
        command: Box<Incoming>,
        /// Its number in the inbox.
        id: i64,
        /// The numbers of what is stopped with it.
        with: Vec<i64>,
    },
    /// `/new`: it is carried out next, in its order.
    NewSession,
}

impl Interruptions {
    /// An answer begins.
    pub(super) fn answering(&self, lane: i64) -> Running<'_> {
        let (tell, arrived) = mpsc::channel(1);
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(lane, Answer { number, tell });
        self.began.notify_one();
        Running {
            all: self,
            lane,
            arrived,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Answer>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.lane);
    }
}

impl Running<'_> {
    /// Waits for a command that ends this answer; of the messages numbered `answered` it is being made.
    pub(super) async fn interrupted(
        &mut self,
        connector: &ResolvedConnector,
        answered: &[i64],
    ) -> Interruption {
        while let Some(arrived) = self.arrived.recv().await {
            let behind: Vec<Waiting> = arrived
                .into_iter()
                .filter(|message| !answered.contains(&message.id))
                .map(Waiting::read)
                .collect();
            if let Some(interruption) = find(connector, &behind) {
                return interruption;
            }
        }
        // Nobody looks any more: the pipeline ends, and this answer with it or before.
        std::future::pending().await
    }
}

/// The first command among what waits that ends a running answer.
fn find(connector: &ResolvedConnector, behind: &[Waiting]) -> Option<Interruption> {
    let readable: Vec<(i64, &Incoming)> = behind
        .iter()
        .filter_map(|w| Some((w.message.id, w.incoming.as_ref().ok()?)))
        .collect();
    let (at, plan) = readable
        .iter()
        .map(|(_, incoming)| plan::plan(connector, incoming))
        .enumerate()
        .find(|(_, plan)| matches!(plan, Plan::Stop | Plan::NewSession(_)))?;
    if plan != Plan::Stop {
        return Some(Interruption::NewSession);
    }
    let (id, command) = readable[at];
    let sender = command.sender.as_ref().map(|s| s.id);
    let with = readable[..at]
        .iter()
        .filter(|(_, said)| said.sender.as_ref().map(|s| s.id) == sender)
        .filter(|(_, said)| matches!(plan::plan(connector, said), Plan::Ask(_)))
        .map(|(id, _)| *id)
        .collect();
    Some(Interruption::Stop {
        command: Box::new(command.clone()),
        id,
        with,
    })
}

/// Whether a command has come that ends the question which waits in a lane to be asked again.
pub(super) async fn has_come(work: &Work, connector: &ResolvedConnector, lane: i64) -> bool {
    match work.store.arrived(&[lane]).await {
        Ok(arrived) => {
            let messages = arrived.into_iter().flat_map(|(_, messages)| messages);
            let waiting: Vec<Waiting> = messages.map(Waiting::read).collect();
            find(connector, &waiting).is_some()
        }
        // It is found when the question is due.
        Err(_) => false,
    }
}

/// Looks while answers are in the making. Runs for ever.
pub(super) async fn look(work: std::sync::Arc<Work>) {
    let all = &work.interruptions;
    loop {
        if all.lock().is_empty() {
            all.began.notified().await;
        }
        let now = all.answers.load(Ordering::Relaxed);
        tokio::time::sleep(LOOK).await;
        // Those that have begun meanwhile are looked after the next time.
        let lanes: Vec<i64> = {
            let running = all.lock();
            let older = running.iter().filter(|(_, answer)| answer.number < now);
            older.map(|(lane, _)| *lane).collect()
        };
        if lanes.is_empty() {
            continue;
        }
        match work.store.arrived(&lanes).await {
            Ok(arrived) => {
                let running = all.lock();
                for (lane, messages) in arrived {
                    if let Some(answer) = running.get(&lane) {
                        // A full channel has not been looked at yet; the next look finds the same.
                        let _ = answer.tell.try_send(messages);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot be asked whether an answer is to end");
            }
        }
    }
}
