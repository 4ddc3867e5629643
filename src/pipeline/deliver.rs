//! Delivers what is in the outbox: part after part, each recorded before the next is sent.

use std::time::{Duration, Instant as StdInstant};

use tokio::time::Instant;

use super::lane::{Lane, Wait, Worked};
use super::retry::AfterSend;
use crate::observation::IdentityFact;
use crate::registry::ResolvedConnector;
use crate::store::{Change, WaitingPart};
use crate::telegram::{MessageText, NewMessage, TelegramError};
use crate::telemetry::metrics::UpdateOutcome;

/// How far the delivery came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// To the end: each part was delivered or given up.
    Ended {
        /// Telegram accepted every part.
        whole: bool,
    },
    /// The rest has to wait.
    Wait(Wait),
}

/// Delivers parts in order. The last part's record is noted in the lane for its next write.
pub(super) async fn deliver(
    lane: &mut Lane,
    connector: &ResolvedConnector,
    parts: Vec<WaitingPart>,
) -> Worked<Delivery> {
    let mut whole = true;
    let mut given_up = None;
    let mut chat = lane.key.chat;
    for part in parts {
        if given_up == Some(part.reply) {
            continue;
        }
        lane.write().await?;
        match send(lane, connector, &part, &mut chat).await {
            Sent::Accepted => lane.change(Change::Sent {
                reply: part.reply,
                number: part.number,
            }),
            Sent::Ended { bury } => {
                if let Some(reason) = &bury {
                    whole = false;
                    dead_letter(lane, connector, reason);
                }
                given_up = Some(part.reply);
                lane.change(Change::EndReply {
                    reply: part.reply,
                    bury,
                });
            }
            Sent::Wait { wait, attempted } => {
                if let Some(ambiguous) = attempted {
                    lane.change(Change::SendAttempted {
                        reply: part.reply,
                        number: part.number,
                        ambiguous,
                    });
                }
                return Ok(Delivery::Wait(wait));
            }
        }
    }
    Ok(Delivery::Ended { whole })
}

enum Sent {
    Accepted,
    Ended {
        bury: Option<String>,
    },
    Wait {
        wait: Wait,
        /// `Some`: it counts as an attempt; whether an ambiguous one.
        attempted: Option<bool>,
    },
}

async fn send(
    lane: &Lane,
    connector: &ResolvedConnector,
    part: &WaitingPart,
    chat: &mut i64,
) -> Sent {
    let work = &lane.work;
    let bot = lane.key.bot;
    let mut html = part.part.html.as_deref();
    let mut followed = 0;
    loop {
        if let Some(wait) = work.throttle.wait(bot, *chat, Instant::now()) {
            return Sent::Wait {
                wait: Wait::For(wait),
                attempted: None,
            };
        }
        work.throttle.sent(bot, *chat, Instant::now());
        let began = StdInstant::now();
        let result = connector
            .bot
            .send_message(&NewMessage {
                chat_id: *chat,
                thread_id: (lane.key.topic != 0).then_some(lane.key.topic),
                text: html.map_or(MessageText::Plain(&part.part.plain), MessageText::Html),
                reply_to: part.part.reply_to,
                link_preview: false,
            })
            .await;
        let label = result.as_ref().map_or_else(TelegramError::label, |_| "ok");
        work.metrics
            .record_telegram_call("sendMessage", label, began.elapsed());
        let Err(error) = result else {
            return Sent::Accepted;
        };
        let next = work.limits.retry.after_telegram(
            &error,
            part.attempts,
            part.ambiguous,
            html.is_some(),
            rand::random(),
        );
        match next {
            AfterSend::Throttled(wait) => {
                work.metrics.record_throttling("sendMessage", wait);
                work.throttle.throttled(bot, *chat, wait, Instant::now());
                return Sent::Wait {
                    wait: Wait::For(wait),
                    attempted: None,
                };
            }
            AfterSend::Plain => html = None,
            // A chain of migrations would be Telegram's fault; it must not be our endless loop.
            AfterSend::Follow(to) if followed < 3 => {
                followed += 1;
                *chat = to;
            }
            AfterSend::Follow(_) => {
                return Sent::Ended {
                    bury: Some("the group moved again and again".into()),
                };
            }
            AfterSend::EndQuietly => {
                tracing::debug!(%error, "nobody is there to read the reply");
                return Sent::Ended { bury: None };
            }
            AfterSend::Bury(why) => {
                return Sent::Ended {
                    bury: Some(format!("{why}: {error}")),
                };
            }
            AfterSend::Unauthorized(wait) => {
                // Of a token that has been replaced meanwhile, the 401 says nothing.
                let current = work.registry.get(&connector.connector.uid);
                if current.is_some_and(|c| c.bot.is_same(&connector.bot)) {
                    work.observations.identity(
                        &connector.connector.uid,
                        IdentityFact::Refused {
                            detail: error.to_string(),
                        },
                    );
                }
                work.throttle.park(bot, wait, Instant::now());
                return Sent::Wait {
                    wait: Wait::ForConnector(wait),
                    attempted: None,
                };
            }
            AfterSend::Again { after, ambiguous } => {
                let age = work.clock.now().duration_since(part.stored_at);
                if Duration::try_from(age).unwrap_or_default() > work.limits.reply_age {
                    return Sent::Ended {
                        bury: Some(format!("tried for too long: {error}")),
                    };
                }
                tracing::info!(%error, "a reply is sent again later");
                return Sent::Wait {
                    wait: Wait::For(after),
                    attempted: Some(ambiguous),
                };
            }
        }
    }
}

/// Counts a dead letter and tells whoever wants to know.
pub(super) fn dead_letter(lane: &Lane, connector: &ResolvedConnector, reason: &str) {
    lane.work
        .metrics
        .count_updates(UpdateOutcome::DeadLettered, 1);
    tracing::warn!(
        namespace = &*connector.connector.namespace,
        connector = &*connector.connector.name,
        reason,
        "given up: see `dead-letters`"
    );
    if let Some(hook) = &lane.work.on_dead_letter {
        hook(&connector.connector, reason);
    }
}
