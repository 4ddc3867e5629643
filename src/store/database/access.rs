//! Grants, requests for access and sign-ins in a database: who is let in beside lists.

use async_trait::async_trait;
use jiff::Timestamp;

use super::DatabaseStore;
use crate::identity::ConnectorUid;
use crate::store::access::{
    AccessRequest, AccessStore, AccessVerdict, DecideOutcome, ExpiredRequest, Grant, NewGrant,
};
use crate::store::access_statements::DecideRequest;
use crate::store::reading::{self, Readers};
use crate::store::requests::StoreRequest;
use crate::store::sign_ins::{SignInAnswer, SignInRequest};
use crate::store::{
    ClaimedMembership, ClaimedSignIn, HeldMessage, MembershipStep, SignInClaim, SignInStep,
    SignInStore, SignInWork, StepOutcome, StoreError,
};

#[async_trait]
impl<R: Readers> AccessStore for DatabaseStore<R> {
    async fn grants_of(&self, connector: i64, user: i64) -> Result<Vec<Grant>, StoreError> {
        let now = self.clock.now().as_millisecond();
        reading::access::grants_of(&self.readers, connector, user, now)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn grant(&self, new: NewGrant) -> Result<Grant, StoreError> {
        let id = self.writer.call(new, StoreRequest::Grant).await?;
        let given = reading::access::grant(&self.readers, id)
            .await
            .map_err(|e| (self.explain)(&e))?;
        given.ok_or_else(|| StoreError::Unavailable("the grant has just been deleted".into()))
    }

    async fn access_request(
        &self,
        connector: i64,
        id: i64,
    ) -> Result<Option<AccessRequest>, StoreError> {
        reading::access::request(&self.readers, connector, id)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn access_request_by_token(
        &self,
        connector: i64,
        token: &str,
    ) -> Result<Option<AccessRequest>, StoreError> {
        reading::access::request_by_token(&self.readers, connector, token)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn open_access_request(
        &self,
        connector: i64,
        user: i64,
    ) -> Result<Option<AccessRequest>, StoreError> {
        let now = self.clock.now().as_millisecond();
        reading::access::open_request(&self.readers, connector, user, now)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn decide_access_request(
        &self,
        namespace: &str,
        id: i64,
        verdict: AccessVerdict,
        by: &str,
    ) -> Result<DecideOutcome, StoreError> {
        let decide = DecideRequest {
            namespace: namespace.to_owned(),
            id,
            verdict,
            by: by.to_owned(),
        };
        let call = self.writer.call(decide, StoreRequest::DecideAccessRequest);
        let written = call.await?;
        let request = reading::access::request_of_namespace(&self.readers, namespace, id)
            .await
            .map_err(|e| (self.explain)(&e))?;
        Ok(match request {
            Some(request) if written.is_decided => DecideOutcome::Decided(request.into()),
            Some(request) => DecideOutcome::AlreadyDecided(request.into()),
            None => DecideOutcome::NotFound,
        })
    }

    async fn expire_access_requests(&self) -> Result<Vec<ExpiredRequest>, StoreError> {
        let now = self.clock.now().as_millisecond();
        let has_expired = reading::access::has_expired(&self.readers, now)
            .await
            .map_err(|e| (self.explain)(&e))?;
        if !has_expired {
            return Ok(Vec::new());
        }
        let call = self.writer.call((), StoreRequest::ExpireAccessRequests);
        call.await
    }
}

#[async_trait]
impl<R: Readers> SignInStore for DatabaseStore<R> {
    async fn sign_in_work(&self, now: Timestamp) -> Result<SignInWork, StoreError> {
        reading::sign_ins::work(&self.readers, now.as_millisecond())
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn claim_sign_ins(
        &self,
        connector: &ConnectorUid,
        most: u32,
    ) -> Result<Vec<ClaimedSignIn>, StoreError> {
        let request = SignInRequest::ClaimSignIns(connector.clone(), most);
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::SignIns(claimed) => Ok(claimed),
            _ => Ok(Vec::new()),
        }
    }

    async fn held_messages(&self, sign_in: i64) -> Result<Vec<HeldMessage>, StoreError> {
        reading::sign_ins::held_messages(&self.readers, sign_in)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn step_sign_in(
        &self,
        claim: SignInClaim,
        step: SignInStep,
    ) -> Result<StepOutcome, StoreError> {
        self.step(SignInRequest::Step(claim, step)).await
    }

    async fn release_sign_ins(&self, connector: &ConnectorUid) -> Result<u64, StoreError> {
        let request = SignInRequest::Release(connector.clone());
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::Ended(sign_ins) => Ok(sign_ins),
            _ => Ok(0),
        }
    }

    async fn member_with(
        &self,
        connector: i64,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<(i64, Option<String>)>, StoreError> {
        reading::sign_ins::member_with(&self.readers, connector, issuer, subject)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn membership_issuers(&self) -> Result<Vec<(ConnectorUid, String)>, StoreError> {
        reading::sign_ins::membership_issuers(&self.readers)
            .await
            .map_err(|e| (self.explain)(&e))
    }

    async fn claim_memberships(
        &self,
        connector: &ConnectorUid,
        most: u32,
    ) -> Result<Vec<ClaimedMembership>, StoreError> {
        let request = SignInRequest::ClaimMemberships(connector.clone(), most);
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::Memberships(claimed) => Ok(claimed),
            _ => Ok(Vec::new()),
        }
    }

    async fn step_membership(
        &self,
        membership: ClaimedMembership,
        step: MembershipStep,
    ) -> Result<StepOutcome, StoreError> {
        self.step(SignInRequest::MembershipStep(membership, step))
            .await
    }

    async fn end_memberships(
        &self,
        connector: &ConnectorUid,
        but: Option<&str>,
    ) -> Result<u64, StoreError> {
        let request = SignInRequest::EndMemberships(connector.clone(), but.map(str::to_owned));
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::Ended(members) => Ok(members),
            _ => Ok(0),
        }
    }
}

impl<R: Readers> DatabaseStore<R> {
    async fn step(&self, request: SignInRequest) -> Result<StepOutcome, StoreError> {
        match self.writer.call(request, StoreRequest::SignIn).await? {
            SignInAnswer::Step(outcome) => Ok(outcome),
            _ => Ok(StepOutcome::Lost),
        }
    }
}
