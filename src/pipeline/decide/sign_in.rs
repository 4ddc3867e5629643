//! Whether somebody who may not write yet is asked to sign in. Pure.

use crate::api::connector::AccessLevel;
use crate::pipeline::message::incoming_update::IncomingUpdate;
use crate::registry::{ResolvedConnector, SignInPolicy};

/// How people sign in at a connector, where the list that decides is the company's.
pub(crate) fn policy(connector: &ResolvedConnector) -> Option<&SignInPolicy> {
    let policy = connector.sign_in.as_ref();
    policy.filter(|_| connector.access.level == AccessLevel::Company)
}

/// Whether the sender of a message may sign in with it: a person, in the private chat with the bot, by a message of their own.
pub(crate) fn may_sign_in(connector: &ResolvedConnector, incoming: &IncomingUpdate) -> bool {
    let is_own_chat = |id: i64| incoming.is_private() && incoming.chat.id == id;
    policy(connector).is_some()
        && incoming.decision.is_none()
        && incoming
            .sender
            .as_ref()
            .is_some_and(|sender| !sender.is_bot && is_own_chat(sender.id))
}
