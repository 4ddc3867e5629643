//! Whether the operator runs: its Deployment and Pods, or its own readiness; its version; and the Lease of its leader.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::context::Context;
use super::environment::{DeploymentLookup, exec_line, operator_container};
use super::finding::Finding;
use super::probe::{root_cause, within};
use crate::cli::{ConnectionModeArg, RunArgs};
use crate::run::{LEASE_NAME, pod_namespace};

const OPERATOR: &str = "operator";
const OPERATOR_FLAGS: &str = "operator-flags";
const OPERATOR_VERSION: &str = "operator-version";
const LEASE: &str = "lease";
/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A Lease that was renewed no longer ago than so many times its duration is held.
const LEASE_PATIENCE: i64 = 2;

/// All of it. `now` is the API server's time where it is known: Leases are not judged by this machine's clock.
pub(super) async fn check(ctx: &Context, now: Timestamp) -> Vec<Finding> {
    let mut findings = match &ctx.environment.deployment {
        DeploymentLookup::Found(deployment) => {
            let mut findings = vec![check_deployment(ctx, deployment).await];
            findings.extend(check_version(deployment));
            findings
        }
        DeploymentLookup::Missing(why) => vec![
            Finding::failure(OPERATOR, "", why.clone())
                .with_fix("install it (docs/install.md), or name it with --operator-namespace and --operator-name"),
        ],
        DeploymentLookup::NotChecked(why) if ctx.flags().is_none() => {
            vec![Finding::skipped(OPERATOR, "", why)]
        }
        DeploymentLookup::NotChecked(_) | DeploymentLookup::NoneExpected => {
            vec![check_readiness(ctx).await]
        }
    };
    findings.push(check_flags(ctx));
    findings.extend(check_lease(ctx, now).await);
    findings
}

/// The namespace of the leader's Lease.
pub(super) fn lease_namespace(ctx: &Context) -> String {
    let named = ctx
        .flags()
        .and_then(|flags| flags.run.lease_namespace.clone());
    let deployed = || {
        ctx.environment
            .deployment()
            .and_then(ResourceExt::namespace)
    };
    named
        .or_else(deployed)
        .or_else(pod_namespace)
        .unwrap_or_else(|| "default".to_owned())
}

async fn check_deployment(ctx: &Context, deployment: &Deployment) -> Finding {
    let name = deployment.name_any();
    let namespace = deployment.namespace().unwrap_or_default();
    let object = format!("{namespace}/{name}");
    let replicas = deployment.spec.replicas;
    let wanted = replicas.unwrap_or(1);
    if wanted == 0 {
        return Finding::failure(OPERATOR, object, "it is scaled to 0 replicas: nothing runs")
            .with_fix(format!(
                "kubectl -n {namespace} scale deployment/{name} --replicas=1"
            ));
    }
    let status = deployment.status.as_ref();
    let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
    if ready >= wanted {
        return Finding::ok(OPERATOR, object, format!("{ready} of {wanted} Pods ready"));
    }
    let why = pod_problem(ctx, deployment, &namespace).await;
    let message = match why {
        Some(why) => format!("{ready} of {wanted} Pods ready: {why}"),
        None => format!("{ready} of {wanted} Pods ready"),
    };
    let finding = if ready == 0 {
        Finding::failure(OPERATOR, object, message)
    } else {
        Finding::warning(OPERATOR, object, message)
    };
    finding.with_fix(format!("kubectl -n {namespace} logs deployment/{name}"))
}

/// Why a Pod of the Deployment is not ready, as its status says.
async fn pod_problem(ctx: &Context, deployment: &Deployment, namespace: &str) -> Option<String> {
    let labels = deployment.spec.selector.match_labels.as_ref()?;
    let selector: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    let query = ListParams::default().labels(&selector.join(","));
    let pods = within(ctx.timeout, api.list(&query)).await.ok()?;
    if pods.items.is_empty() {
        return Some("there is no Pod; the ReplicaSet's events say why".to_owned());
    }
    pods.items.iter().find_map(problem_of)
}

fn problem_of(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let mut containers = status.container_statuses.iter().flatten();
    let waiting = containers.find_map(|container| container.state.as_ref()?.waiting.clone());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.unwrap_or_default();
        let message = waiting.message.unwrap_or_default();
        return Some(
            format!("{} {reason} {message}", pod.name_any())
                .trim_end()
                .to_owned(),
        );
    }
    let mut conditions = status.conditions.iter().flatten();
    let failed = conditions.find(|condition| condition.status == "False")?;
    let message = failed.message.clone().unwrap_or_default();
    Some(format!("{} {message}", pod.name_any()))
}

/// Only where the version is told: by the chart's label, or by the image's tag.
fn check_version(deployment: &Deployment) -> Option<Finding> {
    let image = operator_container(deployment)?.image.clone()?;
    let tag = image.rsplit_once(':').map(|(_, tag)| tag.to_owned());
    let tag = tag.filter(|tag| !tag.contains('/') && !image.contains('@'));
    let label = deployment.labels().get("app.kubernetes.io/version");
    let version = tag.or_else(|| label.cloned())?;
    Some(if version.trim_start_matches('v') == VERSION {
        Finding::ok(OPERATOR_VERSION, "", format!("{image}, as this program"))
    } else {
        let message = format!(
            "the operator is {image}, this program {VERSION}: it judges CRDs and flags by its own version"
        );
        Finding::warning(OPERATOR_VERSION, "", message).with_fix(exec_line(deployment))
    })
}

/// `/readyz` of an operator that is on this machine.
async fn check_readiness(ctx: &Context) -> Finding {
    let Some(flags) = ctx.flags() else {
        return Finding::skipped(OPERATOR, "", ctx.flags_unknown());
    };
    let mut address = flags.run.admin_listen;
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    let url = format!("http://{address}/readyz");
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(ctx.timeout)
        .build();
    let answer = match client {
        Ok(client) => client.get(&url).send().await,
        Err(error) => Err(error),
    };
    let failure = |message: String| {
        Finding::failure(OPERATOR, "", message).with_fix("look into the operator's log")
    };
    match answer {
        Ok(answer) if answer.status().is_success() => {
            Finding::ok(OPERATOR, "", format!("ready, says {url}"))
        }
        Ok(answer) => {
            let text = answer.text().await.unwrap_or_default();
            let failing: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with("[-]"))
                .collect();
            failure(format!("not ready, says {url}: {}", failing.join("; ")))
        }
        Err(error) => failure(format!("{url} does not answer: {}", root_cause(&error))),
    }
}

fn check_flags(ctx: &Context) -> Finding {
    match &ctx.environment.flags {
        Ok(flags) => {
            let message = format!("{}; from {}", summary(&flags.run), flags.source);
            Finding::ok(OPERATOR_FLAGS, "", message)
        }
        Err(why) if ctx.environment.deployment().is_some() => {
            Finding::failure(OPERATOR_FLAGS, "", why.clone())
                .with_fix("mend the Deployment's arguments, by the chart's values")
        }
        Err(why) => Finding::skipped(OPERATOR_FLAGS, "", why),
    }
}

/// The flags that the checks go by. No password: of a store only its kind.
fn summary(run: &RunArgs) -> String {
    let mode = match run.connection_mode {
        ConnectionModeArg::Webhook => "webhook",
        ConnectionModeArg::Polling => "polling",
    };
    let public = run.public_url.as_ref();
    let public = public.map_or(String::new(), |url| format!(" at {url}"));
    let namespaces = match run.watch_namespace.as_slice() {
        [] => "all namespaces".to_owned(),
        some => format!("namespaces {}", some.join(" ")),
    };
    let store = run.store.store.split(':').next().unwrap_or_default();
    format!(
        "{mode}{public}, {namespaces}, Bot API {}, store {store}",
        run.telegram_api_url
    )
}

async fn check_lease(ctx: &Context, now: Timestamp) -> Option<Finding> {
    let flags = ctx.flags()?;
    if !flags.run.elects_leader() {
        return None;
    }
    let namespace = lease_namespace(ctx);
    let object = format!("{namespace}/{LEASE_NAME}");
    let api: Api<Lease> = Api::namespaced(ctx.client.clone(), &namespace);
    Some(
        match tokio::time::timeout(ctx.timeout, api.get_opt(LEASE_NAME)).await {
            Ok(Ok(Some(lease))) => judge_lease(&lease.spec.unwrap_or_default(), object, now),
            Ok(Ok(None)) => Finding::failure(LEASE, object, "there is no Lease: no replica leads")
                .with_fix(format!("kubectl -n {namespace} get pods")),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                Finding::skipped(LEASE, object, "no right to get leases")
            }
            Ok(Err(error)) => Finding::skipped(LEASE, object, error),
            Err(_) => Finding::skipped(LEASE, object, "the API server does not answer in time"),
        },
    )
}

fn judge_lease(spec: &LeaseSpec, object: String, now: Timestamp) -> Finding {
    let holder = spec.holder_identity.clone().unwrap_or_default();
    let fix = "look into the operator's log: kubectl logs";
    if holder.is_empty() {
        return Finding::failure(LEASE, object, "nobody holds it: no replica leads").with_fix(fix);
    }
    let seconds = i64::from(spec.lease_duration_seconds.unwrap_or(12));
    let renewed = spec.renew_time.as_ref().map(|time| time.0);
    let age = renewed.map(|renewed| now.duration_since(renewed).as_secs());
    match age {
        Some(age) if age <= LEASE_PATIENCE * seconds => {
            Finding::ok(LEASE, object, format!("held by {holder}"))
        }
        Some(age) => Finding::failure(
            LEASE,
            object,
            format!("its holder {holder} gave no sign of life for {age} s, of {seconds} s allowed"),
        )
        .with_fix(fix),
        None => Finding::failure(LEASE, object, "it was never renewed").with_fix(fix),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Some("a"), 10, "ok")]
    #[case(Some("a"), 25, "FAIL")]
    #[case(None, 1, "FAIL")]
    #[case(Some("a"), -3, "ok")]
    fn lease_is_held_while_its_holder_renews_it(
        #[case] holder: Option<&str>,
        #[case] age: i64,
        #[case] expected: &str,
    ) {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        let renewed = now - jiff::SignedDuration::from_secs(age);
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(12),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        };
        assert_eq!(
            judge_lease(&spec, String::new(), now).level.word(),
            expected
        );
    }
}
