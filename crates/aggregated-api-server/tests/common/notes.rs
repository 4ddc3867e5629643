//! A resource of these tests: notes, in memory, with every change that there was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aggregated_api_server::{
    ApiError, Caller, CauseReason, Change, Changes, ColumnType, DeletedObject, ListQuery, Object,
    ObjectPage, Resource, ResourceDescription, ResourceVerb, SelectableField,
    SubresourceDescription, SubresourceVerb, TableColumn,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// The notes.
pub struct Notes {
    description: ResourceDescription,
    state: Mutex<State>,
    /// Every call is answered that the storage is away.
    pub is_away: AtomicBool,
    /// No read of one note is ever answered.
    pub hangs: AtomicBool,
    /// Lists and changes are of all namespaces, whatever is asked for.
    pub leaks: AtomicBool,
    /// How often changes were asked for.
    pub changes_read: AtomicUsize,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(String, String), Object>,
    log: Vec<(i64, Change)>,
    revision: i64,
    oldest: i64,
}

impl Notes {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            description: description(),
            state: Mutex::new(State {
                revision: 1,
                ..State::default()
            }),
            is_away: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            leaks: AtomicBool::new(false),
            changes_read: AtomicUsize::new(0),
        })
    }

    /// Makes a note.
    pub fn add(&self, namespace: &str, name: &str, owner: &str) {
        let spec = json!({"owner": owner, "size": name.len(), "text": "hello", "due": "2020-01-01T00:00:00Z"});
        self.state.lock().insert(Object {
            namespace: namespace.into(),
            name: name.into(),
            is_new: true,
            created: jiff::Timestamp::now(),
            labels: BTreeMap::from([("owner".into(), owner.into())]),
            spec,
            status: json!({"phase": "Pending"}),
            ..Object::default()
        });
    }

    pub fn set_phase(&self, namespace: &str, name: &str, phase: &str) {
        let mut state = self.state.lock();
        let key = (namespace.to_owned(), name.to_owned());
        let mut object = state.objects[&key].clone();
        object.status = json!({"phase": phase});
        object.is_new = false;
        state.insert(object);
    }

    pub fn remove(&self, namespace: &str, name: &str) {
        self.state.lock().remove(namespace, name);
    }

    /// Namespace and name of each.
    pub fn names(&self) -> Vec<(String, String)> {
        self.state.lock().objects.keys().cloned().collect()
    }

    /// Forgets every change so far.
    pub fn compact(&self) {
        let mut state = self.state.lock();
        state.log.clear();
        state.oldest = state.revision;
    }

    pub fn count(&self) -> usize {
        self.state.lock().objects.len()
    }

    pub fn revision(&self) -> i64 {
        self.state.lock().revision
    }

    fn check(&self) -> Result<(), ApiError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(ApiError::unavailable("the storage is away"));
        }
        Ok(())
    }
}

impl State {
    fn insert(&mut self, mut object: Object) -> Object {
        self.revision += 1;
        object.revision = self.revision;
        object.uid = format!("uid-{}-{}", object.namespace, object.name);
        let key = (object.namespace.clone(), object.name.clone());
        self.objects.insert(key, object.clone());
        self.log
            .push((self.revision, Change::Present(object.clone())));
        object
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(object) = self.objects.remove(&key) {
            self.revision += 1;
            let gone = DeletedObject {
                namespace: object.namespace,
                name: object.name,
                uid: object.uid,
                revision: self.revision,
            };
            self.log.push((self.revision, Change::Deleted(gone)));
        }
    }
}

fn description() -> ResourceDescription {
    use ResourceVerb::{Create, Delete, DeleteCollection, Get, List, Watch};
    let text = |text: &str| json!({"type": "string", "description": text});
    ResourceDescription {
        plural: "notes".into(),
        singular: "note".into(),
        kind: "Note".into(),
        short_names: vec!["nt".into()],
        categories: vec!["writings".into()],
        verbs: vec![Get, List, Watch, Create, Delete, DeleteCollection],
        subresources: vec![
            SubresourceDescription {
                name: "words".into(),
                kind: "NoteWords".into(),
                verbs: vec![SubresourceVerb::Get],
                summary: "The words of a note.".into(),
                properties: json!({"words": {"type": "array", "items": {"type": "string"}}}),
            },
            SubresourceDescription {
                name: "stamp".into(),
                kind: "NoteStamp".into(),
                verbs: vec![SubresourceVerb::Create],
                summary: "Stamps a note.".into(),
                properties: json!({"ink": text("The colour."), "stamped": {"type": "boolean"}}),
            },
        ],
        selectable_fields: vec![
            SelectableField::immutable("spec.owner"),
            SelectableField::mutable("status.phase"),
        ],
        columns: vec![
            TableColumn::new("Owner", ColumnType::String, "spec.owner", "Whose it is."),
            TableColumn::new(
                "Phase",
                ColumnType::String,
                "status.phase",
                "How far it is.",
            ),
            TableColumn::new("Size", ColumnType::Integer, "spec.size", "How long it is.").wide(),
            TableColumn::new("Due", ColumnType::Date, "spec.due", "When it is due.").wide(),
        ],
        summary: "A note.".into(),
        properties: json!({
            "spec": {"type": "object", "description": "What the note says.", "properties": {
                "owner": text("Whose it is."), "text": text("What it says."), "due": text("When it is due."),
                "size": {"type": "integer", "description": "How long it is."}}},
            "status": {"type": "object", "description": "What became of it.", "properties": {"phase": text("How far it is.")}}}),
        requires_name: true,
    }
}

#[async_trait]
impl Resource for Notes {
    fn description(&self) -> &ResourceDescription {
        &self.description
    }

    async fn list(&self, query: &ListQuery) -> Result<ObjectPage, ApiError> {
        self.check()?;
        let leaks = self.leaks.load(Ordering::Relaxed);
        let state = self.state.lock();
        let after = match &query.after {
            None => None,
            Some(text) => {
                let (namespace, name) = text
                    .split_once('/')
                    .ok_or_else(|| ApiError::BadRequest("continue key is not valid".into()))?;
                Some((namespace.to_owned(), name.to_owned()))
            }
        };
        let mut objects = state
            .objects
            .iter()
            .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
            .filter(|((namespace, _), _)| {
                leaks || query.namespace.as_ref().is_none_or(|one| one == namespace)
            })
            .map(|(_, object)| object.clone());
        let page: Vec<Object> = objects.by_ref().take(query.limit).collect();
        let more = objects.next().is_some();
        let last = page.last().filter(|_| more);
        Ok(ObjectPage {
            next: last.map(|one| format!("{}/{}", one.namespace, one.name)),
            objects: page,
            revision: state.revision,
        })
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Object, ApiError> {
        self.check()?;
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let key = (namespace.to_owned(), name.to_owned());
        let found = self.state.lock().objects.get(&key).cloned();
        found.ok_or(ApiError::NotFound)
    }

    async fn changes(
        &self,
        namespace: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Changes, ApiError> {
        self.changes_read.fetch_add(1, Ordering::Relaxed);
        self.check()?;
        let leaks = self.leaks.load(Ordering::Relaxed);
        let state = self.state.lock();
        let of = |change: &Change| match change {
            Change::Present(object) => object.namespace.clone(),
            Change::Deleted(gone) => gone.namespace.clone(),
        };
        let later: Vec<(i64, Change)> = state
            .log
            .iter()
            .filter(|(revision, _)| *revision > after)
            .take(limit)
            .cloned()
            .collect();
        let complete_to = match later.last() {
            Some((revision, _)) if later.len() == limit => *revision,
            _ => state.revision,
        };
        let changes = later.into_iter().map(|(_, change)| change);
        Ok(Changes {
            changes: changes
                .filter(|change| leaks || namespace.is_none_or(|one| one == of(change)))
                .collect(),
            complete_to,
            oldest: state.oldest,
        })
    }

    async fn create(
        &self,
        namespace: &str,
        caller: &Caller,
        body: Value,
        dry_run: bool,
    ) -> Result<Object, ApiError> {
        self.check()?;
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        let text = body["spec"]["text"].as_str().unwrap_or_default();
        if text.is_empty() {
            let detail = "give the note a text";
            return Err(ApiError::invalid(
                "spec.text",
                CauseReason::Required,
                detail,
            ));
        }
        let mut state = self.state.lock();
        let key = (namespace.to_owned(), name.to_owned());
        if state.objects.contains_key(&key) {
            return Err(ApiError::AlreadyExists);
        }
        let mut object = Object {
            namespace: namespace.into(),
            name: name.into(),
            is_new: true,
            created: jiff::Timestamp::now(),
            spec: json!({"owner": caller.user, "text": text}),
            status: json!({"phase": "Pending"}),
            ..Object::default()
        };
        if !dry_run {
            object = state.insert(object);
        }
        Ok(object)
    }

    async fn delete(
        &self,
        namespace: &str,
        _caller: &Caller,
        names: &[String],
    ) -> Result<(), ApiError> {
        self.check()?;
        let mut state = self.state.lock();
        names.iter().for_each(|name| state.remove(namespace, name));
        Ok(())
    }

    async fn get_subresource(
        &self,
        namespace: &str,
        _caller: &Caller,
        name: &str,
        _subresource: &str,
    ) -> Result<Value, ApiError> {
        let note = self.get(namespace, name).await?;
        Ok(json!({"words": [note.spec["text"]]}))
    }

    async fn create_subresource(
        &self,
        namespace: &str,
        _caller: &Caller,
        name: &str,
        _subresource: &str,
        body: Value,
        dry_run: bool,
    ) -> Result<Value, ApiError> {
        self.get(namespace, name).await?;
        if !dry_run {
            self.set_phase(namespace, name, "Stamped");
        }
        Ok(json!({"ink": body["ink"], "stamped": !dry_run}))
    }
}
