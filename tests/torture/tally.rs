//! Compares the messages that were sent with their answers. Each part of an answer names its message and its sentences, so lost,
//! doubled and reordered parts are seen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use bot_api_simulator::{Simulator, UserAction};
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use telegram_connector_operator::identity::BotId;

/// The messages that users have sent.
pub(crate) struct SentMessages {
    /// The `update_id` of each message, by bot and chat.
    chats: HashMap<(BotId, i64), Vec<i64>>,
    /// The number of messages.
    pub(crate) count: usize,
    /// The date of each chat's first message, in Unix seconds.
    first_date: i64,
}

impl SentMessages {
    pub(crate) fn new() -> Self {
        Self {
            chats: HashMap::new(),
            count: 0,
            first_date: jiff::Timestamp::now().as_second() - 6 * 60 * 60,
        }
    }

    /// Sends the chat's next message. A `long` one is answered in two parts.
    pub(crate) fn send(&mut self, telegram: &Simulator, bot: BotId, chat: i64, long: bool) {
        let updates = self.chats.entry((bot, chat)).or_default();
        let n = updates.len();
        let text = if long {
            format!("long 6000 message {n}")
        } else {
            format!("message {n}")
        };
        let outcome = telegram
            .perform(&UserAction {
                bot: Some(bot.0),
                from: Some(chat),
                text: Some(text),
                // Ten seconds apart, so that messages are not batched: each must have its own answer.
                date: Some(self.first_date + 10 * i64::try_from(n).unwrap()),
                ..UserAction::default()
            })
            .unwrap();
        updates.push(outcome.updates[0].1);
        self.count += 1;
    }
}

/// The result of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The number of messages whose answer is complete.
    pub(crate) answered: usize,
    /// Bot and `update_id` of the other messages.
    pub(crate) unanswered: HashSet<(i64, i64)>,
    /// Parts that were sent after a part that follows them.
    pub(crate) out_of_order: usize,
    /// Repetitions of parts whose acceptance Telegram did not answer, so the operator had to send them again.
    pub(crate) doubled_by_lost_answers: usize,
    /// All other repetitions: when the part that was repeated had been sent.
    pub(crate) doubled: Vec<Timestamp>,
}

/// The text of one part of an answer, parsed.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    message: usize,
    /// The numbers of its first and last sentence.
    sentences: (usize, usize),
    /// Whether it is the last part.
    is_last: bool,
}

fn parse_part(text: &str) -> Option<Part> {
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
            is_last: true,
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
        is_last: END.is_match(text),
    })
}

/// How a part was sent so far.
#[derive(Default)]
struct PartCount {
    last_sentence: usize,
    is_last: bool,
    times: usize,
    /// When it was last sent, if Telegram answered.
    answered_at: Option<Timestamp>,
}

impl Tally {
    /// Compares `sent` with the messages that the operator has sent to each chat.
    pub(crate) fn of(sent: &SentMessages, telegram: &Simulator) -> Self {
        let mut tally = Self::default();
        for ((bot, chat), updates) in &sent.chats {
            tally.add_chat(telegram, *bot, *chat, updates);
        }
        tally
    }

    fn add_chat(&mut self, telegram: &Simulator, bot: BotId, chat: i64, updates: &[i64]) {
        let mut parts: BTreeMap<(usize, usize), PartCount> = BTreeMap::new();
        let mut latest = (0, 0);
        for sent in telegram.sent_messages(bot, chat) {
            let Some(part) = parse_part(&sent.text) else {
                continue;
            };
            let position = (part.message, part.sentences.0);
            let count = parts.entry(position).or_default();
            if count.times == 0 {
                self.out_of_order += usize::from(position < latest);
                latest = latest.max(position);
            } else if let Some(answered_at) = count.answered_at {
                self.doubled.push(answered_at);
            } else {
                self.doubled_by_lost_answers += 1;
            }
            count.last_sentence = part.sentences.1;
            count.is_last = part.is_last;
            count.times += 1;
            count.answered_at = (!sent.unanswered).then_some(sent.at);
        }
        for (message, update) in updates.iter().enumerate() {
            if is_complete(&parts, message) {
                self.answered += 1;
            } else {
                self.unanswered.insert((bot.0, *update));
            }
        }
    }
}

/// What is on its way when a process is killed may still arrive so long after; no other process can have started by then.
const UNDERWAY: SignedDuration = SignedDuration::from_millis(50);

/// The interruption (a kill, a power cut) that may have had a part repeated which was sent at that time: the next one.
pub(crate) fn interruption_after(
    sent_at: Timestamp,
    interruptions: &[Timestamp],
) -> Option<Timestamp> {
    let mut later = interruptions.iter().filter(|at| **at + UNDERWAY >= sent_at);
    later.next().copied()
}

/// How many of the parts that were sent twice each interruption had repeated.
pub(crate) fn count_by_interruption(
    doubled: &[Timestamp],
    interruptions: &[Timestamp],
) -> Vec<usize> {
    let caused: Vec<_> = doubled
        .iter()
        .filter_map(|sent_at| interruption_after(*sent_at, interruptions))
        .collect();
    interruptions
        .iter()
        .map(|at| caused.iter().filter(|cause| *cause == at).count())
        .collect()
}

/// Whether the parts of an answer cover every sentence from the first to the end.
fn is_complete(parts: &BTreeMap<(usize, usize), PartCount>, message: usize) -> bool {
    let mut next = 1;
    while let Some(part) = parts.get(&(message, next)) {
        if part.is_last {
            return true;
        }
        next = part.last_sentence + 1;
    }
    false
}

#[test]
fn answer_is_complete_only_with_all_its_parts() {
    let complete = |texts: &[&str]| {
        let mut parts = BTreeMap::new();
        for part in texts.iter().filter_map(|text| parse_part(text)) {
            let count = PartCount {
                last_sentence: part.sentences.1,
                is_last: part.is_last,
                ..PartCount::default()
            };
            parts.insert((part.message, part.sentences.0), count);
        }
        is_complete(&parts, 7)
    };
    let (one, two) = (
        "Sentence 1 of message 7. Sentence 2 of message 7.",
        "Sentence 3 of message 7. End of message 7.",
    );
    assert!(complete(&[
        "You said: message 7\n\nI remember 2 earlier messages."
    ]));
    assert!(complete(&[two, one]));
    assert!(!complete(&[one]));
    assert!(!complete(&[two]));
    assert!(!complete(&["You said: message 71\n\nI remember."]));
    assert!(!complete(&["Sorry."]));
}

#[test]
fn doubled_part_counts_at_the_next_interruption() {
    let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
    let kills = [at(1000), at(3000)];
    let counts = |sent: &[i64]| {
        let sent: Vec<_> = sent.iter().copied().map(at).collect();
        count_by_interruption(&sent, &kills)
    };
    assert_eq!(counts(&[]), [0, 0]);
    // The third was on its way at the first kill.
    assert_eq!(counts(&[10, 999, 1040, 1060, 2990]), [3, 2]);
    // Nothing was killed after it.
    assert_eq!(counts(&[9000]), [0, 0]);
}
