//! How fast messages go through, and what they wait for.
//!
//! `cargo bench --bench throughput` runs all parts; `-- intake`, `-- end-to-end`, `-- latency`, `-- fairness`, `-- memory` one of
//! them. `--messages N` changes the load of end-to-end and memory.
//!
//! Simulator, sample assistant and the load are one process (this one); the operator's side (store, pollers, pipeline; without
//! Kubernetes) and, for comparison, a plain teloxide dispatcher each run in a process of their own, so that the CPU time of each
//! is its own. Figures come with their conditions and are held against their bars; the exit code is 1 if one is missed.

#![allow(missing_docs)]

mod intake;
mod load;
mod operator;
mod peer;
mod verdict;

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
        .map(|at| {
            args.remove(at);
            args.remove(at).parse::<usize>()
        })
        .transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let part = args.first().map(String::as_str);
        if !part.is_some_and(|part| part.ends_with("-process")) {
            conditions();
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
            None => {
                intake::run().await?;
                load::end_to_end(messages.unwrap_or(40_000)).await?;
                load::latency().await?;
                load::fairness().await?;
                load::memory(messages.unwrap_or(200_000)).await
            }
            Some(other) => Err(format!("unknown part {other}").into()),
        }
    })?;
    Ok(ExitCode::from(u8::from(!verdict::all_passed())))
}

fn conditions() {
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
