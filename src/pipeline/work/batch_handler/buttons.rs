//! Questions with buttons: the reply that asks one, its buttons once it is decided, and the words that decide one instead of a tap.

use std::time::{Duration, Instant};

use super::{BatchHandler, HandleOutcome};
use crate::assistant::{ApprovalRequest, Choice, decision_word, visible};
use crate::pipeline::claim::lane_worker::{LaneDecisions, LaneResult};
use crate::pipeline::decide::buttons::{self, ShownChoice};
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::decide::user_decision::{self, TapMeaning};
use crate::pipeline::decision_record::record_decision;
use crate::pipeline::message::cut::cut;
use crate::pipeline::message::incoming_update::Content;
use crate::pipeline::send::render;
use crate::pipeline::work::ask::AssistantAnswer;
use crate::store::{
    Change, DecidedHow, DecisionDetails, DecisionKind, DecisionOption, NewUserDecision,
    PartContent, ReplyPart, ShownElsewhere, TakenDecision, UserDecision,
};
use crate::telegram::markdown::escape_text;
use crate::telegram::split::{MESSAGE_LIMIT, utf16_len};
use crate::telegram::{MessageText, TelegramError};
use crate::texts::texts_for;

/// How long a choice is open.
const CHOICE_LIFETIME: Duration = Duration::from_hours(24);
/// Room that is left under a question for the line that says what was decided, in UTF-16 units.
const DECISION_LINE_UNITS: usize = 300;
/// So much of a name and of an answer stands in that line, in characters.
const MAX_LINE_CHARS: usize = 64;
/// So much of what is to be approved is shown, in characters.
const MAX_TITLE_CHARS: usize = 200;
const MAX_DETAILS_CHARS: usize = 2_500;

/// What is asked, before it has an id.
struct Asking {
    kind: DecisionKind,
    lifetime: Duration,
    details: DecisionDetails,
    /// What stands on the buttons, row by row.
    rows: Vec<Vec<String>>,
}

impl BatchHandler<'_> {
    /// Puts what the answer asks under its last message: buttons that decide, or in words what no buttons can show.
    pub(super) fn add_question(&mut self, parts: &mut Vec<ReplyPart>, answer: &AssistantAnswer) {
        if let Some(request) = &answer.approval {
            self.add_approval(parts, request);
        } else if let Some(choice) = &answer.choice {
            self.add_choice(parts, choice);
        }
    }

    fn add_choice(&mut self, parts: &mut Vec<ReplyPart>, choice: &Choice) {
        let shown = ShownChoice::new(choice);
        let texts = self.texts();
        if let Some(list) = &shown.list {
            parts.extend(render::plain_parts(list, self.reply_to()));
        }
        if shown.options.is_empty() {
            return;
        }
        let has_room = parts.last().is_some_and(has_room_for_a_line);
        if !has_room {
            let text = texts.choose.clone();
            parts.push(ReplyPart::text(None, text, self.reply_to()));
        }
        let asked = self.lead().sender.as_ref().map(|sender| sender.id);
        let asking = Asking {
            kind: DecisionKind::Choice,
            lifetime: CHOICE_LIFETIME,
            details: DecisionDetails {
                of: choice.id.clone(),
                options: shown.options.clone(),
                asked: asked.filter(|_| !choice.for_anyone),
                ..self.details()
            },
            rows: shown.rows,
        };
        if let Some(part) = parts.last_mut() {
            self.open_decision(asking, part, None);
        }
    }

    fn add_approval(&mut self, parts: &mut Vec<ReplyPart>, request: &ApprovalRequest) {
        let policy = self.connector.approvals.clone().unwrap_or_default();
        let texts = self.texts();
        let option = |text: &str, value: &str| DecisionOption {
            text: text.to_owned(),
            value: value.to_owned(),
            user_text: text.to_owned(),
        };
        let rows = vec![vec![texts.approve.clone(), texts.refuse.clone()]];
        let asked = self.lead().sender.as_ref().map(|sender| sender.id);
        let asking = Asking {
            kind: DecisionKind::Approval,
            lifetime: policy.timeout,
            details: DecisionDetails {
                of: request.id.clone(),
                options: vec![
                    option(&texts.approve, "approve"),
                    option(&texts.refuse, "refuse"),
                ],
                asked: asked.filter(|_| policy.approvers.is_none()),
                token: request.token.clone(),
                title: cut(&request.title, MAX_TITLE_CHARS),
                ..self.details()
            },
            rows,
        };
        let key = self.lane.key;
        let elsewhere = policy
            .chat
            .filter(|chat| (chat.id, chat.topic) != (key.chat, key.topic));
        let mut part = approval_part(request, &texts.approval_asks, self.reply_to());
        if let Some(chat) = elsewhere {
            part.reply_to = None;
            let shown = ShownElsewhere {
                chat: chat.id,
                topic: chat.topic,
                parts: Vec::new(),
            };
            self.open_decision(asking, &mut part, Some(shown));
            let text = texts.approval_requested.clone();
            parts.push(ReplyPart::text(None, text, self.reply_to()));
        } else {
            self.open_decision(asking, &mut part, None);
            parts.push(part);
        }
    }

    /// Says, before what the assistant makes of it, that nobody approved in time.
    pub(super) fn expiry_part(&self) -> Option<ReplyPart> {
        let decided = self.decided()?;
        let taken = decided.taken.as_ref()?;
        (taken.how == DecidedHow::Expired).then(|| {
            let text = self.texts().approval_expired.clone();
            ReplyPart::text(None, text, self.reply_to())
        })
    }

    fn details(&self) -> DecisionDetails {
        let sender = self.lead().sender.as_ref();
        DecisionDetails {
            language: sender.and_then(|sender| sender.language_code.clone()),
            ..DecisionDetails::default()
        }
    }

    /// Opens a decision, to be stored with the reply, and puts its buttons under `part`, which `elsewhere` shows in another chat.
    fn open_decision(
        &mut self,
        asking: Asking,
        part: &mut ReplyPart,
        elsewhere: Option<ShownElsewhere>,
    ) {
        let id = buttons::new_id();
        let PartContent::Text {
            html,
            plain,
            keyboard,
        } = &mut part.content
        else {
            return;
        };
        *keyboard = Some(buttons::keyboard(&id, &asking.rows));
        let (html, plain) = (html.clone(), plain.clone());
        let expires_at = self.lane.pipeline.clock.now().checked_add(asking.lifetime);
        let new = NewUserDecision {
            kind: asking.kind,
            session: self
                .lane
                .session
                .as_ref()
                .map_or(0, |session| session.number),
            expires_at: expires_at.unwrap_or(jiff::Timestamp::MAX),
            details: DecisionDetails {
                html,
                plain,
                ..asking.details
            },
            message: self.first().id,
            follow_up: user_decision::follow_up(&id, self.lead()),
            shown_in: elsewhere.map(|shown| ShownElsewhere {
                parts: vec![part.clone()],
                ..shown
            }),
            id,
        };
        self.lane.decisions = LaneDecisions::Open;
        if new.shown_in.is_some() {
            self.notify_when_written = true;
        }
        self.lane.add_change(Change::OpenDecision(Box::new(new)));
    }

    /// Takes the approval that waits, where the message is a plain yes or no to it; `None`: it is another message.
    pub(super) async fn take_by_word(&mut self) -> LaneResult<Option<HandleOutcome>> {
        if self.lane.decisions != LaneDecisions::Open || self.batch.members.len() != 1 {
            return Ok(None);
        }
        let lead = self.lead();
        let word = lead
            .text
            .as_deref()
            .filter(|_| lead.content == Content::Text);
        let Some(approves) = word.and_then(decision_word) else {
            return Ok(None);
        };
        let open = self.open_decisions().await?;
        let Some(decision) = open.iter().rfind(|d| d.kind == DecisionKind::Approval) else {
            return Ok(None);
        };
        let sender = self.lead().sender.as_ref();
        let now = self.lane.pipeline.clock.now();
        if user_decision::may_decide(self.connector, decision, sender, now) != TapMeaning::Takes {
            return self.reply_with(&CannedReply::NotAsked).await.map(Some);
        }
        let taken = TakenDecision {
            how: DecidedHow::Typed,
            option: Some(usize::from(!approves)),
            by: sender.map(user_decision::deciding_user),
            tapped_message: None,
        };
        if !self.take_decision(decision, taken).await? {
            return self
                .reply_with(&CannedReply::DecisionClosed)
                .await
                .map(Some);
        }
        Ok(Some(HandleOutcome::Done))
    }

    /// Takes a decision together with the message that does; false, and only the message is settled, if it was no longer open.
    pub(super) async fn take_decision(
        &mut self,
        decision: &UserDecision,
        taken: TakenDecision,
    ) -> LaneResult<bool> {
        let id = decision.id.clone();
        let ended = UserDecision {
            taken: Some(taken.clone()),
            ..decision.clone()
        };
        self.lane.add_change(Change::TakeDecision { id, taken });
        self.finish_messages();
        let is_taken = self.lane.write_changes().await?.decision_taken;
        if is_taken {
            self.record_decision(&ended);
        }
        if is_taken && decision.lane == self.lane.claim.lane {
            self.lane.decisions = LaneDecisions::Taken;
        } else if is_taken {
            let uid = &self.connector.connector_ref.uid;
            self.lane.pipeline.store.work_notifier().notify(uid);
        }
        Ok(is_taken)
    }

    /// Closes what is open before the conversation goes on without it, and takes its buttons away.
    pub(super) async fn supersede_decisions(&mut self) -> LaneResult<()> {
        if self.lane.decisions != LaneDecisions::Open {
            return Ok(());
        }
        let open = self.open_decisions().await?;
        for decision in &open {
            let taken = TakenDecision::superseded();
            let id = decision.id.clone();
            self.lane.add_change(Change::TakeDecision { id, taken });
        }
        self.lane.write_changes().await?;
        self.lane.decisions = LaneDecisions::None;
        for mut decision in open {
            decision.taken = Some(TakenDecision::superseded());
            self.record_decision(&decision);
            self.show_decided(&decision).await;
        }
        Ok(())
    }

    async fn open_decisions(&self) -> LaneResult<Vec<UserDecision>> {
        let lane = self.lane.claim.lane;
        self.lane.pipeline.store.open_user_decisions(lane).await
    }

    /// The buttons of a question go, and what was decided stands under it. A courtesy: what is left of them says that it is closed.
    pub(super) async fn show_decided(&self, decision: &UserDecision) {
        let (Some(chat), Some(message)) = (decision.shown_chat, decision.shown_message()) else {
            return;
        };
        if let Some(copy) = decision.copied_message() {
            self.remove_buttons(chat, copy).await;
        }
        let bot = &self.connector.bot;
        let began = Instant::now();
        let Some(line) = decision_line(decision, chat < 0) else {
            self.remove_buttons(chat, message).await;
            return;
        };
        let details = &decision.details;
        let (html, plain);
        let text = if let Some(before) = &details.html {
            html = format!("{before}\n\n{}", escape_text(&line));
            MessageText::Html(&html)
        } else {
            plain = format!("{}\n\n{line}", details.plain);
            MessageText::Plain(&plain)
        };
        let edited = bot.edit_message_text(chat, message, text).await;
        self.record_call("editMessageText", began, &edited);
        if edited.is_err_and(|error| error != TelegramError::NotModified) {
            self.remove_buttons(chat, message).await;
        }
    }

    pub(super) async fn remove_buttons(&self, chat: i64, message: i64) {
        let began = Instant::now();
        let bot = &self.connector.bot;
        let removed = bot.edit_message_reply_markup(chat, message, None).await;
        self.record_call("editMessageReplyMarkup", began, &removed);
    }

    pub(super) fn record_call(
        &self,
        method: &'static str,
        began: Instant,
        result: &Result<(), TelegramError>,
    ) {
        let label = result.as_ref().map_or_else(TelegramError::label, |()| "ok");
        let metrics = &self.lane.pipeline.metrics;
        metrics.record_telegram_call(method, label, began.elapsed());
        if let Err(error) = result {
            tracing::debug!(%error, method, "a tap was not answered, or buttons were not changed");
        }
    }

    fn record_decision(&self, decision: &UserDecision) {
        let Some(taken) = &decision.taken else {
            return;
        };
        let (uid, kind) = (&self.connector.connector_ref.uid, decision.kind);
        let by = taken.by.as_ref().map(|by| by.id);
        record_decision(&self.lane.pipeline, uid, kind, taken.result(kind), by);
    }
}

/// Whether the line that says what was decided fits under a message.
fn has_room_for_a_line(part: &ReplyPart) -> bool {
    let PartContent::Text { html, plain, .. } = &part.content else {
        return false;
    };
    let html_fits = html
        .as_ref()
        .is_none_or(|html| html.len() < 2 * MESSAGE_LIMIT);
    html_fits && utf16_len(plain) + DECISION_LINE_UNITS <= MESSAGE_LIMIT
}

/// What is to be approved, as it is: nothing in it is taken for formatting.
fn approval_part(request: &ApprovalRequest, asks: &str, reply_to: Option<i64>) -> ReplyPart {
    let title = visible(&cut(request.title.trim(), MAX_TITLE_CHARS));
    let details = visible(&cut(request.details.trim(), MAX_DETAILS_CHARS));
    let mut html = vec![escape_text(asks), format!("<b>{}</b>", escape_text(&title))];
    let mut plain = vec![asks, &title];
    if !details.is_empty() {
        html.push(format!("<pre>{}</pre>", escape_text(&details)));
        plain.push(&details);
    }
    ReplyPart::text(Some(html.join("\n")), plain.join("\n"), reply_to)
}

/// The line under a question that says what was decided, and in a group by whom; `None` where nothing was.
fn decision_line(decision: &UserDecision, names: bool) -> Option<String> {
    let taken = decision.taken.as_ref()?;
    let texts = texts_for(decision.details.language.as_deref());
    match (taken.how, decision.chosen(), &taken.by) {
        (DecidedHow::Expired, ..) => Some(format!("⌛ {}", texts.approval_expired)),
        (DecidedHow::Superseded, ..) if decision.kind == DecisionKind::Approval => {
            Some(format!("✗ {}", texts.approval_withdrawn))
        }
        (DecidedHow::Superseded, ..) | (_, None, _) => None,
        (_, Some(option), by) => {
            let answer = cut(&option.text, MAX_LINE_CHARS);
            let is_refused = decision.kind == DecisionKind::Approval && taken.option != Some(0);
            let mark = if is_refused { '✗' } else { '✓' };
            Some(match by {
                Some(by) if names => format!("{mark} {}: {answer}", cut(&by.name, MAX_LINE_CHARS)),
                _ => format!("{mark} {answer}"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rstest::rstest;

    use super::*;
    use crate::store::DecidingUser;

    fn approval(how: DecidedHow, option: Option<usize>) -> UserDecision {
        let option_named = |text: &str| DecisionOption {
            text: text.into(),
            value: text.into(),
            user_text: text.into(),
        };
        let by = DecidingUser {
            id: 7,
            name: "Ben".into(),
            username: None,
            language: None,
        };
        UserDecision {
            id: "1".into(),
            kind: DecisionKind::Approval,
            lane: 1,
            session: 1,
            shown_lane: 1,
            shown_chat: Some(7),
            message_id: Some(9),
            expires_at: Timestamp::MAX,
            details: DecisionDetails {
                options: vec![option_named("Approve"), option_named("Refuse")],
                ..DecisionDetails::default()
            },
            taken: Some(TakenDecision {
                how,
                option,
                by: option.map(|_| by),
                tapped_message: None,
            }),
        }
    }

    #[rstest]
    #[case(DecidedHow::Tap, Some(0), "✓ Ben: Approve")]
    #[case(DecidedHow::Typed, Some(1), "✗ Ben: Refuse")]
    #[case(DecidedHow::Expired, None, "⌛ Nobody decided in time: refused.")]
    #[case(DecidedHow::Superseded, None, "✗ Withdrawn: the conversation went on.")]
    fn line_under_an_approval_says_what_came_of_it(
        #[case] how: DecidedHow,
        #[case] option: Option<usize>,
        #[case] expected: &str,
    ) {
        let line = decision_line(&approval(how, option), true);
        assert_eq!(line.as_deref(), Some(expected));
    }
}
