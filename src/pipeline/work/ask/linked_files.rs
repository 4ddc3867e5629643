//! Fetches the files of an answer that it names by URL, while it can still be stopped. What is not fetched stays a link.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::data_uri_filter::AnswerFile;
use crate::assistant::{Assistant, FileContent, FileLink, last_segment};
use crate::pipeline::state::pipeline_state::PipelineState;

/// How long all files of one answer may take.
const FETCH_TIMEOUT: Duration = Duration::from_mins(1);
/// The most bytes that the fetched files of one answer have together.
const MAX_FETCHED_BYTES: usize = 64 << 20;

/// Fetches the files of an answer, of at most so many bytes each. Returns the room that they take.
pub(super) async fn fetch_linked_files(
    pipeline: &PipelineState,
    assistant: &dyn Assistant,
    files: &mut [AnswerFile],
    max_bytes: usize,
) -> Vec<OwnedSemaphorePermit> {
    let deadline = Instant::now() + FETCH_TIMEOUT;
    let mut left = MAX_FETCHED_BYTES;
    let mut taken = Vec::new();
    for file in files {
        let FileContent::Link(address) = file.file.content.clone() else {
            continue;
        };
        let link = FileLink {
            address: &address,
            max_bytes: max_bytes.min(left),
            deadline,
        };
        let memory = &pipeline.fetch_memory;
        let fetching = fetch_file(memory, assistant, file, link);
        match timeout_at(deadline, fetching).await {
            Ok(Ok((bytes, room))) => {
                left -= bytes;
                taken.push(room);
            }
            Ok(Err(error)) => tracing::info!(%error, "a file of an answer stays a link"),
            Err(_) => tracing::info!("a file of an answer stays a link: there was no time left"),
        }
    }
    taken
}

/// Fetches one file; returns its bytes and the room that they take.
async fn fetch_file(
    memory: &Arc<Semaphore>,
    assistant: &dyn Assistant,
    file: &mut AnswerFile,
    link: FileLink<'_>,
) -> Result<(usize, OwnedSemaphorePermit), String> {
    let mebibytes = |bytes: usize| u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
    let room = memory.clone().acquire_many_owned(mebibytes(link.max_bytes));
    let mut room = room.await.expect("the semaphore is never closed");
    let fetched = assistant.fetch_file(link).await;
    let bytes = fetched.map_err(|error| error.to_string())?;
    let name = &file.file.name;
    if is_page(&bytes) && !says_page(&file.file.media_type, name) {
        return Err("the server answers with a page, as for a login".to_owned());
    }
    if name.is_empty() {
        let path = link.address;
        last_segment(path)
            .unwrap_or_default()
            .clone_into(&mut file.file.name);
    }
    let kept = mebibytes(bytes.len()) as usize;
    let surplus = room.num_permits().saturating_sub(kept);
    drop(room.split(surplus));
    let length = bytes.len();
    file.address = Some(link.address.to_owned());
    file.file.content = FileContent::Bytes(bytes);
    Ok((length, room))
}

fn is_page(bytes: &[u8]) -> bool {
    infer::get(bytes).is_some_and(|found| found.mime_type() == "text/html")
}

/// Whether a page is what the answer says that it is.
fn says_page(media_type: &str, name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let is_html = |extension: &str| {
        ["html", "htm"]
            .iter()
            .any(|e| extension.eq_ignore_ascii_case(e))
    };
    media_type.starts_with("text/html") || extension.is_some_and(is_html)
}
