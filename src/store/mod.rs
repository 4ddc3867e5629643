//! The store: what must survive. The inbox, the outbox, sessions and denied conversations behind one trait, on SQLite or
//! PostgreSQL.

use async_trait::async_trait;

use crate::identity::{BotId, ConnectorUid};
use crate::telegram::RawUpdate;

/// What `accept` made of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Updates that were not there before.
    pub new: usize,
    /// Updates that were there, or had been handled: nothing changed.
    pub known: usize,
}

/// Why the store did not do as asked. Whatever it was, nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The bot's backlog is full: acknowledge nothing, come back later.
    #[error("the backlog of bot {0} is full")]
    BacklogFull(BotId),
    /// Disk full, read-only, locked, or no connection: acknowledge nothing, try again.
    #[error("the store cannot be written: {0}")]
    Unavailable(String),
    /// The `--store` value or the file behind it is no use.
    #[error("{0}")]
    Invalid(String),
}

/// The intake side of the store: what `connection` and `controller` need. The pipeline's side is its own.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Makes updates durable. Only when this returns `Ok` may they be acknowledged to Telegram (invariant 1); an update
    /// that is already known by (bot id, `update_id`) changes nothing (invariant 2).
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the batch counts as accepted.
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<Accepted, StoreError>;

    /// Ends a deleted connector's sessions and drops what waits for it; denied conversations stay until their retention ends.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget(&self, connector: &ConnectorUid) -> Result<(), StoreError>;

    /// Whether the store can be written now; for `/readyz`.
    ///
    /// # Errors
    /// [`StoreError`] with the reason.
    async fn writable(&self) -> Result<(), StoreError>;
}
