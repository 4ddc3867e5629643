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
use super::bot_ownership::BotOwner;
use super::context::Context;
use super::reference_index::GuardedConnector;
use super::status::{self, OtherConnector, TokenState};
use super::{finalize, policies, resolve, transcription, update_status};
use crate::api::conditions::ConditionType;
use crate::api::{TelegramConnector, TelegramConnectorStatus};
use crate::connection::ConnectionGoal;
use crate::connection::ConnectionSettings;
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::observation::IdentityFact;
use crate::registry::{ResolvedConnector, Transcription};
use crate::telegram::Bot;
use crate::telegram::bot::BotProfile;

/// A reconcile that could not be done. Causes that lie in the spec, a Secret or a list are no errors: they are in the status.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconcileError {
    /// The API server did not do as asked.
    #[error("{operation}: {source}")]
    Kubernetes {
        /// What was tried.
        operation: &'static str,
        /// Its answer.
        source: kube::Error,
    },
    /// The store did not do as asked.
    #[error("ending a deleted connector's sessions: {0}")]
    Store(#[from] crate::store::StoreError),
    /// The store did not answer.
    #[error("ending a deleted connector's sessions: the store does not answer")]
    StoreTimeout,
}

impl ReconcileError {
    /// For metrics.
    pub(super) fn metric_label(&self) -> &'static str {
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
            Self::Store(_) | Self::StoreTimeout => "store",
        }
    }
}

pub(super) fn kubernetes_error(
    operation: &'static str,
) -> impl FnOnce(kube::Error) -> ReconcileError {
    move |source| ReconcileError::Kubernetes { operation, source }
}

/// Who a connector is.
pub(super) fn connector_ref_of(metadata: &ObjectMeta) -> ConnectorRef {
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
    object: Arc<GuardedConnector>,
    ctx: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let connector_ref = connector_ref_of(object.meta());
    let result = reconcile_connector(&object, &connector_ref, &ctx).await;
    let label = match &result {
        Ok(_) => {
            ctx.connector_cache
                .with_entry(&connector_ref.uid, |m| m.backoff.reset());
            "ok"
        }
        Err(error) => error.metric_label(),
    };
    ctx.metrics
        .record_reconcile("connector", label, began.elapsed());
    if ctx.index.object_ref(&connector_ref.uid).is_none() {
        // It went while this was under way, and what was made of it since must go too.
        finalize::remove_state(&connector_ref, &ctx).await;
        return Ok(Action::await_change());
    }
    result
}

async fn reconcile_connector(
    object: &GuardedConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Action, ReconcileError> {
    if ctx
        .connector_cache
        .with_entry(&connector_ref.uid, |m| m.has_seen_newer_than(object.meta()))
    {
        // The watch went on since this was begun; the newer object is there already.
        return Ok(Action::requeue(std::time::Duration::ZERO));
    }
    if object.meta().deletion_timestamp.is_some() {
        return finalize::cleanup(object, connector_ref, ctx).await;
    }
    match &object.0 {
        Ok(connector) => resolve_and_connect(connector, connector_ref, ctx).await,
        Err(unreadable) => {
            let already_logged = ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
                m.logged_parse_error.replace(unreadable.error.clone())
                    == Some(unreadable.error.clone())
            });
            if !already_logged {
                tracing::error!(namespace = %connector_ref.namespace, connector = %connector_ref.name, error = %unreadable.error,
                    "the connector cannot be read and stays disconnected; correct it and apply it again");
            }
            disconnect(connector_ref, ctx).await;
            Ok(Action::await_change())
        }
    }
}

/// Ends everything that runs for a connector in this process.
pub(super) async fn disconnect(connector_ref: &ConnectorRef, ctx: &Context) {
    ctx.registry.withdraw(&connector_ref.uid);
    ctx.connections.stop(&connector_ref.uid).await;
    ctx.requeue_all(ctx.bot_ownership.release(&connector_ref.uid));
}

async fn resolve_and_connect(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Action, ReconcileError> {
    let spec = &connector.spec;
    let leading = ctx.is_leader();
    let previous = ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
        m.status(&connector.metadata, connector.status.as_ref())
    });

    let (mut token, bot) = resolve::resolve_token(connector, connector_ref, ctx).await?;
    let assistant = resolve::resolve_assistant(connector, connector_ref, ctx).await?;
    let transcription = transcription::resolve_transcription(connector, connector_ref, ctx).await?;
    let (policy, access) = access::resolve_access(&spec.access, |name| {
        resolve::look_up_user_list(connector_ref, name, ctx)
    });

    if leading && bot.is_some() {
        finalize::ensure_finalizer(connector, connector_ref, ctx).await?;
    }

    let mut published = false;
    match &bot {
        None => {
            disconnect(connector_ref, ctx).await;
            record_bot(connector_ref, None, ctx);
        }
        Some(bot) if spec.is_suspended() => {
            disconnect(connector_ref, ctx).await;
            if leading && previous.as_ref().is_some_and(|p| p.webhook.is_some()) {
                finalize::delete_webhook_in_background(connector_ref, bot, ctx);
            }
        }
        Some(bot) if leading => {
            record_bot(connector_ref, Some(bot), ctx);
            let profile = ensure_connection(connector, connector_ref, bot, &mut token, ctx).await;
            published = publish_to_registry(
                connector,
                connector_ref,
                bot,
                profile,
                previous.as_ref(),
                &token,
                &policy,
                &assistant.0,
                transcription,
                ctx,
            );
        }
        Some(bot) => {
            // The leader's word counts: its status says whether the token is valid and whose the bot is.
            let accepted = previous
                .as_ref()
                .and_then(|p| status::find_condition(p, ConditionType::TokenValid))
                .is_some_and(|t| t.status == "True");
            if accepted {
                published = publish_to_registry(
                    connector,
                    connector_ref,
                    bot,
                    None,
                    previous.as_ref(),
                    &token,
                    &policy,
                    &assistant.0,
                    transcription,
                    ctx,
                );
            }
        }
    }
    if !published {
        ctx.registry.withdraw(&connector_ref.uid);
    }
    if !leading {
        return Ok(Action::await_change());
    }
    update_status::update_status(
        connector,
        connector_ref,
        previous,
        &token,
        &access,
        &assistant.1,
        bot.as_ref(),
        ctx,
    )
    .await
}

/// Remembers the bot. When another one (or another token) takes its place, what was seen of the old one is void, and the old
/// bot's webhook is withdrawn if its token still works. While there is no token, the last one is remembered for that: a Secret that is
/// replaced may be gone for a moment.
fn record_bot(connector_ref: &ConnectorRef, bot: Option<&Bot>, ctx: &Context) {
    let replaced = ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
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
        && matches!(ctx.settings.connection, ConnectionSettings::Webhook(_))
    {
        finalize::delete_webhook_in_background(connector_ref, &old, ctx);
    }
}

/// Makes the connection be so, as far as the bot is this connector's. Who the bot is, if Telegram has said so.
async fn ensure_connection(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    bot: &Bot,
    token: &mut TokenState,
    ctx: &Context,
) -> Option<BotProfile> {
    // Of another token, what was seen before does not count; ensure() clears it.
    let known = if ctx.connections.has_task_for(&connector_ref.uid, bot) {
        ctx.observations.facts(&connector_ref.uid).identity
    } else {
        None
    };
    if matches!(known, Some(IdentityFact::Refused { .. })) {
        ctx.requeue_all(ctx.bot_ownership.release(&connector_ref.uid));
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
    let (owner, affected) =
        ctx.bot_ownership
            .claim(connector_ref, created, bot.id(), profile.is_some());
    ctx.requeue_all(affected);
    let goal = match &owner {
        BotOwner::ThisConnector => ConnectionGoal::Connect,
        BotOwner::OlderConnector(_) | BotOwner::Undecided => ConnectionGoal::Identify,
    };
    if let (BotOwner::OlderConnector(other), TokenState::Given { duplicate_of, .. }) =
        (owner, token)
    {
        *duplicate_of = Some(if other.namespace == connector_ref.namespace {
            OtherConnector::Named(other.name.to_string())
        } else {
            OtherConnector::Elsewhere
        });
    }
    ctx.connections
        .ensure(connector_ref, bot, profile.as_ref(), goal)
        .await;
    profile
}

/// Publishes what is resolved, if it is known whose bot it is and the bot is this connector's.
#[allow(clippy::too_many_arguments)]
fn publish_to_registry(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    bot: &Bot,
    profile: Option<BotProfile>,
    previous: Option<&TelegramConnectorStatus>,
    token: &TokenState,
    policy: &crate::registry::AccessPolicy,
    assistant: &Option<Arc<dyn crate::assistant::Assistant>>,
    transcription: Transcription,
    ctx: &Context,
) -> bool {
    let TokenState::Given {
        duplicate_of: None, ..
    } = token
    else {
        return false;
    };
    if matches!(
        ctx.observations.facts(&connector_ref.uid).identity,
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
    ctx.registry.publish(Arc::new(ResolvedConnector {
        connector: connector_ref.clone(),
        generation: connector.metadata.generation.unwrap_or_default(),
        bot: bot.clone(),
        bot_username: username.into(),
        access: policy.clone(),
        save_denied_conversations: spec.access.save_denied_conversations.unwrap_or(false),
        denied_reply: policies::denied_reply(spec),
        session: policies::session_policy(spec),
        groups: policies::group_policy(spec),
        greeting: spec.greeting.as_deref().map(Into::into),
        messages_per_minute: spec.messages_per_minute(),
        assistant: assistant.clone(),
        transcription,
    }));
    true
}
