//! Messages at a steady pace, each from a person of its own, so that a lost or late one shows.

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

/// Load on some bots until it is stopped.
pub struct LoadGenerator {
    telegram: Simulator,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<LoadMessage>>,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct LoadMessage {
    pub bot: BotId,
    pub person: i64,
    pub at: jiff::Timestamp,
}

/// A message and how long its answer took.
#[derive(Debug, Clone, Copy)]
pub struct AnsweredMessage {
    pub sent_at: jiff::Timestamp,
    pub took: Duration,
}

impl LoadGenerator {
    /// Begins to say something every `pace`, to each bot in turn, as people from `first` on.
    pub fn start(telegram: &Simulator, bots: &[BotId], first: i64, pace: Duration) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (simulator, bots) = (telegram.clone(), bots.to_vec());
        let task = tokio::spawn(async move {
            let mut messages = Vec::new();
            let mut tick = tokio::time::interval(pace);
            for (person, bot) in (first..).zip(bots.into_iter().cycle()) {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = &mut stopped => break,
                }
                let at = jiff::Timestamp::now();
                simulator.send_private_message(bot, person, "under load");
                messages.push(LoadMessage { bot, person, at });
            }
            messages
        });
        Self {
            telegram: telegram.clone(),
            stop,
            task,
        }
    }

    /// Stops, and waits until each message is answered. Panics with how many are lost after `within`.
    pub async fn all_answered(self, within: Duration) -> Vec<AnsweredMessage> {
        let _ = self.stop.send(());
        let messages = self.task.await.expect("the load");
        assert!(!messages.is_empty());
        let deadline = Instant::now() + within;
        loop {
            let answers: Vec<AnsweredMessage> = messages
                .iter()
                .filter_map(|s| {
                    let first = self.telegram.sent_messages(s.bot, s.person).first()?.at;
                    Some(AnsweredMessage {
                        sent_at: s.at,
                        took: Duration::try_from(first.duration_since(s.at)).unwrap_or_default(),
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

/// Measures how long the machine itself makes a small durable write wait: other tests and builds share its cores and its disk.
pub struct StallMonitor {
    stop: Arc<AtomicBool>,
    task: std::thread::JoinHandle<Vec<Stall>>,
}

/// A write that waited.
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
                let began = std::time::Instant::now();
                std::thread::sleep(pause);
                file.write_all(b".")
                    .and_then(|()| file.sync_data())
                    .expect("a write");
                stalls.push(Stall {
                    ended: jiff::Timestamp::now(),
                    took: began.elapsed().saturating_sub(pause),
                });
            }
            stalls
        });
        Self { stop, task }
    }

    /// Ends the measurement.
    pub fn finish(self) -> StallReport {
        self.stop.store(true, Ordering::Relaxed);
        StallReport(self.task.join().expect("the measurement"))
    }
}

/// How long writes waited, one after the other.
pub struct StallReport(Vec<Stall>);

impl StallReport {
    /// The longest wait.
    pub fn longest(&self) -> Duration {
        self.0.iter().map(|s| s.took).max().unwrap_or_default()
    }

    /// The waits while a message was on its way, in all.
    pub fn during(&self, message: &AnsweredMessage) -> Duration {
        let answered = message.sent_at + message.took;
        let overlaps = |s: &&Stall| s.ended >= message.sent_at && s.ended - s.took <= answered;
        self.0.iter().filter(overlaps).map(|s| s.took).sum()
    }
}

/// The longest of these waits.
pub fn slowest<'a>(answers: impl IntoIterator<Item = &'a AnsweredMessage>) -> Duration {
    answers
        .into_iter()
        .map(|a| a.took)
        .max()
        .unwrap_or_default()
}
