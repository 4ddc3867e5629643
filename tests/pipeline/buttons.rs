//! Questions with buttons: a tap counts once, for who is asked, while it is open; words work in its place.

use std::sync::Arc;
use std::time::Duration;

use bot_api_simulator::sample_assistant::Behaviour;
use bot_api_simulator::{Fault, FaultKind, SentMessage, Tap};
use telegram_connector_operator::assistant::{
    AnswerPart, ApprovalRequest, Choice, ChoiceButton, Question,
};
use telegram_connector_operator::registry::{ApprovalChat, ApprovalPolicy, GroupPolicy};
use telegram_connector_operator::store::sqlite_path;
use telegram_connector_operator::{api::connector::RespondTo, registry::ResolvedConnector};

use crate::postgres::Postgres;
use crate::scripted_assistant::{Script, ScriptedAssistant, text};
use crate::test_env::{ANN, Connector, EVE, TIMEOUT, TestEnv, specific_users, wait_until};

/// Somebody else who may write.
const BEN: i64 = 1002;

fn yes_or_no() -> Choice {
    let button = |text: &str, value: &str| ChoiceButton {
        text: text.into(),
        value: value.into(),
    };
    Choice {
        id: Some("q1".into()),
        rows: vec![vec![button("Yes", "y"), button("No", "n")]],
        ..Choice::default()
    }
}

/// Offers buttons to "choose", asks to approve a "delete", and answers everything else with "ok".
fn respond(question: &Question) -> Script {
    let parts = |words: &str, part| Ok(vec![Ok(AnswerPart::Text(words.into())), Ok(part)]);
    if question.text.contains("choose") {
        return parts("Which **one**?", AnswerPart::Choice(yes_or_no()));
    }
    if question.text.contains("delete") {
        let request = ApprovalRequest {
            id: Some("a1".into()),
            title: "delete_pod".into(),
            details: "name: <b>web-1</b>".into(),
            token: Some("state".into()),
        };
        return parts("Hm.", AnswerPart::Approval(request));
    }
    text("ok")
}

struct Fixture {
    env: TestEnv,
    assistant: ScriptedAssistant,
    support: Connector,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(TestEnv::new().await, |_| {})
    }

    fn with(mut env: TestEnv, edit: impl FnOnce(&mut ResolvedConnector)) -> Self {
        let assistant = ScriptedAssistant::new(respond).keeping_history();
        let support = env.connector_with("support", |connector| {
            connector.assistant = Some(assistant.shared());
            connector.access = specific_users(&[ANN, BEN]);
            connector.groups = Some(GroupPolicy {
                respond_to: RespondTo::All,
                read_along: 0,
                chats: None,
            });
            edit(connector);
        });
        Self {
            env,
            assistant,
            support,
        }
    }

    /// Ann says something to the bot.
    fn say(&self, words: &str) {
        let telegram = &self.env.telegram;
        telegram.send_private_message(self.support.id, ANN, words);
    }

    /// What the bot has sent to a chat, once it is more than this.
    async fn sent(&self, chat: i64, already: usize) -> Vec<SentMessage> {
        let telegram = &self.env.telegram;
        telegram
            .wait_for_sent_messages(self.support.id, chat, already, TIMEOUT)
            .await
    }

    /// Ann asks, and gets a message with buttons as the `count`th of the chat.
    async fn ask_for_buttons(&self, words: &str, count: usize) -> SentMessage {
        self.say(words);
        let sent = self.sent(ANN, count - 1).await;
        self.questions(1).await;
        sent[count - 1].clone()
    }

    fn tap_by(&self, message: &SentMessage, by: i64, edit: impl FnOnce(&mut Tap)) {
        let mut tap = Tap {
            bot: Some(self.support.id.0),
            from: by,
            chat: Some(message.chat_id),
            message_id: message.message_id,
            row: Some(0),
            column: Some(0),
            ..Tap::default()
        };
        edit(&mut tap);
        self.env.telegram.tap(&tap).unwrap();
    }

    /// What was shown to who tapped, tap by tap, once all are answered.
    async fn notices(&self, taps: usize) -> Vec<String> {
        let answered = || {
            let queries = self.env.telegram.callback_queries(self.support.id);
            queries
                .into_iter()
                .filter_map(|q| Some(q.answer?.text))
                .collect::<Vec<_>>()
        };
        wait_until("the taps are answered", async || answered().len() == taps).await;
        answered()
    }

    async fn questions(&self, count: usize) -> Vec<Question> {
        let asked = std::sync::Mutex::new(Vec::new());
        wait_until("the assistant is asked", async || {
            let mut asked = asked.lock().unwrap();
            asked.extend(self.assistant.take_questions());
            asked.len() >= count
        })
        .await;
        self.env.wait_until_drained().await;
        let mut asked = asked.into_inner().unwrap();
        asked.extend(self.assistant.take_questions());
        asked
    }

    fn shown(&self, message: &SentMessage) -> SentMessage {
        let sent = self
            .env
            .telegram
            .sent_messages(self.support.id, message.chat_id);
        sent.into_iter()
            .find(|m| m.message_id == message.message_id)
            .unwrap()
    }

    /// The assistant is asked nothing, although the taps are handled.
    async fn assert_nothing_follows(&self) {
        self.env.wait_until_drained().await;
        assert!(self.assistant.take_questions().is_empty());
    }
}

async fn check_tap_comes_back_as_an_action(env: TestEnv) {
    let fixture = Fixture::with(env, |_| {});
    let asked = fixture.ask_for_buttons("choose", 1).await;
    fixture.tap_by(&asked, ANN, |_| {});
    fixture.tap_by(&asked, ANN, |tap| tap.data = button_data(&asked, 1));
    let questions = fixture.questions(1).await;
    assert_eq!(questions.len(), 1, "{questions:?}");
    let action = questions[0].action.as_ref().unwrap();
    assert_eq!((action.value.as_str(), action.of.as_str()), ("y", "q1"));
    assert_eq!(
        (questions[0].text.as_str(), questions[0].sender.id),
        ("Yes", ANN)
    );
    let shown = fixture.shown(&asked);
    assert_eq!(
        (shown.text.as_str(), shown.reply_markup),
        ("Which one?\n\n✓ Yes", None)
    );
    assert_eq!(fixture.notices(2).await, ["", "This is no longer open."]);
}

fn button_data(message: &SentMessage, column: usize) -> Option<String> {
    let data = &message.reply_markup.as_ref()?["inline_keyboard"][0][column]["callback_data"];
    data.as_str().map(str::to_owned)
}

#[tokio::test]
async fn tap_comes_back_as_an_action_once_on_sqlite() {
    check_tap_comes_back_as_an_action(TestEnv::new().await).await;
}

#[tokio::test]
async fn tap_comes_back_as_an_action_once_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_tap_comes_back_as_an_action(TestEnv::on(&postgres.address()).await).await;
}

/// A process that ends between Telegram's answer and its record knows no id of the message with the buttons.
#[tokio::test]
async fn tap_tells_which_message_asked_where_that_was_lost() {
    let fixture = Fixture::new().await;
    let asked = fixture.ask_for_buttons("choose", 1).await;
    let path = sqlite_path(&fixture.env.address).unwrap();
    wait_until("the id is written, and lost", async || {
        let db = rusqlite::Connection::open(path).unwrap();
        let lose = "UPDATE user_decision SET message_id = NULL WHERE message_id IS NOT NULL";
        db.execute(lose, ()).unwrap() == 1
    })
    .await;
    fixture.tap_by(&asked, ANN, |_| {});
    fixture.questions(1).await;
    assert_eq!(fixture.shown(&asked).text, "Which one?\n\n✓ Yes");
}

/// Telegram has taken the question, and its answer is lost: it is sent once more.
#[tokio::test]
async fn each_copy_of_a_question_that_came_twice_decides() {
    for tapped in [0, 1] {
        let fixture = Fixture::new().await;
        let lost = Fault::new(FaultKind::DropAfter).method("sendMessage");
        fixture.env.telegram.add_fault(lost.times(1));
        fixture.say("choose");
        let copies = fixture.sent(ANN, 1).await;
        fixture.questions(1).await;
        fixture.tap_by(&copies[tapped], ANN, |_| {});
        let questions = fixture.questions(1).await;
        assert_eq!(questions[0].action.as_ref().unwrap().value, "y");
        let shown = fixture.shown(&copies[tapped]);
        assert_eq!(shown.text, "Which one?\n\n✓ Yes");
        let other = &copies[1 - tapped];
        fixture.tap_by(other, ANN, |tap| tap.data = button_data(other, 1));
        assert_eq!(fixture.notices(2).await, ["", "This is no longer open."]);
        fixture.assert_nothing_follows().await;
        wait_until("no buttons are left", async || {
            fixture.shown(other).reply_markup.is_none()
        })
        .await;
    }
}

#[tokio::test]
async fn tap_survives_a_restart_before_the_assistant_is_asked() {
    let mut fixture = Fixture::new().await;
    let asked = fixture.ask_for_buttons("choose", 1).await;
    let resolved = fixture.env.registry.get(&fixture.support.uid).unwrap();
    fixture
        .env
        .update_connector(&fixture.support, |c| c.assistant = None);
    fixture.tap_by(&asked, ANN, |_| {});
    fixture.notices(1).await;
    fixture.env.restart(Duration::ZERO).await;
    fixture.env.registry.publish(Arc::new(ResolvedConnector {
        generation: 9,
        ..(*resolved).clone()
    }));
    let questions = fixture.questions(1).await;
    assert_eq!(questions.len(), 1, "{questions:?}");
    assert!(questions[0].action.is_some());
}

#[tokio::test]
async fn words_in_place_of_a_tap_close_the_question() {
    let fixture = Fixture::new().await;
    let asked = fixture.ask_for_buttons("choose", 1).await;
    fixture.say("neither");
    let questions = fixture.questions(1).await;
    assert_eq!(
        (questions[0].text.as_str(), &questions[0].action),
        ("neither", &None)
    );
    assert_eq!(fixture.shown(&asked).reply_markup, None);
    fixture.tap_by(&asked, ANN, |tap| tap.data = button_data(&asked, 0));
    assert_eq!(fixture.notices(1).await, ["This is no longer open."]);
    fixture.assert_nothing_follows().await;
}

#[tokio::test]
async fn hostile_taps_decide_nothing() {
    let mut fixture = Fixture::new().await;
    let asked = fixture.ask_for_buttons("choose", 1).await;
    let data = button_data(&asked, 0).unwrap();
    let other = fixture
        .env
        .connector_with("other", |c| c.access = specific_users(&[ANN, BEN]));
    fixture.env.ask(&other, "hello").await;
    let forged = [
        format!("{}9", &data[..data.len() - 1]),
        data.replace(&data[2..6], "ffff"),
        "y".to_owned(),
    ];
    for data in forged {
        fixture.tap_by(&asked, ANN, |tap| tap.data = Some(data));
    }
    // Another chat of the bot, another message, and another bot.
    fixture
        .env
        .telegram
        .send_private_message(fixture.support.id, BEN, "hello");
    fixture.questions(1).await;
    fixture.tap_by(&asked, BEN, |tap| {
        tap.chat = Some(BEN);
        tap.data = Some(data.clone());
    });
    fixture.tap_by(&asked, ANN, |tap| {
        tap.message_id += 1;
        tap.data = Some(data.clone());
    });
    fixture.tap_by(&asked, ANN, |tap| {
        tap.bot = Some(other.id.0);
        tap.data = Some(data.clone());
    });
    let closed = vec!["This is no longer open."; 5];
    assert_eq!(fixture.notices(5).await, closed);
    fixture.assert_nothing_follows().await;
    fixture.tap_by(&asked, ANN, |tap| tap.data = Some(data));
    assert_eq!(fixture.questions(1).await.len(), 1);
}

#[tokio::test]
async fn only_the_asked_member_of_a_group_decides() {
    let fixture = Fixture::new().await;
    let telegram = &fixture.env.telegram;
    let group = telegram.add_group("supergroup", "Team", &[fixture.support.id.0]);
    telegram.send_group_message(group, ANN, "@support_bot choose");
    let sent = telegram
        .wait_for_sent_messages(fixture.support.id, group, 0, TIMEOUT)
        .await;
    fixture.questions(1).await;
    for by in [EVE, BEN, ANN] {
        fixture.tap_by(&sent[0], by, |_| {});
    }
    let notices = fixture.notices(3).await;
    let expected = [
        "You may not use this bot.",
        "This question is for somebody else.",
        "",
    ];
    assert_eq!(notices, expected);
    let questions = fixture.questions(1).await;
    assert_eq!((questions.len(), questions[0].sender.id), (1, ANN));
    assert!(fixture.shown(&sent[0]).text.contains("✓ "), "by name");
}

#[tokio::test]
async fn buttons_block_of_a_model_becomes_buttons() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.answers.buttons = true);
    env.assistant.set_behaviour(Behaviour {
        answer: Some("Go on?\n```buttons\nYes | please do\nNo\n```".into()),
        ..Behaviour::default()
    });
    let asked = env.ask(&support, "hello").await;
    assert_eq!(asked.text, "Go on?");
    let data = button_data(&asked, 0);
    assert!(data.is_some(), "{asked:?}");
    let tap = Tap {
        bot: Some(support.id.0),
        from: ANN,
        message_id: asked.message_id,
        data,
        ..Tap::default()
    };
    env.telegram.tap(&tap).unwrap();
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 1, TIMEOUT)
        .await;
    let requests = format!("{:?}", env.assistant.requests());
    assert!(
        requests.contains("please do") && requests.contains("info string buttons"),
        "{requests}"
    );
}

/// What the assistant is told of an approval: whether it is approved, whether its time was over, and who decided.
async fn outcome(fixture: &Fixture) -> (bool, bool, Option<i64>) {
    let questions = fixture.questions(1).await;
    assert_eq!(questions.len(), 1, "{questions:?}");
    outcome_of(&questions[0])
}

fn outcome_of(question: &Question) -> (bool, bool, Option<i64>) {
    let action = question.action.clone().unwrap();
    let approval = action.approval.unwrap();
    assert_eq!(
        (action.of.as_str(), approval.token.as_deref()),
        ("a1", Some("state"))
    );
    let by = approval.decided_by.map(|by| by.id);
    (approval.is_approved, approval.is_expired, by)
}

#[tokio::test]
async fn approval_shows_what_will_be_done_and_is_approved_once() {
    let fixture = Fixture::new().await;
    let asked = fixture.ask_for_buttons("delete", 2).await;
    let expected = "The assistant asks for approval:\ndelete_pod\nname: <b>web-1</b>";
    assert_eq!(asked.text, expected);
    fixture.tap_by(&asked, ANN, |_| {});
    fixture.tap_by(&asked, ANN, |tap| tap.data = button_data(&asked, 1));
    assert_eq!(outcome(&fixture).await, (true, false, Some(ANN)));
    assert!(fixture.shown(&asked).text.ends_with("✓ Approve"));
}

#[tokio::test]
async fn approval_is_refused_by_a_tap_and_by_a_word() {
    let fixture = Fixture::new().await;
    let asked = fixture.ask_for_buttons("delete", 2).await;
    fixture.tap_by(&asked, ANN, |tap| tap.column = Some(1));
    assert_eq!(outcome(&fixture).await, (false, false, Some(ANN)));
    fixture.ask_for_buttons("delete", 5).await;
    fixture.say("No!");
    assert_eq!(outcome(&fixture).await, (false, false, Some(ANN)));
}

#[tokio::test]
async fn approval_expires_as_a_refusal_that_is_told() {
    let fixture = Fixture::with(TestEnv::new().await, |connector| {
        connector.approvals = Some(ApprovalPolicy {
            timeout: Duration::from_millis(1),
            ..ApprovalPolicy::default()
        });
    });
    let telegram = &fixture.env.telegram;
    telegram.send_private_message(fixture.support.id, ANN, "delete");
    let questions = fixture.questions(2).await;
    assert_eq!(questions.len(), 2, "{questions:?}");
    assert_eq!(outcome_of(&questions[1]), (false, true, None));
    let sent = telegram
        .wait_for_sent_messages(fixture.support.id, ANN, 3, TIMEOUT)
        .await;
    let texts: Vec<_> = sent[2..].iter().map(|m| m.text.as_str()).collect();
    assert_eq!(texts, ["Nobody decided in time: refused.", "ok"]);
}

#[tokio::test]
async fn only_named_approvers_approve_in_their_group() {
    let env = TestEnv::new().await;
    let mut fixture = Fixture::with(env, |_| {});
    let group = fixture
        .env
        .telegram
        .add_group("supergroup", "Ops", &[fixture.support.id.0]);
    // Eve may approve, and may not write.
    let policy = ApprovalPolicy {
        approvers: Some(specific_users(&[EVE])),
        chat: Some(ApprovalChat {
            id: group,
            topic: 0,
        }),
        ..ApprovalPolicy::default()
    };
    fixture
        .env
        .update_connector(&fixture.support, |c| c.approvals = Some(policy));
    fixture.say("delete");
    let sent = fixture.sent(group, 0).await;
    fixture.questions(1).await;
    fixture.tap_by(&sent[0], ANN, |_| {});
    assert_eq!(
        fixture.notices(1).await,
        ["This question is for somebody else."]
    );
    fixture.say("yes");
    let refusal = fixture.sent(ANN, 2).await;
    assert_eq!(refusal[2].text, "This question is for somebody else.");
    fixture.assert_nothing_follows().await;
    // A restart in between changes nothing.
    fixture.env.restart(Duration::ZERO).await;
    fixture.tap_by(&sent[0], EVE, |_| {});
    assert_eq!(outcome(&fixture).await, (true, false, Some(EVE)));
    let shown = fixture.shown(&sent[0]);
    assert!(
        shown.text.contains("✓ ") && shown.reply_markup.is_none(),
        "{shown:?}"
    );
}

#[tokio::test]
async fn approver_who_lost_the_right_decides_nothing() {
    let fixture = Fixture::with(TestEnv::new().await, |connector| {
        connector.approvals = Some(ApprovalPolicy {
            approvers: Some(specific_users(&[ANN])),
            ..ApprovalPolicy::default()
        });
    });
    let asked = fixture.ask_for_buttons("delete", 2).await;
    fixture.env.update_connector(&fixture.support, |connector| {
        let policy = connector.approvals.as_mut().unwrap();
        policy.approvers = Some(specific_users(&[BEN]));
    });
    fixture.tap_by(&asked, ANN, |_| {});
    assert_eq!(
        fixture.notices(1).await,
        ["This question is for somebody else."]
    );
    fixture.assert_nothing_follows().await;
}
