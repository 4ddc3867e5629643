//! A message of somebody who is asked to sign in with the organization's account, and `/logout`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{BatchHandler, HandleOutcome};
use crate::pipeline::claim::lane_worker::{LaneResult, LaneWait};
use crate::pipeline::decide::access::{self, AccessDecision};
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::store::{Change, HeldForSignIn, HoldOutcome, Notice, NoticeKind};
use crate::telemetry::outcomes::SignInOutcome;

/// The lane is claimed anew so soon after its sender was let in under this claim.
const LET_IN_PAUSE: Duration = Duration::from_millis(100);
/// Whoever is not signed in is told so that often at most.
const SIGNED_OUT_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

impl BatchHandler<'_> {
    /// The message waits for its sender's sign-in. Where too many wait, it is denied.
    pub(super) async fn hold_for_sign_in(&mut self) -> LaneResult<HandleOutcome> {
        let Some(sender) = self.lead().sender.clone() else {
            return self.deny().await;
        };
        let held = HeldForSignIn {
            message: self.first().id,
            user: sender.id,
            // PostgreSQL's text holds no NUL.
            name: sender.name.replace('\0', ""),
            username: sender.username,
            language: sender.language_code,
        };
        self.lane.add_change(Change::HoldForSignIn(held.into()));
        let written = self.lane.write_changes().await?;
        match written.held {
            Some(HoldOutcome::Begun) => {
                let pipeline = &self.lane.pipeline;
                pipeline.metrics.count_sign_in(SignInOutcome::Begun);
                pipeline.sign_in_begun.notify_one();
                Ok(HandleOutcome::Done)
            }
            Some(HoldOutcome::Held) => Ok(HandleOutcome::Done),
            Some(HoldOutcome::AlreadyMember) => {
                Ok(HandleOutcome::Wait(LaneWait::Delay(LET_IN_PAUSE)))
            }
            Some(HoldOutcome::TooMany) | None => self.deny().await,
        }
    }

    /// Whoever signed in is a member no more.
    pub(super) async fn sign_out(&mut self) -> LaneResult<HandleOutcome> {
        let Some(sender) = self.lead().sender.clone() else {
            return Ok(self.ignore());
        };
        self.lane.add_change(Change::SignOut { user: sender.id });
        // What else was claimed was decided about while they were a member.
        self.lane.must_claim_anew = true;
        let now = self.lane.pipeline.clock.now();
        let access = access::decide(&self.connector.access, Some(&sender), now);
        let is_denied = access == AccessDecision::Denied;
        let since = now.checked_sub(SIGNED_OUT_INTERVAL);
        let notice = is_denied.then(|| Notice {
            kind: NoticeKind::SignedOut,
            since: since.unwrap_or(Timestamp::MIN),
        });
        let parts = self.canned_parts(&CannedReply::SignedOut);
        self.store_and_send_reply(parts, notice).await
    }
}
