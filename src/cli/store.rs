//! The store, of every command that opens one; and `backup`, which copies it.

use std::path::PathBuf;

use clap::Args;

/// Where the store is.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// `sqlite:PATH`, or `postgres://...` for more than one replica
    #[arg(
        long,
        env = "STORE",
        default_value = "sqlite:data/connectors.db",
        hide_env_values = true
    )]
    pub store: String,
}

/// `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
    /// A new file for the copy [default: standard output]
    #[arg(long)]
    pub output: Option<PathBuf>,
}
