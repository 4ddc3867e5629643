//! The simulator against the Bot API as data (`../shared/botapi/api.json` beside the repository): every object that it sends has
//! the fields of its type and no other, and every method takes the documented parameters.

use std::path::Path;

use bot_api_simulator::{SimulatorOptions, Tap, UserAction};
use serde_json::{Value, json};

use crate::client::Client;
use crate::keyboards::yes_no;
use crate::media::png;

/// Fields that the server sends although the reference does not name them.
const UNDOCUMENTED: &[(&str, &str)] = &[
    ("Chat", "all_members_are_administrators"),
    ("ChatFullInfo", "all_members_are_administrators"),
];

/// The data; `None` on a machine that has only the repository.
fn api() -> Option<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let path = root.join("shared/botapi/api.json");
    let Ok(json) = std::fs::read_to_string(&path) else {
        println!("{} is not there: nothing is compared", path.display());
        return None;
    };
    Some(serde_json::from_str(&json).expect("JSON"))
}

/// What is wrong with a value that should be of a type; empty if nothing.
fn faults(api: &Value, kind: &str, value: &Value, at: &str) -> Vec<String> {
    if let Some(inner) = kind.strip_prefix("Array of ") {
        let Some(values) = value.as_array() else {
            return vec![format!("{at}: no array of {inner}: {value}")];
        };
        let check = |(n, value)| faults(api, inner, value, &format!("{at}[{n}]"));
        return values.iter().enumerate().flat_map(check).collect();
    }
    let fits = match kind {
        "Integer" => value.is_i64(),
        "Float" => value.is_number(),
        "String" => value.is_string(),
        "Boolean" => value.is_boolean(),
        "True" => *value == true,
        _ => return object_faults(api, kind, value, at),
    };
    if fits {
        Vec::new()
    } else {
        vec![format!("{at}: no {kind}: {value}")]
    }
}

fn object_faults(api: &Value, kind: &str, value: &Value, at: &str) -> Vec<String> {
    let definition = &api["types"][kind];
    assert!(definition.is_object(), "there is no type {kind}");
    if let Some(subtypes) = definition["subtypes"].as_array() {
        return best(api, subtypes, value, at);
    }
    let Some(object) = value.as_object() else {
        return vec![format!("{at}: no {kind}: {value}")];
    };
    let none = Vec::new();
    let fields = definition["fields"].as_array().unwrap_or(&none);
    let mut wrong = Vec::new();
    for (name, value) in object {
        let at = format!("{at}.{name}");
        match fields.iter().find(|field| field["name"] == **name) {
            Some(field) => {
                let types = field["types"].as_array().expect("types");
                let constant = field["description"].as_str().expect("text");
                let constant = constant.split("always \"").nth(1);
                let constant = constant.and_then(|rest| rest.split('"').next());
                if constant.is_some_and(|constant| *value != *constant) {
                    wrong.push(format!("{at}: always {constant:?}, not {value}"));
                }
                wrong.extend(best(api, types, value, &at));
            }
            None if UNDOCUMENTED.contains(&(kind, name)) => {}
            None => wrong.push(format!("{at}: {kind} has no such field")),
        }
    }
    let required = fields.iter().filter(|field| field["required"] == true);
    for name in required.filter_map(|field| field["name"].as_str()) {
        if !object.contains_key(name) {
            wrong.push(format!("{at}: {kind} must have {name}"));
        }
    }
    wrong
}

/// The faults by the type that fits best.
fn best(api: &Value, types: &[Value], value: &Value, at: &str) -> Vec<String> {
    let types = types.iter().filter_map(Value::as_str);
    let tried = types.map(|kind| faults(api, kind, value, at));
    tried.min_by_key(Vec::len).expect("a type")
}

/// A bot whose answers and updates are held to the data.
struct CheckedClient {
    api: Value,
    client: Client,
    called: std::cell::RefCell<Vec<String>>,
    wrong: std::cell::RefCell<Vec<String>>,
}

impl CheckedClient {
    /// Checks an answer by the method's return type.
    fn check(&self, method: &str, answer: &Value) {
        assert_eq!(answer["ok"], true, "{method}: {answer}");
        self.called.borrow_mut().push(method.to_lowercase());
        let returns = self.api["methods"][method]["returns"].as_array();
        let returns = returns.unwrap_or_else(|| panic!("there is no method {method}"));
        let wrong = best(&self.api, returns, &answer["result"], method);
        self.wrong.borrow_mut().extend(wrong);
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let (_, answer) = self.client.call(method, params).await;
        self.check(method, &answer);
        answer["result"].clone()
    }

    async fn upload(&self, method: &str, params: Value, files: &[(&str, &str, &[u8])]) -> Value {
        let (_, answer) = self.client.upload(method, params, files).await;
        self.check(method, &answer);
        answer["result"].clone()
    }
}

async fn send_everything(checked: &CheckedClient, chat: i64) {
    let to = |rest: Value| {
        let mut params = json!({"chat_id": chat});
        params
            .as_object_mut()
            .expect("an object")
            .extend(rest.as_object().expect("one").clone());
        params
    };
    let text = json!({"text": "<b>a</b> <a href=\"tg://user?id=42\">Ann</a> /help https://example.com", "parse_mode": "HTML", "reply_markup": yes_no()});
    let sent = checked.call("sendMessage", to(text)).await;
    let id = &sent["message_id"];
    let reply = json!({"text": "x", "reply_parameters": {"message_id": id}});
    checked.call("sendMessage", to(reply)).await;
    let react = json!({"message_id": id, "reaction": [{"type": "emoji", "emoji": "👍"}]});
    checked.call("setMessageReaction", to(react)).await;
    checked
        .call(
            "editMessageText",
            to(json!({"message_id": id, "text": "y"})),
        )
        .await;
    checked
        .call(
            "editMessageReplyMarkup",
            to(json!({"message_id": id, "reply_markup": yes_no()})),
        )
        .await;
    checked
        .call("sendChatAction", to(json!({"action": "typing"})))
        .await;
    let picture = png(9, 9);
    let gif = b"GIF89a\x10\0\x10\0\0\0\0".as_slice();
    for (method, content) in [
        ("sendPhoto", picture.as_slice()),
        ("sendDocument", b"%PDF-1.7 ".as_slice()),
        ("sendAudio", b"ID3\x03\0\0\0\0\0\0".as_slice()),
        ("sendVoice", b"ID3\x03\0\0\0\0\0\0".as_slice()),
        (
            "sendVideo",
            b"\0\0\0\x18ftypisom\0\0\0\0isomiso2".as_slice(),
        ),
        ("sendAnimation", gif),
    ] {
        let parameter = method.trim_start_matches("send").to_lowercase();
        let params = to(
            json!({"caption": "c", "duration": 2, "has_spoiler": true, "title": "T", "performer": "P"}),
        );
        let files: &[(&str, &str, &[u8])] = &[(&parameter, "a.bin", content)];
        let sent = checked.upload(method, params, files).await;
        let edit = json!({"message_id": sent["message_id"], "caption": "d"});
        checked.call("editMessageCaption", to(edit)).await;
    }
    let album = json!({"media": [{"type": "photo", "media": "attach://a"}, {"type": "photo", "media": "attach://a", "caption": "c"}]});
    let files: &[(&str, &str, &[u8])] = &[("a", "a.png", &picture)];
    let sent = checked.upload("sendMediaGroup", to(album), files).await;
    let edit = json!({"message_id": sent[0]["message_id"], "media": {"type": "document", "media": "attach://a"}});
    checked.upload("editMessageMedia", to(edit), files).await;
    let file = json!({"file_id": sent[0]["photo"][0]["file_id"]});
    checked.call("getFile", file).await;
    let html = "<h1>a</h1><p>b <i>c</i><br><sub>1</sub><sup>2</sup><mark>m</mark><tg-time unix=\"1\" format=\"d\">t</tg-time>\
        <tg-emoji emoji-id=\"5\">👍</tg-emoji> <a href=\"#top\">up</a></p><a name=\"top\"></a><table bordered striped><caption>c</caption><tr>\
        <th colspan=\"2\">h</th></tr><tr><td>1</td><td>2</td></tr></table><ol><li>x</li></ol><ul><li><input checked>y</li></ul><pre>p</pre>\
        <footer>f</footer><hr><tg-math-block>x</tg-math-block><details><summary>s</summary>d</details><blockquote>q</blockquote><aside>r</aside>\
        <tg-map lat=\"1.5\" long=\"2.5\" zoom=\"15\"/>";
    checked
        .call(
            "sendRichMessage",
            to(json!({"rich_message": {"html": html}})),
        )
        .await;
    checked.call("getChat", to(json!({}))).await;
    checked
        .call("getChatMember", to(json!({"user_id": 42})))
        .await;
    checked
        .call("getChatMember", to(json!({"user_id": checked.client.bot})))
        .await;
    checked
        .call("deleteMessage", to(json!({"message_id": id})))
        .await;
}

/// Users send every kind of content, and tap.
fn act_as_users(client: &Client, chat: Option<i64>) {
    let base = UserAction {
        bot: chat.is_none().then_some(client.bot),
        from: Some(42),
        chat,
        ..UserAction::default()
    };
    let content = json!({
        "photo": {}, "voice": {}, "audio": {}, "video": {}, "video_note": {}, "animation": {}, "document": {}, "sticker": {},
        "contact": {"phone_number": "1", "first_name": "B"}, "location": {"latitude": 1.5, "longitude": 2.5},
    });
    for (field, value) in content.as_object().expect("an object") {
        let mut action = base.clone();
        action.content.insert(field.clone(), value.clone());
        action.media_group_id = Some("1".into());
        client.sim.perform(&action).expect("sent");
    }
    let text = UserAction {
        text: Some("/start https://example.com @acme_support_bot".into()),
        ..base.clone()
    };
    let first = client.sim.perform(&text).expect("sent").message_id;
    let reply = UserAction {
        reply_to: Some(first),
        quote: Some("/start".into()),
        forward_from: Some(43),
        ..text.clone()
    };
    client.sim.perform(&reply).expect("sent");
    let edit = UserAction {
        edit: Some(first),
        ..text
    };
    client.sim.perform(&edit).expect("sent");
    for (inaccessible, message_id) in [(false, first), (true, first)] {
        let tap = Tap {
            bot: Some(client.bot),
            from: 42,
            chat,
            message_id,
            data: Some("d".into()),
            inaccessible,
            ..Tap::default()
        };
        client.sim.tap(&tap).expect("tapped");
    }
}

#[tokio::test]
async fn every_object_is_of_its_documented_type() {
    let Some(api) = api() else { return };
    let client = Client::start(SimulatorOptions::default()).await;
    let checked = CheckedClient {
        api,
        client,
        called: std::cell::RefCell::default(),
        wrong: std::cell::RefCell::default(),
    };
    let client = &checked.client;
    client.sim.set_privacy(client.bot, false);
    act_as_users(client, None);
    send_everything(&checked, 42).await;
    for kind in ["group", "supergroup", "channel"] {
        let group = client.sim.add_group(kind, "Team", &[client.bot]);
        act_as_users(client, Some(group));
        send_everything(&checked, group).await;
    }
    let forum = client.sim.add_group("forum", "Team", &[client.bot]);
    let topic = client.sim.add_topic(forum, "Topic");
    let in_topic = json!({"chat_id": forum, "text": "x", "message_thread_id": topic});
    checked.call("sendMessage", in_topic).await;
    let basic = client.sim.add_group("group", "Team", &[client.bot]);
    client.sim.migrate(basic);
    client.sim.block(client.bot, 43, true);
    let updates = checked.call("getUpdates", json!({"limit": 100})).await;
    assert!(updates.as_array().map_or(0, Vec::len) > 60, "{updates}");
    let query = client.sim.callback_queries(client.bot)[0].id.clone();
    checked
        .call("answerCallbackQuery", json!({"callback_query_id": query}))
        .await;
    let draft = json!({"chat_id": 42, "draft_id": 1, "text": "x"});
    checked.call("sendMessageDraft", draft).await;
    let draft = json!({"chat_id": 42, "draft_id": 1, "rich_message": {"html": "x"}});
    checked.call("sendRichMessageDraft", draft).await;
    let commands = json!({"commands": [{"command": "new", "description": "Begin anew"}]});
    checked.call("setMyCommands", commands).await;
    for method in [
        "getMe",
        "getMyCommands",
        "deleteMyCommands",
        "getWebhookInfo",
    ] {
        checked.call(method, json!({})).await;
    }
    checked
        .call("setWebhook", json!({"url": "https://192.0.2.1/hook"}))
        .await;
    checked.call("getWebhookInfo", json!({})).await;
    checked.call("deleteWebhook", json!({})).await;
    checked.call("leaveChat", json!({"chat_id": forum})).await;
    let mut wrong = checked.wrong.take();
    wrong.sort_unstable();
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut called = checked.called.take();
    called.sort_unstable();
    called.dedup();
    let known: Vec<&str> = parameters().into_iter().map(|(method, _)| method).collect();
    assert_eq!(called, known, "a method without a check");
}

/// The simulator's own table of methods and parameters.
fn parameters() -> Vec<(&'static str, &'static str)> {
    let table = include_str!("../../src/parameters.rs");
    let strings: Vec<&str> = table
        .split("const LEGACY")
        .next()
        .expect("the table")
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect();
    strings.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

#[test]
fn every_method_takes_the_documented_parameters() {
    let Some(api) = api() else { return };
    let methods = api["methods"].as_object().expect("methods");
    let table = parameters();
    let dispatch = include_str!("../../src/methods.rs").lines();
    let dispatched =
        dispatch.filter(|line| line.trim_start().starts_with('"') && line.contains("\" =>"));
    assert_eq!(table.len(), dispatched.count(), "methods");
    for (method, parameters) in table {
        let (_, documented) = methods
            .iter()
            .find(|(name, _)| name.to_lowercase() == method)
            .unwrap_or_else(|| panic!("there is no method {method}"));
        let documented = documented["fields"].as_array().into_iter().flatten();
        let documented: Vec<&str> = documented.filter_map(|f| f["name"].as_str()).collect();
        let known: Vec<&str> = parameters.split_whitespace().collect();
        assert_eq!(known, documented, "{method}");
    }
}

#[tokio::test]
async fn misspelt_parameter_is_recorded_with_the_call() {
    let client = Client::start(SimulatorOptions::default()).await;
    client.sim.send_private_message(client.bot, 42, "hi");
    let params = json!({"chat_id": 42, "text": "x", "parse_mod": "HTML", "reply_to_message_id": 1});
    client.ok("sendMessage", params).await;
    let calls = client.sim.calls(client.bot);
    assert_eq!(calls[0].unknown_params, ["parse_mod"]);
}
