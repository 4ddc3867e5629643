//! The store in a database, whichever it is: one writer that commits what has gathered, and connections that only read.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::group_commit::{Op, Reply, Writer};
use super::lane::place;
use super::reading::{self, Readers, listing};
use super::statements::PRUNED_AT_ONCE;
use super::{
    Accepted, Backlog, Claimed, DeadLetter, DeniedMessage, Inbox, LaneWrite, Listing, Page,
    Retention, SessionSummary, Store, StoreError, WaitingMessage, Wake, Want, Written,
};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::telegram::RawUpdate;

/// Says what a reader's error means and what to do.
type Explain = Box<dyn Fn(&sqlx::Error) -> StoreError + Send + Sync>;

/// The store in a database that is open.
pub(super) struct DatabaseStore<R> {
    writer: Writer,
    readers: R,
    explain: Explain,
    wake: Arc<Wake>,
}

impl<R> DatabaseStore<R> {
    pub(super) fn new(
        writer: Writer,
        readers: R,
        explain: impl Fn(&sqlx::Error) -> StoreError + Send + Sync + 'static,
    ) -> Self {
        Self {
            writer,
            readers,
            explain: Box::new(explain),
            wake: Arc::default(),
        }
    }
}

/// A reply of another kind than the write's would be a fault of this module.
macro_rules! reply {
    ($call:expr, $pattern:pat => $value:expr) => {
        match $call? {
            $pattern => Ok($value),
            _ => unreachable!("the writer answers each operation in kind"),
        }
    };
}

#[async_trait]
impl<R: Readers> Inbox for DatabaseStore<R> {
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<Accepted, StoreError> {
        if updates.is_empty() {
            return Ok(Accepted { new: 0, known: 0 });
        }
        let updates = updates
            .into_iter()
            .map(|u| {
                let place = place(u.json.get());
                (u, place)
            })
            .collect();
        let op = Op::Accept {
            connector: connector.clone(),
            bot,
            updates,
        };
        let accepted = reply!(self.writer.call(op).await, Reply::Accepted(a) => a)?;
        if accepted.new > 0 {
            self.wake.wake(connector);
        }
        Ok(accepted)
    }

    async fn forget(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::Forget(connector.clone())).await, Reply::Done => ())
    }

    async fn connectors(&self) -> Result<Vec<ConnectorRef>, StoreError> {
        listing::connectors(&self.readers)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn writable(&self) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::Probe).await, Reply::Done => ())
    }
}

#[async_trait]
impl<R: Readers> Store for DatabaseStore<R> {
    fn wake(&self) -> Arc<Wake> {
        self.wake.clone()
    }

    async fn claim(&self, wants: Vec<Want>) -> Result<Claimed, StoreError> {
        reply!(self.writer.call(Op::Claim(wants)).await, Reply::Claimed(c) => c)
    }

    async fn write(&self, write: LaneWrite) -> Result<Written, StoreError> {
        reply!(self.writer.call(Op::Write(write)).await, Reply::Written(w) => w)
    }

    async fn arrived(&self, lanes: &[i64]) -> Result<Vec<(i64, Vec<WaitingMessage>)>, StoreError> {
        reading::arrived::arrived(&self.readers, lanes)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn keep_claims(&self) -> Result<Vec<(ConnectorUid, Timestamp)>, StoreError> {
        reply!(self.writer.call(Op::KeepClaims).await, Reply::Waiting(w) => w)
    }

    async fn release_claims(&self) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::ReleaseClaims).await, Reply::Done => ())
    }

    async fn ready_now(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::ReadyNow(connector.clone())).await, Reply::Done => ())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        listing::backlog(&self.readers)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn bury_other_bots(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let op = Op::BuryOtherBots {
            connector: connector.clone(),
            bot,
            before,
        };
        reply!(self.writer.call(op).await, Reply::Count(n) => n)
    }

    async fn prune(&self, retention: Retention) -> Result<bool, StoreError> {
        let more = reply!(self.writer.call(Op::Prune(retention)).await, Reply::More(more) => more)?;
        let idle = listing::idle_lanes(&self.readers, PRUNED_AT_ONCE)
            .await
            .map_err(|e| (self.explain)(&e))?;
        if idle.is_empty() {
            return Ok(more);
        }
        let found = idle.len() as u64;
        let removed = reply!(self.writer.call(Op::PruneLanes(idle)).await, Reply::Count(n) => n)?;
        // Those that came back to life meanwhile are no reason to look again at once.
        Ok(more || (removed == found && found >= PRUNED_AT_ONCE.unsigned_abs()))
    }

    async fn denied(&self, listing: &Listing) -> Result<Page<DeniedMessage>, StoreError> {
        listing::denied(&self.readers, listing)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn sessions(&self, listing: &Listing) -> Result<Page<SessionSummary>, StoreError> {
        listing::sessions(&self.readers, listing)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn dead_letters(&self, listing: &Listing) -> Result<Page<DeadLetter>, StoreError> {
        listing::dead_letters(&self.readers, listing)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn retry_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError> {
        reply!(self.writer.call(Op::Retry(ids.to_vec())).await, Reply::Count(n) => n)
    }
}
