//! The controller's life: wait for the CRDs, watch, reconcile, and end in the right order.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{Predicate, WatchStreamExt, watcher};
use kube::runtime::{PredicateConfig, predicates};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{UnboundedReceiverStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::access::ReadLists;
use super::context::{Context, GuardedList};
use super::index::{Guarded, Index};
use super::leadership::Leadership;
use super::memory::Memories;
use super::secrets::Secrets;
use super::settings::Settings;
use super::user_lists::{self, WrittenLists};
use super::watches::{apis, watch, without_managed_fields};
use super::{ControllerContext, events::Events, finalize, reconcile, sweep};
use crate::api::{SKIP_DISCONNECT_ANNOTATION, TelegramConnector, TelegramUserList};
use crate::connection::BotConnections;
use crate::connection::backoff::{Backoff, jittered};
use crate::identity::ConnectorUid;
use crate::telemetry::Readiness;
use crate::telemetry::admin::ReadinessCheck;

/// How many connectors are reconciled at the same time. A reconcile waits for the API server only, never for Telegram.
const CONCURRENCY: u16 = 32;
/// How often a missing CRD is looked for.
const CRDS_EVERY: Duration = Duration::from_secs(2);
/// How long the first reconcile waits for the Secrets' watch; it needs none, but saves reading them twice.
const SECRETS_WITHIN: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub(super) async fn run(
    from: ControllerContext,
    woken: mpsc::UnboundedReceiver<ConnectorUid>,
    lead: watch::Sender<bool>,
    leading: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let ready = stop
        .run_until_cancelled(wait_for_crds(&from.client, &from.settings, &from.readiness))
        .await;
    if ready.is_none() {
        return;
    }
    let connections = Arc::new(BotConnections::new(
        from.inbox.clone(),
        from.observations.clone(),
        from.metrics.clone(),
        from.settings.connection.clone(),
        from.settings.look_again,
    ));
    let (lists, lists_writer) = reflector::store::<GuardedList>();
    let (wake, waking) = mpsc::unbounded_channel();
    let (wake_list, waking_lists) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        secrets: Secrets::new(from.client.clone()),
        events: Events::new(from.client.clone(), &from.settings.identity),
        index: Arc::new(Index::default()),
        memories: Arc::new(Memories::default()),
        claims: super::claims::Claims::default(),
        read_lists: ReadLists::default(),
        written_lists: WrittenLists::default(),
        connections: connections.clone(),
        client: from.client,
        registry: from.registry,
        observations: from.observations,
        inbox: from.inbox,
        telegram: from.telegram,
        assistants: from.assistants,
        settings: from.settings,
        metrics: from.metrics,
        clock: from.clock,
        lists,
        leading: leading.clone(),
        wake,
    });
    // Ends after everything else, because the others are told by it whether they may.
    let leadership = elect(&context, lead, stop.clone());
    let (secrets_synced, secrets_are_synced) = watch::channel(false);
    let _secrets = AbortOnDropHandle::new(tokio::spawn(watch_secrets(
        context.clone(),
        from.readiness.clone(),
        secrets_synced,
    )));
    // `Store::wait_until_ready` wakes only the one who asked last, and the lists' own controller asks it too.
    let (lists_synced, mut lists_are_synced) = watch::channel(false);
    let _lists = AbortOnDropHandle::new(tokio::spawn(control_lists(
        context.clone(),
        from.readiness.clone(),
        lists_writer,
        waking_lists,
        lists_synced,
    )));
    let _sweep = AbortOnDropHandle::new(tokio::spawn(sweep::run(
        context.clone(),
        from.readiness.clone(),
    )));
    let connectors = async {
        // Without the lists everybody would be denied for a moment, and the status would say so.
        if lists_are_synced.wait_for(|synced| *synced).await.is_err() {
            return;
        }
        let mut synced = secrets_are_synced;
        let _ = tokio::time::timeout(SECRETS_WITHIN, synced.wait_for(|s| *s)).await;
        control_connectors(context.clone(), from.readiness, woken, waking, wake_list).await;
    };
    stop.run_until_cancelled(connectors).await;
    // Pollers end first, then the Lease goes back.
    leadership.await;
}

/// Begins the election, or leads from the start. What comes back ends when `stop` did its work.
fn elect(
    context: &Arc<Context>,
    lead: watch::Sender<bool>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let connections = context.connections.clone();
    let task = match context.settings.leader_election.clone() {
        Some(settings) => {
            let leadership = Leadership::new(
                context.client.clone(),
                settings,
                &context.settings.identity,
                connections,
                context.metrics.clone(),
                lead,
            );
            tokio::spawn(leadership.run(stop))
        }
        None => {
            connections.open();
            context.metrics.set_leading(true);
            lead.send_replace(true);
            tokio::spawn(async move {
                stop.cancelled().await;
                connections.close().await;
                lead.send_replace(false);
            })
        }
    };
    async move {
        if let Err(error) = task.await {
            tracing::error!(%error, "the election ended badly");
        }
    }
}

/// `GitOps` installs in any order: without CRDs there is nothing to do yet, and no reason to exit.
async fn wait_for_crds(client: &Client, settings: &Settings, readiness: &Readiness) {
    let mut told = false;
    loop {
        let missing = match (
            served::<TelegramConnector>(client, settings).await,
            served::<TelegramUserList>(client, settings).await,
        ) {
            (Ok(()), Ok(())) => {
                readiness.pass(ReadinessCheck::Crds);
                return;
            }
            (Err(why), _) | (_, Err(why)) => why,
        };
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(why = %missing, "waiting for the custom resource definitions");
        }
        readiness.fail(ReadinessCheck::Crds, missing);
        tokio::time::sleep(jittered(CRDS_EVERY)).await;
    }
}

async fn served<K>(client: &Client, settings: &Settings) -> Result<(), String>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Option<Api<DeserializeGuard<K>>> =
        apis(client, &settings.watch_namespaces).into_iter().next();
    let Some(api) = api else { return Ok(()) };
    match api.list(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(format!(
            "the API server does not know {}.{}: apply crds/",
            K::plural(&()),
            K::group(&())
        )),
        Err(error) => Err(format!("{} cannot be listed: {error}", K::plural(&()))),
    }
}

/// Tells readiness and log about a watch that fails.
fn on_error(
    what: &'static str,
    check: ReadinessCheck,
    readiness: Arc<Readiness>,
) -> impl Fn(&watcher::Error) + Clone + Send + 'static {
    move |error| {
        tracing::warn!(%error, what, "a watch failed; trying again");
        // Once synced, a broken watch heals by itself and the process goes on serving.
        if !readiness.is_passing(check) {
            readiness.fail(check, error.to_string());
        }
    }
}

/// What of a connector makes a reconcile necessary. Our own status is not among it.
fn of_interest<K: Resource>(object: &K) -> Option<u64> {
    let skip = |object: &K| {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        let meta = object.meta();
        meta.deletion_timestamp.is_some().hash(&mut hasher);
        object
            .annotations()
            .get(SKIP_DISCONNECT_ANNOTATION)
            .hash(&mut hasher);
        Some(hasher.finish())
    };
    predicates::generation::<K>
        .combine(predicates::finalizers::<K>)
        .combine(skip)
        .hash_property(object)
}

async fn control_connectors(
    c: Arc<Context>,
    readiness: Arc<Readiness>,
    woken: mpsc::UnboundedReceiver<ConnectorUid>,
    waking: mpsc::UnboundedReceiver<ConnectorUid>,
    wake_list: mpsc::UnboundedSender<ObjectRef<GuardedList>>,
) {
    let (reader, writer) = reflector::store::<Guarded>();
    let events = watch(
        apis::<Guarded>(&c.client, &c.settings.watch_namespaces),
        without_managed_fields,
        on_error(
            "connectors",
            ReadinessCheck::ConnectorsSynced,
            readiness.clone(),
        ),
    );
    let indexed = {
        let c = c.clone();
        reflector::reflector(writer, events.map(Ok)).inspect(move |event| {
            let Ok(event) = event else { return };
            let lists = match event {
                Event::Apply(object) | Event::InitApply(object) => {
                    c.memories.caught_up(object.meta());
                    c.index.set(object)
                }
                Event::Delete(object) => finalize::gone(object, &c),
                Event::Init => Vec::new(),
                Event::InitDone => {
                    readiness.pass(ReadinessCheck::ConnectorsSynced);
                    c.lists
                        .state()
                        .iter()
                        .map(|l| (l.namespace().unwrap_or_default(), l.name_any()))
                        .collect()
                }
            };
            for (namespace, name) in lists {
                // The lists' controller is gone only when the process ends.
                let _ = wake_list.send(ObjectRef::new(&name).within(&namespace));
            }
        })
    };
    let changed = indexed
        .applied_objects()
        .predicate_filter(of_interest::<Guarded>, PredicateConfig::default());
    let wakes = {
        let index = c.index.clone();
        futures::stream::select(
            UnboundedReceiverStream::new(woken),
            UnboundedReceiverStream::new(waking),
        )
        .filter_map(move |uid| std::future::ready(index.object(&uid)))
    };
    Controller::for_stream(changed, reader)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(wakes)
        .reconcile_all_on(WatchStream::from_changes(c.leading.clone()).map(drop))
        .run(
            |object, c| Box::pin(reconcile::reconcile(object, c)),
            |object, error, c| {
                let me = reconcile::identify(object.meta());
                let wait = c.memories.with(&me.uid, |m| m.failures.next_delay());
                tracing::warn!(namespace = %me.namespace, connector = %me.name, %error, again_in = ?wait, "reconcile failed");
                Action::requeue(wait)
            },
            c,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Secrets: metadata only. A change voids what was read and wakes those who refer to it.
async fn watch_secrets(c: Arc<Context>, readiness: Arc<Readiness>, synced: watch::Sender<bool>) {
    let events = watch(
        apis::<PartialObjectMeta<Secret>>(&c.client, &c.settings.watch_namespaces),
        without_managed_fields,
        on_error("secrets", ReadinessCheck::SecretsSynced, readiness.clone()),
    );
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret) => {
                let namespace = secret.namespace().unwrap_or_default();
                let name = secret.name_any();
                c.secrets.changed(&namespace, &name);
                for connector in c.index.of_secret(&namespace, &name) {
                    wake(&c, &connector);
                }
            }
            Event::Init => {}
            Event::InitDone => {
                readiness.pass(ReadinessCheck::SecretsSynced);
                synced.send_replace(true);
            }
        }
    }
}

async fn control_lists(
    c: Arc<Context>,
    readiness: Arc<Readiness>,
    writer: reflector::store::Writer<GuardedList>,
    waking: mpsc::UnboundedReceiver<ObjectRef<GuardedList>>,
    synced: watch::Sender<bool>,
) {
    let reader: Store<GuardedList> = c.lists.clone();
    let events = watch(
        apis::<GuardedList>(&c.client, &c.settings.watch_namespaces),
        without_managed_fields,
        on_error(
            "user lists",
            ReadinessCheck::UserListsSynced,
            readiness.clone(),
        ),
    );
    let told = {
        let c = c.clone();
        reflector::reflector(writer, events.map(Ok)).inspect(
            move |event: &Result<_, watcher::Error>| match event {
                Ok(Event::Apply(list) | Event::InitApply(list)) => tell_users_of(list, &c),
                Ok(Event::Delete(list)) => {
                    let namespace = list.namespace().unwrap_or_default();
                    c.read_lists.forget(&namespace, &list.name_any());
                    c.written_lists.forget(&list.uid().unwrap_or_default());
                    tell_users_of(list, &c);
                }
                Ok(Event::InitDone) => {
                    readiness.pass(ReadinessCheck::UserListsSynced);
                    synced.send_replace(true);
                }
                Ok(Event::Init) | Err(_) => {}
            },
        )
    };
    let changed = told.applied_objects().predicate_filter(
        predicates::generation::<GuardedList>,
        PredicateConfig::default(),
    );
    let failures = Arc::new(std::sync::Mutex::new(Backoff::new(
        Duration::from_secs(1),
        Duration::from_mins(2),
    )));
    Controller::for_stream(changed, reader)
        .with_config(controller::Config::default().concurrency(4))
        .reconcile_on(UnboundedReceiverStream::new(waking))
        .reconcile_all_on(leadership_changes(&c))
        .run(
            |list, c| Box::pin(user_lists::reconcile(list, c)),
            move |list, error, _| {
                let wait = failures
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .next_delay();
                tracing::warn!(list = %list.name_any(), %error, again_in = ?wait, "reconcile of a list failed");
                Action::requeue(wait)
            },
            c,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

fn leadership_changes(c: &Context) -> impl Stream<Item = ()> + Send + 'static + use<> {
    WatchStream::from_changes(c.leading.clone()).map(drop)
}

/// A list changed: the connectors that refer to it, and no others, are resolved anew.
fn tell_users_of(list: &GuardedList, c: &Context) {
    for connector in c
        .index
        .of_list(&list.namespace().unwrap_or_default(), &list.name_any())
    {
        wake(c, &connector);
    }
}

fn wake(c: &Context, connector: &ObjectRef<Guarded>) {
    if let Some(uid) = &connector.extra.uid {
        c.wake_all(vec![ConnectorUid::from(uid.as_str())]);
    }
}
