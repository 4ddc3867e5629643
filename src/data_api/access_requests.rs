//! `accessrequests`: who asks to be let in and what became of it; and deciding that, by rights of their own.

use std::sync::Arc;

use aggregated_api_server::{
    ApiError, CauseReason, ColumnType, ResourceDescription, ResourceVerb, SelectableField,
    SubresourceDescription, SubresourceVerb, TableColumn,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::access_grants::end;
use super::stored_resource::{
    Shown, StoredResource, Subresource, SubresourceRequest, connector_column, person,
    person_columns, person_fields, person_schema, schema, text, time, unavailable, verbs,
};
use crate::registry::Registry;
use crate::store::{
    AccessRequest, AccessVerdict, DecideOutcome, ObjectContent, ObjectKey, ObjectKind,
    RequestPhase, Store, StoredObject,
};

/// The most days for which a request is allowed, as `spec.access.requests.grantDays`.
const MAX_DAYS: i64 = 3650;

pub(super) fn resource(store: Arc<dyn Store>, registry: Arc<Registry>) -> StoredResource {
    StoredResource {
        store,
        kind: ObjectKind::AccessRequest,
        prefix: "request",
        description: description(),
        show,
        is_new: |content| matches!(content, ObjectContent::AccessRequest(it) if it.phase == RequestPhase::Waiting),
        creation: None,
        subresource: Some(Box::new(Deciding { registry })),
    }
}

fn show(content: &ObjectContent, _: &StoredObject) -> Option<Shown> {
    let ObjectContent::AccessRequest(request) = content else {
        return None;
    };
    let spec = json!({
        "user": person(request.user, &request.name, request.username.as_deref()),
        "level": request.level,
        "askedAt": request.asked_at.to_string(),
        "expiresAt": request.expires_at.to_string(),
    });
    Some((spec, status(request)))
}

fn status(request: &AccessRequest) -> Value {
    let mut status = json!({"phase": request.phase.as_str()});
    let times = [("decidedAt", request.decided_at), ("until", request.until)];
    for (key, at) in times {
        if let Some(at) = at {
            status[key] = at.to_string().into();
        }
    }
    // Of a person who was erased nothing is left.
    if let Some(by) = request.decided_by.as_deref().filter(|by| !by.is_empty()) {
        status["decidedBy"] = by.into();
    }
    status
}

/// `approve` and `refuse`.
struct Deciding {
    registry: Arc<Registry>,
}

impl Deciding {
    /// For how many days the connector grants what is approved without an end of its own, as it is now.
    fn grant_days(&self, object: &StoredObject) -> Option<u32> {
        let connector = self.registry.get(object.connector_uid.as_ref()?)?;
        connector.requests.as_ref()?.grant_days
    }
}

/// What a client sends to `approve`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Approval {
    until: Option<String>,
    days: Option<i64>,
}

/// What a client sends to `refuse`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    mute: Option<bool>,
}

#[async_trait]
impl Subresource for Deciding {
    async fn create(
        &self,
        store: &dyn Store,
        object: &StoredObject,
        request: SubresourceRequest<'_>,
    ) -> Result<Value, ApiError> {
        let days = self.grant_days(object);
        let verdict = verdict(request.subresource, request.body, days, Timestamp::now())?;
        if request.dry_run {
            return match &object.content {
                ObjectContent::AccessRequest(known) if known.phase == RequestPhase::Waiting => {
                    Ok(json!({"status": {"phase": phase(verdict).as_str()}}))
                }
                ObjectContent::AccessRequest(known) => Err(decided_already(known)),
                _ => Err(ApiError::NotFound),
            };
        }
        let ObjectKey(id, _) = object.key;
        let by = &request.caller.user;
        let decided = store
            .decide_access_request(&object.namespace, id, verdict, by)
            .await;
        match decided.map_err(|error| unavailable(&error))? {
            DecideOutcome::Decided(decided) => Ok(json!({"status": status(&decided)})),
            DecideOutcome::AlreadyDecided(known) => Err(decided_already(&known)),
            DecideOutcome::NotFound => Err(ApiError::NotFound),
        }
    }
}

fn phase(verdict: AccessVerdict) -> RequestPhase {
    match verdict {
        AccessVerdict::Allow { .. } => RequestPhase::Allowed,
        AccessVerdict::Refuse => RequestPhase::Refused,
        AccessVerdict::Mute => RequestPhase::Muted,
    }
}

fn decided_already(request: &AccessRequest) -> ApiError {
    let by = request.decided_by.as_deref().filter(|by| !by.is_empty());
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    ApiError::Conflict(format!(
        "it does not wait any more: it is {}{by}",
        request.phase.as_str()
    ))
}

/// What a body means at this time, where what says no end is granted for so many days.
fn verdict(
    subresource: &str,
    body: &Value,
    grant_days: Option<u32>,
    now: Timestamp,
) -> Result<AccessVerdict, ApiError> {
    if subresource == "refuse" {
        let Refusal { mute } = read(body)?;
        return Ok(if mute == Some(true) {
            AccessVerdict::Mute
        } else {
            AccessVerdict::Refuse
        });
    }
    let invalid = |field, why: String| ApiError::invalid(field, CauseReason::Invalid, why);
    let after = |days: i64| now + SignedDuration::from_hours(days * 24);
    let until = match read(body)? {
        Approval {
            until: Some(_),
            days: Some(_),
        } => return Err(invalid("days", "name one of until and days".into())),
        Approval {
            until: Some(until), ..
        } => Some(end(&until, now).map_err(|why| invalid("until", why))?),
        Approval {
            days: Some(days), ..
        } => {
            if !(1..=MAX_DAYS).contains(&days) {
                return Err(invalid("days", format!("{days}: 1 to {MAX_DAYS}")));
            }
            Some(after(days))
        }
        Approval { .. } => grant_days.map(|days| after(days.into())),
    };
    Ok(AccessVerdict::Allow { until })
}

fn read<T: Default + serde::de::DeserializeOwned>(body: &Value) -> Result<T, ApiError> {
    let read = serde_json::from_value::<Option<T>>(body.clone());
    let read = read.map_err(|error| ApiError::BadRequest(error.to_string()))?;
    Ok(read.unwrap_or_default())
}

fn description() -> ResourceDescription {
    let column = TableColumn::new;
    let mut columns = vec![connector_column()];
    columns.extend(person_columns("Who asks."));
    columns.extend([
        column(
            "Level",
            ColumnType::String,
            "spec.level",
            "The access level that denied them.",
        ),
        column(
            "Phase",
            ColumnType::String,
            "status.phase",
            "How far it has come.",
        ),
        column(
            "Name",
            ColumnType::String,
            "spec.user.name",
            "Their first and last name.",
        )
        .wide(),
        column(
            "Expires",
            ColumnType::String,
            "spec.expiresAt",
            "When it expires, if nobody decides it.",
        )
        .wide(),
        column(
            "By",
            ColumnType::String,
            "status.decidedBy",
            "Who decided it.",
        )
        .wide(),
        column(
            "Until",
            ColumnType::String,
            "status.until",
            "When the grant ends that it was allowed.",
        )
        .wide(),
    ]);
    let mut verbs = verbs();
    verbs.retain(|verb| *verb != ResourceVerb::DeleteCollection);
    let mut fields = person_fields();
    fields.push(SelectableField::mutable("status.phase"));
    ResourceDescription {
        plural: "accessrequests".into(),
        singular: "accessrequest".into(),
        kind: "AccessRequest".into(),
        short_names: vec!["tgar".into()],
        verbs,
        subresources: vec![approve_description(), refuse_description()],
        selectable_fields: fields,
        columns,
        summary: "An AccessRequest says that somebody whom a TelegramConnector denied asks to be let in, and what became of it. Deleting one that is Muted lets the person ask again.".into(),
        properties: json!({"spec": spec_schema(), "status": status_schema()}),
        ..ResourceDescription::default()
    }
}

fn approve_description() -> SubresourceDescription {
    SubresourceDescription {
        name: "approve".into(),
        kind: "AccessRequestApproval".into(),
        verbs: vec![SubresourceVerb::Create],
        summary: "Lets in who asks by an AccessRequest that waits, and tells them.".into(),
        properties: json!({
            "until": text("When the grant ends: a date, through its end in UTC, or a time. Without until and days it ends as the connector's requests.grantDays says, else not by itself."),
            "days": {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_DAYS, "description": "After how many days the grant ends."},
            "status": status_schema(),
        }),
    }
}

fn refuse_description() -> SubresourceDescription {
    SubresourceDescription {
        name: "refuse".into(),
        kind: "AccessRequestRefusal".into(),
        verbs: vec![SubresourceVerb::Create],
        summary: "Does not let in who asks by an AccessRequest that waits, and tells them.".into(),
        properties: json!({
            "mute": {"type": "boolean", "description": "Whether they may not ask again. Default false."},
            "status": status_schema(),
        }),
    }
}

fn spec_schema() -> Value {
    let mut fields = Map::new();
    let own = [
        (
            "connector",
            text("The name of the TelegramConnector that is asked."),
        ),
        ("connectorUID", text("The uid of that TelegramConnector.")),
        ("user", person_schema("Who asks.")),
        ("level", text("The access level that denied them.")),
        ("askedAt", time("When they asked.")),
        ("expiresAt", time("When it expires, if nobody decides it.")),
    ];
    fields.extend(own.map(|(key, value)| (key.to_owned(), value)));
    schema("Who asks, and where.", &fields)
}

fn status_schema() -> Value {
    json!({"type": "object", "description": "What became of it.", "properties": {
        "phase": {"type": "string", "enum": ["Waiting", "Allowed", "Refused", "Muted", "Expired"], "description": "How far it has come. Muted: refused, and the person may not ask again."},
        "decidedAt": time("When it was decided, or expired."),
        "decidedBy": text("Who decided it: the approver in Telegram, or the Kubernetes user."),
        "until": time("When the grant ends that it was allowed; absent: not by itself."),
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn approval_may_say_until_when_or_for_how_many_days() {
        let until = |body: Value| match verdict("approve", &body, None, now()) {
            Ok(AccessVerdict::Allow { until }) => Ok(until.map(|at| at.to_string())),
            Err(ApiError::Invalid(causes)) => Err(causes[0].field.clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(until(Value::Null), Ok(None));
        assert_eq!(until(json!({})), Ok(None));
        assert_eq!(
            until(json!({"days": 2})),
            Ok(Some("2026-11-30T12:00:00Z".into()))
        );
        assert_eq!(
            until(json!({"until": "2026-12-24"})),
            Ok(Some("2026-12-25T00:00:00Z".into()))
        );
        let of_connector = verdict("approve", &json!({}), Some(7), now()).expect("a verdict");
        let week: Timestamp = "2026-12-05T12:00:00Z".parse().expect("a time");
        assert_eq!(of_connector, AccessVerdict::Allow { until: Some(week) });
        for (body, field) in [
            (json!({"days": 0}), "days"),
            (json!({"days": 3651}), "days"),
            (json!({"days": 1, "until": "2026-12-24"}), "days"),
            (json!({"until": "2026-11-28T12:00:00Z"}), "until"),
            (json!({"until": "later"}), "until"),
        ] {
            assert_eq!(until(body), Err(field.into()));
        }
        let wrong = verdict("approve", &json!({"days": "two"}), None, now());
        assert!(matches!(wrong, Err(ApiError::BadRequest(_))), "{wrong:?}");
    }

    #[test]
    fn refusal_may_mute() {
        let of = |body: Value| verdict("refuse", &body, Some(7), now()).expect("a verdict");
        assert_eq!(of(Value::Null), AccessVerdict::Refuse);
        assert_eq!(of(json!({"mute": false})), AccessVerdict::Refuse);
        assert_eq!(of(json!({"mute": true})), AccessVerdict::Mute);
    }
}
