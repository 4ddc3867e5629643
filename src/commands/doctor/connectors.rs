//! One connector: what the operator says of it, whether it can be deleted, its user lists, and the Secrets that it names.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Resource, ResourceExt};
use secrecy::SecretString;

use super::context::Context;
use super::finding::Finding;
use super::probe::within;
use crate::api::conditions::{ConditionType, Reason};
use crate::api::connector::{DEFAULT_API_KEY, SecretKeyRef};
use crate::api::connector::{ListKind, ListRef};
use crate::api::{ALLOW_USE_LABEL, FINALIZER, SKIP_DISCONNECT_ANNOTATION};
use crate::api::{ClusterTelegramUserList, TelegramConnector, TelegramUserList};
use crate::assistant::Credentials;
use crate::controller::{SecretCache, SecretProblem};
use crate::telegram::BotToken;

const CONNECTOR: &str = "connector";
const DELETION: &str = "connector-deletion";
const USER_LIST: &str = "user-list";
const BOT_TOKEN: &str = "bot-token";
const API_KEY: &str = "api-key";
/// A deletion that takes longer is stuck: disconnecting takes seconds.
const DELETION_PATIENCE_SECONDS: i64 = 60;

/// A connector, or why it cannot be read.
pub(super) type GuardedConnector = DeserializeGuard<TelegramConnector>;
/// How many users each list has, by namespace and name.
pub(super) type UserLists = BTreeMap<(String, String), usize>;

/// `namespace/name`.
pub(super) fn object_name(object: &impl Resource) -> String {
    let meta = object.meta();
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&meta.namespace), part(&meta.name))
}

/// The connectors to look at, in the order of their names.
///
/// # Errors
/// The finding that they cannot be listed, or that the one that is meant does not exist.
pub(super) async fn list(
    ctx: &Context,
    name: Option<&str>,
) -> Result<Vec<GuardedConnector>, Finding> {
    let query = name.map_or_else(ListParams::default, |name| {
        ListParams::default().fields(&format!("metadata.name={name}"))
    });
    let mut found = Vec::new();
    for api in apis::<GuardedConnector>(ctx) {
        let listed = within(ctx.timeout, api.list(&query)).await;
        let listed = listed.map_err(|why| {
            Finding::skipped(CONNECTOR, "", format!("they cannot be listed: {why}"))
        })?;
        found.extend(listed.items);
    }
    if found.is_empty() {
        let namespaces = ctx.namespaces().join(" ");
        return Err(match name {
            Some(name) => Finding::failure(
                CONNECTOR,
                format!("{namespaces}/{name}"),
                "there is no such TelegramConnector",
            )
            .with_fix("kubectl get telegramconnectors -A"),
            None => Finding::ok(CONNECTOR, "", "there is none yet (docs/first-connector.md)"),
        });
    }
    found.sort_by_key(object_name);
    Ok(found)
}

/// The user lists beside the connectors; those of the cluster only if a connector refers to one.
///
/// # Errors
/// They cannot be listed.
pub(super) async fn list_user_lists(
    ctx: &Context,
    has_cluster_lists: bool,
) -> Result<UserLists, String> {
    let mut lists = UserLists::new();
    for api in apis::<DeserializeGuard<TelegramUserList>>(ctx) {
        let listed = within(ctx.timeout, api.list(&ListParams::default())).await?;
        for list in listed.items {
            let meta = list.meta();
            let key = (meta.namespace.clone(), meta.name.clone());
            let key = (key.0.unwrap_or_default(), key.1.unwrap_or_default());
            lists.insert(key, list.0.map_or(0, |list| list.spec.users.len()));
        }
    }
    if has_cluster_lists {
        let api: Api<DeserializeGuard<ClusterTelegramUserList>> = Api::all(ctx.client.clone());
        let listed = within(ctx.timeout, api.list(&ListParams::default())).await?;
        for list in listed.items {
            let name = list.meta().name.clone().unwrap_or_default();
            let users = list.0.map_or(0, |list| list.spec.users.len());
            lists.insert((String::new(), name), users);
        }
    }
    Ok(lists)
}

/// Whether a list of the cluster decides for any of them.
pub(super) fn use_cluster_lists(connectors: &[GuardedConnector]) -> bool {
    let readable = connectors.iter().filter_map(|c| c.0.as_ref().ok());
    let selections = readable.filter_map(|c| c.spec.access.deciding_list());
    let mut lists = selections.flat_map(|selection| selection.list_refs.iter().flatten());
    lists.any(|list| list.kind() == ListKind::ClusterTelegramUserList)
}

fn apis<K>(ctx: &Context) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    let namespaces = ctx.namespaces();
    if namespaces.is_empty() {
        return vec![Api::all(ctx.client.clone())];
    }
    let namespaced = |namespace: &String| Api::namespaced(ctx.client.clone(), namespace);
    namespaces.iter().map(namespaced).collect()
}

/// An object that is none of this version.
pub(super) fn unreadable(object: String, why: &str) -> Finding {
    Finding::failure(CONNECTOR, object, format!("it cannot be read: {why}"))
        .with_fix("mend its spec, or install the CRDs of this version")
}

/// What the status says of it.
pub(super) fn check_status(connector: &TelegramConnector) -> Vec<Finding> {
    if connector.metadata.deletion_timestamp.is_some() {
        // No status is written any more.
        return Vec::new();
    }
    let object = object_name(connector);
    let namespace = connector.namespace().unwrap_or_default();
    let describe = format!(
        "kubectl -n {namespace} describe tgc {}",
        connector.name_any()
    );
    let Some(status) = &connector.status else {
        let message =
            "the operator has not looked at it: it does not run, or does not serve this namespace";
        return vec![Finding::failure(CONNECTOR, object, message).with_fix(describe)];
    };
    if connector.spec.is_suspended() {
        return vec![Finding::ok(
            CONNECTOR,
            object,
            "suspended, as spec.suspend says",
        )];
    }
    if status.observed_generation < connector.metadata.generation {
        let message =
            "its status is of an earlier spec: the operator does not keep up, or does not run";
        return vec![Finding::failure(CONNECTOR, object, message).with_fix(describe)];
    }
    let mut findings = Vec::new();
    for condition in &status.conditions {
        let positive = ConditionType::parse(&condition.type_)
            .is_some_and(|t| !matches!(t, ConditionType::Reconciling | ConditionType::Stalled));
        let is_expected =
            condition.status == "True" || condition.reason == Reason::NoExchangeYet.as_str();
        // Ready repeats the first of the others.
        let is_repeated = condition.type_ == ConditionType::Ready && !findings.is_empty();
        if !positive || is_expected || is_repeated {
            continue;
        }
        let message = format!(
            "{} is {}, {}: {}",
            condition.type_, condition.status, condition.reason, condition.message
        );
        let finding = if condition.status == "False" {
            Finding::failure(CONNECTOR, &*object, message)
        } else {
            Finding::warning(CONNECTOR, &*object, message)
        };
        findings.push(finding.with_fix(&*describe));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            CONNECTOR,
            object,
            "all its conditions are as they should be",
        ));
    }
    findings
}

/// Whether a deletion is stuck behind our finalizer. `now` is the API server's time.
pub(super) fn check_deletion(connector: &TelegramConnector, now: Timestamp) -> Option<Finding> {
    let since = connector.metadata.deletion_timestamp.as_ref()?.0;
    let (namespace, name) = (
        connector.namespace().unwrap_or_default(),
        connector.name_any(),
    );
    let object = object_name(connector);
    if !connector.finalizers().iter().any(|f| f == FINALIZER) {
        let message = format!(
            "it is being deleted, held by a finalizer that is not the operator's: {}",
            connector.finalizers().join(", ")
        );
        return Some(Finding::warning(DELETION, object, message));
    }
    let seconds = now.duration_since(since).as_secs();
    let message = format!("it is being deleted for {seconds} s, held by the finalizer {FINALIZER}");
    let fix = format!(
        "kubectl -n {namespace} annotate tgc {name} {SKIP_DISCONNECT_ANNOTATION}=true (an operator that runs then lets it go; its webhook stays at Telegram)"
    );
    Some(if seconds > DELETION_PATIENCE_SECONDS {
        Finding::failure(DELETION, object, message).with_fix(fix)
    } else {
        Finding::warning(DELETION, object, message).with_fix(fix)
    })
}

/// Whether the lists that decide are there and name somebody.
pub(super) fn check_user_lists(
    connector: &TelegramConnector,
    lists: &Result<UserLists, String>,
) -> Vec<Finding> {
    let object = object_name(connector);
    let namespace = connector.namespace().unwrap_or_default();
    let selection = connector.spec.access.deciding_list();
    let references = selection.and_then(|selection| selection.list_refs.as_deref());
    let references = references.unwrap_or_default();
    let lists = match lists {
        Ok(lists) => lists,
        Err(_) if references.is_empty() => return Vec::new(),
        Err(why) => return vec![Finding::skipped(USER_LIST, object, why)],
    };
    let find = |list: &ListRef| {
        let namespace = match list.kind() {
            ListKind::TelegramUserList => namespace.clone(),
            ListKind::ClusterTelegramUserList => String::new(),
        };
        lists.get(&(namespace, list.name.clone()))
    };
    let check = |list: &ListRef| match find(list) {
        None => Finding::failure(
            USER_LIST,
            &*object,
            format!("{list} does not exist: its users are denied"),
        )
        .with_fix(match list.kind() {
            ListKind::TelegramUserList => format!("kubectl -n {namespace} get tgul"),
            ListKind::ClusterTelegramUserList => "kubectl get ctgul".to_owned(),
        }),
        Some(0) => Finding::warning(
            USER_LIST,
            &*object,
            format!("{list} is empty, or cannot be read: it lets nobody in"),
        )
        .with_fix(format!(
            "telegram-connector-operator allow -n {namespace} {} USER --list {}",
            connector.name_any(),
            list.name
        )),
        Some(users) => Finding::ok(USER_LIST, &*object, format!("{list} has {users} entries")),
    };
    references.iter().map(check).collect()
}

/// The bot token, by its shape.
///
/// # Errors
/// The finding that there is none.
pub(super) async fn read_token(
    secrets: &SecretCache,
    connector: &TelegramConnector,
) -> Result<BotToken, Finding> {
    let reference = &connector.spec.bot_token_secret_ref;
    let value = read_secret(
        secrets,
        connector,
        BOT_TOKEN,
        &reference.name,
        connector.spec.token_key(),
    )
    .await?;
    BotToken::parse(secrecy::ExposeSecret::expose_secret(&value)).map_err(|malformed| {
        let namespace = connector.namespace().unwrap_or_default();
        let (secret, key) = (&reference.name, connector.spec.token_key());
        let message = format!("key {key:?} of Secret {secret:?}: {malformed}");
        Finding::failure(BOT_TOKEN, object_name(connector), message)
            .with_fix(replace_line(&namespace, secret, key))
    })
}

/// That the token is there.
pub(super) fn token_is_there(connector: &TelegramConnector) -> Finding {
    let secret = &connector.spec.bot_token_secret_ref.name;
    let message = format!("Secret {secret:?} has one, of the right shape");
    Finding::ok(BOT_TOKEN, object_name(connector), message)
}

/// What Secrets hold for the assistant and the services beside it, and what is wrong with them.
pub(super) async fn read_credentials(
    secrets: &SecretCache,
    connector: &TelegramConnector,
) -> (Option<Credentials>, Vec<Finding>) {
    let spec = &connector.spec;
    let mut findings = Vec::new();
    let mut credentials = Some(Credentials::default());
    let mut count = 0;
    let key_ref = |reference: &SecretKeyRef| {
        let key = reference.key_or(DEFAULT_API_KEY).to_owned();
        (reference.name.clone(), key)
    };
    let headers = spec.assistant.headers.iter().flatten().enumerate();
    let headers = headers.filter_map(|(position, header)| {
        let selector = &header.value_from.as_ref()?.secret_key_ref;
        Some((Some(position), selector.name.clone(), selector.key.clone()))
    });
    let own_key = spec.assistant.api_key_secret_ref.as_ref().map(key_ref);
    let own_key = own_key.map(|(name, key)| (None, name, key));
    for (position, name, key) in own_key.into_iter().chain(headers) {
        count += 1;
        match read_secret(secrets, connector, API_KEY, &name, &key).await {
            Ok(value) => {
                if let Some(credentials) = &mut credentials {
                    match position {
                        None => credentials.api_key = Some(value),
                        Some(position) => drop(credentials.header_values.insert(position, value)),
                    }
                }
            }
            Err(finding) => {
                credentials = None;
                findings.push(finding);
            }
        }
    }
    let transcription = spec.transcription.as_ref();
    let transcription = transcription.and_then(|t| t.api_key_secret_ref.as_ref());
    let extract = spec.files.as_ref().and_then(|f| f.extract.as_ref());
    let extract = extract.and_then(|e| e.api_key_secret_ref.as_ref());
    let speech = spec.speech.as_ref();
    let speech = speech.and_then(|s| s.api_key_secret_ref.as_ref());
    let services = [transcription, extract, speech];
    for (name, key) in services.into_iter().flatten().map(key_ref) {
        count += 1;
        findings.extend(
            read_secret(secrets, connector, API_KEY, &name, &key)
                .await
                .err(),
        );
    }
    if count > 0 && findings.is_empty() {
        let message = format!("{count} found");
        findings.push(Finding::ok(API_KEY, object_name(connector), message));
    }
    (credentials, findings)
}

async fn read_secret(
    secrets: &SecretCache,
    connector: &TelegramConnector,
    check: &'static str,
    name: &str,
    key: &str,
) -> Result<SecretString, Finding> {
    let object = object_name(connector);
    let namespace = connector.namespace().unwrap_or_default();
    match secrets.get(&namespace, name, key).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(problem)) => {
            let fix = match &problem {
                SecretProblem::NotFound { .. } => {
                    format!(
                        "kubectl -n {namespace} create secret generic {name} --from-file={key}=FILE"
                    )
                }
                SecretProblem::KeyMissing { .. } => replace_line(&namespace, name, key),
                SecretProblem::NotAllowed { .. } => {
                    format!("kubectl -n {namespace} label secret {name} {ALLOW_USE_LABEL}=true")
                }
            };
            Err(Finding::failure(check, object, problem.message()).with_fix(fix))
        }
        Err(kube::Error::Api(status)) if status.code == 403 => Err(Finding::skipped(
            check,
            object,
            format!("no right to get Secret {name} in {namespace}"),
        )),
        Err(error) => Err(Finding::skipped(check, object, error)),
    }
}

/// Writes a Secret anew from a file, so that its value is in no shell history.
fn replace_line(namespace: &str, secret: &str, key: &str) -> String {
    format!(
        "kubectl -n {namespace} create secret generic {secret} --from-file={key}=FILE --dry-run=client -o yaml | kubectl apply -f -"
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn connector(change: impl FnOnce(&mut Value)) -> TelegramConnector {
        let mut object = json!({
            "apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector",
            "metadata": {"name": "support", "namespace": "acme", "generation": 2},
            "spec": {
                "botTokenSecretRef": {"name": "bot"},
                "assistant": {"protocol": "OpenAI", "url": "http://a/v1", "model": "m"},
                "access": {"level": "Company", "companyUsers": {"listRefs": [{"name": "staff"}]}},
            },
            "status": {"observedGeneration": 2, "conditions": []},
        });
        change(&mut object);
        serde_json::from_value(object).expect("a connector")
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn conditions_that_are_not_true_are_told_once() {
        let broken = connector(|object| {
            object["status"]["conditions"] = json!([
                condition("TokenValid", "False", "TokenUnauthorized"),
                condition("AssistantReady", "Unknown", "NoExchangeYet"),
                condition("Ready", "False", "TokenUnauthorized"),
                condition("Stalled", "True", "TokenUnauthorized"),
            ]);
        });
        let findings = check_status(&broken);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(
            findings[0].message,
            "TokenValid is False, TokenUnauthorized: m"
        );
        let late = connector(|object| object["status"]["observedGeneration"] = json!(1));
        assert!(check_status(&late)[0].message.contains("earlier spec"));
    }

    #[rstest]
    #[case(5, "WARN")]
    #[case(61, "FAIL")]
    fn deletion_is_stuck_after_a_minute(#[case] seconds: i64, #[case] expected: &str) {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        let since = now - jiff::SignedDuration::from_secs(seconds);
        let deleted = connector(|object| {
            object["metadata"]["deletionTimestamp"] = json!(since.to_string());
            object["metadata"]["finalizers"] = json!([FINALIZER]);
        });
        let finding = check_deletion(&deleted, now).expect("a finding");
        assert_eq!(finding.level.word(), expected);
        assert_eq!(check_deletion(&connector(|_| {}), now), None);
    }

    #[rstest]
    #[case(None, "FAIL")]
    #[case(Some(0), "WARN")]
    #[case(Some(3), "ok")]
    fn list_that_decides_must_exist_and_name_somebody(
        #[case] users: Option<usize>,
        #[case] expected: &str,
    ) {
        let key = ("acme".to_owned(), "staff".to_owned());
        let lists = Ok(users.map(|users| (key, users)).into_iter().collect());
        let findings = check_user_lists(&connector(|_| {}), &lists);
        assert_eq!(findings[0].level.word(), expected);
    }
}
