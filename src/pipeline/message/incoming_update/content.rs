//! What was sent: the kinds of content that are understood, and the events in a chat that matter.

use super::tap::ButtonTap;
use crate::telegram::UpdateKind;
use crate::telegram::json::JsonObject;

/// A file at Telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelegramFile {
    /// What `getFile` takes.
    pub id: String,
    /// Bytes, if Telegram said so.
    pub size: Option<u64>,
    /// For instance `audio/ogg`, as the sender's app said.
    pub media_type: Option<String>,
    /// The name that the sender gave it.
    pub name: Option<String>,
}

/// A video, as far as it is told: what is in it is its thumbnail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    /// The video itself.
    pub file: TelegramFile,
    /// How long it is, in seconds, if Telegram said so.
    pub seconds: Option<i64>,
    /// A still of it.
    pub thumbnail: Option<TelegramFile>,
}

/// A sticker, as far as it can be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sticker {
    /// The emoji that it stands for.
    pub emoji: Option<String>,
    /// The name of the set that it belongs to.
    pub set_name: Option<String>,
    /// Itself where it does not move, else its thumbnail.
    pub picture: Option<TelegramFile>,
}

/// What was sent. A caption is the message's `text`.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text alone, also that of a rich message.
    Text,
    /// A photo, in the biggest size that there is.
    Photo(TelegramFile),
    /// A voice message, and how long it is in seconds.
    Voice(TelegramFile, i64),
    /// A piece of music.
    Audio(TelegramFile),
    /// A video.
    Video(Video),
    /// A round video message: spoken, like a voice message.
    VideoNote(Video),
    /// A video without sound.
    Animation(Video),
    /// Any other file.
    Document(TelegramFile),
    /// A sticker.
    Sticker(Sticker),
    /// A place: degrees north and east; title and address where it is a venue.
    Location {
        /// -90..=90.
        latitude: f64,
        /// -180..=180.
        longitude: f64,
        /// Name and address of a venue.
        venue: Option<(String, String)>,
    },
    /// A person's card.
    Contact {
        /// First and last name.
        name: String,
        /// As the sender's app wrote it.
        phone: String,
    },
    /// A poll.
    Poll {
        /// What is asked.
        question: String,
        /// What can be answered.
        options: Vec<String>,
    },
    /// A checklist.
    Checklist {
        /// What it is about.
        title: String,
        /// Its tasks, each with whether it is done.
        tasks: Vec<(bool, String)>,
    },
    /// An animated emoji with a random value.
    Dice(Option<String>, i64),
    /// A button under a message of the bot was tapped.
    Tap(ButtonTap),
    /// An event in the chat.
    Service(ServiceMessage),
    /// The bot's own rights in the chat have changed.
    Membership(Membership),
    /// Something that this version does not know. The words beside it are answered; without words it gets one friendly sentence in a
    /// private chat and silence in a group.
    Other,
}

/// An event in a chat, told by a message that nobody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceMessage {
    /// The group became the supergroup with this id.
    MigratedTo(i64),
    /// The supergroup was the group with this id.
    MigratedFrom(i64),
    /// Members joined or left, the title changed, a topic was opened, and so on.
    Other,
}

/// The bot's new standing in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It is a member or an administrator; in a private chat: the user (re)started it.
    Member,
    /// It was removed, left, or (private chat) was blocked.
    Left,
    /// It may read but not write, or something that this version does not know.
    Restricted,
}

/// Keys of service messages that have no meaning of their own for us. From the Bot API reference, `Message`.
const SERVICE_MESSAGE_KEYS: &[&str] = &[
    "new_chat_members",
    "new_chat_member",
    "new_chat_participant",
    "left_chat_member",
    "left_chat_participant",
    "community_chat_added",
    "community_chat_removed",
    "chat_owner_left",
    "chat_owner_changed",
    "new_chat_title",
    "new_chat_photo",
    "delete_chat_photo",
    "group_chat_created",
    "supergroup_chat_created",
    "channel_chat_created",
    "message_auto_delete_timer_changed",
    "pinned_message",
    "successful_payment",
    "refunded_payment",
    "users_shared",
    "chat_shared",
    "gift",
    "unique_gift",
    "gift_upgrade_sent",
    "connected_website",
    "write_access_allowed",
    "passport_data",
    "proximity_alert_triggered",
    "boost_added",
    "chat_background_set",
    "checklist_tasks_done",
    "checklist_tasks_added",
    "direct_message_price_changed",
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_closed",
    "forum_topic_reopened",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "giveaway_created",
    "giveaway_completed",
    "managed_bot_created",
    "paid_message_price_changed",
    "poll_option_added",
    "poll_option_deleted",
    "suggested_post_approved",
    "suggested_post_approval_failed",
    "suggested_post_declined",
    "suggested_post_paid",
    "suggested_post_refunded",
    "video_chat_scheduled",
    "video_chat_started",
    "video_chat_ended",
    "video_chat_participants_invited",
    "web_app_data",
];

impl Content {
    /// What a message holds; `rich`: it is a rich message with words. The first that fits counts: an animation also has a `document`, a
    /// venue also a `location`.
    pub(crate) fn of(kind: UpdateKind, message: &JsonObject<'_>, rich: bool) -> Self {
        if kind == UpdateKind::MyChatMember {
            return Self::Membership(membership(message));
        }
        if let Some(id) = message.integer("migrate_to_chat_id") {
            return Self::Service(ServiceMessage::MigratedTo(id));
        }
        if let Some(id) = message.integer("migrate_from_chat_id") {
            return Self::Service(ServiceMessage::MigratedFrom(id));
        }
        if rich || message.has("text") {
            return Self::Text;
        }
        file_content(message)
            .or_else(|| other_content(message))
            .unwrap_or_else(|| {
                if SERVICE_MESSAGE_KEYS.iter().any(|key| message.has(key)) {
                    Self::Service(ServiceMessage::Other)
                } else {
                    Self::Other
                }
            })
    }

    /// The kind in one word, for stored denials and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Photo(_) => "photo",
            Self::Voice(..) => "voice",
            Self::Audio(_) => "audio",
            Self::Video(_) => "video",
            Self::VideoNote(_) => "video_note",
            Self::Animation(_) => "animation",
            Self::Document(_) => "document",
            Self::Sticker(_) => "sticker",
            Self::Location { .. } => "location",
            Self::Contact { .. } => "contact",
            Self::Poll { .. } => "poll",
            Self::Checklist { .. } => "checklist",
            Self::Dice(..) => "dice",
            Self::Tap(_) => "tap",
            Self::Service(_) => "service",
            Self::Membership(_) => "membership",
            Self::Other => "other",
        }
    }
}

fn file_content(message: &JsonObject<'_>) -> Option<Content> {
    let one = |key: &str| message.object(key).and_then(|o| file(&o));
    if let Some(biggest) = message
        .objects("photo")
        .iter()
        .filter_map(|size| Some((size.integer("width").unwrap_or(0), file(size)?)))
        .max_by_key(|(width, _)| *width)
    {
        return Some(Content::Photo(biggest.1));
    }
    if let Some(voice) = message.object("voice")
        && let Some(file) = file(&voice)
    {
        return Some(Content::Voice(file, voice.integer("duration").unwrap_or(0)));
    }
    one("audio")
        .map(Content::Audio)
        .or_else(|| video(message, "animation").map(Content::Animation))
        .or_else(|| video(message, "video").map(Content::Video))
        .or_else(|| video_note(message))
        .or_else(|| one("document").map(Content::Document))
}

/// Telegram names no media type for them; they are MPEG-4.
fn video_note(message: &JsonObject<'_>) -> Option<Content> {
    let mut note = video(message, "video_note")?;
    note.file.media_type = Some("video/mp4".to_owned());
    Some(Content::VideoNote(note))
}

fn video(message: &JsonObject<'_>, key: &str) -> Option<Video> {
    let video = message.object(key)?;
    Some(Video {
        file: file(&video)?,
        seconds: video.integer("duration"),
        thumbnail: thumbnail(&video),
    })
}

/// The still that Telegram makes of what moves: JPEG, of a sticker also WebP.
fn thumbnail(media: &JsonObject<'_>) -> Option<TelegramFile> {
    file(&media.object("thumbnail")?)
}

fn sticker(sticker: &JsonObject<'_>) -> Sticker {
    let moves = sticker.flag("is_animated") || sticker.flag("is_video");
    let picture = if moves {
        thumbnail(sticker)
    } else {
        // Telegram names no media type; what does not move is WebP.
        file(sticker).map(|file| TelegramFile {
            media_type: Some("image/webp".to_owned()),
            ..file
        })
    };
    Sticker {
        emoji: sticker.text("emoji"),
        set_name: sticker.text("set_name"),
        picture,
    }
}

fn other_content(message: &JsonObject<'_>) -> Option<Content> {
    if let Some(sent) = message.object("sticker") {
        return Some(Content::Sticker(sticker(&sent)));
    }
    let venue = message.object("venue");
    let place = venue
        .as_ref()
        .and_then(|v| v.object("location"))
        .or_else(|| message.object("location"));
    if let Some(place) = place {
        return Some(Content::Location {
            latitude: place.number("latitude")?,
            longitude: place.number("longitude")?,
            venue: venue.and_then(|v| Some((v.text("title")?, v.text("address")?))),
        });
    }
    if let Some(contact) = message.object("contact") {
        let first = contact.text("first_name").unwrap_or_default();
        let last = contact.text("last_name").unwrap_or_default();
        return Some(Content::Contact {
            name: format!("{first} {last}").trim().to_owned(),
            phone: contact.text("phone_number").unwrap_or_default(),
        });
    }
    if let Some(poll) = message.object("poll") {
        let text = |option: &JsonObject<'_>| option.text("text");
        return Some(Content::Poll {
            question: poll.text("question").unwrap_or_default(),
            options: poll.objects("options").iter().filter_map(text).collect(),
        });
    }
    if let Some(list) = message.object("checklist") {
        return Some(checklist(&list));
    }
    let dice = message.object("dice")?;
    Some(Content::Dice(
        dice.text("emoji"),
        dice.integer("value").unwrap_or(0),
    ))
}

fn checklist(list: &JsonObject<'_>) -> Content {
    let task = |task: &JsonObject<'_>| {
        let done = task.integer("completion_date").is_some_and(|at| at > 0)
            || task.has("completed_by_user")
            || task.has("completed_by_chat");
        Some((done, task.text("text")?))
    };
    Content::Checklist {
        title: list.text("title").unwrap_or_default(),
        tasks: list.objects("tasks").iter().filter_map(task).collect(),
    }
}

fn file(file: &JsonObject<'_>) -> Option<TelegramFile> {
    Some(TelegramFile {
        id: file.text("file_id")?,
        size: file
            .integer("file_size")
            .and_then(|size| u64::try_from(size).ok()),
        media_type: file.text("mime_type"),
        name: file.text("file_name"),
    })
}

fn membership(changed: &JsonObject<'_>) -> Membership {
    let Some(new) = changed.object("new_chat_member") else {
        return Membership::Restricted;
    };
    match new.text("status").as_deref() {
        Some("member" | "administrator" | "creator") => Membership::Member,
        Some("left" | "kicked") => Membership::Left,
        Some("restricted") if !new.flag("is_member") => Membership::Left,
        _ => Membership::Restricted,
    }
}
