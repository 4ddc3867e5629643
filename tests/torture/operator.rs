//! The operator under torture: store, pollers and pipeline as `run` puts them together, without Kubernetes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use telegram_connector_operator::api::connector::{AccessLevel, AssistantProtocol, AssistantSpec};
use telegram_connector_operator::assistant::{self, AssistantContext, GuardPolicy, Limits};
use telegram_connector_operator::clock::SystemClock;
use telegram_connector_operator::connection::{Connections, Reach};
use telegram_connector_operator::controller::{self, ConnectionSettings};
use telegram_connector_operator::identity::{ConnectorRef, ConnectorUid};
use telegram_connector_operator::observation::Observations;
use telegram_connector_operator::pipeline::{
    Pipeline, PipelineContext, PipelineLimits, RetryPolicy,
};
use telegram_connector_operator::registry::{
    AccessPolicy, DeniedReply, Registry, ResolvedConnector, SessionDuration, SessionPolicy,
    Transcription,
};
use telegram_connector_operator::store;
use telegram_connector_operator::telegram::{Bot, BotToken, TelegramApi};
use telegram_connector_operator::telemetry::Metrics;

pub(crate) fn token(n: usize) -> String {
    format!("{}:AAFakeTokenFakeTokenFakeTokenFakeTok", 8_400_000_001 + n)
}

/// Does nothing unless it is the tortured process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_under_torture() {
    if std::env::var_os("TORTURED").is_none() {
        return;
    }
    let var = |name: &str| std::env::var(name).expect("set by the parent");
    let store = store::open(&var("TORTURED_STORE")).await.unwrap();
    let registry = Arc::new(Registry::default());
    let (observations, mut woken) = Observations::new();
    let observations = Arc::new(observations);
    let metrics = Arc::new(Metrics::new());
    let api = Arc::new(TelegramApi::new(var("TORTURED_TELEGRAM").parse().unwrap()).unwrap());
    let assistants = AssistantContext::new(Limits::default(), GuardPolicy::default()).unwrap();
    let spec = AssistantSpec {
        protocol: AssistantProtocol::OpenAI,
        url: var("TORTURED_ASSISTANT"),
        model: Some("sample".into()),
        system_prompt: None,
        assistant_id: None,
        api_key_secret_ref: None,
        timeout_seconds: Some(10),
    };
    let connections = Connections::new(
        store.clone(),
        observations.clone(),
        metrics.clone(),
        ConnectionSettings::Polling,
        controller::LOOK_AGAIN,
    );
    connections.open();
    for n in 0..var("TORTURED_BOTS").parse().unwrap() {
        let bot = Bot::new(api.clone(), BotToken::parse(&token(n)).unwrap());
        let connector = ConnectorRef {
            namespace: "acme".into(),
            name: format!("bot{n}").into(),
            uid: ConnectorUid::from(format!("uid-{n}").as_str()),
        };
        registry.publish(Arc::new(ResolvedConnector {
            connector: connector.clone(),
            generation: 1,
            bot: bot.clone(),
            bot_username: format!("bot{n}_bot").into(),
            access: AccessPolicy {
                level: AccessLevel::Open,
                ids: Arc::new(HashSet::new()),
                usernames: Arc::new(HashSet::new()),
            },
            save_denied_conversations: false,
            denied_reply: DeniedReply::Default,
            session: SessionPolicy {
                duration: SessionDuration::Hours(24),
                max_messages: 10,
            },
            groups: None,
            greeting: None,
            messages_per_minute: 600,
            assistant: Some(assistant::build(&spec, None, &assistants).unwrap()),
            transcription: Transcription::None,
        }));
        connections
            .ensure(&connector, &bot, None, Reach::Connect)
            .await;
    }
    let _pipeline = Pipeline::start(PipelineContext {
        registry,
        store,
        observations,
        clock: Arc::new(SystemClock),
        metrics,
        limits: PipelineLimits {
            retry: RetryPolicy {
                // Kills and moods come faster than in life; so must the retries.
                assistant_attempts: 12,
                assistant_base: Duration::from_millis(100),
                telegram_base: Duration::from_millis(100),
                telegram_longest: Duration::from_secs(2),
                ..RetryPolicy::default()
            },
            ..PipelineLimits::default()
        },
        on_dead_letter: None,
    });
    while woken.recv().await.is_some() {}
}
