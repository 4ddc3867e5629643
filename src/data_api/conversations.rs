//! `conversations`: the sessions, and by a right of its own what was said in them.

use std::sync::Arc;

use aggregated_api_server::{
    ApiError, ColumnType, ResourceDescription, SubresourceDescription, SubresourceVerb, TableColumn,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::stored_resource::{
    Shown, StoredResource, Subresource, connector_column, connector_schemas, integer, schema,
    selectable_fields, text, time, unavailable, verbs, with_id,
};
use crate::history::Role;
use crate::store::{ObjectContent, ObjectKind, Store, StoredObject};

pub(super) fn resource(store: Arc<dyn Store>) -> StoredResource {
    StoredResource {
        store,
        kind: ObjectKind::Conversation,
        prefix: "conversation",
        description: description(),
        show,
        is_new: |content| matches!(content, ObjectContent::Conversation(it) if it.current && it.exchanges <= 1),
        creation: None,
        subresource: Some(Box::new(Transcript)),
    }
}

fn show(content: &ObjectContent, stored: &StoredObject) -> Option<Shown> {
    let ObjectContent::Conversation(conversation) = content else {
        return None;
    };
    let mut spec = json!({
        "bot": {"id": conversation.bot.0},
        "chat": {"id": conversation.chat},
        "since": stored.created.to_string(),
    });
    if conversation.topic != 0 {
        spec["topic"] = conversation.topic.into();
    }
    if conversation.chat > 0 {
        spec["user"] = json!({"id": conversation.chat});
    }
    let status = json!({
        "lastMessage": conversation.last.to_string(),
        "messages": conversation.exchanges,
        "current": conversation.current,
        "inputTokens": conversation.tokens.input,
        "outputTokens": conversation.tokens.output,
    });
    Some((spec, status))
}

/// What was said, as far as it is kept.
struct Transcript;

#[async_trait]
impl Subresource for Transcript {
    async fn get(&self, store: &dyn Store, object: &StoredObject) -> Result<Value, ApiError> {
        let words = store.transcript(&object.namespace, object.key).await;
        let words = words
            .map_err(|e| unavailable(&e))?
            .ok_or(ApiError::NotFound)?;
        let messages = words.into_iter().map(|message| {
            let role = match message.role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            json!({"role": role, "text": message.text})
        });
        Ok(json!({"messages": messages.collect::<Vec<_>>()}))
    }
}

fn description() -> ResourceDescription {
    let column = TableColumn::new;
    ResourceDescription {
        plural: "conversations".into(),
        singular: "conversation".into(),
        kind: "Conversation".into(),
        short_names: vec!["tgconv".into()],
        verbs: verbs(),
        subresources: vec![transcript_description()],
        selectable_fields: selectable_fields(),
        columns: vec![
            connector_column(),
            column("Chat", ColumnType::Integer, "spec.chat.id", "Where it is held."),
            column("Messages", ColumnType::Integer, "status.messages", "How many messages were answered."),
            column("Last", ColumnType::Date, "status.lastMessage", "When the last one of them was sent."),
            column("Current", ColumnType::Boolean, "status.current", "Whether it goes on.").wide(),
            column("User", ColumnType::Integer, "spec.user.id", "With whom, in a private chat.").wide(),
            column("Topic", ColumnType::Integer, "spec.topic", "The topic of the chat.").wide(),
            column("Input Tokens", ColumnType::Integer, "status.inputTokens", "What it cost, as the assistant counts.").wide(),
            column("Output Tokens", ColumnType::Integer, "status.outputTokens", "What it cost, as the assistant counts.").wide(),
        ],
        summary: "A Conversation is one session of a chat with a TelegramConnector's assistant, without its words. Deleting it ends the session and removes its words.".into(),
        properties: json!({"spec": spec_schema(), "status": status_schema()}),
        ..ResourceDescription::default()
    }
}

fn transcript_description() -> SubresourceDescription {
    let message = json!({"type": "object", "description": "One message.", "properties": {
        "role": text("Who said it: user or assistant."),
        "text": text("What was said."),
    }});
    SubresourceDescription {
        name: "transcript".into(),
        kind: "ConversationTranscript".into(),
        verbs: vec![SubresourceVerb::Get],
        summary: "What was said in a Conversation, as far as it is kept.".into(),
        properties: json!({
            "messages": {"type": "array", "description": "The messages that are kept, oldest first.", "items": message},
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
            with_id("With whom, in a private chat; absent in groups."),
        ),
        ("since", time("When the message was sent that began it.")),
    ];
    fields.extend(own.map(|(key, value)| (key.to_owned(), value)));
    schema("Where it is held and since when.", &fields)
}

fn status_schema() -> Value {
    json!({"type": "object", "description": "How far it has come.", "properties": {
        "lastMessage": time("When the last message was sent that was answered."),
        "messages": integer("How many messages were answered."),
        "current": {"type": "boolean", "description": "Whether it goes on: the next message of the chat may belong to it."},
        "inputTokens": integer("Tokens of its questions with their history, as the assistant counts them; 0 where it does not."),
        "outputTokens": integer("Tokens of its answers, as the assistant counts them; 0 where it does not."),
    }})
}
