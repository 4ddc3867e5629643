//! Applies a change in the cluster: server-side apply with a field manager of its own; refused where somebody else manages the list.

use anyhow::{Result, anyhow};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client};

use super::change::{ListEdit, UserListLocation};
use super::manifest::TargetObject;
use super::{ChangeRequest, Direction, FetchedObjects, TargetConnector};
use crate::api::connector::ListKind;
use crate::api::{ClusterTelegramUserList, TelegramConnector, TelegramUserList};

/// The field manager of changes by `allow` and `deny`.
const MANAGER: &str = "telegram-connector-operator-allow";

/// Applies all edits. False: an object changed since it was read, and the edits must be decided again.
///
/// # Errors
/// Another manager owns the list, or the API server refuses the change.
pub(super) async fn apply(
    client: &Client,
    fetched: &FetchedObjects,
    request: &ChangeRequest,
    edits: &[ListEdit],
    force: bool,
) -> Result<bool> {
    for edit in edits {
        let object = TargetObject::of(&fetched.target, &edit.location);
        let (resource, metadata) = match &edit.location {
            UserListLocation::Inline => (
                ApiResource::erase::<TelegramConnector>(&()),
                Some(&fetched.connector.metadata),
            ),
            UserListLocation::List(list) => {
                let resource = match list.kind() {
                    ListKind::TelegramUserList => ApiResource::erase::<TelegramUserList>(&()),
                    ListKind::ClusterTelegramUserList => {
                        ApiResource::erase::<ClusterTelegramUserList>(&())
                    }
                };
                (resource, fetched.list(list).map(|list| &list.metadata))
            }
        };
        let other_managers = metadata.map(|m| other_managers(m, object.field));
        if let Some(other_managers) = other_managers.filter(|k| !k.is_empty() && !force) {
            return Err(conflict_error(
                &object,
                &other_managers,
                &forcing_command(&fetched.target, request),
            ));
        }
        let mut manifest = object.manifest(edit);
        // The list is applied as a whole: an entry that was added meanwhile must not be lost, nor a list that another manager took over.
        manifest["metadata"]["resourceVersion"] =
            metadata.and_then(|m| m.resource_version.clone()).into();
        let params = PatchParams::apply(MANAGER).force();
        let api: Api<DynamicObject> = match object.namespace {
            "" => Api::all_with(client.clone(), &resource),
            namespace => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        match api
            .patch(object.name, &params, &Patch::Apply(manifest))
            .await
        {
            Ok(_) => {
                let verb = match request.direction {
                    Direction::Allow if !edit.replaced.is_empty() => "changed in",
                    Direction::Allow => "added to",
                    Direction::Deny => "removed from",
                };
                println!("{} {verb} {} of {object}", request.user, object.field);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(false),
            Err(error) => {
                return Err(anyhow!(error).context(format!("{object} cannot be changed")));
            }
        }
    }
    Ok(true)
}

/// The other managers of a list, by the object's managed fields. The server's own conflicts are not used: older servers (1.20) also report
/// managers that own only the object around the list. `resourceVersion` makes sure that nothing changes in between.
fn other_managers(metadata: &ObjectMeta, field: &str) -> Vec<String> {
    let pointer = format!("/f:{}", field.replace('.', "/f:"));
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    entries
        .iter()
        .filter(|entry| entry.manager.as_deref() != Some(MANAGER))
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref();
            fields.is_some_and(|f| f.0.pointer(&pointer).is_some())
        })
        .map(|entry| entry.manager.clone().unwrap_or_default())
        .collect()
}

fn conflict_error(
    object: &TargetObject<'_>,
    other_managers: &[String],
    command: &str,
) -> anyhow::Error {
    anyhow!(
        "{object}: {} is kept by {}, whose next apply would undo this. Change it there (without --apply the change is printed). To change it here all the same, type: {command}",
        object.field,
        other_managers.join(", ")
    )
}

/// The same command with `--force-conflicts`, for a shell.
fn forcing_command(target: &TargetConnector, request: &ChangeRequest) -> String {
    let command = match request.direction {
        Direction::Allow => "allow",
        Direction::Deny => "deny",
    };
    let user = request.user.to_string();
    let mut words = vec![
        env!("CARGO_PKG_NAME"),
        command,
        "--namespace",
        &target.namespace,
        &target.connector,
        &user,
    ];
    for (flag, value) in [
        ("--until", &request.until),
        ("--note", &request.note),
        ("--list", &request.list),
        ("--context", &request.context),
    ] {
        if let Some(value) = value {
            words.extend([flag, value]);
        }
    }
    words.extend(["--apply", "--force-conflicts"]);
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A word for a POSIX shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forcing_command_can_be_typed_as_it_stands() {
        let target = TargetConnector {
            namespace: "acme".into(),
            connector: "support".into(),
            inline_field: String::new(),
        };
        let request = ChangeRequest {
            direction: Direction::Allow,
            user: "@ann_example".parse().unwrap(),
            until: Some("2027-01-31".into()),
            note: Some("Ann's phone".into()),
            list: Some("staff".into()),
            context: None,
        };
        assert_eq!(
            forcing_command(&target, &request),
            r"telegram-connector-operator allow --namespace acme support @ann_example --until 2027-01-31 --note 'Ann'\''s phone' --list staff --apply --force-conflicts"
        );
    }
}
