//! One reconcile: resolve, publish, connect, and write down what was found. Never waits for Telegram or a message.
//!
//! A leader does all of it. A follower resolves and publishes, so that it can serve webhooks and messages, and writes nothing.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::access;
use super::claims::Owner;
use super::context::Context;
use super::index::Guarded;
use super::settings::ConnectionSettings;
use super::status::{self, OtherConnector, TokenState};
use super::{finalize, report, resolve, spec, transcription};
use crate::api::conditions::types;
use crate::api::{TelegramConnector, TelegramConnectorStatus};
use crate::connection::ConnectionGoal;
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::observation::IdentityFact;
use crate::registry::{ResolvedConnector, Transcription};
use crate::telegram::Bot;
use crate::telegram::bot::BotProfile;

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

pub(super) fn doing(doing: &'static str) -> impl FnOnce(kube::Error) -> ReconcileError {
    move |source| ReconcileError::Kubernetes { doing, source }
}

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
    c.metrics
        .record_reconcile("connector", label, began.elapsed());
    if c.index.object(&me.uid).is_none() {
        // It went while this was under way, and what was made of it since must go too.
        finalize::clear(&me, &c).await;
        return Ok(Action::await_change());
    }
    result
}

async fn one(object: &Guarded, me: &ConnectorRef, c: &Context) -> Result<Action, ReconcileError> {
    if c.memories.with(&me.uid, |m| m.is_ahead_of(object.meta())) {
        // The watch went on since this was begun; the newer object is there already.
        return Ok(Action::requeue(std::time::Duration::ZERO));
    }
    if object.meta().deletion_timestamp.is_some() {
        return finalize::delete(object, me, c).await;
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
pub(super) async fn rest(me: &ConnectorRef, c: &Context) {
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

    let (mut token, bot) = resolve::token(connector, me, c).await?;
    let assistant = resolve::assistant(connector, me, c).await?;
    let transcription = transcription::resolve(connector, me, c).await?;
    let (policy, access) = access::resolve(&spec.access, |name| resolve::look_up(me, name, c));

    if leading && bot.is_some() {
        finalize::keep_finalizer(connector, me, c).await?;
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
                finalize::withdraw_in_background(me, bot, c);
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
                transcription,
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
                    transcription,
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
    report::write_down(
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

/// Remembers the bot. When another one (or another token) takes its place, what was seen of the old one is void, and the old
/// bot's webhook is withdrawn if its token still works. While there is no token, the last one is remembered for that: a Secret that is
/// replaced may be gone for a moment.
fn note_bot(me: &ConnectorRef, bot: Option<&Bot>, c: &Context) {
    let replaced = c.memories.with(&me.uid, |m| {
        let had_token = std::mem::replace(&mut m.has_token, bot.is_some());
        let old = match (&m.bot, bot) {
            (Some(old), Some(new)) if old.is_same(new) => return None,
            (_, Some(new)) => m.bot.replace(new.clone()),
            (_, None) => None,
        };
        m.connection_changed |= had_token;
        old
    });
    if let Some(old) = replaced
        && bot.is_some_and(|new| new.id() != old.id())
        && matches!(c.settings.connection, ConnectionSettings::Webhook(_))
    {
        finalize::withdraw_in_background(me, &old, c);
    }
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
    let known = if c.connections.has_task_for(&me.uid, bot) {
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
        Owner::Mine => ConnectionGoal::Connect,
        Owner::Other(_) | Owner::Undecided => ConnectionGoal::Identify,
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
    transcription: Transcription,
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
        transcription,
    }));
    true
}
