//! The operator's process: the program as it is shipped, to be killed and started again.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::not_tried::not_tried;

/// The program under torture.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_telegram-connector-operator");

/// What of the machine is another for one life of the operator.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// Environment variables besides the usual ones.
    pub(crate) env: Vec<(&'static str, String)>,
    /// What stands in its `/etc/hosts`. Needs [`names_can_be_given`].
    pub(crate) hosts: Option<PathBuf>,
}

/// Whether a process can be given an `/etc/hosts` of its own here.
pub(crate) fn names_can_be_given() -> bool {
    let can = with_mounts()
        .args(["sh", "-c", "mount --bind /etc/hosts /etc/hosts"])
        .output()
        .is_ok_and(|done| done.status.success());
    if !can {
        not_tried("this machine lets no process have mounts of its own (unshare)");
    }
    can
}

/// A command that runs another one with mounts of its own.
fn with_mounts() -> Command {
    let mut command = Command::new("unshare");
    command.args(if is_root() {
        &["-m"][..]
    } else {
        &["-r", "-m"]
    });
    command.arg("--");
    command
}

/// One life of the operator; killed when dropped.
pub(crate) struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    /// Starts `run` with these flags. What it logs goes to `log`.
    pub(crate) fn start(
        kubeconfig: &Path,
        log: &Path,
        flags: &[String],
        surroundings: &Surroundings,
    ) -> Self {
        let mut command = match &surroundings.hosts {
            None => Command::new("env"),
            Some(hosts) => {
                let mut command = with_mounts();
                let give = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
                command.args(["sh", "-c", give]).arg(hosts);
                command
            }
        };
        let mut child = command
            .args(without_root())
            // A write beyond a file size limit fails then, as on a full disk, instead of ending the process.
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
            .envs(surroundings.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A pipe has no file size limit.
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

    /// SIGKILL: no destructor, no flush, no farewell.
    ///
    /// # Panics
    /// It has ended by itself.
    pub(crate) fn kill(mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(40).collect();
            let last: Vec<_> = last.into_iter().rev().collect();
            panic!("it ended by itself, {status}:\n{}", last.join("\n"));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// From now on no file of it may grow beyond so many bytes: every write to its store fails, as on a full disk.
    /// `None`: as many as it likes.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let pid = self.child.id().to_string();
        let set = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={limit}:")])
            .status()
            .unwrap();
        assert!(set.success(), "prlimit: {set}");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What runs a command without the right to write what is read-only, which root has. (`setpriv` and `prlimit` are of
/// util-linux, which every Linux has.)
fn without_root() -> &'static [&'static str] {
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
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Runs a command of the program to its end, and gives what it printed.
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
