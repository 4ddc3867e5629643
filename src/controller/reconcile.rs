//! One reconcile: resolve, publish, connect, and write down what was found. Never waits for Telegram or a message.
//!
//! A leader does all of it. A follower resolves and publishes, so that it can serve webhooks and messages, and writes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::ObjectMeta;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::access::{self, Lookup};
use super::claims::Owner;
use super::context::Context;
use super::index::Guarded;
use super::memory::{BuiltAssistant, Disconnection, Finalizer};
use super::settings::ConnectionSettings;
use super::status::{self, AssistantState, Inputs, OtherConnector, TokenState};
use super::{events, spec, writes};
use crate::api::conditions::types;
use crate::api::connector::{DEFAULT_API_KEY, DEFAULT_TOKEN_KEY};
use crate::api::{
    FINALIZER, SKIP_DISCONNECT_ANNOTATION, TelegramConnector, TelegramConnectorStatus,
};
use crate::connection::Reach;
use crate::connection::webhook::webhook_url;
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::observation::IdentityFact;
use crate::registry::ResolvedConnector;
use crate::telegram::bot::BotProfile;
use crate::telegram::{Bot, BotToken};

/// A reconcile that could not be done. Causes that lie in the spec, a Secret or a list are no errors: they are in the status.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconcileError {
    /// The API server did not do as asked.
    #[error("{doing}: {source}")]
    Kubernetes {
        /// What was tried.
        doing: &'static str,
        /// Its answer.
        source: kube::Error,
    },
    /// The store did not do as asked.
    #[error("ending a deleted connector's sessions: {0}")]
    Store(#[from] crate::store::StoreError),
    /// The store did not answer.
    #[error("ending a deleted connector's sessions: the store does not answer")]
    StoreSilent,
}

impl ReconcileError {
    /// For metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Kubernetes {
                source: kube::Error::Api(status),
                ..
            } => match status.code {
                409 => "conflict",
                403 => "forbidden",
                404 => "not_found",
                400..=499 => "refused",
                _ => "server_error",
            },
            Self::Kubernetes { .. } => "api_server_unreachable",
            Self::Store(_) | Self::StoreSilent => "store",
        }
    }
}

fn doing(doing: &'static str) -> impl FnOnce(kube::Error) -> ReconcileError {
    move |source| ReconcileError::Kubernetes { doing, source }
}

/// How long a status may be missing something before it is written all the same.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a deletion tries to withdraw a webhook.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(15);
/// How long a deletion insists on ending the sessions, counted from the deletion.
const FORGET_WITHIN: i64 = 20;

/// Who a connector is.
pub(super) fn identify(metadata: &ObjectMeta) -> ConnectorRef {
    ConnectorRef {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
        uid: ConnectorUid::from(metadata.uid.as_deref().unwrap_or_default()),
    }
}

/// Reconciles one connector.
///
/// # Errors
/// [`ReconcileError`]; tried again with a back-off.
pub(super) async fn reconcile(
    object: Arc<Guarded>,
    c: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let me = identify(object.meta());
    let result = one(&object, &me, &c).await;
    let label = match &result {
        Ok(_) => {
            c.memories.with(&me.uid, |m| m.failures.reset());
            "ok"
        }
        Err(error) => error.label(),
    };
    c.metrics.reconciled("connector", label, began.elapsed());
    result
}

async fn one(object: &Guarded, me: &ConnectorRef, c: &Context) -> Result<Action, ReconcileError> {
    if object.meta().deletion_timestamp.is_some() {
        return delete(object, me, c).await;
    }
    match &object.0 {
        Ok(connector) => resolve_and_connect(connector, me, c).await,
        Err(unreadable) => {
            let told = c.memories.with(&me.uid, |m| {
                m.unreadable.replace(unreadable.error.clone()) == Some(unreadable.error.clone())
            });
            if !told {
                tracing::error!(namespace = %me.namespace, connector = %me.name, error = %unreadable.error,
                    "the connector cannot be read and stays disconnected; correct it and apply it again");
            }
            rest(me, c).await;
            Ok(Action::await_change())
        }
    }
}

/// Ends everything that runs for a connector in this process.
async fn rest(me: &ConnectorRef, c: &Context) {
    c.registry.withdraw(&me.uid);
    c.connections.stop(&me.uid).await;
    c.wake_all(c.claims.release(&me.uid));
}

async fn resolve_and_connect(
    connector: &TelegramConnector,
    me: &ConnectorRef,
    c: &Context,
) -> Result<Action, ReconcileError> {
    let spec = &connector.spec;
    let leading = c.leads();
    let previous = c.memories.with(&me.uid, |m| {
        m.status(&connector.metadata, connector.status.as_ref())
    });

    let token = c
        .secrets
        .value(&me.namespace, &spec.bot_token_secret_ref, DEFAULT_TOKEN_KEY)
        .await
        .map_err(doing("reading the bot token's Secret"))?;
    let (mut token, bot) = token_and_bot(spec, token, c);
    let assistant = assistant(connector, me, c).await?;
    let (policy, access) = access::resolve(&spec.access, |name| look_up(me, name, c));

    if leading && bot.is_some() {
        let present = connector.finalizers().iter().any(|f| f == FINALIZER);
        let missing = c.memories.with(&me.uid, |m| {
            let (known, missing) = m.finalizer.shown(present);
            m.finalizer = known;
            missing
        });
        if missing {
            writes::add_finalizer::<TelegramConnector>(&c.client, &connector.metadata)
                .await
                .map_err(doing("adding the finalizer"))?;
            c.memories
                .with(&me.uid, |m| m.finalizer = Finalizer::Written);
        }
    }

    let mut published = false;
    match &bot {
        None => {
            rest(me, c).await;
            note_bot(me, None, c);
        }
        Some(bot) if spec.is_suspended() => {
            rest(me, c).await;
            if leading && previous.as_ref().is_some_and(|p| p.webhook.is_some()) {
                withdraw_in_background(me, bot, c);
            }
        }
        Some(bot) if leading => {
            note_bot(me, Some(bot), c);
            let profile = connect(connector, me, bot, &mut token, c).await;
            published = publish(
                connector,
                me,
                bot,
                profile,
                previous.as_ref(),
                &token,
                &policy,
                &assistant.0,
                c,
            );
        }
        Some(bot) => {
            // The leader's word counts: its status says whether the token is valid and whose the bot is.
            let accepted = previous
                .as_ref()
                .and_then(|p| status::find(p, types::TOKEN_VALID))
                .is_some_and(|t| t.status == "True");
            if accepted {
                published = publish(
                    connector,
                    me,
                    bot,
                    None,
                    previous.as_ref(),
                    &token,
                    &policy,
                    &assistant.0,
                    c,
                );
            }
        }
    }
    if !published {
        c.registry.withdraw(&me.uid);
    }
    if !leading {
        return Ok(Action::await_change());
    }
    write_down(
        connector,
        me,
        previous,
        &token,
        &access,
        &assistant.1,
        bot.as_ref(),
        c,
    )
    .await
}

/// The token's state, and the bot if there is a token.
fn token_and_bot(
    spec: &crate::api::TelegramConnectorSpec,
    value: Result<secrecy::SecretString, status::SecretProblem>,
    c: &Context,
) -> (TokenState, Option<Bot>) {
    use secrecy::ExposeSecret;
    let secret = spec.bot_token_secret_ref.name.clone();
    let value = match value {
        Ok(value) => value,
        Err(problem) => return (TokenState::Missing(problem), None),
    };
    match BotToken::parse(value.expose_secret()) {
        Ok(token) => {
            let bot = Bot::new(c.telegram.clone(), token);
            let state = TokenState::Given {
                bot: bot.id(),
                secret,
                duplicate_of: None,
            };
            (state, Some(bot))
        }
        Err(_) => (
            TokenState::Malformed {
                secret,
                key: spec.token_key().to_owned(),
            },
            None,
        ),
    }
}

/// Remembers the bot. When another one (or another token) takes its place, what was seen of the old one is void, and the old
/// bot's webhook is withdrawn if its token still works.
fn note_bot(me: &ConnectorRef, bot: Option<&Bot>, c: &Context) {
    let replaced = c.memories.with(&me.uid, |m| {
        let same = match (&m.bot, bot) {
            (Some(old), Some(new)) => old.is_same(new),
            (None, None) => true,
            _ => false,
        };
        if same {
            return None;
        }
        let old = std::mem::replace(&mut m.bot, bot.cloned());
        m.connection_changed |= old.is_some();
        old
    });
    if let Some(old) = replaced
        && bot.is_some_and(|new| new.id() != old.id())
    {
        withdraw_in_background(me, &old, c);
    }
}

fn withdraw_in_background(me: &ConnectorRef, bot: &Bot, c: &Context) {
    if !matches!(c.settings.connection, ConnectionSettings::Webhook(_)) {
        return;
    }
    let (connections, me, bot) = (c.connections.clone(), me.clone(), bot.clone());
    tokio::spawn(async move {
        connections
            .withdraw_webhook(&me, &bot, WITHDRAW_WITHIN)
            .await;
    });
}

/// Makes the connection be so, as far as the bot is this connector's. Who the bot is, if Telegram has said so.
async fn connect(
    connector: &TelegramConnector,
    me: &ConnectorRef,
    bot: &Bot,
    token: &mut TokenState,
    c: &Context,
) -> Option<BotProfile> {
    // Of another token, what was seen before does not count; ensure() clears it.
    let known = if c.connections.holds(&me.uid, bot) {
        c.observations.facts(&me.uid).identity
    } else {
        None
    };
    if matches!(known, Some(IdentityFact::Refused { .. })) {
        c.wake_all(c.claims.release(&me.uid));
        return None;
    }
    let profile = match known {
        Some(IdentityFact::Accepted(profile)) => Some(profile),
        _ => None,
    };
    let created = connector
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::MAX, |t| t.0);
    let (owner, affected) = c.claims.claim(me, created, bot.id(), profile.is_some());
    c.wake_all(affected);
    let reach = match &owner {
        Owner::Mine => Reach::Connect,
        Owner::Other(_) | Owner::Undecided => Reach::Identify,
    };
    if let (Owner::Other(other), TokenState::Given { duplicate_of, .. }) = (owner, token) {
        *duplicate_of = Some(if other.namespace == me.namespace {
            OtherConnector::Named(other.name.to_string())
        } else {
            OtherConnector::Elsewhere
        });
    }
    c.connections.ensure(me, bot, profile.as_ref(), reach).await;
    profile
}

/// Publishes what is resolved, if it is known whose bot it is and the bot is this connector's.
#[allow(clippy::too_many_arguments)]
fn publish(
    connector: &TelegramConnector,
    me: &ConnectorRef,
    bot: &Bot,
    profile: Option<BotProfile>,
    previous: Option<&TelegramConnectorStatus>,
    token: &TokenState,
    policy: &crate::registry::AccessPolicy,
    assistant: &Option<Arc<dyn crate::assistant::Assistant>>,
    c: &Context,
) -> bool {
    let TokenState::Given {
        duplicate_of: None, ..
    } = token
    else {
        return false;
    };
    if matches!(
        c.observations.facts(&me.uid).identity,
        Some(IdentityFact::Refused { .. })
    ) {
        return false;
    }
    let before = previous
        .and_then(|p| p.bot.as_ref())
        .filter(|b| b.id == bot.id().0)
        .map(|b| b.username.as_str());
    let Some(username) = profile.as_ref().map(|p| p.username.as_str()).or(before) else {
        return false;
    };
    let spec = &connector.spec;
    c.registry.publish(Arc::new(ResolvedConnector {
        connector: me.clone(),
        generation: connector.metadata.generation.unwrap_or_default(),
        bot: bot.clone(),
        bot_username: username.into(),
        access: policy.clone(),
        save_denied_conversations: spec.access.save_denied_conversations.unwrap_or(false),
        denied_reply: spec::denied_reply(spec),
        session: spec::session(spec),
        groups: spec::groups(spec),
        greeting: spec.greeting.as_deref().map(Into::into),
        messages_per_minute: spec.messages_per_minute(),
        assistant: assistant.clone(),
    }));
    true
}

/// The assistant, built once for each spec and key.
async fn assistant(
    connector: &TelegramConnector,
    me: &ConnectorRef,
    c: &Context,
) -> Result<(Option<Arc<dyn crate::assistant::Assistant>>, AssistantState), ReconcileError> {
    let spec = &connector.spec.assistant;
    let key = match &spec.api_key_secret_ref {
        None => None,
        Some(reference) => {
            let value = c
                .secrets
                .value(&me.namespace, reference, DEFAULT_API_KEY)
                .await
                .map_err(doing("reading the assistant key's Secret"))?;
            match value {
                Ok(key) => Some(key),
                Err(problem) => return Ok((None, AssistantState::KeyMissing(problem))),
            }
        }
    };
    let (built, changed) = c.memories.with(&me.uid, |m| {
        if let Some(known) = &m.assistant
            && known.is_of(spec, key.as_ref())
        {
            return (known.built.clone(), m.assistant_changed);
        }
        let built = (c.assistants)(spec, key.clone());
        let before = m.assistant.replace(BuiltAssistant {
            spec: spec.clone(),
            key,
            built: built.clone(),
        });
        if before.is_some() {
            c.observations.reset_assistant(&me.uid);
            m.assistant_changed = true;
        }
        (built, m.assistant_changed)
    });
    Ok(match built {
        Ok(assistant) => (Some(assistant), AssistantState::Built { changed }),
        Err(why) => (None, AssistantState::Unusable(why)),
    })
}

fn look_up(me: &ConnectorRef, name: &str, c: &Context) -> Lookup {
    match c.list(&me.namespace, name) {
        None => Lookup::NotFound,
        Some(list) => match &list.0 {
            Ok(list) => Lookup::Found(
                c.read_lists.users(
                    &me.namespace,
                    name,
                    list.metadata
                        .resource_version
                        .as_deref()
                        .unwrap_or_default(),
                    &list.spec.users,
                ),
            ),
            Err(unreadable) => Lookup::Invalid(unreadable.error.clone()),
        },
    }
}

/// Writes the status, if it says something new, and the events that go with it.
#[allow(clippy::too_many_arguments)]
async fn write_down(
    connector: &TelegramConnector,
    me: &ConnectorRef,
    previous: Option<TelegramConnectorStatus>,
    token: &TokenState,
    access: &status::AccessState,
    assistant: &AssistantState,
    bot: Option<&Bot>,
    c: &Context,
) -> Result<Action, ReconcileError> {
    let mode = c.settings.connection.mode();
    for pending in c.observations.take_notices(&me.uid) {
        let happening = events::of_notice(&pending.notice, mode);
        c.events.publish(me, &happening).await;
    }
    let facts = c.observations.facts(&me.uid);
    let suspended = connector.spec.is_suspended();
    let connection_changed = c.memories.with(&me.uid, |m| m.connection_changed);
    let webhook_url = match (&c.settings.connection, token) {
        (
            ConnectionSettings::Webhook(webhook),
            TokenState::Given {
                duplicate_of: None, ..
            },
        ) if bot.is_some() && !suspended => {
            Some(webhook_url(&webhook.public_url, &me.uid).to_string())
        }
        _ => None,
    };
    let inputs = Inputs {
        generation: connector.metadata.generation.unwrap_or_default(),
        suspended,
        mode,
        webhook_url,
        token,
        access,
        assistant,
        session: spec::session(&connector.spec).duration,
        facts: &facts,
        connection_changed,
        previous: previous.as_ref(),
        now: c.clock.now(),
    };
    if !inputs.settled() {
        let since = c.memories.with(&me.uid, |m| {
            *m.unsettled_since.get_or_insert_with(Instant::now)
        });
        let waited = since.elapsed();
        if waited < PATIENCE {
            return Ok(Action::requeue(PATIENCE.saturating_sub(waited)));
        }
    }
    let status = inputs.status();
    let reason = status::ready_reason(&status);
    let counted = c.memories.with(&me.uid, |m| {
        if inputs.settled() {
            m.unsettled_since = None;
        }
        std::mem::replace(&mut m.ready_reason, reason) != reason
    });
    if counted {
        c.count_reasons();
    }
    if previous.as_ref().is_some_and(|p| status::same(p, &status)) {
        return Ok(Action::await_change());
    }
    let before = previous.as_ref();
    let vanished: Vec<&str> = [
        (
            "bot",
            before.is_some_and(|p| p.bot.is_some()) && status.bot.is_none(),
        ),
        (
            "webhook",
            before.is_some_and(|p| p.webhook.is_some()) && status.webhook.is_none(),
        ),
    ]
    .into_iter()
    .filter_map(|(field, vanished)| vanished.then_some(field))
    .collect();
    if !vanished.is_empty() {
        writes::remove_from_status::<TelegramConnector>(&c.client, &connector.metadata, &vanished)
            .await
            .map_err(doing("clearing the status"))?;
    }
    let version =
        writes::apply_status::<TelegramConnector>(&c.client, &connector.metadata, &status)
            .await
            .map_err(doing("writing the status"))?;
    tracing::info!(namespace = %me.namespace, connector = %me.name, bot_id = ?bot.map(|b| b.id().0), ?reason, "status written");
    c.memories.with(&me.uid, |m| {
        m.written = version.map(|v| (v, status.clone()));
        m.connection_changed = false;
        m.assistant_changed = false;
    });
    for happening in events::of_transition(previous.as_ref(), &status) {
        c.events.publish(me, &happening).await;
    }
    Ok(Action::await_change())
}

/// Lets a deleted connector go: disconnect, end its sessions, take the finalizer off. Ends within 30 s whatever is broken.
async fn delete(
    object: &Guarded,
    me: &ConnectorRef,
    c: &Context,
) -> Result<Action, ReconcileError> {
    let bot = c.memories.with(&me.uid, |m| m.bot.clone());
    rest(me, c).await;
    if !c.leads() || !object.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(Action::await_change());
    }
    let skip = object
        .annotations()
        .get(SKIP_DISCONNECT_ANNOTATION)
        .is_some_and(|v| v == "true");
    if !skip && matches!(c.settings.connection, ConnectionSettings::Webhook(_)) {
        match c.memories.with(&me.uid, |m| m.disconnection) {
            Disconnection::Done => {}
            Disconnection::Running => return Ok(Action::await_change()),
            Disconnection::NotYet => {
                let bot = match (bot, &object.0) {
                    (Some(bot), _) => Some(bot),
                    // Started after the deletion: the Secret may still be there.
                    (None, Ok(connector)) => c
                        .secrets
                        .value(
                            &me.namespace,
                            &connector.spec.bot_token_secret_ref,
                            DEFAULT_TOKEN_KEY,
                        )
                        .await
                        .ok()
                        .and_then(|value| token_and_bot(&connector.spec, value, c).1),
                    (None, Err(_)) => None,
                };
                if let Some(bot) = bot {
                    disconnect(me, bot, c);
                    return Ok(Action::await_change());
                }
            }
        }
    }
    end_sessions(object, me, c).await?;
    writes::remove_finalizer::<TelegramConnector>(&c.client, object.meta())
        .await
        .map_err(doing("removing the finalizer"))?;
    tracing::info!(namespace = %me.namespace, connector = %me.name, "disconnected and let go");
    Ok(Action::await_change())
}

/// Withdraws the webhook beside the reconcile, so that Telegram's silence holds nobody else up, and comes back.
fn disconnect(me: &ConnectorRef, bot: Bot, c: &Context) {
    c.memories
        .with(&me.uid, |m| m.disconnection = Disconnection::Running);
    let (connections, memories, wake, me) = (
        c.connections.clone(),
        c.memories.clone(),
        c.wake.clone(),
        me.clone(),
    );
    tokio::spawn(async move {
        connections
            .withdraw_webhook(&me, &bot, WITHDRAW_WITHIN)
            .await;
        memories.with(&me.uid, |m| m.disconnection = Disconnection::Done);
        // The controller is gone only when the process ends.
        let _ = wake.send(me.uid);
    });
}

/// Ends the sessions. A store that does not let itself be written is insisted on for a while only.
async fn end_sessions(
    object: &Guarded,
    me: &ConnectorRef,
    c: &Context,
) -> Result<(), ReconcileError> {
    let forgotten = tokio::time::timeout(Duration::from_secs(3), c.inbox.forget(&me.uid)).await;
    let error = match forgotten {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => ReconcileError::Store(error),
        Err(_) => ReconcileError::StoreSilent,
    };
    // The real time: the API server's clock stamped the deletion.
    let deleted_for = object
        .meta()
        .deletion_timestamp
        .as_ref()
        .map_or(0, |t| Timestamp::now().as_second() - t.0.as_second());
    if deleted_for < FORGET_WITHIN {
        return Err(error);
    }
    tracing::error!(namespace = %me.namespace, connector = %me.name, %error,
        "the connector goes; its sessions stay in the store until their retention ends");
    Ok(())
}
