//! The types by which every module names a connector and a bot, so that none can be mistaken for the other.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A bot's numeric Telegram id: the part of its token before the colon, and the `id` of `getMe`.
///
/// Together with an `update_id` it is the identity of an update (invariant 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BotId(pub i64);

impl From<BotId> for i64 {
    fn from(bot: BotId) -> Self {
        bot.0
    }
}

impl fmt::Display for BotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The `metadata.uid` of a `TelegramConnector`: what the store and the webhook path know a connector by.
///
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectorUid(pub Arc<str>);

impl ConnectorUid {
    /// The uid as Kubernetes writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ConnectorUid {
    fn from(uid: &str) -> Self {
        Self(uid.into())
    }
}

impl fmt::Display for ConnectorUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which `TelegramConnector` is meant, for people (namespace and name) and for machines (uid).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectorRef {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: ConnectorUid,
}

impl fmt::Display for ConnectorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
