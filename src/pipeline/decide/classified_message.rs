//! A message that waits, read and classified once: everything that asks what it is looks here, and does not decide anew.

use std::sync::Arc;

use jiff::Timestamp;

use crate::history::ChatMessage;
use crate::pipeline::decide::access;
use crate::pipeline::decide::assistant_input::{self, AssistantInput};
use crate::pipeline::decide::decision::{self, Decision};
use crate::pipeline::decide::groups::{self, GroupDecision};
use crate::pipeline::decide::user_decision::{self, SharedDecision};
use crate::pipeline::message::incoming_update::{IncomingUpdate, UnreadableUpdate};
use crate::registry::ResolvedConnector;
use crate::store::{UserDecision, WaitingMessage};

/// A message that waits, read and classified.
#[derive(Debug)]
pub(crate) struct ClassifiedMessage {
    /// As the store has it.
    pub(crate) message: WaitingMessage,
    /// What it says and what is to be done with it.
    pub(crate) update: Result<ClassifiedUpdate, UnreadableUpdate>,
}

impl ClassifiedMessage {
    /// Reads a message and classifies it, as it is to be handled `now`.
    pub(crate) fn read(
        connector: &ResolvedConnector,
        message: WaitingMessage,
        now: Timestamp,
    ) -> Self {
        let update = IncomingUpdate::parse(&message.json).map(|mut incoming| {
            if incoming.tap().is_some() {
                // Telegram does not say when it was.
                incoming.date = message.received_at;
            }
            ClassifiedUpdate::new(connector, incoming, now)
        });
        Self { message, update }
    }

    /// The decision of a user from which it follows.
    pub(crate) fn decision_id(&self) -> Option<&str> {
        self.update.as_ref().ok()?.incoming.decision.as_deref()
    }

    /// Gives it the words of the decision from which it follows; without one that was taken nothing follows.
    pub(crate) fn put_decision(
        &mut self,
        connector: &ResolvedConnector,
        decision: Option<UserDecision>,
        now: Timestamp,
    ) {
        let received_at = self.message.received_at;
        let Ok(update) = &mut self.update else {
            return;
        };
        update.decided = decision.filter(|d| d.taken.is_some()).map(Arc::new);
        if let Some(decision) = &update.decided {
            user_decision::put_words(&mut update.incoming, decision, received_at);
        }
        update.classify_again(connector, now);
    }

    /// Whose grant decides about it, if the connector's list takes grants and does not name them itself.
    pub(crate) fn asks_for_grant_of(
        &self,
        connector: &ResolvedConnector,
        now: Timestamp,
    ) -> Option<i64> {
        let sender = self.update.as_ref().ok()?.incoming.sender.as_ref()?;
        access::asks_for_grants(&connector.access, sender, now).then_some(sender.id)
    }

    /// Says that its sender has a grant.
    pub(crate) fn put_grant(&mut self, connector: &ResolvedConnector, now: Timestamp) {
        if let Ok(update) = &mut self.update
            && let Some(sender) = &mut update.incoming.sender
        {
            sender.is_granted = true;
            update.classify_again(connector, now);
        }
    }

    /// Classifies it anew: the connector has changed since.
    pub(crate) fn classify_again(&mut self, connector: &ResolvedConnector, now: Timestamp) {
        if let Ok(update) = &mut self.update {
            update.classify_again(connector, now);
        }
    }
}

/// An update, and what a connector does with it when it stands alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClassifiedUpdate {
    /// What was said.
    pub(crate) incoming: IncomingUpdate,
    /// Whether it was said to the bot.
    pub(crate) group: GroupDecision,
    /// What is to be done with it.
    pub(crate) decision: Decision,
    /// The decision of a user from which it follows.
    pub(crate) decided: Option<SharedDecision>,
}

impl ClassifiedUpdate {
    /// Classifies an update.
    pub(crate) fn new(
        connector: &ResolvedConnector,
        incoming: IncomingUpdate,
        now: Timestamp,
    ) -> Self {
        let (group, decision) = classify(connector, &incoming, None, now);
        Self {
            incoming,
            group,
            decision,
            decided: None,
        }
    }

    fn classify_again(&mut self, connector: &ResolvedConnector, now: Timestamp) {
        (self.group, self.decision) =
            classify(connector, &self.incoming, self.decided.as_ref(), now);
    }

    /// Whether the assistant would be asked about it.
    pub(crate) fn is_asked(&self) -> bool {
        self.decision.is_asked()
    }

    /// Who sent it; `None` for channels and anonymous admins.
    pub(crate) fn sender_id(&self) -> Option<i64> {
        self.incoming.sender.as_ref().map(|s| s.id)
    }

    /// What the assistant is given of it beside `history`, also where it goes along with another: a picture of an album, a piece of a
    /// paste.
    pub(crate) fn input(
        &self,
        connector: &ResolvedConnector,
        history: &[ChatMessage],
    ) -> AssistantInput {
        let context = decision::input_context(connector, history);
        assistant_input::assistant_input(&self.incoming, context)
    }
}

fn classify(
    connector: &ResolvedConnector,
    incoming: &IncomingUpdate,
    decided: Option<&SharedDecision>,
    now: Timestamp,
) -> (GroupDecision, Decision) {
    if incoming.access_request.is_some() {
        return (GroupDecision::Handle, Decision::TellAccessOutcome);
    }
    if incoming.decision.is_some() {
        return match decided {
            Some(_) => (
                GroupDecision::Handle,
                decision::decide_follow_up(connector, incoming, now),
            ),
            None => (GroupDecision::Ignore, Decision::Ignore),
        };
    }
    let bot = decision::bot_identity(connector);
    let approvals_chat = connector.approvals.as_ref().and_then(|a| a.chat);
    let requests_chat = connector.requests.as_ref().map(|r| r.notify);
    let mut approvers_chats = approvals_chat.into_iter().chain(requests_chat);
    let decide = if approvers_chats.any(|chat| chat.id == incoming.chat.id) {
        groups::decide_in_approvals_chat
    } else {
        groups::decide
    };
    let group = decide(connector.groups.as_ref(), incoming, bot);
    (group, decision::decide(connector, incoming, group, now))
}
