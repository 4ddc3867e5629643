//! Measures what one tenant's worst answers cost the others: how fast `/healthz` is, and how long a connector in another namespace takes to answer,
//! while 24 chats of the first one get texts that make Markdown renderers slow.
//!
//! `cargo bench --bench neighbours` (`-- --bytes 120000 --chats 24 --pace-ms 2000` changes the load). The operator with its store, its API server
//! and the simulated Telegram are separate processes on one machine; this one is both assistants, and asks. At first each known text is asked for
//! once, alone: the 24 whose answers take longest are the load. Each of its chats gets another one of them after two seconds, though Telegram
//! takes half a minute for such an answer. Phases with and without the load alternate. `OPERATOR` names another build of the
//! program. The exit code is 1 if a figure misses its limit.

#[path = "../tests/markdown/bombs.rs"]
mod bombs;
#[path = "support/process.rs"]
mod process;
#[path = "support/surroundings.rs"]
mod surroundings;
#[path = "neighbours/telegram.rs"]
mod telegram;
#[path = "neighbours/texts.rs"]
mod texts;
#[path = "throughput/verdict.rs"]
mod verdict;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use process::{Process, free_address, program};
use surroundings::Surroundings;
use telegram::Telegram;
use texts::Texts;

type Failure = Box<dyn Error + Send + Sync>;

/// The bot whose answers are the load, and the one beside it.
const NOISY: u64 = 8_400_000_001;
const NEIGHBOUR: u64 = 8_400_000_002;
/// The number of phases with and without the load. The median of their figures counts.
const ROUNDS: usize = 5;
const PHASE: Duration = Duration::from_secs(8);
/// Between two questions to the neighbour, and between two requests for `/healthz`.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest time until an answer, beyond which the run fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// The slowest that `/healthz` may be.
const MAX_HEALTHZ_MS: f64 = 100.0;
/// The largest factor by which the neighbour's answers may become slower.
const MAX_FACTOR: f64 = 2.0;

fn main() -> Result<ExitCode, Failure> {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let value = args.iter().skip_while(|a| *a != name).nth(1);
        value.map_or(Ok(default), |n| n.parse())
    };
    let (bytes, chats) = (number("--bytes", 120_000)?, number("--chats", 24)?);
    let pace = Duration::from_millis(number("--pace-ms", 2000)?.try_into()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let texts = Arc::new(Texts::of(bombs::bombs(bytes)));
        let folder = tempfile::tempdir()?;
        let operator = Operator::start(folder.path(), texts.clone()).await?;
        let worst = rank(&operator, &texts, chats).await?;
        compare(&operator, worst, pace).await
    })?;
    Ok(ExitCode::from(u8::from(!verdict::all_passed())))
}

/// The operator with two connectors, its API server and a simulated Telegram.
struct Operator {
    telegram: Telegram,
    healthz: String,
    /// Nobody asks twice: each question has a chat of its own.
    users: AtomicUsize,
    process: Process,
    around: Surroundings,
}

impl Operator {
    async fn start(folder: &Path, texts: Arc<Texts>) -> Result<Self, Failure> {
        let program = program();
        let assistant = texts::serve(texts).await?;
        let manifests = [("noisy", NOISY), ("neighbour", NEIGHBOUR)]
            .map(|(name, bot)| connector(name, bot, &assistant));
        let around = Surroundings::start(folder, &manifests.concat())?;
        let telegram = Telegram::new(&around.telegram_url)?;
        for bot in [NOISY, NEIGHBOUR] {
            telegram.add_bot(&token(bot)).await?;
        }
        let admin = free_address()?;
        let store = format!("sqlite:{}", folder.join("store.db").display());
        let flags = [
            "run",
            "--admin-listen",
            &admin,
            "--store",
            &store,
            "--telegram-api-url",
            &telegram.root,
            "--allow-assistant-address=127.0.0.1",
        ];
        let env = [("KUBECONFIG", &*around.kubeconfig), ("LOG_LEVEL", "error")];
        let operator = Process::start(&program, &flags, &env)?;
        let started = Self {
            telegram,
            healthz: format!("http://{admin}/healthz"),
            users: AtomicUsize::new(1000),
            process: operator,
            around,
        };
        for bot in [NOISY, NEIGHBOUR] {
            started.answer_time(bot, "ready?").await?;
        }
        Ok(started)
    }

    /// Asks in a new chat. Returns the milliseconds until Telegram has the first message of the answer. The rest of a long answer is not sent: the
    /// user blocks the bot.
    async fn answer_time(&self, bot: u64, question: &str) -> Result<f64, Failure> {
        let user = self.users.fetch_add(1, Ordering::Relaxed);
        let asked = jiff::Timestamp::now();
        self.telegram.say(bot, user, question).await?;
        let answered = self.telegram.first_message(bot, user, PATIENCE).await?;
        self.telegram.block(bot, user).await?;
        Ok(answered.duration_since(asked).as_secs_f64() * 1000.0)
    }
}

fn token(bot: u64) -> String {
    format!("{bot}:benchmark-not-a-real-token")
}

/// The manifests of a connector in a namespace of its own.
fn connector(namespace: &str, bot: u64, assistant: &str) -> String {
    let token = token(bot);
    format!(
        r#"---
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bot, namespace: {namespace}}}
stringData: {{token: "{token}"}}
---
apiVersion: connectors.pupau.ai/v1alpha1
kind: TelegramConnector
metadata: {{name: bot, namespace: {namespace}}}
spec:
  botTokenSecretRef: {{name: bot}}
  assistant: {{protocol: OpenAI, url: "{assistant}/v1", model: any}}
  access: {{level: Open}}
"#
    )
}

/// Asks for each text alone, and returns the numbers of those whose answers take longest.
async fn rank(operator: &Operator, texts: &Texts, most: usize) -> Result<Vec<usize>, Failure> {
    let mut times = Vec::new();
    for number in 0..texts.len() {
        let time = operator
            .answer_time(NOISY, &texts::question(number, false))
            .await?;
        times.push((time, number));
    }
    times.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "neighbours: {} texts, each alone; of those that take longest:",
        texts.len()
    );
    for (time, number) in times.iter().take(4) {
        println!(
            "  {time:.0} ms until its first message: {}",
            texts.name(*number)
        );
    }
    times.truncate(most);
    Ok(times.into_iter().map(|(_, number)| number).collect())
}

/// What was measured in one phase, in milliseconds, sorted.
#[derive(Default)]
struct Phase {
    answers: Vec<f64>,
    healthz: Vec<f64>,
}

async fn compare(operator: &Operator, worst: Vec<usize>, pace: Duration) -> Result<(), Failure> {
    measure(operator, Duration::from_secs(2)).await?;
    let (mut calm, mut loaded, mut noise) = (Vec::new(), Vec::new(), 0);
    let (mut operator_cpu, mut simulator_cpu) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        calm.push(measure(operator, PHASE).await?);
        let cpu = || -> Result<_, Failure> {
            Ok((
                operator.process.cpu_seconds()?,
                operator.around.telegram.cpu_seconds()?,
            ))
        };
        let before = cpu()?;
        let until = Instant::now() + PHASE;
        let chats = worst
            .iter()
            .map(|number| ask_until(operator, *number, pace, until));
        let (phase, answered) = tokio::try_join!(
            measure(operator, PHASE),
            futures::future::try_join_all(chats)
        )?;
        let after = cpu()?;
        operator_cpu += after.0 - before.0;
        simulator_cpu += after.1 - before.1;
        loaded.push(phase);
        noise += answered.iter().sum::<usize>();
    }
    println!(
        "neighbours: {} chats at once, {noise} of their answers in {} s, for which the operator took {operator_cpu:.1} s and the simulator {simulator_cpu:.1} s of {} CPUs",
        worst.len(),
        ROUNDS as u64 * PHASE.as_secs(),
        std::thread::available_parallelism()?
    );
    report("calm", &calm);
    report("loaded", &loaded);
    let factor = median(&loaded, |p| percentile(&p.answers, 50))
        / median(&calm, |p| percentile(&p.answers, 50));
    println!("neighbours: the neighbour's answers take {factor:.2} times as long (p50)");
    verdict::judge(
        median(&loaded, |p| percentile(&p.healthz, 100)) <= MAX_HEALTHZ_MS,
        &format!("/healthz answers within {MAX_HEALTHZ_MS} ms under load"),
    );
    verdict::judge(
        factor <= MAX_FACTOR,
        &format!("another tenant's answers take at most {MAX_FACTOR} times as long under load"),
    );
    Ok(())
}

/// One chat of the load. Returns how many answers it got.
async fn ask_until(
    operator: &Operator,
    number: usize,
    pace: Duration,
    until: Instant,
) -> Result<usize, Failure> {
    let mut answered = 0;
    while Instant::now() < until {
        let next = Instant::now() + pace;
        operator
            .answer_time(NOISY, &texts::question(number, true))
            .await?;
        answered += 1;
        tokio::time::sleep_until(next.min(until).into()).await;
    }
    Ok(answered)
}

/// Asks the neighbour and `/healthz` again and again.
async fn measure(operator: &Operator, duration: Duration) -> Result<Phase, Failure> {
    let until = Instant::now() + duration;
    let answers = async {
        let mut times = Vec::new();
        while Instant::now() < until {
            times.push(operator.answer_time(NEIGHBOUR, "and you?").await?);
            tokio::time::sleep(PAUSE).await;
        }
        Ok::<_, Failure>(times)
    };
    let healthz = async {
        // On a new connection each, as the kubelet asks.
        let http = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .build()?;
        let mut times = Vec::new();
        while Instant::now() < until {
            let asked = Instant::now();
            http.get(&operator.healthz)
                .send()
                .await?
                .error_for_status()?;
            times.push(asked.elapsed().as_secs_f64() * 1000.0);
            tokio::time::sleep(PAUSE).await;
        }
        Ok::<_, Failure>(times)
    };
    let (mut answers, mut healthz) = tokio::try_join!(answers, healthz)?;
    answers.sort_by(f64::total_cmp);
    healthz.sort_by(f64::total_cmp);
    Ok(Phase { answers, healthz })
}

/// A percentile of sorted times: 100 for the slowest.
fn percentile(times: &[f64], percent: usize) -> f64 {
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or(f64::INFINITY)
}

/// The median of a figure over the phases.
fn median(phases: &[Phase], figure: impl Fn(&Phase) -> f64) -> f64 {
    let mut figures: Vec<f64> = phases.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    percentile(&figures, 50)
}

fn report(name: &str, phases: &[Phase]) {
    for (what, times) in [
        ("the neighbour's answer", |p: &Phase| &p.answers),
        ("/healthz", |p: &Phase| &p.healthz),
    ] as [(&str, fn(&Phase) -> &Vec<f64>); 2]
    {
        let of = |percent| median(phases, |p| percentile(times(p), percent));
        let slowest: Vec<String> = phases
            .iter()
            .map(|p| format!("{:.0}", percentile(times(p), 100)))
            .collect();
        println!(
            "neighbours: {name:>6}: {what}: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms ({} in all; the slowest of each round: {})",
            of(50),
            of(99),
            of(100),
            phases.iter().map(|p| times(p).len()).sum::<usize>(),
            slowest.join(", ")
        );
    }
}
