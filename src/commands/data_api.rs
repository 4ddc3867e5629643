//! The data API as the commands use it: with the caller's own rights, through the cluster that the kubeconfig names.

use std::borrow::Cow;
use std::io::{self, Write as _};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client, Error};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::OutputFormat;
use crate::data_api::{GROUP, VERSION};
use crate::kube_client::{self, kubectl_table};

/// Objects of a page.
const PAGE: u32 = 500;

/// A cluster that serves the data API.
pub(super) struct DataApi {
    client: Client,
}

/// Which objects are listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing<'a> {
    /// Its plural.
    pub(super) resource: &'static str,
    /// Only of this namespace; `None`: of all.
    pub(super) namespace: Option<&'a str>,
    /// Only of this connector.
    pub(super) connector: Option<&'a str>,
    /// Not older than.
    pub(super) since: Option<Timestamp>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMetadata,
    items: Vec<Value>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default)]
    r#continue: String,
}

impl DataApi {
    /// # Errors
    /// There is no cluster, or it does not serve the data API now; the text says which.
    pub(super) async fn connect(context: Option<&str>) -> Result<Self> {
        let api = Self {
            client: connect(context).await?,
        };
        match api.get(&format!("/apis/{GROUP}/{VERSION}")).await {
            Ok(_) => Ok(api),
            Err(Error::Api(status)) if status.code == 404 => {
                bail!(
                    "the cluster serves no data API: the chart's dataApi.enabled is off (docs/data-api.md)"
                )
            }
            Err(error) => Err(explain(error)
                .context("the data API does not answer (kubectl get apiservice says why)")),
        }
    }

    /// That of the flag, or of the kubeconfig's context.
    pub(super) fn namespace<'a>(&'a self, flag: Option<&'a str>) -> &'a str {
        flag.unwrap_or_else(|| self.client.default_namespace())
    }

    /// Whether the caller may list objects.
    ///
    /// # Errors
    /// What the API server refuses.
    pub(super) async fn may_list(&self, resource: &str, namespace: &str) -> Result<bool> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(GROUP.into()),
                    resource: Some(resource.into()),
                    namespace: Some(namespace.into()),
                    verb: Some("list".into()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let reviewed = reviews.create(&PostParams::default(), &review).await;
        let status = reviewed.map_err(explain)?.status;
        Ok(status.is_some_and(|status| status.allowed))
    }

    /// Prints objects as `kubectl get -o wide` does, page by page. How many.
    ///
    /// # Errors
    /// What the API server refuses.
    async fn print_table(&self, listing: Listing<'_>) -> Result<u64> {
        let (mut rows, mut next, mut is_first) = (0, None, true);
        loop {
            let path = listing.path(next.as_deref());
            let page = kubectl_table::render_page(&self.client, &path, listing.since, is_first)
                .await
                .map_err(explain)
                .with_context(|| format!("{} cannot be listed", listing.resource))?;
            print!("{}", page.text);
            rows += page.rows as u64;
            match page.next {
                Some(token) => (next, is_first) = (Some(token), false),
                None => return Ok(rows),
            }
        }
    }

    /// Prints objects in this format. How many.
    ///
    /// # Errors
    /// What the API server refuses.
    pub(super) async fn print(&self, listing: Listing<'_>, output: OutputFormat) -> Result<u64> {
        match output {
            OutputFormat::Table => self.print_table(listing).await,
            OutputFormat::Json => {
                self.for_each(listing, async |object| print_json(&object))
                    .await
            }
        }
    }

    /// Calls `each` for every object, page by page. How many.
    ///
    /// # Errors
    /// What the API server refuses, and what `each` answers.
    pub(super) async fn for_each(
        &self,
        listing: Listing<'_>,
        mut each: impl AsyncFnMut(Value) -> Result<()>,
    ) -> Result<u64> {
        let (mut objects, mut next) = (0, None);
        loop {
            let page = self
                .get(&listing.path(next.as_deref()))
                .await
                .map_err(explain)
                .with_context(|| format!("{} cannot be listed", listing.resource))?;
            let page: List = serde_json::from_value(page)?;
            for object in page.items {
                if listing.includes(&object) {
                    objects += 1;
                    each(object).await?;
                }
            }
            match page.metadata.r#continue {
                token if token.is_empty() => return Ok(objects),
                token => next = Some(token),
            }
        }
    }

    /// An object, or what a subresource of it answers.
    ///
    /// # Errors
    /// What the API server refuses.
    pub(super) async fn read(&self, path: ObjectPath<'_>) -> Result<Value> {
        self.get(&path.to_string()).await.map_err(explain)
    }

    /// Creates an object, or what a subresource makes of it.
    ///
    /// # Errors
    /// What the API server refuses.
    pub(super) async fn create(&self, path: ObjectPath<'_>, body: &Value) -> Result<Value> {
        let request = http::Request::post(path.to_string())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(body)?)?;
        self.client.request(request).await.map_err(explain)
    }

    async fn get(&self, path: &str) -> Result<Value, Error> {
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(Error::HttpError)?;
        self.client.request(request).await
    }
}

/// Prints an object as a line.
///
/// # Errors
/// Nobody reads it.
pub(super) fn print_json(object: &Value) -> Result<()> {
    writeln!(io::stdout(), "{object}").context("the output cannot be written")
}

/// A client of the cluster that the kubeconfig names.
///
/// # Errors
/// There is none.
pub(super) async fn connect(context: Option<&str>) -> Result<Client> {
    let mut config = kube_client::infer_config(context)
        .await
        .context("there is no cluster: set KUBECONFIG, or name a --context of it")?;
    // Whoever waits at a terminal is told at once that the store or the server is away, not after minutes of trying again.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// The API server's own words, where it has said any.
fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::Api(status) if !status.message.is_empty() => anyhow!(status.message.clone()),
        error => anyhow!(error),
    }
}

impl Listing<'_> {
    fn path(&self, next: Option<&str>) -> String {
        let namespace = self
            .namespace
            .map_or_else(Cow::default, |name| format!("/namespaces/{name}").into());
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &PAGE.to_string());
        if let Some(connector) = self.connector {
            query.append_pair("fieldSelector", &format!("spec.connector={connector}"));
        }
        if let Some(token) = next {
            query.append_pair("continue", token);
        }
        let query = query.finish();
        format!(
            "/apis/{GROUP}/{VERSION}{namespace}/{}?{query}",
            self.resource
        )
    }

    fn includes(&self, object: &Value) -> bool {
        let Some(since) = self.since else {
            return true;
        };
        let created = object.pointer("/metadata/creationTimestamp");
        kubectl_table::is_since(created.and_then(Value::as_str), since)
    }
}

/// Where an object is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ObjectPath<'a> {
    pub(super) namespace: &'a str,
    pub(super) resource: &'a str,
    /// Empty: the collection.
    pub(super) name: &'a str,
    /// Empty: the object itself.
    pub(super) subresource: &'a str,
}

impl std::fmt::Display for ObjectPath<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "/apis/{GROUP}/{VERSION}/namespaces/{}/{}",
            self.namespace, self.resource
        )?;
        for segment in [self.name, self.subresource] {
            if !segment.is_empty() {
                write!(f, "/{segment}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_and_tokens_are_escaped_in_the_query() {
        let listing = Listing {
            resource: "deadletters",
            namespace: Some("acme"),
            connector: Some("support"),
            since: None,
        };
        assert_eq!(
            listing.path(Some("a+b=")),
            "/apis/data.connectors.pupau.ai/v1alpha1/namespaces/acme/deadletters?limit=500&fieldSelector=spec.connector%3Dsupport&continue=a%2Bb%3D"
        );
        let everywhere = Listing {
            namespace: None,
            connector: None,
            ..listing
        };
        assert_eq!(
            everywhere.path(None),
            "/apis/data.connectors.pupau.ai/v1alpha1/deadletters?limit=500"
        );
    }
}
