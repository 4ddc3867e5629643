//! Taps and approvals while the pipeline is ended again and again, at moments that a seed chooses: each counts exactly once, and the order stays.

use std::collections::BTreeSet;
use std::time::Duration;

use bot_api_simulator::{SentMessage, Tap};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use telegram_connector_operator::assistant::{
    AnswerPart, ApprovalRequest, Choice, ChoiceButton, Question,
};

use crate::files_out::assert_nothing_is_left;
use crate::scripted_assistant::{Script, ScriptedAssistant, text};
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, wait_until};

/// How many conversations are tried, and how often each is ended.
const SEEDS: u64 = 12;
const KILLS: usize = 4;
/// An exchange takes about so long, so that an end may come at any point of it.
const EXCHANGE: Duration = Duration::from_millis(25);

fn respond(question: &Question) -> Script {
    let buttons = ["Yes", "No"].map(|text| ChoiceButton {
        text: text.into(),
        value: text.into(),
    });
    let part = match question.text.as_str() {
        "choose" => AnswerPart::Choice(Choice {
            rows: vec![buttons.into()],
            ..Choice::default()
        }),
        "delete" => AnswerPart::Approval(ApprovalRequest {
            title: "delete_pod".into(),
            ..ApprovalRequest::default()
        }),
        _ => return text("ok"),
    };
    Ok(vec![Ok(AnswerPart::Text("Well?".into())), Ok(part)])
}

async fn kill(env: &mut TestEnv, support: &Connector, random: &mut StdRng) {
    for _ in 0..KILLS {
        let moment = EXCHANGE.mul_f64(random.random());
        tokio::time::sleep(moment).await;
        env.restart(Duration::ZERO).await;
        // The updates come into the store that is open now.
        let resolved = env.registry.get(&support.uid).unwrap();
        env.hand_over(&resolved, "support");
    }
}

fn with_buttons(env: &TestEnv, support: &Connector) -> Vec<SentMessage> {
    let sent = env.telegram.sent_messages(support.id, ANN).into_iter();
    sent.filter(|m| m.reply_markup.is_some()).collect()
}

/// Asks with `words`, taps the first button twice and the second once, writes behind it, and is ended all the while.
async fn decide_under_kills(words: &str, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut env = TestEnv::new().await;
    let assistant = ScriptedAssistant::new(respond);
    let support = env.connector_with("support", |c| c.assistant = Some(assistant.shared()));
    // An answer that an end breaks off has no buttons: it is asked again, as a person would.
    while with_buttons(&env, &support).is_empty() {
        env.telegram.send_private_message(support.id, ANN, words);
        kill(&mut env, &support, &mut random).await;
        env.wait_until_handled(&support).await;
        // Whatever of it is still to be shown.
        assert_nothing_is_left(&env).await;
    }
    let asked = with_buttons(&env, &support).pop().unwrap();
    for column in [0, 0, 1] {
        let tap = Tap {
            bot: Some(support.id.0),
            from: ANN,
            message_id: asked.message_id,
            row: Some(0),
            column: Some(column),
            ..Tap::default()
        };
        env.telegram.tap(&tap).unwrap();
    }
    env.telegram
        .send_private_message(support.id, ANN, "and now");
    kill(&mut env, &support, &mut random).await;
    let questions = std::sync::Mutex::new(Vec::new());
    wait_until("what was written last is asked", async || {
        questions_of(&assistant, &mut questions.lock().unwrap())
            .iter()
            .any(|(text, _)| text == "and now")
    })
    .await;
    env.wait_until_drained().await;
    let questions = questions_of(&assistant, &mut questions.lock().unwrap()).clone();
    check_order(&questions, words, seed);
    let shown = env.telegram.sent_messages(support.id, ANN);
    let shown = shown.iter().find(|m| m.message_id == asked.message_id);
    assert!(shown.unwrap().text.contains('✓'), "seed {seed}: {shown:?}");
    env.stop(TIMEOUT).await;
}

type RecordedQuestion = (String, Option<String>);

/// Words of every question so far, with the value of its action.
fn questions_of<'a>(
    assistant: &ScriptedAssistant,
    all: &'a mut Vec<RecordedQuestion>,
) -> &'a mut Vec<RecordedQuestion> {
    all.extend(assistant.take_questions().into_iter().map(|q| {
        let value = q
            .action
            .map(|a| format!("{} {}", q.idempotency_key, a.value));
        (q.text, value)
    }));
    all
}

/// One decision, and always the same: asked again only after an end in between. What was written behind the tap comes behind it.
fn check_order(questions: &[RecordedQuestion], words: &str, seed: u64) {
    let decisions: BTreeSet<_> = questions
        .iter()
        .filter_map(|(_, value)| value.clone())
        .collect();
    assert_eq!(decisions.len(), 1, "seed {seed}: {questions:?}");
    let value = decisions.first().unwrap();
    assert!(
        value.ends_with(" Yes") || value.ends_with(" approve"),
        "{value}"
    );
    let kinds = questions.iter().map(|(text, value)| match value {
        Some(_) => 1,
        None if text == words => 0,
        None => 2,
    });
    assert!(kinds.is_sorted(), "seed {seed}: {questions:?}");
}

#[tokio::test]
async fn tap_counts_once_and_in_order_whoever_is_ended() {
    for seed in 0..SEEDS {
        decide_under_kills("choose", seed).await;
    }
}

#[tokio::test]
async fn approval_counts_once_and_in_order_whoever_is_ended() {
    for seed in 0..SEEDS {
        decide_under_kills("delete", 100 + seed).await;
    }
}
