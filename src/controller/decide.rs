//! Stage 3 of a reconcile: from the object, what it refers to and what is known, to what is to be done. Pure: no I/O, no lock, no clock.

use std::sync::Arc;
use std::time::Duration;

use super::bot_ownership::BotOwner;
use super::connector_cache::{RememberedBot, WebhookDeletion};
use super::connector_ref::connector_ref_of;
use super::dereference::{Dereferenced, Resolved, skips_disconnect};
use super::events;
use super::facts::Facts;
use super::plan::{
    ConnectionPlan, FinalizerChange, Plan, RegistryPlan, Role, SharePlan, StatusPlan, StatusReport,
    WebhookToDelete,
};
use super::policies;
use super::reference_index::GuardedConnector;
use super::status::{self, OtherConnector, StatusInputs, TokenState};
use crate::api::TelegramConnector;
use crate::api::connector::{ConnectionMode, SendingSpec};
use crate::connection::ConnectionGoal;
use crate::identity::ConnectorRef;
use crate::observation::{self, ConnectionFact, IdentityFact};
use crate::registry::{DayLimits, ResolvedConnector};
use crate::telegram::Bot;
use crate::telegram::bot::BotProfile;
use jiff::Timestamp;
use kube::Resource;

#[cfg(test)]
mod tests;

/// How long a status may be missing something before it is written all the same: connecting takes less, and one write is saved.
const INCOMPLETE_STATUS_DELAY: Duration = Duration::from_secs(2);

/// Decides what one reconcile does.
pub(super) fn decide(
    object: &GuardedConnector,
    dereferenced: &Dereferenced,
    facts: &Facts,
    role: Role,
) -> Plan {
    match (dereferenced, &object.0) {
        (Dereferenced::Deleted { bot }, _) => decide_deleted(object, bot.as_ref(), facts, role),
        (Dereferenced::Resolved(resolved), Ok(connector)) => {
            let connector_ref = connector_ref_of(object.meta());
            decide_resolved(connector, &connector_ref, resolved, facts, role)
        }
        (Dereferenced::Unreadable, _) | (Dereferenced::Resolved(_), Err(_)) => disconnected(),
    }
}

/// Nothing runs for the connector, and nothing else changes.
fn disconnected() -> Plan {
    Plan {
        finalizer: FinalizerChange::Keep,
        connection: ConnectionPlan::Disconnect,
        registry: RegistryPlan::Withdraw,
        webhook_to_delete: None,
        remembered: None,
        shared: SharePlan::Disconnected,
        publish_notices: false,
        connection_changed: false,
        delete_data: false,
        status: StatusPlan::Skip,
        requeue: None,
    }
}

/// A deleted connector disconnects; the leader deletes its webhook first and its data then, and lets it go.
fn decide_deleted(
    object: &GuardedConnector,
    dereferenced_bot: Option<&Bot>,
    facts: &Facts,
    role: Role,
) -> Plan {
    let mut plan = disconnected();
    if role == Role::Follower || !facts.finalizer_present {
        return plan;
    }
    let bot = facts.remembered.bot.as_ref().or(dereferenced_bot);
    match (facts.webhook_deletion, bot) {
        _ if skips_disconnect(object) => plan.delete_data = true,
        (WebhookDeletion::Running, _) => {}
        (WebhookDeletion::NotStarted, Some(bot)) => {
            plan.webhook_to_delete = Some(WebhookToDelete {
                bot: bot.clone(),
                deletion_waits: true,
            });
        }
        (WebhookDeletion::Done, _) | (WebhookDeletion::NotStarted, None) => plan.delete_data = true,
    }
    plan
}

fn decide_resolved(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    resolved: &Resolved,
    facts: &Facts,
    role: Role,
) -> Plan {
    let suspended = connector.spec.is_suspended();
    let token = decide_token(&resolved.token, connector_ref, facts.owner.as_ref());
    let connection = decide_connection(resolved, suspended, facts);
    let (remembered, replaced) = decide_remembered(resolved.bot.as_ref(), suspended, facts, role);
    let connection_changed = facts.connection_changed || replaced.connection;
    let shared = decide_shared(connector, resolved, &connection, facts);
    let observed = observed_after(&connection, facts);
    let registry = match (&connection, publishable_bot(resolved, &token, facts, role)) {
        (ConnectionPlan::Disconnect, _) | (_, None) => RegistryPlan::Withdraw,
        (_, Some(bot)) => RegistryPlan::Publish(resolve(connector, connector_ref, resolved, &bot)),
    };
    // Who is let in needs no reconcile when an entry ends; the numbers in the status do.
    let next_end = resolved.access.next_end.filter(|_| role == Role::Leader);
    let next_end = next_end.map(|end| wait_until(end, facts.now));
    let day_limits = policies::day_limits(&connector.spec);
    let (status, requeue) = match role {
        Role::Follower => (StatusPlan::Skip, None),
        Role::Leader => {
            let limits = day_limits.as_ref();
            let seen = (&observed, connection_changed);
            let inputs = status_inputs(connector, resolved, &token, limits, seen, facts);
            decide_status(&inputs, facts)
        }
    };
    let changes_in = observed
        .changes_in
        .filter(|_| role == Role::Leader || facts.connects);
    Plan {
        finalizer: decide_finalizer(resolved.bot.is_some(), suspended, facts, role),
        connection,
        registry,
        webhook_to_delete: decide_webhook(
            resolved.bot.as_ref(),
            suspended,
            replaced.bot,
            facts,
            role,
        ),
        remembered,
        shared,
        publish_notices: true,
        connection_changed,
        delete_data: false,
        status,
        requeue: [requeue, changes_in, next_end].into_iter().flatten().min(),
    }
}

/// What the status is made of. `observed` holds what was seen, and whether the connection is another one than when the status was written.
fn status_inputs<'a>(
    connector: &'a TelegramConnector,
    resolved: &'a Resolved,
    token: &'a TokenState,
    day_limits: Option<&'a DayLimits>,
    observed: (&'a observation::ObservedFacts, bool),
    facts: &'a Facts,
) -> StatusInputs<'a> {
    let spec = &connector.spec;
    StatusInputs {
        generation: connector.metadata.generation.unwrap_or_default(),
        suspended: spec.is_suspended(),
        mode: facts.mode,
        webhook_url: decide_webhook_url(token, spec.is_suspended(), facts),
        token,
        access: &resolved.access,
        assistant: &resolved.assistant,
        session: policies::session_policy(spec).duration,
        needs_all_group_messages: policies::needs_all_group_messages(spec),
        day_limits,
        unknown_time_zone: policies::unknown_time_zone(spec),
        facts: observed.0,
        connection_changed: observed.1,
        previous: facts.previous.as_ref(),
        now: facts.now,
    }
}

/// The longest that a reconcile is put off; a timer of years is none.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// How long until `then`, at most a day: who wakes before looks again.
pub(super) fn wait_until(then: Timestamp, now: Timestamp) -> Duration {
    let wait = Duration::try_from(then.duration_since(now)).unwrap_or_default();
    wait.min(LONGEST_WAIT)
}

/// What is still known once the connection is as planned: a connection that ends takes along what it saw.
fn observed_after(connection: &ConnectionPlan, facts: &Facts) -> observation::ObservedFacts {
    let mut observed = facts.observed.clone();
    if matches!(connection, ConnectionPlan::Disconnect) {
        observed.identity = None;
        observed.connection = None;
    }
    observed
}

/// The token's state, with the older connector that holds the bot, if one does.
fn decide_token(
    token: &TokenState,
    connector_ref: &ConnectorRef,
    owner: Option<&BotOwner>,
) -> TokenState {
    let mut token = token.clone();
    if let (Some(BotOwner::OlderConnector(other)), TokenState::Given { duplicate_of, .. }) =
        (owner, &mut token)
    {
        *duplicate_of = Some(if other.namespace == connector_ref.namespace {
            OtherConnector::Named(other.name.to_string())
        } else {
            OtherConnector::Elsewhere
        });
    }
    token
}

/// In webhook mode the finalizer is there before a webhook is registered. In polling mode it is not ours to set, and one that is left from
/// webhook mode goes with the first completed poll: Telegram answers none while a webhook is registered.
fn decide_finalizer(has_bot: bool, suspended: bool, facts: &Facts, role: Role) -> FinalizerChange {
    if role == Role::Follower || !has_bot {
        return FinalizerChange::Keep;
    }
    let present = facts.finalizer_present;
    let polled = matches!(
        facts.observed.connection,
        Some(ConnectionFact::PollCompleted(_))
    );
    let wanted = match facts.mode {
        ConnectionMode::Webhook => present || !suspended,
        ConnectionMode::Polling => present && !polled,
    };
    match (present, wanted) {
        (false, true) => FinalizerChange::Add,
        (true, false) => FinalizerChange::Remove,
        _ => FinalizerChange::Keep,
    }
}

/// Only who may connect does: fully if the bot is this connector's, else just far enough to learn whose token it is. A refused token leaves
/// the connection as it is, until another token comes.
fn decide_connection(resolved: &Resolved, suspended: bool, facts: &Facts) -> ConnectionPlan {
    let Some(bot) = resolved.bot.as_ref().filter(|_| !suspended) else {
        return ConnectionPlan::Disconnect;
    };
    if !facts.connects {
        return ConnectionPlan::Elsewhere;
    }
    if matches!(facts.observed.identity, Some(IdentityFact::Refused { .. })) {
        return ConnectionPlan::Keep;
    }
    ConnectionPlan::Ensure {
        bot: bot.clone(),
        profile: accepted_profile(&facts.observed).cloned(),
        goal: match facts.owner {
            Some(BotOwner::ThisConnector) => ConnectionGoal::Connect,
            _ => ConnectionGoal::Identify,
        },
    }
}

/// What the leader is told: nothing before there is something to say of the connection, so that a bot that moves to another replica keeps its
/// conditions.
fn decide_shared(
    connector: &TelegramConnector,
    resolved: &Resolved,
    connection: &ConnectionPlan,
    facts: &Facts,
) -> SharePlan {
    let observed = &facts.observed;
    let is_enough = match (&observed.identity, &facts.owner) {
        (None, _) => false,
        (Some(IdentityFact::Accepted(_)), Some(BotOwner::ThisConnector)) => {
            observed.connection.is_some()
        }
        (Some(_), _) => true,
    };
    match (connection, &resolved.bot) {
        (ConnectionPlan::Disconnect, _) => SharePlan::Disconnected,
        (_, Some(bot)) if facts.connects && is_enough => SharePlan::Facts(
            bot.clone(),
            connector.metadata.generation.unwrap_or_default(),
            Box::new(observed.clone()),
        ),
        _ => SharePlan::Nothing,
    }
}

/// What another bot or token makes void.
struct Replaced {
    /// What was seen of the connection.
    connection: bool,
    /// The bot that was there before, if another token took its place.
    bot: Option<Bot>,
}

/// The bot to remember. While there is no token, the last bot is remembered, so that its webhook can be deleted when another one comes.
fn decide_remembered(
    bot: Option<&Bot>,
    suspended: bool,
    facts: &Facts,
    role: Role,
) -> (Option<RememberedBot>, Replaced) {
    let nothing = Replaced {
        connection: false,
        bot: None,
    };
    let before = &facts.remembered;
    let remember = |bot: Option<&Bot>, has_token| {
        Some(RememberedBot {
            bot: bot.cloned(),
            has_token,
        })
    };
    match (bot, before.bot.as_ref()) {
        (None, old) => {
            let replaced = Replaced {
                connection: before.has_token,
                bot: None,
            };
            (remember(old, false), replaced)
        }
        (Some(_), _) if suspended || role == Role::Follower => (None, nothing),
        (Some(new), Some(old)) if old.is_same(new) => (remember(Some(old), true), nothing),
        (Some(new), old) => {
            let replaced = Replaced {
                connection: before.has_token,
                bot: old.cloned(),
            };
            (remember(Some(new), true), replaced)
        }
    }
}

/// A webhook is given up by suspension, and by a token of another bot.
fn decide_webhook(
    bot: Option<&Bot>,
    suspended: bool,
    replaced: Option<Bot>,
    facts: &Facts,
    role: Role,
) -> Option<WebhookToDelete> {
    let bot = bot?;
    let given_up = if suspended {
        let registered = facts.previous.as_ref().is_some_and(|p| p.webhook.is_some());
        (role == Role::Leader && registered).then(|| bot.clone())
    } else {
        replaced.filter(|old| old.id() != bot.id() && facts.mode == ConnectionMode::Webhook)
    };
    given_up.map(|bot| WebhookToDelete {
        bot,
        deletion_waits: false,
    })
}

/// The bot under which messages may be handled, with its names: the bot is this connector's, Telegram has not refused the token, and its
/// username is known, now or from the status. A follower that does not connect the bot takes the leader's word in the status.
fn publishable_bot<'a>(
    resolved: &'a Resolved,
    token: &TokenState,
    facts: &'a Facts,
    role: Role,
) -> Option<PublishableBot<'a>> {
    let bot = resolved.bot.as_ref()?;
    let previous = facts.previous.as_ref();
    let vouched = || previous.is_some_and(status::vouches_for_token);
    let duplicate = !matches!(
        token,
        TokenState::Given {
            duplicate_of: None,
            ..
        }
    );
    let refused = matches!(facts.observed.identity, Some(IdentityFact::Refused { .. }));
    let sees = role == Role::Leader || facts.connects;
    if duplicate || refused || (!sees && !vouched()) {
        return None;
    }
    let seen = accepted_profile(&facts.observed)
        .filter(|_| sees)
        .map(|p| (p.username.as_str(), p.name.as_str()));
    let reported = || {
        previous
            .and_then(|p| p.bot.as_ref())
            .filter(|b| b.id == bot.id().0)
            .map(|b| (b.username.as_str(), b.name.as_str()))
    };
    let (username, name) = seen.or_else(reported)?;
    Some(PublishableBot {
        bot,
        username,
        name,
    })
}

/// A bot under which messages may be handled, and how it is called.
struct PublishableBot<'a> {
    bot: &'a Bot,
    username: &'a str,
    name: &'a str,
}

fn accepted_profile(observed: &observation::ObservedFacts) -> Option<&BotProfile> {
    match &observed.identity {
        Some(IdentityFact::Accepted(profile)) => Some(profile),
        _ => None,
    }
}

/// The connector as the pipeline sees it.
fn resolve(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    resolved: &Resolved,
    bot: &PublishableBot<'_>,
) -> Arc<ResolvedConnector> {
    let spec = &connector.spec;
    Arc::new(ResolvedConnector {
        connector_ref: connector_ref.clone(),
        generation: connector.metadata.generation.unwrap_or_default(),
        bot: bot.bot.clone(),
        bot_username: bot.username.into(),
        bot_name: bot.name.into(),
        display_name: spec.display_name.as_deref().map(Into::into),
        access: resolved.policy.clone(),
        save_denied_conversations: spec.access.save_denied_conversations.unwrap_or(false),
        denied_reply: policies::denied_reply(spec),
        session: policies::session_policy(spec),
        answers: policies::answer_policy(spec),
        groups: policies::group_policy(spec),
        greeting: spec.greeting.as_deref().map(Into::into),
        messages_per_minute: spec.messages_per_minute(),
        day_limits: policies::day_limits(spec),
        concurrency: spec.concurrency(),
        assistant: resolved.built_assistant.clone(),
        transcription: resolved.transcription.clone(),
        speech: resolved.speech.clone(),
        approvals: resolved.approvals.clone(),
        requests: resolved.requests.clone(),
        files: policies::file_policy(spec, resolved.extraction.clone()),
        sending_per_minute: spec.sending.as_ref().map(SendingSpec::per_minute),
        sign_in: resolved.sign_in.clone(),
    })
}

/// The webhook URL in the status: only where this connector has a webhook, or is about to.
fn decide_webhook_url(token: &TokenState, suspended: bool, facts: &Facts) -> Option<String> {
    let owns_bot = matches!(
        token,
        TokenState::Given {
            duplicate_of: None,
            ..
        }
    );
    facts.webhook_url.clone().filter(|_| owns_bot && !suspended)
}

/// The status, or a moment's wait for what is missing in it.
fn decide_status(inputs: &StatusInputs<'_>, facts: &Facts) -> (StatusPlan, Option<Duration>) {
    let complete = inputs.is_complete();
    if !complete && facts.incomplete_for < INCOMPLETE_STATUS_DELAY {
        let left = INCOMPLETE_STATUS_DELAY.saturating_sub(facts.incomplete_for);
        return (StatusPlan::Wait, Some(left));
    }
    let status = inputs.status();
    let changed = inputs
        .previous
        .is_none_or(|p| !status::is_same_status(p, &status));
    let report = StatusReport {
        ready_reason: status::ready_reason(&status),
        complete,
        changed,
        altered: facts.status_altered,
        events: if changed {
            events::transition_events(inputs.previous, &status)
        } else {
            Vec::new()
        },
        previous: inputs.previous.cloned(),
        status,
    };
    // A limit of the day ends by itself; until then nobody has to see anything.
    (StatusPlan::Report(Box::new(report)), inputs.limits_end_in())
}
