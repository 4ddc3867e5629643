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

use super::access::UserListCache;
use super::connector_cache::ConnectorCache;
use super::context::{Context, GuardedUserList};
use super::leader_election::LeaderElector;
use super::reference_index::{GuardedConnector, ReferenceIndex};
use super::secret_cache::SecretCache;
use super::settings::ControllerSettings;
use super::user_lists::{self, UserListStatusCache};
use super::watches::{apis, watch, without_managed_fields};
use super::{ControllerDependencies, events::EventRecorder, finalize, orphan_gc, reconcile};
use crate::api::{SKIP_DISCONNECT_ANNOTATION, TelegramConnector, TelegramUserList};
use crate::backoff::{Backoff, jittered};
use crate::connection::BotConnections;
use crate::identity::ConnectorUid;
use crate::telemetry::Readiness;
use crate::telemetry::ReadinessCheck;

/// How many connectors are reconciled at the same time. A reconcile waits for the API server only, never for Telegram.
const CONCURRENCY: u16 = 32;
/// How often a missing CRD is looked for.
const CRD_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How long the first reconcile waits for the Secrets' watch; it needs none, but saves reading them twice.
const SECRETS_SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub(super) async fn run(
    deps: ControllerDependencies,
    changed_connectors: mpsc::UnboundedReceiver<ConnectorUid>,
    leader_sender: watch::Sender<bool>,
    leading: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let ready = stop
        .run_until_cancelled(wait_for_crds(&deps.client, &deps.settings, &deps.readiness))
        .await;
    if ready.is_none() {
        return;
    }
    let connections = Arc::new(BotConnections::new(
        deps.inbox.clone(),
        deps.observations.clone(),
        deps.metrics.clone(),
        deps.settings.connection.clone(),
        deps.settings.recheck_interval,
    ));
    let (lists, lists_writer) = reflector::store::<GuardedUserList>();
    let (requeue, requeued) = mpsc::unbounded_channel();
    let (requeue_list, requeued_lists) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        secret_cache: SecretCache::new(deps.client.clone()),
        event_recorder: EventRecorder::new(deps.client.clone(), &deps.settings.identity),
        index: Arc::new(ReferenceIndex::default()),
        connector_cache: Arc::new(ConnectorCache::default()),
        bot_ownership: super::bot_ownership::BotOwnership::default(),
        user_list_cache: UserListCache::default(),
        list_status_cache: UserListStatusCache::default(),
        connections: connections.clone(),
        client: deps.client,
        registry: deps.registry,
        observations: deps.observations,
        inbox: deps.inbox,
        telegram: deps.telegram,
        assistants: deps.assistants,
        settings: deps.settings,
        metrics: deps.metrics,
        clock: deps.clock,
        user_lists: lists,
        leading: leading.clone(),
        requeue,
    });
    // Ends after everything else, because the others are told by it whether they may.
    let election = start_election(&context, leader_sender, stop.clone());
    let (secrets_synced, secrets_are_synced) = watch::channel(false);
    let _secrets = AbortOnDropHandle::new(tokio::spawn(watch_secrets(
        context.clone(),
        deps.readiness.clone(),
        secrets_synced,
    )));
    // `Store::wait_until_ready` wakes only the one who asked last, and the lists' own controller asks it too.
    let (lists_synced, mut lists_are_synced) = watch::channel(false);
    let _lists = AbortOnDropHandle::new(tokio::spawn(run_user_list_controller(
        context.clone(),
        deps.readiness.clone(),
        lists_writer,
        requeued_lists,
        lists_synced,
    )));
    let _orphan_gc = AbortOnDropHandle::new(tokio::spawn(orphan_gc::run(
        context.clone(),
        deps.readiness.clone(),
    )));
    let connectors = async {
        // Without the lists everybody would be denied for a moment, and the status would say so.
        if lists_are_synced.wait_for(|synced| *synced).await.is_err() {
            return;
        }
        let mut synced = secrets_are_synced;
        let _ = tokio::time::timeout(SECRETS_SYNC_TIMEOUT, synced.wait_for(|s| *s)).await;
        run_connector_controller(
            context.clone(),
            deps.readiness,
            changed_connectors,
            requeued,
            requeue_list,
        )
        .await;
    };
    stop.run_until_cancelled(connectors).await;
    // Pollers end first, then the Lease goes back.
    election.await;
}

/// Begins the election, or leads from the start. What comes back ends when `stop` did its work.
fn start_election(
    context: &Arc<Context>,
    leader_sender: watch::Sender<bool>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let connections = context.connections.clone();
    let task = match context.settings.leader_election.clone() {
        Some(settings) => {
            let elector = LeaderElector::new(
                context.client.clone(),
                settings,
                &context.settings.identity,
                connections,
                context.metrics.clone(),
                leader_sender,
            );
            tokio::spawn(elector.run(stop))
        }
        None => {
            connections.open();
            context.metrics.set_leading(true);
            leader_sender.send_replace(true);
            tokio::spawn(async move {
                stop.cancelled().await;
                connections.close().await;
                leader_sender.send_replace(false);
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
async fn wait_for_crds(client: &Client, settings: &ControllerSettings, readiness: &Readiness) {
    let mut logged = false;
    loop {
        let missing = match (
            check_crd_served::<TelegramConnector>(client, settings).await,
            check_crd_served::<TelegramUserList>(client, settings).await,
        ) {
            (Ok(()), Ok(())) => {
                readiness.pass(ReadinessCheck::Crds);
                return;
            }
            (Err(why), _) | (_, Err(why)) => why,
        };
        if !std::mem::replace(&mut logged, true) {
            tracing::warn!(why = %missing, "waiting for the custom resource definitions");
        }
        readiness.fail(ReadinessCheck::Crds, missing);
        tokio::time::sleep(jittered(CRD_POLL_INTERVAL)).await;
    }
}

async fn check_crd_served<K>(client: &Client, settings: &ControllerSettings) -> Result<(), String>
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
fn reconcile_trigger<K: Resource>(object: &K) -> Option<u64> {
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

async fn run_connector_controller(
    ctx: Arc<Context>,
    readiness: Arc<Readiness>,
    changed_connectors: mpsc::UnboundedReceiver<ConnectorUid>,
    requeued: mpsc::UnboundedReceiver<ConnectorUid>,
    requeue_list: mpsc::UnboundedSender<ObjectRef<GuardedUserList>>,
) {
    let (reader, writer) = reflector::store::<GuardedConnector>();
    let events = watch(
        apis::<GuardedConnector>(&ctx.client, &ctx.settings.watch_namespaces),
        without_managed_fields,
        on_error(
            "connectors",
            ReadinessCheck::ConnectorsSynced,
            readiness.clone(),
        ),
    );
    let indexed = {
        let ctx = ctx.clone();
        reflector::reflector(writer, events.map(Ok)).inspect(move |event| {
            let Ok(event) = event else { return };
            let lists = match event {
                Event::Apply(object) | Event::InitApply(object) => {
                    ctx.connector_cache.on_watched(object.meta());
                    ctx.index.set(object)
                }
                Event::Delete(object) => finalize::on_deleted(object, &ctx),
                Event::Init => Vec::new(),
                Event::InitDone => {
                    readiness.pass(ReadinessCheck::ConnectorsSynced);
                    ctx.user_lists
                        .state()
                        .iter()
                        .map(|l| (l.namespace().unwrap_or_default(), l.name_any()))
                        .collect()
                }
            };
            for (namespace, name) in lists {
                // The lists' controller is gone only when the process ends.
                let _ = requeue_list.send(ObjectRef::new(&name).within(&namespace));
            }
        })
    };
    let changed = indexed.applied_objects().predicate_filter(
        reconcile_trigger::<GuardedConnector>,
        PredicateConfig::default(),
    );
    let requeues = {
        let index = ctx.index.clone();
        futures::stream::select(
            UnboundedReceiverStream::new(changed_connectors),
            UnboundedReceiverStream::new(requeued),
        )
        .filter_map(move |uid| std::future::ready(index.object_ref(&uid)))
    };
    Controller::for_stream(changed, reader)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(requeues)
        .reconcile_all_on(WatchStream::from_changes(ctx.leading.clone()).map(drop))
        .run(
            |object, ctx| Box::pin(reconcile::reconcile(object, ctx)),
            |object, error, ctx| {
                let connector_ref = reconcile::connector_ref_of(object.meta());
                let wait = ctx.connector_cache.with_entry(&connector_ref.uid, |m| m.backoff.next_delay());
                tracing::warn!(namespace = %connector_ref.namespace, connector = %connector_ref.name, %error, again_in = ?wait, "reconcile failed");
                Action::requeue(wait)
            },
            ctx,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Secrets: metadata only. A change voids what was read and wakes those who refer to it.
async fn watch_secrets(ctx: Arc<Context>, readiness: Arc<Readiness>, synced: watch::Sender<bool>) {
    let events = watch(
        apis::<PartialObjectMeta<Secret>>(&ctx.client, &ctx.settings.watch_namespaces),
        without_managed_fields,
        on_error("secrets", ReadinessCheck::SecretsSynced, readiness.clone()),
    );
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret) => {
                let namespace = secret.namespace().unwrap_or_default();
                let name = secret.name_any();
                ctx.secret_cache.invalidate(&namespace, &name);
                for connector in ctx.index.connectors_using_secret(&namespace, &name) {
                    requeue(&ctx, &connector);
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

async fn run_user_list_controller(
    ctx: Arc<Context>,
    readiness: Arc<Readiness>,
    writer: reflector::store::Writer<GuardedUserList>,
    requeued: mpsc::UnboundedReceiver<ObjectRef<GuardedUserList>>,
    synced: watch::Sender<bool>,
) {
    let reader: Store<GuardedUserList> = ctx.user_lists.clone();
    let events = watch(
        apis::<GuardedUserList>(&ctx.client, &ctx.settings.watch_namespaces),
        without_managed_fields,
        on_error(
            "user lists",
            ReadinessCheck::UserListsSynced,
            readiness.clone(),
        ),
    );
    let observed = {
        let ctx = ctx.clone();
        reflector::reflector(writer, events.map(Ok)).inspect(
            move |event: &Result<_, watcher::Error>| match event {
                Ok(Event::Apply(list) | Event::InitApply(list)) => {
                    requeue_connectors_of(list, &ctx)
                }
                Ok(Event::Delete(list)) => {
                    let namespace = list.namespace().unwrap_or_default();
                    ctx.user_list_cache.remove(&namespace, &list.name_any());
                    ctx.list_status_cache
                        .remove(&list.uid().unwrap_or_default());
                    requeue_connectors_of(list, &ctx);
                }
                Ok(Event::InitDone) => {
                    readiness.pass(ReadinessCheck::UserListsSynced);
                    synced.send_replace(true);
                }
                Ok(Event::Init) | Err(_) => {}
            },
        )
    };
    let changed = observed.applied_objects().predicate_filter(
        predicates::generation::<GuardedUserList>,
        PredicateConfig::default(),
    );
    let failures = Arc::new(std::sync::Mutex::new(Backoff::new(
        Duration::from_secs(1),
        Duration::from_mins(2),
    )));
    Controller::for_stream(changed, reader)
        .with_config(controller::Config::default().concurrency(4))
        .reconcile_on(UnboundedReceiverStream::new(requeued))
        .reconcile_all_on(leadership_changes(&ctx))
        .run(
            |list, ctx| Box::pin(user_lists::reconcile(list, ctx)),
            move |list, error, _| {
                let wait = failures
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .next_delay();
                tracing::warn!(list = %list.name_any(), %error, again_in = ?wait, "reconcile of a list failed");
                Action::requeue(wait)
            },
            ctx,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

fn leadership_changes(ctx: &Context) -> impl Stream<Item = ()> + Send + 'static + use<> {
    WatchStream::from_changes(ctx.leading.clone()).map(drop)
}

/// A list changed: the connectors that refer to it, and no others, are resolved anew.
fn requeue_connectors_of(list: &GuardedUserList, ctx: &Context) {
    for connector in ctx
        .index
        .connectors_using_list(&list.namespace().unwrap_or_default(), &list.name_any())
    {
        requeue(ctx, &connector);
    }
}

fn requeue(ctx: &Context, connector: &ObjectRef<GuardedConnector>) {
    if let Some(uid) = &connector.extra.uid {
        ctx.requeue_all(vec![ConnectorUid::from(uid.as_str())]);
    }
}
