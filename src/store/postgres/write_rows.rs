//! The changes of all writes of a batch, as the rows of the statements that do them.

use super::notices::Notices;
use super::outgoing::OutgoingChange;
use super::read_along::ReadAlongChange;
use super::uploads::Upload;
use crate::store::outgoing::is_outgoing;
use crate::store::statements::{latest_ready_at, speaker_list};
use crate::store::{Change, LaneWrite, Release, ReplyPart, WriteOutcome};

/// Lane, session, number, time, state, the session's tokens of input and output, and the message that asked.
type ExchangeRow<'a> = (i64, i64, i64, i64, Option<&'a str>, i64, i64, i64);

/// Lane, session, number, question, answer, the message that asked, and who else speaks in the question.
type ExchangeText<'a> = (i64, i64, i64, &'a str, &'a str, i64, Option<String>);

/// Connector, sender, time, namespace, name, message, chat, and the message that waits.
type DeniedRow<'a> = (i64, i64, i64, &'a str, &'a str, String, i64, i64);

/// The rows of each statement, as `json_array_elements` takes them.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) reply_parts: Vec<(i64, i64, u32, String)>,
    pub(super) uploads: Vec<Upload<'a>>,
    pub(super) finished: Vec<i64>,
    pub(super) dead_letters: Vec<(i64, &'a str)>,
    pub(super) attempted: Vec<i64>,
    pub(super) begun: Vec<(i64, i64, &'a str, i64)>,
    pub(super) ended: Vec<i64>,
    pub(super) handled: Vec<(i64, &'a str)>,
    pub(super) exchanges: Vec<ExchangeRow<'a>>,
    pub(super) dropped_exchanges: Vec<(i64, i64, i64)>,
    pub(super) exchange_texts: Vec<ExchangeText<'a>>,
    pub(super) denied: Vec<DeniedRow<'a>>,
    pub(super) read_along: Vec<ReadAlongChange<'a>>,
    pub(super) sent: Vec<(i64, i64, u32)>,
    pub(super) outgoing: Vec<OutgoingChange<'a>>,
    pub(super) send_attempted: Vec<(i64, i64, u32, bool)>,
    pub(super) replaced: Vec<(i64, i64, u32, u32, String)>,
    pub(super) ended_replies: Vec<(i64, i64)>,
    pub(super) dead_letter_replies: Vec<(i64, i64, &'a str)>,
    pub(super) released: Vec<(i64, i64)>,
    pub(super) out_of_backlog: Vec<i64>,
}

impl<'a> Rows<'a> {
    /// Sorts the changes of a write into the rows of the statements that do them.
    pub(super) fn sort(
        &mut self,
        write: &'a LaneWrite,
        now: i64,
        notices: &mut Notices,
    ) -> WriteOutcome {
        let lane = write.claim.lane;
        let mut written = WriteOutcome::default();
        for change in &write.changes {
            match change {
                Change::Finish { message } => {
                    self.finished.push(*message);
                    self.out_of_backlog.push(write.claim.connector);
                }
                Change::DeadLetter { message, reason } => {
                    self.dead_letters.push((*message, reason));
                    self.finished.push(*message);
                    self.out_of_backlog.push(write.claim.connector);
                }
                Change::Attempted { message } => self.attempted.push(*message),
                Change::Reply {
                    message,
                    parts,
                    notice,
                } => {
                    if notice.is_none_or(|notice| notices.record(lane, notice, now)) {
                        written.reply_stored = true;
                        for (number, part) in ReplyPart::numbered(parts) {
                            self.reply_parts.push((
                                lane,
                                *message,
                                number,
                                serde_json::to_string(part).expect("strings always serialize"),
                            ));
                            self.uploads.extend(part.upload().map(|content| Upload {
                                lane,
                                connector: write.claim.connector,
                                reply: *message,
                                number,
                                content,
                            }));
                        }
                    }
                }
                Change::BeginSession {
                    number,
                    key,
                    began_at,
                } => self
                    .begun
                    .push((lane, *number, key, began_at.as_millisecond())),
                Change::EndSession => self.ended.push(lane),
                Change::Handled { handled } => self.handled.push((lane, handled)),
                Change::Exchange {
                    session,
                    number,
                    asked,
                    answered,
                    state,
                    tokens,
                    at,
                    oldest_kept,
                    message,
                    speakers,
                } => {
                    if let Some(oldest) = oldest_kept {
                        self.dropped_exchanges.push((lane, *session, *oldest));
                    }
                    self.exchanges.push((
                        lane,
                        *session,
                        *number,
                        at.as_millisecond(),
                        state.as_deref(),
                        tokens.input,
                        tokens.output,
                        *message,
                    ));
                    if let (Some(asked), Some(answered)) = (asked, answered) {
                        let speakers = speaker_list(speakers);
                        self.exchange_texts
                            .push((lane, *session, *number, asked, answered, *message, speakers));
                    }
                }
                Change::ReadAlong(message, most) => {
                    let kept = ReadAlongChange::Keep(lane, message, *most);
                    self.read_along.push(kept);
                }
                Change::EndReadAlong(until) => {
                    self.read_along.push(ReadAlongChange::Drop(lane, *until));
                }
                Change::Denied(waiting, message) => self.denied.push((
                    write.claim.connector,
                    message.user_id.unwrap_or(0),
                    message.time.as_millisecond(),
                    &message.namespace,
                    &message.name,
                    serde_json::to_string(message).expect("strings always serialize"),
                    message.chat,
                    *waiting,
                )),
                Change::Sent { reply, number, .. } => {
                    self.sent.push((lane, *reply, *number));
                    if is_outgoing(*reply) {
                        self.outgoing.push((lane, change));
                    }
                }
                Change::BeginSending { .. }
                | Change::EndSending { .. }
                | Change::FailOutgoing { .. } => self.outgoing.push((lane, change)),
                Change::SendAttempted {
                    reply,
                    number,
                    ambiguous,
                } => self
                    .send_attempted
                    .push((lane, *reply, *number, *ambiguous)),
                Change::Replace {
                    reply,
                    number,
                    parts,
                } => {
                    for (offset, part) in (0_u32..).zip(parts) {
                        let part = serde_json::to_string(part).expect("strings always serialize");
                        self.replaced
                            .push((lane, *reply, *number, number + offset, part));
                    }
                }
                Change::EndReply {
                    reply,
                    dead_letter_reason,
                } => {
                    if let Some(reason) = dead_letter_reason {
                        self.dead_letter_replies.push((lane, *reply, reason));
                    }
                    self.ended_replies.push((lane, *reply));
                }
                Change::CountTokens(_)
                | Change::HoldForSignIn(_)
                | Change::SignOut { .. }
                | Change::OpenDecision(_)
                | Change::TakeDecision { .. }
                | Change::DecisionDelivered { .. }
                | Change::DecisionShown { .. }
                | Change::AskForAccess(_)
                | Change::DecideAccessRequest { .. } => {}
            }
        }
        match write.release {
            Some(Release::Now) => self.released.push((lane, now)),
            Some(Release::At(at)) => {
                let ready_at = at.as_millisecond().min(latest_ready_at(now));
                self.released.push((lane, ready_at));
            }
            None => {}
        }
        written
    }
}
