//! What is done about sign-ins within a transaction: the same on both databases, which say by [`Statements`] how a statement is run.

use std::time::Duration;

use super::rows::{Row, Statements, first};
use super::statements as sql;
use super::steps::{end_membership, take_step};
use super::{
    ClaimedMembership, ClaimedSignIn, HeldForSignIn, HoldOutcome, MAX_HELD, MAX_HELD_BYTES,
    MAX_OPEN, MAX_PER_HOUR, MembershipStep, START_PATIENCE, SignInAnswer, SignInClaim,
    SignInRequest, SignInStep, StepOutcome,
};
use crate::identity::BotId;
use crate::store::MAX_LANE_WAIT;

/// What was done, and how many messages are in the inbox more.
pub(in crate::store) struct Applied<T> {
    pub(in crate::store) outcome: T,
    /// The connector's number, and how many.
    pub(in crate::store) put_back: Option<(i64, u64)>,
}

impl<T> Applied<T> {
    pub(super) fn new(outcome: T) -> Self {
        Self {
            outcome,
            put_back: None,
        }
    }
}

/// What is claimed is left to whoever claimed it for so many leases of lanes: a call to a provider is longer than most that is done in a lane.
const LEASES: u32 = 4;

/// Does what is asked, at the time `now`. `lease` is that of claimed lanes.
pub(in crate::store) async fn apply<D: Statements>(
    db: &mut D,
    request: &SignInRequest,
    lease: Duration,
    now: i64,
) -> Result<Applied<SignInAnswer>, D::Error> {
    Ok(match request {
        SignInRequest::ClaimSignIns(connector, most) => {
            let claimed = claim_sign_ins(db, connector.as_str(), *most, (lease, now)).await?;
            Applied::new(SignInAnswer::SignIns(claimed))
        }
        SignInRequest::Step(claim, step) => {
            let applied = take_step(db, *claim, step, now).await?;
            Applied {
                outcome: SignInAnswer::Step(applied.outcome),
                put_back: applied.put_back,
            }
        }
        SignInRequest::ClaimMemberships(connector, most) => {
            let claimed = claim_memberships(db, connector.as_str(), *most, (lease, now)).await?;
            Applied::new(SignInAnswer::Memberships(claimed))
        }
        SignInRequest::MembershipStep(membership, step) => {
            let outcome = take_membership_step(db, membership, step, now).await?;
            Applied::new(SignInAnswer::Step(outcome))
        }
        SignInRequest::EndMemberships(connector, but) => {
            let others = [connector.as_str().into(), but.as_deref().into()];
            let others = db.rows(sql::FIND_OTHER_MEMBERS, &others).await?;
            for row in &others {
                end_membership(db, row.number(0), row.number(1)).await?;
            }
            Applied::new(SignInAnswer::Ended(others.len() as u64))
        }
        SignInRequest::Release(connector) => {
            let of = [connector.as_str().into()];
            let open = db.rows(sql::FIND_OPEN_OF, &of).await?;
            let mut put_back: Option<(i64, u64)> = None;
            for row in &open {
                let claim = SignInClaim {
                    id: row.number(0),
                    claims: row.number(1),
                };
                let released = take_step(db, claim, &SignInStep::Released, now).await?;
                if let Some((connector, messages)) = released.put_back {
                    put_back.get_or_insert((connector, 0)).1 += messages;
                }
            }
            Applied {
                outcome: SignInAnswer::Ended(open.len() as u64),
                put_back,
            }
        }
    })
}

/// Takes a message out of the inbox to wait for its sender's sign-in, which begins if none is open. Also says how many messages left the inbox.
pub(in crate::store) async fn hold<D: Statements>(
    db: &mut D,
    (connector, lane): (i64, i64),
    held: &HeldForSignIn,
    now: i64,
) -> Result<(HoldOutcome, u64), D::Error> {
    let HeldForSignIn { message, user, .. } = *held;
    let room = [
        message.into(),
        connector.into(),
        user.into(),
        MAX_HELD.into(),
        MAX_HELD_BYTES.into(),
    ];
    if let Some(open) = first(db, sql::COUNT_HELD, &room).await? {
        move_to(db, open.number(0), message).await?;
        return Ok((HoldOutcome::Held, 1));
    }
    if first(db, sql::FIND_MESSAGE, &[message.into()])
        .await?
        .is_none()
    {
        // This change was made before, and its outcome was lost; or its sender was erased.
        return Ok((HoldOutcome::Held, 0));
    }
    let person = [connector.into(), user.into()];
    let granted = [connector.into(), user.into(), now.into()];
    if first(db, sql::FIND_GRANT, &granted).await?.is_some() {
        return Ok((HoldOutcome::AlreadyMember, 0));
    }
    if first(db, sql::FIND_OPEN, &person).await?.is_some() {
        return Ok((HoldOutcome::TooMany, 0));
    }
    let hour = [
        connector.into(),
        user.into(),
        (now - HOUR).into(),
        now.into(),
    ];
    let lately = first(db, sql::COUNT_LATELY, &hour).await?;
    let open = first(db, sql::COUNT_OPEN, &[connector.into()]).await?;
    let count = |row: Option<Row>| row.map_or(0, |row| row.number(0));
    if count(lately) >= MAX_PER_HOUR || count(open) >= MAX_OPEN {
        return Ok((HoldOutcome::TooMany, 0));
    }
    let new = [
        connector.into(),
        lane.into(),
        user.into(),
        (&held.name).into(),
        held.username.as_deref().into(),
        held.language.as_deref().into(),
        now.into(),
        (now + milliseconds(START_PATIENCE)).into(),
        message.into(),
    ];
    let Some(begun) = first(db, sql::BEGIN, &new).await? else {
        // Another process was faster: what it began is found when this message is looked at again.
        return Ok((HoldOutcome::AlreadyMember, 0));
    };
    move_to(db, begun.number(0), message).await?;
    Ok((HoldOutcome::Begun, 1))
}

/// Ends a person's membership and cancels their open sign-in.
pub(in crate::store) async fn sign_out<D: Statements>(
    db: &mut D,
    connector: i64,
    user: i64,
    now: i64,
) -> Result<(), D::Error> {
    end_membership(db, connector, user).await?;
    let person = [now.into(), connector.into(), user.into()];
    db.execute(sql::CANCEL, &person).await.map(drop)
}

async fn move_to<D: Statements>(db: &mut D, sign_in: i64, message: i64) -> Result<(), D::Error> {
    for statement in sql::HOLD {
        let values = [sign_in.into(), message.into()];
        db.execute(statement, &values).await?;
    }
    Ok(())
}

async fn claim_sign_ins<D: Statements>(
    db: &mut D,
    connector: &str,
    most: u32,
    (lease, now): (Duration, i64),
) -> Result<Vec<ClaimedSignIn>, D::Error> {
    let values = [
        (now + milliseconds(lease * LEASES)).into(),
        connector.into(),
        now.into(),
        latest(now).into(),
        i64::from(most).into(),
    ];
    let rows = db.rows(sql::CLAIM_SIGN_INS, &values).await?;
    Ok(rows
        .into_iter()
        .map(|row| ClaimedSignIn {
            claim: SignInClaim {
                id: row.number(0),
                claims: row.number(1),
            },
            connector: row.number(2),
            bot: BotId(row.number(3)),
            user: row.number(4),
            name: row.text(5).unwrap_or_default(),
            username: row.text(6),
            language: row.text(7),
            device: row.bytes(8),
            poll_every: Duration::from_millis(row.number(9).unsigned_abs()),
            failures: row.count(10),
            expires_at: row.time(11),
            is_cancelled: row.number(12) != 0,
        })
        .collect())
}

async fn claim_memberships<D: Statements>(
    db: &mut D,
    connector: &str,
    most: u32,
    (lease, now): (Duration, i64),
) -> Result<Vec<ClaimedMembership>, D::Error> {
    let values = [
        (now + milliseconds(lease * LEASES)).into(),
        now.into(),
        connector.into(),
        i64::from(most).into(),
    ];
    let rows = db.rows(sql::CLAIM_MEMBERSHIPS, &values).await?;
    Ok(rows
        .into_iter()
        .map(|row| ClaimedMembership {
            connector: row.number(0),
            user: row.number(1),
            claims: row.number(2),
            issuer: row.text(3).unwrap_or_default(),
            subject: row.text(4).unwrap_or_default(),
            refresh_token: row.bytes(5),
            valid_until: row.time(6),
            failures: row.count(7),
        })
        .collect())
}

async fn take_membership_step<D: Statements>(
    db: &mut D,
    membership: &ClaimedMembership,
    step: &MembershipStep,
    now: i64,
) -> Result<StepOutcome, D::Error> {
    let ClaimedMembership {
        connector,
        user,
        claims,
        ..
    } = *membership;
    let row = [connector.into(), user.into(), claims.into()];
    let changed = match step {
        MembershipStep::Keep {
            refresh_token,
            recheck_at,
            valid_until,
        } => {
            let values = [
                refresh_token.as_deref().into(),
                (*recheck_at).into(),
                (*valid_until).into(),
                now.into(),
                row[0],
                row[1],
                row[2],
            ];
            db.execute(sql::KEEP_MEMBERSHIP, &values).await?
        }
        MembershipStep::Wait {
            recheck_at,
            failures,
        } => {
            let failures = i64::from(*failures).into();
            let values = [(*recheck_at).into(), failures, row[0], row[1], row[2]];
            db.execute(sql::WAIT_MEMBERSHIP, &values).await?
        }
        MembershipStep::End => {
            let ended = db.execute(sql::END_MEMBERSHIP, &row).await?;
            if ended > 0 {
                end_membership(db, connector, user).await?;
            }
            ended
        }
    };
    Ok(if changed > 0 {
        StepOutcome::Done
    } else {
        StepOutcome::Lost
    })
}

const HOUR: i64 = 3_600_000;

pub(in crate::store) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// No sign-in is put off further than this.
pub(in crate::store) fn latest(now: i64) -> i64 {
    now.saturating_add(milliseconds(MAX_LANE_WAIT))
}
