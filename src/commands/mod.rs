//! The commands of the command line, except the long-running ones: `run`, and `dev` and `demo` of the cargo feature `dev`.
//!
//! [`main`] is the whole program but for its allocator. It is part of the library so that the async code is compiled once: what the binary
//! polls would be compiled a second time with the binary.
//!
//! | module | commands |
//! |---|---|
//! | `access` | `approve`, `refuse`, `grant`: who is let in beside the lists |
//! | `allow` | `allow` and `deny`: who may write to a bot, printed as YAML or applied to the cluster |
//! | [`check`] | `check`: validates manifests offline |
//! | `doctor` | `doctor`: examines what is there: cluster, operator, bots, webhook, assistants, store |
//! | `listings` | `denied`, `sessions`, `dead-letters`, `requests` and `grants`: by the data API or from the store; and hand dead letters back |
//! | `send`, `status` | what the data API is needed for; `data_api` is their client |
//! | `erase`, `backup` | `erase`: a person's data goes; `backup`: copies the store |
//!
//! Installed under the name `kubectl-tgc`, the binary is a kubectl plugin: `kubectl tgc status`.

mod access;
mod allow;
mod backup;
pub mod check;
mod data_api;
mod doctor;
mod erase;
mod listings;
mod send;
mod status;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::cli::{Cli, Command};
use crate::{api, run};

/// The file name by which kubectl finds its plugin `tgc`.
const PLUGIN: &str = "kubectl-tgc";

/// Parses the command line, runs the command and prints its error to stderr.
pub fn main() -> ExitCode {
    match run_command(parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("telegram-connector-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, which calls itself `kubectl tgc` where kubectl runs it as its plugin.
fn parse() -> Cli {
    let invoked_as = std::env::args_os().next().unwrap_or_default();
    let is_plugin = Path::new(&invoked_as)
        .file_stem()
        .is_some_and(|name| name == PLUGIN);
    if !is_plugin {
        return Cli::parse();
    }
    let matches = Cli::command().bin_name("kubectl tgc").get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// After so many tasks a busy worker looks for answers that have come: those of Telegram are written down before anything is doubled by a kill.
const EVENT_INTERVAL: u32 = 13;

/// Threads for tasks. The store has two of its own, and a task takes microseconds: with a thread for each core most of the time of one goes into
/// waking another, a quarter more CPU for a message.
fn worker_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.div_ceil(2)
}

fn run_command(command: Command) -> Result<ExitCode> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads(worker_threads());
    }
    let runtime = builder
        .event_interval(EVENT_INTERVAL)
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let done = runtime.block_on(dispatch(command));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    done
}

/// How long a thread that is at work may keep the process: a lookup in DNS that nobody answers, say, cannot be broken off.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(*args).await?,
        #[cfg(feature = "dev")]
        Command::Dev(args) => crate::dev::dev_command::run(*args).await?,
        #[cfg(feature = "dev")]
        Command::Demo(args) => return crate::dev::demo::run(args).await,
        Command::Crds => std::io::stdout().write_all(api::crds::yaml().as_bytes())?,
        Command::Check(args) => {
            let options = check::CheckOptions {
                require_secret_label: args.require_secret_label,
            };
            return Ok(check::run(&args.files, options, &mut std::io::stdout())?
                .exit_code()
                .into());
        }
        Command::Doctor(args) => return doctor::doctor(*args).await,
        Command::Denied(args) => listings::denied(args).await?,
        Command::Sessions(args) => listings::sessions(args).await?,
        Command::Backup(args) => backup::backup(args).await?,
        Command::DeadLetters(args) => listings::dead_letters(args).await?,
        Command::Send(args) => send::send(args).await?,
        Command::Status(args) => status::status(args).await?,
        Command::Erase(args) => erase::erase(args).await?,
        Command::Requests(args) => listings::requests(args).await?,
        Command::Approve(args) => access::approve(args).await?,
        Command::Refuse(args) => access::refuse(args).await?,
        Command::Grants(args) => listings::grants(args).await?,
        Command::Grant(args) => access::grant(args).await?,
        Command::Allow(args) => allow::allow(args).await?,
        Command::Deny(args) => allow::deny(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
