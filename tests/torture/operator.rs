//! The operator's process, which tests kill and restart.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::not_tried::not_tried;

/// The operator's binary.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_telegram-connector-operator");

/// What differs from the machine's environment for one process of the operator.
#[derive(Debug, Default)]
pub(crate) struct ProcessEnvironment {
    /// Additional environment variables.
    pub(crate) env: Vec<(&'static str, String)>,
    /// A file that replaces `/etc/hosts`. Needs [`can_replace_hosts`].
    pub(crate) hosts: Option<PathBuf>,
}

/// Whether this machine allows a process with its own `/etc/hosts`.
pub(crate) fn can_replace_hosts() -> bool {
    let possible = with_mount_namespace()
        .args(["sh", "-c", "mount --bind /etc/hosts /etc/hosts"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !possible {
        not_tried("this machine lets no process have mounts of its own (unshare)");
    }
    possible
}

/// A command prefix that runs another command in its own mount namespace.
fn with_mount_namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(if is_root() {
        &["-m"][..]
    } else {
        &["-r", "-m"]
    });
    command.arg("--");
    command
}

/// A running operator; killed when dropped.
pub(crate) struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    /// Starts `run` with these flags. Its log is appended to the file `log`.
    pub(crate) fn start(
        kubeconfig: &Path,
        log: &Path,
        flags: &[String],
        process_env: &ProcessEnvironment,
    ) -> Self {
        let mut command = match &process_env.hosts {
            None => Command::new("env"),
            Some(hosts) => {
                let mut command = with_mount_namespace();
                let mount_hosts = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
                command.args(["sh", "-c", mount_hosts]).arg(hosts);
                command
            }
        };
        let mut child = command
            .args(drop_file_override())
            // With SIGXFSZ ignored, a write beyond the file size limit fails, as on a full disk, instead of ending the process.
            .args([
                "sh",
                "-c",
                "trap '' XFSZ; exec \"$@\"",
                "sh",
                PROGRAM,
                "run",
            ])
            .args(flags)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KUBECONFIG", kubeconfig)
            .env(
                "LOG_LEVEL",
                std::env::var("TORTURE_LOG").unwrap_or("warn".into()),
            )
            .env("RUST_BACKTRACE", "1")
            .envs(process_env.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A pipe, because the file size limit would also apply to a log file.
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = writeln!(file, "{line}");
            }
        });
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Sends SIGKILL, so that no destructor runs and nothing is flushed.
    ///
    /// # Panics
    /// The process has ended by itself; the message has the end of its log.
    pub(crate) fn kill(mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(40).collect();
            let last: Vec<_> = last.into_iter().rev().collect();
            panic!(
                "the operator ended by itself, {status}:\n{}",
                last.join("\n")
            );
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Limits the size of the process's files. With 0 every write to the store fails, as on a full disk; `None` removes the limit.
    pub(crate) fn limit_file_size(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let pid = self.child.id().to_string();
        let status = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={limit}:")])
            .status()
            .unwrap();
        assert!(status.success(), "prlimit: {status}");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command prefix that drops root's capability to write read-only files. (`setpriv` and `prlimit` are part of util-linux, which
/// every Linux has.)
fn drop_file_override() -> &'static [&'static str] {
    if is_root() {
        return &[
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search",
            "--",
        ];
    }
    &["env"]
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Runs a command of the program and returns what it printed.
pub(crate) fn command(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
