//! The words of what the bot says by itself, in the language of whoever it speaks to.

use crate::assistant::FailureKind;
use crate::pipeline::decide::attachment_check::UnreadableAttachment;
use crate::pipeline::decide::canned_reply::CannedReply;
use crate::pipeline::message::incoming_update::IncomingUpdate;
use crate::texts::{Texts, texts_for};

/// The texts in the language of a message's sender; English where there is none.
pub(crate) fn texts_of(incoming: &IncomingUpdate) -> &'static Texts {
    let sender = incoming.sender.as_ref();
    texts_for(sender.and_then(|s| s.language_code.as_deref()))
}

/// The words of a reply.
pub(crate) fn localize(reply: &CannedReply, texts: &Texts) -> String {
    let text = match reply {
        CannedReply::Greeting => &texts.greeting,
        CannedReply::CustomGreeting(text) | CannedReply::CustomDenial(text) => {
            return text.to_string();
        }
        CannedReply::Ids { user, chat } => return texts.id(*user, *chat),
        CannedReply::NewSession => &texts.new_session,
        CannedReply::NoSession => &texts.no_session,
        CannedReply::Help => &texts.help,
        CannedReply::Stopped => &texts.stopped,
        CannedReply::NothingToStop => &texts.nothing_to_stop,
        CannedReply::RateLimited => &texts.rate_limited,
        CannedReply::DayLimitReached { of_all, until } => {
            return texts.day_limit_reached(*of_all, until);
        }
        CannedReply::Unsupported => &texts.unsupported,
        CannedReply::Unreadable(UnreadableAttachment::NoTranscription) => &texts.voice_unsupported,
        CannedReply::Unreadable(UnreadableAttachment::TranscriptionFailed) => &texts.voice_unheard,
        CannedReply::Unreadable(UnreadableAttachment::TooBig) => &texts.file_too_big,
        CannedReply::Unreadable(UnreadableAttachment::NotText) => &texts.file_unsupported,
        CannedReply::Unreadable(UnreadableAttachment::ExtractionFailed) => &texts.file_unread,
        CannedReply::EmptyAnswer => &texts.empty_answer,
        CannedReply::AssistantFailed(kind) => failure_text(*kind, texts),
        CannedReply::AssistantLost => &texts.assistant_lost,
        CannedReply::AssistantBusyForLong => &texts.assistant_busy_for_long,
        CannedReply::ConversationTooLong => &texts.conversation_too_long,
        CannedReply::KeyRefused => &texts.key_refused,
        CannedReply::SignedOut => &texts.signed_out,
        CannedReply::NotAsked => &texts.tap_not_asked,
        CannedReply::DecisionClosed => &texts.tap_closed,
        CannedReply::Denied { user } => return texts.denied(*user),
    };
    text.clone()
}

/// What went wrong, and whether asking again may help.
fn failure_text(kind: FailureKind, texts: &Texts) -> &String {
    match kind {
        FailureKind::Unreachable | FailureKind::ServerFault => &texts.assistant_unavailable,
        FailureKind::TimedOut => &texts.timed_out,
        FailureKind::Overloaded => &texts.assistant_overloaded,
        FailureKind::QuotaExhausted => &texts.quota_exhausted,
        FailureKind::ContextFull => &texts.message_too_long,
        FailureKind::Filtered => &texts.filtered,
        FailureKind::PicturesRefused => &texts.pictures_refused,
        FailureKind::FilesRefused => &texts.files_refused,
        FailureKind::TaskFailed => &texts.task_failed,
        FailureKind::TooLarge => &texts.too_large,
        FailureKind::KeyRefused | FailureKind::Forbidden | FailureKind::Misconfigured => {
            &texts.misconfigured
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::languages;

    #[test]
    fn only_a_passing_failure_is_called_passing() {
        for (code, texts) in languages() {
            let words = |kind| localize(&CannedReply::AssistantFailed(kind), texts);
            let passing = FailureKind::ALL.into_iter().filter(|k| k.is_transient());
            let passing: Vec<_> = passing.map(words).collect();
            for kind in FailureKind::ALL {
                let is_said_to_pass = passing.contains(&words(kind));
                assert_eq!(is_said_to_pass, kind.is_transient(), "{code}: {kind:?}");
            }
        }
    }

    #[test]
    fn reply_is_in_the_language_of_its_receiver() {
        let words = |language| localize(&CannedReply::Denied { user: 77 }, texts_for(language));
        assert!(words(Some("it")).contains("77") && words(Some("de")).contains("77"));
        assert_ne!(words(Some("it")), words(Some("de")));
        let own = CannedReply::CustomGreeting("Ciao".into());
        assert_eq!(localize(&own, texts_for(Some("de"))), "Ciao");
    }
}
