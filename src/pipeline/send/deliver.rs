//! Delivers what is in the outbox: part after part, each recorded before the next is sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use crate::observation::IdentityFact;
use crate::pipeline::claim::lane_worker::{LaneResult, LaneWait, LaneWorker};
use crate::pipeline::decide::retry::SendErrorAction;
use crate::pipeline::send::bot_call::{Address, send_form};
use crate::pipeline::send::outgoing::{OutgoingForm, RichRefusal};
use crate::pipeline::state::pipeline_state::UPLOAD_MEMORY_MIB;
use crate::registry::ResolvedConnector;
use crate::store::{self, Change, FilePart, WaitingPart};
use crate::telegram::{Bot, TelegramError};
use crate::telemetry::outcomes::UpdateOutcome;

/// How far the delivery came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryProgress {
    /// To the end: each part was delivered or given up.
    Finished {
        /// Telegram accepted every part.
        all_sent: bool,
    },
    /// The rest has to wait.
    Wait(LaneWait),
}

/// Delivers parts in order. The last part's record is noted in the lane for its next write.
pub(crate) async fn deliver_parts(
    lane: &mut LaneWorker,
    connector: &ResolvedConnector,
    parts: Vec<WaitingPart>,
) -> LaneResult<DeliveryProgress> {
    let mut all_sent = true;
    let mut given_up = None;
    let mut destination = Destination {
        chat: lane.key.chat,
        topic_is_gone: false,
    };
    let mut parts = VecDeque::from(parts);
    while let Some(part) = parts.pop_front() {
        if given_up == Some(part.reply) {
            continue;
        }
        let in_doubt = begin_sending(lane, &part);
        lane.write_changes().await?;
        match send_part(lane, connector, &part, &mut destination).await? {
            SendOutcome::Accepted {
                is_recorded,
                message_id,
                has_buttons,
            } => {
                lane.add_sent_part(&part, message_id, is_recorded);
                if let Some(message_id) = message_id.filter(|_| has_buttons) {
                    let reply = part.reply;
                    lane.add_change(Change::DecisionShown { reply, message_id });
                }
            }
            SendOutcome::RichRefused => {
                end_sending(lane, &part, in_doubt);
                for text in replace_by_texts(lane, &part).into_iter().rev() {
                    parts.push_front(text);
                }
            }
            SendOutcome::GivenUp {
                dead_letter_reason,
                reason,
            } => {
                if store::is_outgoing(part.reply) {
                    let reply = part.reply;
                    lane.add_change(Change::FailOutgoing { reply, reason });
                }
                if let Some(reason) = &dead_letter_reason {
                    all_sent = false;
                    report_dead_letter(lane, connector, reason);
                }
                given_up = Some(part.reply);
                lane.add_change(Change::EndReply {
                    reply: part.reply,
                    dead_letter_reason,
                });
            }
            SendOutcome::Wait {
                wait,
                counts_as_attempt,
            } => {
                if counts_as_attempt != Some(true) {
                    end_sending(lane, &part, in_doubt);
                }
                if let Some(ambiguous) = counts_as_attempt {
                    lane.add_change(Change::SendAttempted {
                        reply: part.reply,
                        number: part.number,
                        ambiguous,
                    });
                }
                return Ok(DeliveryProgress::Wait(wait));
            }
        }
    }
    Ok(DeliveryProgress::Finished { all_sent })
}

/// Of an answer, one part in flight may appear twice after a kill, and nobody asks. Of an outgoing message it is told: it is in doubt until its try has
/// ended. Whether it was so before.
fn begin_sending(lane: &mut LaneWorker, part: &WaitingPart) -> bool {
    if store::is_outgoing(part.reply) {
        let WaitingPart { reply, number, .. } = *part;
        lane.add_change(Change::BeginSending { reply, number });
    }
    part.ambiguous
}

/// A try has certainly not sent an outgoing message.
fn end_sending(lane: &mut LaneWorker, part: &WaitingPart, in_doubt: bool) {
    if store::is_outgoing(part.reply) && !in_doubt {
        let WaitingPart { reply, number, .. } = *part;
        lane.add_change(Change::EndSending { reply, number });
    }
}

/// Notes that a rich message is sent as texts, and returns them.
fn replace_by_texts(lane: &mut LaneWorker, part: &WaitingPart) -> Vec<WaitingPart> {
    let texts = part.part.fallback();
    lane.add_change(Change::Replace {
        reply: part.reply,
        number: part.number,
        parts: texts.clone(),
    });
    let waiting = (part.number..)
        .zip(texts)
        .map(|(number, text)| WaitingPart {
            number,
            part: text,
            attempts: 0,
            ambiguous: false,
            ..part.clone()
        });
    waiting.collect()
}

enum SendOutcome {
    Accepted {
        /// The store has it already, whatever becomes of this process.
        is_recorded: bool,
        /// The message; `None`: nothing was to be sent.
        message_id: Option<i64>,
        has_buttons: bool,
    },
    /// It is a rich message, which Telegram does not take.
    RichRefused,
    GivenUp {
        /// `Some`: what is left becomes a dead letter.
        dead_letter_reason: Option<String>,
        reason: String,
    },
    Wait {
        wait: LaneWait,
        /// `Some`: it counts as an attempt; whether an ambiguous one.
        counts_as_attempt: Option<bool>,
    },
}

/// Where parts go: to the lane's chat and topic, until Telegram says that it is elsewhere now.
#[derive(Debug, Clone, Copy)]
struct Destination {
    chat: i64,
    /// Its topic was deleted: what is left goes to the chat itself.
    topic_is_gone: bool,
}

/// A chain of migrations would be Telegram's fault; it must not be our endless loop.
const MAX_MIGRATIONS: u32 = 3;

/// Sends a part, in another way or to another chat where Telegram says so, until it is taken, given up or has to wait.
async fn send_part(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    part: &WaitingPart,
    destination: &mut Destination,
) -> LaneResult<SendOutcome> {
    let pipeline = &lane.pipeline;
    let mut form = OutgoingForm::of(&part.part);
    let mut migrations = 0;
    loop {
        let error = match try_form(lane, connector, part, &mut form, *destination).await? {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        if let Some(refusal) = form.rich_refusal(&error) {
            note_rich_refusal(lane, refusal, &error);
            return Ok(SendOutcome::RichRefused);
        }
        if let Some(plainer) = form.after_refusal(&error) {
            tracing::info!(%error, "Telegram refuses a file; it is sent in another form");
            form = plainer;
            continue;
        }
        let policy = &pipeline.limits.retry;
        let mut action = policy.after_telegram_error(
            &error,
            part.attempts,
            part.ambiguous,
            form.is_formatted(),
            rand::random(),
        );
        if matches!(action, SendErrorAction::Unauthorized(_))
            && !is_token_refused(&connector.bot).await
        {
            action = policy.after_unconfirmed_refusal(part.attempts, rand::random());
        }
        match action {
            SendErrorAction::ResendPlain => form = form.without_formatting(&part.part),
            SendErrorAction::ResendWithoutTopic
                if lane.key.topic != 0 && !destination.topic_is_gone =>
            {
                tracing::info!("the topic is gone; sending to the chat without it");
                destination.topic_is_gone = true;
            }
            SendErrorAction::ResendToChat(to) if migrations < MAX_MIGRATIONS => {
                migrations += 1;
                destination.chat = to;
            }
            action => {
                let failed = (&error, form.method());
                let chat = destination.chat;
                return Ok(end_attempt(lane, connector, part, chat, failed, action));
            }
        }
    }
}

/// Sends a part in a form, once, when there is room for it; a file whose bytes are gone becomes what stands in its place. `Err`: Telegram did not take
/// it.
async fn try_form(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    part: &WaitingPart,
    form: &mut OutgoingForm<'_>,
    destination: Destination,
) -> LaneResult<Result<SendOutcome, TelegramError>> {
    let (pipeline, bot, now) = (&lane.pipeline, lane.key.bot, Instant::now());
    if matches!(form, OutgoingForm::Rich(_)) && !pipeline.rich_support.may_have(bot, now) {
        return Ok(Ok(SendOutcome::RichRefused));
    }
    let throttle = &pipeline.throttle;
    if let Err(wait) = throttle.reserve_send(bot, destination.chat, now) {
        return Ok(Ok(wait_for(LaneWait::Delay(wait))));
    }
    let sending = async {
        let upload = match *form {
            OutgoingForm::File(file, _) => Upload::load(lane, part, file).await?,
            _ => None,
        };
        if let (OutgoingForm::File(file, _), None) = (*form, &upload) {
            *form = OutgoingForm::in_place_of(file);
        }
        let upload = upload.as_ref();
        Ok(send_once(lane, connector, part, (*form, upload), destination).await)
    };
    let sent = pipeline.send_windows.run(bot, sending).await?;
    Ok(sent.inspect(|_| throttle.record_accepted(bot, destination.chat)))
}

fn note_rich_refusal(lane: &LaneWorker, refusal: RichRefusal, error: &TelegramError) {
    match refusal {
        RichRefusal::Content => {
            tracing::info!(%error, "Telegram refuses a rich message; it is sent as text");
        }
        RichRefusal::Method => {
            let support = &lane.pipeline.rich_support;
            support.record_unknown(lane.key.bot, Instant::now());
            tracing::warn!(%error, "the Bot API server knows no rich messages; answers are sent as text for an hour");
        }
    }
}

/// Sends a part. The record is made at once, before anything else has a
/// turn: a process that is killed between Telegram's answer and the record sends the part again.
async fn send_once(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    part: &WaitingPart,
    (form, upload): (OutgoingForm<'_>, Option<&Upload<'_>>),
    destination: Destination,
) -> Result<SendOutcome, TelegramError> {
    let pipeline = &lane.pipeline;
    let began = StdInstant::now();
    let address = Address {
        chat_id: destination.chat,
        thread_id: lane.key.thread_id().filter(|_| !destination.topic_is_gone),
        direct_messages_topic_id: lane.key.direct_messages_topic_id(),
        reply_to: part.part.reply_to,
        silent: part.part.silent,
    };
    let result = send_form(
        &connector.bot,
        form,
        upload.map(|upload| &upload.content[..]),
        address,
    )
    .await;
    if let Ok(None) = result {
        return Ok(SendOutcome::Accepted {
            is_recorded: false,
            message_id: None,
            has_buttons: false,
        });
    }
    let is_recorded = result.as_ref().is_ok_and(|message_id| {
        let sent_as = message_id.filter(|_| store::is_outgoing(part.reply));
        let (store, claim) = (&pipeline.store, &lane.claim);
        store.record_sent(claim, part.reply, part.number, sent_as)
    });
    let label = result.as_ref().map_or_else(TelegramError::label, |_| "ok");
    pipeline
        .metrics
        .record_telegram_call(form.method(), label, began.elapsed());
    let has_buttons = matches!(
        form,
        OutgoingForm::Html(_, Some(_)) | OutgoingForm::Plain(_, Some(_))
    );
    result.map(|message_id| SendOutcome::Accepted {
        is_recorded,
        message_id,
        has_buttons,
    })
}

/// The bytes of a file on its way, and the room that they take.
struct Upload<'a> {
    content: Bytes,
    _room: SemaphorePermit<'a>,
}

impl<'a> Upload<'a> {
    /// `None`: the store does not have them.
    async fn load(
        lane: &'a LaneWorker,
        part: &WaitingPart,
        file: &FilePart,
    ) -> LaneResult<Option<Self>> {
        let pipeline = &lane.pipeline;
        let mebibytes = file.bytes.div_ceil(1 << 20).clamp(1, UPLOAD_MEMORY_MIB);
        let room = u32::try_from(mebibytes).unwrap_or(u32::MAX);
        let room = pipeline.upload_memory.acquire_many(room).await;
        let room = room.expect("the semaphore is never closed");
        let (claim, reply, number) = (&lane.claim, part.reply, part.number);
        let content = pipeline.store.upload(claim, reply, number).await?;
        Ok(content.map(|content| Self {
            content,
            _room: room,
        }))
    }
}

/// What becomes of a part that is not sent again at once.
fn end_attempt(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    part: &WaitingPart,
    chat: i64,
    (error, method): (&TelegramError, &'static str),
    action: SendErrorAction,
) -> SendOutcome {
    let (pipeline, bot) = (&lane.pipeline, lane.key.bot);
    let dead_letter = |reason: String| SendOutcome::GivenUp {
        dead_letter_reason: Some(reason.clone()),
        reason,
    };
    match action {
        SendErrorAction::Throttled(wait) => {
            pipeline.metrics.record_throttling(method, wait);
            pipeline
                .throttle
                .record_rate_limit(bot, chat, wait, Instant::now());
            wait_for(LaneWait::Delay(wait))
        }
        SendErrorAction::ResendPlain | SendErrorAction::ResendToChat(_) => {
            dead_letter("the group moved again and again".to_owned())
        }
        SendErrorAction::ResendWithoutTopic => dead_letter(error.to_string()),
        SendErrorAction::GiveUpSilently => {
            tracing::debug!(%error, "nobody is there to read the reply");
            SendOutcome::GivenUp {
                dead_letter_reason: None,
                reason: error.to_string(),
            }
        }
        SendErrorAction::DeadLetter(why) => dead_letter(format!("{why}: {error}")),
        SendErrorAction::Unauthorized(wait) => {
            report_refused_token(lane, connector, error);
            pipeline.throttle.pause_bot(bot, wait, Instant::now());
            wait_for(LaneWait::ConnectorChange(wait))
        }
        SendErrorAction::Retry { after, ambiguous } => {
            let age = pipeline.clock.now().duration_since(part.stored_at);
            if Duration::try_from(age).unwrap_or_default() > pipeline.limits.reply_age {
                return dead_letter(format!("tried for too long: {error}"));
            }
            tracing::info!(%error, "failed to send a reply; retrying later");
            SendOutcome::Wait {
                wait: LaneWait::Delay(after),
                counts_as_attempt: Some(ambiguous),
            }
        }
    }
}

fn wait_for(wait: LaneWait) -> SendOutcome {
    SendOutcome::Wait {
        wait,
        counts_as_attempt: None,
    }
}

/// Whether Telegram refuses the token itself: a single 401 or 404 of a send, which Telegram's own outages and proxies give too, must not cut off
/// the bot until another token comes.
async fn is_token_refused(bot: &Bot) -> bool {
    let confirmed = bot.get_me().await;
    matches!(
        confirmed,
        Err(TelegramError::Unauthorized | TelegramError::NotFound)
    )
}

/// Of a token that has been replaced meanwhile, the 401 says nothing.
fn report_refused_token(lane: &LaneWorker, connector: &ResolvedConnector, error: &TelegramError) {
    let uid = &connector.connector_ref.uid;
    let current = lane.pipeline.registry.get(uid);
    if current.is_some_and(|c| c.bot.is_same(&connector.bot)) {
        let refused = IdentityFact::Refused {
            detail: error.to_string(),
        };
        lane.pipeline.observations.record_identity(uid, refused);
    }
}

/// Counts a dead letter and tells whoever wants to know.
pub(crate) fn report_dead_letter(lane: &LaneWorker, connector: &ResolvedConnector, reason: &str) {
    lane.pipeline
        .metrics
        .count_updates(UpdateOutcome::DeadLettered, 1);
    tracing::warn!(
        namespace = &*connector.connector_ref.namespace,
        connector = &*connector.connector_ref.name,
        reason,
        "given up: see `dead-letters`"
    );
    if let Some(hook) = &lane.pipeline.on_dead_letter {
        hook(&connector.connector_ref, reason);
    }
}
