//! A chat bot in processes that are killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bot_api_simulator::{Fault, FaultKind, SentMessage, Tap, UserAction};
use serde_json::json;
use telegram_connector_operator::assistant::Question;
use telegram_connector_operator::pipeline::Pipeline;
use telegram_connector_operator::store::{self, Store, StoreOptions};
use tokio::time::Instant;

use super::conversations::{Act, BEN, Chat, Conversation, respond};
use super::database::{Database, Server};
use super::{Kill, Point};
use crate::intercepted_store::{Fate, InterceptedStore};
use crate::scripted_assistant::ScriptedAssistant;
use crate::test_env::{ANN, Connector, EVE, TIMEOUT, TestEnv, specific_users, wait_until};

/// How soon the claims of a killed process may be taken over.
const LEASE: Duration = Duration::from_millis(100);

/// What waits to be sent.
const UNSENT: &str = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM upload)";

/// The calls on the way of a message, and of what a process begins with; the rest of those that come with the time are not counted.
const COUNTED: [&str; 18] = [
    "accept",
    "claim",
    "write",
    "release_in_background",
    "record_sent",
    "upload",
    "read_along",
    "count_messages",
    "reached_limit",
    "count_question",
    "user_decision",
    "open_user_decisions",
    "keep_claims",
    "expire_decisions",
    "grants_of",
    "open_access_request",
    "access_request_by_token",
    "expire_access_requests",
];

/// A chat bot, and the process that it runs in.
pub(super) struct World {
    pub(super) env: TestEnv,
    database: Database,
    support: Option<Connector>,
    assistant: ScriptedAssistant,
    pub(super) team: i64,
    pub(super) ops: i64,
    /// What the process that runs has the store by.
    store: Arc<InterceptedStore>,
    pub(super) pipeline: Option<Pipeline>,
    pub(super) calls: Arc<AtomicUsize>,
    kill: Option<Kill>,
    /// The fault that hangs the call of the Bot API at which it is killed.
    fatal_call: Option<u64>,
    kills: usize,
}

impl World {
    pub(super) async fn new(
        server: &Server,
        conversation: &Conversation,
        kill: Option<Kill>,
    ) -> Self {
        let (mut env, database) = server.env().await;
        env.stop(TIMEOUT).await;
        let assistant = ScriptedAssistant::new(respond);
        let support = env.connector_with("support", |c| {
            c.assistant = Some(assistant.shared());
            c.answers.max_file_bytes = Some(20 << 20);
            c.access = specific_users(&[ANN, BEN]);
        });
        env.stop_polling();
        env.telegram.set_privacy(support.id, false);
        let [team, ops] =
            ["Team", "Ops"].map(|name| env.telegram.add_group("supergroup", name, &[support.id.0]));
        env.store = open(&env.address).await;
        env.register(&support).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let fatal = kill.as_ref().and_then(|kill| match kill.at {
            Point::Store { call, done } => Some((call, done)),
            Point::Telegram { .. } => None,
        });
        let store = ending_store(env.store.clone(), calls.clone(), fatal);
        let mut world = Self {
            env,
            database,
            support: None,
            assistant,
            team,
            ops,
            store,
            pipeline: None,
            calls,
            kill,
            fatal_call: None,
            kills: 0,
        };
        world.env.update_connector(&support, |connector| {
            (conversation.configure)(connector, &world);
        });
        world.support = Some(support);
        world.fatal_call = world.hang_fatal_call();
        world.start();
        world
    }

    /// Has the call of the Bot API hang at which the process is killed.
    fn hang_fatal_call(&self) -> Option<u64> {
        let Point::Telegram { method, call, done } = &self.kill.as_ref()?.at else {
            return None;
        };
        let telegram = &self.env.telegram;
        let passes = Fault::new(FaultKind::Delay { ms: 0 });
        telegram.add_fault(passes.method(method).times(*call));
        let hangs = Fault::new(if *done {
            FaultKind::HangAfter
        } else {
            FaultKind::Hang
        });
        Some(telegram.add_fault(hangs.method(method).times(1)))
    }

    pub(super) fn support(&self) -> &Connector {
        self.support.as_ref().unwrap()
    }

    fn start(&mut self) {
        let support = self.support.take().unwrap();
        self.env.poll_into(&support, self.store.clone());
        self.support = Some(support);
        self.pipeline = Some(self.env.second_process(self.store.clone()));
    }

    /// Puts another process in the place of the one that was killed, once that is gone and its claims are taken over.
    async fn replace(&mut self) {
        let again = self.kill.as_ref().and_then(|kill| kill.again);
        let fatal = again.filter(|_| self.kills == 0).map(|call| (call, true));
        self.kills += 1;
        self.env.stop_polling();
        self.pipeline.take().unwrap().shutdown(Duration::ZERO).await;
        let killed = Arc::downgrade(&self.store);
        self.env.store = open(&self.env.address).await;
        self.store = ending_store(self.env.store.clone(), Arc::default(), fatal);
        wait_until("nothing of the killed process is left", async || {
            killed.strong_count() == 0
        })
        .await;
        wait_until("its claims are taken over", async || {
            self.env.store.keep_claims().await.unwrap();
            let claimants = "SELECT count(*) FROM claimant";
            self.database.count(claimants).await == 0
        })
        .await;
        self.start();
    }

    fn id(&self, chat: Chat) -> i64 {
        match chat {
            Chat::Ann => ANN,
            Chat::Eve => EVE,
            Chat::Team => self.team,
            Chat::Ops => self.ops,
        }
    }

    fn sent(&self, chat: Chat) -> Vec<SentMessage> {
        let telegram = &self.env.telegram;
        telegram.sent_messages(self.support().id, self.id(chat))
    }

    fn act(&self, act: Act) {
        let (telegram, bot) = (&self.env.telegram, self.support().id.0);
        match act {
            Act::Say(who, Chat::Ann | Chat::Eve, words) => {
                telegram.send_private_message(self.support().id, who, words);
            }
            Act::Say(who, chat, words) => {
                telegram.send_group_message(self.id(chat), who, words);
            }
            Act::Speak(words) => {
                let voice = json!({"voice": {"data": words}});
                let action = UserAction {
                    bot: Some(bot),
                    from: Some(ANN),
                    content: voice.as_object().unwrap().clone(),
                    ..UserAction::default()
                };
                telegram.perform(&action).unwrap();
            }
            Act::Tap(who, chat, columns) => {
                let sent = self.sent(chat);
                let asked = sent.iter().rfind(|m| m.reply_markup.is_some()).unwrap();
                let keyboard = asked.reply_markup.clone().unwrap();
                for column in columns {
                    // As it was shown: the first tap takes the buttons away.
                    let data = &keyboard["inline_keyboard"][0][*column]["callback_data"];
                    let tap = Tap {
                        bot: Some(bot),
                        from: who,
                        chat: Some(self.id(chat)),
                        message_id: asked.message_id,
                        data: data.as_str().map(ToOwned::to_owned),
                        ..Tap::default()
                    };
                    telegram.tap(&tap).unwrap();
                }
            }
        }
    }

    fn hangs_in_fatal_call(&self) -> bool {
        let faults = self.env.telegram.faults();
        // It is there until it has had its effect.
        let is_armed = |fatal| {
            faults
                .iter()
                .any(|(id, _, hits)| *id == fatal && *hits == 0)
        };
        self.kills == 0 && self.fatal_call.is_some_and(|fatal| !is_armed(fatal))
    }

    /// Waits until this holds, and starts another process should this one be killed.
    async fn wait_for(&mut self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !holds(self).await {
            let all = [Chat::Ann, Chat::Eve, Chat::Team, Chat::Ops].map(|chat| self.sent(chat));
            let shown = || all.concat().iter().map(shown).collect::<Vec<_>>();
            let kill = &self.kill;
            assert!(
                Instant::now() < deadline,
                "{kill:?}: never: {what}: {:#?}",
                shown()
            );
            if self.hangs_in_fatal_call() {
                self.store.end();
            }
            if self.store.has_ended() {
                self.replace().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn hold(&mut self, conversation: &Conversation) {
        for step in conversation.steps {
            for act in step.acts {
                self.act(*act);
            }
            let (chat, effect) = step.effect;
            self.wait_for(effect, async |world: &Self| {
                let sent = world.sent(chat);
                sent.iter()
                    .any(|m| m.text.contains(effect) || m.caption.contains(effect))
            })
            .await;
        }
        self.wait_for("everything is handled", async |world: &Self| {
            let bot = &world.support().bot;
            let info = bot.get_webhook_info().await.unwrap();
            info.pending_update_count == 0
                && world.env.waiting_messages().await == 0
                && world.database.count(UNSENT).await == 0
        })
        .await;
    }

    /// What came of it, as the conversation says it.
    pub(super) async fn check(&self, conversation: &Conversation) {
        let kill = &self.kill;
        for (chat, expected) in conversation.shown {
            let all: Vec<String> = self.sent(*chat).iter().map(shown).collect();
            let is = |shown: &String, expected: &str| {
                expected.split('|').any(|part| shown.contains(part))
            };
            let (mut next, mut doubled) = (0, 0);
            for message in &all {
                if expected
                    .get(next)
                    .is_some_and(|expected| is(message, expected))
                {
                    next += 1;
                } else {
                    // What was on its way when the process was killed may have come twice, one behind the other.
                    let again = expected[..next].last();
                    let again = again.is_some_and(|expected| is(message, expected));
                    assert!(again, "{kill:?}: {message:?} in {all:#?}");
                    doubled += 1;
                }
            }
            assert_eq!(next, expected.len(), "{kill:?}: {all:#?}");
            // In each chat one may have been on its way.
            assert!(doubled <= self.kills, "{kill:?}: {doubled} in {all:#?}");
        }
        let mut asked = self.assistant.take_questions();
        // What was not answered before the kill is asked again, as the same question.
        asked.dedup_by(|one, other| one.idempotency_key == other.idempotency_key);
        let asked: Vec<String> = asked.iter().map(text_of).collect();
        assert_eq!(asked, conversation.asked, "{kill:?}");
        assert!(self.env.dead_letters().await.is_empty(), "{kill:?}");
        self.check_counted(conversation).await;
        for mark in conversation.marks {
            let sent = self.sent(mark.chat);
            let marked = sent.iter().filter(|m| m.text.contains(mark.text));
            let is_marked = marked.count() == 1 || mark.is_typed && self.kills > 0;
            assert!(is_marked, "{kill:?}: {}: {sent:#?}", mark.text);
        }
        let open = "SELECT count(*) FROM user_decision WHERE state = 0";
        let open = self.database.count(open).await;
        assert_eq!(open, 0, "{kill:?}: a question is left open");
        let grants = self.database.count("SELECT count(*) FROM access_grant");
        assert_eq!(grants.await, conversation.grants, "{kill:?}: grants");
        let waiting = "SELECT count(*) FROM access_request WHERE phase = 0";
        let waiting = self.database.count(waiting).await;
        assert_eq!(waiting, 0, "{kill:?}: a request is left open");
    }

    /// Where a day is limited, each question counts once; what follows from an approval is none.
    async fn check_counted(&self, conversation: &Conversation) {
        let connector = self.env.registry.get(&self.support().uid).unwrap();
        let questions = conversation.asked.iter().filter(|q| !q.contains(" of a"));
        let expected = match connector.day_limits {
            Some(_) => i64::try_from(questions.count()).unwrap(),
            None => 0,
        };
        for counted in [
            "SELECT CAST(coalesce(sum(messages), 0) AS BIGINT) FROM day_usage WHERE sender > 0",
            "SELECT CAST(coalesce(sum(messages), 0) AS BIGINT) FROM day_usage WHERE sender = 0",
        ] {
            let counted = self.database.count(counted).await;
            assert_eq!(counted, expected, "{:?}", self.kill);
        }
    }
}

/// A store that ends its process at a counted call, with what it asked for done or not.
fn ending_store(
    store: Arc<dyn Store>,
    calls: Arc<AtomicUsize>,
    fatal: Option<(usize, bool)>,
) -> Arc<InterceptedStore> {
    InterceptedStore::new(store, move |method| {
        if !COUNTED.contains(&method) {
            return Fate::Answered;
        }
        let call = calls.fetch_add(1, Ordering::SeqCst);
        match fatal {
            Some((at, done)) if at == call => Fate::Ends { done },
            _ => Fate::Answered,
        }
    })
}

async fn open(address: &str) -> Arc<dyn Store> {
    let options = StoreOptions {
        lease: LEASE,
        ..StoreOptions::default()
    };
    store::open_with(address, options).await.unwrap()
}

/// What a message shows, as the conversations name it.
fn shown(message: &SentMessage) -> String {
    match (&message.media, &message.rich_message) {
        (Some(media), _) => format!("{} {}", media.kind, message.caption),
        (None, Some(_)) => "rich".to_owned(),
        _ => message.text.clone(),
    }
}

/// What the assistant is told by a question, as the conversations name it.
fn text_of(question: &Question) -> String {
    if let Some(action) = &question.action {
        return format!("{} of {}", action.value, action.of);
    }
    let along = question.context.read_along.iter();
    let along: Vec<&str> = along.map(|message| &*message.text).collect();
    let text = question.text.rsplit(": ").next().unwrap_or_default();
    if along.is_empty() {
        text.to_owned()
    } else {
        format!("{text} <{}>", along.join(", "))
    }
}
