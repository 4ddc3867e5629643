//! The commands about who is let in beside the lists: `requests`, `grants`, `grant`, `approve`, `refuse`.

use clap::Args;

use super::{OutputFormat, SourceArgs};

/// Where access is decided.
#[derive(Debug, Clone, Args)]
pub struct AccessArgs {
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The kubeconfig's context [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
}

/// `requests` and `grants`.
#[derive(Debug, Clone, Args)]
pub struct AccessListArgs {
    /// Only of this connector
    pub connector: Option<String>,
    /// Table for people, or one JSON object a line
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: OutputFormat,
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Where it is read
    #[command(flatten)]
    pub source: SourceArgs,
}

/// `grant`.
#[derive(Debug, Clone, Args)]
pub struct GrantArgs {
    /// The connector whose bot the person may write to
    pub connector: String,
    /// The person's numeric Telegram id
    #[arg(long)]
    pub user: i64,
    /// When it ends: a date, through its end in UTC, or a time
    #[arg(long, required_unless_present = "days", conflicts_with = "days")]
    pub until: Option<String>,
    /// After how many days it ends
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: Option<u16>,
    /// The person's name, to be shown with the grant
    #[arg(long)]
    pub name: Option<String>,
    /// The person's username, to be shown with the grant
    #[arg(long)]
    pub username: Option<String>,
    /// Where
    #[command(flatten)]
    pub access: AccessArgs,
}

/// `approve`.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The requests: those of the first column of `requests`, or their numbers
    #[arg(required = true)]
    pub requests: Vec<String>,
    /// When the grants end: a date, through its end in UTC, or a time [default: as the connector's requests.grantDays says]
    #[arg(long, conflicts_with = "days")]
    pub until: Option<String>,
    /// After how many days the grants end
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: Option<u16>,
    /// Where
    #[command(flatten)]
    pub access: AccessArgs,
}

/// `refuse`.
#[derive(Debug, Clone, Args)]
pub struct RefuseArgs {
    /// The requests: those of the first column of `requests`, or their numbers
    #[arg(required = true)]
    pub requests: Vec<String>,
    /// Who asked may not ask again
    #[arg(long)]
    pub mute: bool,
    /// Where
    #[command(flatten)]
    pub access: AccessArgs,
}
