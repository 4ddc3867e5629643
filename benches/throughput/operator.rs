//! The operator's message path in its own process: store, pollers and pipeline as `run` builds them, without Kubernetes.

use std::collections::HashSet;
use std::sync::Arc;

use telegram_connector_operator::api::connector::{AccessLevel, AssistantProtocol, AssistantSpec};
use telegram_connector_operator::assistant::{
    self, AddressPolicy, Assistant, AssistantHttpClient, HttpLimits,
};
use telegram_connector_operator::clock::SystemClock;
use telegram_connector_operator::connection::ConnectionSettings;
use telegram_connector_operator::connection::{BotConnections, ConnectionGoal};
use telegram_connector_operator::controller;
use telegram_connector_operator::identity::{ConnectorRef, ConnectorUid};
use telegram_connector_operator::identity_provider::Sealer;
use telegram_connector_operator::observation::Observations;
use telegram_connector_operator::pipeline::{Pipeline, PipelineContext, PipelineLimits};
use telegram_connector_operator::registry::{
    AccessPolicy, AnswerPolicy, DeniedReply, FilePolicy, Registry, ResolvedConnector,
    SessionDuration, SessionPolicy, Speech, Transcription,
};
use telegram_connector_operator::store;
use telegram_connector_operator::telegram::{Bot, BotToken, TelegramApi};
use telegram_connector_operator::telemetry::Metrics;

use super::Failure;

pub(super) fn token(n: usize) -> String {
    format!("{}:AAFakeTokenFakeTokenFakeTokenFakeTok", 8_400_000_001 + n)
}

/// The allowed users: all that the load generator uses.
pub(super) fn users() -> HashSet<i64> {
    (1000..3000).collect()
}

pub(super) fn assistant(url: &str) -> Result<Arc<dyn Assistant>, Failure> {
    let context =
        AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::allowing_loopback())?;
    let spec = AssistantSpec {
        protocol: AssistantProtocol::OpenAI,
        url: url.to_owned(),
        model: Some("sample".into()),
        system_prompt: None,
        assistant_id: None,
        api_key_secret_ref: None,
        api_key_header: None,
        headers: None,
        open_ai: None,
        timeout_seconds: Some(120),
    };
    Ok(assistant::build_assistant(&spec, None, &context)?)
}

/// Arguments: Bot API URL, assistant URL, number of bots, store; and which replica this is, of how many: the bots are divided among their pollers.
pub(super) async fn run(args: &[String], duration: SessionDuration) -> Result<(), Failure> {
    let [telegram, assistant_url, bots, address, replica, replicas] = args else {
        return Err("six arguments".into());
    };
    let (replica, replicas): (usize, usize) = (replica.parse()?, replicas.parse()?);
    let store = store::open(address).await?;
    let registry = Arc::new(Registry::default());
    let (observations, mut changed_connectors) = Observations::new();
    let observations = Arc::new(observations);
    let metrics = Arc::new(Metrics::new());
    let api = Arc::new(TelegramApi::new(telegram.parse()?)?);
    let assistant = assistant(assistant_url)?;
    let connections = BotConnections::new(
        store.clone(),
        observations.clone(),
        metrics.clone(),
        ConnectionSettings::Polling,
        controller::DEFAULT_RECHECK_INTERVAL,
    );
    connections.open();
    let ids = Arc::new(users());
    for n in 0..bots.parse()? {
        let bot = Bot::new(api.clone(), BotToken::parse(&token(n))?);
        let connector = ConnectorRef {
            namespace: "acme".into(),
            name: format!("bot{n}").into(),
            uid: ConnectorUid::from(format!("uid-{n}").as_str()),
        };
        registry.publish(Arc::new(ResolvedConnector {
            connector_ref: connector.clone(),
            generation: 1,
            bot: bot.clone(),
            bot_username: format!("bot{n}_bot").into(),
            bot_name: "Bench".into(),
            display_name: None,
            answers: AnswerPolicy::default(),
            access: AccessPolicy {
                level: AccessLevel::Specific,
                ids: ids.clone(),
                usernames: Arc::new(HashSet::new()),
                ends: Arc::default(),
                takes_grants: false,
            },
            save_denied_conversations: false,
            denied_reply: DeniedReply::Default,
            session: SessionPolicy {
                duration,
                max_messages: 10,
                max_tokens: None,
            },
            groups: None,
            greeting: None,
            messages_per_minute: u32::MAX,
            day_limits: None,
            concurrency: telegram_connector_operator::api::connector::DEFAULT_CONCURRENCY,
            assistant: Some(assistant.clone()),
            transcription: Transcription::None,
            speech: Speech::default(),
            approvals: None,
            requests: None,
            files: FilePolicy::default(),
            sending_per_minute: None,
            sign_in: None,
        }));
        if n % replicas == replica {
            connections
                .ensure(&connector, &bot, None, ConnectionGoal::Connect)
                .await;
        }
    }
    let _pipeline = Pipeline::start(PipelineContext {
        registry,
        store,
        observations,
        clock: Arc::new(SystemClock),
        metrics,
        readiness: Arc::default(),
        // No batching of follow-up messages: each message must have its own answer, because answers are counted.
        limits: PipelineLimits {
            follow_up: std::time::Duration::ZERO,
            ..PipelineLimits::default()
        },
        on_dead_letter: None,
        sealer: Arc::new(Sealer::ephemeral()),
    });
    while changed_connectors.recv().await.is_some() {}
    Ok(())
}
