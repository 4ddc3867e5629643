//! Stage 1 of a reconcile: everything that must be read. References in the spec become a bot, an assistant and a list of users, or what is
//! wrong with them. The only stage that waits for the API server to read.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::{Resource, ResourceExt};
use secrecy::{ExposeSecret, SecretString};

use super::access::{self, AccessState, UserListLookup};
use super::build_cache::BuildCache;
use super::connector_cache::WebhookDeletion;
use super::connector_ref::connector_ref_of;
use super::context::Context;
use super::error::ReconcileError;
use super::reference_index::GuardedConnector;
use super::secret_key::read_key;
use super::sign_in;
use super::status::{AssistantState, TokenState};
use crate::api::connector::{
    AssistantSpec, DEFAULT_API_KEY, ExtractSpec, ListKind, ListRef, SecretKeyRef, SpeechSpec,
    TelegramConnectorSpec, TranscriptionSpec,
};
use crate::api::{FINALIZER, SKIP_DISCONNECT_ANNOTATION, TelegramConnector};
use crate::assistant::{Assistant, Credentials};
use crate::identity::ConnectorRef;
use crate::registry::{
    AccessPolicy, ApprovalPolicy, Extraction, OptionalService, RequestPolicy, SignInPolicy, Speech,
    Transcription,
};
use crate::telegram::{Bot, BotToken};

/// An object with everything that it refers to.
pub(super) enum Dereferenced {
    /// The object cannot be deserialized.
    Unreadable,
    /// It is being deleted.
    Deleted {
        /// The bot by its Secret, read only if this process may have to delete the webhook and knows no bot.
        bot: Option<Bot>,
    },
    /// Its references are resolved, as far as they can be.
    Resolved(Box<Resolved>),
}

/// What the references of a connector lead to.
pub(super) struct Resolved {
    /// The bot token.
    pub(super) token: TokenState,
    /// The bot, if the token is one.
    pub(super) bot: Option<Bot>,
    pub(super) assistant: AssistantState,
    /// The assistant to ask, if it can be built.
    pub(super) built_assistant: Option<Arc<dyn Assistant>>,
    /// Transcription of voice messages. What is wrong with it is no condition: a voice message is answered by a sentence.
    pub(super) transcription: Transcription,
    /// Extraction of documents, likewise.
    pub(super) extraction: Extraction,
    /// Who reads answers out; likewise no condition: the text goes out alone.
    pub(super) speech: Speech,
    /// Who may write, for the status.
    pub(super) access: AccessState,
    /// Who may write, for the pipeline.
    pub(super) policy: AccessPolicy,
    /// How members of the company are recognized.
    pub(super) sign_in: Option<SignInPolicy>,
    /// Who approves what the assistant asks.
    pub(super) approvals: Option<ApprovalPolicy>,
    /// How denied users ask for access.
    pub(super) requests: Option<RequestPolicy>,
}

/// Reads what the object refers to.
///
/// # Errors
/// [`ReconcileError::ReadSecret`] when the API server cannot be asked.
pub(super) async fn dereference(
    object: &GuardedConnector,
    ctx: &Context,
) -> Result<Dereferenced, ReconcileError> {
    if object.meta().deletion_timestamp.is_some() {
        return Ok(dereference_deleted(object, ctx).await);
    }
    let Ok(connector) = &object.0 else {
        return Ok(Dereferenced::Unreadable);
    };
    let connector_ref = connector_ref_of(object.meta());
    let (token, bot) = resolve_token(&connector.spec, &connector_ref, ctx).await?;
    let (built_assistant, assistant) = resolve_assistant(connector, &connector_ref, ctx).await?;
    let transcription = resolve_transcription(&connector.spec, &connector_ref, ctx).await?;
    let extraction = resolve_extraction(&connector.spec, &connector_ref, ctx).await?;
    let speech = resolve_speech(&connector.spec, &connector_ref, ctx).await?;
    let sign_in = sign_in::resolve_sign_in(&connector.spec, &connector_ref, ctx).await?;
    let look_up = |list: &ListRef| look_up_user_list(&connector_ref, list, ctx);
    let spec = &connector.spec;
    let (policy, mut access) = access::resolve_access(&spec.access, ctx.clock.now(), look_up);
    let approvals = spec.approvals.as_ref();
    let approvals = approvals.map(|approvals| access::resolve_approvals(approvals, look_up));
    let (approvals, unresolved_approvers) = approvals.unzip();
    let requests = spec.access.requests.as_ref();
    let requests = requests.map(|requests| access::resolve_requests(requests, look_up));
    let (requests, unresolved_deciders) = requests.unzip();
    access.sign_in_unknown = sign_in.is_unknown;
    access.problems.extend(sign_in.problem);
    let unresolved = [unresolved_approvers, unresolved_deciders];
    access
        .problems
        .extend(unresolved.into_iter().flatten().flatten());
    Ok(Dereferenced::Resolved(Box::new(Resolved {
        token,
        bot,
        assistant,
        built_assistant,
        transcription,
        extraction,
        speech,
        access,
        policy,
        sign_in: sign_in.policy,
        approvals,
        requests,
    })))
}

/// A process that started after the deletion knows no bot, but its Secret may still be there. If it cannot be read, the connector goes
/// without its webhook being deleted.
async fn dereference_deleted(object: &GuardedConnector, ctx: &Context) -> Dereferenced {
    let connector_ref = connector_ref_of(object.meta());
    let known = ctx.caches.connectors.with_entry(&connector_ref.uid, |e| {
        e.remembered.bot.is_some() || e.webhook_deletion != WebhookDeletion::NotStarted
    });
    let needed = !known && ctx.is_leader() && has_finalizer(object) && !skips_disconnect(object);
    let bot = match &object.0 {
        Ok(connector) if needed => resolve_token(&connector.spec, &connector_ref, ctx)
            .await
            .ok()
            .and_then(|(_, bot)| bot),
        _ => None,
    };
    Dereferenced::Deleted { bot }
}

/// Whether our finalizer holds the object, by what the watch shows.
pub(super) fn has_finalizer(object: &GuardedConnector) -> bool {
    object.finalizers().iter().any(|f| f == FINALIZER)
}

/// Whether somebody asked to let the object go without a word to Telegram.
pub(super) fn skips_disconnect(object: &GuardedConnector) -> bool {
    object
        .annotations()
        .get(SKIP_DISCONNECT_ANNOTATION)
        .is_some_and(|v| v == "true")
}

async fn resolve_token(
    spec: &TelegramConnectorSpec,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(TokenState, Option<Bot>), ReconcileError> {
    let reference = &spec.bot_token_secret_ref;
    let read = ctx
        .inputs
        .secrets
        .get(&connector_ref.namespace, &reference.name, spec.token_key())
        .await
        .map_err(|source| ReconcileError::ReadSecret {
            purpose: "the bot token's Secret",
            source,
        })?;
    let value = match read {
        Ok(value) => value,
        Err(problem) => return Ok((TokenState::Unavailable(problem), None)),
    };
    let secret = reference.name.clone();
    Ok(match BotToken::parse(value.expose_secret()) {
        Ok(token) => {
            let bot = Bot::new(ctx.inputs.telegram.clone(), token);
            let state = TokenState::Given {
                bot: bot.id(),
                secret,
                duplicate_of: None,
            };
            (state, Some(bot))
        }
        Err(_) => {
            let key = spec.token_key().to_owned();
            (TokenState::Malformed { secret, key }, None)
        }
    })
}

/// Reads the values of the assistant's headers that come from Secrets, by their positions.
async fn read_header_values(
    spec: &AssistantSpec,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Result<BTreeMap<usize, SecretString>, AssistantState>, ReconcileError> {
    let mut values = BTreeMap::new();
    for (position, header) in spec.headers.iter().flatten().enumerate() {
        let Some(source) = &header.value_from else {
            continue;
        };
        let selector = &source.secret_key_ref;
        let read = ctx
            .inputs
            .secrets
            .get(&connector_ref.namespace, &selector.name, &selector.key)
            .await
            .map_err(|source| ReconcileError::ReadSecret {
                purpose: "the Secret of an assistant's header",
                source,
            })?;
        match read {
            Ok(value) => values.insert(position, value),
            Err(problem) => {
                return Ok(Err(AssistantState::HeaderUnavailable {
                    name: header.name.clone(),
                    position,
                    problem,
                }));
            }
        };
    }
    Ok(Ok(values))
}

/// The assistant, built once for each spec and its secret values. When another one takes its place, what was seen of the old one is void.
async fn resolve_assistant(
    connector: &TelegramConnector,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<(Option<Arc<dyn Assistant>>, AssistantState), ReconcileError> {
    let spec = &connector.spec.assistant;
    let reference = spec.api_key_secret_ref.as_ref();
    let purpose = "the assistant key's Secret";
    let api_key = match read_key(reference, DEFAULT_API_KEY, purpose, connector_ref, ctx).await? {
        Ok(key) => key,
        Err(problem) => return Ok((None, AssistantState::KeyUnavailable(problem))),
    };
    let header_values = match read_header_values(spec, connector_ref, ctx).await? {
        Ok(values) => values,
        Err(state) => return Ok((None, state)),
    };
    let credentials = Credentials {
        api_key,
        header_values,
    };
    let uid = &connector_ref.uid;
    let (built, replaced) =
        ctx.caches
            .assistants
            .get_or_build(uid, spec, credentials, |spec, credentials| {
                ctx.inputs.factory.build_assistant(spec, credentials)
            });
    if replaced {
        ctx.outputs.observations.reset_assistant(uid);
    }
    let changed = ctx.caches.connectors.with_entry(uid, |e| {
        e.assistant_changed |= replaced;
        e.assistant_changed
    });
    Ok(match built {
        Ok(assistant) => (Some(assistant), AssistantState::Built { changed }),
        Err(why) => (None, AssistantState::Unusable(why.to_string())),
    })
}

async fn resolve_transcription(
    spec: &TelegramConnectorSpec,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Transcription, ReconcileError> {
    let service = spec.transcription.as_ref().map(|spec| ServiceSpec {
        spec,
        key: spec.api_key_secret_ref.as_ref(),
        field: "spec.transcription",
        purpose: "the transcription key's Secret",
    });
    let build = |spec: &TranscriptionSpec, key| ctx.inputs.factory.build_transcriber(spec, key);
    resolve_service(&ctx.caches.transcribers, service, connector_ref, ctx, build).await
}

async fn resolve_extraction(
    spec: &TelegramConnectorSpec,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Extraction, ReconcileError> {
    let extract = spec.files.as_ref().and_then(|f| f.extract.as_ref());
    let service = extract.map(|spec| ServiceSpec {
        spec,
        key: spec.api_key_secret_ref.as_ref(),
        field: "spec.files.extract",
        purpose: "the extraction key's Secret",
    });
    let build = |spec: &ExtractSpec, key| ctx.inputs.factory.build_extractor(spec, key);
    resolve_service(&ctx.caches.extractors, service, connector_ref, ctx, build).await
}

async fn resolve_speech(
    spec: &TelegramConnectorSpec,
    connector_ref: &ConnectorRef,
    ctx: &Context,
) -> Result<Speech, ReconcileError> {
    let service = spec.speech.as_ref().map(|spec| ServiceSpec {
        spec,
        key: spec.api_key_secret_ref.as_ref(),
        field: "spec.speech",
        purpose: "the speech key's Secret",
    });
    let build = |spec: &SpeechSpec, key| ctx.inputs.factory.build_speaker(spec, key);
    let cache = &ctx.caches.speakers;
    Ok(Speech {
        service: resolve_service(cache, service, connector_ref, ctx, build).await?,
        occasion: spec
            .speech
            .as_ref()
            .map(SpeechSpec::occasion)
            .unwrap_or_default(),
    })
}

/// A service that a connector names beside its assistant.
struct ServiceSpec<'a, S> {
    spec: &'a S,
    key: Option<&'a SecretKeyRef>,
    /// Where it stands.
    field: &'static str,
    /// What its Secret is read for.
    purpose: &'static str,
}

/// The service, built once for each spec and its key.
async fn resolve_service<S: Clone + PartialEq, T>(
    cache: &BuildCache<S, T>,
    service: Option<ServiceSpec<'_, S>>,
    connector_ref: &ConnectorRef,
    ctx: &Context,
    build: impl FnOnce(&S, Option<SecretString>) -> Result<Arc<T>, String>,
) -> Result<OptionalService<T>, ReconcileError> {
    let uid = &connector_ref.uid;
    let Some(service) = service else {
        cache.remove(uid);
        return Ok(OptionalService::None);
    };
    let purpose = service.purpose;
    let key = match read_key(service.key, DEFAULT_API_KEY, purpose, connector_ref, ctx).await? {
        Ok(key) => key,
        Err(problem) => {
            let why = format!("{}.apiKeySecretRef: {}", service.field, problem.message());
            return Ok(OptionalService::Unavailable(why.into()));
        }
    };
    let (built, _) = cache.get_or_build(uid, service.spec, key.into(), |spec, credentials| {
        build(spec, credentials.api_key)
    });
    Ok(match built {
        Ok(service) => OptionalService::Ready(service),
        Err(why) => OptionalService::Unavailable(why),
    })
}

/// A referenced list, parsed once for each of its versions.
fn look_up_user_list(
    connector_ref: &ConnectorRef,
    list: &ListRef,
    ctx: &Context,
) -> UserListLookup {
    let (namespace, name) = (&connector_ref.namespace, &list.name);
    if list.kind() == ListKind::ClusterTelegramUserList {
        let cluster_lists = &ctx.inputs.cluster_lists;
        return cluster_lists.look_up(namespace, name, &ctx.inputs.parsed_lists);
    }
    let Some(list) = ctx.inputs.user_list(namespace, name) else {
        return UserListLookup::NotFound;
    };
    match &list.0 {
        Ok(list) => {
            let version = list.metadata.resource_version.as_deref();
            UserListLookup::Found(ctx.inputs.parsed_lists.get_or_parse(
                namespace,
                name,
                version.unwrap_or_default(),
                &list.spec.users,
            ))
        }
        Err(unreadable) => UserListLookup::Invalid(unreadable.error.clone()),
    }
}
