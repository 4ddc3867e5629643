//! A form with a file (`multipart/form-data`, RFC 7578), by which the Bot API takes uploads.

use uuid::Uuid;

/// More than the fields and boundaries of a form take beside its file.
const FRAMING_BYTES: usize = 2048;

/// A form under construction. Field names are constants and need no quoting.
pub(super) struct MultipartForm {
    boundary: String,
    body: Vec<u8>,
}

impl Default for MultipartForm {
    fn default() -> Self {
        Self::with_room(0)
    }
}

impl MultipartForm {
    /// For a file of so many bytes, so that it is copied once.
    pub(super) fn with_room(bytes: usize) -> Self {
        Self {
            // Random, so that no value contains it.
            boundary: Uuid::new_v4().simple().to_string(),
            body: Vec::with_capacity(bytes + FRAMING_BYTES),
        }
    }

    /// Adds a field.
    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), value.as_bytes())
    }

    /// Adds a file, whose name and media type may be a stranger's.
    pub(super) fn file(
        self,
        name: &str,
        file_name: &str,
        media_type: &str,
        content: &[u8],
    ) -> Self {
        let file_name = escape(file_name);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.+-_".contains(c);
        let media_type = if !media_type.is_empty() && media_type.chars().all(is_plain) {
            media_type
        } else {
            "application/octet-stream"
        };
        let disposition =
            format!("name=\"{name}\"; filename=\"{file_name}\"\r\nContent-Type: {media_type}");
        self.part(&disposition, content)
    }

    fn part(mut self, disposition: &str, value: &[u8]) -> Self {
        for piece in [
            "--",
            &self.boundary,
            "\r\nContent-Disposition: form-data; ",
            disposition,
            "\r\n\r\n",
        ] {
            self.body.extend_from_slice(piece.as_bytes());
        }
        self.body.extend_from_slice(value);
        self.body.extend_from_slice(b"\r\n");
        self
    }

    /// The content type and the body.
    pub(super) fn finish(mut self) -> (String, Vec<u8>) {
        let end = format!("--{}--\r\n", self.boundary);
        self.body.extend_from_slice(end.as_bytes());
        let content_type = format!("multipart/form-data; boundary={}", self.boundary);
        (content_type, self.body)
    }
}

/// A value in quotes, as browsers write it (HTML, "multipart form data").
fn escape(value: &str) -> String {
    value
        .replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_type_of_a_file_cannot_leave_their_place() {
        let form = MultipartForm::default().file("photo", "a\"; x=\"\r\nb é", "a/b\r\nX: y", b"\0");
        let (_, body) = form.finish();
        let body = String::from_utf8(body).expect("text");
        assert!(
            body.contains("filename=\"a%22; x=%22%0D%0Ab é\"\r\nContent-Type: application/octet-stream\r\n\r\n\0\r\n"),
            "{body}"
        );
    }
}
