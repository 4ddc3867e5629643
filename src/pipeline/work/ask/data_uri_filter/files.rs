//! The files of an answer, in data URIs and beside its text, each with where it stood.

use std::ops::Range;

use percent_encoding::percent_decode_str;

use crate::assistant::{FileContent, OfferedFile, decode_base64};

/// The most files that are taken out of one answer; of more there is the word in their place.
const MAX_FILES: usize = 10;

/// A file that stood in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerFile {
    /// Where in the text the words stand that are in its place, in bytes.
    pub(crate) placeholder: Range<usize>,
    /// The file; unreadable if it is too big.
    pub(crate) file: OfferedFile,
    /// Where it was fetched.
    pub(crate) address: Option<String>,
}

/// Gathers files while an answer is read.
#[derive(Debug)]
pub(super) struct FileCollector {
    max_bytes: usize,
    /// The data URI that is being read, as far as it is not too long.
    uri: Option<String>,
    is_too_big: bool,
    files: Vec<AnswerFile>,
}

impl FileCollector {
    /// For files of at most so many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            uri: None,
            is_too_big: false,
            files: Vec::new(),
        }
    }

    /// A data URI begins with this header.
    pub(super) fn begin(&mut self, header: &str) {
        self.is_too_big = false;
        self.uri = (self.files.len() < MAX_FILES).then(|| header.to_owned());
    }

    /// It goes on.
    pub(super) fn push(&mut self, c: char) {
        // Percent-encoded, each byte takes three.
        let most = self.max_bytes.saturating_mul(3);
        if let Some(uri) = self.uri.as_mut().filter(|_| !self.is_too_big) {
            uri.push(c);
            if uri.len() > most {
                self.is_too_big = true;
                uri.truncate(uri.find(',').map_or(0, |comma| comma + 1));
                uri.shrink_to_fit();
            }
        }
    }

    /// It had so many bytes.
    pub(super) fn end(&mut self, bytes: usize) {
        if let Some(uri) = &mut self.uri {
            uri.truncate(bytes);
        }
    }

    /// It was an example, and stays in the text.
    pub(super) fn discard(&mut self) {
        self.uri = None;
    }

    /// The words in its place stand there.
    pub(super) fn place(&mut self, placeholder: Range<usize>, name: &str, is_picture: bool) {
        let Some(uri) = self.uri.take() else { return };
        let (header, data) = uri.split_once(',').unwrap_or((&uri, ""));
        let media_type = header.get("data:".len()..).unwrap_or_default();
        let (declared_type, parameters) = media_type.split_once(';').unwrap_or((media_type, ""));
        let is_base64 = parameters
            .rsplit(';')
            .next()
            .is_some_and(|last| last.eq_ignore_ascii_case("base64"));
        let content = decode(data, is_base64)
            .filter(|content| !content.is_empty())
            .filter(|_| !self.is_too_big);
        let file = OfferedFile {
            name: name.to_owned(),
            media_type: declared_type.to_owned(),
            is_picture,
            repeats_text: false,
            content: content.map_or(FileContent::Unreadable, |c| FileContent::Bytes(c.into())),
        };
        self.offer(placeholder, file);
    }

    /// A file beside the text, whose words stand there.
    pub(super) fn offer(&mut self, placeholder: Range<usize>, mut file: OfferedFile) {
        if self.files.len() >= MAX_FILES {
            return;
        }
        if matches!(&file.content, FileContent::Bytes(bytes) if bytes.len() > self.max_bytes) {
            file.content = FileContent::Unreadable;
        }
        self.files.push(AnswerFile {
            placeholder,
            file,
            address: None,
        });
    }

    /// The files so far, in their order.
    pub(super) fn into_files(self) -> Vec<AnswerFile> {
        self.files
    }
}

fn decode(data: &str, is_base64: bool) -> Option<Vec<u8>> {
    let decoded = percent_decode_str(data);
    if is_base64 {
        decode_base64(decoded)
    } else {
        Some(decoded.collect())
    }
}
