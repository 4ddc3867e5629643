//! The flags of an operator that runs elsewhere, read as `run` itself reads them: from the arguments and the environment of its container.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::{Args, FromArgMatches};
use k8s_openapi::api::core::v1::Container;

use crate::cli::RunArgs;

/// The command as it stands in a container's arguments.
const COMMAND: &str = "run";
/// Stands for a value that a Secret holds and that is not read: long enough for a `--webhook-key`.
const FROM_SECRET: &str = "postgres://the-value-is-in-a-secret";

/// What the operator was started with.
#[derive(Debug, Clone)]
pub(super) struct OperatorFlags {
    /// The flags.
    pub(super) run: RunArgs,
    /// Where they were found, for people.
    pub(super) source: String,
    /// The Secret and key that hold `--store`, where they do: its value is not read.
    pub(super) store_secret: Option<String>,
}

impl OperatorFlags {
    /// From the words after `run`; this process's environment counts as the operator's.
    ///
    /// # Errors
    /// What clap says of them.
    pub(super) fn from_words(words: &[String], source: impl Into<String>) -> Result<Self, String> {
        let words = words.iter().map(String::as_str);
        Ok(Self {
            run: parse(command(), words)?,
            source: source.into(),
            store_secret: None,
        })
    }

    /// From the container of a Deployment.
    ///
    /// # Errors
    /// What clap says of them.
    pub(super) fn from_container(container: &Container, source: String) -> Result<Self, String> {
        let words = container.command.iter().chain(&container.args).flatten();
        let words: Vec<&str> = words.map(String::as_str).collect();
        let start = words.iter().position(|word| *word == COMMAND);
        let words = start.map_or(&[][..], |start| &words[start + 1..]);
        let environment = Environment::of(container);
        let from_environment = environment.as_flags(words);
        let all = from_environment
            .iter()
            .map(String::as_str)
            .chain(words.iter().copied());
        Ok(Self {
            run: parse(command().mut_args(|arg| arg.env(None::<&'static str>)), all)?,
            source,
            store_secret: environment.store_secret,
        })
    }
}

/// The environment of a container, as far as its Deployment shows it.
struct Environment {
    values: BTreeMap<String, String>,
    store_secret: Option<String>,
}

impl Environment {
    fn of(container: &Container) -> Self {
        let mut values = BTreeMap::new();
        let mut store_secret = None;
        for variable in container.env.iter().flatten() {
            let secret = variable
                .value_from
                .as_ref()
                .and_then(|source| source.secret_key_ref.as_ref());
            let value = match (&variable.value, secret) {
                (Some(value), _) => value.clone(),
                (None, Some(secret)) => {
                    if variable.name == "STORE" {
                        store_secret =
                            Some(format!("key {} of Secret {}", secret.key, secret.name));
                    }
                    FROM_SECRET.to_owned()
                }
                (None, None) => continue,
            };
            values.insert(variable.name.clone(), value);
        }
        Self {
            values,
            store_secret,
        }
    }

    /// The flags that the environment sets and `words` do not.
    fn as_flags(&self, words: &[&str]) -> Vec<String> {
        let mut flags = Vec::new();
        for arg in command().get_arguments() {
            let name = arg.get_env().and_then(OsStr::to_str);
            let (Some(value), Some(long)) = (name.and_then(|n| self.values.get(n)), arg.get_long())
            else {
                continue;
            };
            let flag = format!("--{long}");
            let given = words.iter().any(|word| {
                let rest = word.strip_prefix(flag.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            });
            if given {
                continue;
            }
            if arg.get_action().takes_values() {
                flags.push(format!("{flag}={value}"));
            } else if is_truthy(value) {
                flags.push(flag);
            }
        }
        flags
    }
}

/// As clap reads a switch from the environment.
fn is_truthy(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    !matches!(
        value.as_str(),
        "" | "n" | "no" | "f" | "false" | "off" | "0"
    )
}

fn command() -> clap::Command {
    let command = clap::Command::new(COMMAND)
        .no_binary_name(true)
        .args_override_self(true)
        .disable_help_flag(true);
    RunArgs::augment_args(command)
}

fn parse<'a>(
    command: clap::Command,
    words: impl IntoIterator<Item = &'a str>,
) -> Result<RunArgs, String> {
    let run = command
        .try_get_matches_from(words)
        .and_then(|matches| RunArgs::from_arg_matches(&matches))
        .map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        })?;
    run.validate()?;
    Ok(run)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::ConnectionModeArg;

    fn flags(container: &Value) -> OperatorFlags {
        let container = serde_json::from_value(container.clone()).expect("a container");
        OperatorFlags::from_container(&container, "a test".into()).expect("flags")
    }

    #[test]
    fn arguments_and_environment_of_a_container_are_read() {
        let found = flags(&json!({
            "name": "operator",
            "args": ["run", "--watch-namespace=acme", "--connection-mode=webhook", "--public-url=https://bots.example"],
            "env": [
                {"name": "WATCH_NAMESPACE", "value": "beta"},
                {"name": "TELEGRAM_API_URL", "value": "http://api.example:8081"},
                {"name": "REQUIRE_SECRET_LABEL", "value": "true"},
                {"name": "WEBHOOK_KEY", "valueFrom": {"secretKeyRef": {"name": "k", "key": "key"}}},
                {"name": "POD_IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
            ],
        }));
        let run = found.run;
        assert_eq!(run.connection_mode, ConnectionModeArg::Webhook);
        assert_eq!(
            run.watch_namespace,
            ["acme"],
            "a flag wins over its variable"
        );
        assert_eq!(run.telegram_api_url.as_str(), "http://api.example:8081/");
        assert!(run.require_secret_label);
        assert_eq!(found.store_secret, None);
    }

    #[test]
    fn store_from_a_secret_is_named_and_means_postgres() {
        let found = flags(&json!({
            "name": "operator",
            "args": ["run"],
            "env": [{"name": "STORE", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}],
        }));
        assert_eq!(found.store_secret.as_deref(), Some("key url of Secret db"));
        assert!(found.run.elects_leader());
    }

    #[test]
    fn wrong_flag_is_reported_in_one_line() {
        let words = ["--conection-mode=webhook".to_owned()];
        let error = OperatorFlags::from_words(&words, "a test").expect_err("no such flag");
        assert!(
            error.contains("--conection-mode") && !error.contains('\n'),
            "{error}"
        );
    }
}
