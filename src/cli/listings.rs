//! The commands that list what the store keeps: `denied`, `sessions`, `dead-letters`.

use clap::{Args, ValueEnum};

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
    /// The connector's namespace [default: that of the kubeconfig's context]
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The connector's name
    pub name: String,
    /// Its uid: for what a deleted connector of that name left
    #[arg(long)]
    pub uid: Option<String>,
    /// Table for people, or one JSON object a line
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: OutputFormat,
    /// Where it is read
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Where a listing comes from.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Read this store, `sqlite:PATH` or `postgres://...`, instead of asking the data API
    #[arg(long, env = "STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// The kubeconfig's context, for the data API [default: the current one]
    #[arg(long, conflicts_with = "store")]
    pub context: Option<String>,
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
    /// Hand these back to be tried again: those of the first column, or `all`
    #[arg(long, value_name = "NUMBER|NAME|all", value_delimiter = ',')]
    pub retry: Vec<String>,
}
