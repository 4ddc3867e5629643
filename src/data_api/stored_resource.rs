//! What the resources share: objects of the store as objects of Kubernetes, and selectors, pages and watches as queries of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use aggregated_api_server::{
    ApiError, Caller, Change, Changes, ColumnType, DeletedObject, ListQuery, Object, ObjectPage,
    Resource, ResourceDescription, ResourceVerb, SelectableField, TableColumn,
};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::store::{
    ObjectChange, ObjectContent, ObjectKey, ObjectKind, ObjectQuery, Store, StoreError,
    StoredObject,
};

/// The `spec` and the `status` of an object.
pub(super) type Shown = (Value, Value);

/// What a client creates.
pub(super) struct CreateRequest<'a> {
    pub(super) namespace: &'a str,
    pub(super) caller: &'a Caller,
    pub(super) body: &'a Value,
    /// It is only to be said what it would be.
    pub(super) dry_run: bool,
}

/// How a resource makes objects of what clients send.
#[async_trait]
pub(super) trait Creation: Send + Sync + 'static {
    /// Makes one.
    async fn create(
        &self,
        store: &dyn Store,
        request: CreateRequest<'_>,
    ) -> Result<StoredObject, ApiError>;
}

/// What a client sends to a subresource.
pub(super) struct SubresourceRequest<'a> {
    pub(super) subresource: &'a str,
    pub(super) caller: &'a Caller,
    /// Null if the client sent none.
    pub(super) body: &'a Value,
    /// Nothing is to be done.
    pub(super) dry_run: bool,
}

/// What a resource does with its subresources.
#[async_trait]
pub(super) trait Subresource: Send + Sync + 'static {
    /// Reads it.
    async fn get(&self, _store: &dyn Store, _object: &StoredObject) -> Result<Value, ApiError> {
        Err(ApiError::MethodNotAllowed)
    }

    /// Does what it stands for.
    async fn create(
        &self,
        _store: &dyn Store,
        _object: &StoredObject,
        _request: SubresourceRequest<'_>,
    ) -> Result<Value, ApiError> {
        Err(ApiError::MethodNotAllowed)
    }
}

/// A kind of the store's objects as a resource.
pub(super) struct StoredResource {
    pub(super) store: Arc<dyn Store>,
    pub(super) kind: ObjectKind,
    /// What names begin with, before the numbers of the key.
    pub(super) prefix: &'static str,
    pub(super) description: ResourceDescription,
    /// What an object shows beside its connector, and whether its last change made it.
    pub(super) show: fn(&ObjectContent, &StoredObject) -> Option<Shown>,
    pub(super) is_new: fn(&ObjectContent) -> bool,
    pub(super) creation: Option<Box<dyn Creation>>,
    pub(super) subresource: Option<Box<dyn Subresource>>,
}

impl StoredResource {
    /// The name of an object: stable, and nothing of a person.
    fn name(&self, ObjectKey(first, second): ObjectKey) -> String {
        match self.kind {
            ObjectKind::Conversation => format!("{}-{first}-{second}", self.prefix),
            _ => {
                format!("{}-{first}", self.prefix)
            }
        }
    }

    /// Reads a name; `None`: no object can have it.
    fn key(&self, name: &str) -> Option<ObjectKey> {
        let numbers = name.strip_prefix(self.prefix)?.strip_prefix('-')?;
        let key = match self.kind {
            ObjectKind::Conversation => {
                let (first, second) = numbers.split_once('-')?;
                ObjectKey(first.parse().ok()?, second.parse().ok()?)
            }
            _ => ObjectKey(numbers.parse().ok()?, 0),
        };
        // `denied-07` and `denied-+7` are not `denied-7`.
        (self.name(key) == name).then_some(key)
    }

    fn uid(&self, connector: &str, key: ObjectKey) -> String {
        object_uid(connector, self.prefix, key)
    }

    fn object(&self, stored: &StoredObject) -> Result<Object, ApiError> {
        let wrong_kind = || ApiError::Internal("the store gave an object of another kind".into());
        let (mut spec, status) = (self.show)(&stored.content, stored).ok_or_else(wrong_kind)?;
        spec["connector"] = stored.connector.clone().into();
        if let Some(uid) = &stored.connector_uid {
            spec["connectorUID"] = uid.as_str().into();
        }
        let named = format!("{}/{}", stored.namespace, stored.connector);
        let connector = stored
            .connector_uid
            .as_ref()
            .map_or(&*named, |uid| uid.as_str());
        Ok(Object {
            namespace: stored.namespace.clone(),
            name: self.name(stored.key),
            uid: self.uid(connector, stored.key),
            revision: stored.revision,
            is_new: (self.is_new)(&stored.content) && !stored.is_left,
            detached_fields: if stored.is_left { &[CONNECTOR] } else { &[] },
            created: stored.created,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec,
            status,
        })
    }

    fn change(&self, change: ObjectChange) -> Result<Change, ApiError> {
        Ok(match change {
            ObjectChange::Present(stored) => Change::Present(self.object(&stored)?),
            ObjectChange::Deleted(deleted) => {
                let named = format!("{}/{}", deleted.namespace, deleted.connector);
                let uid = deleted.connector_uid.as_ref();
                let connector = uid.map_or(&*named, |uid| uid.as_str());
                Change::Deleted(DeletedObject {
                    name: self.name(deleted.key),
                    uid: self.uid(connector, deleted.key),
                    namespace: deleted.namespace,
                    revision: deleted.revision,
                })
            }
        })
    }

    /// What of a list's selectors the store is asked for; `None`: nothing can meet them.
    fn query(&self, query: &ListQuery) -> Option<ObjectQuery> {
        let mut asked = ObjectQuery {
            namespace: query.namespace.clone(),
            ..ObjectQuery::all(self.kind)
        };
        for (path, value) in &query.fields {
            match path.as_str() {
                "metadata.name" => asked.key = Some(self.key(value)?),
                CONNECTOR => asked.connector = Some(value.clone()),
                // Without a value: of nobody, which the server sorts out.
                "spec.user.id" if !value.is_empty() => asked.user = Some(value.parse().ok()?),
                "spec.chat.id" => asked.chat = Some(value.parse().ok()?),
                _ => {}
            }
        }
        Some(asked)
    }

    async fn stored(&self, namespace: &str, name: &str) -> Result<StoredObject, ApiError> {
        let query = ObjectQuery {
            namespace: Some(namespace.to_owned()),
            key: Some(self.key(name).ok_or(ApiError::NotFound)?),
            ..ObjectQuery::all(self.kind)
        };
        let page = self.store.list_objects(&query, None, 1).await;
        let mut objects = page.map_err(|e| unavailable(&e))?.objects;
        objects.pop().ok_or(ApiError::NotFound)
    }
}

/// The uid of an object, the same on every replica. Of what no connector is known for the name stands.
pub(super) fn object_uid(
    connector: &str,
    prefix: &str,
    ObjectKey(first, second): ObjectKey,
) -> String {
    let hash = Sha256::digest(format!("{connector}/{prefix}/{first}/{second}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    // RFC 9562: version 8 is of one's own making.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |range: std::ops::Range<usize>| {
        let digits = bytes[range].iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    };
    [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-")
}

/// What a client is told while the store is away; what is the matter stands in the log.
pub(super) fn unavailable(error: &StoreError) -> ApiError {
    tracing::warn!(%error, "the data API could not reach the store; the client is told to try again");
    ApiError::unavailable("the operator's store cannot be reached now")
}

/// Where a page goes on, as a client hands it back.
pub(super) fn parse_position(position: &str) -> Result<ObjectKey, ApiError> {
    let key = position
        .split_once('.')
        .and_then(|(first, second)| Some(ObjectKey(first.parse().ok()?, second.parse().ok()?)));
    key.ok_or_else(|| ApiError::BadRequest("the continue token is none of this resource's".into()))
}

/// The same, to be handed out.
pub(super) fn position(ObjectKey(first, second): ObjectKey) -> String {
    format!("{first}.{second}")
}

#[async_trait]
impl Resource for StoredResource {
    fn description(&self) -> &ResourceDescription {
        &self.description
    }

    async fn list(&self, query: &ListQuery) -> Result<ObjectPage, ApiError> {
        let after = query.after.as_deref().map(parse_position).transpose()?;
        let (asked, limit) = match self.query(query) {
            Some(asked) => (asked, u32::try_from(query.limit).unwrap_or(u32::MAX - 1)),
            // The revision is asked for all the same.
            None => (
                ObjectQuery {
                    key: Some(ObjectKey(-1, -1)),
                    ..ObjectQuery::all(self.kind)
                },
                1,
            ),
        };
        let page = self.store.list_objects(&asked, after, limit).await;
        let page = page.map_err(|e| unavailable(&e))?;
        let objects = page.objects.iter().map(|stored| self.object(stored));
        Ok(ObjectPage {
            objects: objects.collect::<Result<_, _>>()?,
            next: page.next.map(position),
            revision: page.revision,
        })
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Object, ApiError> {
        self.object(&self.stored(namespace, name).await?)
    }

    async fn changes(
        &self,
        namespace: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Changes, ApiError> {
        let query = ObjectQuery {
            namespace: namespace.map(str::to_owned),
            ..ObjectQuery::all(self.kind)
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).max(1);
        let changes = self.store.object_changes(&query, after, limit).await;
        let changes = changes.map_err(|e| unavailable(&e))?;
        let described = changes
            .changes
            .into_iter()
            .map(|change| self.change(change));
        Ok(Changes {
            changes: described.collect::<Result<_, _>>()?,
            complete_to: changes.complete_to,
            oldest: changes.oldest,
        })
    }

    async fn create(
        &self,
        namespace: &str,
        caller: &Caller,
        body: Value,
        dry_run: bool,
    ) -> Result<Object, ApiError> {
        let request = CreateRequest {
            namespace,
            caller,
            body: &body,
            dry_run,
        };
        match &self.creation {
            Some(creation) => self.object(&creation.create(&*self.store, request).await?),
            None => Err(ApiError::MethodNotAllowed),
        }
    }

    async fn delete(
        &self,
        namespace: &str,
        _caller: &Caller,
        names: &[String],
    ) -> Result<(), ApiError> {
        let keys: Vec<ObjectKey> = names.iter().filter_map(|name| self.key(name)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let deleted = self.store.delete_objects(self.kind, namespace, keys).await;
        deleted.map(drop).map_err(|e| unavailable(&e))
    }

    async fn get_subresource(
        &self,
        namespace: &str,
        _caller: &Caller,
        name: &str,
        _subresource: &str,
    ) -> Result<Value, ApiError> {
        let object = self.stored(namespace, name).await?;
        match &self.subresource {
            Some(subresource) => subresource.get(&*self.store, &object).await,
            None => Err(ApiError::MethodNotAllowed),
        }
    }

    async fn create_subresource(
        &self,
        namespace: &str,
        caller: &Caller,
        name: &str,
        subresource: &str,
        body: Value,
        dry_run: bool,
    ) -> Result<Value, ApiError> {
        let object = self.stored(namespace, name).await?;
        let request = SubresourceRequest {
            subresource,
            caller,
            body: &body,
            dry_run,
        };
        match &self.subresource {
            Some(known) => known.create(&*self.store, &object, request).await,
            None => Err(ApiError::MethodNotAllowed),
        }
    }
}

/// What can be done with every stored object.
pub(super) fn verbs() -> Vec<ResourceVerb> {
    vec![
        ResourceVerb::Get,
        ResourceVerb::List,
        ResourceVerb::Watch,
        ResourceVerb::Delete,
        ResourceVerb::DeleteCollection,
    ]
}

/// Selects what belongs to the connector that has a name now.
const CONNECTOR: &str = "spec.connector";

/// What every stored object can be selected by. A group that becomes a supergroup has another id.
pub(super) fn selectable_fields() -> Vec<SelectableField> {
    vec![
        SelectableField::immutable(CONNECTOR),
        SelectableField::immutable("spec.user.id"),
        SelectableField::mutable("spec.chat.id"),
    ]
}

/// What a person's objects can be selected by, where the chat is the person's own.
pub(super) fn person_fields() -> Vec<SelectableField> {
    vec![
        SelectableField::immutable(CONNECTOR),
        SelectableField::immutable("spec.user.id"),
    ]
}

/// A person as `spec.user`, of whom the name is empty where it is not known.
pub(super) fn person(id: i64, name: &str, username: Option<&str>) -> Value {
    let mut person = json!({"id": id});
    if !name.is_empty() {
        person["name"] = name.into();
    }
    if let Some(username) = username {
        person["username"] = username.into();
    }
    person
}

/// The columns of a person's id and username.
pub(super) fn person_columns(who: &str) -> [TableColumn; 2] {
    let username = "Their username.";
    [
        TableColumn::new("User", ColumnType::Integer, "spec.user.id", who),
        TableColumn::new(
            "Username",
            ColumnType::String,
            "spec.user.username",
            username,
        ),
    ]
}

pub(super) fn person_schema(who: &str) -> Value {
    json!({"type": "object", "description": who, "properties": {
        "id": integer("Telegram's id."),
        "name": text("The first and last name."),
        "username": text("The username, without @."),
    }})
}

/// The column of the connector's name.
pub(super) fn connector_column() -> TableColumn {
    let description = "The TelegramConnector that it belongs to.";
    TableColumn::new(
        "Connector",
        ColumnType::String,
        "spec.connector",
        description,
    )
}

/// The schemas of what every `spec` has.
pub(super) fn connector_schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    schemas.insert(
        "connector".into(),
        text("The name of the TelegramConnector that it belongs to."),
    );
    schemas.insert(
        "connectorUID".into(),
        text("The uid of that TelegramConnector; absent where which one of the name it was is not known."),
    );
    schemas.insert("bot".into(), with_id("The bot."));
    schemas.insert(
        "chat".into(),
        with_id("The chat: positive ids are persons', negative ones groups' and channels'."),
    );
    schemas
}

/// The schema of a text.
pub(super) fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// The schema of a time.
pub(super) fn time(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

/// The schema of a whole number.
pub(super) fn integer(description: &str) -> Value {
    json!({"type": "integer", "format": "int64", "description": description})
}

/// The schema of something that Telegram numbers.
pub(super) fn with_id(description: &str) -> Value {
    json!({"type": "object", "description": description, "properties": {"id": integer("Telegram's id.")}})
}

/// The schema of an object.
pub(super) fn schema(description: &str, properties: &Map<String, Value>) -> Value {
    json!({"type": "object", "description": description, "properties": properties})
}
