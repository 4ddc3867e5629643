//! Sign-ins with the organization's account, beside the lanes: a provider that is slow or away delays no message of anybody else.
//!
//! One task looks for what is due and has it claimed, in bounded numbers for each connector; each claimed sign-in or membership is a task of its own
//! for the time of one call to the provider.

mod provider_call;
mod recheck;
mod step;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::identity::ConnectorUid;
use crate::pipeline::decide::sign_in::policy;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::registry::ResolvedConnector;
use crate::store::StoreError;

/// How often the store is looked at for what is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Calls to a connector's provider at once, in this process, for people who sign in, and for members.
const SIGN_INS_AT_ONCE: usize = 8;
const RECHECKS_AT_ONCE: usize = 8;

/// Why a provider is asked: for somebody who signs in, or for a member whose time to be checked again has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum DueKind {
    SignIn,
    Recheck,
}

impl DueKind {
    fn at_once(self) -> usize {
        match self {
            Self::SignIn => SIGN_INS_AT_ONCE,
            Self::Recheck => RECHECKS_AT_ONCE,
        }
    }
}

/// For whom something was done, what, and after how long it is to be gone on with.
type Ended = ((ConnectorUid, DueKind), Option<Duration>);

/// The loop, and what it has begun.
struct SignIns {
    pipeline: Arc<PipelineState>,
    running: HashMap<(ConnectorUid, DueKind), usize>,
    tasks: JoinSet<Ended>,
    /// When something is due of which it is known here.
    due: Option<Instant>,
    /// The version of the registry for which memberships were looked through.
    checked_version: Option<u64>,
    /// Whether any connector has a provider.
    is_used: bool,
}

/// Runs for ever. Its tasks end with it: what they had claimed is taken up again once the claim has run out.
pub(crate) async fn run(pipeline: Arc<PipelineState>) {
    let mut sign_ins = SignIns {
        pipeline: pipeline.clone(),
        running: HashMap::new(),
        tasks: JoinSet::new(),
        due: None,
        checked_version: None,
        is_used: false,
    };
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut registry = pipeline.registry.subscribe();
    loop {
        let due = sign_ins.due;
        tokio::select! {
            _ = look.tick() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = pipeline.sign_in_begun.notified() => {}
            Ok(()) = registry.changed() => tokio::time::sleep(REGISTRY_SETTLES).await,
            Some(ended) = sign_ins.tasks.join_next() => {
                sign_ins.on_ended(ended);
                while let Some(ended) = sign_ins.tasks.try_join_next() {
                    sign_ins.on_ended(ended);
                }
            }
        }
        if let Err(error) = sign_ins.look().await {
            tracing::warn!(%error, "sign-ins and rechecks are put off");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Changes of the registry come in numbers, and are looked at once.
const REGISTRY_SETTLES: Duration = Duration::from_millis(500);

impl SignIns {
    fn on_ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok((key, next)) => {
                let next = next.map(|next| Instant::now() + next);
                self.due = self.due.into_iter().chain(next).min();
                if let Some(running) = self.running.get_mut(&key) {
                    *running -= 1;
                }
                self.running.retain(|_, running| *running > 0);
            }
            // A panic has been reported; nobody knows whose place is free.
            Err(_) => {
                if self.tasks.is_empty() {
                    self.running.clear();
                }
            }
        }
    }

    /// Takes up what is due, as far as there is room.
    async fn look(&mut self) -> Result<(), StoreError> {
        self.end_orphans().await?;
        self.due = self.due.filter(|due| *due > Instant::now());
        let (pipeline, now) = (self.pipeline.clone(), self.pipeline.clock.now());
        // Without a provider anywhere nothing is due but what a connector left whose provider was taken out, which `end_orphans` has seen to.
        if !self.is_used {
            return Ok(());
        }
        let work = pipeline.store.sign_in_work(now).await?;
        let sign_ins = work.sign_ins.into_iter().map(|uid| (uid, DueKind::SignIn));
        let rechecks = work
            .memberships
            .into_iter()
            .map(|uid| (uid, DueKind::Recheck));
        for (uid, kind) in sign_ins.chain(rechecks) {
            // Of a connector that is suspended or cannot be resolved it waits.
            let Some(connector) = pipeline.registry.get(&uid) else {
                continue;
            };
            self.claim(&connector, kind).await?;
        }
        Ok(())
    }

    async fn claim(
        &mut self,
        connector: &Arc<ResolvedConnector>,
        kind: DueKind,
    ) -> Result<(), StoreError> {
        let key = (connector.connector_ref.uid.clone(), kind);
        let running = self.running.get(&key).copied().unwrap_or(0);
        let room = kind.at_once().saturating_sub(running);
        let Some(room) = u32::try_from(room).ok().filter(|room| *room > 0) else {
            return Ok(());
        };
        let pipeline = &self.pipeline;
        let before = self.tasks.len();
        match kind {
            DueKind::SignIn => {
                for claimed in pipeline.store.claim_sign_ins(&key.0, room).await? {
                    let step = step::take(pipeline.clone(), connector.clone(), claimed);
                    self.tasks.spawn(ended(key.clone(), step));
                }
            }
            DueKind::Recheck => {
                for claimed in pipeline.store.claim_memberships(&key.0, room).await? {
                    let recheck = recheck::take(pipeline.clone(), connector.clone(), claimed);
                    self.tasks.spawn(ended(key.clone(), recheck));
                }
            }
        }
        let begun = self.tasks.len() - before;
        if begun > 0 {
            *self.running.entry(key).or_default() += begun;
        }
        Ok(())
    }

    /// Ends what connectors left that have another provider now, or none: once at the start, and whenever a connector has changed.
    async fn end_orphans(&mut self) -> Result<(), StoreError> {
        let version = *self.pipeline.registry.subscribe().borrow();
        if self.checked_version == Some(version) {
            return Ok(());
        }
        let store = &self.pipeline.store;
        let connectors = self.pipeline.registry.all();
        let is_used = connectors.iter().any(|c| policy(c).is_some());
        let was_used = std::mem::replace(&mut self.is_used, is_used);
        if !is_used && !was_used && self.checked_version.is_some() {
            self.checked_version = Some(version);
            return Ok(());
        }
        let mut left: HashSet<ConnectorUid> = HashSet::new();
        for (uid, issuer) in store.membership_issuers().await? {
            let Some(connector) = self.pipeline.registry.get(&uid) else {
                continue;
            };
            let provider = policy(&connector).map(|policy| policy.provider.issuer());
            if provider != Some(issuer.as_str()) && left.insert(uid.clone()) {
                let mut ended = 0;
                while let more @ 1.. = store.end_memberships(&uid, provider).await? {
                    ended += more;
                }
                tracing::info!(connector = %connector.connector_ref, ended, "memberships ended: the connector's identity provider is another one now, or none");
            }
        }
        // Messages that wait for a sign-in that cannot come any more.
        for uid in store.sign_in_work(Timestamp::MAX).await?.sign_ins {
            let connector = self.pipeline.registry.get(&uid);
            if let Some(connector) = connector.filter(|c| policy(c).is_none()) {
                step::release_all(&self.pipeline, &connector).await?;
            }
        }
        self.checked_version = Some(version);
        Ok(())
    }
}

async fn ended(
    key: (ConnectorUid, DueKind),
    work: impl Future<Output = Option<Duration>>,
) -> Ended {
    let next = work.await;
    (key, next)
}
