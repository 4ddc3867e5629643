//! The load generator: simulated users send messages, and the times of the answers are measured.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bot_api_simulator::sample_assistant::{Behaviour, BehaviourRule, SampleAssistant};
use bot_api_simulator::{Fault, FaultKind, Simulator, SimulatorOptions};
use telegram_connector_operator::identity::BotId;

use super::Failure;
use super::operator::token;
use super::verdict::judge;

/// A process under load; killed when dropped.
pub(super) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Errors are ignored: the process may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// The CPU time so far.
    pub(super) fn cpu(&self) -> Duration {
        cpu_of(&self.0.id().to_string())
    }

    /// Resident memory in kB.
    pub(super) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        status
            .unwrap_or_default()
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .and_then(|l| l.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }
}

/// The CPU time of a process so far, from `/proc` (clock ticks of 10 ms).
fn cpu_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |n: usize| {
        fields
            .get(n)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Simulator, assistant and store of one measurement.
pub(super) struct LoadTest {
    pub(super) telegram: Simulator,
    assistant: SampleAssistant,
    pub(super) bots: Vec<BotId>,
    pub(super) folder: tempfile::TempDir,
}

impl LoadTest {
    pub(super) async fn new(bots: usize) -> Result<Self, Failure> {
        let telegram = Simulator::start(SimulatorOptions {
            keep_messages: 20_000,
            keep_calls: 0,
            ..SimulatorOptions::default()
        })
        .await?;
        let bots = (0..bots)
            .map(|n| BotId(telegram.add_bot(&token(n), &format!("bot{n}_bot"), "Bot")))
            .collect();
        Ok(Self {
            telegram,
            assistant: bot_api_simulator::sample_assistant::serve(([127, 0, 0, 1], 0).into(), 0)
                .await?,
            bots,
            folder: tempfile::tempdir()?,
        })
    }

    /// Starts this program again as the process `part`.
    fn start(&self, part: &str) -> Result<Process, Failure> {
        self.start_with(part, Vec::new())
    }

    /// The same, with additional environment variables.
    pub(super) fn start_with(
        &self,
        part: &str,
        environment: Vec<(&str, String)>,
    ) -> Result<Process, Failure> {
        self.start_replica(part, &self.sqlite(), (0, 1), environment)
    }

    /// A store in a file.
    pub(super) fn sqlite(&self) -> String {
        format!("sqlite:{}/connectors.db", self.folder.path().display())
    }

    /// The same on any store, as one of several: which, and of how many.
    pub(super) fn start_replica(
        &self,
        part: &str,
        store: &str,
        (replica, replicas): (usize, usize),
        environment: Vec<(&str, String)>,
    ) -> Result<Process, Failure> {
        let child = Command::new(std::env::current_exe()?)
            .arg(part)
            .arg(self.telegram.url().as_str())
            .arg(self.assistant.url().as_str())
            .arg(self.bots.len().to_string())
            .arg(store)
            .arg(replica.to_string())
            .arg(replicas.to_string())
            .envs(environment)
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Process(child))
    }

    /// The number of messages that all bots have sent.
    pub(super) fn sent(&self) -> u64 {
        let sent = |bot: &BotId| self.telegram.counters(*bot).sent;
        self.bots.iter().map(sent).sum()
    }

    pub(super) async fn wait_for(&self, sent: u64, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        while self.sent() < sent {
            if Instant::now() > deadline {
                return Err(format!("{} of {sent} answers after {timeout:?}", self.sent()).into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

/// The figures of one run of one side.
#[derive(Clone, Copy)]
struct Run {
    per_second: f64,
    /// CPU time of the side under test, in milliseconds per message.
    cpu: f64,
    /// CPU time of simulator, assistant and load, in milliseconds per message.
    load_cpu: f64,
}

const BOTS: usize = 10;
const CHATS: i64 = 200;
/// The number of runs of each side, in turns. The run with the median throughput counts.
const ROUNDS: usize = 3;

/// Queues all messages and measures the time until all are answered.
async fn drain_backlog(part: &str, messages: usize) -> Result<Run, Failure> {
    let load_test = LoadTest::new(BOTS).await?;
    let process = load_test.start(part)?;
    // One message per bot first, which opens the connections.
    for bot in &load_test.bots {
        load_test
            .telegram
            .send_private_message(*bot, 1000, "warm up");
    }
    load_test
        .wait_for(BOTS as u64, Duration::from_secs(30))
        .await?;
    let (cpu, load_cpu) = (process.cpu(), cpu_of("self"));
    for n in 0..messages {
        let chat = 1000 + i64::try_from(n / BOTS)? % CHATS;
        load_test.telegram.send_private_message(
            load_test.bots[n % BOTS],
            chat,
            "Where is my order? It should have been here on Monday.",
        );
    }
    let started = Instant::now();
    let before = load_test.sent();
    load_test
        .wait_for((messages + BOTS) as u64, Duration::from_mins(5))
        .await?;
    let took = started.elapsed().as_secs_f64();
    let per_message = |spent: Duration| spent.as_secs_f64() * 1000.0 / messages as f64;
    Ok(Run {
        per_second: ((messages + BOTS) as u64 - before) as f64 / took,
        cpu: per_message(process.cpu().saturating_sub(cpu)),
        load_cpu: per_message(cpu_of("self").saturating_sub(load_cpu)),
    })
}

/// Runs the same load against the operator and the peer, in turns.
pub(super) async fn end_to_end(messages: usize) -> Result<(), Failure> {
    println!(
        "end to end: {messages} messages, {BOTS} bots, {CHATS} chats each, assistant at 0 ms; the median one of {ROUNDS} runs by turns. \
         The same call to the assistant on both sides: no history; with sessions of 24 h every call carries up to 10 messages of it"
    );
    let sides = [
        ("peer-process", "plain teloxide dispatcher, keeps nothing"),
        ("sessionless-operator-process", "this operator, durable"),
        ("operator-process", "this operator, durable, with sessions"),
    ];
    let mut runs = sides.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (runs, (part, _)) in runs.iter_mut().zip(sides) {
            runs.push(drain_backlog(part, messages).await?);
        }
    }
    let mut rates = Vec::new();
    for (runs, (_, name)) in runs.into_iter().zip(sides) {
        rates.push(median_run(runs, name).per_second);
    }
    let times = rates[1] / rates[0];
    judge(
        times >= 1.0,
        &format!(
            "at least as fast as the plain dispatcher ({times:.2} times; twice as fast is the goal)"
        ),
    );
    Ok(())
}

/// Prints and returns the run with the median throughput.
fn median_run(mut runs: Vec<Run>, name: &str) -> Run {
    runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let run = runs[runs.len() / 2];
    println!(
        "end to end: {name}: {:.0} messages/s ({:.0} to {:.0}), {:.3} ms CPU each, and {:.3} ms of simulator, assistant and load",
        run.per_second,
        runs[0].per_second,
        runs[runs.len() - 1].per_second,
        run.cpu,
        run.load_cpu,
    );
    run
}

/// Sends messages at a steady rate. Returns the sorted times from each message to its answer at Telegram, in milliseconds.
pub(super) async fn steady(
    load_test: &LoadTest,
    per_second: u64,
    duration: Duration,
    bots: std::ops::Range<usize>,
    chats: i64,
) -> Result<Vec<f64>, Failure> {
    let mut sent_at: HashMap<(BotId, i64), Vec<jiff::Timestamp>> = HashMap::new();
    let mut sent_before: HashMap<(BotId, i64), usize> = HashMap::new();
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
    let started = Instant::now();
    let mut n = 0_usize;
    while started.elapsed() < duration {
        tick.tick().await;
        let bot = load_test.bots[bots.start + n % bots.len()];
        let chat = 1000 + i64::try_from(n / bots.len())? % chats;
        sent_before
            .entry((bot, chat))
            .or_insert_with(|| load_test.telegram.sent_messages(bot, chat).len());
        sent_at
            .entry((bot, chat))
            .or_default()
            .push(jiff::Timestamp::now());
        load_test
            .telegram
            .send_private_message(bot, chat, "Where is my order?");
        n += 1;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut times = Vec::with_capacity(n);
    for ((bot, chat), questions) in sent_at {
        let skip = sent_before[&(bot, chat)];
        loop {
            let sent = load_test.telegram.sent_messages(bot, chat);
            if sent.len() - skip >= questions.len() {
                for (question, answer) in questions.iter().zip(&sent[skip..]) {
                    times.push(answer.at.duration_since(*question).as_secs_f64() * 1000.0);
                }
                break;
            }
            if Instant::now() > deadline {
                return Err("not all were answered".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

pub(super) fn percentile(times: &[f64], p: f64) -> f64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to the length of a Vec"
    )]
    let index = (times.len() as f64 * p) as usize;
    times
        .get(index.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

pub(super) async fn latency() -> Result<(), Failure> {
    let load_test = LoadTest::new(10).await?;
    let _process = load_test.start("operator-process")?;
    steady(&load_test, 50, Duration::from_secs(2), 0..10, 50).await?;
    load_test.assistant.set_behaviour(Behaviour {
        latency_ms: 200,
        ..Behaviour::default()
    });
    let times = steady(&load_test, 100, Duration::from_secs(20), 0..10, 50).await?;
    println!(
        "latency: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms from said to answered ({} messages at 100/s, assistant at 200 ms)",
        percentile(&times, 0.5),
        percentile(&times, 0.99),
        times.last().copied().unwrap_or(0.0),
        times.len()
    );
    judge(percentile(&times, 0.99) <= 210.0, "p99 at most 210 ms");
    Ok(())
}

pub(super) async fn fairness() -> Result<(), Failure> {
    let load_test = LoadTest::new(10).await?;
    let _process = load_test.start("operator-process")?;
    let behaviour = Behaviour {
        latency_ms: 20,
        rules: vec![BehaviourRule {
            when: "sleepy".into(),
            then: Behaviour {
                latency_ms: 60_000,
                ..Behaviour::default()
            },
        }],
        ..Behaviour::default()
    };
    load_test.assistant.set_behaviour(behaviour);
    steady(&load_test, 50, Duration::from_secs(2), 2..10, 50).await?;
    let calm = steady(&load_test, 100, Duration::from_secs(15), 2..10, 50).await?;
    // Bot 0 has one chat whose assistant takes 60 s. Bot 1 is throttled for 60 s and has its own load.
    load_test
        .telegram
        .send_private_message(load_test.bots[0], 1000, "sleepy");
    load_test.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 60 })
            .bot(load_test.bots[1])
            .method("sendMessage")
            .lasting(Duration::from_mins(1)),
    );
    for n in 0..500 {
        load_test.telegram.send_private_message(
            load_test.bots[1],
            1000 + n % 100,
            "Where is my order?",
        );
    }
    let disturbed = steady(&load_test, 100, Duration::from_secs(15), 2..10, 50).await?;
    println!(
        "fairness: p99 of all others {:.1} ms undisturbed, {:.1} ms with one chat's assistant at 60 s and one bot throttled for 60 s ({} and {} messages at 100/s, assistant at 20 ms)",
        percentile(&calm, 0.99),
        percentile(&disturbed, 0.99),
        calm.len(),
        disturbed.len()
    );
    let times = percentile(&disturbed, 0.99) / percentile(&calm, 0.99);
    judge(
        times <= 2.0,
        &format!("p99 of the others within 2 times the undisturbed one ({times:.2} times)"),
    );
    Ok(())
}

pub(super) async fn memory(messages: usize) -> Result<(), Failure> {
    let load_test = LoadTest::new(BOTS).await?;
    let process = load_test.start("operator-process")?;
    let mut figures = Vec::new();
    let tenth_size = messages / 10;
    for tenth in 1..=10_usize {
        for n in 0..tenth_size {
            let chat = 1000 + i64::try_from(n / BOTS)? % 200;
            load_test.telegram.send_private_message(
                load_test.bots[n % BOTS],
                chat,
                "Where is my order?",
            );
        }
        load_test
            .wait_for((tenth * tenth_size) as u64, Duration::from_mins(5))
            .await?;
        figures.push(process.memory());
    }
    println!(
        "memory: {} MB after {} messages, {} MB after {messages} (each tenth, in MB: {:?})",
        figures[1] / 1024,
        2 * tenth_size,
        figures[9] / 1024,
        figures.iter().map(|kb| kb / 1024).collect::<Vec<_>>()
    );
    let most = figures[2..].iter().max().copied().unwrap_or(0);
    judge(
        most as f64 <= 1.2 * figures[1] as f64,
        "from the second tenth on within 20 %",
    );
    Ok(())
}
