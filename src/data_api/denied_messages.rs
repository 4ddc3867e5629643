//! `deniedmessages`: what people wrote whom the access level does not name, where the connector keeps it.

use std::sync::Arc;

use aggregated_api_server::{ColumnType, ResourceDescription, TableColumn};
use serde_json::{Value, json};

use super::stored_resource::{
    Shown, StoredResource, connector_column, connector_schemas, integer, schema, selectable_fields,
    text, time, verbs,
};
use crate::store::{ObjectContent, ObjectKind, Store, StoredObject};

pub(super) fn resource(store: Arc<dyn Store>) -> StoredResource {
    StoredResource {
        store,
        kind: ObjectKind::DeniedMessage,
        prefix: "denied",
        description: description(),
        show,
        is_new: |_| true,
        creation: None,
        subresource: None,
    }
}

fn show(content: &ObjectContent, _: &StoredObject) -> Option<Shown> {
    let ObjectContent::DeniedMessage(denied) = content else {
        return None;
    };
    let mut spec = json!({
        "time": denied.time.to_string(),
        "bot": {"id": denied.bot.0},
        "chat": {"id": denied.chat},
        "content": denied.content,
        "level": denied.level,
    });
    if let Some(id) = denied.user_id {
        let mut user = json!({"id": id});
        let known = [
            ("username", &denied.username),
            ("name", &denied.user_name),
            ("language", &denied.language),
        ];
        for (key, value) in known {
            if let Some(value) = value {
                user[key] = value.clone().into();
            }
        }
        spec["user"] = user;
    }
    if let Some(words) = &denied.text {
        spec["text"] = words.clone().into();
    }
    Some((spec, Value::Null))
}

fn description() -> ResourceDescription {
    let column = TableColumn::new;
    ResourceDescription {
        plural: "deniedmessages".into(),
        singular: "deniedmessage".into(),
        kind: "DeniedMessage".into(),
        short_names: vec!["tgdm".into()],
        verbs: verbs(),
        selectable_fields: selectable_fields(),
        columns: vec![
            connector_column(),
            column("User", ColumnType::Integer, "spec.user.id", "Who wrote it."),
            column("Username", ColumnType::String, "spec.user.username", "Their username."),
            column("Content", ColumnType::String, "spec.content", "What kind of message it is."),
            column("Name", ColumnType::String, "spec.user.name", "Their first and last name.").wide(),
            column("Chat", ColumnType::Integer, "spec.chat.id", "Where it was written.").wide(),
            column("Level", ColumnType::String, "spec.level", "The access level that denied it.").wide(),
            column("Text", ColumnType::String, "spec.text", "What was written.").wide(),
        ],
        summary: "A DeniedMessage is a message of somebody whom a TelegramConnector's access level does not name. It is kept where the connector says saveDeniedConversations: true, until retention.deniedDays are over.".into(),
        properties: json!({"spec": spec_schema()}),
        ..ResourceDescription::default()
    }
}

fn spec_schema() -> Value {
    let mut fields = connector_schemas();
    let user = json!({"type": "object", "description": "Who wrote it; absent for channels and anonymous admins.", "properties": {
        "id": integer("Telegram's id."),
        "username": text("The username, without @."),
        "name": text("The first and last name."),
        "language": text("The language of their Telegram, as an IETF tag."),
    }});
    let own = [
        ("time", time("When it was sent.")),
        ("user", user),
        (
            "content",
            text("What kind of message it is: text, photo, voice and so on."),
        ),
        (
            "text",
            text("What was written, if it was text: the first 1,000 characters."),
        ),
        ("level", text("The access level that denied it.")),
    ];
    fields.extend(own.map(|(key, value)| (key.to_owned(), value)));
    schema("What was written, where and by whom.", &fields)
}
