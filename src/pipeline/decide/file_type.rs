//! What a file of an answer is: by its first bytes, whatever it is called, since its name and type are the assistant's words.

use crate::assistant::is_opus;
use crate::telegram::FileKind;

/// The biggest file that Telegram takes as a photo (Bot API, `sendPhoto`).
const MAX_PHOTO_BYTES: usize = 10 << 20;
/// The longest name of a file, in characters, its ending included.
const MAX_NAME_CHARS: usize = 80;
/// The longest ending that is kept of a name, in characters.
const MAX_EXTENSION_CHARS: usize = 10;

/// How a file is sent, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileType {
    pub(crate) kind: FileKind,
    pub(crate) media_type: String,
    /// With the ending of what it is, where that is known.
    pub(crate) name: String,
}

impl FileType {
    /// `name` and `declared_type` are what the assistant says; `fallback_name` is for a file without a name.
    pub(crate) fn of(content: &[u8], name: &str, declared_type: &str, fallback_name: &str) -> Self {
        let found = infer::get(content).map(|found| (found.mime_type(), found.extension()));
        let kind = found.map_or(FileKind::Document, |(found, _)| kind(found, content));
        let name = clean_name(name);
        let name = if name.is_empty() {
            fallback_name
        } else {
            &name
        };
        match found {
            Some((media_type, extension)) => Self {
                kind,
                media_type: media_type.to_owned(),
                name: with_extension(name, extension),
            },
            None => Self {
                kind,
                media_type: "application/octet-stream".to_owned(),
                name: match text_extension(declared_type) {
                    Some(extension) => with_extension(name, extension),
                    None if extension_of(name).is_none() => with_extension(name, "bin"),
                    None => name.to_owned(),
                },
            },
        }
    }
}

/// What Telegram shows as a picture, plays or plays as a voice message; everything else is a document.
fn kind(media_type: &str, content: &[u8]) -> FileKind {
    match media_type {
        "image/jpeg" | "image/png" | "image/webp" if content.len() <= MAX_PHOTO_BYTES => {
            FileKind::Photo
        }
        "audio/mpeg" | "audio/m4a" => FileKind::Audio,
        "audio/opus" | "audio/ogg" if is_opus(content) => FileKind::Voice,
        "video/mp4" => FileKind::Video,
        _ => FileKind::Document,
    }
}

/// The endings of texts, which have no first bytes of their own.
fn text_extension(declared: &str) -> Option<&'static str> {
    let media_type = declared.split(';').next().unwrap_or_default().trim();
    Some(match media_type.to_ascii_lowercase().as_str() {
        "text/plain" => "txt",
        "text/csv" => "csv",
        "text/markdown" => "md",
        "text/html" => "html",
        "text/calendar" => "ics",
        "application/json" => "json",
        "application/xml" | "text/xml" => "xml",
        "application/yaml" | "text/yaml" => "yaml",
        "image/svg+xml" => "svg",
        _ => return None,
    })
}

/// A name on one line without folders, without characters that hide what it is, and as long as people can read.
fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let shown: String = last.chars().filter(|c| !is_hidden(*c)).collect();
    let shown = shown.trim().trim_start_matches('.');
    if shown.chars().count() <= MAX_NAME_CHARS {
        return shown.to_owned();
    }
    let extension = extension_of(shown).unwrap_or_default();
    let kept = MAX_NAME_CHARS - extension.chars().count() - 2;
    let begin: String = shown.chars().take(kept).collect();
    if extension.is_empty() {
        format!("{begin}…")
    } else {
        format!("{begin}….{extension}")
    }
}

fn extension_of(name: &str) -> Option<&str> {
    let (begin, extension) = name.rsplit_once('.')?;
    let is_extension = !begin.is_empty()
        && (1..=MAX_EXTENSION_CHARS).contains(&extension.len())
        && extension.chars().all(|c| c.is_ascii_alphanumeric());
    is_extension.then_some(extension)
}

/// A name that ends in what the file is.
fn with_extension(name: &str, extension: &str) -> String {
    let is_same = |has: &str| {
        has.eq_ignore_ascii_case(extension)
            || (extension == "jpg" && has.eq_ignore_ascii_case("jpeg"))
            || (matches!(extension, "opus" | "ogg") && has.eq_ignore_ascii_case("ogg"))
    };
    if extension_of(name).is_some_and(is_same) {
        name.to_owned()
    } else {
        format!("{name}.{extension}")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const OPUS: &[u8] =
        b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01\x01";
    const VORBIS: &[u8] =
        b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1e\x01vorbis\0\0\0";
    const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";

    #[rstest]
    #[case::picture(PNG, "cat", "image/png", FileKind::Photo, "cat.png")]
    #[case::named_otherwise(PNG, "cat.pdf", "application/pdf", FileKind::Photo, "cat.pdf.png")]
    #[case::jpeg(b"\xff\xd8\xff\xe0", "a.JPEG", "", FileKind::Photo, "a.JPEG")]
    #[case::zip_named_png(
        b"PK\x03\x04",
        "cat.png",
        "image/png",
        FileKind::Document,
        "cat.png.zip"
    )]
    #[case::gif(b"GIF89a", "", "", FileKind::Document, "file.gif")]
    #[case::pdf(b"%PDF-1.7", "report.pdf", "", FileKind::Document, "report.pdf")]
    #[case::svg(
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "plan",
        "image/svg+xml",
        FileKind::Document,
        "plan.svg"
    )]
    #[case::text(
        b"a,b\n1,2\n",
        "table",
        "text/csv; charset=utf-8",
        FileKind::Document,
        "table.csv"
    )]
    #[case::unknown(b"\x01\x02", "", "", FileKind::Document, "file.bin")]
    #[case::unknown_with_a_name(
        b"\x01\x02",
        "data.xyz",
        "image/png",
        FileKind::Document,
        "data.xyz"
    )]
    #[case::voice(OPUS, "answer.ogg", "", FileKind::Voice, "answer.ogg")]
    #[case::vorbis(VORBIS, "song.ogg", "audio/ogg", FileKind::Document, "song.ogg")]
    #[case::music(b"ID3\x04\0\0\0\0\0\0", "song.mp3", "", FileKind::Audio, "song.mp3")]
    #[case::video(MP4, "clip.mp4", "", FileKind::Video, "clip.mp4")]
    fn bytes_decide_how_a_file_is_sent(
        #[case] content: &[u8],
        #[case] name: &str,
        #[case] declared: &str,
        #[case] kind: FileKind,
        #[case] expected: &str,
    ) {
        let file = FileType::of(content, name, declared, "file");
        assert_eq!((file.kind, file.name.as_str()), (kind, expected));
    }

    #[test]
    fn page_of_html_is_a_document() {
        let file = FileType::of(b"<!DOCTYPE html><p>", "page", "text/html", "file");
        assert_eq!(
            (file.kind, file.name.as_str()),
            (FileKind::Document, "page.html")
        );
    }

    #[test]
    fn big_picture_is_a_document() {
        let mut content = PNG.to_vec();
        content.resize(MAX_PHOTO_BYTES + 1, 0);
        let file = FileType::of(&content, "cat.png", "", "file");
        assert_eq!(file.kind, FileKind::Document);
    }

    #[rstest]
    #[case::folders("../../etc/passwd.png", "passwd.png")]
    #[case::control_characters("a\r\nb\0\u{202e}gnp.exe", "abgnp.exe.png")]
    #[case::hidden(".bashrc", "bashrc.png")]
    #[case::nothing_left("\u{200b}\n", "file.png")]
    fn names_are_harmless(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(FileType::of(PNG, name, "", "file").name, expected);
    }

    #[test]
    fn long_name_keeps_its_beginning_and_end() {
        let name = format!("{}.png", "é".repeat(1000));
        let file = FileType::of(PNG, &name, "", "file");
        assert!(
            file.name.starts_with("éé") && file.name.ends_with("é….png"),
            "{}",
            file.name
        );
        assert!(file.name.chars().count() <= MAX_NAME_CHARS);
    }
}
