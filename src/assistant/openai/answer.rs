//! An answer as it comes over the wire: only the pump between the body and its reader.

use std::time::Duration;

use tokio::time::timeout;

use super::body_reader::{BodyReader, Dialect, began_with_nothing};
use crate::assistant::http_client::ResponseBody;
use crate::assistant::sse::drain;
use crate::assistant::{AnswerPart, AnswerReader, AssistantError};

/// How long a body may stay open once the assistant has said why it ended its answer. Usage comes in that time.
const AFTER_THE_END: Duration = Duration::from_secs(5);

/// An answer of either dialect.
pub(super) struct OpenAiAnswer {
    body: ResponseBody,
    reader: BodyReader,
}

impl OpenAiAnswer {
    /// `wants_progress`: somebody is shown the reasoning that comes before the answer.
    pub(super) fn new(body: ResponseBody, dialect: Box<dyn Dialect>, wants_progress: bool) -> Self {
        let foreign_body = body.unexpected_content();
        // What a body is called decides nothing but what to say of one that is empty.
        let empty_body = if body.is_event_stream() {
            began_with_nothing()
        } else {
            foreign_body.clone()
        };
        Self {
            body,
            reader: BodyReader::new(dialect, foreign_body, empty_body)
                .with_progress(wants_progress),
        }
    }

    async fn read_piece(&mut self) {
        let piece = if self.reader.has_ended() {
            timeout(AFTER_THE_END, self.body.chunk())
                .await
                .unwrap_or(Ok(None))
        } else {
            self.body.chunk().await
        };
        match piece {
            Ok(Some(piece)) => {
                self.reader.push(&piece);
                if self.reader.is_closed() {
                    drain(&mut self.body).await;
                }
            }
            Ok(None) => self.reader.finish(),
            Err(error) => self.reader.fail(error),
        }
    }
}

impl AnswerReader for OpenAiAnswer {
    async fn next_part(&mut self) -> Result<Option<AnswerPart>, AssistantError> {
        loop {
            if let Some(part) = self.reader.next_part() {
                return part.map(Some);
            }
            if self.reader.is_closed() {
                return Ok(None);
            }
            self.read_piece().await;
        }
    }
}
