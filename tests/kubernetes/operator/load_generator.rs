//! Load on bots: messages at a steady rate, each from another user, so that a lost or late answer is seen.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bot_api_simulator::Simulator;
use telegram_connector_operator::identity::BotId;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Sends messages to some bots until it is stopped.
pub struct LoadGenerator {
    telegram: Simulator,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<LoadMessage>>,
}

/// A message that was sent.
#[derive(Debug, Clone, Copy)]
pub struct LoadMessage {
    pub bot: BotId,
    pub user: i64,
    pub sent_at: jiff::Timestamp,
}

/// A message and the time until its answer.
#[derive(Debug, Clone, Copy)]
pub struct AnsweredMessage {
    pub sent_at: jiff::Timestamp,
    pub took: Duration,
}

impl LoadGenerator {
    /// Sends a message every `interval` to each bot in turn. The user ids count up from `first_user`.
    pub fn start(
        telegram: &Simulator,
        bots: &[BotId],
        first_user: i64,
        interval: Duration,
    ) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (simulator, bots) = (telegram.clone(), bots.to_vec());
        let task = tokio::spawn(async move {
            let mut messages = Vec::new();
            let mut tick = tokio::time::interval(interval);
            for (user, bot) in (first_user..).zip(bots.into_iter().cycle()) {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = &mut stopped => break,
                }
                let sent_at = jiff::Timestamp::now();
                simulator.send_private_message(bot, user, "under load");
                messages.push(LoadMessage { bot, user, sent_at });
            }
            messages
        });
        Self {
            telegram: telegram.clone(),
            stop,
            task,
        }
    }

    /// Stops the load and waits until each message is answered.
    ///
    /// # Panics
    /// Not all messages are answered after `timeout`; the message says how many are lost.
    pub async fn all_answered(self, timeout: Duration) -> Vec<AnsweredMessage> {
        let _ = self.stop.send(());
        let messages = self.task.await.expect("the load");
        assert!(!messages.is_empty());
        let deadline = Instant::now() + timeout;
        loop {
            let answers: Vec<AnsweredMessage> = messages
                .iter()
                .filter_map(|message| {
                    let sent = self.telegram.sent_messages(message.bot, message.user);
                    let answered_at = sent.first()?.at;
                    let took = answered_at.duration_since(message.sent_at);
                    Some(AnsweredMessage {
                        sent_at: message.sent_at,
                        took: Duration::try_from(took).unwrap_or_default(),
                    })
                })
                .collect();
            if answers.len() == messages.len() {
                return answers;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {} messages are lost",
                messages.len() - answers.len(),
                messages.len()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Measures how long the machine itself delays a small durable write, because other tests and builds share its cores and its disk.
pub struct StallMonitor {
    stop: Arc<AtomicBool>,
    task: std::thread::JoinHandle<Vec<Stall>>,
}

/// The delay of one write.
#[derive(Debug, Clone, Copy)]
struct Stall {
    ended: jiff::Timestamp,
    took: Duration,
}

impl StallMonitor {
    pub fn measure(folder: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (path, stopped) = (folder.join("stalls"), stop.clone());
        let task = std::thread::spawn(move || {
            let mut file = std::fs::File::create(path).expect("a writable folder");
            let pause = Duration::from_millis(20);
            let mut stalls = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let started = std::time::Instant::now();
                std::thread::sleep(pause);
                file.write_all(b".")
                    .and_then(|()| file.sync_data())
                    .expect("the write succeeds");
                stalls.push(Stall {
                    ended: jiff::Timestamp::now(),
                    took: started.elapsed().saturating_sub(pause),
                });
            }
            stalls
        });
        Self { stop, task }
    }

    /// Stops the measurement.
    pub fn finish(self) -> StallReport {
        self.stop.store(true, Ordering::Relaxed);
        StallReport(self.task.join().expect("the measurement"))
    }
}

/// The delays of all writes, in the order of time.
pub struct StallReport(Vec<Stall>);

impl StallReport {
    /// The longest delay.
    pub fn longest(&self) -> Duration {
        self.0.iter().map(|s| s.took).max().unwrap_or_default()
    }

    /// The sum of the delays while a message waited for its answer.
    pub fn during(&self, message: &AnsweredMessage) -> Duration {
        let answered = message.sent_at + message.took;
        let overlaps = |s: &&Stall| s.ended >= message.sent_at && s.ended - s.took <= answered;
        self.0.iter().filter(overlaps).map(|s| s.took).sum()
    }
}

/// The time of the slowest answer; zero if there is none.
pub fn slowest<'a>(answers: impl IntoIterator<Item = &'a AnsweredMessage>) -> Duration {
    answers
        .into_iter()
        .map(|a| a.took)
        .max()
        .unwrap_or_default()
}
