//! `dev` and `demo`: everything on one machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use url::Url;

use super::LogArgs;

/// `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Logs; the transcript is what the demo is for, so only warnings unless asked
    #[arg(long, env = "LOG_LEVEL", default_value = "warn")]
    pub log_level: String,
}

/// `dev`.
#[derive(Debug, Clone, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true
)]
pub struct DevArgs {
    /// Start one part alone instead of everything
    #[command(subcommand)]
    pub part: Option<DevPart>,
    /// Manifests, or folders of them; applied, and applied again when they change [default: the quickstart's]
    pub manifests: Vec<PathBuf>,
    /// A Bot API root instead of the simulator; with `https://api.telegram.org` and a real token it serves a real bot
    #[arg(long, env = "TELEGRAM_API_URL")]
    pub telegram_api_url: Option<Url>,
    /// The store [default: a folder that goes when `dev` ends]
    #[arg(long, env = "STORE")]
    pub store: Option<String>,
    /// Where to write the kubeconfig [default: in a folder that goes when `dev` ends]
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the control plane
    #[arg(long, default_value = "127.0.0.1:0")]
    pub control_plane_listen: SocketAddr,
    /// Address of the Bot API simulator
    #[arg(long, default_value = "127.0.0.1:0")]
    pub telegram_listen: SocketAddr,
    /// Address of the sample assistant
    #[arg(long, default_value = "127.0.0.1:0")]
    pub assistant_listen: SocketAddr,
    /// Address of the page; loopback only
    #[arg(long, default_value = "127.0.0.1:0")]
    pub page_listen: SocketAddr,
    /// Address of metrics, health, readiness
    #[arg(long, default_value = "127.0.0.1:0")]
    pub admin_listen: SocketAddr,
    /// Logs
    #[command(flatten)]
    pub log: LogArgs,
}

/// The parts of `dev`, each to be started alone.
#[derive(Debug, Clone, Subcommand)]
pub enum DevPart {
    /// The embedded control plane; prints the kubeconfig's path
    ControlPlane {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Where to write the kubeconfig
        #[arg(long, default_value = "dev.kubeconfig")]
        kubeconfig: PathBuf,
        /// Manifests, or folders of them; applied, and applied again when they change
        manifests: Vec<PathBuf>,
    },
    /// The Bot API simulator; prints its address
    Telegram {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// The sample assistant; prints its address
    Assistant {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::DevPart;
    use crate::cli::Command;
    use crate::cli::tests::parse;

    #[test]
    fn dev_takes_manifests_or_the_name_of_a_part() {
        let Command::Dev(all) = parse(&["dev", "examples/quickstart"]).unwrap().command else {
            panic!()
        };
        assert!(all.part.is_none() && all.manifests.len() == 1);
        let Command::Dev(part) = parse(&["dev", "telegram"]).unwrap().command else {
            panic!()
        };
        assert!(matches!(part.part, Some(DevPart::Telegram { .. })));
    }
}
