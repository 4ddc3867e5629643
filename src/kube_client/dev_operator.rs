//! How `dev` tells in the kubeconfig that it writes how its operator runs: an extension of the context, by which `doctor` judges.

#[cfg(feature = "dev")]
use anyhow::Result;
use kube::config::Kubeconfig;
#[cfg(feature = "dev")]
use kube::config::NamedExtension;
use serde::{Deserialize, Serialize};
use url::Url;

/// The extension's name.
const EXTENSION: &str = "connectors.pupau.ai/dev";

/// The operator of `dev`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DevOperator {
    /// The flags of `run` that would start the same operator.
    pub(crate) flags: Vec<String>,
    /// Where assistants that run in a cluster are redirected to.
    pub(crate) sample_assistant: Option<Url>,
}

impl DevOperator {
    /// What the kubeconfig of the environment says for a context, if `dev` wrote it.
    pub(crate) fn from_environment(context: Option<&str>) -> Option<Self> {
        Self::find(&Kubeconfig::read().ok()?, context)
    }

    fn find(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<Self> {
        let context = context.or(kubeconfig.current_context.as_deref())?;
        let mut contexts = kubeconfig.contexts.iter();
        let named = contexts.find(|named| named.name == context)?;
        let mut extensions = named.context.as_ref()?.extensions.iter().flatten();
        let found = extensions.find(|extension| extension.name == EXTENSION)?;
        serde_json::from_value(found.extension.clone()).ok()
    }

    /// The kubeconfig with this told in every context.
    ///
    /// # Errors
    /// It is no kubeconfig.
    #[cfg(feature = "dev")]
    pub(crate) fn add_to(&self, kubeconfig: &str) -> Result<String> {
        let mut kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
        let extension = NamedExtension {
            name: EXTENSION.to_owned(),
            extension: serde_json::to_value(self)?,
        };
        for named in &mut kubeconfig.contexts {
            if let Some(context) = &mut named.context {
                context.extensions = Some(vec![extension.clone()]);
            }
        }
        Ok(serde_yaml::to_string(&kubeconfig)?)
    }
}

#[cfg(all(test, feature = "dev"))]
mod tests {
    use super::*;

    #[test]
    fn operator_of_dev_is_read_from_its_kubeconfig() {
        let plain = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n\
                     users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n";
        let written = DevOperator {
            flags: vec!["--store=sqlite:/tmp/c.db".to_owned()],
            sample_assistant: "http://127.0.0.1:4321/v1".parse().ok(),
        };
        let text = written.add_to(plain).expect("a kubeconfig");
        let find =
            |text: &str| DevOperator::find(&Kubeconfig::from_yaml(text).expect("valid"), None);
        assert_eq!(find(&text), Some(written));
        assert_eq!(find(plain), None);
    }
}
