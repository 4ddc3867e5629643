//! Measures what members who signed in cost: the look that a replica takes every two seconds, and a recheck as it is claimed and written.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use telegram_connector_operator::identity::{BotId, ConnectorRef};
use telegram_connector_operator::store::{
    self, Change, ClaimRequest, HeldForSignIn, HoldOutcome, LaneWrite, MembershipStep,
    NewMembership, Release, SignInStep, SignInWork, StepOutcome, Store,
};
use telegram_connector_operator::telegram::RawUpdate;

use super::Failure;

/// Members whose recheck is far away.
const MEMBERS: i64 = 9_000;
/// Members who are rechecked.
const DUE: i64 = 1_000;
/// No more sign-ins are open than a connector may have.
const BATCH: i64 = 100;
const LOOKS: u32 = 200;
const DAY: Duration = Duration::from_hours(24);

pub(super) async fn run() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    let store = store::open(&address).await?;
    let connector = ConnectorRef {
        namespace: "acme".into(),
        name: "support".into(),
        uid: "a".into(),
    };
    store.register(&connector).await?;
    let now = Timestamp::now();
    for first in (0..MEMBERS).step_by(usize::try_from(BATCH)?) {
        sign_in(&*store, &connector, first, now + DAY).await?;
    }
    let began = Instant::now();
    for _ in 0..LOOKS {
        let work = store.sign_in_work(Timestamp::now()).await?;
        if work != SignInWork::default() {
            return Err(format!("there is work: {work:?}").into());
        }
    }
    println!(
        "members: {:?} for a look at {MEMBERS}",
        began.elapsed() / LOOKS
    );
    for first in (MEMBERS..MEMBERS + DUE).step_by(usize::try_from(BATCH)?) {
        sign_in(&*store, &connector, first, now - Duration::from_secs(1)).await?;
    }
    let (began, mut rechecked) = (Instant::now(), 0);
    loop {
        let claimed = store.claim_memberships(&connector.uid, 8).await?;
        if claimed.is_empty() {
            break;
        }
        for membership in claimed {
            let step = MembershipStep::Keep {
                refresh_token: Some(vec![8; 200]),
                recheck_at: now + DAY,
                valid_until: now + DAY,
            };
            if store.step_membership(membership, step).await? != StepOutcome::Done {
                return Err("a recheck was not written".into());
            }
            rechecked += 1;
        }
    }
    if i64::from(rechecked) != DUE {
        return Err(format!("{rechecked} of {DUE} were rechecked").into());
    }
    let each = began.elapsed() / rechecked;
    println!("members: {each:?} for a recheck, one after the other, without the provider's part");
    Ok(())
}

/// People write, and sign in; they are due at `recheck_at`.
async fn sign_in(
    store: &dyn Store,
    connector: &ConnectorRef,
    first: i64,
    recheck_at: Timestamp,
) -> Result<(), Failure> {
    for user in first + 1..=first + BATCH {
        write(store, connector, user).await?;
    }
    for sign_in in store.claim_sign_ins(&connector.uid, 100).await? {
        let member = NewMembership {
            issuer: "https://id.example".into(),
            subject: sign_in.user.to_string(),
            refresh_token: Some(vec![7; 200]),
            recheck_at,
            valid_until: recheck_at + DAY,
            replaced: None,
        };
        let step = SignInStep::SignedIn(member.into());
        if store.step_sign_in(sign_in.claim, step).await? != StepOutcome::Done {
            return Err("somebody was not signed in".into());
        }
    }
    Ok(())
}

/// Somebody writes, and what they wrote waits for their sign-in.
async fn write(store: &dyn Store, connector: &ConnectorRef, user: i64) -> Result<(), Failure> {
    let json = format!(
        r#"{{"update_id":{user},"message":{{"message_id":1,"from":{{"id":{user},"is_bot":false,"first_name":"Eve"}},"chat":{{"id":{user},"first_name":"Eve","type":"private"}},"date":1790000000,"text":"hi"}}}}"#
    );
    let update = RawUpdate::from_body(json.as_bytes())?;
    store.accept(&connector.uid, BotId(1), vec![update]).await?;
    let claim_request = ClaimRequest {
        connector: connector.clone(),
        bot: BotId(1),
        lanes: 1,
        history: 0,
    };
    let mut claimed = store.claim(vec![claim_request]).await?;
    let lane = claimed.lanes.pop().ok_or("nothing was claimed")?;
    let message = lane.messages[0].id;
    let held = HeldForSignIn {
        message,
        user,
        name: "Eve".into(),
        username: None,
        language: None,
    };
    let hold = LaneWrite {
        claim: lane.claim,
        changes: vec![
            Change::HoldForSignIn(held.into()),
            Change::Finish { message },
        ],
        release: Some(Release::Now),
    };
    match store.write(hold.into()).await?.held {
        Some(HoldOutcome::Begun) => Ok(()),
        other => Err(format!("no sign-in began: {other:?}").into()),
    }
}
