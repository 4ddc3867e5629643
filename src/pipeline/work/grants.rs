//! Looks up who is let in by a grant: once for each sender of a claim, and only where the connector's list takes grants and does not name them.

use std::collections::HashMap;

use crate::pipeline::claim::lane_worker::{LaneResult, LaneWorker};
use crate::pipeline::decide::classified_message::ClassifiedMessage;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::registry::ResolvedConnector;

/// Where grants are looked up.
#[derive(Clone, Copy)]
pub(crate) struct GrantLookup<'a> {
    pub(crate) pipeline: &'a PipelineState,
    /// [`crate::store::Claim::connector`].
    pub(crate) connector: i64,
}

impl<'a> GrantLookup<'a> {
    /// Among the grants of a lane's connector.
    pub(crate) fn of(lane: &'a LaneWorker) -> Self {
        Self {
            pipeline: &lane.pipeline,
            connector: lane.claim.connector,
        }
    }

    /// Whether a user has a grant that is not over.
    ///
    /// # Errors
    /// The store's. Then nobody is let in.
    pub(crate) async fn has_grant(self, user: i64) -> LaneResult<bool> {
        let now = self.pipeline.clock.now();
        let grants = self.pipeline.store.grants_of(self.connector, user).await?;
        Ok(grants.iter().any(|grant| grant.is_valid(now)))
    }

    /// Classifies anew what is said by people whom a grant lets in.
    ///
    /// # Errors
    /// As [`Self::has_grant`].
    pub(crate) async fn put_grants(
        self,
        connector: &ResolvedConnector,
        messages: &mut [ClassifiedMessage],
    ) -> LaneResult<()> {
        if !connector.access.takes_grants {
            return Ok(());
        }
        let now = self.pipeline.clock.now();
        let mut known = HashMap::new();
        for message in messages {
            let Some(user) = message.asks_for_grant_of(connector, now) else {
                continue;
            };
            let is_granted = match known.get(&user) {
                Some(is_granted) => *is_granted,
                None => self.has_grant(user).await?,
            };
            known.insert(user, is_granted);
            if is_granted {
                message.put_grant(connector, now);
            }
        }
        Ok(())
    }
}
