//! A process that is killed at each point at which it waits for the store, one point after the other: what people say, tap and are sent comes to the
//! same end as without. A tap counts once, nothing is lost, and the order stays.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bot_api_simulator::{SentMessage, Tap};
use futures::future::join_all;
use telegram_connector_operator::assistant::{AnswerPart, Choice, ChoiceButton, Question};
use telegram_connector_operator::store::{self, Store, StoreOptions};

use crate::ending_store::{End, EndingStore};
use crate::scripted_assistant::{Script, ScriptedAssistant, text};
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, wait_until};

/// Conversations that are held side by side.
const SIDE_BY_SIDE: usize = 6;
/// More points than any of these conversations has.
const MOST_POINTS: usize = 200;
/// How soon the claims of a killed process are taken over.
const LEASE: Duration = Duration::from_millis(100);

/// What a person does next, and what is there when it has had its effect.
struct Step {
    act: Act,
    effect: &'static str,
}

#[derive(Clone, Copy)]
enum Act {
    Say(&'static str),
    /// Taps these buttons of the question, one after the other.
    Tap(&'static [usize]),
}

/// A conversation, and all that is shown in the end, without what a kill doubled.
struct Conversation {
    steps: &'static [Step],
    shown: &'static [&'static str],
}

const CHOICE: Conversation = Conversation {
    steps: &[
        Step {
            act: Act::Say("choose"),
            effect: "Well?",
        },
        Step {
            act: Act::Tap(&[0, 0, 1]),
            effect: "done: Yes",
        },
        Step {
            act: Act::Say("and now"),
            effect: "ok",
        },
    ],
    shown: &["Well?\n\n✓ Yes", "done: Yes", "ok"],
};

fn respond(question: &Question) -> Script {
    let buttons = ["Yes", "No"].map(|text| ChoiceButton {
        text: text.into(),
        value: text.into(),
    });
    let said = |words: &str| Ok(AnswerPart::Text(words.into()));
    if let Some(action) = &question.action {
        return text(format!("done: {}", action.value));
    }
    Ok(match question.text.as_str() {
        "choose" => {
            let choice = Choice {
                rows: vec![buttons.into()],
                ..Choice::default()
            };
            vec![said("Well?"), Ok(AnswerPart::Choice(choice))]
        }
        _ => vec![said("ok")],
    })
}

/// Held in a process that ends once.
struct World {
    env: TestEnv,
    support: Connector,
    ending: Arc<EndingStore>,
    is_killed: bool,
}

impl World {
    async fn new(end: End) -> Self {
        let mut env = TestEnv::new().await;
        let assistant = ScriptedAssistant::new(respond);
        let support = env.connector_with("support", |c| {
            c.assistant = Some(assistant.shared());
        });
        let ending = EndingStore::new(open(&env.address).await, end);
        let mut world = Self {
            env,
            support,
            ending: ending.clone(),
            is_killed: false,
        };
        world.start_on(ending).await;
        world
    }

    async fn start_on(&mut self, store: Arc<dyn Store>) {
        self.env.restart_on(store).await;
        // The updates come into the store that is open now.
        let resolved = self.env.registry.get(&self.support.uid).unwrap();
        self.env.hand_over(&resolved, "support");
    }

    fn sent(&self) -> Vec<SentMessage> {
        self.env.telegram.sent_messages(self.support.id, ANN)
    }

    /// Taps these buttons of every keyboard that is new: a question that came twice is tapped twice, as a person would.
    fn tap_new(&self, columns: &[usize], tapped: &Mutex<HashSet<i64>>) {
        for asked in self.sent() {
            let is_new =
                asked.reply_markup.is_some() && tapped.lock().unwrap().insert(asked.message_id);
            for column in columns.iter().filter(|_| is_new) {
                let tap = Tap {
                    bot: Some(self.support.id.0),
                    from: ANN,
                    message_id: asked.message_id,
                    row: Some(0),
                    column: Some(*column),
                    ..Tap::default()
                };
                // One of a keyboard that has gone meanwhile is none.
                let _ = self.env.telegram.tap(&tap);
            }
        }
    }

    /// Does a step and waits for its effect; starts another process should this one end.
    async fn take(&mut self, step: &Step) {
        let tapped = Mutex::default();
        if let Act::Say(words) = step.act {
            let telegram = &self.env.telegram;
            telegram.send_private_message(self.support.id, ANN, words);
        }
        let has_effect = |world: &Self| {
            if let Act::Tap(columns) = step.act {
                world.tap_new(columns, &tapped);
            }
            world.sent().iter().any(|m| m.text.contains(step.effect))
        };
        while !has_effect(self) {
            let effect = wait_until(step.effect, async || has_effect(self));
            tokio::select! {
                () = effect => return,
                () = self.ending.wait_for_end() => {}
            }
            self.replace().await;
        }
    }

    async fn replace(&mut self) {
        self.is_killed = true;
        let store = open(&self.env.address).await;
        self.start_on(store).await;
    }
}

async fn open(address: &str) -> Arc<dyn Store> {
    let options = StoreOptions {
        lease: LEASE,
        ..StoreOptions::default()
    };
    store::open_with(address, options).await.unwrap()
}

/// Holds the conversation with this end in it. Whether the end came before the conversation's.
async fn hold(conversation: &Conversation, end: End) -> bool {
    let mut world = World::new(end).await;
    for step in conversation.steps {
        world.take(step).await;
    }
    if world.ending.has_ended() && !world.is_killed {
        world.replace().await;
    }
    let was_killed = world.is_killed;
    if was_killed {
        world.env.wait_until_drained().await;
    }
    let mut all: Vec<String> = world.sent().into_iter().map(|m| m.text).collect();
    let sent = all.len();
    // What was on its way when the process was killed may have come twice, one behind the other.
    all.dedup();
    assert!(sent - all.len() <= 1, "{end:?}: {all:?}");
    assert_eq!(all.len(), conversation.shown.len(), "{end:?}: {all:?}");
    for (is, expected) in all.iter().zip(conversation.shown) {
        assert!(is.contains(expected), "{end:?}: {all:?}");
    }
    world.env.stop(TIMEOUT).await;
    was_killed
}

/// Holds it with an end at every point, until there is none left.
async fn end_everywhere(conversation: &Conversation) {
    for first in (0..MOST_POINTS).step_by(SIDE_BY_SIDE) {
        let ends = (first..first + SIDE_BY_SIDE)
            .flat_map(|call| [false, true].map(|done| End { call, done }));
        let killed = join_all(ends.map(|end| hold(conversation, end))).await;
        if killed.contains(&false) {
            assert!(first > 0, "there are more points than these");
            return;
        }
    }
    panic!("the conversation has no end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tapped_choice_counts_once_wherever_the_process_ends() {
    end_everywhere(&CHOICE).await;
}
