//! A turn that goes to the assistant: the question, and what becomes of it when it is answered, broken off or interrupted.

use std::time::Instant;

use super::{Handled, Handling};
use crate::assistant::{Assistant, Picture, Question, Sender};
use crate::pipeline::ask::{self, Asked, BrokenOff};
use crate::pipeline::attached::{self, Mute};
use crate::pipeline::content::{self, Gist};
use crate::pipeline::deliver::{self, Delivery, dead_letter};
use crate::pipeline::interrupt::Interruption;
use crate::pipeline::lane::{Wait, Worked};
use crate::pipeline::message::Content;
use crate::pipeline::plan::{self, language};
use crate::pipeline::render;
use crate::pipeline::session::{self, SessionStep};
use crate::pipeline::texts::texts;
use crate::store::{Change, Part, WaitingMessage};
use crate::telemetry::metrics::UpdateOutcome;

/// Stands under an answer that was stopped; the same in every language.
const ENDED: &str = "⏹";

impl Handling<'_> {
    pub(super) async fn ask(&mut self, assistant: &dyn Assistant) -> Worked<Handled> {
        let work = self.lane.work.clone();
        let ids: Vec<i64> = self.messages.iter().map(|m| m.id).collect();
        let mut running = work.interruptions.answering(self.lane.claim.lane);
        let asked = tokio::select! {
            asked = self.question(assistant.supports_pictures()) => asked,
            // While a voice message is written down, say.
            by = running.interrupted(self.connector, &ids) => return self.interrupted(by, "").await,
        };
        let (text, pictures) = match asked {
            Ok(question) => question,
            Err(mute) => {
                let sentence = mute.sentence(self.texts());
                return self.say(sentence).await;
            }
        };
        let date = self.lead().date;
        let began = self.lane.session.as_ref().map(|s| s.began_at);
        let step = session::decide(self.connector.session.duration, began, date);
        let current = self
            .lane
            .session
            .as_ref()
            .filter(|_| step == SessionStep::Continue);
        let question = Question {
            sender: self.sender(),
            connector: self.connector.connector.to_string().into(),
            session_id: current.map_or_else(|| self.session_key(), |s| s.key.clone()),
            session_state: current.and_then(|s| s.state.clone()),
            history: current.map(|s| s.history.clone()).unwrap_or_default(),
            text: text.clone(),
            pictures,
            idempotency_key: self.idempotency_key(),
        };
        let uid = &self.connector.connector.uid;
        let interrupted = running.interrupted(self.connector, &ids);
        let began = Instant::now();
        let (connector, key) = (self.connector, self.lane.key);
        let answered = ask::ask(&work, assistant, question, connector, key, interrupted).await;
        drop(running);
        let took = began.elapsed();
        let protocol = assistant.protocol();
        match answered {
            Asked::Answered(answer) => {
                work.metrics.record_assistant_exchange(protocol, "ok", took);
                work.observations.assistant_succeeded(uid);
                self.note_exchange(assistant, step, text, &answer);
                let mut parts = render::markdown(&answer.text, self.reply_to());
                if parts.is_empty() {
                    parts = render::plain(&self.texts().empty_answer, self.reply_to());
                }
                self.reply(parts, None).await
            }
            Asked::BrokenOff(broken) => {
                let result = broken.error.fault.label();
                work.metrics
                    .record_assistant_exchange(protocol, result, took);
                work.observations.assistant_failed(
                    uid,
                    broken.error.fault,
                    broken.error.detail.clone(),
                );
                self.failed(broken).await
            }
            Asked::Interrupted(by, answer) => {
                work.metrics
                    .record_assistant_exchange(protocol, "stopped", took);
                if !answer.text.trim().is_empty() {
                    self.note_exchange(assistant, step, text, &answer);
                }
                self.interrupted(by, &answer.text).await
            }
        }
    }

    /// What the assistant is asked: the words of all messages, and their pictures as far as it takes any. An error is of the only
    /// message there is; where there are others, they are asked about.
    async fn question(&self, supports_pictures: bool) -> Result<(String, Vec<Picture>), Mute> {
        let me = plan::me(self.connector);
        let mut texts = Vec::new();
        let mut pictures = Vec::new();
        for member in &self.turn.members {
            let (text, picture) = match content::gist(&member.incoming, me) {
                Gist::Ask { text, picture } => (text, picture),
                gist @ (Gist::Hear(_) | Gist::Read(_)) => {
                    let (lane, said) = (&*self.lane, &member.incoming);
                    let words = match attached::words(lane, self.connector, said, &gist).await {
                        Ok(words) => words,
                        Err(mute) if self.turn.members.len() == 1 => return Err(mute),
                        Err(_) => attached::UNREAD.to_owned(),
                    };
                    (content::with_words_of_file(said, me, &words), None)
                }
                // Of an album, what cannot be seen is left out.
                Gist::Nothing | Gist::Unsupported => continue,
            };
            let said = &member.incoming;
            let seen = match &picture {
                Some(file) if supports_pictures => ask::picture(self.connector, file).await,
                _ => None,
            };
            let text = match (&picture, &seen, &said.content) {
                // A question about a picture that is not there must say that there is one.
                (Some(_), None, Content::Photo(_) | Content::Document(_)) => {
                    content::with_unseen_picture(said, me)
                }
                _ => text,
            };
            texts.push((member.bond, text));
            pictures.extend(seen);
        }
        let texts: Vec<_> = texts.iter().map(|(bond, t)| (*bond, t.as_str())).collect();
        Ok((content::together(&texts), pictures))
    }

    /// Names the question: the same however often it is asked, and another as soon as there is more or less in it.
    fn idempotency_key(&self) -> String {
        let bot = self.lane.key.bot;
        let ids = self.messages.iter().map(|m| m.update_id.to_string());
        format!("telegram-{bot}-{}", ids.collect::<Vec<_>>().join("-"))
    }

    fn sender(&self) -> Sender {
        let sender = self.lead().sender.as_ref();
        Sender {
            id: sender.map_or(0, |s| s.id),
            name: sender.map(|s| s.name.clone()).unwrap_or_default(),
            username: sender.and_then(|s| s.username.clone()),
            language_code: sender.and_then(|s| s.language_code.clone()),
        }
    }

    /// What was shown stays, marked as ended; a `/stop` is confirmed and settled together with it. A `/new` comes next by itself.
    async fn interrupted(&mut self, by: Interruption, shown: &str) -> Worked<Handled> {
        let mut replies = Vec::new();
        if !shown.trim().is_empty() {
            let text = format!("{}\n\n{ENDED}", shown.trim_end());
            replies.push((self.first().id, render::markdown(&text, self.reply_to())));
        }
        if let Interruption::Stop { command, id, with } = by {
            let reply_to = command.message_id.filter(|_| !command.is_private());
            let text = &texts(language(&command)).stopped;
            replies.push((id, render::plain(text, reply_to)));
            self.messages
                .extend(with.into_iter().chain([id]).map(|id| WaitingMessage {
                    id,
                    ..WaitingMessage::default()
                }));
        }
        let mut parts = Vec::new();
        for (message, reply) in replies {
            parts.extend(self.note_reply(message, reply, None));
        }
        self.finish();
        self.lane.write().await?;
        match deliver::deliver(self.lane, self.connector, parts).await? {
            Delivery::Ended { .. } => {
                self.count(UpdateOutcome::Answered);
                Ok(Handled::Done)
            }
            Delivery::Wait(wait) => Ok(Handled::Wait(wait)),
        }
    }

    async fn failed(&mut self, broken: BrokenOff) -> Worked<Handled> {
        let BrokenOff { error, text } = broken;
        let attempts = self.first().attempts;
        let retry = self.lane.work.limits.retry;
        let again = retry.after_assistant(&error, attempts, rand::random());
        self.count(UpdateOutcome::Failed);
        if let Some(wait) = again {
            tracing::info!(%error, attempts = attempts + 1, "the assistant is asked again later");
            for message in &self.messages {
                let message = message.id;
                self.lane.change(Change::Attempted { message });
            }
            return Ok(Handled::Wait(Wait::ToAskAgain(wait)));
        }
        let reason = format!("the assistant failed: {error}");
        dead_letter(self.lane, self.connector, &reason);
        let said = self.texts();
        let parts = if text.trim().is_empty() {
            let sentence = if error.timed_out {
                &said.timed_out
            } else {
                &said.assistant_unavailable
            };
            render::plain(sentence, self.reply_to())
        } else {
            render::markdown(&format!("{text}\n\n{}", said.broken_off), self.reply_to())
        };
        self.apologize(parts, reason).await
    }

    /// The user is told, and the message becomes a dead letter.
    async fn apologize(&mut self, parts: Vec<Part>, reason: String) -> Worked<Handled> {
        let waiting = self.note_reply(self.first().id, parts, None);
        for message in &self.messages {
            self.lane.change(Change::Bury {
                message: message.id,
                reason: reason.clone(),
            });
        }
        self.lane.write().await?;
        match deliver::deliver(self.lane, self.connector, waiting).await? {
            Delivery::Ended { .. } => Ok(Handled::Done),
            Delivery::Wait(wait) => Ok(Handled::Wait(wait)),
        }
    }
}
