//! A disk with a volatile write cache for one process: `volatile_cache.c`, which is compiled here and loaded into the operator by
//! `LD_PRELOAD`. It keeps a copy of what the operator has synced, and can make each sync slow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The library with its settings.
#[derive(Debug)]
pub(crate) struct VolatileCache {
    library: PathBuf,
    counters: PathBuf,
    /// The folder that is modelled, and where the copy of what is synced is kept.
    folders: Option<(PathBuf, PathBuf)>,
    /// What each sync takes longer.
    pub(crate) delay: Duration,
    /// Whether syncs make nothing durable.
    pub(crate) ignores_syncs: bool,
}

/// What the process has done so far, restarts included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskCounters {
    /// Writes to files of the modelled folder.
    pub(crate) writes: u64,
    /// Calls of fsync and fdatasync, on whatever file.
    pub(crate) syncs: u64,
    /// Those of them on the modelled folder itself.
    pub(crate) folder_syncs: u64,
}

impl VolatileCache {
    /// Compiles the library into the folder `build`.
    pub(crate) fn build(build: &Path) -> std::io::Result<Self> {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/torture/power/volatile_cache.c"
        );
        let library = build.join("volatile_cache.so");
        // A Rust toolchain links with the same command.
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"])
            .arg("-o")
            .arg(&library)
            .args([source, "-lpthread"])
            .output()?;
        if !compiled.status.success() {
            let errors = String::from_utf8_lossy(&compiled.stderr).into_owned();
            return Err(std::io::Error::other(errors));
        }
        Ok(Self {
            library,
            counters: build.join("volatile_cache.counters"),
            folders: None,
            delay: Duration::ZERO,
            ignores_syncs: false,
        })
    }

    /// Keeps a copy of what is synced of the folder, in the folder `durable`.
    pub(crate) fn model(&mut self, folder: PathBuf, durable: PathBuf) {
        self.folders = Some((folder, durable));
    }

    /// The environment of the process.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        let mut environment = vec![
            ("LD_PRELOAD", text(&self.library)),
            ("VOLATILE_CACHE_COUNTERS", text(&self.counters)),
            (
                "VOLATILE_CACHE_DELAY_MS",
                self.delay.as_millis().to_string(),
            ),
        ];
        if let Some((folder, durable)) = &self.folders {
            environment.push(("VOLATILE_CACHE_FOLDER", text(folder)));
            environment.push(("VOLATILE_CACHE_DURABLE", text(durable)));
        }
        if self.ignores_syncs {
            environment.push(("VOLATILE_CACHE_IGNORES", "1".into()));
        }
        environment
    }

    /// The counters, which are there once the process has written a file.
    pub(crate) fn counters(&self) -> DiskCounters {
        let bytes = std::fs::read(&self.counters).unwrap_or_default();
        let number = |index: usize| {
            let bytes = bytes.get(8 * index..8 * index + 8);
            bytes.map_or(0, |b| u64::from_ne_bytes(b.try_into().unwrap_or_default()))
        };
        DiskCounters {
            writes: number(0),
            syncs: number(2),
            folder_syncs: number(3),
        }
    }
}
