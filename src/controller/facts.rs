//! Stage 2 of a reconcile: one snapshot of all that this process knows and that may change meanwhile, so that `decide` sees one moment.

use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;

use super::bot_ownership::BotOwner;
use super::connector_cache::{RememberedBot, WebhookDeletion};
use super::connector_ref::connector_ref_of;
use super::context::Context;
use super::dereference::{Dereferenced, has_finalizer};
use super::plan::Role;
use super::reference_index::GuardedConnector;
use crate::api::TelegramConnectorStatus;
use crate::api::connector::ConnectionMode;
use crate::connection::ConnectionSettings;
use crate::connection::webhook::webhook_url;
use crate::identity::ConnectorRef;
use crate::observation::{self, AssistantFact, IdentityFact};
use crate::store::shards::Shard;
use crate::telegram::Bot;

/// What is known of one connector at one moment.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and `decide` names them"
)]
pub(super) struct Facts {
    /// Its status: to the leader what it wrote last or found first, to a follower what the watch shows.
    pub(super) previous: Option<TelegramConnectorStatus>,
    /// The object has another status than `previous`: somebody else wrote it.
    pub(super) status_altered: bool,
    /// What connection and pipeline saw. What they saw of another bot or token is left out.
    pub(super) observed: observation::ObservedFacts,
    /// This process connects the bot: it leads, or holds the bot's shard where shards are shared.
    pub(super) connects: bool,
    /// Whose the bot is; `None` where no claim was made.
    pub(super) owner: Option<BotOwner>,
    /// The bot of the last reconcile.
    pub(super) remembered: RememberedBot,
    /// Our finalizer is there.
    pub(super) finalizer_present: bool,
    /// Where a deletion stands.
    pub(super) webhook_deletion: WebhookDeletion,
    /// Another token came since the status was written last.
    pub(super) connection_changed: bool,
    /// For how long something has been missing for a complete status.
    pub(super) incomplete_for: Duration,
    /// How updates come.
    pub(super) mode: ConnectionMode,
    /// Where the connector's webhook leads; `None` in polling mode.
    pub(super) webhook_url: Option<String>,
    /// The time.
    pub(super) now: Timestamp,
}

impl Facts {
    /// Takes the snapshot. The claim on the bot, of the leader and of who connects the bot, is made here, because the rest depends on whose the
    /// bot is; connectors whose claim it affects are reconciled again.
    pub(super) fn take(
        object: &GuardedConnector,
        dereferenced: &Dereferenced,
        role: Role,
        ctx: &Context,
    ) -> Self {
        let metadata = object.meta();
        let connector_ref = connector_ref_of(metadata);
        let watched = object.0.as_ref().ok().and_then(|c| c.status.as_ref());
        let (previous, status_altered) = match role {
            Role::Leader => ctx.caches.statuses.as_leader(metadata, watched),
            Role::Follower => (ctx.caches.statuses.as_follower(metadata, watched), false),
        };
        let Sighting {
            observed,
            connects,
            owner,
        } = Sighting::take(object, dereferenced, role, ctx);
        let (mode, webhook_url) = match &ctx.settings.connection {
            ConnectionSettings::Polling => (ConnectionMode::Polling, None),
            ConnectionSettings::Webhook(webhook) => {
                let url = webhook_url(&webhook.public_url, &connector_ref.uid);
                (ConnectionMode::Webhook, Some(url.to_string()))
            }
        };
        let finalizer_watched = has_finalizer(object);
        ctx.caches
            .connectors
            .with_entry(&connector_ref.uid, |entry| Self {
                previous,
                status_altered,
                observed,
                connects,
                owner,
                remembered: entry.remembered.clone(),
                finalizer_present: match dereferenced {
                    Dereferenced::Deleted { .. } => finalizer_watched,
                    _ => entry.has_finalizer(metadata),
                },
                webhook_deletion: entry.webhook_deletion,
                connection_changed: entry.connection_changed,
                incomplete_for: entry
                    .incomplete_since
                    .map_or(Duration::ZERO, |s| s.elapsed()),
                mode,
                webhook_url,
                now: ctx.clock.now(),
            })
    }
}

/// What is seen of a connector's bot from this process.
struct Sighting {
    observed: observation::ObservedFacts,
    connects: bool,
    owner: Option<BotOwner>,
}

impl Sighting {
    fn take(
        object: &GuardedConnector,
        dereferenced: &Dereferenced,
        role: Role,
        ctx: &Context,
    ) -> Self {
        let metadata = object.meta();
        let connector_ref = connector_ref_of(metadata);
        let mut sighting = Self {
            observed: ctx.outputs.observations.facts(&connector_ref.uid),
            connects: role == Role::Leader,
            owner: None,
        };
        if let (Dereferenced::Resolved(resolved), Ok(connector)) = (dereferenced, &object.0)
            && let Some(bot) = resolved.bot.as_ref()
        {
            remember_shard(&connector_ref, bot, ctx);
            sighting.connects = ctx.connects(bot.id(), role);
            let generation = metadata.generation.unwrap_or_default();
            sighting.leave_what_is_about(bot, &connector_ref, generation, ctx);
            if (sighting.connects || role == Role::Leader) && !connector.spec.is_suspended() {
                let created = metadata.creation_timestamp.as_ref();
                let created = created.map_or(Timestamp::MAX, |t| t.0);
                sighting.owner = claim_bot(&connector_ref, created, bot, &sighting.observed, ctx);
            }
        }
        sighting
    }

    /// Leaves of the observations what is about this bot and token: what its connection here saw, or else what another replica's did.
    fn leave_what_is_about(
        &mut self,
        bot: &Bot,
        connector_ref: &ConnectorRef,
        generation: i64,
        ctx: &Context,
    ) {
        let uid = &connector_ref.uid;
        if self.connects && ctx.outputs.connections.has_task_for(uid, bot) {
            return;
        }
        self.observed.identity = None;
        self.observed.connection = None;
        let sharing = ctx.outputs.sharing.as_ref().filter(|_| !self.connects);
        let Some(received) = sharing.and_then(|s| s.received_facts(uid, bot, generation)) else {
            return;
        };
        self.observed.identity = received.identity;
        self.observed.connection = received.connection;
        // Nearly always the replica that polls a bot answers its messages too.
        if received.assistant != AssistantFact::Unknown {
            self.observed.assistant = received.assistant;
        }
        if let Some(reached) = received.day_limits {
            match &mut self.observed.day_limits {
                Some(own) => drop(own.merge(reached)),
                none => *none = Some(reached),
            }
        }
        if received.usage.is_some() {
            self.observed.usage = received.usage;
        }
        if !received.moved_groups.is_empty() {
            self.observed.moved_groups = received.moved_groups;
        }
    }
}

/// Remembers the shard, so that the connector is reconciled when this process takes it. This comes before the question whether it has it.
fn remember_shard(connector_ref: &ConnectorRef, bot: &Bot, ctx: &Context) {
    if ctx.outputs.sharing.is_some() {
        let shard = Shard::of(bot.id());
        ctx.caches
            .connectors
            .with_entry(&connector_ref.uid, |entry| entry.shard = Some(shard));
    }
}

/// Claims the bot, or gives up the claim on one whose token Telegram refuses.
fn claim_bot(
    connector_ref: &ConnectorRef,
    created: Timestamp,
    bot: &Bot,
    observed: &observation::ObservedFacts,
    ctx: &Context,
) -> Option<BotOwner> {
    let ownership = &ctx.outputs.ownership;
    let accepted = match &observed.identity {
        Some(IdentityFact::Refused { .. }) => {
            ctx.requeue_all(ownership.release(&connector_ref.uid));
            return None;
        }
        Some(IdentityFact::Accepted(_)) => true,
        _ => false,
    };
    let (owner, affected) = ownership.claim(connector_ref, created, bot.id(), accepted);
    ctx.requeue_all(affected);
    Some(owner)
}
