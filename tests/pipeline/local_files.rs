//! Files of a Bot API server in `--local` mode: by their path on its disk, beyond 20 MB, and never from elsewhere.

use std::os::unix::fs::symlink;
use std::path::Path;

use bot_api_simulator::UserAction;
use serde_json::{Value, json};
use telegram_connector_operator::assistant::AnswerPart;
use telegram_connector_operator::registry::FilePolicy;

use crate::scripted_assistant::ScriptedAssistant;
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv};

/// An environment whose Bot API server keeps its files in a folder, which the operator sees as another.
struct Local {
    env: TestEnv,
    assistant: ScriptedAssistant,
    support: Connector,
    server: tempfile::TempDir,
    _seen: tempfile::TempDir,
}

impl Local {
    async fn new(has_flag: bool) -> Self {
        let mut env = TestEnv::new().await;
        let (server, seen) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = seen.path().join("mounted");
        symlink(server.path(), &dir).unwrap();
        let server_dir = server.path().to_owned();
        env.telegram.configure(|options| {
            options.local_mode = true;
            options.local_files_dir = Some(server_dir);
        });
        let flag = format!("{}={}", server.path().display(), dir.display());
        env.local_files = has_flag.then(|| flag.parse().unwrap());
        let assistant = ScriptedAssistant::new(|_| Ok(vec![Ok(AnswerPart::Text("Read".into()))]));
        let support = env.connector_with("support", |c| {
            c.assistant = Some(assistant.shared());
            c.files = FilePolicy {
                to_assistant: true,
                max_bytes: 22 << 20,
                ..FilePolicy::default()
            };
        });
        Self {
            env,
            assistant,
            support,
            server,
            _seen: seen,
        }
    }

    async fn send(&self, content: Value) -> String {
        let to = self.support.id;
        let already = self.env.telegram.sent_messages(to, ANN).len();
        let action = UserAction {
            bot: Some(to.0),
            from: Some(ANN),
            content: content.as_object().unwrap().clone(),
            ..UserAction::default()
        };
        self.env.telegram.perform(&action).unwrap();
        let sent = self
            .env
            .telegram
            .wait_for_sent_messages(to, ANN, already, TIMEOUT)
            .await;
        self.env.wait_until_drained().await;
        sent.last().unwrap().text.clone()
    }

    /// The lengths of the files that the assistant was asked about.
    fn asked(&self) -> Vec<usize> {
        let questions = self.assistant.take_questions();
        let files = questions.iter().flat_map(|q| &q.files);
        files.map(|f| f.bytes.len()).collect()
    }
}

fn pdf(length: usize) -> Value {
    let data = format!("%PDF-1.7\n{}", "x".repeat(length - 9));
    json!({"document": {"data": data, "file_name": "a.pdf", "mime_type": "application/pdf"}})
}

#[tokio::test]
async fn files_beyond_20_mb_are_read_from_the_servers_folder() {
    let local = Local::new(true).await;
    assert_eq!(local.send(pdf(21 << 20)).await, "Read");
    assert_eq!(local.asked(), [21 << 20]);
    // The connector's own bound.
    let answer = local.send(pdf((22 << 20) + 1)).await;
    assert!(answer.contains("too big"), "{answer}");
    assert_eq!(local.asked(), [] as [usize; 0]);
}

#[tokio::test]
async fn without_the_flag_a_path_gets_a_sentence() {
    let local = Local::new(false).await;
    let answer = local.send(pdf(100)).await;
    assert!(answer.contains("just now"), "{answer}");
    assert!(local.asked().is_empty());
    assert!(local.env.dead_letters().await.is_empty());
}

#[tokio::test]
async fn link_that_leaves_the_servers_folder_gets_a_sentence() {
    let local = Local::new(true).await;
    let elsewhere = tempfile::tempdir().unwrap();
    // Where the server will write, and what the operator must not read.
    let documents: &Path = &local.server.path().join("documents");
    symlink(elsewhere.path(), documents).unwrap();
    let answer = local.send(pdf(100)).await;
    assert!(answer.contains("just now"), "{answer}");
    assert!(local.asked().is_empty());
}
