//! The page over HTTP, with a cluster and a store of the test's own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bot_api_simulator::sample_assistant::SampleAssistant;
use bot_api_simulator::{Simulator, SimulatorOptions, User};
use playground::source::{
    ClusterView, Condition, Connector, DeniedMessage, ReadError, StoredData, StoredRows,
};
use playground::{Playground, Sources};
use reqwest::header::{CONTENT_SECURITY_POLICY, HOST, ORIGIN};
use reqwest::{Client, Response, StatusCode};

const TOKEN: &str = "7000001:not-a-real-token";
const BOT: i64 = 7_000_001;
const ATTACK: &str = "<script>alert(1)</script>";

struct OneConnector;

#[async_trait]
impl ClusterView for OneConnector {
    async fn connectors(&self) -> Result<Vec<Connector>, ReadError> {
        Ok(vec![Connector {
            namespace: "acme".to_owned(),
            name: "support".to_owned(),
            bot: Some(BOT),
            columns: vec![("Reason".to_owned(), "MessagesFlow".to_owned())],
            conditions: vec![Condition {
                kind: "Ready".to_owned(),
                status: "False".to_owned(),
                reason: "TokenUnauthorized".to_owned(),
                message: ATTACK.to_owned(),
                since: jiff::Timestamp::UNIX_EPOCH,
            }],
            answers_in_groups: false,
            suspended: false,
        }])
    }

    async fn listed_users(&self) -> Result<Vec<User>, ReadError> {
        Ok(vec![User::new(1001, "Ann")])
    }

    async fn may_write(&self, _bot: i64, user: &User) -> Option<bool> {
        Some(user.id == 1001)
    }

    async fn rewrite_token(&self, _bot: i64) -> Result<(), ReadError> {
        Ok(())
    }
}

struct OneDenied;

#[async_trait]
impl StoredData for OneDenied {
    async fn rows(&self, _namespace: &str, _name: &str) -> Result<StoredRows, ReadError> {
        let denied = DeniedMessage {
            time: jiff::Timestamp::UNIX_EPOCH,
            sender: ATTACK.to_owned(),
            chat: 5,
            level: "Company".to_owned(),
            text: ATTACK.to_owned(),
        };
        Ok(StoredRows {
            denied: vec![denied],
            ..StoredRows::default()
        })
    }
}

struct TestPage {
    page: Playground,
    sources: Sources,
    client: Client,
}

impl TestPage {
    async fn start() -> Self {
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        simulator.add_bot(TOKEN, "acme_support_bot", "Acme support");
        let sources = Sources {
            simulator,
            assistant: SampleAssistant::start().await.unwrap(),
            cluster: Arc::new(OneConnector),
            stored: Arc::new(OneDenied),
            addresses: Vec::new(),
        };
        let free = "127.0.0.1:0".parse().unwrap();
        let page = playground::serve(free, sources.clone()).await.unwrap();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            page,
            sources,
            client,
        }
    }

    async fn html(&self) -> String {
        let response = self.client.get(self.page.url()).send().await.unwrap();
        response.text().await.unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let url = format!("{}{path}", self.page.url());
        self.client.post(url).form(form).send().await.unwrap()
    }

    /// Calls the Bot API as the bot.
    async fn call(&self, method: &str, form: &[(&str, &str)]) {
        let url = format!("{}bot{TOKEN}/{method}", self.sources.simulator.url());
        let response = self.client.post(url).form(form).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

/// Reads live updates until one has the text.
async fn wait_for(live: &mut Response, text: &str) {
    let mut read = String::new();
    while !read.contains(text) {
        let chunk = tokio::time::timeout(Duration::from_secs(10), live.chunk()).await;
        let chunk = chunk.expect("an update in time").unwrap();
        read.push_str(&String::from_utf8_lossy(&chunk.expect("more updates")));
    }
}

#[tokio::test]
async fn conversation_is_pushed_to_an_open_page() {
    let test = TestPage::start().await;
    let url = format!("{}live?bot={BOT}&user=1001", test.page.url());
    let mut live = test.client.get(url).send().await.unwrap();
    wait_for(&mut live, "Nothing said here yet").await;

    let response = test
        .post(
            &format!("messages?bot={BOT}&user=1001"),
            &[("text", "hi & bye")],
        )
        .await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    wait_for(&mut live, "hi &amp; bye").await;
    test.call(
        "sendChatAction",
        &[("chat_id", "1001"), ("action", "typing")],
    )
    .await;
    wait_for(&mut live, "typing").await;
    let draft = [("chat_id", "1001"), ("draft_id", "1"), ("text", "Hel")];
    test.call("sendMessageDraft", &draft).await;
    wait_for(&mut live, "data-draft").await;
    let reply = [
        ("chat_id", "1001"),
        ("parse_mode", "HTML"),
        ("text", "<b>Hello</b> &lt;Ann&gt;"),
    ];
    test.call("sendMessage", &reply).await;
    wait_for(&mut live, "<b>Hello</b> &lt;Ann&gt;").await;
}

#[tokio::test]
async fn tap_of_the_selected_user_reaches_the_bot_and_its_answer_the_page() {
    let test = TestPage::start().await;
    test.sources.simulator.send_private_message(BOT, 1001, "hi");
    let markup = r#"{"inline_keyboard":[[{"text":"No","callback_data":"n"},{"text":"Yes & go","callback_data":"y"}]]}"#;
    let asked = [
        ("chat_id", "1001"),
        ("text", "Well?"),
        ("reply_markup", markup),
    ];
    test.call("sendMessage", &asked).await;
    let message = test.sources.simulator.sent_messages(BOT, 1001)[0].message_id;
    let html = test.html().await;
    assert!(html.contains("Yes &amp; go"), "{html}");
    let form = [("message", &*message.to_string()), ("button", "0.1")];
    let tapped = test.post(&format!("taps?bot={BOT}&user=1001"), &form).await;
    assert_eq!(tapped.status(), StatusCode::SEE_OTHER);
    let query = test.sources.simulator.callback_queries(BOT).remove(0);
    assert_eq!((query.from, query.data.as_str()), (1001, "y"));
    let answer = [
        ("callback_query_id", &*query.id),
        ("text", "Too late & closed"),
    ];
    test.call("answerCallbackQuery", &answer).await;
    assert!(test.html().await.contains("Too late &amp; closed"));
    let elsewhere = [("message", "999"), ("button", "0.1")];
    let refused = test
        .post(&format!("taps?bot={BOT}&user=1001"), &elsewhere)
        .await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn files_of_the_bot_are_shown_played_and_saved() {
    const PNG: &[u8] =
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
    const OPUS: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0";
    let test = TestPage::start().await;
    let path = format!("messages?bot={BOT}&user=1001");
    test.post(&path, &[("text", "hi")]).await;
    for (kind, name, content) in [
        ("photo", "cat.png", PNG),
        ("voice", "answer.ogg", OPUS),
        ("document", "page.html", b"<script>alert(1)</script>"),
    ] {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n1001\r\n--b\r\n\
             Content-Disposition: form-data; name=\"{kind}\"; filename=\"{name}\"\r\n\r\n"
        );
        let body = [head.as_bytes(), content, b"\r\n--b--\r\n"].concat();
        let url = format!("{}bot{TOKEN}/send{kind}", test.sources.simulator.url());
        let form = test.client.post(url).body(body);
        let form = form.header("content-type", "multipart/form-data; boundary=b");
        let sent = form.send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK, "{kind}");
    }
    let url = format!("{}?bot={BOT}&user=1001", test.page.url());
    let html = test.client.get(url).send().await.unwrap();
    let html = html.text().await.unwrap();
    // The media type, and whether the browser saves it, of what stands behind these words.
    let get = async |beginning: &str| {
        let path = html.split(beginning).nth(1).unwrap();
        let path = path.split('"').next().unwrap().trim_start_matches('/');
        let url = format!("{}{path}", test.page.url());
        let response = test.client.get(url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let headers = response.headers();
        let media_type = headers["content-type"].to_str().unwrap().to_owned();
        (media_type, headers.contains_key("content-disposition"))
    };
    let shown = get(r#"<img class="photo" src=""#).await;
    assert_eq!(shown, ("image/png".to_owned(), false));
    let played = get(r#"<audio class="sound" controls preload="none" src=""#).await;
    assert_eq!(played, ("audio/ogg".to_owned(), false));
    let document = html.rsplit(r#"<a class="save" href=""#).next().unwrap();
    let path = document.split('"').next().unwrap();
    assert!(document.contains("Save page.html"), "{document}");
    let url = format!("{}{}", test.page.url(), path.trim_start_matches('/'));
    let response = test.client.get(url).send().await.unwrap();
    let headers = response.headers();
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(headers["content-disposition"], "attachment");
}

#[tokio::test]
async fn foreign_hosts_and_pages_are_refused() {
    let test = TestPage::start().await;
    let rebound = test
        .client
        .get(test.page.url())
        .header(HOST, "evil.example");
    assert_eq!(
        rebound.send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    let url = format!("{}messages?bot={BOT}&user=1001", test.page.url());
    let forged = test
        .client
        .post(url)
        .header(ORIGIN, "https://evil.example")
        .form(&[("text", "forged")]);
    assert_eq!(forged.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(!test.html().await.contains("forged"));
}

#[tokio::test]
async fn foreign_texts_are_escaped_everywhere() {
    let test = TestPage::start().await;
    test.sources.simulator.add_user(User::new(1002, ATTACK));
    test.sources
        .simulator
        .send_private_message(BOT, 1001, ATTACK);
    let html = test.html().await;
    assert!(!html.contains(ATTACK), "{html}");
    // The name, the message, the condition, and the denied message with its sender.
    assert!(html.matches("&lt;script&gt;").count() >= 5, "{html}");
}

#[tokio::test]
async fn page_has_nothing_inline_that_its_policy_forbids() {
    let test = TestPage::start().await;
    let response = test.client.get(test.page.url()).send().await.unwrap();
    let policy = response.headers()[CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    let html = response.text().await.unwrap();
    for inline in ["<script>", "<style", " style=", " onclick=", " hx-on"] {
        assert!(!html.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn switch_is_on_until_the_same_control_ends_it() {
    let test = TestPage::start().await;
    let path = format!("switches?bot={BOT}&user=1001");
    test.post(&path, &[("name", "telegram-429"), ("on", "true")])
        .await;
    assert_eq!(test.sources.simulator.faults().len(), 1);
    test.post(&path, &[("name", "assistant-down"), ("on", "true")])
        .await;
    assert_eq!(test.sources.assistant.behaviour().drop_after_words, Some(0));
    assert_eq!(
        test.html().await.matches("aria-checked=\"true\"").count(),
        3
    );
    for name in ["telegram-429", "assistant-down"] {
        test.post(&path, &[("name", name), ("on", "false")]).await;
    }
    assert!(test.sources.simulator.faults().is_empty());
    assert_eq!(test.sources.assistant.behaviour().drop_after_words, None);
}

#[tokio::test]
async fn page_listens_on_loopback_only() {
    let test = TestPage::start().await;
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = playground::serve(everywhere, test.sources.clone()).await;
    assert!(refused.unwrap_err().to_string().contains("127.0.0.1:PORT"));
}
