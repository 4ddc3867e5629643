//! The messages of an answer with files: its text is cut where each stood.

use super::BatchHandler;
use crate::assistant::FileContent;
use crate::pipeline::decide::file_type::FileType;
use crate::pipeline::work::ask::{AnswerFile, AssistantAnswer};
use crate::store::{FilePart, PartContent, ReplyPart};

impl BatchHandler<'_> {
    /// The messages of an answer, in order. In the place of a file that is too big or cannot be decoded stands a sentence.
    pub(super) async fn answer_parts_with_files(&self, answer: &AssistantAnswer) -> Vec<ReplyPart> {
        if answer.files.is_empty() {
            return self.answer_parts(&answer.text).await;
        }
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut taken = 0;
        for file in &answer.files {
            let placeholder = &file.placeholder;
            text.push_str(&answer.text[taken..placeholder.start]);
            taken = placeholder.end;
            match self.file_part(file, &answer.text[placeholder.clone()]) {
                Ok(part) => {
                    self.add_text(&mut parts, &std::mem::take(&mut text)).await;
                    parts.push(part);
                }
                Err(sentence) => text.push_str(&sentence),
            }
        }
        text.push_str(&answer.text[taken..]);
        self.add_text(&mut parts, &text).await;
        parts
    }

    async fn add_text(&self, parts: &mut Vec<ReplyPart>, text: &str) {
        if !text.trim().is_empty() {
            parts.extend(self.answer_parts(text.trim_matches('\n')).await);
        }
    }

    /// The part of a file, or what stands in its place.
    fn file_part(&self, answer_file: &AnswerFile, shown: &str) -> Result<ReplyPart, String> {
        let texts = self.texts();
        let file = &answer_file.file;
        let fallback_name = if file.is_picture {
            &texts.picture
        } else {
            &texts.file
        };
        let content = match &file.content {
            FileContent::Bytes(content) => content,
            FileContent::Link(_) => return Err(shown.to_owned()),
            FileContent::Unreadable if file.repeats_text => return Err(String::new()),
            FileContent::Unreadable if file.name.is_empty() => {
                return Err(texts.file_not_sent(fallback_name));
            }
            FileContent::Unreadable => return Err(texts.file_not_sent(&file.name)),
        };
        let file_type = FileType::of(content, &file.name, &file.media_type, fallback_name);
        let mut replacement = texts.file_not_sent(&file_type.name);
        if let Some(address) = &answer_file.address {
            replacement.push(' ');
            replacement.push_str(address);
        }
        let content = PartContent::File(FilePart {
            kind: file_type.kind,
            replacement,
            caption: None,
            name: file_type.name,
            media_type: file_type.media_type,
            bytes: content.len(),
            upload: Some(content.clone()),
        });
        let reply_to = self.reply_to();
        Ok(ReplyPart {
            content,
            reply_to,
            silent: false,
        })
    }
}
