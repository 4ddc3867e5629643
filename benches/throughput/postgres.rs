//! Measures `PostgreSQL` beside `SQLite`, with one replica and with three: intake, throughput, latency, and what a message costs the
//! operators and the database.

use std::time::{Duration, Instant};

use super::load::{LoadTest, Process, percentile, steady};
use super::postgres_server::Postgres;
use super::{Failure, intake};

const BOTS: usize = 10;
/// Chats of each bot.
const CHATS: i64 = 200;
/// Messages per second while the latency is measured.
const RATE: u64 = 100;
/// Until the operators' connections have looked around (every 5 s), and reported to `PostgreSQL`'s statistics what they did.
const STATISTICS: Duration = Duration::from_secs(6);
/// A measurement that takes longer has failed.
const TIMEOUT: Duration = Duration::from_mins(3);

/// The figures of one row.
struct Figures {
    /// Updates per second, one by one and in polls of 100.
    intake: [f64; 2],
    /// From a message to its answer at Telegram, in milliseconds, sorted.
    latencies: Vec<f64>,
    per_second: f64,
    /// Milliseconds of CPU per message.
    operator_cpu: f64,
    /// Resident memory of all replicas, in kB.
    operator_memory: u64,
    database: Option<DatabaseFigures>,
}

/// What the database's own processes did.
struct DatabaseFigures {
    /// Milliseconds of CPU per message.
    cpu: f64,
    /// Memory with what is shared counted once, in kB.
    memory: u64,
    wal_syncs: f64,
    commits: f64,
}

/// Prints a table with a row for each store and number of replicas.
pub(super) async fn run(messages: usize) -> Result<(), Failure> {
    println!(
        "postgres: {BOTS} bots, {CHATS} chats each, polling, the bots divided among the replicas' pollers, sessions, assistant at 0 ms. PostgreSQL with its defaults \
         (fsync on) on the same machine and disk, on a Unix socket. Latency at {RATE} messages/s; throughput, CPU, WAL syncs and commits of {messages} messages that wait already"
    );
    println!(
        "| store | replicas | intake one by one | in polls of 100 | p50 | p99 | throughput | operators' CPU each | database's CPU each | WAL syncs each | commits each | operators' memory | database's memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    print_row("SQLite", 1, &measure(messages, 1, false).await?);
    for replicas in [1, 3] {
        print_row(
            "PostgreSQL",
            replicas,
            &measure(messages, replicas, true).await?,
        );
    }
    Ok(())
}

fn print_row(store: &str, replicas: usize, figures: &Figures) {
    let database = figures.database.as_ref();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    println!(
        "| {store} | {replicas} | {:.0}/s | {:.0}/s | {:.1} ms | {:.1} ms | {:.0}/s | {:.2} ms | {} | {} | {} | {} MB | {} |",
        figures.intake[0],
        figures.intake[1],
        percentile(&figures.latencies, 0.5),
        percentile(&figures.latencies, 0.99),
        figures.per_second,
        figures.operator_cpu,
        or_none(database.map(|d| format!("{:.2} ms", d.cpu))),
        or_none(database.map(|d| format!("{:.3}", d.wal_syncs))),
        or_none(database.map(|d| format!("{:.3}", d.commits))),
        figures.operator_memory / 1024,
        or_none(database.map(|d| format!("{} MB", d.memory / 1024))),
    );
}

/// A new database that waits for its disk.
async fn start_postgres() -> Result<Postgres, Failure> {
    let started = Postgres::start_durable().await;
    started.ok_or_else(|| "there is no PostgreSQL on this machine".into())
}

/// Updates per second that are accepted, one by one and in polls of 100; each on a new store.
async fn intake_rates(replicas: usize, on_postgres: bool) -> Result<[f64; 2], Failure> {
    let mut rates = [0.0; 2];
    for (rate, (batch, callers)) in rates.iter_mut().zip([(1, 40), (100, 1)]) {
        let folder = tempfile::tempdir()?;
        let postgres = if on_postgres {
            Some(start_postgres().await?)
        } else {
            None
        };
        let sqlite = format!("sqlite:{}/connectors.db", folder.path().display());
        let address = postgres.as_ref().map_or(sqlite, Postgres::address);
        *rate = intake::rate(&address, replicas, batch, callers).await?;
    }
    Ok(rates)
}

async fn measure(messages: usize, replicas: usize, on_postgres: bool) -> Result<Figures, Failure> {
    let intake = intake_rates(replicas, on_postgres).await?;
    let load_test = LoadTest::new(BOTS).await?;
    let postgres = if on_postgres {
        Some(start_postgres().await?)
    } else {
        None
    };
    let store = postgres
        .as_ref()
        .map_or_else(|| load_test.sqlite(), Postgres::address);
    let operators = (0..replicas)
        .map(|n| load_test.start_replica("operator-process", &store, (n, replicas), Vec::new()))
        .collect::<Result<Vec<Process>, Failure>>()?;
    // The first answers open connections and lanes.
    queue(&load_test, BOTS * usize::try_from(CHATS)?)?;
    load_test
        .wait_for(BOTS as u64 * CHATS.unsigned_abs(), TIMEOUT)
        .await?;
    let latencies = steady(&load_test, RATE, Duration::from_secs(10), 0..BOTS, CHATS).await?;
    let before = match &postgres {
        Some(postgres) => Some(DatabaseCounters::read(postgres).await?),
        None => None,
    };
    let cpu = || operators.iter().map(Process::cpu).sum::<Duration>();
    let cpu_before = cpu();
    let answered = load_test.sent() + messages as u64;
    let started = Instant::now();
    queue(&load_test, messages)?;
    load_test.wait_for(answered, TIMEOUT).await?;
    let per_second = messages as f64 / started.elapsed().as_secs_f64();
    let operator_cpu = milliseconds(cpu().saturating_sub(cpu_before)) / messages as f64;
    let database = match (&postgres, before) {
        (Some(postgres), Some(before)) => Some(before.until_now(postgres, messages).await?),
        _ => None,
    };
    Ok(Figures {
        intake,
        latencies,
        per_second,
        operator_cpu,
        operator_memory: operators.iter().map(Process::memory).sum(),
        database,
    })
}

/// Says so many messages at once, to each bot and chat by turns.
fn queue(load_test: &LoadTest, messages: usize) -> Result<(), Failure> {
    for n in 0..messages {
        let chat = 1000 + i64::try_from(n / BOTS)? % CHATS;
        let bot = load_test.bots[n % BOTS];
        load_test
            .telegram
            .send_private_message(bot, chat, "Where is my order?");
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What the database has done so far.
struct DatabaseCounters {
    cpu: Duration,
    wal_syncs: i64,
    commits: i64,
}

impl DatabaseCounters {
    async fn read(postgres: &Postgres) -> Result<Self, Failure> {
        tokio::time::sleep(STATISTICS).await;
        let cpu = processes(postgres)
            .iter()
            .map(|process| cpu_with_children(process))
            .sum();
        let mut db = postgres.connect().await;
        let statement = "SELECT (SELECT wal_sync FROM pg_stat_wal), (SELECT sum(xact_commit)::bigint FROM pg_stat_database)";
        let (wal_syncs, commits) = sqlx::query_as(statement).fetch_one(&mut db).await?;
        Ok(Self {
            cpu,
            wal_syncs,
            commits,
        })
    }

    async fn until_now(
        self,
        postgres: &Postgres,
        messages: usize,
    ) -> Result<DatabaseFigures, Failure> {
        let now = Self::read(postgres).await?;
        let each = |count: i64| count as f64 / messages as f64;
        Ok(DatabaseFigures {
            cpu: milliseconds(now.cpu.saturating_sub(self.cpu)) / messages as f64,
            memory: processes(postgres).iter().map(|p| memory_of(p)).sum(),
            wal_syncs: each(now.wal_syncs - self.wal_syncs),
            commits: each(now.commits - self.commits),
        })
    }
}

/// The fields of a process's `stat` behind its name.
fn stat_of(process: &str) -> Vec<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // The first is a letter, and some may be negative; neither is asked for.
    after_name
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect()
}

/// The database's first process and its children.
fn processes(postgres: &Postgres) -> Vec<String> {
    let first = u64::from(postgres.process());
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folders
        .map(|folder| folder.file_name().to_string_lossy().into_owned())
        .filter(|process| process.parse() == Ok(first) || stat_of(process).get(1) == Some(&first))
        .collect()
}

/// The CPU time of a process and of its children that have ended (clock ticks of 10 ms).
fn cpu_with_children(process: &str) -> Duration {
    let ticks = stat_of(process).iter().skip(11).take(4).sum::<u64>();
    Duration::from_millis(10 * ticks)
}

/// Memory of a process in kB, with its share of what others use, too.
fn memory_of(process: &str) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
    rollup
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
