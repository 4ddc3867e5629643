//! A `PostgreSQL` server for tests, started from the machine's own programs.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use telegram_connector_operator::store;

use crate::not_tried::not_tried;

/// A server of its own in a folder of its own, on a Unix socket; ended when dropped.
pub(crate) struct Postgres {
    server: Child,
    folder: tempfile::TempDir,
    programs: PathBuf,
    as_nobody: bool,
    fsync: &'static str,
    /// Its processes while they are stopped.
    frozen: Vec<u32>,
}

/// `initdb` refuses to run as root; then it runs as nobody.
const NOBODY: u32 = 65534;

fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|v| v.path().join("bin")));
    }
    folders
        .into_iter()
        .find(|f| f.join("initdb").exists() && f.join("postgres").exists())
        .map(|f| {
            std::fs::canonicalize(f.join("initdb"))
                .unwrap()
                .parent()
                .unwrap()
                .to_owned()
        })
}

fn command(program: &Path, as_nobody: bool) -> Command {
    let mut command = Command::new(program);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if as_nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn spawn_server(programs: &Path, folder: &Path, as_nobody: bool, fsync: &str) -> Child {
    command(&programs.join("postgres"), as_nobody)
        .args(["-c", "listen_addresses=", "-c", fsync, "-k"])
        .arg(folder)
        .arg("-D")
        .arg(folder.join("data"))
        .current_dir(folder)
        .spawn()
        .unwrap()
}

impl Postgres {
    #[allow(dead_code, reason = "some tests make the tables themselves")]
    /// With the store's tables. `None`, said aloud, where there is no `PostgreSQL` on this machine.
    pub(crate) async fn start() -> Option<Self> {
        let postgres = Self::start_empty().await?;
        store::open(&postgres.address()).await.unwrap();
        Some(postgres)
    }

    /// Without any table.
    pub(crate) async fn start_empty() -> Option<Self> {
        Self::start_server("fsync=off").await
    }

    /// The same, with the disk waited for.
    #[allow(dead_code, reason = "for measurements")]
    pub(crate) async fn start_durable() -> Option<Self> {
        Self::start_server("fsync=on").await
    }

    /// The process whose children do the work.
    #[allow(dead_code, reason = "for measurements")]
    pub(crate) fn process(&self) -> u32 {
        self.server.id()
    }

    async fn start_server(fsync: &'static str) -> Option<Self> {
        let Some(programs) = programs() else {
            not_tried("there is no PostgreSQL (initdb, postgres) on this machine");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).unwrap());
        let as_nobody = owner == 0;
        if as_nobody {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = folder.path().join("data");
        let made = command(&programs.join("initdb"), as_nobody)
            .args([
                "--auth=trust",
                "--username=operator",
                "--no-sync",
                "-E",
                "UTF8",
                "-D",
            ])
            .arg(&data)
            .current_dir(folder.path())
            .status()
            .unwrap();
        assert!(made.success());
        let server = spawn_server(&programs, folder.path(), as_nobody, fsync);
        let postgres = Self {
            server,
            folder,
            programs,
            as_nobody,
            fsync,
            frozen: Vec::new(),
        };
        postgres.wait_until_it_answers().await;
        Some(postgres)
    }

    /// Shuts the server down, ending every connection, and starts it again after `outage`.
    #[allow(dead_code, reason = "not every test that starts a server ends it")]
    pub(crate) async fn go_away_for(&mut self, outage: Duration) {
        // A fast shutdown.
        signal("-INT", &[self.server.id()]);
        self.server.wait().unwrap();
        tokio::time::sleep(outage).await;
        self.server = spawn_server(
            &self.programs,
            self.folder.path(),
            self.as_nobody,
            self.fsync,
        );
        self.wait_until_it_answers().await;
    }

    /// Stops all its processes where they are: connections stay, and get no answer any more.
    #[allow(dead_code, reason = "not every test that starts a server stops it")]
    pub(crate) fn freeze(&mut self) {
        let id = self.server.id();
        signal("-STOP", &[id]);
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let children = children.split_whitespace().map(|id| id.parse().unwrap());
        self.frozen = children.collect();
        signal("-STOP", &self.frozen);
    }

    /// Has them go on.
    #[allow(dead_code, reason = "not every test that starts a server stops it")]
    pub(crate) fn thaw(&mut self) {
        signal("-CONT", &[self.server.id()]);
        signal("-CONT", &std::mem::take(&mut self.frozen));
    }

    /// A connection to it.
    #[allow(dead_code, reason = "not every test looks into the tables")]
    pub(crate) async fn connect(&self) -> sqlx::postgres::PgConnection {
        self.options().connect().await.unwrap()
    }

    /// The file of its socket.
    #[allow(dead_code, reason = "not every test stands between")]
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    fn options(&self) -> sqlx::postgres::PgConnectOptions {
        sqlx::postgres::PgConnectOptions::from_str(&self.address()).unwrap()
    }

    async fn wait_until_it_answers(&self) {
        let options = self.options();
        let deadline = Instant::now() + Duration::from_secs(30);
        while options.connect().await.is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn address(&self) -> String {
        format!(
            "postgres://operator@localhost/postgres?host={}",
            self.folder.path().display()
        )
    }
}

fn signal(signal: &str, processes: &[u32]) {
    let ids = processes.iter().map(u32::to_string);
    let sent = Command::new("kill").arg(signal).args(ids).status();
    assert!(sent.unwrap().success());
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.server.kill();
        if !self.frozen.is_empty() {
            // They end when they see that the server is gone.
            signal("-CONT", &self.frozen);
        }
        let _ = self.server.wait();
    }
}
