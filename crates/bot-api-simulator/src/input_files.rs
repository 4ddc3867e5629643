//! The file that a call sends: uploaded with it, or stored and named by its `file_id`. A URL is refused: the simulator fetches nothing.

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::method_result::MethodError;
use super::params::Params;
use super::telegram_state::TelegramState;

/// Limit of an upload in bytes; a server in local mode has 2,000 MB.
const MAX_UPLOAD: usize = 50 << 20;

/// A file to send.
#[derive(Debug)]
pub(super) struct InputFile {
    pub name: String,
    pub bytes: Bytes,
    /// Of a stored file: its identity, and the folder that says as what it was sent.
    pub stored: Option<(Value, String)>,
}

/// The file that `value` names, or the upload in `field`; `None` if there is neither.
pub(super) fn input_file(
    telegram: &TelegramState,
    params: &Params,
    field: &str,
    value: &str,
) -> Result<Option<InputFile>, MethodError> {
    let upload = if let Some(file_name) = value.strip_prefix("attach://") {
        params.file(file_name)
    } else if value.is_empty() {
        params.file(field)
    } else if value.starts_with("http://") || value.starts_with("https://") {
        return Err(MethodError::bad_request("Failed to get HTTP URL content"));
    } else {
        return stored_file(telegram, value).map(Some);
    };
    let Some(upload) = upload else {
        return Ok(None);
    };
    if upload.bytes.is_empty() {
        return Err(MethodError::bad_request("File must be non-empty"));
    }
    if upload.bytes.len() > MAX_UPLOAD && !telegram.options.load().local_mode {
        return Err(MethodError::too_large());
    }
    Ok(Some(InputFile {
        name: upload.name.clone(),
        bytes: upload.bytes.clone(),
        stored: None,
    }))
}

fn stored_file(telegram: &TelegramState, file_id: &str) -> Result<InputFile, MethodError> {
    let file = telegram
        .files
        .get(file_id)
        .ok_or_else(|| MethodError::bad_request("Wrong file identifier/HTTP URL specified"))?;
    Ok(InputFile {
        stored: Some((file.identity(file_id), file.folder().to_owned())),
        name: file.name,
        bytes: file.bytes,
    })
}

/// The media type by the first bytes.
pub(super) fn sniffed_type(bytes: &[u8]) -> &'static str {
    if is_opus(bytes) {
        return "audio/ogg";
    }
    if let Some(kind) = infer::get(bytes) {
        return kind.mime_type();
    }
    let is_text = std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'));
    if is_text {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

/// Whether it is Ogg with Opus, as a voice message must be.
pub(super) fn is_opus(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(128)];
    head.starts_with(b"OggS") && memchr::memmem::find(head, b"OpusHead").is_some()
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
