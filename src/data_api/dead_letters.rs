//! `deadletters`: messages that were not answered and answers that were not delivered, without their text; and trying them again.

use std::sync::Arc;

use aggregated_api_server::{
    ApiError, ColumnType, ResourceDescription, SubresourceDescription, SubresourceVerb, TableColumn,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::stored_resource::{
    Shown, StoredResource, Subresource, SubresourceRequest, connector_column, connector_schemas,
    integer, schema, selectable_fields, text, time, unavailable, verbs, with_id,
};
use crate::store::{ObjectContent, ObjectKey, ObjectKind, Store, StoredObject};

pub(super) fn resource(store: Arc<dyn Store>) -> StoredResource {
    StoredResource {
        store,
        kind: ObjectKind::DeadLetter,
        prefix: "deadletter",
        description: description(),
        show,
        is_new: |_| true,
        creation: None,
        subresource: Some(Box::new(Retry)),
    }
}

fn show(content: &ObjectContent, stored: &StoredObject) -> Option<Shown> {
    let ObjectContent::DeadLetter(dead_letter) = content else {
        return None;
    };
    let mut spec = json!({
        "bot": {"id": dead_letter.bot.0},
        "chat": {"id": dead_letter.chat},
        "what": dead_letter.kind,
        "updateID": dead_letter.update_id,
        "since": stored.created.to_string(),
    });
    if dead_letter.topic != 0 {
        spec["topic"] = dead_letter.topic.into();
    }
    if let Some(user) = dead_letter.user {
        spec["user"] = json!({"id": user});
    }
    if let Some(part) = dead_letter.part {
        spec["part"] = part.into();
    }
    let status = json!({"reason": dead_letter.reason, "attempts": dead_letter.attempts});
    Some((spec, status))
}

/// Puts a dead letter back where it came from.
struct Retry;

#[async_trait]
impl Subresource for Retry {
    async fn create(
        &self,
        store: &dyn Store,
        object: &StoredObject,
        request: SubresourceRequest<'_>,
    ) -> Result<Value, ApiError> {
        let ObjectKey(id, _) = object.key;
        if !request.dry_run {
            let retried = store.retry_dead_letters(&[id]).await;
            if retried.map_err(|e| unavailable(&e))? == 0 {
                return Err(ApiError::NotFound);
            }
        }
        Ok(json!({"status": {"phase": "Waiting"}}))
    }
}

fn description() -> ResourceDescription {
    let column = TableColumn::new;
    ResourceDescription {
        plural: "deadletters".into(),
        singular: "deadletter".into(),
        kind: "DeadLetter".into(),
        short_names: vec!["tgdl".into()],
        verbs: verbs(),
        subresources: vec![retry_description()],
        selectable_fields: selectable_fields(),
        columns: vec![
            connector_column(),
            column("What", ColumnType::String, "spec.what", "A message that was not answered, or a reply that was not delivered."),
            column("Chat", ColumnType::Integer, "spec.chat.id", "Where."),
            column("Attempts", ColumnType::Integer, "status.attempts", "How often it was tried."),
            column("Reason", ColumnType::String, "status.reason", "Why it was given up."),
            column("User", ColumnType::Integer, "spec.user.id", "Whose message it is, or answers.").wide(),
            column("Topic", ColumnType::Integer, "spec.topic", "The topic of the chat.").wide(),
            column("Update", ColumnType::Integer, "spec.updateID", "Telegram's update_id.").wide(),
        ],
        summary: "A DeadLetter is a message that a TelegramConnector could not have answered, or a part of an answer that it could not deliver, without its text.".into(),
        properties: json!({"spec": spec_schema(), "status": status_schema()}),
        ..ResourceDescription::default()
    }
}

fn retry_description() -> SubresourceDescription {
    let phase = text("Waiting: it is back where it came from and is handled in its turn.");
    SubresourceDescription {
        name: "retry".into(),
        kind: "DeadLetterRetry".into(),
        verbs: vec![SubresourceVerb::Create],
        summary: "Puts a DeadLetter back where it came from, to be tried again; the DeadLetter is gone then.".into(),
        properties: json!({
            "status": {"type": "object", "description": "What became of it.", "properties": {"phase": phase}},
        }),
    }
}

fn spec_schema() -> Value {
    let mut fields = connector_schemas();
    let own = [
        (
            "topic",
            integer(
                "The topic: message_thread_id, or the negative topic_id of a channel's direct messages; absent outside topics.",
            ),
        ),
        (
            "user",
            with_id(
                "Who sent the message, or the message that the reply answers; absent where that is not known.",
            ),
        ),
        (
            "what",
            text("message: it was not answered; reply: a part of the answer was not delivered."),
        ),
        (
            "part",
            integer("Which part of the reply, from 0; absent for messages."),
        ),
        ("updateID", integer("Telegram's update_id of the message.")),
        ("since", time("When it was given up.")),
    ];
    fields.extend(own.map(|(key, value)| (key.to_owned(), value)));
    schema("What was given up, and where.", &fields)
}

fn status_schema() -> Value {
    json!({"type": "object", "description": "Why it was given up.", "properties": {
        "reason": text("Why; never what was written."),
        "attempts": integer("How often it was tried."),
    }})
}
