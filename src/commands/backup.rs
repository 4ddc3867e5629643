//! The command `backup`: copies the store while the operator runs. The image has no shell and no `sqlite3`, so the operator makes the copy
//! and writes it to standard output, from where `kubectl exec` transfers it.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cli::BackupArgs;
use crate::store;

/// Writes the copy to `--output` or, without that flag, to standard output.
///
/// # Errors
/// The store's; a terminal as standard output; a file that cannot be written.
pub async fn backup(args: BackupArgs) -> Result<()> {
    if let Some(file) = &args.output {
        store::backup(&args.store.store, file).await?;
        eprintln!("written to {}", file.display());
        return Ok(());
    }
    if io::stdout().is_terminal() {
        bail!(
            "a database is nothing for a terminal: send it into a file with > backup.db, or name one with --output"
        );
    }
    let copy = TemporaryCopy::next_to(&args.store.store);
    store::backup(&args.store.store, &copy.0).await?;
    tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(&copy.0)?;
        io::copy(&mut file, &mut io::stdout().lock())
    })
    .await?
    .context("the copy could not be sent")?;
    Ok(())
}

/// A temporary file, removed when dropped. It is next to the database, where the disk is large enough for a copy.
struct TemporaryCopy(PathBuf);

impl TemporaryCopy {
    fn next_to(store: &str) -> Self {
        let path = store::sqlite_path(store).unwrap_or(Path::new("store"));
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-backup-{}", uuid::Uuid::new_v4().simple()));
        Self(name.into())
    }
}

impl Drop for TemporaryCopy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
