//! Updates by which somebody might try to get in past a request for access: none of them does, and the request still waits for its approver.

use serde_json::{Value, json};
use telegram_connector_operator::store::RequestPhase;
use telegram_connector_operator::telegram::RawUpdate;

use crate::access_requests::{BEN, Fixture};
use crate::test_env::{ANN, EVE, TestEnv, wait_until};

/// Another stranger, whom nobody knows.
const MALLORY: i64 = 6667;

/// What the updates are made of.
struct Setting {
    admins: i64,
    bot: i64,
    /// The message with the approvers' buttons.
    notice: i64,
    /// The message with the button that asks.
    denial: i64,
    /// Names the request.
    token: String,
}

impl Setting {
    fn allow(&self) -> String {
        format!("a:{}:0", self.token)
    }

    fn admins_chat(&self) -> Value {
        json!({"id": self.admins, "type": "supergroup", "title": "Admins"})
    }

    /// A tap on Allow in the admins' group.
    fn tap(&self, edit: impl FnOnce(&mut Value)) -> Value {
        let mut update = json!({"callback_query": {
            "id": "77", "chat_instance": "1", "data": self.allow(), "from": person(EVE),
            "message": {"message_id": self.notice, "date": 1_790_000_000, "from": {"id": self.bot, "is_bot": true, "first_name": "support"},
                "chat": self.admins_chat(), "text": "Somebody asks"},
        }});
        edit(&mut update["callback_query"]);
        update
    }

    /// A tap of the approver, who is not asked there or so.
    fn tap_by_ben(&self, edit: impl FnOnce(&mut Value)) -> Value {
        self.tap(|query| {
            query["from"] = person(BEN);
            edit(query);
        })
    }

    /// Something that Eve says to the bot.
    fn message_with(&self, edit: impl FnOnce(&mut Value)) -> Value {
        let mut update = json!({"message": {
            "message_id": self.denial + 50, "date": 1_790_000_000, "from": person(EVE), "chat": private(EVE), "text": "let me in",
        }});
        edit(&mut update["message"]);
        update
    }

    /// An update as the store makes them of its own.
    fn own(&self, field: &str, id: Value, edit: impl FnOnce(&mut Value)) -> Value {
        let mut update = self.message_with(|message| message["text"] = json!(""));
        update[field] = id;
        edit(&mut update);
        update
    }
}

fn person(id: i64) -> Value {
    json!({"id": id, "is_bot": false, "first_name": "Eve", "language_code": "en"})
}

fn private(id: i64) -> Value {
    json!({"id": id, "type": "private", "first_name": "Eve"})
}

fn taps_of_strangers(s: &Setting) -> Vec<Value> {
    let from = |from: Value| s.tap(|query| query["from"] = from);
    vec![
        s.tap(|_| {}),
        from(person(MALLORY)),
        from(Value::Null),
        from(json!(BEN)),
        from(json!({"id": BEN.to_string(), "first_name": "Ben"})),
        from(json!({"id": 1002.5, "first_name": "Ben"})),
        from(json!({"id": [BEN], "first_name": "Ben"})),
        from(json!({"id": -BEN, "first_name": "Ben"})),
        from(json!({"id": EVE, "first_name": "Ben", "username": "ben_example"})),
        from(json!({"id": EVE, "first_name": "Eve", "is_granted": true, "is_bot": true})),
        // The sender of the message counts as little as the chat in whose name it is.
        s.tap(|query| query["message"]["from"] = person(BEN)),
        s.tap(|query| query["message"]["sender_chat"] = s.admins_chat()),
        s.tap(|query| query["sender_chat"] = s.admins_chat()),
        s.tap(|query| query["user"] = person(BEN)),
        s.tap(|query| query["message"]["chat"] = private(EVE)),
        s.tap(|query| query["message"]["chat"] = private(BEN)),
        s.tap(|query| query["message"]["date"] = json!(0)),
        // Channels' and anonymous admins' accounts are nobody's.
        from(person(1_087_968_824)),
        from(person(777_000)),
        // Allowed to write is not allowed to decide.
        from(person(ANN)),
    ]
}

fn misplaced_taps_of_the_approver(s: &Setting) -> Vec<Value> {
    let data = |data: String| s.tap_by_ben(|query| query["data"] = json!(data));
    let mut other_token = s.token.clone();
    let last = if other_token.pop() == Some('0') {
        '1'
    } else {
        '0'
    };
    other_token.push(last);
    vec![
        s.tap_by_ben(|query| query["message"]["chat"] = private(BEN)),
        s.tap_by_ben(|query| query["message"]["chat"] = private(EVE)),
        s.tap_by_ben(|query| {
            query["message"]["chat"] = json!({"id": -100_999, "type": "supergroup"});
        }),
        s.tap_by_ben(|query| query["message"]["message_id"] = json!(s.notice + 1)),
        s.tap_by_ben(|query| query["message"]["message_id"] = Value::Null),
        s.tap_by_ben(|query| {
            query.as_object_mut().unwrap().remove("message");
            query["inline_message_id"] = json!("x");
        }),
        s.tap_by_ben(|query| query["data"] = Value::Null),
        data(format!("a:{other_token}:0")),
        data(format!("a:{}:0", &s.token[1..])),
        data(format!("a:{}:4", s.token)),
        data(format!("a:{}:-1", s.token)),
        data(format!("a:{}:", s.token)),
        data(format!("a:{}", s.token)),
        data(format!("A:{}:0", s.token)),
        data(format!("d:{}:0", s.token)),
        data("a::0".into()),
        data("a:1:0".into()),
        data("ask".into()),
    ]
}

fn messages(s: &Setting) -> Vec<Value> {
    let text = |text: String| s.message_with(|message| message["text"] = json!(text));
    let notice = json!({"message_id": s.notice, "date": 1_790_000_000, "chat": s.admins_chat(), "from": {"id": s.bot, "is_bot": true, "first_name": "support"}, "text": "Somebody asks"});
    let edited = |update: Value| {
        let mut message = update["message"].clone();
        message["edit_date"] = json!(1_790_000_100);
        json!({"edited_message": message})
    };
    vec![
        text(s.allow()),
        text(format!("/start {}", s.token)),
        text("/start ask".into()),
        text("/new Allow".into()),
        s.message_with(|message| message["reply_to_message"] = notice.clone()),
        s.message_with(|message| {
            message["forward_origin"] = json!({"type": "user", "date": 1, "sender_user": person(BEN)});
            message["forward_from"] = person(BEN);
        }),
        s.message_with(|message| {
            message["forward_origin"] = json!({"type": "chat", "date": 1, "sender_chat": s.admins_chat(), "author_signature": "Ben"});
        }),
        s.message_with(|message| message["from"]["is_granted"] = json!(true)),
        s.message_with(|message| message["from"]["id"] = json!(ANN.to_string())),
        s.message_with(|message| message["sender_chat"] = s.admins_chat()),
        s.message_with(|message| message["via_bot"] = person(s.bot)),
        s.message_with(|message| message["sender_business_bot"] = person(ANN)),
        s.message_with(|message| message["contact"] = json!({"phone_number": "1", "first_name": "Ann", "user_id": ANN})),
        s.message_with(|message| message["users_shared"] = json!({"request_id": 1, "users": [{"user_id": ANN}]})),
        edited(s.message_with(|_| {})),
        edited(s.message_with(|message| message["text"] = json!(s.allow()))),
    ]
}

/// Top-level fields are Telegram's to set; who could forge them knows no token, and a request that waits has no end to tell of.
fn forged_own_updates(s: &Setting) -> Vec<Value> {
    vec![
        s.own("access_request", json!(s.token), |_| {}),
        s.own("access_request", json!(s.token), |update| {
            update["message"]["from"] = person(BEN);
        }),
        s.own("access_request", json!(s.token), |update| {
            update["message"]["text"] = json!("let me in");
        }),
        s.own("access_request", json!(1), |_| {}),
        s.own("access_request", json!("0".repeat(32)), |_| {}),
        s.own("decision", json!(s.token), |_| {}),
        s.own("decision", json!(s.token), |update| {
            update["access_request"] = json!(s.token);
        }),
        s.own("granted", json!(true), |_| {}),
    ]
}

fn other_kinds(s: &Setting) -> Vec<Value> {
    let member = |status: &str| json!({"status": status, "user": person(EVE)});
    vec![
        json!({"my_chat_member": {"chat": private(EVE), "from": person(EVE), "date": 1,
            "old_chat_member": member("kicked"), "new_chat_member": member("member")}}),
        json!({"chat_member": {"chat": s.admins_chat(), "from": person(EVE), "date": 1,
            "old_chat_member": member("left"), "new_chat_member": member("creator")}}),
        json!({"chat_join_request": {"chat": s.admins_chat(), "from": person(EVE), "user_chat_id": EVE, "date": 1}}),
        json!({"message_reaction": {"chat": s.admins_chat(), "message_id": s.notice, "user": person(EVE), "date": 1,
            "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": "👍"}]}}),
        json!({"channel_post": {"message_id": 1, "date": 1, "chat": {"id": EVE, "type": "private"}, "text": "let me in"}}),
        json!({"business_message": {"message_id": 1, "date": 1, "chat": private(EVE), "from": person(ANN), "text": "let me in"}}),
    ]
}

async fn setting(fixture: &Fixture) -> Setting {
    let notice = fixture.asked().await;
    let allow = Fixture::button(&notice, "Allow");
    let denial = fixture.sent(EVE, 0).await[0].message_id;
    Setting {
        admins: fixture.admins,
        bot: fixture.support.id.0,
        notice: notice.message_id,
        denial,
        token: allow[2..allow.len() - 2].to_owned(),
    }
}

#[tokio::test]
async fn hostile_updates_let_nobody_in() {
    let fixture = Fixture::with(TestEnv::new().await, |_| {}).await;
    let setting = setting(&fixture).await;
    let all = [
        taps_of_strangers(&setting),
        misplaced_taps_of_the_approver(&setting),
        messages(&setting),
        forged_own_updates(&setting),
        other_kinds(&setting),
    ];
    let updates: Vec<Value> = all.concat();
    assert!(updates.len() >= 55, "{}", updates.len());
    let (store, support) = (&fixture.env.store, &fixture.support);
    for (n, mut update) in (1_000_000..).zip(updates) {
        update["update_id"] = json!(n);
        let raw = RawUpdate::from_body(update.to_string().as_bytes()).unwrap();
        store
            .accept(&support.uid, support.id, vec![raw])
            .await
            .unwrap();
        fixture.env.wait_until_drained().await;
        let requests = fixture.requests().await;
        let untouched = requests.len() == 1 && requests[0].phase == RequestPhase::Waiting;
        assert!(untouched, "{update}: {requests:?}");
        assert!(fixture.grants().await.is_empty(), "{update}");
        let asked = fixture.assistant.take_questions();
        assert!(asked.is_empty(), "{update}: {asked:?}");
    }
    let sent = fixture.sent(fixture.admins, 0).await;
    assert_eq!(
        sent.len(),
        1,
        "the approvers are asked nothing more: {sent:?}"
    );
    assert!(fixture.env.dead_letters().await.is_empty());
    // The one whose it is decides all the same, once; the old button does nothing more.
    let allow = Fixture::button(&sent[0], "Allow");
    let refuse = Fixture::button(&sent[0], "Refuse");
    for data in [&refuse, &allow, &allow] {
        fixture.tap(&sent[0], BEN, data);
    }
    wait_until("it is decided", async || {
        fixture.requests().await[0].phase == RequestPhase::Refused
    })
    .await;
    fixture.env.wait_until_drained().await;
    assert!(fixture.grants().await.is_empty());
}
