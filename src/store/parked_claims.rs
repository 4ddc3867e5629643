//! Claims that wait for a message: carried out in the very transaction that accepts their connector's next one, which saves that message a
//! transaction and the way from the writer to the pipeline and back.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::records::{ClaimOutcome, ClaimRequest};
use super::requests::{Pending, StoreRequest};
use super::{ParkedClaim, StoreError};
use crate::identity::ConnectorUid;

/// The claims that are parked, one for a connector.
#[derive(Default)]
pub(super) struct ParkedClaims {
    claims: Mutex<HashMap<ConnectorUid, Pending<Vec<ClaimRequest>, ClaimOutcome>>>,
}

impl ParkedClaims {
    /// Parks a claim. One that its connector had parked before is withdrawn.
    pub(super) fn park(&self, claim_request: ClaimRequest) -> ParkedClaim {
        let (caller, outcome) = oneshot::channel();
        let connector = claim_request.connector.uid.clone();
        let pending = Pending::new(vec![claim_request], Some(caller));
        self.claims.lock().insert(connector, pending);
        ParkedClaim(outcome)
    }

    /// Takes a parked claim back; false where none is parked, for instance because it is being carried out.
    pub(super) fn withdraw(&self, connector: &ConnectorUid) -> bool {
        self.claims.lock().remove(connector).is_some()
    }

    /// Adds to a batch the claims of the connectors whose updates it accepts, and says whose they are.
    pub(super) fn join_batch(&self, batch: &mut Vec<StoreRequest>) -> Vec<ConnectorUid> {
        let mut joined = Vec::new();
        let mut claims = self.claims.lock();
        if claims.is_empty() {
            return joined;
        }
        for index in 0..batch.len() {
            let StoreRequest::Accept(accept) = &batch[index] else {
                continue;
            };
            if let Some((connector, claim)) = claims.remove_entry(&accept.request.connector) {
                joined.push(connector);
                batch.push(StoreRequest::Claim(claim));
            }
        }
        joined
    }
}

impl ParkedClaim {
    /// What it brought, once it was carried out; `None` where it was withdrawn, or the store is closed.
    pub async fn outcome(self) -> Option<Result<ClaimOutcome, StoreError>> {
        self.0.await.ok()
    }
}
