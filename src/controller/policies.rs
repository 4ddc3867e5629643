//! From what is written to what is meant, in the registry's words.

use jiff::tz::TimeZone;

use crate::api::connector::{
    AssistantProtocol, AssistantSpec, FilesSpec, OpenAiSpec, RespondTo, TelegramConnectorSpec,
};
use crate::calendar;
use crate::pipeline::estimate_message_tokens;
use crate::registry::{
    AnswerPolicy, DayLimits, DeniedReply, Extraction, FilePolicy, GroupPolicy, SessionDuration,
    SessionPolicy,
};
use crate::store::DayLimit;

/// How long a session lasts and how much of it is sent.
pub(super) fn session_policy(spec: &TelegramConnectorSpec) -> SessionPolicy {
    SessionPolicy {
        duration: match u32::try_from(spec.duration_hours()) {
            Err(_) => SessionDuration::None,
            Ok(0) => SessionDuration::Infinite,
            Ok(hours) => SessionDuration::Hours(hours),
        },
        max_messages: spec.max_messages(),
        max_tokens: spec.max_tokens().map(|tokens| {
            let prompt = u32::try_from(prompt_tokens(&spec.assistant)).unwrap_or(u32::MAX);
            tokens.saturating_sub(prompt)
        }),
    }
}

/// What telling the chat's context takes, where its names are of usual length.
const CHAT_CONTEXT_TOKENS: u64 = 200;

/// What the system prompt takes of a request, with what is written behind it.
fn prompt_tokens(assistant: &AssistantSpec) -> u64 {
    let prompt = assistant.system_prompt.as_deref();
    let options = assistant.open_ai.as_ref();
    let context = options.is_some_and(OpenAiSpec::tells_chat_context);
    prompt.map_or(0, estimate_message_tokens) + if context { CHAT_CONTEXT_TOKENS } else { 0 }
}

/// What answers bring beside their text, and what of one shows while it is on its way.
pub(super) fn answer_policy(spec: &TelegramConnectorSpec) -> AnswerPolicy {
    let Some(answers) = &spec.answers else {
        return AnswerPolicy::default();
    };
    AnswerPolicy {
        progress: answers.shows_progress(),
        streaming: answers.streams(),
        receipt: answers.receipt.as_deref().map(Into::into),
        max_file_bytes: answers.max_file_bytes(),
        // The other protocols have fields for buttons.
        buttons: spec.assistant.protocol == AssistantProtocol::OpenAI && answers.offers_buttons(),
        rich: answers.rich_messages(),
    }
}

/// What may be asked in a day. Of a time zone that there is none of, days end at midnight UTC, which the status tells.
pub(super) fn day_limits(spec: &TelegramConnectorSpec) -> Option<DayLimits> {
    let limits = spec.limits.as_ref()?;
    let of_all = limits.connector.clone().unwrap_or_default();
    let user = day_limit(limits.messages_per_day, limits.tokens_per_day);
    let connector = day_limit(of_all.messages_per_day, of_all.tokens_per_day);
    let zone = limits.time_zone.as_deref().and_then(calendar::time_zone);
    let is_limited = user != DayLimit::default() || connector != DayLimit::default();
    is_limited.then(|| DayLimits {
        user,
        connector,
        zone: zone.unwrap_or(TimeZone::UTC),
    })
}

fn day_limit(messages: Option<i32>, tokens: Option<i64>) -> DayLimit {
    DayLimit {
        messages: messages.and_then(|messages| u64::try_from(messages).ok()),
        tokens: tokens.and_then(|tokens| u64::try_from(tokens).ok()),
    }
}

/// The time zone of the limits, where there is none of that name.
pub(super) fn unknown_time_zone(spec: &TelegramConnectorSpec) -> Option<&str> {
    let name = spec.limits.as_ref()?.time_zone.as_deref()?;
    calendar::time_zone(name).is_none().then_some(name)
}

/// How documents reach the assistant.
pub(super) fn file_policy(spec: &TelegramConnectorSpec, extraction: Extraction) -> FilePolicy {
    let takes_files = spec.assistant.protocol != AssistantProtocol::Pupau;
    FilePolicy {
        extraction,
        to_assistant: takes_files
            && spec
                .files
                .as_ref()
                .is_some_and(|files| files.to_assistant.unwrap_or(false)),
        max_bytes: spec.files.as_ref().map_or(0, FilesSpec::max_bytes),
    }
}

/// How the bot behaves in groups.
pub(super) fn group_policy(spec: &TelegramConnectorSpec) -> Option<GroupPolicy> {
    spec.groups.as_ref().map(|groups| GroupPolicy {
        respond_to: groups.respond_to(),
        chats: groups
            .chats
            .as_ref()
            .map(|chats| chats.iter().copied().collect()),
        read_along: groups.read_along(),
    })
}

/// What of the spec needs messages in groups that privacy mode keeps from the bot.
pub(super) fn needs_all_group_messages(spec: &TelegramConnectorSpec) -> Option<&'static str> {
    let groups = spec.groups.as_ref()?;
    if groups.respond_to() == RespondTo::All {
        Some("groups.respondTo is All")
    } else {
        (groups.read_along() > 0).then_some("groups.readAlong is set")
    }
}

/// What a denied user is told.
pub(super) fn denied_reply(spec: &TelegramConnectorSpec) -> DeniedReply {
    match spec.access.denied_reply.as_deref() {
        None => DeniedReply::Default,
        Some("") => DeniedReply::Silent,
        Some(text) => DeniedReply::Text(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::no_limit(json!({}), json!({}), None)]
    #[case::no_prompt(json!({}), json!({"maxTokens": 1_000}), Some(1_000))]
    // 400 characters are 100 tokens, and a message has four.
    #[case::prompt(json!({"systemPrompt": "x".repeat(400)}), json!({"maxTokens": 1_000}), Some(896))]
    #[case::chat_context(json!({"openAI": {"chatContext": true}}), json!({"maxTokens": 1_000}), Some(800))]
    #[case::prompt_that_leaves_nothing(json!({"systemPrompt": "x".repeat(8_000)}), json!({"maxTokens": 1_000}), Some(0))]
    fn system_prompt_takes_its_part_of_the_tokens(
        #[case] assistant: Value,
        #[case] session: Value,
        #[case] tokens: Option<u32>,
    ) {
        let mut spec = json!({
            "botTokenSecretRef": {"name": "bot"},
            "assistant": {"protocol": "OpenAI", "url": "http://assistant.acme.svc/v1", "model": "m"},
            "access": {"level": "Open"},
            "session": session,
        });
        let given = assistant.as_object().expect("an object").clone();
        spec["assistant"]
            .as_object_mut()
            .expect("an object")
            .extend(given);
        let spec = serde_json::from_value(spec).expect("a spec");
        assert_eq!(session_policy(&spec).max_tokens, tokens);
    }
}
