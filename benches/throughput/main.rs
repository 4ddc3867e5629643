//! Measures throughput, latency, fairness and memory of the message path, what a slow disk makes of it, and `PostgreSQL` beside `SQLite`.
//!
//! `cargo bench --bench throughput` runs all parts; `-- intake`, `-- end-to-end`, `-- latency`, `-- fairness`, `-- memory`, `-- slow-disk`,
//! `-- postgres`, `-- members` one of them. `--messages N` changes the load of end-to-end, memory, slow-disk and postgres.
//!
//! Simulator, sample assistant and load generator run in this process. The operator (store, pollers and pipeline, without Kubernetes)
//! and, for comparison, a plain teloxide dispatcher run in separate processes, so that the CPU time of each can be measured. The exit
//! code is 1 if a figure misses its limit.

#![allow(missing_docs)]

mod intake;
mod load;
mod members;
#[path = "../../tests/support/not_tried.rs"]
mod not_tried;
mod operator;
mod peer;
mod postgres;
#[path = "../../tests/support/postgres_server.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests', who start it with other settings, too"
)]
mod postgres_server;
mod slow_disk;
mod verdict;
#[path = "../../tests/torture/power/volatile_cache.rs"]
#[allow(dead_code, reason = "the tests cut the power, too")]
mod volatile_cache;

use std::error::Error;
use std::process::ExitCode;

use telegram_connector_operator::registry::SessionDuration;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let mut args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let messages = args
        .iter()
        .position(|a| a == "--messages")
        .map(|index| {
            args.remove(index);
            args.remove(index).parse::<usize>()
        })
        .transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let part = args.first().map(String::as_str);
        if !part.is_some_and(|part| part.ends_with("-process")) {
            print_conditions();
        }
        match part {
            Some("operator-process") => operator::run(&args[1..], SessionDuration::Hours(24)).await,
            Some("sessionless-operator-process") => {
                operator::run(&args[1..], SessionDuration::None).await
            }
            Some("peer-process") => peer::run(&args[1..]).await,
            Some("intake") => intake::run().await,
            Some("end-to-end") => load::end_to_end(messages.unwrap_or(40_000)).await,
            Some("latency") => load::latency().await,
            Some("fairness") => load::fairness().await,
            Some("memory") => load::memory(messages.unwrap_or(200_000)).await,
            Some("slow-disk") => slow_disk::run(messages.unwrap_or(10_000)).await,
            Some("members") => members::run().await,
            Some("postgres") => postgres::run(messages.unwrap_or(10_000)).await,
            None => {
                intake::run().await?;
                load::end_to_end(messages.unwrap_or(40_000)).await?;
                load::latency().await?;
                load::fairness().await?;
                load::memory(messages.unwrap_or(200_000)).await?;
                slow_disk::run(messages.unwrap_or(10_000)).await?;
                members::run().await?;
                postgres::run(messages.unwrap_or(10_000)).await
            }
            Some(other) => Err(format!("unknown part {other}").into()),
        }
    })?;
    Ok(ExitCode::from(u8::from(!verdict::all_passed())))
}

/// Prints the machine and the set-up.
fn print_conditions() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown", |l| l.trim_start_matches([' ', '\t', ':']));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "conditions: {} cores of {model}, load before {}; store in {} (fsync per commit); simulator, assistant and load in one process, \
         each side under test in another",
        std::thread::available_parallelism().map_or(0, usize::from),
        load.split(' ').next().unwrap_or("?"),
        std::env::temp_dir().display()
    );
}
