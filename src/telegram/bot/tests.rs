//! Calls against a peer on loopback that answers, breaks off or stays silent as a test says. The Bot API itself is the simulator's
//! to play; here it is about the connection and about what leaks from it.

use std::sync::Mutex;

use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::telegram::Button;
use crate::telegram::Keyboard;

const TOKEN: &str = "8400000001:AAF7-g0gYncWnm5RqRRv6kNAGlao";
const SECRET: &str = "AAF7-g0gYncWnm5RqRRv6kNAGlao";

/// What the peer does with a request.
#[derive(Clone)]
enum ScriptedReply {
    /// Answers with status and body, and keeps the connection.
    Respond(u16, String),
    /// Answers, and closes the connection a moment later without saying so.
    RespondAndClose(String),
    /// Closes the connection without an answer.
    CloseWithoutResponse,
    /// Never answers.
    NeverRespond,
    /// Announces more than it sends.
    TruncateResponse,
}

#[derive(Default)]
struct ScriptedServer {
    requests: Mutex<Vec<String>>,
    connections: Mutex<usize>,
    closed: Mutex<usize>,
}

impl ScriptedServer {
    /// A bot, and the peer it speaks to: each request gets the next reply, the last reply again and again.
    async fn start(replies: Vec<ScriptedReply>) -> (Bot, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let root = format!("http://{}", listener.local_addr().expect("bound"));
        let peer = Arc::new(Self::default());
        let serving = peer.clone();
        let replies = Arc::new(Mutex::new(replies));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *serving.connections.lock().expect("unpoisoned") += 1;
                let (serving, replies) = (serving.clone(), replies.clone());
                tokio::spawn(async move {
                    serving.serve(stream, replies).await;
                    *serving.closed.lock().expect("unpoisoned") += 1;
                });
            }
        });
        (bot(&root), peer)
    }

    async fn serve(&self, mut stream: TcpStream, replies: Arc<Mutex<Vec<ScriptedReply>>>) {
        while let Some(request) = read_request(&mut stream).await {
            self.requests.lock().expect("unpoisoned").push(request);
            let reply = {
                let mut replies = replies.lock().expect("unpoisoned");
                if replies.len() > 1 {
                    replies.remove(0)
                } else {
                    replies[0].clone()
                }
            };
            let (status, body, extra, close) = match reply {
                ScriptedReply::Respond(status, body) => (status, body, 0, false),
                ScriptedReply::RespondAndClose(body) => (200, body, 0, true),
                ScriptedReply::TruncateResponse => (200, r#"{"ok":true,"#.to_owned(), 100, true),
                ScriptedReply::CloseWithoutResponse => return,
                ScriptedReply::NeverRespond => std::future::pending().await,
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nlocation: http://127.0.0.1:1/elsewhere\r\ncontent-length: {}\r\n\r\n{body}",
                body.len() + extra
            );
            if stream.write_all(head.as_bytes()).await.is_err() || close {
                return;
            }
        }
    }

    fn only_request(&self) -> String {
        let requests = self.requests.lock().expect("unpoisoned");
        assert_eq!(requests.len(), 1, "requests");
        requests[0].clone()
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
        match stream.read(&mut chunk).await {
            Ok(read @ 1..) => bytes.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}

fn bot(root: &str) -> Bot {
    let api = TelegramApi::new(root.parse().expect("a URL")).expect("a root");
    Bot::new(Arc::new(api), BotToken::parse(TOKEN).expect("a token"))
}

fn ok(result: &str) -> ScriptedReply {
    ScriptedReply::Respond(200, format!(r#"{{"ok":true,"result":{result}}}"#))
}

fn hello() -> NewMessage<'static> {
    NewMessage {
        chat_id: -1001,
        thread_id: Some(7),
        direct_messages_topic_id: None,
        text: MessageText::Html("<b>hi</b>"),
        reply_to: Some(9_007_199_254_740_993),
        silent: false,
        link_preview: false,
        keyboard: None,
    }
}

fn json_body(request: &str) -> serde_json::Value {
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn updates_come_back_whole_whatever_they_are() {
    let first = r#"{ "update_id": 7, "telepathy": {"depth": [1.50, "\ud800"]} }"#;
    let second = r#"{"message":{"text":"é😀"},"update_id":8}"#;
    let (bot, peer) = ScriptedServer::start(vec![ok(&format!("[{first},{second}]"))]).await;
    let updates = bot
        .get_updates(-5, 200, Duration::from_secs(90))
        .await
        .expect("updates");
    let raw: Vec<_> = updates
        .iter()
        .map(|u| (u.update_id, u.json.get()))
        .collect();
    assert_eq!(raw, [(7, first), (8, second)]);
    let asked = json_body(&peer.only_request());
    assert_eq!(
        asked,
        serde_json::json!({"offset": 0, "limit": 100, "timeout": 50, "allowed_updates": ALLOWED_UPDATES})
    );
}

#[tokio::test]
async fn update_without_id_does_not_lose_the_others() {
    let (bot, _) = ScriptedServer::start(vec![
        ok(r#"[{"update_id":7},{"update_id":"8"},9,{"update_id":10}]"#),
        ok(r#"[{"update_id":-1}]"#),
        ok("[]"),
    ])
    .await;
    let poll = || bot.get_updates(0, 100, Duration::ZERO);
    let ids: Vec<_> = poll()
        .await
        .expect("updates")
        .iter()
        .map(|u| u.update_id)
        .collect();
    assert_eq!(ids, [7, 10]);
    assert!(matches!(poll().await, Err(TelegramError::Malformed(_))));
    assert!(poll().await.expect("none").is_empty());
}

#[tokio::test]
async fn send_message_matches_the_bot_api() {
    let (bot, peer) =
        ScriptedServer::start(vec![ok(r#"{"message_id":77,"chat":{},"from":7}"#)]).await;
    assert_eq!(bot.send_message(&hello()).await, Ok(77));
    let request = peer.only_request();
    assert!(request.starts_with(&format!("POST /bot{TOKEN}/sendMessage HTTP/1.1\r\n")));
    assert_eq!(
        json_body(&request),
        serde_json::json!({
            "chat_id": -1001, "message_thread_id": 7, "text": "<b>hi</b>", "parse_mode": "HTML",
            "reply_parameters": {"message_id": 9_007_199_254_740_993_i64, "allow_sending_without_reply": true},
            "link_preview_options": {"is_disabled": true},
        })
    );
}

#[tokio::test]
async fn keyboard_is_sent_as_inline_keyboard() {
    let (bot, peer) = ScriptedServer::start(vec![ok(r#"{"message_id":77}"#)]).await;
    let button = Button {
        text: "Yes".into(),
        data: "c1:0".into(),
    };
    let keyboard = Keyboard {
        rows: vec![vec![button]],
    };
    let message = NewMessage {
        keyboard: Some(&keyboard),
        ..hello()
    };
    bot.send_message(&message).await.expect("sent");
    assert_eq!(
        json_body(&peer.only_request())["reply_markup"],
        serde_json::json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "c1:0"}]]})
    );
}

#[tokio::test]
async fn removed_keyboard_is_left_out() {
    let (bot, peer) = ScriptedServer::start(vec![ok(r#"{"message_id":77}"#)]).await;
    let edited = bot.edit_message_reply_markup(-1001, 77, None).await;
    edited.expect("edited");
    assert_eq!(
        json_body(&peer.only_request()),
        serde_json::json!({"chat_id": -1001, "message_id": 77})
    );
}

#[tokio::test]
async fn answered_query_has_its_text() {
    let (bot, peer) = ScriptedServer::start(vec![ok("true")]).await;
    bot.answer_callback_query("9", Some("Gone"))
        .await
        .expect("answered");
    assert_eq!(
        json_body(&peer.only_request()),
        serde_json::json!({"callback_query_id": "9", "text": "Gone"})
    );
}

#[tokio::test]
async fn plain_message_has_no_optional_fields() {
    let (bot, peer) = ScriptedServer::start(vec![ok(r#"{"message_id":1}"#)]).await;
    let plain = NewMessage {
        thread_id: None,
        direct_messages_topic_id: Some(1001),
        text: MessageText::Plain("a < b"),
        reply_to: None,
        link_preview: true,
        keyboard: None,
        ..hello()
    };
    bot.send_message(&plain).await.expect("sent");
    assert_eq!(
        json_body(&peer.only_request()),
        serde_json::json!({"chat_id": -1001, "direct_messages_topic_id": 1001, "text": "a < b"})
    );
}

#[tokio::test]
async fn set_webhook_uploads_certificate_and_keeps_updates() {
    let webhook = |certificate_pem| SetWebhook {
        url: "https://bots.example/telegram/1".parse().expect("a URL"),
        secret_token: "s3cret".into(),
        max_connections: 40,
        certificate_pem,
    };
    let (bot, peer) = ScriptedServer::start(vec![ok("true")]).await;
    bot.set_webhook(&webhook(Some("PEM".into())))
        .await
        .expect("set");
    let request = peer.only_request();
    assert!(request.contains("multipart/form-data"), "{request}");
    for part in [
        "certificate.pem",
        "PEM",
        "s3cret",
        r#"["message","edited_message""#,
    ] {
        assert!(request.contains(part), "{part}");
    }
    let (bot, plain) = ScriptedServer::start(vec![ok("true")]).await;
    bot.set_webhook(&webhook(None)).await.expect("set");
    assert_eq!(
        json_body(&plain.only_request())["allowed_updates"][0],
        "message"
    );
    let (bot, deleted) = ScriptedServer::start(vec![ok("true")]).await;
    bot.delete_webhook().await.expect("deleted");
    for request in [request, plain.only_request(), deleted.only_request()] {
        assert!(!request.contains("drop_pending_updates"), "{request}");
    }
}

#[tokio::test]
async fn connections_are_reused() {
    let (bot, peer) = ScriptedServer::start(vec![ok(r#"{"message_id":1}"#)]).await;
    for _ in 0..20 {
        bot.clone().send_message(&hello()).await.expect("sent");
    }
    assert_eq!(*peer.connections.lock().expect("unpoisoned"), 1);
}

#[tokio::test]
async fn closed_idle_connection_does_not_make_a_send_ambiguous() {
    let (bot, peer) = ScriptedServer::start(vec![ScriptedReply::RespondAndClose(
        r#"{"ok":true,"result":{"message_id":1}}"#.into(),
    )])
    .await;
    for sent in 1..=20 {
        bot.send_message(&hello()).await.expect("sent");
        while *peer.closed.lock().expect("unpoisoned") < sent {
            tokio::task::yield_now().await;
        }
        // Now it has been closed; a runtime that goes to sleep first looks at its sockets, and so learns of it.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        peer.requests.lock().expect("unpoisoned").len(),
        20,
        "each was sent once"
    );
}

#[tokio::test]
async fn refused_connection_is_told_from_a_lost_one() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port")
        .local_addr()
        .expect("bound");
    let error = bot(&format!("http://{free}"))
        .send_message(&hello())
        .await
        .expect_err("nobody is there");
    assert!(matches!(error, TelegramError::Unreachable(_)), "{error:?}");
}

#[rstest]
#[case(ScriptedReply::CloseWithoutResponse)]
#[case(ScriptedReply::TruncateResponse)]
#[tokio::test]
async fn truncated_response_is_ambiguous(#[case] reply: ScriptedReply) {
    let (bot, peer) = ScriptedServer::start(vec![reply]).await;
    let error = bot.send_message(&hello()).await.expect_err("no answer");
    assert!(matches!(error, TelegramError::Ambiguous(_)), "{error:?}");
    // It is the pipeline's to decide whether to send again.
    peer.only_request();
}

#[tokio::test]
async fn hanging_call_times_out() {
    let (bot, _) = ScriptedServer::start(vec![ScriptedReply::NeverRespond]).await;
    let limit = Duration::from_millis(100);
    let error = bot
        .call::<_, bool>(&GetMe::new(), limit)
        .await
        .expect_err("no answer");
    assert!(matches!(error, TelegramError::Ambiguous(_)), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (bot, peer) = ScriptedServer::start(vec![ScriptedReply::Respond(302, String::new())]).await;
    let error = bot.get_me().await.expect_err("no answer");
    assert!(matches!(error, TelegramError::Malformed(_)), "{error:?}");
    peer.only_request();
}

#[tokio::test]
async fn a_file_is_downloaded_up_to_the_limit() {
    let file = ok(r#"{"file_path":"photos/a b.jpg","file_size":5}"#);
    let body = ScriptedReply::Respond(200, "12345".into());
    let (bot, peer) =
        ScriptedServer::start(vec![file.clone(), body.clone(), file.clone(), body]).await;
    assert_eq!(bot.download("f", 5).await.as_deref(), Ok(&b"12345"[..]));
    let asked = peer.requests.lock().expect("unpoisoned")[1].clone();
    assert!(
        asked.starts_with(&format!("GET /file/bot{TOKEN}/photos/a%20b.jpg HTTP")),
        "{asked}"
    );
    assert_eq!(bot.download("f", 4).await, Err(TelegramError::FileTooBig));

    // A size that was not announced, and a path on the server's own disk.
    let unsaid = ok(r#"{"file_path":"a"}"#);
    let (bot, _) = ScriptedServer::start(vec![
        unsaid,
        ScriptedReply::Respond(200, "12345".into()),
        ok(r#"{"file_path":"/var/lib/a"}"#),
    ])
    .await;
    assert_eq!(bot.download("f", 4).await, Err(TelegramError::FileTooBig));
    let error = bot.download("f", 4).await.expect_err("a path");
    assert!(
        error.to_string().contains("--telegram-files-dir"),
        "{error}"
    );
}

/// Every way in which a call can fail, with a peer that repeats the request URL wherever it can.
#[tokio::test]
async fn no_error_contains_the_token() {
    let encoded = TOKEN.replace(':', "%3A").replace('-', "%2D");
    let mut replies = vec![
        ScriptedReply::CloseWithoutResponse,
        ScriptedReply::TruncateResponse,
    ];
    for code in [400, 401, 403, 404, 409, 418, 429, 500, 502, 302, 200] {
        for shown in [TOKEN, &encoded, &encoded.replace('%', "%25")] {
            let description = format!(
                "Conflict at https://api.telegram.org/bot{shown}/getMe can't parse entities {shown}"
            );
            replies.push(ScriptedReply::Respond(
                code,
                format!(r#"{{"ok":false,"error_code":{code},"description":"{description}"}}"#),
            ));
            replies.push(ScriptedReply::Respond(
                code,
                format!("<html>/bot{shown}/getMe"),
            ));
            replies.push(ScriptedReply::Respond(
                code,
                format!(r#"{{"ok":true,"result":"{shown}"}}"#),
            ));
        }
    }
    let mut errors = Vec::new();
    for reply in replies {
        let (bot, _) = ScriptedServer::start(vec![reply]).await;
        errors.extend(bot.get_me().await.err());
        errors.extend(bot.get_updates(0, 1, Duration::ZERO).await.err());
        errors.extend(bot.download(TOKEN, 1).await.err());
    }
    let unresolvable = bot(&format!("http://{SECRET}.invalid"));
    errors.extend(unresolvable.get_me().await.err());
    assert!(errors.len() > 250, "{} errors", errors.len());
    for error in errors {
        let mut shown = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(e) = source {
            shown = format!("{shown} {e} {e:?}");
            source = e.source();
        }
        for variant in [
            SECRET.to_owned(),
            SECRET.to_ascii_lowercase(),
            SECRET.replace('-', "%2D"),
            SECRET.replace('-', "%252D"),
        ] {
            assert!(!shown.contains(&variant), "{shown}");
        }
    }
}

#[test]
fn debug_output_never_contains_the_token() {
    let bot = bot("http://127.0.0.1:1");
    let webhook = SetWebhook {
        url: "https://bots.example/".parse().expect("a URL"),
        secret_token: "s3cret-of-the-webhook".into(),
        max_connections: 1,
        certificate_pem: None,
    };
    let shown = format!("{bot:?} {bot:#?} {:?} {webhook:?} {:?}", bot.api(), hello());
    assert!(
        !shown.contains(SECRET) && !shown.contains("s3cret"),
        "{shown}"
    );
    assert!(!shown.contains("hi</b>"), "message text in a log: {shown}");
}

#[test]
fn cloning_a_bot_is_cheap() {
    assert_eq!(std::mem::size_of::<Bot>(), std::mem::size_of::<usize>());
}
