//! `doctor`.

use std::time::Duration;

use clap::Args;

use super::OutputFormat;

/// What is examined, and from where the environment is known.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Only connectors of this namespace [default: of all that the operator serves]
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Only this connector, of --namespace or else of `default`
    pub connector: Option<String>,
    /// The kubeconfig's context [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
    /// Namespace of the operator's Deployment [default: it is looked for by the chart's labels]
    #[arg(long, env = "OPERATOR_NAMESPACE")]
    pub operator_namespace: Option<String>,
    /// Name of the operator's Deployment [default: it is looked for by the chart's labels]
    #[arg(long, env = "OPERATOR_NAME")]
    pub operator_name: Option<String>,
    /// The store, if it is not that of the operator's flags
    #[arg(long, hide_env_values = true)]
    pub store: Option<String>,
    /// Ask the cluster only: neither Telegram, nor assistants, nor the public URL
    #[arg(long)]
    pub offline: bool,
    /// Seconds that each probe may take
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub timeout: u64,
    /// A line for people, or a JSON object, for each check
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: OutputFormat,
    /// The flags of an operator that runs in no Deployment, behind `--`: those of `run`
    #[arg(last = true, value_name = "FLAGS OF run")]
    pub operator_flags: Vec<String>,
}

impl DoctorArgs {
    /// How long each probe may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Command;
    use crate::cli::tests::parse;

    #[test]
    fn flags_of_the_operator_follow_two_dashes() {
        let words = ["doctor", "-n", "acme", "--", "--connection-mode=webhook"];
        let Command::Doctor(doctor) = parse(&words).unwrap().command else {
            panic!()
        };
        assert_eq!(doctor.namespace.as_deref(), Some("acme"));
        assert_eq!(doctor.connector, None);
        assert_eq!(doctor.operator_flags, ["--connection-mode=webhook"]);
    }
}
