//! The commands that list what the store keeps: `denied`, `sessions`, `dead-letters`.

use clap::{Args, ValueEnum};

use super::StoreArgs;

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// One JSON object a line.
    Json,
}

/// Which connector a listing is about.
#[derive(Debug, Clone, Args)]
pub struct ConnectorArgs {
    /// The connector's namespace
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
    /// The connector's name
    pub name: String,
    /// Its uid: for what a deleted connector of that name left
    #[arg(long)]
    pub uid: Option<String>,
    /// Table for people, or one JSON object a line
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: OutputFormat,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `denied`.
#[derive(Debug, Clone, Args)]
pub struct DeniedArgs {
    /// Which connector
    #[command(flatten)]
    pub connector: ConnectorArgs,
    /// Only since then: RFC 3339, or a duration back from now such as `24h` or `7d`
    #[arg(long)]
    pub since: Option<String>,
}

/// `sessions`.
#[derive(Debug, Clone, Args)]
pub struct SessionsArgs {
    /// Which connector
    #[command(flatten)]
    pub connector: ConnectorArgs,
    /// Have the messages too (with `-o json`)
    #[arg(long)]
    pub with_text: bool,
}

/// `dead-letters`.
#[derive(Debug, Clone, Args)]
pub struct DeadLettersArgs {
    /// Which connector
    #[command(flatten)]
    pub connector: ConnectorArgs,
    /// Hand these back to be tried again: numbers of the first column, or `all`
    #[arg(long, value_name = "NUMBER|all", value_delimiter = ',')]
    pub retry: Vec<String>,
}
