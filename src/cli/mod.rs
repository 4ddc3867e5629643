//! The command line: one type per command, each flag with an environment variable of the same name in capitals.
//!
//! Parsing and validation only; what a command does lives in the module that does it.

mod access;
mod allow;
mod data_api;
#[cfg(feature = "dev")]
mod dev;
mod doctor;
mod listings;
mod log;
mod run;
mod store;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use access::{AccessArgs, AccessListArgs, ApproveArgs, GrantArgs, RefuseArgs};
pub use allow::{AllowArgs, ChangeArgs, ChangeOutput, DenyArgs};
pub use data_api::{EraseArgs, SendArgs, StatusArgs};
#[cfg(feature = "dev")]
pub use dev::{DemoArgs, DevArgs, DevPart};
pub use doctor::DoctorArgs;
pub use listings::{
    ConnectorArgs, DeadLettersArgs, DeniedArgs, OutputFormat, SessionsArgs, SourceArgs,
};
pub use log::LogArgs;
pub use run::{ConnectionModeArg, RunArgs};
pub use store::{BackupArgs, StoreArgs};

/// Connects Telegram bots to assistants, as `TelegramConnector` resources say.
// Of a flag that is given twice the last counts, so that what is appended (the chart's `extraArgs`) wins; lists grow.
#[derive(Debug, Parser)]
#[command(
    name = "telegram-connector-operator",
    version,
    about,
    propagate_version = true,
    args_override_self = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator against the cluster of the kubeconfig or of the Pod it runs in.
    Run(Box<RunArgs>),
    /// Everything embedded on this machine, and it stays: control plane, Bot API simulator, sample assistant, operator.
    #[cfg(feature = "dev")]
    Dev(Box<DevArgs>),
    /// Everything embedded on this machine: plays a conversation, checks it, prints it, ends.
    #[cfg(feature = "dev")]
    Demo(DemoArgs),
    /// Print the `CustomResourceDefinitions`.
    Crds,
    /// Validate manifests offline against the schema and the CEL rules; ends with 1 when one is wrong.
    Check(CheckArgs),
    /// Examine a cluster, or a running `dev`: what is there, from the CRDs to the certificate; ends with 1 when something is broken.
    Doctor(Box<DoctorArgs>),
    /// List stored conversations of users who were denied.
    Denied(DeniedArgs),
    /// List sessions, without their text unless asked.
    Sessions(SessionsArgs),
    /// List messages that could not be handled, or hand them back to be tried again.
    DeadLetters(DeadLettersArgs),
    /// Have a bot send a message, by the data API.
    Send(SendArgs),
    /// Show how connectors stand: conditions, connection, access, messages, and what waits.
    Status(StatusArgs),
    /// Erase what the store keeps of a person.
    Erase(EraseArgs),
    /// Copy a `SQLite` store while the operator uses it, to standard output or a file.
    Backup(BackupArgs),
    /// List who asks, or asked, to be let in.
    Requests(AccessListArgs),
    /// Let in who asked.
    Approve(ApproveArgs),
    /// Do not let in who asked.
    Refuse(RefuseArgs),
    /// List who is let in beside the lists.
    Grants(AccessListArgs),
    /// Let a user write to a bot until a time, past Git.
    Grant(GrantArgs),
    /// Let a user write to a bot: print what to change in Git, or change it in the cluster.
    Allow(AllowArgs),
    /// Shut a user out: print what to change in Git, or change it in the cluster.
    Deny(DenyArgs),
}

/// `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Manifests: YAML or JSON files, or folders of them
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Warn of Secrets that an operator with `run --require-secret-label` would not use
    #[arg(long, env = "REQUIRE_SECRET_LABEL")]
    pub require_secret_label: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn parse(words: &[&str]) -> Result<Cli, String> {
        Cli::try_parse_from(
            std::iter::once("telegram-connector-operator").chain(words.iter().copied()),
        )
        .map_err(|e| e.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
