//! Files of a self-hosted Bot API server that runs with `--local`: `getFile` gives a path on the server's own disk, a folder of which the operator
//! sees, and there is no limit of 20 MB.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;

use super::error::TelegramError;

/// `--telegram-files-dir`: the server's folder, and where the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFiles {
    server_dir: PathBuf,
    dir: PathBuf,
}

impl FromStr for LocalFiles {
    type Err = String;

    /// `SERVER_PATH=LOCAL_PATH`, or one path where both are the same.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (server_dir, dir) = text.split_once('=').unwrap_or((text, text));
        for path in [server_dir, dir] {
            let path = Path::new(path);
            let has_parent = path.components().any(|c| c == Component::ParentDir);
            // Of the root all of the operator's own disk would be inside.
            if !path.is_absolute() || has_parent || path.parent().is_none() {
                return Err(
                    "expected SERVER_PATH=LOCAL_PATH or one path, each absolute, without `..` and below /"
                        .to_owned(),
                );
            }
        }
        Ok(Self {
            server_dir: server_dir.into(),
            dir: dir.into(),
        })
    }
}

impl LocalFiles {
    /// The contents of the file at a path of the server's, up to `max_bytes`; off the async workers.
    pub(super) async fn read(
        &self,
        server_path: &str,
        max_bytes: usize,
    ) -> Result<Bytes, TelegramError> {
        let (files, path) = (self.clone(), server_path.to_owned());
        tokio::task::spawn_blocking(move || files.read_blocking(Path::new(&path), max_bytes))
            .await
            .unwrap_or_else(|error| Err(unusable(&format!("cannot be read: {error}"))))
    }

    fn read_blocking(&self, server_path: &Path, max_bytes: usize) -> Result<Bytes, TelegramError> {
        let unreadable = |error: std::io::Error| unusable(&format!("cannot be read: {error}"));
        let outside = || unusable("is outside of it");
        let below = server_path.strip_prefix(&self.server_dir);
        let below = below.map_err(|_| outside())?;
        if !below
            .components()
            .all(|c| matches!(c, Component::Normal(_)))
        {
            return Err(outside());
        }
        // Of links only the end counts: one within the folder is as good as a file.
        let dir = self.dir.canonicalize().map_err(unreadable)?;
        let path = dir.join(below).canonicalize().map_err(unreadable)?;
        if !path.starts_with(&dir) {
            return Err(outside());
        }
        // Before it is opened: a pipe would never end.
        let metadata = path.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unusable("is no file"));
        }
        let max = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        if metadata.len() > max {
            return Err(TelegramError::FileTooBig);
        }
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        // It may have grown since.
        let mut bounded = file.take(max.saturating_add(1));
        bounded.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > max_bytes {
            return Err(TelegramError::FileTooBig);
        }
        Ok(bytes.into())
    }
}

/// Says nothing of the path, in which the server writes the bot's token.
fn unusable(why: &str) -> TelegramError {
    TelegramError::Malformed(format!(
        "the file that getFile names by its path: with --telegram-files-dir it {why}"
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rstest::rstest;

    use super::*;

    fn folder() -> (tempfile::TempDir, LocalFiles) {
        let root = tempfile::tempdir().expect("a folder");
        let dir = root.path().join("files");
        std::fs::create_dir_all(dir.join("8400/documents")).expect("a folder");
        std::fs::write(dir.join("8400/documents/a.pdf"), b"%PDF").expect("a file");
        std::fs::write(root.path().join("secret"), b"secret").expect("a file");
        let flag = format!("/var/lib/telegram-bot-api={}", dir.display());
        (root, flag.parse().expect("a flag"))
    }

    fn refusal_text(error: TelegramError) -> String {
        assert!(matches!(error, TelegramError::Malformed(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("--telegram-files-dir"), "{text}");
        text
    }

    #[tokio::test]
    async fn files_below_the_folder_are_read_within_the_bound() {
        let (_root, files) = folder();
        let path = "/var/lib/telegram-bot-api/8400/documents/a.pdf";
        assert_eq!(files.read(path, 4).await, Ok(Bytes::from_static(b"%PDF")));
        assert_eq!(files.read(path, 3).await, Err(TelegramError::FileTooBig));
    }

    #[rstest]
    #[case::elsewhere("/etc/passwd")]
    #[case::parent("/var/lib/telegram-bot-api/../secret")]
    #[case::parent_below("/var/lib/telegram-bot-api/8400/../../secret")]
    #[case::name_that_begins_alike("/var/lib/telegram-bot-api2/8400/documents/a.pdf")]
    #[case::link_that_leaves("/var/lib/telegram-bot-api/link")]
    #[case::folder_that_leaves("/var/lib/telegram-bot-api/up/secret")]
    #[tokio::test]
    async fn paths_that_leave_the_folder_are_refused(#[case] path: &str) {
        let (root, files) = folder();
        symlink("../secret", root.path().join("files/link")).expect("a link");
        symlink("..", root.path().join("files/up")).expect("a link");
        let error = files.read(path, 100).await.expect_err("refused");
        assert!(refusal_text(error).ends_with("is outside of it"));
    }

    #[tokio::test]
    async fn links_within_the_folder_are_followed() {
        let (root, files) = folder();
        symlink("8400/documents/a.pdf", root.path().join("files/link")).expect("a link");
        let read = files.read("/var/lib/telegram-bot-api/link", 100).await;
        assert_eq!(read, Ok(Bytes::from_static(b"%PDF")));
    }

    #[rstest]
    #[case::folder("8400", "is no file")]
    #[case::missing("8400/documents/b.pdf", "cannot be read")]
    #[tokio::test]
    async fn what_is_no_file_is_refused(#[case] path: &str, #[case] why: &str) {
        let (_root, files) = folder();
        let path = format!("/var/lib/telegram-bot-api/{path}");
        let error = files.read(&path, 100).await.expect_err("refused");
        assert!(refusal_text(error).contains(why));
    }

    #[rstest]
    #[case("/data", true)]
    #[case("/var/lib/telegram-bot-api=/data", true)]
    #[case("data", false)]
    #[case("/data=", false)]
    #[case("=/data", false)]
    #[case("/", false)]
    #[case("/data=/", false)]
    #[case("/data=/a/../b", false)]
    fn flag_is_one_or_two_absolute_paths(#[case] flag: &str, #[case] is_valid: bool) {
        assert_eq!(flag.parse::<LocalFiles>().is_ok(), is_valid);
    }
}
