//! An answer that is read out: a voice message with the text as its caption, or before the text.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

use super::BatchHandler;
use crate::api::connector::SpeechOccasion;
use crate::assistant::{MAX_SPOKEN_CHARS, Speaker};
use crate::pipeline::message::incoming_update::Content;
use crate::pipeline::send::preview_sender::{self, PreviewTarget, PreviewText};
use crate::pipeline::work::ask::{AnswerEnd, AssistantAnswer};
use crate::registry::OptionalService;
use crate::store::{Caption, FilePart, PartContent, ReplyPart};
use crate::telegram::FileKind;

/// The longest caption, in UTF-16 units (Bot API, `sendVoice`).
const MAX_CAPTION: usize = 1024;

impl BatchHandler<'_> {
    /// The text of an answer to be read out; `None`: it is not.
    pub(super) fn text_to_speak(
        &self,
        answer: &AssistantAnswer,
        parts: &[ReplyPart],
    ) -> Option<String> {
        let speech = &self.connector.speech;
        let is_wanted = speech.occasion == SpeechOccasion::Always || self.is_spoken_question();
        if matches!(speech.service, OptionalService::None) || !is_wanted {
            return None;
        }
        let is_whole = matches!(answer.end, AnswerEnd::Complete);
        let texts = parts.iter().flat_map(|part| match &part.content {
            PartContent::Text { plain, .. } => vec![plain.as_str()],
            PartContent::Rich(rich) => rich.fallback.iter().map(|t| t.plain.as_str()).collect(),
            PartContent::File(_) => Vec::new(),
        });
        let text = texts.collect::<Vec<_>>().join("\n\n");
        let can_be_read =
            text.contains(char::is_alphanumeric) && text.chars().nth(MAX_SPOKEN_CHARS).is_none();
        (is_whole && can_be_read).then_some(text)
    }

    /// Whether the user spoke.
    fn is_spoken_question(&self) -> bool {
        self.batch.members.iter().any(|member| {
            let content = &member.update.incoming.content;
            matches!(content, Content::Voice(..) | Content::VideoNote(_))
        })
    }

    /// Adds a voice message with these words to an answer; without one the answer goes out as it is.
    pub(super) async fn add_speech(&self, parts: &mut Vec<ReplyPart>, text: &str) {
        let speaker = match &self.connector.speech.service {
            OptionalService::None => return,
            OptionalService::Unavailable(why) => {
                let pipeline = &self.lane.pipeline;
                pipeline.metrics.record_assistant_exchange(
                    "Speech",
                    "misconfigured",
                    std::time::Duration::ZERO,
                );
                return self.report_speech_failure(why.to_string());
            }
            OptionalService::Ready(speaker) => speaker,
        };
        if let Some(voice) = self.speak(speaker, text).await {
            add_voice(parts, voice, self.reply_to());
        }
    }

    async fn speak(&self, speaker: &Speaker, text: &str) -> Option<Bytes> {
        let pipeline = &self.lane.pipeline;
        let key = format!("{}-speech", self.idempotency_key());
        let began = Instant::now();
        let (words, shown) = watch::channel(PreviewText::default());
        let speaking = async {
            let spoken = speaker.speak(text, &key).await;
            drop(words);
            spoken
        };
        // "typing…" meanwhile.
        let target = PreviewTarget {
            bot: &self.connector.bot,
            lane: self.lane.key,
            streaming: false,
        };
        let showing = preview_sender::show_preview(pipeline, &target, shown);
        let (spoken, ()) = tokio::join!(speaking, showing);
        let result = spoken.as_ref().map_or_else(|e| e.kind.label(), |_| "ok");
        pipeline
            .metrics
            .record_assistant_exchange("Speech", result, began.elapsed());
        match spoken {
            Ok(voice) => Some(voice),
            Err(error) => {
                self.report_speech_failure(format!("spec.speech: {error}"));
                None
            }
        }
    }

    fn report_speech_failure(&self, error: String) {
        tracing::warn!(
            error,
            "an answer could not be read out; its text goes out alone"
        );
        let pipeline = &self.lane.pipeline;
        let uid = &self.connector.connector_ref.uid;
        pipeline
            .observations
            .record_speech_failure(uid, error, pipeline.clock.now());
    }
}

/// Puts a voice message before the parts of an answer, or into the place of its text, which becomes the caption if it is all and fits.
fn add_voice(parts: &mut Vec<ReplyPart>, voice: Bytes, reply_to: Option<i64>) {
    let mut file = FilePart {
        kind: FileKind::Voice,
        name: "answer.ogg".to_owned(),
        media_type: "audio/ogg".to_owned(),
        replacement: String::new(),
        caption: None,
        bytes: voice.len(),
        upload: Some(voice),
    };
    if let [
        ReplyPart {
            content:
                PartContent::Text {
                    html,
                    plain,
                    keyboard: None,
                },
            ..
        },
    ] = &mut parts[..]
        && plain.encode_utf16().count() <= MAX_CAPTION
    {
        file.replacement = std::mem::take(plain);
        file.caption = Some(Caption { html: html.take() });
        parts.clear();
    }
    let content = PartContent::File(file);
    let spoken = ReplyPart {
        content,
        reply_to,
        silent: false,
    };
    parts.insert(0, spoken);
}
