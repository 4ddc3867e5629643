//! What an operator under test stands between, each a process of its own: an API server with the manifests, and a simulated Telegram.

use std::path::Path;

use crate::Failure;
use crate::process::{Process, program};

/// Both. They end when this is dropped.
pub(crate) struct Surroundings {
    pub(crate) kubeconfig: String,
    /// The address of the simulated Telegram.
    pub(crate) telegram_url: String,
    /// The simulated Telegram.
    #[allow(dead_code, reason = "not every benchmark reads what it costs")]
    pub(crate) telegram: Process,
    _control_plane: Process,
}

impl Surroundings {
    pub(crate) fn start(folder: &Path, manifests: &str) -> Result<Self, Failure> {
        let program = program();
        let path = |name: &str| folder.join(name).display().to_string();
        let (kubeconfig, manifest) = (path("kubeconfig"), path("manifests.yaml"));
        std::fs::write(&manifest, manifests)?;
        let flags = [
            "dev",
            "control-plane",
            "--kubeconfig",
            &kubeconfig,
            &manifest,
        ];
        let mut control_plane = Process::start(&program, &flags, &[])?;
        control_plane.read_value("KUBECONFIG")?;
        let mut telegram = Process::start(&program, &["dev", "telegram"], &[])?;
        Ok(Self {
            kubeconfig,
            telegram_url: telegram.read_value("TELEGRAM_API_URL")?,
            telegram,
            _control_plane: control_plane,
        })
    }
}
