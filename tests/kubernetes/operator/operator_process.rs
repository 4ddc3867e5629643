//! The operator's binary in its own process, with the API server, simulator and store of a [`TestEnv`]. Tests that kill an operator
//! need a process.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::test_env::{TestEnv, free_address};

/// A running operator process; killed when dropped.
pub struct OperatorProcess {
    child: Child,
    log: PathBuf,
    admin: String,
}

impl TestEnv {
    /// Starts the binary with these flags in addition to the common ones. `name` is its Pod name.
    pub fn start_process(&self, name: &str, kubeconfig: &str, flags: &[&str]) -> OperatorProcess {
        let path = self.folder().join(format!("{name}.kubeconfig"));
        fs::write(&path, kubeconfig).expect("a writable folder");
        let log = self.folder().join(format!("{name}.log"));
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        let admin = free_address().to_string();
        let child = Command::new(env!("CARGO_BIN_EXE_telegram-connector-operator"))
            .args(["run", "--log-format", "json", "--admin-listen", &admin])
            .args([
                "--store",
                &self.store(),
                "--telegram-api-url",
                self.telegram.url().as_str(),
            ])
            .args(["--watch-namespace", &self.cluster.namespace])
            .args(["--allow-assistant-address", "127.0.0.1"])
            .args(flags)
            .env("KUBECONFIG", path)
            .env("POD_NAME", name)
            .stdin(Stdio::null())
            .stdout(log_file.try_clone().expect("the log"))
            .stderr(log_file)
            .spawn()
            .expect("the binary starts");
        OperatorProcess { child, log, admin }
    }
}

impl OperatorProcess {
    /// Status and body of a path of the admin endpoint; `None` if it does not answer.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = reqwest::get(format!("http://{}{path}", self.admin))
            .await
            .ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Whether `/readyz` answers 200, which means that the watches are synced.
    pub async fn is_ready(&self) -> bool {
        self.get("/readyz")
            .await
            .is_some_and(|(status, _)| status == 200)
    }

    /// Whether the process leads, according to its metric.
    pub async fn leads(&self) -> bool {
        let metrics = self.get("/metrics").await;
        metrics.is_some_and(|(_, text)| text.contains("telegram_connector_operator_leader 1\n"))
    }

    /// The value of a metric without labels; `None` if the process does not answer.
    pub async fn metric(&self, name: &str) -> Option<u64> {
        let (_, text) = self.get("/metrics").await?;
        let prefix = format!("telegram_connector_operator_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix))?;
        value.parse().ok()
    }

    /// Everything the process has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    /// Sends SIGKILL, so that nothing is released or flushed, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("the process runs");
        self.child.wait().expect("the process has ended");
    }

    /// Sends SIGTERM, as the kubelet does at a rolling update, and returns at once.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) {
        while self.child.try_wait().expect("its status").is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
