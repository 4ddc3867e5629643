//! Files that users and bots have sent, for `getFile` and the download path.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};

use super::method_result::{MethodError, MethodResult, MethodSuccess};
use super::params::Params;
use super::telegram_state::TelegramState;

/// Limit of `getFile` in bytes; a server in local mode has none.
const MAX_DOWNLOAD: u64 = 20 << 20;

/// All files.
#[derive(Debug, Default)]
pub(super) struct Files {
    next: AtomicU64,
    by_id: Mutex<HashMap<String, File>>,
}

/// A stored file.
#[derive(Debug, Clone)]
pub(super) struct File {
    unique_id: String,
    /// Such as `photos/file_7.jpg`; the folder says as what the file was sent.
    path: String,
    pub name: String,
    size: u64,
    pub bytes: Bytes,
}

impl File {
    /// The folder of its path.
    pub(super) fn folder(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The fields that every media object has.
    pub(super) fn identity(&self, file_id: &str) -> Value {
        json!({"file_id": file_id, "file_unique_id": self.unique_id, "file_size": self.size})
    }
}

impl Files {
    /// Adds a file; `size` may differ from the length of the content. Returns `file_id`, `file_unique_id` and `file_size` as an object.
    pub(super) fn add(
        &self,
        folder: &str,
        name: &str,
        extension: &str,
        bytes: Bytes,
        size: Option<u64>,
    ) -> Value {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file_id = format!("AgACAgIAAxkBAAI{number:08x}SimulatedFileIdOfTheBotApi");
        let unique_id = format!("AQAD{number:08x}");
        let size = size.unwrap_or(bytes.len() as u64);
        let file = File {
            unique_id,
            path: format!("{folder}/file_{number}.{extension}"),
            name: name.to_owned(),
            size,
            bytes,
        };
        let identity = file.identity(&file_id);
        self.by_id.lock().insert(file_id, file);
        identity
    }

    /// A file by its `file_id`.
    pub(super) fn get(&self, file_id: &str) -> Option<File> {
        self.by_id.lock().get(file_id).cloned()
    }

    /// The content of the file with this `file_id`.
    pub(super) fn content(&self, file_id: &str) -> Option<Bytes> {
        let files = self.by_id.lock();
        files.get(file_id).map(|file| file.bytes.clone())
    }

    /// The content at a download path.
    pub(super) fn download(&self, path: &str) -> Option<Bytes> {
        let files = self.by_id.lock();
        files
            .values()
            .find(|file| file.path == path)
            .map(|file| file.bytes.clone())
    }
}

/// `getFile`.
pub(super) fn get_file(telegram: &TelegramState, params: &Params) -> MethodResult {
    let file_id = params.get("file_id");
    if file_id.is_empty() {
        return Err(MethodError::bad_request("invalid file_id"));
    }
    let Some(file) = telegram.files.get(file_id) else {
        return Err(MethodError::bad_request(
            "wrong file_id or the file is temporarily unavailable",
        ));
    };
    if file.size > MAX_DOWNLOAD && !telegram.options.load().local_mode {
        return Err(MethodError::bad_request("file is too big"));
    }
    let options = telegram.options.load();
    let file_path = match &options.local_files_dir {
        Some(dir) if options.local_mode => local_path(dir, &file)?,
        _ => file.path.clone(),
    };
    MethodSuccess::json(&json!({
        "file_id": file_id,
        "file_unique_id": file.unique_id,
        "file_size": file.size,
        "file_path": file_path,
    }))
}

/// Writes the file into the server's folder, as a server in local mode does when it is asked for, and returns its path.
fn local_path(dir: &Path, file: &File) -> Result<String, MethodError> {
    let path = dir.join(&file.path);
    let parent = path.parent().unwrap_or(dir);
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&path, &file.bytes))
        .map_err(|error| MethodError::new(500, format!("local_files_dir: {error}")))?;
    Ok(path.display().to_string())
}
