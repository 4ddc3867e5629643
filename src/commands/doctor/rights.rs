//! Who may do what: the caller, for these checks, and the operator, for its work. The API server is asked; nothing is tried.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::context::Context;
use super::environment::Vantage;
use super::finding::Finding;
use super::probe::within;
use crate::api::GROUP;
use crate::bounded_text::bounded_list;
use crate::cli::RunArgs;
use crate::controller::{DATA_API_SECRET, RIGHTS, RightScope};

const CALLER_RIGHTS: &str = "caller-rights";
const OPERATOR_RIGHTS: &str = "operator-rights";

/// One verb on one resource in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Access {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// "": all objects.
    name: String,
    /// "": in all namespaces, or a resource that is in none.
    namespace: String,
}

impl Access {
    fn attributes(&self) -> ResourceAttributes {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ResourceAttributes {
            verb: text(self.verb),
            group: text(self.group),
            resource: text(self.resource),
            subresource: text(self.subresource),
            name: text(&self.name),
            namespace: text(&self.namespace),
            ..ResourceAttributes::default()
        }
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in {}", self.namespace)?;
        }
        Ok(())
    }
}

/// What these checks read, for whoever runs them.
pub(super) async fn check_caller(ctx: &Context) -> Finding {
    let mut wanted = Vec::new();
    for namespace in namespaces_or_all(ctx.namespaces()) {
        for (verb, group, resource) in [
            ("list", GROUP, "telegramconnectors"),
            ("list", GROUP, "telegramuserlists"),
            ("get", "", "secrets"),
        ] {
            wanted.push(access(verb, group, resource, &namespace));
        }
    }
    wanted.push(access(
        "get",
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "",
    ));
    if let Some(deployment) = ctx.environment.deployment() {
        let namespace = deployment.namespace().unwrap_or_default();
        wanted.push(access("list", "", "pods", &namespace));
        wanted.push(access(
            "create",
            "authorization.k8s.io",
            "subjectaccessreviews",
            "",
        ));
    }
    match missing(ctx, &wanted, None).await {
        Err(why) => Finding::skipped(CALLER_RIGHTS, "", why),
        Ok(missing) if missing.is_empty() => {
            Finding::ok(CALLER_RIGHTS, "", "you may read all that is checked")
        }
        Ok(missing) => Finding::skipped(
            CALLER_RIGHTS,
            "",
            format!("no right to {}", bounded_list(&missing, ", ")),
        ),
    }
}

/// What the operator does, for its `ServiceAccount`.
pub(super) async fn check_operator(ctx: &Context) -> Option<Finding> {
    let Some(flags) = ctx.flags() else {
        return Some(Finding::skipped(OPERATOR_RIGHTS, "", ctx.flags_unknown()));
    };
    let lease_namespace = super::operator::lease_namespace(ctx);
    let mut wanted = Vec::new();
    for right in RIGHTS {
        let namespaces = namespaces_of(right.scope, &flags.run, &lease_namespace);
        let name = match (right.name, &flags.run.data_api_certificate_secret) {
            (DATA_API_SECRET, Some(secret)) => secret,
            (name, _) => name,
        };
        for namespace in namespaces {
            wanted.extend(right.verbs.iter().map(|verb| Access {
                subresource: right.subresource,
                name: name.to_owned(),
                ..access(verb, right.group, right.resource, &namespace)
            }));
        }
    }
    let account = match ctx.environment.vantage {
        // It is whoever asks.
        Vantage::Pod | Vantage::Machine => None,
        Vantage::Elsewhere => Some(service_account(ctx)?),
    };
    let shown = account
        .as_ref()
        .map_or("this account".to_owned(), |(namespace, name)| {
            format!("ServiceAccount {namespace}/{name}")
        });
    Some(match missing(ctx, &wanted, account.as_ref()).await {
        Err(why) => Finding::skipped(OPERATOR_RIGHTS, "", why),
        Ok(missing) if missing.is_empty() => Finding::ok(
            OPERATOR_RIGHTS,
            "",
            format!("{shown} may do all that the operator does"),
        ),
        Ok(missing) => Finding::failure(
            OPERATOR_RIGHTS,
            "",
            format!("{shown} may not {}", bounded_list(&missing, ", ")),
        )
        .with_fix("helm upgrade with rbac.create=true, or grant what docs/security.md lists"),
    })
}

/// Where a right is needed with these flags; nowhere if they do not need it. "" is everywhere.
fn namespaces_of(scope: RightScope, flags: &RunArgs, own_namespace: &str) -> Vec<String> {
    let where_needed = |needed: bool, namespace: &str| {
        needed
            .then(|| namespace.to_owned())
            .into_iter()
            .collect::<Vec<_>>()
    };
    let serves_data_api = flags.data_api_listen.is_some();
    let makes_certificates = flags.data_api_certificate_secret.is_some();
    match scope {
        RightScope::Watched => namespaces_or_all(flags.watch_namespace.clone()),
        RightScope::ClusterUserLists => where_needed(flags.watch_namespace.is_empty(), ""),
        RightScope::Lease => where_needed(flags.elects_leader(), own_namespace),
        RightScope::DataApiAuthentication => where_needed(serves_data_api, "kube-system"),
        RightScope::DataApi => where_needed(serves_data_api, ""),
        RightScope::DataApiSecret => where_needed(makes_certificates, own_namespace),
        RightScope::DataApiService => where_needed(makes_certificates, ""),
    }
}

fn access(
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    namespace: &str,
) -> Access {
    Access {
        verb,
        group,
        resource,
        subresource: "",
        name: String::new(),
        namespace: namespace.to_owned(),
    }
}

fn namespaces_or_all(namespaces: Vec<String>) -> Vec<String> {
    if namespaces.is_empty() {
        vec![String::new()]
    } else {
        namespaces
    }
}

/// Namespace and name of the operator's `ServiceAccount`.
fn service_account(ctx: &Context) -> Option<(String, String)> {
    let deployment = ctx.environment.deployment()?;
    let pod = deployment.spec.template.spec.as_ref()?;
    let name = pod.service_account_name.clone();
    let name = name.unwrap_or_else(|| "default".to_owned());
    Some((deployment.namespace().unwrap_or_default(), name))
}

/// What of `wanted` the account may not do; without an account, whoever asks.
///
/// # Errors
/// The API server does not say.
async fn missing(
    ctx: &Context,
    wanted: &[Access],
    account: Option<&(String, String)>,
) -> Result<Vec<String>, String> {
    let answers = wanted.iter().map(|access| async move {
        let allowed = match account {
            None => review_self(ctx, access).await,
            Some((namespace, name)) => review(ctx, access, namespace, name).await,
        }?;
        Ok::<_, String>((!allowed).then(|| access.to_string()))
    });
    let answers: Result<Vec<_>, String> = join_all(answers).await.into_iter().collect();
    Ok(answers?.into_iter().flatten().collect())
}

async fn review_self(ctx: &Context, access: &Access) -> Result<bool, String> {
    let api: Api<SelfSubjectAccessReview> = Api::all(ctx.client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(access.attributes()),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let params = PostParams::default();
    let answer = within(ctx.timeout, api.create(&params, &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

async fn review(
    ctx: &Context,
    access: &Access,
    namespace: &str,
    name: &str,
) -> Result<bool, String> {
    let api: Api<SubjectAccessReview> = Api::all(ctx.client.clone());
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            resource_attributes: Some(access.attributes()),
            user: Some(format!("system:serviceaccount:{namespace}:{name}")),
            groups: Some(groups.to_vec()),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let params = PostParams::default();
    let answer = within(ctx.timeout, api.create(&params, &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rstest::rstest;

    use super::*;
    use crate::cli::{Cli, Command};

    #[rstest]
    #[case::off("", [0, 0, 0, 0])]
    #[case::certificate_of_others("--data-api-listen=[::]:8444 --data-api-tls-cert=a --data-api-tls-key=b", [1, 1, 0, 0])]
    #[case::own_certificate("--data-api-listen=[::]:8444 --data-api-certificate-secret=a --data-api-service=b", [1, 1, 1, 1])]
    fn rights_of_the_data_api_are_asked_for_where_it_is_on(
        #[case] flags: &str,
        #[case] expected: [usize; 4],
    ) {
        let words = ["telegram-connector-operator", "run"]
            .into_iter()
            .chain(flags.split_whitespace());
        let Command::Run(run) = Cli::try_parse_from(words).expect("flags").command else {
            panic!("not run")
        };
        let scopes = [
            RightScope::DataApiAuthentication,
            RightScope::DataApi,
            RightScope::DataApiSecret,
            RightScope::DataApiService,
        ];
        let asked = scopes.map(|scope| namespaces_of(scope, &run, "own").len());
        assert_eq!(asked, expected);
    }
}
