//! A file of an artifact, whole or in the pieces in which it was streamed: an agent appends to an artifact part after part, and nothing in A2A says
//! which of them are pieces of one file.

use bytes::{Bytes, BytesMut};

use crate::assistant::{FileContent, OfferedFile};

/// A file as far as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamedFile {
    /// With its first piece.
    file: OfferedFile,
    /// What came behind that.
    more: Vec<Bytes>,
    has_ended: bool,
}

impl StreamedFile {
    pub(super) fn new(file: OfferedFile) -> Self {
        Self {
            file,
            more: Vec::new(),
            has_ended: false,
        }
    }

    /// Whether what comes next is a piece of it: bytes under the same name, of the same type, that do not begin a file of that type themselves.
    pub(super) fn goes_on_with(&self, next: &Self) -> bool {
        let (FileContent::Bytes(bytes), FileContent::Bytes(more)) =
            (&self.file.content, &next.file.content)
        else {
            return false;
        };
        let is_same = |ours: &str, theirs: &str| theirs.is_empty() || ours == theirs;
        let is_named = !self.file.name.is_empty();
        let begins_another = infer::get(bytes).is_some_and(|ours| {
            // A piece of music can begin like the whole.
            ours.mime_type() != "audio/mpeg"
                && infer::get(more).is_some_and(|theirs| theirs == ours)
        });
        is_named
            && !self.has_ended
            && is_same(&self.file.name, &next.file.name)
            && is_same(&self.file.media_type, &next.file.media_type)
            && !begins_another
    }

    /// Adds a piece.
    pub(super) fn append(&mut self, next: Self) {
        if let FileContent::Bytes(bytes) = next.file.content {
            self.more.push(bytes);
        }
        self.has_ended = next.has_ended;
    }

    /// Nothing of it follows.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The file as far as it came.
    pub(super) fn to_file(&self) -> OfferedFile {
        let mut file = self.file.clone();
        if let (FileContent::Bytes(first), false) = (&self.file.content, self.more.is_empty()) {
            let mut whole = BytesMut::from(&first[..]);
            for piece in &self.more {
                whole.extend_from_slice(piece);
            }
            file.content = FileContent::Bytes(whole.freeze());
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    fn piece(name: &str, media_type: &str, bytes: &'static [u8]) -> StreamedFile {
        let content = FileContent::Bytes(Bytes::from_static(bytes));
        StreamedFile::new(OfferedFile::new(name, media_type, content))
    }

    #[rstest]
    #[case::rest_of_a_picture(piece("a.png", "image/png", b"rest"), true)]
    #[case::rest_without_a_name(piece("", "", b"rest"), true)]
    #[case::other_picture(piece("a.png", "image/png", PNG), false)]
    #[case::other_name(piece("b.png", "image/png", b"rest"), false)]
    #[case::other_type(piece("a.png", "text/plain", b"rest"), false)]
    fn bytes_that_begin_nothing_go_on_with_the_file(
        #[case] next: StreamedFile,
        #[case] expected: bool,
    ) {
        let mut file = piece("a.png", "image/png", PNG);
        assert_eq!(file.goes_on_with(&next), expected);
        file.end();
        assert!(!file.goes_on_with(&next));
    }

    #[test]
    fn files_without_names_stay_apart() {
        let file = piece("", "text/csv", b"a,b");
        assert!(!file.goes_on_with(&piece("", "text/csv", b"c,d")));
    }

    #[test]
    fn pieces_are_joined_in_their_order() {
        let mut file = piece("a.csv", "text/csv", b"a,");
        file.append(piece("a.csv", "", b"b,"));
        file.append(piece("", "", b"c"));
        let whole = FileContent::Bytes(Bytes::from_static(b"a,b,c"));
        assert_eq!(file.to_file().content, whole);
    }
}
