//! A world to try the pipeline in: the Bot API simulator, the sample assistant, a store in a file, and a minimal poller that
//! stands for `connection` (accept, and only then a higher offset).

// Named, since other tests have this file from elsewhere.
#[path = "test_env/assistants.rs"]
mod assistants;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bot_api_simulator::sample_assistant::SampleAssistant;
use bot_api_simulator::{SentMessage, Simulator, SimulatorOptions};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use telegram_connector_operator::api::connector::AccessLevel;
use telegram_connector_operator::clock::{SharedClock, SystemClock};
use telegram_connector_operator::identity::{BotId, ConnectorRef, ConnectorUid};
use telegram_connector_operator::identity_provider::Sealer;
use telegram_connector_operator::observation::Observations;
use telegram_connector_operator::pipeline::{
    Pipeline, PipelineContext, PipelineLimits, RetryPolicy,
};
use telegram_connector_operator::registry::{
    AccessPolicy, AnswerPolicy, DeniedReply, FilePolicy, Registry, ResolvedConnector,
    SessionDuration, SessionPolicy, Speech, Transcription,
};
use telegram_connector_operator::store::{self, ListingQuery, Store, StoreOptions};
use telegram_connector_operator::telegram::{Bot, BotToken, LocalFiles, TelegramApi};
use telegram_connector_operator::telemetry::Readiness;
use telegram_connector_operator::telemetry::metrics::Metrics;

/// Long enough for a slow machine; a test that waits so long has failed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
/// The user everybody's list names.
pub(crate) const ANN: i64 = 1001;
/// A user nobody's list names.
pub(crate) const EVE: i64 = 6666;

pub(crate) struct TestEnv {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: String,
    pub(crate) telegram: Simulator,
    pub(crate) assistant: SampleAssistant,
    pub(crate) registry: Arc<Registry>,
    pub(crate) observations: Arc<Observations>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) limits: PipelineLimits,
    pub(crate) clock: SharedClock,
    pub(crate) sealer: Arc<Sealer>,
    pipeline: Option<Pipeline>,
    pollers: Vec<tokio::task::JoinHandle<()>>,
    /// `--telegram-files-dir` of connectors that are made from now on.
    pub(crate) local_files: Option<LocalFiles>,
}

/// Quick retries: what is tested is that they happen and in what order.
pub(crate) fn fast_retries() -> RetryPolicy {
    RetryPolicy {
        assistant_attempts: 3,
        assistant_base_delay: Duration::from_millis(20),
        telegram_base_delay: Duration::from_millis(20),
        telegram_max_delay: Duration::from_millis(200),
        unauthorized_delay: Duration::from_mins(1),
        ..RetryPolicy::default()
    }
}

impl TestEnv {
    /// Everything started but no connector.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(edit: impl FnOnce(&mut PipelineLimits)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("sqlite:{}/connectors.db", folder.path().display());
        Self::at(folder, address, edit).await
    }

    /// On another store.
    pub(crate) async fn on(address: &str) -> Self {
        Self::at(tempfile::tempdir().unwrap(), address.to_owned(), |_| {}).await
    }

    async fn at(
        folder: tempfile::TempDir,
        address: String,
        edit: impl FnOnce(&mut PipelineLimits),
    ) -> Self {
        let mut limits = PipelineLimits {
            retry: fast_retries(),
            // Most tests count answers: each message has its own. Turns are the conversations' subject.
            follow_up: Duration::ZERO,
            ..PipelineLimits::default()
        };
        edit(&mut limits);
        let (observations, _) = Observations::new();
        let mut env = Self {
            store: open(&address).await,
            address,
            folder,
            telegram: Simulator::start(SimulatorOptions::default()).await.unwrap(),
            assistant: SampleAssistant::start().await.unwrap(),
            registry: Arc::default(),
            observations: Arc::new(observations),
            metrics: Arc::new(Metrics::new()),
            readiness: Arc::default(),
            limits,
            clock: Arc::new(SystemClock),
            sealer: Arc::new(Sealer::ephemeral()),
            pipeline: None,
            pollers: Vec::new(),
            local_files: None,
        };
        env.start();
        env
    }

    /// Starts the pipeline on the store.
    pub(crate) fn start(&mut self) {
        self.pipeline = Some(self.second_process(self.store.clone()));
    }

    /// A pipeline of its own, as a second process has: with its own connection to the store.
    pub(crate) fn second_process(&self, store: Arc<dyn Store>) -> Pipeline {
        Pipeline::start(self.pipeline_context(store))
    }

    /// What a pipeline on this store is started with.
    pub(crate) fn pipeline_context(&self, store: Arc<dyn Store>) -> PipelineContext {
        PipelineContext {
            registry: self.registry.clone(),
            store,
            observations: self.observations.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
            limits: self.limits,
            on_dead_letter: None,
            sealer: self.sealer.clone(),
        }
    }

    /// Stops the pipeline well and starts it again on the reopened store, as an update of the operator does.
    pub(crate) async fn restart(&mut self, grace: Duration) {
        self.stop(grace).await;
        self.store = open(&self.address).await;
        self.start();
    }

    pub(crate) async fn stop(&mut self, grace: Duration) {
        if let Some(pipeline) = self.pipeline.take() {
            pipeline.shutdown(grace).await;
            // A busy disk may take longer than a process that ends waits for, and the next one would wait for the lease.
            let given_back = self.store.release_claims();
            let _ = tokio::time::timeout(TIMEOUT, given_back).await;
        }
    }

    /// A bot at the simulator and a connector that serves it, level Specific with Ann.
    pub(crate) fn connector(&mut self, name: &str) -> Connector {
        self.connector_with(name, |_| {})
    }

    pub(crate) fn connector_with(
        &mut self,
        name: &str,
        edit: impl FnOnce(&mut ResolvedConnector),
    ) -> Connector {
        let number = 8_400_000_000 + i64::try_from(self.pollers.len()).unwrap() + 1;
        let token = format!("{number}:AAFakeTokenFakeTokenFakeTokenFakeTok");
        let id = BotId(self.telegram.add_bot(&token, &format!("{name}_bot"), name));
        let api = Arc::new(
            TelegramApi::new(self.telegram.url())
                .unwrap()
                .with_local_files(self.local_files.clone()),
        );
        let bot = Bot::new(api, BotToken::parse(&token).unwrap());
        let mut resolved = ResolvedConnector {
            connector_ref: ConnectorRef {
                namespace: "acme".into(),
                name: name.into(),
                uid: ConnectorUid::from(format!("uid-{name}").as_str()),
            },
            generation: 1,
            bot: bot.clone(),
            bot_username: format!("{name}_bot").into(),
            bot_name: name.into(),
            display_name: None,
            answers: AnswerPolicy::default(),
            access: specific_users(&[ANN]),
            save_denied_conversations: true,
            denied_reply: DeniedReply::Default,
            session: SessionPolicy {
                duration: SessionDuration::Hours(24),
                max_messages: 50,
                max_tokens: None,
            },
            groups: None,
            greeting: None,
            messages_per_minute: 600,
            day_limits: None,
            concurrency: telegram_connector_operator::api::connector::DEFAULT_CONCURRENCY,
            assistant: Some(self.openai()),
            transcription: Transcription::None,
            speech: Speech::default(),
            approvals: None,
            requests: None,
            files: FilePolicy::default(),
            sending_per_minute: None,
            sign_in: None,
        };
        edit(&mut resolved);
        let uid = resolved.connector_ref.uid.clone();
        self.registry.publish(Arc::new(resolved));
        self.pollers.push(tokio::spawn(poll(
            bot.clone(),
            uid.clone(),
            self.store.clone(),
        )));
        Connector { id, uid, bot }
    }

    /// Another connector has this bot from now on, or the same one again.
    pub(crate) fn hand_over(&mut self, from: &ResolvedConnector, name: &str) -> Connector {
        self.stop_polling();
        let uid = ConnectorUid::from(format!("uid-{name}").as_str());
        let resolved = ResolvedConnector {
            connector_ref: ConnectorRef {
                namespace: "acme".into(),
                name: name.into(),
                uid: uid.clone(),
            },
            ..from.clone()
        };
        self.registry.publish(Arc::new(resolved));
        let bot = from.bot.clone();
        let connector = Connector {
            id: bot.id(),
            uid,
            bot,
        };
        self.poll_into(&connector, self.store.clone());
        connector
    }

    /// Nothing is polled any more, as after the end of a process.
    pub(crate) fn stop_polling(&mut self) {
        for poller in self.pollers.drain(..) {
            poller.abort();
        }
    }

    /// A connector's bot is polled into this store from now on.
    pub(crate) fn poll_into(&mut self, connector: &Connector, store: Arc<dyn Store>) {
        let poller = poll(connector.bot.clone(), connector.uid.clone(), store);
        self.pollers.push(tokio::spawn(poller));
    }

    /// Waits until so many messages wait in the inbox.
    pub(crate) async fn wait_until_waiting(&self, messages: u64) {
        wait_until("messages wait", async || {
            self.waiting_messages().await == messages
        })
        .await;
    }

    /// Publishes a changed connector.
    pub(crate) fn update_connector(
        &self,
        connector: &Connector,
        edit: impl FnOnce(&mut ResolvedConnector),
    ) {
        let mut resolved = (*self.registry.get(&connector.uid).unwrap()).clone();
        // The API server counts up at each change of the spec.
        resolved.generation += 1;
        edit(&mut resolved);
        self.registry.publish(Arc::new(resolved));
    }

    /// Makes a connector's name known to the store, as the controller does.
    pub(crate) async fn register(&self, connector: &Connector) {
        let resolved = self.registry.get(&connector.uid).unwrap();
        self.store.register(&resolved.connector_ref).await.unwrap();
    }

    /// Ann asks and gets the next message.
    pub(crate) async fn ask(&self, connector: &Connector, text: &str) -> SentMessage {
        self.telegram
            .send_and_wait(connector.id, ANN, text, TIMEOUT)
            .await
    }

    pub(crate) async fn dead_letters(&self) -> Vec<store::DeadLetter> {
        let listing = ListingQuery {
            limit: 100,
            ..ListingQuery::default()
        };
        self.store.dead_letters(&listing).await.unwrap().rows
    }

    pub(crate) async fn waiting_messages(&self) -> u64 {
        let backlog = self.store.backlog().await.unwrap();
        backlog.iter().map(|b| b.messages).sum()
    }

    /// Waits until nothing waits in the inbox.
    /// Waits until no update is pending, neither in Telegram nor in the inbox.
    #[allow(dead_code, reason = "the conversations have their own")]
    pub(crate) async fn wait_until_handled(&self, connector: &Connector) {
        wait_until("every update has been accepted", async || {
            let info = connector.bot.get_webhook_info().await.unwrap();
            info.pending_update_count == 0
        })
        .await;
        self.wait_until_drained().await;
    }

    /// Waits until nobody works on a chat for which something waits to be sent: what Telegram has taken, and nobody knows yet that it has, would be
    /// sent once more by a process that comes next.
    pub(crate) async fn wait_until_recorded(&self) {
        let sending =
            "SELECT count(*) FROM outbox o JOIN lane l ON l.id = o.lane WHERE l.owner IS NOT NULL";
        wait_until("what was sent is recorded", async || {
            let sending: i64 = if let Some(path) = store::sqlite_path(&self.address) {
                let db = rusqlite::Connection::open(path).unwrap();
                db.query_row(sending, (), |row| row.get(0)).unwrap_or(1)
            } else {
                let options: PgConnectOptions = self.address.parse().unwrap();
                let mut db = options.connect().await.unwrap();
                let count = sqlx::query_scalar(sending);
                count.fetch_one(&mut db).await.unwrap()
            };
            sending == 0
        })
        .await;
    }

    pub(crate) async fn wait_until_drained(&self) {
        wait_until("the inbox is empty", async || {
            self.waiting_messages().await == 0
        })
        .await;
    }
}

/// Polls a condition until it holds.
pub(crate) async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        for poller in &self.pollers {
            poller.abort();
        }
    }
}

pub(crate) struct Connector {
    pub(crate) id: BotId,
    pub(crate) uid: ConnectorUid,
    pub(crate) bot: Bot,
}

/// A time zone in which it is about noon: no day ends during a test.
#[allow(dead_code, reason = "not used by the conversations' tests")]
pub(crate) fn noon_zone() -> jiff::tz::TimeZone {
    let hour = jiff::Timestamp::now().as_second().div_euclid(3600) % 24;
    let offset = i8::try_from(12 - hour).unwrap();
    jiff::tz::TimeZone::fixed(jiff::tz::offset(offset))
}

pub(crate) fn specific_users(ids: &[i64]) -> AccessPolicy {
    AccessPolicy {
        level: AccessLevel::Specific,
        ids: Arc::new(ids.iter().copied().collect()),
        usernames: Arc::new(HashSet::new()),
        ends: Arc::default(),
        takes_grants: false,
    }
}

pub(crate) async fn open(address: &str) -> Arc<dyn Store> {
    open_with_lease(address, StoreOptions::default().lease).await
}

/// With claims that are taken over so long after a process has gone.
pub(crate) async fn open_with_lease(address: &str, lease: Duration) -> Arc<dyn Store> {
    let options = StoreOptions {
        lease,
        ..StoreOptions::default()
    };
    store::open_with(address, options).await.unwrap()
}

async fn poll(bot: Bot, uid: ConnectorUid, store: Arc<dyn Store>) {
    let mut offset = 0;
    loop {
        let polled = bot.get_updates(offset, 100, Duration::from_secs(10)).await;
        let Ok(updates) = polled else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(last) = updates.iter().map(|u| u.update_id).max() else {
            continue;
        };
        match store.accept(&uid, bot.id(), updates).await {
            Ok(_) => offset = last + 1,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
