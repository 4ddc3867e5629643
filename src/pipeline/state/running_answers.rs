//! The answers in the making, so that whoever watches the inbox can hand each what has arrived behind its question.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::store::WaitingMessage;

/// The answers in the making, by the store's number of their lane.
#[derive(Debug, Default)]
pub(crate) struct RunningAnswers {
    running: Mutex<HashMap<i64, AnswerEntry>>,
    registered: Notify,
    next_number: AtomicU64,
}

#[derive(Debug)]
struct AnswerEntry {
    /// Counts the answers: the next one of the same lane is another.
    number: u64,
    notify: mpsc::Sender<Vec<WaitingMessage>>,
}

/// An answer in the making; it is no longer one when this is dropped.
pub(crate) struct RunningAnswer<'a> {
    answers: &'a RunningAnswers,
    lane: i64,
    new_messages: mpsc::Receiver<Vec<WaitingMessage>>,
}

impl RunningAnswers {
    /// An answer begins.
    pub(crate) fn register(&self, lane: i64) -> RunningAnswer<'_> {
        let (notify, new_messages) = mpsc::channel(1);
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(lane, AnswerEntry { number, notify });
        self.registered.notify_one();
        RunningAnswer {
            answers: self,
            lane,
            new_messages,
        }
    }

    /// The lanes whose answers began before the answer numbered `before`.
    pub(crate) fn lanes_older_than(&self, before: u64) -> Vec<i64> {
        let running = self.lock();
        let older = running.iter().filter(|(_, answer)| answer.number < before);
        older.map(|(lane, _)| *lane).collect()
    }

    /// Waits until there is an answer; the number that the next one gets.
    pub(crate) async fn wait_for_answer(&self) -> u64 {
        if self.lock().is_empty() {
            self.registered.notified().await;
        }
        self.next_number.load(Ordering::Relaxed)
    }

    /// Hands a lane's running answer what has arrived in the lane. One that has not looked at the last hand-over finds the same at the next.
    pub(crate) fn notify(&self, lane: i64, messages: Vec<WaitingMessage>) {
        if let Some(answer) = self.lock().get(&lane) {
            // A full channel has not been read yet.
            let _ = answer.notify.try_send(messages);
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<i64, AnswerEntry>> {
        self.running.lock()
    }
}

impl Drop for RunningAnswer<'_> {
    fn drop(&mut self) {
        self.answers.lock().remove(&self.lane);
    }
}

impl RunningAnswer<'_> {
    /// What has arrived in the lane, whenever the inbox was looked at; `None` when nobody looks any more.
    pub(crate) async fn next_arrivals(&mut self) -> Option<Vec<WaitingMessage>> {
        self.new_messages.recv().await
    }
}
