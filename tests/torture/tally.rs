//! What was said against what was answered: every part of every answer tells which message and which of its sentences it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use bot_api_simulator::{Simulator, UserAction};
use regex::Regex;
use telegram_connector_operator::identity::BotId;

/// What was said: per chat the `update_id` of each message.
pub(crate) struct Said {
    chats: HashMap<(BotId, i64), Vec<i64>>,
    pub(crate) messages: usize,
    /// The date of each chat's first message, in Unix seconds.
    began: i64,
}

impl Said {
    pub(crate) fn nothing() -> Self {
        Self {
            chats: HashMap::new(),
            messages: 0,
            began: jiff::Timestamp::now().as_second() - 6 * 60 * 60,
        }
    }

    /// Says the chat's next message; a `long` one is answered in two parts.
    pub(crate) fn say(&mut self, telegram: &Simulator, bot: BotId, chat: i64, long: bool) {
        let updates = self.chats.entry((bot, chat)).or_default();
        let n = updates.len();
        let text = if long {
            format!("long 6000 message {n}")
        } else {
            format!("message {n}")
        };
        let said = telegram
            .perform(&UserAction {
                bot: Some(bot.0),
                from: Some(chat),
                text: Some(text),
                // Far enough from the one before that each is answered by itself: answers are what is counted.
                date: Some(self.began + 10 * i64::try_from(n).unwrap()),
                ..UserAction::default()
            })
            .unwrap();
        updates.push(said.updates[0].1);
        self.messages += 1;
    }
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages whose answer is there, every part of it.
    pub(crate) answered: usize,
    /// (bot, `update_id`) of the others.
    pub(crate) unanswered: HashSet<(i64, i64)>,
    /// Parts that came after a part that should have come later.
    pub(crate) out_of_order: usize,
    /// Repetitions of parts that Telegram had taken without saying so: the operator had to send them again.
    pub(crate) doubled_by_lost_answers: usize,
    /// All other repetitions.
    pub(crate) doubled: usize,
}

/// A part of an answer as it reads.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    message: usize,
    /// Its first and last sentence.
    sentences: (usize, usize),
    /// Nothing comes after it.
    ends: bool,
}

fn read(text: &str) -> Option<Part> {
    static SHORT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^You said: message (\d+)\n").unwrap());
    static SENTENCE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"Sentence (\d+) of message (\d+)\.").unwrap());
    static END: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"End of message (\d+)\.$").unwrap());
    let number = |text: &str| text.parse::<usize>().unwrap();
    if let Some(found) = SHORT.captures(text) {
        return Some(Part {
            message: number(&found[1]),
            sentences: (1, 1),
            ends: true,
        });
    }
    let mut sentences = SENTENCE.captures_iter(text);
    let first = sentences.next()?;
    let message = number(&first[2]);
    let first = number(&first[1]);
    Some(Part {
        message,
        sentences: (
            first,
            sentences.last().map_or(first, |last| number(&last[1])),
        ),
        ends: END.is_match(text),
    })
}

#[derive(Default)]
struct Seen {
    last: usize,
    ends: bool,
    times: usize,
    unanswered: usize,
}

impl Tally {
    /// Reads what every chat has been sent.
    pub(crate) fn of(said: &Said, telegram: &Simulator) -> Self {
        let mut tally = Self::default();
        for ((bot, chat), updates) in &said.chats {
            tally.chat(telegram, *bot, *chat, updates);
        }
        tally
    }

    fn chat(&mut self, telegram: &Simulator, bot: BotId, chat: i64, updates: &[i64]) {
        let mut parts: BTreeMap<(usize, usize), Seen> = BTreeMap::new();
        let mut latest = (0, 0);
        for sent in telegram.sent_messages(bot, chat) {
            let Some(part) = read(&sent.text) else {
                continue;
            };
            let place = (part.message, part.sentences.0);
            let seen = parts.entry(place).or_default();
            if seen.times == 0 {
                self.out_of_order += usize::from(place < latest);
                latest = latest.max(place);
            }
            seen.last = part.sentences.1;
            seen.ends = part.ends;
            seen.times += 1;
            seen.unanswered += usize::from(sent.unanswered);
        }
        for seen in parts.values() {
            let again = seen.times - 1;
            let explained = again.min(seen.unanswered);
            self.doubled_by_lost_answers += explained;
            self.doubled += again - explained;
        }
        for (message, update) in updates.iter().enumerate() {
            if is_whole(&parts, message) {
                self.answered += 1;
            } else {
                self.unanswered.insert((bot.0, *update));
            }
        }
    }
}

/// Whether the parts of an answer follow on one another from the first sentence to the end.
fn is_whole(parts: &BTreeMap<(usize, usize), Seen>, message: usize) -> bool {
    let mut next = 1;
    while let Some(part) = parts.get(&(message, next)) {
        if part.ends {
            return true;
        }
        next = part.last + 1;
    }
    false
}

#[test]
fn parts_are_read_and_an_answer_is_whole_only_with_all_of_them() {
    let whole = |texts: &[&str]| {
        let mut parts = BTreeMap::new();
        for part in texts.iter().filter_map(|text| read(text)) {
            let seen = Seen {
                last: part.sentences.1,
                ends: part.ends,
                ..Seen::default()
            };
            parts.insert((part.message, part.sentences.0), seen);
        }
        is_whole(&parts, 7)
    };
    let (one, two) = (
        "Sentence 1 of message 7. Sentence 2 of message 7.",
        "Sentence 3 of message 7. End of message 7.",
    );
    assert!(whole(&[
        "You said: message 7\n\nI remember 2 earlier messages."
    ]));
    assert!(whole(&[two, one]));
    assert!(!whole(&[one]));
    assert!(!whole(&[two]));
    assert!(!whole(&["You said: message 71\n\nI remember."]));
    assert!(!whole(&["Sorry."]));
}
