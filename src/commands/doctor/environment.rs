//! Finds the operator and the flags that it runs with, so that everything is judged by the same environment.
//!
//! | where | how it is known |
//! |---|---|
//! | behind `--` | the administrator says it: an operator that runs as a plain process |
//! | the kubeconfig of `dev` | an extension of its context, which `dev` writes |
//! | this Pod | `/proc`: the operator is another process of this container |
//! | a Deployment | looked for by the chart's label, or by the names of `--operator-namespace` and `--operator-name` |

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use url::Url;

use super::flags::OperatorFlags;
use crate::cli::DoctorArgs;
use crate::kube_client::DevOperator;
use crate::run;

/// The label by which the chart's Deployments are found.
const LABEL: &str = "app.kubernetes.io/name=telegram-connector-operator";
/// The program, as it stands in command lines.
const PROGRAM: &str = "telegram-connector-operator";

/// From where the probes go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vantage {
    /// The operator's own Pod: its network, its files, its rights.
    Pod,
    /// The operator's own machine: its network and its files.
    Machine,
    /// Somewhere else: other networks, other files.
    Elsewhere,
}

/// The operator's Deployment.
#[derive(Debug, Clone)]
pub(super) enum DeploymentLookup {
    /// It was found.
    Found(Box<Deployment>),
    /// There is none; the sentence says where it was looked for.
    Missing(String),
    /// It could not be looked for.
    NotChecked(String),
    /// The operator runs in none.
    NoneExpected,
}

/// The operator, and from where it is looked at.
#[derive(Debug, Clone)]
pub(super) struct OperatorEnvironment {
    pub(super) vantage: Vantage,
    pub(super) deployment: DeploymentLookup,
    /// Its flags, or why they are not known.
    pub(super) flags: Result<OperatorFlags, String>,
    /// In `dev`, where assistants that run in a cluster are redirected to.
    #[cfg_attr(
        not(feature = "dev"),
        allow(dead_code, reason = "only `dev` redirects")
    )]
    pub(super) sample_assistant: Option<Url>,
}

impl OperatorEnvironment {
    /// Looks for the operator.
    ///
    /// # Errors
    /// There are several, and the command line does not say which one is meant.
    pub(super) async fn discover(args: &DoctorArgs, client: &Client) -> Result<Self> {
        if !args.operator_flags.is_empty() {
            let flags = OperatorFlags::from_words(&args.operator_flags, "the command line");
            return Ok(Self::on_this_machine(flags, None));
        }
        if let Some(dev) = DevOperator::from_environment(args.context.as_deref()) {
            let flags = OperatorFlags::from_words(&dev.flags, "the kubeconfig of dev");
            return Ok(Self::on_this_machine(flags, dev.sample_assistant));
        }
        let own_namespace = run::pod_namespace();
        let own_flags = own_namespace.as_ref().and_then(|_| process_flags());
        let namespace = args.operator_namespace.clone();
        let namespace = namespace.or(own_namespace.filter(|_| own_flags.is_some()));
        let deployment =
            look_up(client, namespace.as_deref(), args.operator_name.as_deref()).await?;
        let (vantage, flags) = match (own_flags, &deployment) {
            (Some(flags), _) => (Vantage::Pod, flags),
            (None, DeploymentLookup::Found(found)) => (Vantage::Elsewhere, flags_of(found)),
            (None, DeploymentLookup::Missing(why) | DeploymentLookup::NotChecked(why)) => {
                (Vantage::Elsewhere, Err(why.clone()))
            }
            (None, DeploymentLookup::NoneExpected) => {
                (Vantage::Elsewhere, Err("no operator was found".to_owned()))
            }
        };
        Ok(Self {
            vantage,
            deployment,
            flags,
            sample_assistant: None,
        })
    }

    fn on_this_machine(
        flags: Result<OperatorFlags, String>,
        sample_assistant: Option<Url>,
    ) -> Self {
        Self {
            vantage: Vantage::Machine,
            deployment: DeploymentLookup::NoneExpected,
            flags,
            sample_assistant,
        }
    }

    /// The Deployment, where there is one.
    pub(super) fn deployment(&self) -> Option<&Deployment> {
        match &self.deployment {
            DeploymentLookup::Found(found) => Some(found),
            _ => None,
        }
    }

    /// What to type for what can be seen from the operator's Pod only.
    pub(super) fn exec_line(&self) -> String {
        match self.deployment() {
            Some(deployment) => exec_line(deployment),
            None => format!("run {PROGRAM} doctor in the operator's Pod"),
        }
    }
}

/// The command that runs `doctor` in a Pod of the Deployment.
pub(super) fn exec_line(deployment: &Deployment) -> String {
    let (namespace, name) = (
        deployment.namespace().unwrap_or_default(),
        deployment.name_any(),
    );
    format!("kubectl -n {namespace} exec deploy/{name} -- {PROGRAM} doctor")
}

/// The container of the operator in a Deployment of it.
pub(super) fn operator_container(deployment: &Deployment) -> Option<&Container> {
    let pod = deployment.spec.template.spec.as_ref()?;
    let runs = |container: &&Container| {
        let mut words = container.command.iter().chain(&container.args).flatten();
        words.any(|word| word == "run")
    };
    let mut containers = pod.containers.iter();
    containers
        .clone()
        .find(|container| container.name == "operator")
        .or_else(|| containers.find(runs))
}

fn flags_of(deployment: &Deployment) -> Result<OperatorFlags, String> {
    let name = format!(
        "Deployment {}/{}",
        deployment.namespace().unwrap_or_default(),
        deployment.name_any()
    );
    let container = operator_container(deployment)
        .ok_or_else(|| format!("{name} has no container that runs the operator"))?;
    OperatorFlags::from_container(container, name.clone()).map_err(|why| format!("{name}: {why}"))
}

async fn look_up(
    client: &Client,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<DeploymentLookup> {
    let api: Api<Deployment> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let place = namespace.map_or("any namespace".to_owned(), |ns| format!("namespace {ns}"));
    let (selector, wanted) = match name {
        Some(name) => (
            ListParams::default().fields(&format!("metadata.name={name}")),
            format!("Deployment {name}"),
        ),
        None => (
            ListParams::default().labels(LABEL),
            format!("Deployment with the label {LABEL}"),
        ),
    };
    let found = match api.list(&selector).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.code == 403 => {
            return Ok(DeploymentLookup::NotChecked(format!(
                "no right to list deployments in {place}"
            )));
        }
        Err(error) => {
            return Ok(DeploymentLookup::NotChecked(format!(
                "deployments cannot be listed: {error}"
            )));
        }
    };
    let names: Vec<String> = found
        .iter()
        .map(|d| format!("{}/{}", d.namespace().unwrap_or_default(), d.name_any()))
        .collect();
    match (found.into_iter().next(), names.len()) {
        (None, _) => Ok(DeploymentLookup::Missing(format!(
            "there is no {wanted} in {place}"
        ))),
        (Some(found), 1) => Ok(DeploymentLookup::Found(Box::new(found))),
        (Some(_), _) => Err(anyhow!(
            "several operators are installed: {}; name one with --operator-namespace and --operator-name",
            names.join(", ")
        )),
    }
}

/// The flags of the operator that runs in this container.
fn process_flags() -> Option<Result<OperatorFlags, String>> {
    let processes = fs::read_dir(Path::new("/proc")).ok()?;
    let words = processes
        .flatten()
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .find_map(|command_line| run_words(&command_line))?;
    Some(OperatorFlags::from_words(&words, "this Pod"))
}

/// The words after `run` in a command line of `/proc`, if it is the operator's.
fn run_words(command_line: &[u8]) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(command_line);
    let mut words = text.trim_end_matches('\0').split('\0');
    let program = Path::new(words.next()?).file_name()?;
    (program == PROGRAM && words.next()? == "run").then(|| words.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::run_words;

    #[test]
    fn only_the_operators_own_command_line_is_read() {
        let words = |line: &str| run_words(line.replace(' ', "\0").as_bytes());
        let operator = "/usr/local/bin/telegram-connector-operator run --admin-listen=[::]:8080\0";
        assert_eq!(
            words(operator).as_deref(),
            Some(&["--admin-listen=[::]:8080".to_owned()][..])
        );
        assert_eq!(words("telegram-connector-operator doctor"), None);
        assert_eq!(words("/pause run"), None);
        assert_eq!(words(""), None);
    }
}
