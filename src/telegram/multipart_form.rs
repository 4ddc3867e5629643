//! A form with a file (`multipart/form-data`, RFC 7578), by which the Bot API takes uploads.

use uuid::Uuid;

/// A form under construction. Field names are constants and need no quoting.
pub(super) struct MultipartForm {
    boundary: String,
    body: String,
}

impl Default for MultipartForm {
    fn default() -> Self {
        Self {
            // Random, so that no value contains it.
            boundary: Uuid::new_v4().simple().to_string(),
            body: String::new(),
        }
    }
}

impl MultipartForm {
    /// Adds a field.
    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), value)
    }

    /// Adds a file.
    pub(super) fn file(self, name: &str, file_name: &str, content: &str) -> Self {
        let disposition = format!(
            "name=\"{name}\"; filename=\"{file_name}\"\r\nContent-Type: application/octet-stream"
        );
        self.part(&disposition, content)
    }

    fn part(mut self, disposition: &str, value: &str) -> Self {
        for piece in [
            "--",
            &self.boundary,
            "\r\nContent-Disposition: form-data; ",
            disposition,
            "\r\n\r\n",
            value,
            "\r\n",
        ] {
            self.body.push_str(piece);
        }
        self
    }

    /// The content type and the body.
    pub(super) fn finish(mut self) -> (String, String) {
        let end = format!("--{}--\r\n", self.boundary);
        self.body.push_str(&end);
        let content_type = format!("multipart/form-data; boundary={}", self.boundary);
        (content_type, self.body)
    }
}
