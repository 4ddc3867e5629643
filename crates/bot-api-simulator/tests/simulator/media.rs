//! Files that a bot sends: uploads, `file_id`s and albums, their limits, and what is recorded of them.

use bot_api_simulator::{Fault, FaultKind, SentMedia, SimulatorOptions};
use serde_json::{Value, json};

use crate::client::Client;
use crate::keyboards::{with_ann, yes_no};

/// The beginning of a PNG file, which is enough for its size to be known.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn opus() -> Vec<u8> {
    let mut bytes = b"OggS\0\x02".to_vec();
    bytes.extend([0; 22]);
    bytes.extend(b"OpusHead\x01\x01");
    bytes
}

impl Client {
    /// A call with files (parameter, file name, content) as a multipart form: the status and the whole answer.
    pub(crate) async fn upload(
        &self,
        method: &str,
        params: Value,
        files: &[(&str, &str, &[u8])],
    ) -> (u16, Value) {
        let mut body = Vec::new();
        for (name, value) in params.as_object().expect("an object") {
            let value = value.as_str().map_or(value.to_string(), ToOwned::to_owned);
            let part = format!(
                "--b17\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend(part.into_bytes());
        }
        for (name, file_name, content) in files {
            let head = format!(
                "--b17\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\n\r\n"
            );
            body.extend(head.into_bytes());
            body.extend_from_slice(content);
            body.extend(b"\r\n");
        }
        body.extend(b"--b17--\r\n");
        let request = self.http.post(self.url(method));
        let request = request.header("content-type", "multipart/form-data; boundary=b17");
        let response = request.body(body).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    async fn uploaded(&self, method: &str, params: Value, files: &[(&str, &str, &[u8])]) -> Value {
        let (status, mut answer) = self.upload(method, params, files).await;
        assert_eq!(status, 200, "{method}: {answer}");
        answer["result"].take()
    }

    async fn upload_refused(&self, method: &str, file: &[u8]) -> (u16, String) {
        let name = method.trim_start_matches("send").to_lowercase();
        let files: &[(&str, &str, &[u8])] = &[(&name, "f", file)];
        let (status, answer) = self.upload(method, json!({"chat_id": 42}), files).await;
        let description = answer["description"].as_str().unwrap_or_default();
        (status, description.to_owned())
    }

    fn media(&self) -> Vec<SentMedia> {
        let sent = self.sim.sent_messages(self.bot, 42).into_iter();
        sent.filter_map(|message| message.media).collect()
    }
}

#[tokio::test]
async fn uploaded_photo_is_recorded_and_can_be_downloaded() {
    let client = with_ann().await;
    let picture = png(640, 480);
    let params = json!({
        "chat_id": 42, "caption": "<b>Sales</b> in May", "parse_mode": "HTML", "photo": "attach://p",
        "reply_markup": yes_no(), "reply_parameters": {"message_id": 1}, "has_spoiler": true,
    });
    let sent = client
        .uploaded("sendPhoto", params, &[("p", "chart.png", &picture)])
        .await;
    let largest = sent["photo"]
        .as_array()
        .expect("sizes")
        .last()
        .expect("one");
    assert_eq!(
        (&largest["width"], &largest["height"]),
        (&json!(640), &json!(480))
    );
    assert_eq!(sent["caption"], "Sales in May");
    assert_eq!(
        sent["caption_entities"],
        json!([{"type": "bold", "offset": 0, "length": 5}])
    );
    assert_eq!(sent["reply_markup"], yes_no());
    assert_eq!(sent["reply_to_message"]["text"], "hi");
    assert_eq!(sent["has_media_spoiler"], true);
    let recorded = &client.sim.sent_messages(client.bot, 42)[0];
    assert_eq!(
        (recorded.text.as_str(), recorded.caption.as_str()),
        ("", "Sales in May")
    );
    assert_eq!(recorded.source, "<b>Sales</b> in May");
    let media = recorded.media.as_ref().expect("a photo");
    assert_eq!(
        (media.kind.as_str(), media.file_name.as_str()),
        ("photo", "chart.png")
    );
    assert_eq!(
        (media.sniffed_type.as_str(), media.size),
        ("image/png", picture.len())
    );
    assert_eq!(media.sha256.len(), 64);
    let file = client
        .ok("getFile", json!({"file_id": largest["file_id"]}))
        .await;
    let path = file["file_path"].as_str().expect("a path");
    let url = client.url("").replace("/bot", "/file/bot");
    let response = client
        .http
        .get(format!("{url}{path}"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.bytes().await.expect("bytes"), picture);
}

#[tokio::test]
async fn each_kind_of_file_arrives_as_what_it_is() {
    let client = with_ann().await;
    let mp3 = b"ID3\x03\0\0\0\0\0\0".as_slice();
    let mp4 = b"\0\0\0\x18ftypisom\0\0\0\0isomiso2".as_slice();
    let gif = b"GIF89a\x10\0\x10\0\0\0\0".as_slice();
    let pdf = b"%PDF-1.7 ".as_slice();
    let opus = opus();
    for (method, content, arrives) in [
        ("sendDocument", pdf, "document"),
        ("sendDocument", b"plain words".as_slice(), "document"),
        ("sendDocument", gif, "animation"),
        ("sendAudio", mp3, "audio"),
        ("sendVoice", opus.as_slice(), "voice"),
        ("sendVoice", mp3, "voice"),
        ("sendVoice", b"RIFF\x24\0\0\0WAVEfmt ".as_slice(), "audio"),
        ("sendVoice", pdf, "document"),
        ("sendVideo", mp4, "video"),
        ("sendVideo", pdf, "document"),
        ("sendAnimation", gif, "animation"),
    ] {
        let parameter = method.trim_start_matches("send").to_lowercase();
        let files: &[(&str, &str, &[u8])] = &[(&parameter, "a.bin", content)];
        let sent = client
            .uploaded(method, json!({"chat_id": 42, "duration": 3}), files)
            .await;
        assert!(sent[arrives]["file_id"].is_string(), "{method}: {sent}");
        let last = client.media().pop().expect("recorded");
        assert_eq!(last.kind, arrives, "{method}");
    }
    let types: Vec<String> = client.media().into_iter().map(|m| m.sniffed_type).collect();
    assert_eq!(types[..3], ["application/pdf", "text/plain", "image/gif"]);
    assert_eq!(types[4], "audio/ogg");
}

#[tokio::test]
async fn file_is_sent_again_by_its_file_id() {
    let client = with_ann().await;
    let files: &[(&str, &str, &[u8])] = &[("document", "a.pdf", b"%PDF-1.7 ")];
    let sent = client
        .uploaded("sendDocument", json!({"chat_id": 42}), files)
        .await;
    let id = &sent["document"]["file_id"];
    let again = client
        .ok("sendDocument", json!({"chat_id": 42, "document": id}))
        .await;
    assert_eq!(again["document"], sent["document"]);
    let as_photo = client
        .refused("sendPhoto", json!({"chat_id": 42, "photo": id}))
        .await;
    assert_eq!(
        as_photo.1,
        "Bad Request: can't use file of type documents as Photo"
    );
    let unknown = client
        .refused("sendPhoto", json!({"chat_id": 42, "photo": "AgAC"}))
        .await;
    assert_eq!(
        unknown.1,
        "Bad Request: wrong file identifier/HTTP URL specified"
    );
    let url = json!({"chat_id": 42, "photo": "https://example.com/a.png"});
    assert_eq!(
        client.refused("sendPhoto", url).await.1,
        "Bad Request: failed to get HTTP URL content"
    );
    let nothing = client.refused("sendVoice", json!({"chat_id": 42})).await;
    assert_eq!(nothing.1, "Bad Request: there is no voice in the request");
}

#[tokio::test]
async fn photo_that_is_none_or_has_impossible_sides_is_refused() {
    let client = with_ann().await;
    for (content, expected) in [
        (
            b"not a picture".to_vec(),
            "Bad Request: IMAGE_PROCESS_FAILED",
        ),
        (png(6_000, 4_001), "Bad Request: PHOTO_INVALID_DIMENSIONS"),
        (png(100, 2_001), "Bad Request: PHOTO_INVALID_DIMENSIONS"),
        (Vec::new(), "Bad Request: file must be non-empty"),
    ] {
        assert_eq!(
            client.upload_refused("sendPhoto", &content).await,
            (400, expected.to_owned())
        );
    }
    let mut large = png(100, 100);
    large.resize((10 << 20) + 1, 0);
    assert_eq!(
        client.upload_refused("sendPhoto", &large).await.1,
        "Bad Request: file of size 10485761 bytes is too big for a photo; the maximum size is 10485760 bytes"
    );
    assert!(client.media().is_empty());
    let files: &[(&str, &str, &[u8])] = &[("photo", "a.png", &png(6_000, 4_000))];
    client
        .uploaded("sendPhoto", json!({"chat_id": 42}), files)
        .await;
}

#[tokio::test]
async fn upload_beyond_50_megabytes_is_answered_with_413() {
    let client = with_ann().await;
    for megabytes in [51, 60] {
        let content = vec![0; megabytes << 20];
        assert_eq!(
            client.upload_refused("sendDocument", &content).await,
            (413, "Request Entity Too Large".to_owned())
        );
    }
    let content = vec![0; 50 << 20];
    let files: &[(&str, &str, &[u8])] = &[("document", "a.bin", &content)];
    client
        .uploaded("sendDocument", json!({"chat_id": 42}), files)
        .await;
    assert_eq!(client.media()[0].size, 50 << 20);
}

#[tokio::test]
async fn a_caption_has_1024_utf16_units_after_its_formatting_is_parsed() {
    let client = with_ann().await;
    let send = async |caption: String| {
        let params = json!({"chat_id": 42, "caption": caption, "parse_mode": "HTML"});
        let files: &[(&str, &str, &[u8])] = &[("photo", "a.png", &png(9, 9))];
        let (_, answer) = client.upload("sendPhoto", params, files).await;
        answer["description"].as_str().map(ToOwned::to_owned)
    };
    assert_eq!(send(format!("<b>{}</b>", "👍".repeat(512))).await, None);
    assert_eq!(
        send("x".repeat(1025)).await.as_deref(),
        Some("Bad Request: message caption is too long")
    );
    let broken = send("<x>".into()).await.expect("refused");
    assert!(
        broken.starts_with("Bad Request: can't parse entities"),
        "{broken}"
    );
}

#[tokio::test]
async fn caption_and_media_can_be_edited() {
    let client = with_ann().await;
    let files: &[(&str, &str, &[u8])] = &[("photo", "a.png", &png(9, 9))];
    let params = json!({"chat_id": 42, "caption": "one", "reply_markup": yes_no()});
    let sent = client.uploaded("sendPhoto", params, files).await;
    let edit = json!({"chat_id": 42, "message_id": sent["message_id"], "caption": "two"});
    let edited = client.ok("editMessageCaption", edit.clone()).await;
    assert_eq!(edited["caption"], "two");
    assert!(edited["reply_markup"].is_null());
    let mut as_text = edit.clone();
    as_text["text"] = json!("x");
    assert_eq!(
        client.refused("editMessageText", as_text).await.1,
        "Bad Request: there is no text in the message to edit"
    );
    let media = json!({"type": "document", "media": "attach://d", "caption": "three"});
    let replace = json!({"chat_id": 42, "message_id": sent["message_id"], "media": media});
    let files: &[(&str, &str, &[u8])] = &[("d", "a.pdf", b"%PDF-1.7 ")];
    let edited = client.uploaded("editMessageMedia", replace, files).await;
    assert_eq!(edited["document"]["file_name"], "a.pdf");
    assert!(edited["photo"].is_null());
    assert_eq!(client.media()[0].kind, "document");
    let text = client
        .ok("sendMessage", json!({"chat_id": 42, "text": "x"}))
        .await;
    let edit = json!({"chat_id": 42, "message_id": text["message_id"], "caption": "x"});
    assert_eq!(
        client.refused("editMessageCaption", edit).await.1,
        "Bad Request: there is no caption in the message to edit"
    );
}

#[tokio::test]
async fn album_goes_out_whole() {
    let client = with_ann().await;
    let item = |kind: &str, file: &str| json!({"type": kind, "media": format!("attach://{file}"), "caption": file});
    let album = |items: Vec<Value>| json!({"chat_id": 42, "media": items});
    let picture = png(9, 9);
    let files: &[(&str, &str, &[u8])] = &[
        ("a", "a.png", &picture),
        ("b", "b.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isomiso2"),
        ("c", "c.pdf", b"%PDF-1.7 "),
    ];
    let mixed = album(vec![item("photo", "a"), item("video", "b")]);
    let sent = client.uploaded("sendMediaGroup", mixed, files).await;
    assert_eq!(sent.as_array().map(Vec::len), Some(2));
    assert_eq!(sent[0]["media_group_id"], sent[1]["media_group_id"]);
    assert_eq!(
        (&sent[0]["caption"], &sent[1]["caption"]),
        (&json!("a"), &json!("b"))
    );
    assert!(sent[1]["video"].is_object());
    let recorded = client.media();
    assert_eq!(recorded[0].media_group_id, recorded[1].media_group_id);
    assert!(recorded[0].media_group_id.is_some());
    for (items, expected) in [
        (
            vec![item("photo", "a"); 11],
            "too many messages to send as an album",
        ),
        (
            vec![item("photo", "a")],
            "too few messages to send as an album",
        ),
        (
            vec![item("photo", "a"), item("document", "c")],
            "document can't be mixed with other media types",
        ),
        (
            vec![item("photo", "a"), item("animation", "b")],
            "can't parse InputMedia: type \"animation\" can't be used in sendMediaGroup",
        ),
        (
            vec![item("photo", "a"), item("photo", "z")],
            "can't parse InputMedia: media not found",
        ),
        (
            vec![item("photo", "a"), json!({"media": "attach://a"})],
            "can't parse InputMedia: Can't find field \"type\"",
        ),
    ] {
        let (status, answer) = client.upload("sendMediaGroup", album(items), files).await;
        let expected = json!(format!("Bad Request: {expected}"));
        assert_eq!((status, &answer["description"]), (400, &expected));
    }
    assert_eq!(client.media().len(), 2, "all or none");
}

#[tokio::test]
async fn faults_hold_for_uploads() {
    let client = with_ann().await;
    let files: &[(&str, &str, &[u8])] = &[("photo", "a.png", &png(9, 9))];
    let throttle = Fault::new(FaultKind::TooManyRequests { retry_after: 9 });
    client
        .sim
        .add_fault(throttle.method("sendPhoto").chat(42).times(1));
    let (status, answer) = client
        .upload("sendPhoto", json!({"chat_id": 42}), files)
        .await;
    assert_eq!(
        (status, &answer["parameters"]["retry_after"]),
        (429, &json!(9))
    );
    assert!(client.media().is_empty());
    let old_server = FaultKind::Status {
        code: 404,
        description: "Not Found: method not found".into(),
    };
    client
        .sim
        .add_fault(Fault::new(old_server).method("sendMediaGroup"));
    assert_eq!(client.refused("sendMediaGroup", json!({})).await.0, 404);
    client.sim.add_fault(
        Fault::new(FaultKind::HangAfter)
            .method("sendPhoto")
            .times(1),
    );
    let lost = client.upload("sendPhoto", json!({"chat_id": 42}), files);
    let lost = tokio::time::timeout(std::time::Duration::from_millis(300), lost).await;
    assert!(lost.is_err());
    assert!(client.sim.sent_messages(client.bot, 42)[0].unanswered);
}

#[tokio::test]
async fn self_hosted_server_takes_larger_files() {
    let client = Client::start(SimulatorOptions {
        local_mode: true,
        ..SimulatorOptions::default()
    })
    .await;
    client.sim.send_private_message(client.bot, 42, "hi");
    let content = vec![0; 60 << 20];
    let files: &[(&str, &str, &[u8])] = &[("document", "a.bin", &content)];
    client
        .uploaded("sendDocument", json!({"chat_id": 42}), files)
        .await;
    assert_eq!(client.media()[0].size, 60 << 20);
}
