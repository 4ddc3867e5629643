//! The program under test and its peers as processes of their own.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::Failure;

/// The program under test: this build, or the one that `OPERATOR` names.
pub(crate) fn program() -> String {
    std::env::var("OPERATOR")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_telegram-connector-operator").to_owned())
}

/// A free address on loopback.
pub(crate) fn free_address() -> Result<String, Failure> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

/// A process and its standard output; killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

#[allow(dead_code, reason = "not every benchmark reads every figure")]
impl Process {
    pub(crate) fn start(
        program: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        // As many file descriptors as the system allows.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$@\"", "sh", program])
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, stdout })
    }

    /// Reads standard output up to the line `NAME=value` and returns the value.
    pub(crate) fn read_value(&mut self, name: &str) -> Result<String, Failure> {
        let mut line = String::new();
        while self.stdout.read_line(&mut line)? > 0 {
            if let Some((found, value)) = line.trim().split_once('=')
                && found == name
            {
                return Ok(value.to_owned());
            }
            line.clear();
        }
        Err(format!("the process ended without {name}=").into())
    }

    /// The CPU time so far, from `/proc` (clock ticks of 10 ms).
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let (user, system): (u32, u32) = (fields[11].parse()?, fields[12].parse()?);
        Ok(f64::from(user + system) / 100.0)
    }

    /// A figure of `/proc/PID/status` in kB: `VmHWM` is the peak, `VmRSS` the resident memory now.
    pub(crate) fn memory(&self, figure: &str) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kilobytes.ok_or("no such figure")?.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
