//! What a reconcile is going to do: plain values that `decide` fills and `apply` carries out.

use std::sync::Arc;
use std::time::Duration;

use super::connector_cache::RememberedBot;
use super::events::Event;
use crate::api::TelegramConnectorStatus;
use crate::api::conditions::Reason;
use crate::connection::ConnectionGoal;
use crate::observation::ObservedFacts;
use crate::registry::ResolvedConnector;
use crate::telegram::Bot;
use crate::telegram::bot::BotProfile;

/// This process's part. A leader writes the status, and connects the bots unless shards say who does; a follower publishes what the leader's
/// status vouches for, so that it can serve webhooks and messages, and writes nothing but events of what it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It holds the Lease, or there is no election.
    Leader,
    /// Another process leads.
    Follower,
}

/// Everything that one reconcile does.
pub(super) struct Plan {
    pub(super) finalizer: FinalizerChange,
    /// The connection to Telegram.
    pub(super) connection: ConnectionPlan,
    /// What the pipeline and the webhook server see of the connector.
    pub(super) registry: RegistryPlan,
    /// A webhook that is given up.
    pub(super) webhook_to_delete: Option<WebhookToDelete>,
    /// The bot to remember for the next reconcile; `None`: as it was.
    pub(super) remembered: Option<RememberedBot>,
    /// What is told to a leader that may be another replica.
    pub(super) shared: SharePlan,
    /// Events are written of what was noticed here.
    pub(super) publish_notices: bool,
    /// Another token came: what the status says of the connection is void until it is written again.
    pub(super) connection_changed: bool,
    /// The connector is deleted and nothing is left to wait for: delete what the store holds of it, then remove the finalizer.
    pub(super) delete_data: bool,
    pub(super) status: StatusPlan,
    /// When to reconcile again by itself; `None`: when something changes.
    pub(super) requeue: Option<Duration>,
}

/// What happens to our finalizer before the connection changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FinalizerChange {
    /// It stays as it is.
    Keep,
    /// It is set.
    Add,
    /// It is removed.
    Remove,
}

/// What happens to the connection.
pub(super) enum ConnectionPlan {
    /// It stays as it is.
    Keep,
    /// Another process has it, of this bot; one that is here, of a bot before, ends.
    Elsewhere,
    /// It ends, and so does the claim on the bot.
    Disconnect,
    /// There is one, of this bot, that goes this far.
    Ensure {
        bot: Bot,
        /// Who the bot is, if Telegram has said so.
        profile: Option<BotProfile>,
        /// How far.
        goal: ConnectionGoal,
    },
}

/// What happens to the observations that are shared between replicas.
pub(super) enum SharePlan {
    /// Nothing: the bot is not connected here, or too little is seen yet.
    Nothing,
    /// The connection has ended.
    Disconnected,
    /// This is seen.
    Facts(Bot, i64, Box<ObservedFacts>),
}

/// What happens to the registry.
pub(super) enum RegistryPlan {
    /// The connector handles messages, in this form.
    Publish(Arc<ResolvedConnector>),
    /// It handles none.
    Withdraw,
}

/// A bot whose webhook is deleted, beside the reconcile.
pub(super) struct WebhookToDelete {
    pub(super) bot: Bot,
    /// The connector is being deleted and waits for it.
    pub(super) deletion_waits: bool,
}

/// What happens to the status.
pub(super) enum StatusPlan {
    /// Nothing: this process does not write it, or nothing can be said.
    Skip,
    /// Something is missing that may come in a moment: wait, and write once instead of twice.
    Wait,
    /// This is the status.
    Report(Box<StatusReport>),
}

/// A status, and what goes with it.
pub(super) struct StatusReport {
    pub(super) status: TelegramConnectorStatus,
    /// The status as it is.
    pub(super) previous: Option<TelegramConnectorStatus>,
    /// The reason of `Ready`, for the metric.
    pub(super) ready_reason: Option<Reason>,
    /// Nothing is missing in it.
    pub(super) complete: bool,
    /// It says something new.
    pub(super) changed: bool,
    /// The object has another status than `previous`: somebody else wrote it.
    pub(super) altered: bool,
    /// The events that the change is worth.
    pub(super) events: Vec<Event>,
}
