//! The steps of a sign-in, each within a transaction.

use super::rows::{Statements, first};
use super::statements as sql;
use super::transaction::{Applied, milliseconds};
use super::{MAX_RESTARTS, NewMembership, START_PATIENCE, SignInClaim, SignInStep, StepOutcome};
use crate::store::statements::{
    DENIED_PER_CONNECTOR, DENIED_PER_SENDER, TRIM_DENIED_OF_CONNECTOR, TRIM_DENIED_OF_SENDER,
};
use crate::store::{DeniedMessage, ReplyPart};

/// The row of a sign-in that is being stepped.
struct SignInRow {
    id: i64,
    connector: i64,
    lane: i64,
    user: i64,
    /// Numbers what the person is told.
    reply: i64,
    language: Option<String>,
    name: String,
    username: Option<String>,
    /// How often the person was sent another code.
    restarts: u32,
}

/// The part of a sign-in's reply that says that it ended; links are the parts before it. One number for each, so that what is known of one having been
/// sent is not said of another.
const END_PART: u32 = 100;
/// An invitation is in fewer parts than this.
const LINK_PARTS: u32 = 10;
/// The part that tells somebody that their account signs in elsewhere.
const REPLACED_PART: u32 = 200;

pub(super) async fn take_step<D: Statements>(
    db: &mut D,
    claim: SignInClaim,
    step: &SignInStep,
    now: i64,
) -> Result<Applied<StepOutcome>, D::Error> {
    let held = [claim.id.into(), claim.claims.into()];
    let Some(row) = first(db, sql::HOLD_CLAIM, &held).await? else {
        return Ok(Applied::new(StepOutcome::Lost));
    };
    let sign_in = SignInRow {
        id: claim.id,
        connector: row.number(0),
        lane: row.number(1),
        user: row.number(2),
        reply: row.number(3),
        language: row.text(4),
        name: row.text(5).unwrap_or_default(),
        username: row.text(6),
        restarts: row.count(7),
    };
    let mut put_back = None;
    match step {
        SignInStep::Asked {
            device,
            next_at,
            poll_every,
            expires_at,
            parts,
        } => {
            let values = [
                device.as_slice().into(),
                (*next_at).into(),
                milliseconds(*poll_every).into(),
                (*expires_at).into(),
                claim.id.into(),
            ];
            db.execute(sql::SET_ASKED, &values).await?;
            let place = (sign_in.lane, sign_in.reply, sign_in.restarts * LINK_PARTS);
            tell(db, place, sign_in.user, parts, now).await?;
        }
        SignInStep::BeginAnew => {
            let values = [
                now.into(),
                (now + milliseconds(START_PATIENCE)).into(),
                claim.id.into(),
                MAX_RESTARTS.into(),
            ];
            if db.execute(sql::SET_BEGUN, &values).await? == 0 {
                return Ok(Applied::new(StepOutcome::Changed));
            }
        }
        SignInStep::Wait {
            next_at,
            poll_every,
            failures,
        } => {
            let values = [
                (*next_at).into(),
                milliseconds(*poll_every).into(),
                i64::from(*failures).into(),
                claim.id.into(),
            ];
            db.execute(sql::SET_WAITING, &values).await?;
        }
        SignInStep::SignedIn(member) => {
            if !add_member(db, &sign_in, member, now).await? {
                return Ok(Applied::new(StepOutcome::Changed));
            }
            put_back = Some(put_messages_back(db, &sign_in, now).await?);
        }
        SignInStep::Released => {
            put_back = Some(put_messages_back(db, &sign_in, now).await?);
        }
        SignInStep::Ended {
            denied,
            parts,
            last_message,
        } => {
            let newer = [claim.id.into(), (*last_message).into()];
            if first(db, sql::FIND_NEWER, &newer).await?.is_some() {
                return Ok(Applied::new(StepOutcome::Changed));
            }
            for message in denied {
                deny(db, sign_in.connector, message, now).await?;
            }
            let place = (sign_in.lane, sign_in.reply, END_PART);
            tell(db, place, sign_in.user, parts, now).await?;
            db.execute(sql::DROP_MESSAGES, &[claim.id.into()]).await?;
            db.execute(sql::END, &[claim.id.into()]).await?;
        }
    }
    Ok(Applied {
        outcome: StepOutcome::Done,
        put_back: put_back.map(|messages| (sign_in.connector, messages)),
    })
}

/// Lets a person in. False, and nothing is done, if somebody else is signed in with the account than is to be told.
async fn add_member<D: Statements>(
    db: &mut D,
    sign_in: &SignInRow,
    member: &NewMembership,
    now: i64,
) -> Result<bool, D::Error> {
    let SignInRow {
        connector, user, ..
    } = *sign_in;
    let account = [
        connector.into(),
        (&member.issuer).into(),
        (&member.subject).into(),
    ];
    let other = first(db, sql::FIND_SUBJECT, &account).await?;
    let other = other.map(|row| row.number(0)).filter(|id| *id != user);
    if other != member.replaced.as_ref().map(|(user, _)| *user) {
        return Ok(false);
    }
    if let Some((other, parts)) = &member.replaced {
        end_membership(db, connector, *other).await?;
        let chat = [(*other).into(), now.into(), sign_in.lane.into()];
        if let Some(lane) = first(db, sql::PRIVATE_LANE, &chat).await? {
            let place = (lane.number(0), sign_in.reply, REPLACED_PART);
            tell(db, place, *other, parts, now).await?;
        }
    }
    end_membership(db, connector, user).await?;
    let by = format!("{}#{}", member.issuer, member.subject);
    let grant = [
        user.into(),
        (&sign_in.name).into(),
        sign_in.username.as_deref().into(),
        (&by).into(),
        now.into(),
        connector.into(),
    ];
    db.execute(sql::ADD_GRANT, &grant).await?;
    let values = [
        connector.into(),
        user.into(),
        (&member.issuer).into(),
        (&member.subject).into(),
        sign_in.language.as_deref().into(),
        member.refresh_token.as_deref().into(),
        now.into(),
        member.recheck_at.into(),
        member.valid_until.into(),
    ];
    db.execute(sql::ADD_MEMBERSHIP, &values).await?;
    Ok(true)
}

pub(super) async fn end_membership<D: Statements>(
    db: &mut D,
    connector: i64,
    user: i64,
) -> Result<(), D::Error> {
    let person = [connector.into(), user.into()];
    db.execute(sql::END_GRANT, &person).await?;
    db.execute(sql::DROP_MEMBERSHIP, &person).await.map(drop)
}

/// Returns how many messages there are.
async fn put_messages_back<D: Statements>(
    db: &mut D,
    sign_in: &SignInRow,
    now: i64,
) -> Result<u64, D::Error> {
    let id = [sign_in.id.into()];
    let messages = db.execute(sql::PUT_BACK, &id).await?;
    let lanes = [now.into(), sign_in.id.into()];
    db.execute(sql::WAKE_LANES, &lanes).await?;
    db.execute(sql::DROP_MESSAGES, &id).await?;
    db.execute(sql::END, &id).await?;
    Ok(messages)
}

async fn tell<D: Statements>(
    db: &mut D,
    (lane, reply, base): (i64, i64, u32),
    user: i64,
    parts: &[ReplyPart],
    now: i64,
) -> Result<(), D::Error> {
    for (number, part) in ReplyPart::numbered(parts) {
        let part = serde_json::to_string(part).expect("strings always serialize");
        let values = [
            reply.into(),
            i64::from(base + number).into(),
            (&part).into(),
            now.into(),
            user.into(),
            lane.into(),
        ];
        db.execute(sql::STORE_PART, &values).await?;
    }
    if !parts.is_empty() {
        db.execute(sql::WAKE_LANE, &[now.into(), lane.into()])
            .await?;
    }
    Ok(())
}

async fn deny<D: Statements>(
    db: &mut D,
    connector: i64,
    message: &DeniedMessage,
    now: i64,
) -> Result<(), D::Error> {
    let json = serde_json::to_string(message).expect("strings always serialize");
    // PostgreSQL's text holds no NUL.
    let json = json.replace("\\u0000", "");
    let sender = message.user_id.unwrap_or(0);
    let values = [
        connector.into(),
        sender.into(),
        message.time.into(),
        (&json).into(),
        (&message.namespace).into(),
        (&message.name).into(),
        now.into(),
        message.chat.into(),
    ];
    db.execute(D::DENY, &values).await?;
    let sender = [connector.into(), sender.into(), DENIED_PER_SENDER.into()];
    db.execute(TRIM_DENIED_OF_SENDER, &sender).await?;
    let all = [connector.into(), DENIED_PER_CONNECTOR.into()];
    db.execute(TRIM_DENIED_OF_CONNECTOR, &all).await.map(drop)
}
