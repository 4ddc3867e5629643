//! The end of a pipeline whose store does not answer: it comes with the end of the grace period all the same, and no task stays behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bot_api_simulator::Tap;
use bot_api_simulator::sample_assistant::Behaviour;
use futures::future::join_all;
use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::assistant::{AnswerPart, Choice, ChoiceButton, Question};
use telegram_connector_operator::pipeline::Pipeline;
use telegram_connector_operator::registry::GroupPolicy;

use crate::files_out::{offered_bytes, png};
use crate::intercepted_store::{Fate, InterceptedStore};
use crate::scripted_assistant::{Script, ScriptedAssistant, text};
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, wait_until};

const GRACE: Duration = Duration::from_millis(300);

fn respond(question: &Question) -> Script {
    let button = ChoiceButton {
        text: "Yes".into(),
        value: "Yes".into(),
    };
    match question.text.as_str() {
        "choose" => Ok(vec![
            Ok(AnswerPart::Text("Well?".into())),
            Ok(AnswerPart::Choice(Choice {
                rows: vec![vec![button]],
                ..Choice::default()
            })),
        ]),
        "file" => Ok(vec![Ok(offered_bytes("cat.png", &png()))]),
        _ => text("ok"),
    }
}

/// What a person does while a method of the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Say(&'static str),
    /// Says it to an assistant that takes its time.
    SaySlowly,
    Mention,
    /// Answers a question with buttons by a tap.
    Tap,
    /// The same by words.
    SayInstead,
    /// The connector changes while a message waits for that.
    Change,
}

/// A pipeline on a store of which one method never answers from some moment on.
struct HangingWorld {
    env: TestEnv,
    support: Connector,
    is_armed: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    store: Arc<InterceptedStore>,
    pipeline: Pipeline,
}

impl HangingWorld {
    async fn new(method: &'static str, act: Act) -> Self {
        let mut env = TestEnv::new().await;
        env.stop(TIMEOUT).await;
        let assistant = ScriptedAssistant::new(respond);
        let slow = env.openai();
        let support = env.connector_with("support", |c| {
            c.assistant = match act {
                Act::SaySlowly => Some(slow),
                Act::Change => None,
                _ => Some(assistant.shared()),
            };
            c.answers.max_file_bytes = Some(20 << 20);
            c.groups = Some(GroupPolicy {
                read_along: 3,
                respond_to: RespondTo::Mention,
                chats: None,
            });
        });
        env.assistant.set_behaviour(Behaviour {
            hang: true,
            ..Behaviour::default()
        });
        let is_armed = Arc::new(AtomicBool::new(!matches!(act, Act::Tap | Act::SayInstead)));
        let hangs = Arc::new(AtomicBool::new(false));
        let (armed, hanging) = (is_armed.clone(), hangs.clone());
        let store = InterceptedStore::new(env.store.clone(), move |called| {
            if called != method || !armed.load(Ordering::SeqCst) {
                return Fate::Answered;
            }
            hanging.store(true, Ordering::SeqCst);
            Fate::Hangs
        });
        let pipeline = env.second_process(store.clone());
        Self {
            env,
            support,
            is_armed,
            hangs,
            store,
            pipeline,
        }
    }

    fn say(&self, words: &str) {
        let telegram = &self.env.telegram;
        telegram.send_private_message(self.support.id, ANN, words);
    }

    async fn ask_with_buttons(&self) -> Tap {
        self.say("choose");
        let telegram = &self.env.telegram;
        let sent = telegram.wait_for_sent_messages(self.support.id, ANN, 0, TIMEOUT);
        let message_id = sent.await[0].message_id;
        self.env.wait_until_drained().await;
        self.is_armed.store(true, Ordering::SeqCst);
        Tap {
            bot: Some(self.support.id.0),
            from: ANN,
            message_id,
            row: Some(0),
            column: Some(0),
            ..Tap::default()
        }
    }

    async fn act(&self, act: Act) {
        let telegram = &self.env.telegram;
        match act {
            Act::Say(words) => self.say(words),
            Act::SaySlowly | Act::Change => self.say("hello"),
            Act::Mention => {
                let group = telegram.add_group("supergroup", "Team", &[self.support.id.0]);
                telegram.send_group_message(group, ANN, "@support_bot hello");
            }
            Act::Tap => {
                let tap = self.ask_with_buttons().await;
                telegram.tap(&tap).unwrap();
            }
            Act::SayInstead => {
                self.ask_with_buttons().await;
                self.say("neither");
            }
        }
    }
}

/// Has one method hang and ends the pipeline then.
async fn end_while_hanging(method: &'static str, act: Act) {
    let world = HangingWorld::new(method, act).await;
    world.act(act).await;
    wait_until(method, async || {
        if act == Act::Change {
            world.env.update_connector(&world.support, |_| {});
        }
        world.hangs.load(Ordering::SeqCst) || method == "release_claims"
    })
    .await;
    let store = Arc::downgrade(&world.store);
    drop(world.store);
    let ended = tokio::time::timeout(TIMEOUT / 2, world.pipeline.shutdown(GRACE)).await;
    assert!(ended.is_ok(), "{method}: it never ends");
    assert!(store.upgrade().is_none(), "{method}: a task stays behind");
    // What it could not give back is taken over, what it could is there at once.
    assert!(world.hangs.load(Ordering::SeqCst), "{method}");
    world.env.store.writable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_whatever_the_store_does_not_answer() {
    let cases = [
        ("keep_claims", Act::Say("hello")),
        ("claim", Act::Say("hello")),
        ("count_messages", Act::Say("hello")),
        ("write", Act::Say("hello")),
        ("upload", Act::Say("file")),
        ("read_along", Act::Mention),
        ("user_decision", Act::Tap),
        ("open_user_decisions", Act::SayInstead),
        ("waiting_messages", Act::SaySlowly),
        ("ready_now", Act::Change),
        ("expire_decisions", Act::Say("hello")),
        ("backlog", Act::Say("hello")),
        ("dead_letters", Act::Say("hello")),
        ("dead_letter_other_bots", Act::Say("hello")),
        ("prune", Act::Say("hello")),
        ("release_claims", Act::Say("hello")),
    ];
    join_all(cases.map(|(method, act)| end_while_hanging(method, act))).await;
}
