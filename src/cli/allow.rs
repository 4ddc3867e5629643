//! `allow` and `deny`.

use clap::{Args, ValueEnum};

use crate::api::UserRef;

/// How a change is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChangeOutput {
    /// The entry, for the file in Git.
    Entry,
    /// A JSON patch (RFC 6902), as YAML.
    Patch,
    /// A manifest for server-side apply, with the whole list.
    Manifest,
}

/// Whom, for which connector, and whether to do it.
#[derive(Debug, Clone, Args)]
pub struct ChangeArgs {
    /// The connector's namespace
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
    /// The connector's name
    pub connector: String,
    /// The user's numeric id, or @username
    #[arg(allow_negative_numbers = true)]
    pub user: UserRef,
    /// What is printed without --apply
    #[arg(long, short, value_enum, default_value = "entry")]
    pub output: ChangeOutput,
    /// Change the list in the cluster instead of printing the change
    #[arg(long)]
    pub apply: bool,
    /// Take the list over from the field manager that keeps it
    #[arg(long, requires = "apply")]
    pub force_conflicts: bool,
    /// The kubeconfig's context [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
}

/// `allow`.
#[derive(Debug, Clone, Args)]
pub struct AllowArgs {
    /// Whom
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Until when: a date such as 2027-01-31, through its end in UTC, or a time such as 2027-01-31T18:00:00Z. An entry of theirs gets this end
    /// [default: no end]
    #[arg(long)]
    pub until: Option<String>,
    /// Who it is, for people; at most 256 characters
    #[arg(long)]
    pub note: Option<String>,
    /// The `TelegramUserList` to add to [default: the connector's own entries if it has any, else its only list]
    #[arg(long)]
    pub list: Option<String>,
}

/// `deny`.
#[derive(Debug, Clone, Args)]
pub struct DenyArgs {
    /// Whom
    #[command(flatten)]
    pub change: ChangeArgs,
}
