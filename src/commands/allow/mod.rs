//! The commands `allow` and `deny`: change who may write to a bot.
//!
//! By default they print the change for Git and touch nothing; with `--apply` they change the object by server-side apply with a field
//! manager of their own, so that no field is taken over silently. They use the caller's permissions, not the operator's.
//!
//! | file | what it owns |
//! |---|---|
//! | `change` | which list changes, and how: a pure decision |
//! | `manifest` | the change as text |
//! | `apply` | the change in the cluster |

mod apply;
mod change;
mod manifest;

use anyhow::{Context, Result, anyhow, bail};
use embedded_control_plane::schema::{KindValidator, StatusCause};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::ObjectMeta;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::api::connector::{ListKind, ListRef};
use crate::api::user_list::UserEntry;
use crate::api::{
    ClusterTelegramUserList, TelegramConnector, TelegramUserList, UserRef, crds, until,
};
use crate::bounded_text::bounded_list;
use crate::cli::{AllowArgs, ChangeArgs, DenyArgs};
use crate::kube_client;
use change::{AskedEntry, ChangeError, DecidingLists, ListEdit, UserListLocation};
use manifest::TargetObject;

/// Which of the two commands it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Allow,
    Deny,
}

/// The change that the command line asks for.
#[derive(Debug)]
struct ChangeRequest {
    direction: Direction,
    user: UserRef,
    until: Option<String>,
    note: Option<String>,
    list: Option<String>,
    /// The kubeconfig's context, if not the current one.
    context: Option<String>,
}

/// The connector whose access changes.
#[derive(Debug)]
struct TargetConnector {
    namespace: String,
    connector: String,
    /// The path of the inline list by the access level, such as `spec.access.companyUsers.users`.
    inline_field: String,
}

/// The connector and its lists as they are in the cluster.
struct FetchedObjects {
    target: TargetConnector,
    deciding: DecidingLists,
    connector: TelegramConnector,
    lists: Vec<FetchedList>,
}

/// A list that the connector refers to.
struct FetchedList {
    reference: ListRef,
    metadata: ObjectMeta,
    spec: Value,
}

impl FetchedObjects {
    fn list(&self, reference: &ListRef) -> Option<&FetchedList> {
        let mut lists = self.lists.iter();
        lists.find(|list| list.reference == *reference)
    }
}

/// How often a change is decided again after a conflict.
const ATTEMPTS: usize = 5;

/// Lets a user write to a bot.
///
/// # Errors
/// The text names the object and the field, and what to do.
pub async fn allow(args: AllowArgs) -> Result<()> {
    let request = ChangeRequest {
        direction: Direction::Allow,
        user: args.change.user.clone(),
        until: args.until,
        note: args.note,
        list: args.list,
        context: args.change.context.clone(),
    };
    change_access(&args.change, &request).await
}

/// Removes a user's access to a bot.
///
/// # Errors
/// The text names the object and the field, and what to do.
pub async fn deny(args: DenyArgs) -> Result<()> {
    let request = ChangeRequest {
        direction: Direction::Deny,
        user: args.change.user.clone(),
        until: None,
        note: None,
        list: None,
        context: args.change.context.clone(),
    };
    change_access(&args.change, &request).await
}

async fn change_access(args: &ChangeArgs, request: &ChangeRequest) -> Result<()> {
    let now = Timestamp::now();
    if let Some(until) = &request.until
        && until::end_of(until).map_err(|why| anyhow!("--until {until}: {why}"))? <= now
    {
        bail!("--until {until}: that is over already");
    }
    let client = connect(args.context.as_deref()).await?;
    if let UserRef::Username(username) = &request.user {
        eprintln!(
            "note: the id is the identity; @{username} can change hands. /id shows users their id."
        );
    }
    for _ in 0..ATTEMPTS {
        let fetched = fetch(&client, &args.namespace, &args.connector).await?;
        let edits = decide(&fetched, request, now)?;
        if edits.is_empty() {
            return Ok(());
        }
        for edit in &edits {
            validate_edit(&fetched, edit)?;
        }
        print_notes(&client, &fetched, request, &edits).await;
        if !args.apply {
            print!(
                "{}",
                manifest::render(&fetched.target, request.direction, &edits, args.output)
            );
            return Ok(());
        }
        if apply::apply(&client, &fetched, request, &edits, args.force_conflicts).await? {
            return Ok(());
        }
    }
    bail!(
        "TelegramConnector {}/{}: somebody else changed the list {ATTEMPTS} times meanwhile; try again",
        args.namespace,
        args.connector
    )
}

async fn connect(context: Option<&str>) -> Result<Client> {
    let config = kube_client::infer_config(context)
        .await
        .context("no cluster: set KUBECONFIG, or name a --context of it")?;
    Ok(Client::try_from(config)?)
}

async fn fetch(client: &Client, namespace: &str, name: &str) -> Result<FetchedObjects> {
    let connectors: Api<TelegramConnector> = Api::namespaced(client.clone(), namespace);
    let connector = connectors
        .get_opt(name)
        .await
        .with_context(|| format!("TelegramConnector {namespace}/{name} cannot be read"))?
        .ok_or_else(|| anyhow!("there is no TelegramConnector {namespace}/{name}"))?;
    let access = &connector.spec.access;
    let level = access.level;
    let Some(field) = level.list_field() else {
        bail!(
            "TelegramConnector {namespace}/{name}: spec.access.level is Open: anyone may write, no list decides. Set the level to Company, AgentEnabled or Specific first"
        );
    };
    let selection = access.deciding_list().cloned().unwrap_or_default();
    let mut deciding = DecidingLists {
        inline: selection.users.unwrap_or_default(),
        lists: Vec::new(),
    };
    let mut lists = Vec::new();
    for reference in selection.list_refs.unwrap_or_default() {
        let found = fetch_list(client, namespace, &reference).await;
        let found = found.with_context(|| format!("{reference} cannot be read"))?;
        let (users, list) = found.unzip();
        deciding.lists.push((reference, users));
        lists.extend(list);
    }
    Ok(FetchedObjects {
        target: TargetConnector {
            namespace: namespace.to_owned(),
            connector: name.to_owned(),
            inline_field: format!("spec.access.{field}.users"),
        },
        deciding,
        connector,
        lists,
    })
}

/// A list and its entries, if it is there.
async fn fetch_list(
    client: &Client,
    namespace: &str,
    reference: &ListRef,
) -> Result<Option<(Vec<UserEntry>, FetchedList)>> {
    let (metadata, users, spec) = match reference.kind() {
        ListKind::TelegramUserList => {
            let api: Api<TelegramUserList> = Api::namespaced(client.clone(), namespace);
            let Some(list) = api.get_opt(&reference.name).await? else {
                return Ok(None);
            };
            let spec = serde_json::to_value(&list.spec)?;
            (list.metadata, list.spec.users, spec)
        }
        ListKind::ClusterTelegramUserList => {
            let api: Api<ClusterTelegramUserList> = Api::all(client.clone());
            let Some(list) = api.get_opt(&reference.name).await? else {
                return Ok(None);
            };
            let names = list.spec.allowed_namespaces.names.as_ref();
            if names.is_some_and(|names| names.iter().all(|name| name != namespace)) {
                eprintln!(
                    "note: {reference} does not allow namespace {namespace}: until its spec.allowedNamespaces does, it lets nobody in here"
                );
            }
            let spec = serde_json::to_value(&list.spec)?;
            (list.metadata, list.spec.users, spec)
        }
    };
    let list = FetchedList {
        reference: reference.clone(),
        metadata,
        spec,
    };
    Ok(Some((users, list)))
}

/// The edits to make; without any, the reason is printed.
fn decide(
    fetched: &FetchedObjects,
    request: &ChangeRequest,
    now: Timestamp,
) -> Result<Vec<ListEdit>> {
    let TargetConnector {
        namespace,
        connector,
        inline_field,
    } = &fetched.target;
    let user = &request.user;
    let decided = match request.direction {
        Direction::Allow => fetched
            .deciding
            .allow(
                user,
                AskedEntry {
                    until: request.until.as_deref(),
                    note: request.note.as_deref(),
                },
                request.list.as_deref(),
                now,
            )
            .map(|edits| match edits {
                Ok(edits) => edits,
                Err(location) => {
                    let object = TargetObject::of(&fetched.target, &location);
                    eprintln!("nothing to do: {user} stands in {} of {object}", object.field);
                    Vec::new()
                }
            }),
        Direction::Deny => fetched.deciding.deny(user, now).inspect(|edits| {
            if edits.is_empty() {
                eprintln!("nothing to do: {user} stands in no list that decides for {namespace}/{connector}");
            }
            let username_entry_count = fetched.deciding.username_entry_count(now);
            if username_entry_count > 0 && matches!(user, UserRef::Id(_)) {
                eprintln!(
                    "note: {username_entry_count} entries are usernames; if one is this user's, they may still write. Deny it too: deny {connector} @username"
                );
            }
        }),
    };
    let refs = format!("{}.listRefs", inline_field.trim_end_matches(".users"));
    decided.map_err(|why| {
        let reason = match why {
            ChangeError::AmbiguousList(names) => format!(
                "{refs} names several lists: choose one with --list ({})",
                names.join(", ")
            ),
            ChangeError::ListNotReferenced(name) => {
                format!("{refs} does not name {name:?}: adding somebody there would change nothing")
            }
            ChangeError::ListNotFound(list) => {
                format!("{refs} names {list}, which does not exist: create it first")
            }
            ChangeError::OnlyIdEntries(ids) => format!(
                "{user} stands in no list that decides, but {ids} entries are ids and one may be theirs: deny the id"
            ),
        };
        anyhow!("TelegramConnector {namespace}/{connector}: {reason}")
    })
}

/// Validates the edited object as the API server would, before anything is printed; also where the server knows no CEL.
fn validate_edit(fetched: &FetchedObjects, edit: &ListEdit) -> Result<()> {
    let object = TargetObject::of(&fetched.target, &edit.location);
    let (crd, current) = match &edit.location {
        UserListLocation::Inline => (0, serde_json::to_value(&fetched.connector.spec)?),
        UserListLocation::List(list) => {
            let crd = match list.kind() {
                ListKind::TelegramUserList => 1,
                ListKind::ClusterTelegramUserList => 2,
            };
            let spec = fetched.list(list).map(|list| list.spec.clone());
            (crd, spec.unwrap_or_default())
        }
    };
    let mut whole = serde_json::json!({"spec": current});
    let pointer = format!("/{}", object.field.replace('.', "/"));
    let users = serde_json::to_value(&edit.after)?;
    match whole.pointer_mut(&pointer) {
        Some(list) => *list = users,
        // There are no inline users yet: their list is created beside listRefs.
        None => {
            let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
            if let Some(Value::Object(parent)) = whole.pointer_mut(parent) {
                parent.insert(name.to_owned(), users);
            }
        }
    }
    let schema = crds::all()[crd].spec.versions[0]
        .schema
        .as_ref()
        .map(|s| serde_json::to_value(&s.open_api_v3_schema))
        .transpose()?
        .unwrap_or_default();
    let validator = KindValidator::compile(&schema);
    let mut causes = validator.validate_structure(&whole);
    if !causes.iter().any(StatusCause::blocks_rules) {
        causes.extend(validator.validate_rules(&whole, None));
    }
    if causes.is_empty() {
        return Ok(());
    }
    let messages: Vec<String> = causes.iter().map(ToString::to_string).collect();
    bail!("{object}: {}", messages.join("; "))
}

/// Prints notes on stderr about what else the change affects.
async fn print_notes(
    client: &Client,
    fetched: &FetchedObjects,
    request: &ChangeRequest,
    edits: &[ListEdit],
) {
    for edit in edits {
        let object = TargetObject::of(&fetched.target, &edit.location);
        let gitops_owner = match &edit.location {
            UserListLocation::Inline => gitops_owner(&fetched.connector.metadata),
            UserListLocation::List(list) => fetched
                .list(list)
                .and_then(|list| gitops_owner(&list.metadata)),
        };
        if let Some(gitops_owner) = gitops_owner {
            eprintln!(
                "note: {} {} is kept by {gitops_owner}: make the change in Git, or it is undone",
                object.kind, object.name
            );
        }
        if let UserListLocation::List(list) = &edit.location {
            let others = other_connectors_using(client, &fetched.target, list).await;
            if !others.is_empty() {
                let (verb, others) = match request.direction {
                    Direction::Allow => ("lets the user in", others),
                    Direction::Deny => ("shuts the user out", others),
                };
                eprintln!(
                    "note: {} {} also decides for {}: this {verb} there too",
                    object.kind,
                    object.name,
                    bounded_list(&others, ", ")
                );
            }
        }
    }
}

/// The `GitOps` tool that manages an object, by its labels and annotations: Argo CD or Flux.
fn gitops_owner(metadata: &ObjectMeta) -> Option<String> {
    let label = |name: &str| metadata.labels.as_ref()?.get(name);
    let annotations = metadata.annotations.as_ref();
    let argo = annotations
        .and_then(|annotations| annotations.get("argocd.argoproj.io/tracking-id"))
        .and_then(|id| id.split(':').next())
        .or_else(|| label("argocd.argoproj.io/instance").map(String::as_str));
    let flux = ["kustomize", "helm"];
    let flux = flux
        .into_iter()
        .find_map(|tool| label(&format!("{tool}.toolkit.fluxcd.io/name")));
    argo.map(|name| format!("Argo CD ({name})"))
        .or_else(|| flux.map(|name| format!("Flux ({name})")))
}

/// The other connectors that use the list, those of other namespaces with their namespace. Empty if the caller may not list connectors.
async fn other_connectors_using(
    client: &Client,
    target: &TargetConnector,
    list: &ListRef,
) -> Vec<String> {
    let api: Api<TelegramConnector> = match list.kind() {
        ListKind::TelegramUserList => Api::namespaced(client.clone(), &target.namespace),
        ListKind::ClusterTelegramUserList => Api::all(client.clone()),
    };
    let Ok(all) = api.list(&ListParams::default()).await else {
        return Vec::new();
    };
    let uses = |c: &TelegramConnector| {
        let refs = c
            .spec
            .access
            .deciding_list()
            .and_then(|d| d.list_refs.as_deref())
            .unwrap_or_default();
        refs.iter()
            .any(|r| r.name == list.name && r.kind() == list.kind())
    };
    let is_same_namespace =
        |c: &TelegramConnector| c.namespace().as_deref() == Some(target.namespace.as_str());
    let is_target =
        |c: &TelegramConnector| is_same_namespace(c) && c.name_any() == target.connector;
    let others = all.items.iter().filter(|c| !is_target(c) && uses(c));
    let name = |c: &TelegramConnector| match c.namespace() {
        Some(namespace) if !is_same_namespace(c) => format!("{namespace}/{}", c.name_any()),
        _ => c.name_any(),
    };
    others.map(name).collect()
}
