//! Parses the command line and starts one command. What a command does lives in the module that does it.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use telegram_connector_operator::cli::{Cli, Command};
use telegram_connector_operator::{allow, api, backup, check, listings, run};

/// Gives memory back and keeps its size flat over days of small allocations, which glibc's allocator does not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run_command(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("telegram-connector-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command(cli: Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run::run(*args).await?,
            #[cfg(feature = "dev")]
            Command::Dev(args) => telegram_connector_operator::dev::dev_command::run(*args).await?,
            #[cfg(feature = "dev")]
            Command::Demo(args) => return telegram_connector_operator::dev::demo::run(args).await,
            Command::Crds => std::io::stdout().write_all(api::crds::yaml().as_bytes())?,
            Command::Check(args) => {
                return Ok(check::run(&args.files, &mut std::io::stdout())?
                    .exit_code()
                    .into());
            }
            Command::Denied(args) => listings::denied(args).await?,
            Command::Sessions(args) => listings::sessions(args).await?,
            Command::Backup(args) => backup::backup(args).await?,
            Command::DeadLetters(args) => listings::dead_letters(args).await?,
            Command::Allow(args) => allow::allow(args).await?,
            Command::Deny(args) => allow::deny(args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}
