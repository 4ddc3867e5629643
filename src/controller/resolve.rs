//! Resolving: from references in a spec to a bot, an assistant and a list, or to what is wrong with them.

use std::sync::Arc;

use secrecy::ExposeSecret;

use super::access::UserListLookup;
use super::connector_cache::CachedAssistant;
use super::context::Context;
use super::reconcile::{ReconcileError, kubernetes_error};
use super::status::{AssistantState, TokenState};
use crate::api::TelegramConnector;
use crate::api::connector::{DEFAULT_API_KEY, DEFAULT_TOKEN_KEY};
use crate::assistant::Assistant;
use crate::identity::ConnectorRef;
use crate::telegram::{Bot, BotToken};

/// The token's state, and the bot if there is a token.
///
/// # Errors
/// When the API server cannot be asked for the Secret.
pub(super) async fn resolve_token(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(TokenState, Option<Bot>), ReconcileError> {
    let spec = &connector.spec;
    let value = ctx
        .secret_cache
        .get(
            &connector_ref.namespace,
            &spec.bot_token_secret_ref,
            DEFAULT_TOKEN_KEY,
        )
        .await
        .map_err(kubernetes_error("reading the bot token's Secret"))?;
    let value = match value {
        Ok(value) => value,
        Err(problem) => return Ok((TokenState::Missing(problem), None)),
    };
    let secret = spec.bot_token_secret_ref.name.clone();
    Ok(match BotToken::parse(value.expose_secret()) {
        Ok(token) => {
            let bot = Bot::new(ctx.telegram.clone(), token);
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
    })
}

/// The assistant, built once for each spec and key.
///
/// # Errors
/// When the API server cannot be asked for its key's Secret.
pub(super) async fn resolve_assistant(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(Option<Arc<dyn Assistant>>, AssistantState), ReconcileError> {
    let spec = &connector.spec.assistant;
    let key = match &spec.api_key_secret_ref {
        None => None,
        Some(reference) => {
            let value = ctx
                .secret_cache
                .get(&connector_ref.namespace, reference, DEFAULT_API_KEY)
                .await
                .map_err(kubernetes_error("reading the assistant key's Secret"))?;
            match value {
                Ok(key) => Some(key),
                Err(problem) => return Ok((None, AssistantState::KeyMissing(problem))),
            }
        }
    };
    let (built, changed) = ctx.connector_cache.with_entry(&connector_ref.uid, |m| {
        if let Some(known) = &m.assistant
            && known.matches(spec, key.as_ref())
        {
            return (known.built.clone(), m.assistant_changed);
        }
        let built = ctx.assistants.build_assistant(spec, key.clone());
        let before = m.assistant.replace(CachedAssistant {
            spec: spec.clone(),
            key,
            built: built.clone(),
        });
        if before.is_some() {
            ctx.observations.reset_assistant(&connector_ref.uid);
            m.assistant_changed = true;
        }
        (built, m.assistant_changed)
    });
    Ok(match built {
        Ok(assistant) => (Some(assistant), AssistantState::Built { changed }),
        Err(why) => (None, AssistantState::Unusable(why)),
    })
}

/// A list by name, read.
pub(super) fn look_up_user_list(
    connector_ref: &ConnectorRef,
    name: &str,
    ctx: &Context,
) -> UserListLookup {
    match ctx.user_list(&connector_ref.namespace, name) {
        None => UserListLookup::NotFound,
        Some(list) => match &list.0 {
            Ok(list) => UserListLookup::Found(
                ctx.user_list_cache.get_or_parse(
                    &connector_ref.namespace,
                    name,
                    list.metadata
                        .resource_version
                        .as_deref()
                        .unwrap_or_default(),
                    &list.spec.users,
                ),
            ),
            Err(unreadable) => UserListLookup::Invalid(unreadable.error.clone()),
        },
    }
}
