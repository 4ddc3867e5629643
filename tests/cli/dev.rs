//! A running `dev` for commands that need a cluster.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends `dev` with the test.
pub(super) struct Dev(Child);

impl Dev {
    /// With these arguments beside those that every test wants.
    pub(super) fn start(kubeconfig: &Path, arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_telegram-connector-operator"))
            .args(["dev", "--log-level", "error", "--kubeconfig"])
            .arg(kubeconfig)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("the program starts"))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
