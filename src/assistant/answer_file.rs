//! A file of an answer as protocols write it: Base64, a data URI, or an address.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::lenient_json::Json;

/// The longest name of a file that is read, in characters.
const MAX_NAME: usize = 200;
/// The longest address that people get as a link, in bytes.
const MAX_ADDRESS: usize = 2048;

/// As lenient as models and agents write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A file that an assistant answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedFile {
    /// What the assistant calls it, in one line; empty without a name.
    pub name: String,
    /// What the assistant says that it is; empty if it does not.
    pub media_type: String,
    /// Whether the assistant shows it as a picture.
    pub is_picture: bool,
    /// The text of the answer says the same, as of speech: where it is not sent, nothing is missing.
    pub repeats_text: bool,
    /// What it holds.
    pub content: FileContent,
}

/// What a file of an answer holds.
#[derive(Clone, PartialEq, Eq)]
pub enum FileContent {
    /// These bytes.
    Bytes(Bytes),
    /// What is found at this http(s) URL.
    Link(String),
    /// Nothing that can be read: broken Base64, or an address that only the assistant knows.
    Unreadable,
}

/// Shows how many bytes there are, never which, and no address: it may be the key to what is there.
impl std::fmt::Debug for FileContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Link(_) => f.write_str("Link"),
            Self::Unreadable => f.write_str("Unreadable"),
        }
    }
}

impl OfferedFile {
    /// A file with what it holds.
    pub(super) fn new(name: &str, media_type: &str, content: FileContent) -> Self {
        let is_shown = |c: &char| !c.is_control();
        let name: String = name
            .trim()
            .chars()
            .filter(is_shown)
            .take(MAX_NAME)
            .collect();
        let media_type = media_type.trim().to_ascii_lowercase();
        Self {
            is_picture: media_type.starts_with("image/"),
            name,
            media_type,
            repeats_text: false,
            content,
        }
    }

    /// A file whose bytes are Base64.
    pub(super) fn from_base64(name: &str, media_type: &str, base64: &[u8]) -> Self {
        let content = decode_base64(base64.iter().copied()).filter(|bytes| !bytes.is_empty());
        let content = content.map_or(FileContent::Unreadable, |bytes| {
            FileContent::Bytes(bytes.into())
        });
        Self::new(name, media_type, content)
    }

    /// A file at an address: a data URI holds it, one of the web is a link.
    pub(super) fn from_address(name: &str, media_type: &str, address: &str) -> Self {
        if starts_with_ignoring_case(address, "data:") {
            return Self::from_data_uri(name, media_type, address);
        }
        if is_web(address) {
            return Self::new(name, media_type, FileContent::Link(address.to_owned()));
        }
        let in_address = last_segment(address).filter(|_| name.trim().is_empty());
        Self::new(
            in_address.unwrap_or(name),
            media_type,
            FileContent::Unreadable,
        )
    }

    fn from_data_uri(name: &str, media_type: &str, uri: &str) -> Self {
        let (head, data) = uri["data:".len()..].split_once(',').unwrap_or_default();
        let (in_uri, parameters) = head.split_once(';').unwrap_or((head, ""));
        let media_type = if media_type.is_empty() {
            in_uri
        } else {
            media_type
        };
        let last = parameters.rsplit(';').next().unwrap_or_default();
        let decoded = percent_decode_str(data);
        let bytes = if last.eq_ignore_ascii_case("base64") {
            decode_base64(decoded)
        } else {
            Some(decoded.collect())
        };
        let content = match bytes {
            Some(bytes) if !bytes.is_empty() => FileContent::Bytes(bytes.into()),
            _ => FileContent::Unreadable,
        };
        Self::new(name, media_type, content)
    }

    /// One of the `files` of an answer: `{name, mimeType, data}` or `{name, mimeType, url}`. `None`: it has neither bytes nor an address.
    pub(super) fn read(file: Json<'_>) -> Option<Self> {
        let [name, media_type, data, url] = file.fields(["name", "mimeType", "data", "url"]);
        let name = name.string().unwrap_or_default();
        let media_type = media_type.string().unwrap_or_default();
        if let Some(data) = data.string() {
            return Some(Self::from_base64(&name, &media_type, data.as_bytes()));
        }
        let file = Self::from_address(&name, &media_type, &url.string()?);
        (file.content != FileContent::Unreadable).then_some(file)
    }

    #[must_use]
    pub(super) fn with_picture_mark(self, is_picture: bool) -> Self {
        Self {
            is_picture: self.is_picture || is_picture,
            ..self
        }
    }
}

/// Base64 of either alphabet, with or without padding, white space and the quote marks of mails. `None`: it is none.
pub(crate) fn decode_base64(base64: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let digits: Vec<u8> = base64
        .filter_map(|byte| match byte {
            b'-' => Some(b'+'),
            b'_' => Some(b'/'),
            b'>' | b' ' | b'\t' | b'\r' | b'\n' => None,
            byte => Some(byte),
        })
        .collect();
    BASE64.decode(digits).ok()
}

/// Whether it is an address that people can open, and that cannot leave its place in Markdown.
fn is_web(address: &str) -> bool {
    let web = ["https://", "http://"]
        .iter()
        .any(|scheme| starts_with_ignoring_case(address, scheme));
    let breaks =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '(' | ')' | '<' | '>');
    web && address.len() <= MAX_ADDRESS && !address.contains(breaks)
}

fn starts_with_ignoring_case(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len())
        .is_some_and(|begun| begun.eq_ignore_ascii_case(beginning))
}

/// `cat.png` of `gs://bucket/cat.png`.
pub(crate) fn last_segment(address: &str) -> Option<&str> {
    let path = address.split(['?', '#']).next()?.trim_end_matches('/');
    let name = path.rsplit(['/', ':']).next()?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn show(file: &OfferedFile) -> String {
        let content = match &file.content {
            FileContent::Bytes(bytes) => format!("{bytes:?}"),
            FileContent::Link(address) => address.clone(),
            FileContent::Unreadable => "unreadable".to_owned(),
        };
        format!("{} {} {content}", file.name, file.media_type)
    }

    #[rstest]
    #[case::data("data:image/png;base64,YWJj", "a image/png b\"abc\"")]
    #[case::percent("DATA:text/csv,a%2Cb", "a text/csv b\"a,b\"")]
    #[case::broken("data:image/png;base64,A", "a image/png unreadable")]
    #[case::empty("data:image/png;base64,", "a image/png unreadable")]
    #[case::no_comma("data:image/png", "a  unreadable")]
    #[case::web("HTTPS://x.example/a.pdf?v=1", "a  HTTPS://x.example/a.pdf?v=1")]
    #[case::script("javascript:alert(1)", "a  unreadable")]
    #[case::odd("https://x/) [b](https://y", "a  unreadable")]
    #[case::cloud("gs://bucket/cat.png", "a  unreadable")]
    fn address_is_data_a_link_or_unreadable(#[case] address: &str, #[case] expected: &str) {
        assert_eq!(show(&OfferedFile::from_address("a", "", address)), expected);
    }

    #[rstest]
    #[case::lines("YW\r\nJj", Some("abc"))]
    #[case::no_padding("YWI", Some("ab"))]
    #[case::url_alphabet("_-8=", Some("\u{fffd}\u{fffd}"))]
    #[case::quoted("> YW\n> Jj", Some("abc"))]
    #[case::no_base64("a(b)", None)]
    fn base64_is_read_leniently(#[case] base64: &str, #[case] expected: Option<&str>) {
        let decoded = decode_base64(base64.bytes());
        let decoded = decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(decoded.as_deref(), expected);
    }

    #[test]
    fn debug_output_shows_neither_bytes_nor_address() {
        let inline = OfferedFile::from_base64("", "", b"c2VjcmV0");
        let linked = OfferedFile::from_address("", "", "https://x.example/?sig=secret");
        let shown = format!("{inline:?} {linked:?}");
        assert!(shown.contains("Bytes(6)") && shown.contains("Link"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
