//! Decisions of users: questions with buttons that an assistant asks, each of which waits for one person's tap.
//!
//! A decision is *open* until somebody taps (or writes instead, or its time is over), then *taken*, and *delivered* once the assistant has been
//! told. It is taken at most once, by a change that has no effect where it is no longer open, in the same transaction that settles the tap and
//! puts what follows from it into the inbox of the lane that asked: an update of our own that names the decision, handled like any other. Whenever the process ends, the tap is either still to be handled, or what follows from it is; never both and never neither.
//!
//! The keyboard may be shown in another lane than the one that asked: the group of the approvers.
//!
//! What was decided stays as a record as long as ended sessions do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::reply_part::ReplyPart;
use crate::identity::ConnectorUid;

/// What kind of decision it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DecisionKind {
    /// One of several answers.
    Choice,
    /// Whether something is done.
    Approval,
}

impl DecisionKind {
    /// The kind as the store keeps it.
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Choice => 0,
            Self::Approval => 1,
        }
    }

    /// In snake case: a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::Approval => "approval",
        }
    }

    /// Reads [`code`](Self::code). What is neither was tampered with, and approves nothing.
    pub(super) fn from_code(code: i64) -> Self {
        if code == 1 {
            Self::Approval
        } else {
            Self::Choice
        }
    }
}

/// One answer that a button gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionOption {
    /// What stands on the button.
    pub text: String,
    /// What the assistant is told.
    pub value: String,
    /// What the user answers with it, as the assistant and the history read it. Stored under its name of the first version.
    #[serde(rename = "said")]
    pub user_text: String,
}

/// What is asked, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionDetails {
    /// The assistant's own id of the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The buttons, numbered as their `callback_data` is.
    pub options: Vec<DecisionOption>,
    /// The one user who may decide; `None`: everybody who may, by the connector as it is when they tap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<i64>,
    /// What goes back to the assistant with the decision as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What is to be approved, in a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The text over the buttons, to which the decision is added: HTML, and the same plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// The same as plain text.
    pub plain: String,
    /// The language of what the bot adds to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A user as far as a record of their decision names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecidingUser {
    /// Telegram's id.
    pub id: i64,
    /// First and last name.
    pub name: String,
    /// Without @.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Of the user's client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// How a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DecidedHow {
    /// A button was tapped.
    Tap,
    /// The answer was written.
    Typed,
    /// Its time was over.
    Expired,
    /// The conversation went on without it.
    Superseded,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenDecision {
    /// Whether somebody decided, or time or the conversation did.
    pub how: DecidedHow,
    /// Index of the option; `None`: none was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<usize>,
    /// Who tapped or wrote; `None` where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DecidingUser>,
    /// The message whose button was tapped, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tapped_message: Option<i64>,
}

impl TakenDecision {
    /// What came of a decision of this kind, in snake case: a metric label.
    pub fn result(&self, kind: DecisionKind) -> &'static str {
        match (self.how, kind, self.option) {
            (DecidedHow::Expired, ..) => "expired",
            (DecidedHow::Superseded, ..) => "superseded",
            (_, DecisionKind::Choice, _) => "chosen",
            (_, DecisionKind::Approval, Some(0)) => "approved",
            (_, DecisionKind::Approval, _) => "refused",
        }
    }

    /// The conversation went on without the decision.
    pub(crate) fn superseded() -> Self {
        Self {
            how: DecidedHow::Superseded,
            option: None,
            by: None,
            tapped_message: None,
        }
    }

    /// Of a decision of this kind whose time is over: an approval is refused; a choice has no consequence.
    pub(super) fn expired(kind: DecisionKind) -> Self {
        Self {
            how: match kind {
                DecisionKind::Approval => DecidedHow::Expired,
                DecisionKind::Choice => DecidedHow::Superseded,
            },
            ..Self::superseded()
        }
    }
}

/// A decision that a reply asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUserDecision {
    /// Names it, in `callback_data` too: nobody can guess it.
    pub id: String,
    /// What kind it is.
    pub kind: DecisionKind,
    /// [`super::Session::number`]; 0 outside sessions.
    pub session: i64,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What is asked.
    pub details: DecisionDetails,
    /// The message whose reply asks ([`super::WaitingMessage::id`]).
    pub message: i64,
    /// The update that stands in the inbox for the decision once it is taken, without its words.
    pub follow_up: String,
    /// Where it is shown, if elsewhere than in the lane that asks, and with what.
    pub shown_in: Option<ShownElsewhere>,
}

/// Where a decision is shown, if elsewhere than in the lane that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownElsewhere {
    /// The chat.
    pub chat: i64,
    /// The topic; 0 outside topics.
    pub topic: i64,
    /// What is sent there.
    pub parts: Vec<ReplyPart>,
}

/// A decision as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDecision {
    /// Names it.
    pub id: String,
    /// What kind it is.
    pub kind: DecisionKind,
    /// The lane that asked.
    pub lane: i64,
    /// The session in which it was asked; 0 outside sessions.
    pub session: i64,
    /// The lane that shows the buttons, and its chat; `None` where the lane is gone.
    pub shown_lane: i64,
    /// The chat of that lane; `None` where the lane is gone.
    pub shown_chat: Option<i64>,
    /// The message that shows the buttons, once that is known.
    pub message_id: Option<i64>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What is asked.
    pub details: DecisionDetails,
    /// How it ended; `None`: it is open.
    pub taken: Option<TakenDecision>,
}

impl UserDecision {
    /// The message that shows the buttons, as far as it is known: that which was tapped, as a process that ends between sending it and writing its
    /// id down knows none, or that of a copy.
    pub(crate) fn shown_message(&self) -> Option<i64> {
        let tapped = self.taken.as_ref().and_then(|taken| taken.tapped_message);
        tapped.or(self.message_id)
    }

    /// The copy of that message, if it is known that it came twice.
    pub(crate) fn copied_message(&self) -> Option<i64> {
        self.message_id
            .filter(|id| self.shown_message() != Some(*id))
    }

    /// The option that was chosen.
    pub(crate) fn chosen(&self) -> Option<&DecisionOption> {
        let option = self.taken.as_ref()?.option?;
        self.details.options.get(option)
    }
}

/// A decision whose time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredDecision {
    /// The connector that asked.
    pub connector: ConnectorUid,
    /// The decision's id.
    pub id: String,
    /// What kind it was.
    pub kind: DecisionKind,
}

/// Decisions that expire at a time.
pub(super) const EXPIRE_LIMIT: i64 = 100;

/// The columns of [`UserDecision`], of `d` and of `l`, the lane that shows it.
pub(super) const COLUMNS: &str = "d.id, d.kind, d.lane, d.session, d.shown_lane, l.chat, d.message_id, d.expires_at, d.details, d.taken";

/// Puts what follows from the decision `$3` into the inbox of the lane that asked, at `$1` seconds and `$2` milliseconds: before what waits there,
/// which was said later than the question and is not begun yet.
pub(super) const FOLLOW_UP: &str = "INSERT INTO inbox (lane, update_id, date, received_at, body, sender)
     SELECT d.lane, d.update_id, (SELECT coalesce(min(i.date), $1) FROM inbox i WHERE i.lane = d.lane), $2, d.follow_up, d.sender FROM user_decision d WHERE d.id = $3
       AND EXISTS (SELECT 1 FROM lane l WHERE l.id = d.lane)";

/// Makes the lane ready at `$1` that asked for the decision `$2`.
pub(super) const WAKE_ASKING_LANE: &str =
    "UPDATE lane SET ready_at = CASE WHEN ready_at IS NULL OR ready_at > $1 THEN $1 ELSE ready_at END
     WHERE id = (SELECT lane FROM user_decision WHERE id = $2)";

/// Notes of the lane that asked for the decision `$1` whether any of its decisions is open.
pub(super) const COUNT_OPEN: &str =
    "UPDATE lane SET open_decisions = (SELECT count(*) FROM user_decision d WHERE d.lane = lane.id AND d.state = 0)
     WHERE id = (SELECT lane FROM user_decision WHERE id = $1)";
