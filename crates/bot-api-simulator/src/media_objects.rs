//! Media objects of messages that a bot sends: as what a file arrives, and what Telegram checks of it.

use serde_json::{Map, Value, json};

use super::input_files::{InputFile, is_opus, sha256, sniffed_type};
use super::method_result::MethodError;
use super::sent_messages::SentMedia;
use super::telegram_state::TelegramState;

/// Limit of a photo in bytes.
const MAX_PHOTO: usize = 10 << 20;
/// Limit of a photo's width and height together.
const MAX_PHOTO_SIDES: usize = 10_000;
/// How many times a photo's longer side may exceed the shorter.
const MAX_PHOTO_RATIO: usize = 20;

/// As what a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Photo,
    Document,
    Audio,
    Voice,
    Video,
    Animation,
}

impl Kind {
    /// The field of a message, and the parameter of the method.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Document => "document",
            Self::Audio => "audio",
            Self::Voice => "voice",
            Self::Video => "video",
            Self::Animation => "animation",
        }
    }

    /// The name in errors.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Photo => "Photo",
            Self::Document => "Document",
            Self::Audio => "Audio",
            Self::Voice => "VoiceNote",
            Self::Video => "Video",
            Self::Animation => "Animation",
        }
    }

    /// The folder of its files.
    fn folder(self) -> &'static str {
        match self {
            Self::Photo => "photos",
            Self::Document => "documents",
            Self::Audio => "music",
            Self::Voice => "voice",
            Self::Video => "videos",
            Self::Animation => "animations",
        }
    }

    /// The extension of a file without a name.
    fn extension(self) -> &'static str {
        match self {
            Self::Photo => "jpg",
            Self::Document => "bin",
            Self::Audio => "mp3",
            Self::Voice => "oga",
            Self::Video | Self::Animation => "mp4",
        }
    }

    /// As what an upload arrives: Telegram goes by the content where it is not of the method's formats.
    fn of_upload(self, bytes: &[u8], detect: bool) -> Self {
        let sniffed = sniffed_type(bytes);
        let is_mp4 = matches!(sniffed, "video/mp4" | "video/x-m4v" | "video/quicktime");
        let is_audio = sniffed.starts_with("audio/");
        match self {
            Self::Voice if is_opus(bytes) || matches!(sniffed, "audio/mpeg" | "audio/m4a") => self,
            Self::Voice | Self::Audio if is_audio => Self::Audio,
            Self::Video if is_mp4 => self,
            Self::Animation if is_mp4 || sniffed == "image/gif" => self,
            Self::Document if detect && sniffed == "image/gif" => Self::Animation,
            Self::Photo => self,
            Self::Document | Self::Voice | Self::Audio | Self::Video | Self::Animation => {
                Self::Document
            }
        }
    }
}

/// The message's fields with this file, and what is recorded of it. `details` are the parameters that describe it, as text or JSON.
pub(super) fn fields_of(
    telegram: &TelegramState,
    kind: Kind,
    file: InputFile,
    details: &Map<String, Value>,
) -> Result<(Map<String, Value>, SentMedia), MethodError> {
    if kind == Kind::Photo {
        check_photo(&file)?;
    }
    let kind = match &file.stored {
        Some((_, folder)) if folder == kind.folder() => kind,
        Some((_, folder)) => {
            return Err(MethodError::bad_request(&format!(
                "Can't use file of type {folder} as {}",
                kind.title()
            )));
        }
        None => kind.of_upload(
            &file.bytes,
            !flag(details, "disable_content_type_detection"),
        ),
    };
    let identity = match &file.stored {
        Some((identity, _)) => identity.clone(),
        None => {
            let named = file.name.rsplit_once('.').map(|(_, extension)| extension);
            let extension = named.unwrap_or(kind.extension());
            let bytes = file.bytes.clone();
            let folder = kind.folder();
            telegram
                .files
                .add(folder, &file.name, extension, bytes, None)
        }
    };
    let mut fields = Map::new();
    let media = media_object(kind, &file, &identity, details);
    if kind == Kind::Animation {
        let document = media_object(Kind::Document, &file, &identity, details);
        fields.insert("document".into(), document);
    }
    fields.insert(kind.field().into(), media);
    for (given, shown) in [
        ("has_spoiler", "has_media_spoiler"),
        ("show_caption_above_media", "show_caption_above_media"),
    ] {
        if flag(details, given) {
            fields.insert(shown.into(), json!(true));
        }
    }
    let record = SentMedia {
        kind: kind.field().to_owned(),
        file_id: identity["file_id"].as_str().unwrap_or_default().to_owned(),
        sniffed_type: sniffed_type(&file.bytes).to_owned(),
        size: file.bytes.len(),
        sha256: sha256(&file.bytes),
        file_name: file.name,
        media_group_id: None,
    };
    Ok((fields, record))
}

fn media_object(
    kind: Kind,
    file: &InputFile,
    identity: &Value,
    details: &Map<String, Value>,
) -> Value {
    let mut object = identity.clone();
    let mime_type = sniffed_type(&file.bytes);
    let text = |name: &str| {
        details
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let picture = imagesize::blob_size(&file.bytes).ok();
    let size = |name: &str, of_picture: Option<usize>, default: i64| {
        let given = integer(details, name);
        let of_picture = of_picture.and_then(|size| i64::try_from(size).ok());
        if given > 0 {
            given
        } else {
            of_picture.unwrap_or(default)
        }
    };
    match kind {
        Kind::Photo => {
            object["width"] = json!(size("", picture.map(|p| p.width), 1_280));
            object["height"] = json!(size("", picture.map(|p| p.height), 960));
            return json!([object]);
        }
        Kind::Video | Kind::Animation => {
            object["width"] = json!(size("width", picture.map(|p| p.width), 320));
            object["height"] = json!(size("height", picture.map(|p| p.height), 240));
            object["duration"] = json!(integer(details, "duration"));
        }
        Kind::Audio | Kind::Voice => object["duration"] = json!(integer(details, "duration")),
        Kind::Document => {}
    }
    if kind == Kind::Audio {
        for name in ["title", "performer"] {
            if !text(name).is_empty() {
                object[name] = json!(text(name));
            }
        }
    }
    object["mime_type"] = json!(mime_type);
    if kind != Kind::Voice && !file.name.is_empty() {
        object["file_name"] = json!(file.name);
    }
    object
}

fn check_photo(file: &InputFile) -> Result<(), MethodError> {
    if file.stored.is_some() {
        return Ok(());
    }
    let length = file.bytes.len();
    if length > MAX_PHOTO {
        return Err(MethodError::bad_request(&format!(
            "File of size {length} bytes is too big for a photo; the maximum size is {MAX_PHOTO} bytes"
        )));
    }
    let size = imagesize::blob_size(&file.bytes)
        .map_err(|_| MethodError::bad_request("IMAGE_PROCESS_FAILED"))?;
    let (short, long) = (size.width.min(size.height), size.width.max(size.height));
    if short == 0 || short + long > MAX_PHOTO_SIDES || long > short * MAX_PHOTO_RATIO {
        return Err(MethodError::bad_request("PHOTO_INVALID_DIMENSIONS"));
    }
    Ok(())
}

fn flag(details: &Map<String, Value>, name: &str) -> bool {
    match details.get(name) {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => matches!(&*text.to_ascii_lowercase(), "true" | "yes" | "1"),
        _ => false,
    }
}

fn integer(details: &Map<String, Value>, name: &str) -> i64 {
    let number = match details.get(name) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
        None => None,
    };
    number.unwrap_or(0).clamp(0, i64::from(i32::MAX))
}
