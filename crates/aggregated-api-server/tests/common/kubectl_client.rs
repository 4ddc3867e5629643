//! Stock kubectl as tests use it: the one of `KUBEBUILDER_ASSETS`, the one in `PATH`, and those that `KUBECTL_NEW` and `KUBECTL_OLD` name.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long a command may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The kubectls of this machine, one of each version.
pub fn clients() -> Vec<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS");
    let mut clients: Vec<PathBuf> = assets
        .map(|assets| Path::new(&assets).join("kubectl"))
        .into_iter()
        .chain(["kubectl".into()])
        .collect();
    for variable in ["KUBECTL_NEW", "KUBECTL_OLD"] {
        clients.extend(std::env::var_os(variable).map(PathBuf::from));
    }
    let mut versions = Vec::new();
    clients.retain(|client| {
        let found = version(client).filter(|version| !versions.contains(version));
        versions.extend(found.clone());
        found.is_some()
    });
    clients
}

/// The minor version of a kubectl; `None` if it cannot be started.
pub fn version(path: &Path) -> Option<String> {
    let arguments = ["version", "--client", "-o", "json"];
    let output = std::process::Command::new(path)
        .args(arguments)
        .output()
        .ok()?;
    let version: Value = serde_json::from_slice(&output.stdout).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?;
    Some(format!("1.{}", minor.trim_end_matches('+')))
}

/// One kubectl with one kubeconfig.
pub struct Kubectl {
    pub path: PathBuf,
    /// Holds the kubeconfig, and is its HOME: a discovery of its own.
    pub folder: tempfile::TempDir,
}

/// What it printed.
#[derive(Debug)]
pub struct Output {
    pub ok: bool,
    pub text: String,
    pub error: String,
}

impl Kubectl {
    pub fn new(path: &Path, kubeconfig: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig).expect("writable");
        Self {
            path: path.to_owned(),
            folder,
        }
    }

    /// The minor version.
    pub fn minor(&self) -> u32 {
        let version = version(&self.path).expect("asked before");
        version[2..].parse().expect("a number")
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.path);
        command
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("HOME", self.folder.path())
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command line, with something on its standard input.
    pub async fn try_run(&self, line: &str, input: &str) -> Output {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).await.expect("it reads");
        drop(stdin);
        let output = tokio::time::timeout(TIMEOUT, child.wait_with_output()).await;
        let output = output.expect("in time").expect("it ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Output {
            ok: output.status.success(),
            text: text(output.stdout),
            error: text(output.stderr),
        }
    }

    /// What it prints of a command line that must succeed.
    pub async fn run(&self, line: &str) -> String {
        let output = self.try_run(line, "").await;
        assert!(output.ok, "{line}: {output:?}");
        output.text
    }

    /// What it says of a command line that must fail.
    pub async fn fail(&self, line: &str) -> String {
        let output = self.try_run(line, "").await;
        assert!(!output.ok, "{line}: {output:?}");
        output.error
    }
}

/// The words of a line of a table.
pub fn columns(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
