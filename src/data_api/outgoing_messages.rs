//! `outgoingmessages`: what is sent through a connector's bot. Made by clients, and gone by themselves a day after they ended.

use std::sync::Arc;
use std::time::Duration;

use aggregated_api_server::{
    ApiError, Caller, CauseReason, Change, Changes, ColumnType, DeletedObject, ListQuery, Object,
    ObjectPage, Resource, ResourceDescription, ResourceVerb, SelectableField, TableColumn,
};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::stored_resource::{
    connector_column, integer, object_uid, parse_position, position, text, time, unavailable,
};
use crate::pipeline::{
    MAX_KEY_BYTES, MAX_TEXT_BYTES, SendError, SendField, SendOutcome, SendRefusal, SendRequest,
    send_message,
};
use crate::registry::Registry;
use crate::store::{
    ObjectChange, ObjectContent, ObjectKey, ObjectKind, ObjectQuery, OutgoingMessage,
    OutgoingPhase, Store,
};

/// What stands for the kind in uids.
const PREFIX: &str = "outgoing";
/// So long a client waits that meets a full backlog.
const BACKLOG_RETRY: Duration = Duration::from_secs(30);

/// The resource, over the connectors that may send and the store that keeps what they send.
pub struct OutgoingMessages {
    description: ResourceDescription,
    registry: Arc<Registry>,
    store: Arc<dyn Store>,
}

impl OutgoingMessages {
    /// Over these.
    pub fn new(registry: Arc<Registry>, store: Arc<dyn Store>) -> Self {
        Self {
            description: description(),
            registry,
            store,
        }
    }
}

fn description() -> ResourceDescription {
    ResourceDescription {
        plural: "outgoingmessages".into(),
        singular: "outgoingmessage".into(),
        kind: "OutgoingMessage".into(),
        short_names: vec!["tgout".into()],
        verbs: vec![
            ResourceVerb::Create,
            ResourceVerb::Get,
            ResourceVerb::List,
            ResourceVerb::Watch,
        ],
        selectable_fields: vec![
            SelectableField::immutable("spec.connector"),
            SelectableField::immutable("spec.to.user"),
            SelectableField::immutable("spec.to.chat"),
            SelectableField::mutable("status.phase"),
        ],
        columns: columns(),
        summary: "A message that is sent through the bot of a TelegramConnector, without a question before it.".into(),
        properties: properties(),
        requires_name: true,
        ..ResourceDescription::default()
    }
}

fn columns() -> Vec<TableColumn> {
    let column =
        |name, path, description| TableColumn::new(name, ColumnType::String, path, description);
    vec![
        connector_column(),
        column("Phase", "status.phase", "How far it has come"),
        column(
            "Reason",
            "status.reason",
            "Why it failed, or may have arrived twice",
        )
        .wide(),
        column("User", "spec.to.user", "The person it goes to").wide(),
        column("Chat", "spec.to.chat", "The group it goes to").wide(),
        TableColumn::new(
            "Ended",
            ColumnType::Date,
            "status.time",
            "When it was sent or failed",
        )
        .wide(),
    ]
}

/// The schemas of `spec` and `status`, for `kubectl explain` and validation.
fn properties() -> Value {
    let condition = json!({
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": text("Sent."),
            "status": text("True once Telegram has taken all of it, else False."),
            "reason": text("Pending, Sent, MayHaveBeenSentTwice or Failed."),
            "message": text("What that means here."),
            "lastTransitionTime": time("When the status changed last."),
        },
    });
    json!({
        "spec": {
            "type": "object",
            "description": "What is sent, and to whom. It cannot be changed.",
            "required": ["connector", "to", "text"],
            "properties": {
                "connector": text("The name of a TelegramConnector of this namespace whose spec.sending allows it."),
                "to": {
                    "type": "object",
                    "description": "To whom: one of chat and user. The bot must have met the chat.",
                    "properties": {
                        "chat": integer("The id of a group, which is negative, in which the connector speaks."),
                        "user": integer("The id of a person whom the connector's access level names."),
                        "topic": {"type": "integer", "format": "int64", "minimum": 1, "description": "The topic of the chat: its message_thread_id."},
                    },
                },
                "text": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_BYTES, "description": "What it says, in Markdown: at most 32 KiB."},
                "silent": {"type": "boolean", "description": "Whether it arrives without a sound. Default false."},
                "idempotencyKey": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES, "description": "Messages of a connector with the same key are one, until a day after it ended."},
            },
        },
        "status": {
            "type": "object",
            "description": "What has become of it.",
            "properties": {
                "phase": {"type": "string", "enum": ["Pending", "Sent", "Failed"], "description": "How far it has come."},
                "reason": text("Why it failed, or that a part of it may have arrived twice."),
                "messageIds": {"type": "array", "items": {"type": "integer", "format": "int64"}, "description": "Telegram's ids of the messages that it has become."},
                "time": time("When it was sent or failed."),
                "conditions": {"type": "array", "items": condition, "description": "Sent."},
            },
        },
    })
}

/// `spec` as a client sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    connector: Option<String>,
    to: Option<To>,
    text: Option<String>,
    silent: Option<bool>,
    idempotency_key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct To {
    chat: Option<i64>,
    user: Option<i64>,
    topic: Option<i64>,
}

/// What a client asks for.
fn request(namespace: &str, body: &Value, dry_run: bool) -> Result<SendRequest, ApiError> {
    let spec = body.get("spec").cloned().unwrap_or(Value::Null);
    let spec = serde_json::from_value::<Option<Spec>>(spec)
        .map_err(|error| ApiError::invalid("spec", CauseReason::Invalid, error.to_string()))?;
    let Spec {
        connector,
        to,
        text,
        silent,
        idempotency_key,
    } = spec.unwrap_or_default();
    let name = body.pointer("/metadata/name").and_then(Value::as_str);
    let mut missing = Vec::new();
    let mut required = |field: &str, is_there: bool, what: &str| {
        if !is_there {
            let cause = aggregated_api_server::FieldCause::new(field, CauseReason::Required, what);
            missing.push(cause);
        }
    };
    required("metadata.name", name.is_some(), "name or generateName");
    let field = |field: SendField| field.path();
    required(
        field(SendField::Connector),
        connector.as_ref().is_some_and(|name| !name.is_empty()),
        "the name of a TelegramConnector of this namespace",
    );
    required(field(SendField::To), to.is_some(), "a chat or a user");
    required(field(SendField::Text), text.is_some(), "what is to be sent");
    if !missing.is_empty() {
        return Err(ApiError::Invalid(missing));
    }
    let to = to.unwrap_or_default();
    Ok(SendRequest {
        namespace: namespace.to_owned(),
        connector: connector.unwrap_or_default(),
        name: name.unwrap_or_default().to_owned(),
        chat: to.chat,
        user: to.user,
        topic: to.topic,
        text: text.unwrap_or_default(),
        silent: silent.unwrap_or(false),
        idempotency_key,
        dry_run,
    })
}

fn api_error(error: SendError) -> ApiError {
    match error {
        SendError::Store(error) => unavailable(&error),
        SendError::Refused(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &SendRefusal) -> ApiError {
    let message = refusal.to_string();
    let reason = match refusal {
        SendRefusal::NameTaken => return ApiError::AlreadyExists,
        SendRefusal::KeyOfAnother(_) => return ApiError::Conflict(message),
        SendRefusal::TooMany { retry_after, .. } => {
            return ApiError::TooManyRequests {
                message,
                retry_after: *retry_after,
            };
        }
        SendRefusal::BacklogFull => {
            return ApiError::TooManyRequests {
                message,
                retry_after: BACKLOG_RETRY,
            };
        }
        SendRefusal::NoConnector(_) => CauseReason::NotFound,
        SendRefusal::SendingOff(_)
        | SendRefusal::UserDenied { .. }
        | SendRefusal::GroupsOff
        | SendRefusal::GroupNotNamed(_)
        | SendRefusal::NeverMet => CauseReason::Forbidden,
        SendRefusal::TextTooLong(_) => CauseReason::TooLong,
        SendRefusal::NotOneRecipient
        | SendRefusal::NoChat(_)
        | SendRefusal::NoUser(_)
        | SendRefusal::NoTopic(_)
        | SendRefusal::EmptyText
        | SendRefusal::NulCharacter(_)
        | SendRefusal::BadKey => CauseReason::Invalid,
    };
    ApiError::invalid(refusal.field().path(), reason, message)
}

/// A message as clients see it.
fn object(message: &OutgoingMessage) -> Object {
    let mut to = Map::new();
    match message.user {
        Some(user) => to.insert("user".into(), user.into()),
        None => to.insert("chat".into(), message.chat.into()),
    };
    if message.topic != 0 {
        to.insert("topic".into(), message.topic.into());
    }
    let mut spec = json!({
        "connector": &*message.connector.name,
        "to": to,
        "text": message.text,
    });
    if message.silent {
        spec["silent"] = true.into();
    }
    if let Some(key) = &message.idempotency_key {
        spec["idempotencyKey"] = key.as_str().into();
    }
    Object {
        namespace: message.connector.namespace.to_string(),
        name: message.name.clone(),
        uid: object_uid(message.connector.uid.as_str(), PREFIX, message.key()),
        revision: message.revision,
        created: message.created_at,
        spec,
        status: status(message),
        ..Object::default()
    }
}

/// Said of a message that was sent once more because nobody knew what had come of it.
const TWICE: &str = "a part of it was sent again, since nobody knew whether it had arrived";

fn status(message: &OutgoingMessage) -> Value {
    let (is_sent, reason, words) = match message.phase {
        OutgoingPhase::Pending => ("False", "Pending", "it waits for its turn, or for Telegram"),
        OutgoingPhase::Sent if message.ambiguous => ("True", "MayHaveBeenSentTwice", TWICE),
        OutgoingPhase::Sent => ("True", "Sent", "Telegram has taken all of it"),
        OutgoingPhase::Failed => {
            let why = message.reason.as_deref();
            (
                "False",
                "Failed",
                why.unwrap_or("parts of it are dead letters"),
            )
        }
    };
    let changed_at = message.finished_at.unwrap_or(message.created_at);
    let mut status = json!({
        "phase": message.phase.as_str(),
        "messageIds": message.message_ids,
        "conditions": [{
            "type": "Sent",
            "status": is_sent,
            "reason": reason,
            "message": words,
            "lastTransitionTime": changed_at.to_string(),
        }],
    });
    if let Some(at) = message.finished_at {
        status["time"] = at.to_string().into();
    }
    if message.phase == OutgoingPhase::Failed || message.ambiguous {
        let why = message.reason.as_deref().unwrap_or(TWICE);
        status["reason"] = why.into();
    }
    status
}

impl OutgoingMessages {
    /// What of a list's selectors the store is asked for. A name is the client's, and is found by itself.
    async fn query(&self, asked: &ListQuery) -> Result<ObjectQuery, ApiError> {
        let mut query = ObjectQuery {
            namespace: asked.namespace.clone(),
            ..ObjectQuery::all(ObjectKind::OutgoingMessage)
        };
        // What no number is, no object has.
        let id = |value: &str| value.parse().unwrap_or(i64::MAX);
        for (path, value) in &asked.fields {
            match path.as_str() {
                "spec.connector" => query.connector = Some(value.clone()),
                "spec.to.user" if !value.is_empty() => query.user = Some(id(value)),
                "spec.to.chat" if !value.is_empty() => query.chat = Some(id(value)),
                _ => {}
            }
        }
        if let (Some(namespace), Some(name)) = (&asked.namespace, asked.fields.get("metadata.name"))
        {
            let found = self.store.outgoing_message(namespace, name).await;
            let found = found.map_err(|error| unavailable(&error))?;
            query.key = Some(found.map_or(ObjectKey(-1, -1), |message| message.key()));
        }
        Ok(query)
    }
}

fn wrong_kind() -> ApiError {
    ApiError::Internal("the store gave an object of another kind".into())
}

fn stored(content: &ObjectContent) -> Result<Object, ApiError> {
    match content {
        ObjectContent::OutgoingMessage(message) => Ok(object(message)),
        _ => Err(wrong_kind()),
    }
}

fn change(change: ObjectChange) -> Result<Change, ApiError> {
    Ok(match change {
        ObjectChange::Present(found) => Change::Present(stored(&found.content)?),
        ObjectChange::Deleted(gone) => {
            let connector = gone.connector_uid.as_ref();
            let connector = connector.map_or("", |uid| uid.as_str());
            Change::Deleted(DeletedObject {
                uid: object_uid(connector, PREFIX, gone.key),
                namespace: gone.namespace,
                // Of an outgoing message it is its own.
                name: gone.connector,
                revision: gone.revision,
            })
        }
    })
}

#[async_trait]
impl Resource for OutgoingMessages {
    fn description(&self) -> &ResourceDescription {
        &self.description
    }

    async fn list(&self, asked: &ListQuery) -> Result<ObjectPage, ApiError> {
        let after = asked.after.as_deref().map(parse_position).transpose()?;
        let query = self.query(asked).await?;
        let limit = u32::try_from(asked.limit).unwrap_or(u32::MAX - 1);
        let page = self.store.list_objects(&query, after, limit).await;
        let page = page.map_err(|error| unavailable(&error))?;
        let objects = page.objects.iter().map(|found| stored(&found.content));
        Ok(ObjectPage {
            objects: objects.collect::<Result<_, _>>()?,
            next: page.next.map(position),
            revision: page.revision,
        })
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Object, ApiError> {
        let found = self.store.outgoing_message(namespace, name).await;
        let found = found.map_err(|error| unavailable(&error))?;
        found.as_ref().map(object).ok_or(ApiError::NotFound)
    }

    async fn changes(
        &self,
        namespace: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Changes, ApiError> {
        let query = ObjectQuery {
            namespace: namespace.map(str::to_owned),
            ..ObjectQuery::all(ObjectKind::OutgoingMessage)
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).max(1);
        let changes = self.store.object_changes(&query, after, limit).await;
        let changes = changes.map_err(|error| unavailable(&error))?;
        let described = changes.changes.into_iter().map(change);
        Ok(Changes {
            changes: described.collect::<Result<_, _>>()?,
            complete_to: changes.complete_to,
            oldest: changes.oldest,
        })
    }

    async fn create(
        &self,
        namespace: &str,
        _caller: &Caller,
        body: Value,
        dry_run: bool,
    ) -> Result<Object, ApiError> {
        let request = request(namespace, &body, dry_run)?;
        let now = jiff::Timestamp::now();
        let sent = send_message(&self.registry, &*self.store, request, now).await;
        let message = match sent.map_err(api_error)? {
            SendOutcome::Accepted(message) | SendOutcome::Known(message) => message,
        };
        if dry_run {
            return Ok(object(&message));
        }
        // As it is by now, with the revision that it has got.
        self.get(namespace, &message.name).await
    }
}
