//! What the bot says by itself, in the user's language. The words live in `texts/*.yaml`, one file per language; a file that
//! lacks a text does not load, and a test loads them all.

mod access_texts;

use std::sync::LazyLock;

use serde::Deserialize;

pub use access_texts::{AccessTexts, AskingUser};

/// Everything that the bot says by itself, in one language.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    denied: String,
    id: String,
    sign_in: String,
    /// A sign-in was refused, or its time was over.
    pub sign_in_ended: String,
    /// Somebody signed in who is no member.
    pub sign_in_no_access: String,
    /// The identity provider cannot be used.
    pub sign_in_unavailable: String,
    /// To who was signed in with an account that has signed in elsewhere.
    pub sign_in_replaced: String,
    /// The answer to `/logout`.
    pub signed_out: String,
    /// The default answer to `/start`.
    pub greeting: String,
    /// The answer to `/new`.
    pub new_session: String,
    /// The answer to `/new` where there are no sessions.
    pub no_session: String,
    /// The answer to `/help`.
    pub help: String,
    /// The answer to `/stop` while something was being answered.
    pub stopped: String,
    /// The answer to `/stop` while nothing was.
    pub nothing_to_stop: String,
    /// The assistant cannot be reached or has a fault; the message was given up.
    pub assistant_unavailable: String,
    /// The connection to the assistant was lost after it had begun to work; the message was given up.
    pub assistant_lost: String,
    /// The assistant has too many requests; the message was given up.
    pub assistant_overloaded: String,
    /// The assistant asks for a longer wait than a few minutes; the message was given up.
    pub assistant_busy_for_long: String,
    /// The quota of the assistant's key is used up; the message was given up.
    pub quota_exhausted: String,
    /// A message that is too long for the assistant without any history.
    pub message_too_long: String,
    /// The assistant keeps the history, and it has become too long.
    pub conversation_too_long: String,
    /// A content filter refused the message.
    pub filtered: String,
    /// A picture for a model that takes none.
    pub pictures_refused: String,
    /// A file for a model that takes none, or none of its type.
    pub files_refused: String,
    /// The assistant says that it could not do what it was asked.
    pub task_failed: String,
    /// The question, or its answer, is larger than what is carried.
    pub too_large: String,
    /// Only the administrator can make the assistant answer; the message was given up.
    pub misconfigured: String,
    /// The assistant refuses the bot's key; the message waits. Said once.
    pub key_refused: String,
    /// The assistant answered nothing.
    pub empty_answer: String,
    /// The assistant took too long.
    pub timed_out: String,
    /// The answer broke off; said below what had come.
    pub broken_off: String,
    /// The assistant's limit of length ended the answer; said below what had come.
    pub truncated_length: String,
    /// A content filter ended the answer; said below what had come.
    pub truncated_filter: String,
    /// The answer was longer than what is sent of one; said below what was.
    pub answer_cut: String,
    /// A word: what stands in an answer for a picture that cannot be shown, before its name.
    pub picture: String,
    /// The same for a file.
    pub file: String,
    /// Stands above the sources of an answer.
    pub sources: String,
    more_sources: String,
    file_not_sent: String,
    /// The user writes too fast; said once.
    pub rate_limited: String,
    day_limit: String,
    bot_day_limit: String,
    /// A sticker, a poll, or something else that cannot be understood.
    pub unsupported: String,
    /// A voice or audio message, and nobody to write it down.
    pub voice_unsupported: String,
    /// A voice message that could not be made out, or not just now.
    pub voice_unheard: String,
    /// A file of a kind that cannot be read.
    pub file_unsupported: String,
    /// A file that is too big.
    pub file_too_big: String,
    /// A document that could not be read just now.
    pub file_unread: String,
    /// Shown for a moment to who tapped a button that has no meaning any more; at most 200 characters, as all that is shown so.
    pub tap_closed: String,
    /// The same to who may not write to the bot.
    pub tap_denied: String,
    /// The same to who is not asked.
    pub tap_not_asked: String,
    /// Stands over buttons that have no other text over them.
    pub choose: String,
    /// Stands over what is to be approved.
    pub approval_asks: String,
    /// A button.
    pub approve: String,
    /// A button.
    pub refuse: String,
    /// Others are asked to approve, in another chat.
    pub approval_requested: String,
    /// Nobody approved in time.
    pub approval_expired: String,
    /// Nobody approved before the conversation went on.
    pub approval_withdrawn: String,
    /// What is said when somebody asks for access.
    pub access: AccessTexts,
    commands: Commands,
}

/// Descriptions of the commands in Telegram's menu, 1-256 characters each.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commands {
    new: String,
    stop: String,
    help: String,
    id: String,
}

/// The commands in the order in which Telegram's menu shows them, with the key of their description in
/// [`Texts::commands`].
pub(crate) const MENU_COMMANDS: [&str; 4] = ["new", "stop", "help", "id"];

/// The languages there are, English (the fallback) first: `language_code` and texts.
static LANGUAGES: LazyLock<[(&str, Texts); 7]> = LazyLock::new(|| {
    [
        ("en", include_str!("texts/en.yaml")),
        ("it", include_str!("texts/it.yaml")),
        ("de", include_str!("texts/de.yaml")),
        ("es", include_str!("texts/es.yaml")),
        ("fr", include_str!("texts/fr.yaml")),
        ("pt", include_str!("texts/pt.yaml")),
        ("ru", include_str!("texts/ru.yaml")),
    ]
    .map(|(code, yaml)| {
        let texts = serde_yaml::from_str(yaml)
            .expect("compiled in, and loaded whole by the test of this module");
        (code, texts)
    })
});

/// The texts for a Telegram `language_code` (an IETF tag such as `pt-BR`; only the language counts); English for one that
/// there is none for, and for none.
pub fn texts_for(language_code: Option<&str>) -> &'static Texts {
    let language = language_code
        .and_then(|code| code.split(['-', '_']).next())
        .unwrap_or_default();
    let found = LANGUAGES
        .iter()
        .find(|(code, _)| code.eq_ignore_ascii_case(language));
    &found.unwrap_or(&LANGUAGES[0]).1
}

/// All languages, English first, for `setMyCommands`: two-letter ISO 639-1 code and texts.
pub fn languages() -> impl Iterator<Item = (&'static str, &'static Texts)> {
    LANGUAGES.iter().map(|(code, texts)| (*code, texts))
}

impl Texts {
    /// The default denial: this bot is private, and the user's id to hand on.
    pub fn denied(&self, user_id: i64) -> String {
        self.denied.replace("{id}", &user_id.to_string())
    }

    /// The answer to `/id`; `user_id` `None` for who has none (an anonymous admin).
    pub fn id(&self, user_id: Option<i64>, chat_id: i64) -> String {
        let user = user_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        self.id
            .replace("{user}", &user)
            .replace("{chat}", &chat_id.to_string())
    }

    /// Nothing more may be asked today, by this user or by anybody (`of_all`), until then; said once a day.
    pub(crate) fn day_limit_reached(&self, of_all: bool, until: &str) -> String {
        let text = if of_all {
            &self.bot_day_limit
        } else {
            &self.day_limit
        };
        text.replace("{until}", until)
    }

    /// Where to sign in and with which code, and for how many minutes that holds.
    pub fn sign_in(&self, link: &str, code: &str, minutes: u64) -> String {
        self.sign_in
            .replace("{minutes}", &minutes.to_string())
            .replace("{code}", code)
            .replace("{link}", link)
    }

    /// Stands below the sources of an answer of which `count` are left out.
    pub(crate) fn more_sources(&self, count: usize) -> String {
        self.more_sources.replace("{count}", &count.to_string())
    }

    /// Stands in the place of a file that could not be sent.
    pub(crate) fn file_not_sent(&self, name: &str) -> String {
        self.file_not_sent.replace("{name}", name)
    }

    /// Command and description, in the order of [`MENU_COMMANDS`].
    pub fn commands(&self) -> [(&'static str, &str); 4] {
        let Commands {
            new,
            stop,
            help,
            id,
        } = &self.commands;
        let [a, b, c, d] = MENU_COMMANDS;
        [(a, new), (b, stop), (c, help), (d, id)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rstest::rstest;

    use super::*;

    #[test]
    fn every_language_has_every_text_and_every_placeholder() {
        let mut seen = HashSet::new();
        for (code, texts) in languages() {
            let denied = texts.denied(424_242);
            assert!(denied.contains("424242") && !denied.contains('{'), "{code}");
            let id = texts.id(Some(424_242), -100_777);
            assert!(id.contains("424242") && id.contains("-100777"), "{code}");
            let sign_in = texts.sign_in("https://id.example/x", "AB-CD", 4711);
            for value in ["https://id.example/x", "AB-CD", "4711", "/logout"] {
                assert!(sign_in.contains(value), "{code}: {sign_in}");
            }
            for text in [
                &denied,
                &id,
                &sign_in,
                &texts.sign_in_ended,
                &texts.sign_in_no_access,
                &texts.sign_in_unavailable,
                &texts.sign_in_replaced,
                &texts.signed_out,
                &texts.greeting,
                &texts.new_session,
                &texts.no_session,
                &texts.help,
                &texts.stopped,
                &texts.nothing_to_stop,
                &texts.assistant_unavailable,
                &texts.assistant_lost,
                &texts.assistant_overloaded,
                &texts.assistant_busy_for_long,
                &texts.quota_exhausted,
                &texts.message_too_long,
                &texts.conversation_too_long,
                &texts.filtered,
                &texts.pictures_refused,
                &texts.files_refused,
                &texts.task_failed,
                &texts.too_large,
                &texts.misconfigured,
                &texts.key_refused,
                &texts.empty_answer,
                &texts.timed_out,
                &texts.truncated_length,
                &texts.truncated_filter,
                &texts.broken_off,
                &texts.answer_cut,
                &texts.rate_limited,
                &texts.unsupported,
                &texts.voice_unsupported,
                &texts.voice_unheard,
                &texts.file_unsupported,
                &texts.file_too_big,
                &texts.tap_closed,
                &texts.tap_denied,
                &texts.tap_not_asked,
                &texts.choose,
                &texts.approval_asks,
                &texts.approve,
                &texts.refuse,
                &texts.approval_requested,
                &texts.approval_expired,
                &texts.approval_withdrawn,
            ] {
                assert!(!text.trim().is_empty() && text.len() < 1_000, "{code}");
                assert!(!text.contains('{'), "{code}: {text}");
                assert!(seen.insert(text.clone()), "{code}: said twice: {text}");
            }
            for text in [
                &texts.tap_closed,
                &texts.tap_denied,
                &texts.tap_not_asked,
                &texts.rate_limited,
            ] {
                assert!(text.chars().count() <= 200, "{code}: {text}");
            }
            let until = "2026-11-29 00:00 (UTC)";
            for of_all in [false, true] {
                let text = texts.day_limit_reached(of_all, until);
                assert!(text.contains(until) && !text.contains('{'), "{code}");
                assert!(seen.insert(text.clone()), "{code}: said twice: {text}");
            }
            let more = texts.more_sources(4242);
            assert!(more.contains("4242") && !more.contains('{'), "{code}");
            let not_sent = texts.file_not_sent("cat.png");
            assert!(
                not_sent.contains("cat.png") && !not_sent.contains('{'),
                "{code}"
            );
            for word in [&texts.picture, &texts.file, &texts.sources] {
                assert!(!word.trim().is_empty() && word.len() < 30, "{code}: {word}");
            }
            for (command, description) in texts.commands() {
                assert!((1..=256).contains(&description.chars().count()), "{code}");
                assert!(
                    texts.help.contains(&format!("/{command}")),
                    "{code}: /help does not name /{command}"
                );
            }
        }
    }

    #[rstest]
    #[case(Some("it"), "it")]
    #[case(Some("pt-BR"), "pt")]
    #[case(Some("DE"), "de")]
    #[case(Some("zh-hans"), "en")]
    #[case(Some(""), "en")]
    #[case(None, "en")]
    fn sender_language_selects_the_texts(#[case] code: Option<&str>, #[case] expected: &str) {
        let (_, expected) = languages().find(|(c, _)| *c == expected).expect("there");
        assert_eq!(texts_for(code), expected);
    }
}
