//! One stream of changes out of the watches of several namespaces.
//!
//! Each namespace is listed and watched on its own, and may have to begin anew at any time. Behind this stream that is not seen:
//! it starts once, with everything that can be listed, and from then on says what was applied and what was deleted, also of what vanished
//! while a watch was broken.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, NamespaceResourceScope, ObjectMeta, PartialObjectMeta};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::watch_source::{SourceEvent, WatchSource};
use crate::telemetry::{Readiness, WatchedResource};

/// What a change is about: namespace and name.
type Key = (Option<String>, String);
/// The uids of objects. What they were is not kept: there are thousands of them.
type Uids = HashMap<Key, Option<String>>;

/// What needs another watch to have listed a namespace looks again after this time.
pub(super) const UNLISTED_RETRY: Duration = Duration::from_secs(2);

/// The APIs to watch: of each namespace, or of all with one.
pub(super) fn apis<K>(client: &Client, namespaces: &[String]) -> Vec<Api<K>>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    if namespaces.is_empty() {
        return vec![Api::all(client.clone())];
    }
    namespaces
        .iter()
        .map(|ns| Api::namespaced(client.clone(), ns))
        .collect()
}

/// Watches all namespaces as one. Failures are reported to the log, to `/readyz` and to metrics, and healed with a back-off. `prune` takes
/// off what nobody reads.
pub(super) fn watch<K>(
    client: &Client,
    namespaces: &[String],
    resource: WatchedResource,
    prune: fn(&mut K),
    readiness: &Arc<Readiness>,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource<Scope = NamespaceResourceScope>
        + Tombstone
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
    K::DynamicType: Default,
{
    let all = [String::new()];
    let namespaces = if namespaces.is_empty() {
        &all
    } else {
        namespaces
    };
    let sources = namespaces.iter().map(|namespace| {
        WatchSource::new(client, resource, namespace, readiness.clone())
            .into_stream()
            .boxed()
    });
    merge(sources.collect(), prune)
}

/// One stream of the events of several sources.
pub(super) fn merge<K>(
    sources: Vec<BoxStream<'static, SourceEvent<K>>>,
    prune: fn(&mut K),
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource + Tombstone + Send + 'static,
{
    let mut merger = EventMerger::new(sources.len(), K::tombstone);
    let sources = sources.into_iter().enumerate();
    let streams = sources.map(|(source, events)| events.map(move |event| (source, event)));
    let start = stream::once(std::future::ready(Event::Init));
    start.chain(
        stream::select_all(streams).flat_map(move |(source, event)| {
            stream::iter(match event {
                SourceEvent::Watched(event) => merger.apply(source, event.modify(prune)),
                SourceEvent::Failed => merger.on_failed(source),
            })
        }),
    )
}

/// Takes managed fields off: they can be most of an object and nobody here reads them.
pub(super) fn without_managed_fields<K: Resource>(object: &mut K) {
    // Not merely emptied: the room they took would stay.
    object.meta_mut().managed_fields = None;
}

/// Makes one event stream of several, each of which may start over.
struct EventMerger<K> {
    sources: Vec<SourceState>,
    tombstone: fn(ObjectMeta) -> K,
    /// Every source has been listed once; from the first that is, those that failed are not waited for.
    complete: bool,
    /// Deletions seen before everything was listed; told right after.
    early_deletions: Vec<K>,
}

struct SourceState {
    listed: bool,
    failed: bool,
    /// Everything that is there.
    known: Uids,
    /// While the source starts over: what it has shown again so far.
    relisted: Option<Uids>,
}

impl<K: Resource> EventMerger<K> {
    fn new(sources: usize, tombstone: fn(ObjectMeta) -> K) -> Self {
        Self {
            sources: (0..sources)
                .map(|_| SourceState {
                    listed: false,
                    failed: false,
                    known: HashMap::new(),
                    relisted: None,
                })
                .collect(),
            tombstone,
            complete: false,
            early_deletions: Vec::new(),
        }
    }

    fn apply(&mut self, source: usize, event: Event<K>) -> Vec<Event<K>> {
        let state = &mut self.sources[source];
        let tombstone = self.tombstone;
        match event {
            Event::Init => {
                // What an attempt that failed half-way has shown is there until a whole list lacks it.
                let half = state.relisted.replace(HashMap::new());
                state.known.extend(half.into_iter().flatten());
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => {
                let uid = object.uid();
                let key = key(&object);
                let before = match &mut state.relisted {
                    Some(relisted) => {
                        relisted.insert(key.clone(), uid.clone());
                        state.known.remove(&key)
                    }
                    None => state.known.insert(key.clone(), uid.clone()),
                };
                if !self.complete {
                    return vec![Event::InitApply(object)];
                }
                // Same name, another object: the old one went unseen.
                before
                    .filter(|before| *before != uid)
                    .map(|before| Event::Delete(tombstone_of(tombstone, (key, before))))
                    .into_iter()
                    .chain([Event::Apply(object)])
                    .collect()
            }
            Event::Delete(object) => {
                state.known.remove(&key(&object));
                if self.complete {
                    return vec![Event::Delete(object)];
                }
                self.early_deletions.push(object);
                Vec::new()
            }
            Event::InitDone => self.on_listed(source),
        }
    }

    /// A source is listed: what it had and has no more is deleted. The first list is complete when all sources are listed.
    fn on_listed(&mut self, source: usize) -> Vec<Event<K>> {
        let tombstone = self.tombstone;
        let state = &mut self.sources[source];
        let now = state.relisted.take().unwrap_or_default();
        let vanished = std::mem::replace(&mut state.known, now)
            .into_iter()
            .map(|gone| tombstone_of(tombstone, gone))
            .collect::<Vec<_>>();
        state.listed = true;
        if self.complete {
            return vanished.into_iter().map(Event::Delete).collect();
        }
        self.early_deletions.extend(vanished);
        self.complete_if_settled()
    }

    /// A source failed. Before the first list is complete, the others do not wait for it: what it shows later appears then.
    fn on_failed(&mut self, source: usize) -> Vec<Event<K>> {
        self.sources[source].failed = true;
        self.complete_if_settled()
    }

    fn complete_if_settled(&mut self) -> Vec<Event<K>> {
        let settled = self.sources.iter().all(|s| s.listed || s.failed);
        if self.complete || !settled || !self.sources.iter().any(|s| s.listed) {
            return Vec::new();
        }
        self.complete = true;
        let deletions = std::mem::take(&mut self.early_deletions);
        std::iter::once(Event::InitDone)
            .chain(deletions.into_iter().map(Event::Delete))
            .collect()
    }
}

/// An object of which only namespace, name and uid are known.
fn tombstone_of<K>(
    tombstone: fn(ObjectMeta) -> K,
    ((namespace, name), uid): (Key, Option<String>),
) -> K {
    tombstone(ObjectMeta {
        name: Some(name),
        namespace,
        uid,
        ..ObjectMeta::default()
    })
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace(), object.name_any())
}

/// What stands for an object that vanished: who it was.
pub(super) trait Tombstone {
    /// An object without content.
    fn tombstone(identity: ObjectMeta) -> Self;
}

impl<K: Resource> Tombstone for DeserializeGuard<K> {
    fn tombstone(identity: ObjectMeta) -> Self {
        Self(Err(InvalidObject {
            error: "it is gone".to_owned(),
            metadata: identity,
        }))
    }
}

impl<K: Resource<DynamicType = ()> + Default> Tombstone for PartialObjectMeta<K> {
    fn tombstone(identity: ObjectMeta) -> Self {
        PartialObjectMeta {
            metadata: identity,
            ..PartialObjectMeta::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Secret;

    type Meta = PartialObjectMeta<Secret>;

    fn object(namespace: &str, name: &str, uid: &str) -> Meta {
        Meta {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some(namespace.into()),
                uid: Some(uid.into()),
                ..ObjectMeta::default()
            },
            ..Meta::default()
        }
    }

    fn merged(merger: &mut EventMerger<Meta>, source: usize, event: Event<Meta>) -> Vec<String> {
        merger
            .apply(source, event)
            .into_iter()
            .map(|e| match e {
                Event::Init => "init".into(),
                Event::InitDone => "done".into(),
                Event::InitApply(o) => format!("init+{}", o.uid().unwrap()),
                Event::Apply(o) => format!("+{}", o.uid().unwrap()),
                Event::Delete(o) => format!("-{}", o.uid().unwrap()),
            })
            .collect()
    }

    #[test]
    fn init_is_done_when_every_namespace_is_listed() {
        let mut merger = EventMerger::new(2, Meta::tombstone);
        merged(&mut merger, 0, Event::Init);
        merged(&mut merger, 1, Event::Init);
        assert_eq!(
            merged(&mut merger, 0, Event::InitApply(object("a", "x", "1"))),
            ["init+1"]
        );
        assert!(merged(&mut merger, 0, Event::InitDone).is_empty());
        assert_eq!(
            merged(&mut merger, 0, Event::Apply(object("a", "y", "2"))),
            ["init+2"]
        );
        assert!(merged(&mut merger, 0, Event::Delete(object("a", "x", "1"))).is_empty());
        assert_eq!(merged(&mut merger, 1, Event::InitDone), ["done", "-1"]);
        assert_eq!(
            merged(&mut merger, 0, Event::Apply(object("a", "z", "3"))),
            ["+3"]
        );
    }

    #[test]
    fn namespace_that_cannot_be_listed_does_not_hold_the_others() {
        let mut merger = EventMerger::new(2, Meta::tombstone);
        merged(&mut merger, 0, Event::Init);
        merged(&mut merger, 1, Event::Init);
        merged(&mut merger, 1, Event::InitApply(object("b", "x", "1")));
        let failed = |merger: &mut EventMerger<Meta>| merger.on_failed(0).len();
        assert_eq!(failed(&mut merger), 0, "nothing is listed yet");
        assert_eq!(merged(&mut merger, 1, Event::InitDone), ["done"]);
        assert_eq!(failed(&mut merger), 0);
        // Its Role is back.
        merged(&mut merger, 0, Event::Init);
        assert_eq!(
            merged(&mut merger, 0, Event::InitApply(object("a", "y", "2"))),
            ["+2"]
        );
        assert!(merged(&mut merger, 0, Event::InitDone).is_empty());
        // One that is listed before the other fails.
        let mut merger = EventMerger::new(2, Meta::tombstone);
        merged(&mut merger, 0, Event::Init);
        assert!(merged(&mut merger, 0, Event::InitDone).is_empty());
        assert!(matches!(merger.on_failed(1)[..], [Event::InitDone]));
    }

    #[test]
    fn object_of_a_broken_list_is_deleted_when_the_next_lacks_it() {
        let mut merger = EventMerger::new(1, Meta::tombstone);
        merged(&mut merger, 0, Event::Init);
        merged(&mut merger, 0, Event::InitApply(object("a", "x", "1")));
        merged(&mut merger, 0, Event::InitDone);
        merged(&mut merger, 0, Event::Init);
        merged(&mut merger, 0, Event::InitApply(object("a", "x", "1")));
        merged(&mut merger, 0, Event::Init);
        assert_eq!(merged(&mut merger, 0, Event::InitDone), ["-1"]);
    }

    #[test]
    fn objects_gone_while_the_watch_was_broken_are_deleted() {
        let mut merger = EventMerger::new(1, Meta::tombstone);
        merged(&mut merger, 0, Event::Init);
        for (name, uid) in [("stays", "1"), ("goes", "2"), ("replaced", "3")] {
            merged(&mut merger, 0, Event::InitApply(object("a", name, uid)));
        }
        merged(&mut merger, 0, Event::InitDone);
        merged(&mut merger, 0, Event::Init);
        assert_eq!(
            merged(&mut merger, 0, Event::InitApply(object("a", "stays", "1"))),
            ["+1"]
        );
        assert_eq!(
            merged(
                &mut merger,
                0,
                Event::InitApply(object("a", "replaced", "4"))
            ),
            ["-3", "+4"]
        );
        assert_eq!(merged(&mut merger, 0, Event::InitDone), ["-2"]);
    }
}
