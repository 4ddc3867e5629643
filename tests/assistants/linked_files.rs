//! Files that an answer names by URL: fetched from the assistant's own origin and from listed hosts, and from nowhere else, whoever answers there.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use futures::stream;
use rstest::rstest;
use telegram_connector_operator::api::connector::AssistantProtocol::{self, A2A, OpenAI, Webhook};
use telegram_connector_operator::assistant::{
    AddressPolicy, Assistant, AssistantHttpClient, FileLink, HttpLimits, LinkError, build_assistant,
};
use tokio::time::Instant;

use crate::fixtures::{KEY, http_client, spec};
use crate::mock_server::{self, MockServer};

fn assistant_at(
    protocol: AssistantProtocol,
    url: &str,
    client: &AssistantHttpClient,
) -> Arc<dyn Assistant> {
    build_assistant(&spec(protocol, url), Some(KEY.into()), client).expect("an assistant")
}

/// A client that fetches files from these hosts, too.
fn client_with_file_hosts(hosts: &[&str]) -> AssistantHttpClient {
    let hosts = hosts.iter().map(|host| host.parse().expect("a host"));
    let policy = AddressPolicy::allowing_loopback().with_file_hosts(hosts.collect());
    AssistantHttpClient::new(HttpLimits::default(), policy).expect("a client")
}

async fn fetch(assistant: &dyn Assistant, address: &str) -> Result<Vec<u8>, LinkError> {
    let link = FileLink {
        address,
        max_bytes: 1000,
        deadline: Instant::now() + Duration::from_secs(2),
    };
    let fetching = tokio::time::timeout(Duration::from_secs(10), assistant.fetch_file(link));
    let bytes = fetching.await.expect("every fetch ends")?;
    Ok(bytes.to_vec())
}

/// A server with a file at `/file`, and what is hostile elsewhere.
async fn server() -> MockServer {
    MockServer::start(|request| match request.path() {
        "/file" => "contents".into_response(),
        "/empty" => "".into_response(),
        "/big" => "x".repeat(1001).into_response(),
        "/endless" => {
            let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>("more"));
            Body::from_stream(pieces).into_response()
        }
        "/silent" => {
            let pieces = stream::pending::<Result<String, std::io::Error>>();
            Body::from_stream(pieces).into_response()
        }
        "/bomb" => mock_server::status(200, &[("content-encoding", "gzip")], "x"),
        "/missing" => mock_server::status(404, &[], "not here"),
        "/moved" => mock_server::status(302, &[("location", "/file")], ""),
        "/loop" => mock_server::status(307, &[("location", "/loop")], ""),
        "/to-metadata" => {
            let to = "http://169.254.169.254/latest/meta-data/iam/security-credentials/";
            mock_server::status(302, &[("location", to)], "")
        }
        "/to-file" => mock_server::status(302, &[("location", "file:///etc/passwd")], ""),
        "/nowhere" => mock_server::status(302, &[], ""),
        path => {
            let to = path
                .strip_prefix("/to/")
                .map(|port| format!("http://127.0.0.1:{port}/file"));
            mock_server::status(302, &[("location", to.as_deref().unwrap_or("x"))], "")
        }
    })
    .await
}

#[rstest]
#[case::openai(OpenAI)]
#[case::a2a(A2A)]
#[case::webhook(Webhook)]
#[tokio::test]
async fn file_of_the_own_origin_is_fetched_without_a_key(#[case] protocol: AssistantProtocol) {
    let server = server().await;
    let assistant = assistant_at(protocol, &format!("{}/v1", server.url), &http_client());
    for path in ["/file", "/moved"] {
        let file = fetch(&*assistant, &format!("{}{path}", server.url)).await;
        assert_eq!(file.as_deref(), Ok(&b"contents"[..]), "{path}");
    }
    for request in server.received() {
        let headers = format!("{:?}", request.headers);
        assert!(
            !headers.contains(KEY) && !headers.contains("authorization"),
            "{headers}"
        );
    }
}

#[rstest]
#[case::empty("/empty", "empty, or bigger")]
#[case::too_big("/big", "empty, or bigger")]
#[case::endless("/endless", "empty, or bigger")]
#[case::silent("/silent", "no complete answer")]
#[case::compressed("/bomb", "content-encoding gzip")]
#[case::missing("/missing", "answers 404")]
#[case::round_and_round("/loop", "redirected too often")]
#[case::metadata("/to-metadata", "\"169.254.169.254\" is neither")]
#[case::other_scheme("/to-file", "no http(s) URL")]
#[case::nowhere("/nowhere", "redirected")]
#[tokio::test]
async fn hostile_server_gets_no_file_fetched(#[case] path: &str, #[case] expected: &str) {
    let server = server().await;
    let assistant = assistant_at(OpenAI, &format!("{}/v1", server.url), &http_client());
    let error = fetch(&*assistant, &format!("{}{path}", server.url)).await;
    let error = error.expect_err("no file").to_string();
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains(path), "{error}");
}

#[tokio::test]
async fn file_elsewhere_is_fetched_only_from_listed_hosts() {
    let (own, other) = (server().await, server().await);
    let address = format!("{}/file", other.url);
    let port = other.url.rsplit(':').next().expect("a port");
    let redirect = format!("{}/to/{port}", own.url);
    let url = format!("{}/v1", own.url);

    let assistant = assistant_at(OpenAI, &url, &http_client());
    for address in [&address, &redirect] {
        let refused = LinkError::NotAllowed("127.0.0.1".into());
        assert_eq!(fetch(&*assistant, address).await, Err(refused));
    }
    assert_eq!(other.received().len(), 0);

    let client = client_with_file_hosts(&["files.example", "127.0.0.0/8"]);
    let assistant = assistant_at(OpenAI, &url, &client);
    for address in [&address, &redirect] {
        assert_eq!(
            fetch(&*assistant, address).await.as_deref(),
            Ok(&b"contents"[..])
        );
    }
}

#[rstest]
#[case::metadata("http://169.254.169.254/latest", "cloud metadata address")]
#[case::mapped("http://[::ffff:169.254.169.254]/latest", "cloud metadata address")]
#[case::name("http://metadata.google.internal/", "cloud metadata address")]
#[case::user_info("http://a:b@127.0.0.1/", "without user info")]
#[case::other_name("http://files.example.evil/", "is neither")]
#[tokio::test]
async fn listed_host_opens_no_refused_address(#[case] address: &str, #[case] expected: &str) {
    let listed = [
        "0.0.0.0/0",
        "::/0",
        "files.example",
        "metadata.google.internal",
    ];
    let client = client_with_file_hosts(&listed);
    let assistant = assistant_at(OpenAI, "http://127.0.0.1:9/v1", &client);
    let error = fetch(&*assistant, address).await.expect_err("no file");
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn list_of_assistants_does_not_close_hosts_of_files() {
    let files = server().await;
    let policy = AddressPolicy::allowing_loopback()
        .only(vec!["agent.example".parse().expect("a host")])
        .with_file_hosts(vec!["127.0.0.1".parse().expect("a host")]);
    let client = AssistantHttpClient::new(HttpLimits::default(), policy).expect("a client");
    let assistant = assistant_at(Webhook, "http://agent.example/", &client);
    let file = fetch(&*assistant, &format!("{}/file", files.url)).await;
    assert_eq!(file.as_deref(), Ok(&b"contents"[..]));
}
