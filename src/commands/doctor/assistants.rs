//! Assistants: reached under the operator's own address policy, and never asked anything.

use std::borrow::Cow;

use url::Url;

use super::connectors::object_name;
use super::context::Context;
use super::environment::Vantage;
use super::finding::Finding;
use super::telegram::from_here;
use crate::api::TelegramConnector;
use crate::api::connector::AssistantSpec;
use crate::assistant::{
    AddressPolicy, AssistantHttpClient, BuildError, Credentials, ExtraRootCertificates,
    FailureKind, HttpLimits, ProbeError, ProbeOutcome, own_addresses, probe_assistant,
};
use crate::bounded_text::bounded_list;
use crate::run;

const ASSISTANT: &str = "assistant";

/// The client of all assistants, as the operator has it.
///
/// # Errors
/// Why none can be reached, for "not checked: ".
pub(super) fn client(ctx: &Context) -> Result<AssistantHttpClient, String> {
    if ctx.offline {
        return Err("--offline".to_owned());
    }
    let flags = ctx.flags().ok_or_else(|| ctx.flags_unknown())?;
    let policy = policy(ctx, &flags.run)?;
    // From elsewhere the file is not seen; assistants that need it are then not judged.
    let roots = flags.run.assistant_ca_file.as_deref();
    let roots =
        roots.and_then(|path| ExtraRootCertificates::read("--assistant-ca-file", path).ok());
    let limits = HttpLimits {
        connect: ctx.timeout,
        ..HttpLimits::default()
    };
    AssistantHttpClient::with_extra_roots(&roots.unwrap_or_default(), limits, policy)
        .map_err(|error| error.to_string())
}

fn policy(ctx: &Context, flags: &crate::cli::RunArgs) -> Result<AddressPolicy, String> {
    let policy = run::address_policy(flags).map_err(|error| error.to_string())?;
    Ok(match ctx.environment.vantage {
        Vantage::Pod | Vantage::Machine => policy.with_own_addresses(own_addresses()?),
        // The addresses here are not the operator's.
        Vantage::Elsewhere => policy,
    })
}

/// Whether a connector's assistant can be reached, takes its key and has its model.
pub(super) async fn check(
    ctx: &Context,
    client: &Result<AssistantHttpClient, String>,
    connector: &TelegramConnector,
    credentials: Option<Credentials>,
) -> Finding {
    let object = object_name(connector);
    let client = match client {
        Ok(client) => client,
        Err(why) => return Finding::skipped(ASSISTANT, object, why),
    };
    let Some(credentials) = credentials else {
        return Finding::skipped(ASSISTANT, object, "its Secrets cannot be read");
    };
    let spec = redirected(ctx, &connector.spec.assistant);
    let host = spec.url.parse::<Url>().ok();
    let host = host.and_then(|url| url.host_str().map(str::to_owned));
    let host = host.unwrap_or_default();
    match probe_assistant(&spec, credentials, client, ctx.timeout).await {
        Ok(outcome) => judge(outcome, &spec, &host, object),
        Err(ProbeError::Unusable(error)) => refused(&error, object),
        Err(ProbeError::Failed(error)) => {
            let unreachable =
                matches!(error.kind, FailureKind::Unreachable | FailureKind::TimedOut);
            if unreachable
                && ctx.environment.vantage == Vantage::Elsewhere
                && needs_the_pod(ctx, &host)
            {
                let why = format!("{host} is not reached from here; from the Pod it may be");
                return Finding::skipped(ASSISTANT, object, why)
                    .with_fix(ctx.environment.exec_line());
            }
            let why = if unreachable && !error.detail.contains("certificate") {
                format!(
                    "no connection to {host}, or no answer within {} s",
                    ctx.timeout.as_secs()
                )
            } else {
                error.detail
            };
            Finding::failure(ASSISTANT, object, format!("{why}{}", from_here(ctx)))
                .with_fix(fix(error.kind))
        }
    }
}

/// In `dev`, assistants that would be in a cluster are the sample assistant.
fn redirected<'a>(ctx: &Context, spec: &'a AssistantSpec) -> Cow<'a, AssistantSpec> {
    #[cfg(feature = "dev")]
    if let Some(sample) = &ctx.environment.sample_assistant {
        return Cow::Owned(AssistantSpec {
            url: crate::dev::redirect_to_sample(&spec.url, sample),
            ..spec.clone()
        });
    }
    #[cfg(not(feature = "dev"))]
    let _ = ctx;
    Cow::Borrowed(spec)
}

/// Names of Services and private addresses mean something in the cluster only, and so may an authority of the administrator's own.
fn needs_the_pod(ctx: &Context, host: &str) -> bool {
    let own_authority = ctx
        .flags()
        .is_some_and(|flags| flags.run.assistant_ca_file.is_some());
    own_authority || is_cluster_host(host)
}

fn is_cluster_host(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']).trim_end_matches('.');
    if let Ok(address) = bare.parse() {
        return super::public_url::is_private(address);
    }
    let last = bare.rsplit('.').next().unwrap_or_default();
    !bare.contains('.') || matches!(last, "svc" | "local" | "internal" | "cluster")
}

fn judge(outcome: ProbeOutcome, spec: &AssistantSpec, host: &str, object: String) -> Finding {
    let model = spec.model.as_deref().unwrap_or_default();
    match outcome {
        ProbeOutcome::ModelListed => Finding::ok(
            ASSISTANT,
            object,
            format!("{host} answers and has the model {model}"),
        ),
        ProbeOutcome::ModelNotListed(models) => {
            let models = match models.as_slice() {
                [] => "none".to_owned(),
                models => bounded_list(models, ", "),
            };
            let message = format!("{host} has no model {model:?}; it lists: {models}");
            Finding::failure(ASSISTANT, object, message)
                .with_fix("set spec.assistant.model to one of these, or load the model there")
        }
        ProbeOutcome::NoModelList => Finding::ok(
            ASSISTANT,
            object,
            format!("{host} answers; it offers no list of models"),
        ),
        ProbeOutcome::CardRead => {
            Finding::ok(ASSISTANT, object, format!("{host} has an agent card"))
        }
        ProbeOutcome::Answered(status) => Finding::ok(
            ASSISTANT,
            object,
            format!("{host} answers ({status} to OPTIONS)"),
        ),
    }
}

fn refused(error: &BuildError, object: String) -> Finding {
    let finding = Finding::failure(ASSISTANT, object, error.to_string());
    match error {
        BuildError::AddressRefused(_) => finding.with_fix(
            "use another host, or have the administrator allow it (chart: assistants.allow, assistants.allowAddresses)",
        ),
        _ => finding.with_fix("mend spec.assistant"),
    }
}

fn fix(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::KeyRefused | FailureKind::Forbidden => {
            "write a key that it takes into the Secret of spec.assistant.apiKeySecretRef"
        }
        FailureKind::Unreachable | FailureKind::TimedOut => {
            "start it, or mend host and port of spec.assistant.url, or allow egress to it"
        }
        FailureKind::Overloaded | FailureKind::QuotaExhausted | FailureKind::ServerFault => {
            "look into the assistant's own log"
        }
        _ => "mend spec.assistant (docs/assistants.md)",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_cluster_host;

    #[rstest]
    #[case("ollama.llm.svc", true)]
    #[case("ollama.llm.svc.cluster.local", true)]
    #[case("ollama", true)]
    #[case("10.96.0.7", true)]
    #[case("[fd00::1]", true)]
    #[case("api.openai.com", false)]
    #[case("93.184.215.14", false)]
    fn hosts_of_a_cluster_are_not_expected_to_answer_here(
        #[case] host: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(is_cluster_host(host), expected);
    }
}
