//! `accessgrants`: who is let in beside the lists, and until when. An administrator gives one with an end; deleting one ends access with the next
//! message.

use std::sync::Arc;

use aggregated_api_server::{
    ApiError, CauseReason, ColumnType, FieldCause, ResourceDescription, ResourceVerb, TableColumn,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::stored_resource::{
    CreateRequest, Creation, Shown, StoredResource, connector_column, person, person_columns,
    person_fields, person_schema, schema, text, time, unavailable, verbs,
};
use crate::api::until;
use crate::registry::Registry;
use crate::store::{Grant, GrantSource, NewGrant, ObjectContent, ObjectKind, Store, StoredObject};

/// The longest name of a person that is taken, in characters. Telegram has two of 64.
const MAX_NAME: usize = 129;
/// The longest username, as Telegram has it.
const MAX_USERNAME: usize = 32;

pub(super) fn resource(store: Arc<dyn Store>, registry: Arc<Registry>) -> StoredResource {
    StoredResource {
        store,
        kind: ObjectKind::AccessGrant,
        prefix: "grant",
        description: description(),
        show,
        is_new: |_| true,
        creation: Some(Box::new(Granting { registry })),
        subresource: None,
    }
}

fn show(content: &ObjectContent, _: &StoredObject) -> Option<Shown> {
    let ObjectContent::AccessGrant(grant) = content else {
        return None;
    };
    let mut spec = json!({
        "user": person(grant.user, &grant.name, grant.username.as_deref()),
        "source": grant.source.as_str(),
        "since": grant.since.to_string(),
    });
    // Of a person who was erased nothing is left.
    if !grant.by.is_empty() {
        spec["by"] = grant.by.as_str().into();
    }
    if let Some(until) = grant.until {
        spec["until"] = until.to_string().into();
    }
    Some((spec, Value::Null))
}

/// How an administrator gives a grant.
struct Granting {
    registry: Arc<Registry>,
}

/// `spec` as a client sends it. What else the schema has of it is not a client's to say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    connector: Option<String>,
    user: Option<User>,
    until: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    id: Option<i64>,
    name: Option<String>,
    username: Option<String>,
}

#[async_trait]
impl Creation for Granting {
    async fn create(
        &self,
        store: &dyn Store,
        request: CreateRequest<'_>,
    ) -> Result<StoredObject, ApiError> {
        let input = read_input(request.body, Timestamp::now())?;
        let connector = self.registry.all().into_iter().find(|connector| {
            let named = &connector.connector_ref;
            *named.namespace == *request.namespace && *named.name == *input.connector
        });
        let connector = connector.ok_or_else(|| {
            let why = format!(
                "no TelegramConnector {0} of this namespace handles messages now: it is not there, suspended, being deleted, or not ready; see kubectl describe tgc {0}",
                input.connector
            );
            ApiError::invalid("spec.connector", CauseReason::NotFound, why)
        })?;
        if !connector.access.takes_grants {
            let why = format!(
                "TelegramConnector {} lets nobody in by a grant: set spec.access.requests in it, and grants: true in the list that its level names, unless that is Company",
                input.connector
            );
            return Err(ApiError::invalid(
                "spec.connector",
                CauseReason::Forbidden,
                why,
            ));
        }
        let new = NewGrant {
            connector: connector.connector_ref.clone(),
            user: input.user,
            name: input.name,
            username: input.username,
            source: GrantSource::Admin,
            by: request.caller.user.clone(),
            until: Some(input.until),
        };
        let grant = if request.dry_run {
            as_if_given(new)
        } else {
            store
                .grant(new)
                .await
                .map_err(|error| unavailable(&error))?
        };
        Ok(stored(grant))
    }
}

/// What a dry run shows: numbers are given to what is kept.
fn as_if_given(new: NewGrant) -> Grant {
    Grant {
        id: 0,
        connector: new.connector,
        user: new.user,
        name: new.name,
        username: new.username,
        source: new.source,
        by: new.by,
        since: Timestamp::now(),
        until: new.until,
        revision: 0,
    }
}

fn stored(grant: Grant) -> StoredObject {
    StoredObject {
        key: grant.key(),
        namespace: grant.connector.namespace.to_string(),
        connector: grant.connector.name.to_string(),
        connector_uid: Some(grant.connector.uid.clone()),
        is_left: false,
        created: grant.since,
        revision: grant.revision,
        content: ObjectContent::AccessGrant(Box::new(grant)),
    }
}

/// What a client asks for, checked as far as it can be without a connector.
#[derive(Debug, PartialEq, Eq)]
struct GrantInput {
    connector: String,
    user: i64,
    name: String,
    username: Option<String>,
    until: Timestamp,
}

fn read_input(body: &Value, now: Timestamp) -> Result<GrantInput, ApiError> {
    let spec = body.get("spec").cloned().unwrap_or(Value::Null);
    let spec = serde_json::from_value::<Option<Spec>>(spec)
        .map_err(|error| ApiError::invalid("spec", CauseReason::Invalid, error.to_string()))?
        .unwrap_or_default();
    let user = spec.user.unwrap_or_default();
    let mut causes = Vec::new();
    let mut wrong = |field: &str, reason: CauseReason, why: &str| {
        causes.push(FieldCause::new(field, reason, why));
    };
    let metadata = |field: &str| body.pointer(&format!("/metadata/{field}")).is_some();
    if metadata("name") && !metadata("generateName") {
        let why = "grants are named here, after their number: leave it out";
        wrong("metadata.name", CauseReason::Forbidden, why);
    }
    let connector = spec.connector.unwrap_or_default();
    if connector.is_empty() {
        let why = "the name of a TelegramConnector of this namespace";
        wrong("spec.connector", CauseReason::Required, why);
    }
    let id = user.id.unwrap_or_default();
    if let Some((reason, why)) = id_problem(user.id) {
        wrong("spec.user.id", reason, &why);
    }
    let name = user.name.unwrap_or_default();
    if let Some((reason, why)) = name_problem(&name) {
        wrong("spec.user.name", reason, why);
    }
    let username = user
        .username
        .map(|name| name.trim_start_matches('@').to_owned());
    if username.as_ref().is_some_and(|name| !is_username(name)) {
        let why = "letters, digits and underscores, 32 at most";
        wrong("spec.user.username", CauseReason::Invalid, why);
    }
    let until = match spec.until.as_deref() {
        None => {
            let why = "a grant by hand ends: a date, through its end in UTC, or a time";
            wrong("spec.until", CauseReason::Required, why);
            None
        }
        Some(until) => end(until, now)
            .inspect_err(|why| wrong("spec.until", CauseReason::Invalid, why))
            .ok(),
    };
    match until {
        Some(until) if causes.is_empty() => Ok(GrantInput {
            connector,
            user: id,
            name,
            username,
            until,
        }),
        _ => Err(ApiError::Invalid(causes)),
    }
}

fn id_problem(id: Option<i64>) -> Option<(CauseReason, String)> {
    match id {
        None => {
            let why = "Telegram's id of the person".to_owned();
            Some((CauseReason::Required, why))
        }
        Some(id) if id < 1 => {
            let why = format!("no user has the id {id}: ids of users are above zero");
            Some((CauseReason::Invalid, why))
        }
        Some(_) => None,
    }
}

fn name_problem(name: &str) -> Option<(CauseReason, &'static str)> {
    if name.chars().count() > MAX_NAME {
        return Some((CauseReason::TooLong, "it has more than 129 characters"));
    }
    let has_control = name.contains(char::is_control);
    has_control.then_some((CauseReason::Invalid, "it holds a control character"))
}

fn is_username(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_USERNAME).contains(&name.len()) && name.bytes().all(letter)
}

/// When a grant ends whose `until` is this.
///
/// # Errors
/// It is neither a date nor a time, or has been.
pub(super) fn end(until: &str, now: Timestamp) -> Result<Timestamp, String> {
    let end = until::end_of(until)?;
    if end <= now {
        return Err(format!("{until:?} has been: name a time to come"));
    }
    Ok(end)
}

fn description() -> ResourceDescription {
    let column = TableColumn::new;
    let mut columns = vec![connector_column()];
    columns.extend(person_columns("Who is let in."));
    columns.extend([
        column(
            "Source",
            ColumnType::String,
            "spec.source",
            "Where it comes from.",
        ),
        column(
            "Until",
            ColumnType::String,
            "spec.until",
            "When it ends; nothing: not by itself.",
        ),
        column(
            "Name",
            ColumnType::String,
            "spec.user.name",
            "Their first and last name.",
        )
        .wide(),
        column("By", ColumnType::String, "spec.by", "Who gave it.").wide(),
    ]);
    let mut verbs = verbs();
    verbs.push(ResourceVerb::Create);
    ResourceDescription {
        plural: "accessgrants".into(),
        singular: "accessgrant".into(),
        kind: "AccessGrant".into(),
        short_names: vec!["tgag".into()],
        verbs,
        selectable_fields: person_fields(),
        columns,
        summary: "An AccessGrant lets a person write to a TelegramConnector's bot beside its lists, until it ends or is deleted. One by hand names its connector, the user's id and until.".into(),
        properties: json!({"spec": spec_schema()}),
        ..ResourceDescription::default()
    }
}

fn spec_schema() -> Value {
    let mut fields = Map::new();
    let own = [
        (
            "connector",
            text("The name of the TelegramConnector that it belongs to."),
        ),
        ("connectorUID", text("The uid of that TelegramConnector.")),
        ("user", person_schema("Who is let in.")),
        (
            "source",
            text(
                "SignIn: the person signed in; Request: the person asked, and was allowed; Admin: it was created. Of each source a person has one at most.",
            ),
        ),
        (
            "by",
            text(
                "Who gave it: the subject of the sign-in, the approver, or the Kubernetes user; absent where that was a person who was erased.",
            ),
        ),
        ("since", time("When it was given.")),
        (
            "until",
            text(
                "When it ends: a time; created with a date, the end of that day in UTC. Absent: it does not end by itself; one by hand does.",
            ),
        ),
    ];
    fields.extend(own.map(|(key, value)| (key.to_owned(), value)));
    schema("Who is let in, where, and until when.", &fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn grant_by_hand_names_whom_and_until_when() {
        let body = json!({"spec": {"connector": "support", "user": {"id": 5001, "username": "@ann_1"}, "until": "2026-12-31"}});
        let input = read_input(&body, now()).expect("a good one");
        assert_eq!((&*input.connector, input.user), ("support", 5001));
        assert_eq!(input.username.as_deref(), Some("ann_1"));
        assert_eq!(input.until.to_string(), "2027-01-01T00:00:00Z");
    }

    #[test]
    fn each_field_that_is_wrong_is_named() {
        let fields = |body: Value| match read_input(&body, now()) {
            Err(ApiError::Invalid(causes)) => {
                let named = causes
                    .into_iter()
                    .map(|cause| format!("{} {}", cause.field, cause.reason.as_str()));
                named.collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            fields(json!({"metadata": {"name": "mine"}})),
            [
                "metadata.name FieldValueForbidden",
                "spec.connector FieldValueRequired",
                "spec.user.id FieldValueRequired",
                "spec.until FieldValueRequired"
            ]
        );
        let with = |field: &str, value: Value| {
            let mut body = json!({"spec": {"connector": "support", "user": {"id": 5001}, "until": "2026-12-31"}});
            *body
                .pointer_mut("/spec")
                .and_then(|spec| spec.pointer_mut(field))
                .unwrap_or(&mut Value::Null) = value;
            fields(body)
        };
        assert_eq!(
            with("/until", json!("2026-11-27")),
            ["spec.until FieldValueInvalid"]
        );
        assert_eq!(
            with("/until", json!("soon")),
            ["spec.until FieldValueInvalid"]
        );
        assert_eq!(
            with("/user", json!({"id": -100})),
            ["spec.user.id FieldValueInvalid"]
        );
        let long = json!({"id": 1, "name": "x".repeat(130), "username": "a b"});
        assert_eq!(
            with("/user", long),
            [
                "spec.user.name FieldValueTooLong",
                "spec.user.username FieldValueInvalid"
            ]
        );
        assert_eq!(
            with("/user", json!({"id": 1, "name": "a\u{0}b"})),
            ["spec.user.name FieldValueInvalid"]
        );
        assert_eq!(with("/user", json!("ann")), ["spec FieldValueInvalid"]);
    }
}
