//! The commands that only the data API serves: `send` and `status`; and `erase`, which the store does.

use clap::Args;

use super::StoreArgs;

/// `send`.
#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// The connector's namespace [default: that of the kubeconfig's context]
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The connector whose bot sends
    pub connector: String,
    /// The text, as Markdown; `-`: standard input
    pub text: String,
    /// Send to this chat: a group, or a private chat by the user's id
    #[arg(long, allow_negative_numbers = true, required_unless_present = "user")]
    pub chat: Option<i64>,
    /// Send to this user's private chat
    #[arg(long, conflicts_with = "chat")]
    pub user: Option<i64>,
    /// The topic of the group
    #[arg(long, requires = "chat")]
    pub topic: Option<i64>,
    /// Without a sound
    #[arg(long)]
    pub silent: bool,
    /// The same key within a day sends once [default: a new one]
    #[arg(long)]
    pub idempotency_key: Option<String>,
    /// Do not wait until Telegram has taken it
    #[arg(long)]
    pub no_wait: bool,
    /// The kubeconfig's context [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
}

/// `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Only this connector
    pub connector: Option<String>,
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(long, short, conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,
    /// All namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// The kubeconfig's context [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
}

/// `erase`.
#[derive(Debug, Clone, Args)]
pub struct EraseArgs {
    /// The person's numeric Telegram id
    #[arg(long)]
    pub user: i64,
    /// Only what connectors of this namespace keep [default: all namespaces]
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
}
