//! Erasing a person: which rows are theirs, and what is left of them in rows that are others'.
//!
//! A person's are their private chats (and their topics in a channel's direct messages), whole; what they sent in groups, and what came of it. In the
//! rows of others that name them (a reply to what they said, a mention) their id and name are blanked, and the words that are quoted go.

use serde_json::{Map, Value, json};

/// The lanes that are the person's `$1` alone, in the namespace `$2` (NULL: in all).
pub(super) const LANES: &str = "SELECT l.id FROM lane l JOIN connector c ON c.id = l.connector
     WHERE (l.chat = $1 OR l.topic = -$1) AND (CAST($2 AS TEXT) IS NULL OR c.namespace = $2)";

/// What a count of erased rows is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Erased {
    DeniedMessages,
    Conversations,
    Exchanges,
    DeadLetters,
    Waiting,
    Others,
}

impl super::objects::ErasedCounts {
    /// Adds rows.
    pub(super) fn add(&mut self, what: Erased, rows: u64) {
        let count = match what {
            Erased::DeniedMessages => &mut self.denied_messages,
            Erased::Conversations => &mut self.conversations,
            Erased::Exchanges => &mut self.exchanges,
            Erased::DeadLetters => &mut self.dead_letters,
            Erased::Waiting => &mut self.waiting,
            Erased::Others => &mut self.others,
        };
        *count += rows;
    }
}

/// Ends the lane `$1` with all that is in it, claimed or not.
pub(super) const END_LANE: [(Erased, &str); 10] = [
    // A question of this lane that another one shows.
    (
        Erased::Waiting,
        "DELETE FROM outbox WHERE (lane, reply) IN (SELECT shown_lane, reply FROM user_decision WHERE lane = $1)",
    ),
    (Erased::Waiting, "DELETE FROM inbox WHERE lane = $1"),
    (Erased::Waiting, "DELETE FROM outbox WHERE lane = $1"),
    (
        Erased::Waiting,
        "DELETE FROM sign_in_message WHERE lane = $1",
    ),
    (Erased::Exchanges, "DELETE FROM exchange WHERE lane = $1"),
    (Erased::Conversations, "DELETE FROM session WHERE lane = $1"),
    (Erased::Others, "DELETE FROM read_along WHERE lane = $1"),
    (
        Erased::Others,
        "DELETE FROM user_decision WHERE lane = $1 OR shown_lane = $1",
    ),
    (
        Erased::Others,
        "DELETE FROM notice WHERE (connector, chat) IN (SELECT connector, chat FROM lane WHERE id = $1 AND chat > 0)",
    ),
    (Erased::Others, "DELETE FROM lane WHERE id = $1"),
];

/// What else is the person's `$1` in the namespace `$2` (NULL: in all).
pub(super) const ERASE_PERSON: [(Erased, &str); 16] = [
    (
        Erased::DeniedMessages,
        "DELETE FROM denied WHERE (sender = $1 OR chat = $1) AND (CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::DeadLetters,
        "DELETE FROM dead_letter WHERE (sender = $1 OR chat = $1 OR topic = -$1) AND (CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::Exchanges,
        "DELETE FROM exchange WHERE (sender = $1 OR speakers LIKE '% ' || CAST($1 AS TEXT) || ' %') AND lane IN
           (SELECT l.id FROM lane l JOIN connector c ON c.id = l.connector WHERE CAST($2 AS TEXT) IS NULL OR c.namespace = $2)",
    ),
    (
        Erased::Waiting,
        "DELETE FROM inbox WHERE sender = $1 AND lane IN
           (SELECT l.id FROM lane l JOIN connector c ON c.id = l.connector WHERE CAST($2 AS TEXT) IS NULL OR c.namespace = $2)",
    ),
    (
        Erased::Waiting,
        "DELETE FROM outbox WHERE sender = $1 AND lane IN
           (SELECT l.id FROM lane l JOIN connector c ON c.id = l.connector WHERE CAST($2 AS TEXT) IS NULL OR c.namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM read_along WHERE user_id = $1 AND lane IN
           (SELECT l.id FROM lane l JOIN connector c ON c.id = l.connector WHERE CAST($2 AS TEXT) IS NULL OR c.namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM notice WHERE chat = $1 AND connector IN
           (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM user_decision WHERE sender = $1 AND connector IN
           (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM outgoing_message WHERE (sender = $1 OR chat = $1) AND (CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM access_grant WHERE sender = $1 AND (CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM access_request WHERE sender = $1 AND (CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM day_usage WHERE sender = $1 AND connector IN
           (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::Waiting,
        "DELETE FROM sign_in_message WHERE sender = $1 AND sign_in IN
           (SELECT s.id FROM sign_in s JOIN connector c ON c.id = s.connector WHERE CAST($2 AS TEXT) IS NULL OR c.namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM sign_in WHERE user_id = $1 AND connector IN
           (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    (
        Erased::Others,
        "DELETE FROM membership WHERE user_id = $1 AND connector IN
           (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
    // The person's lanes are gone by now, which was noted.
    (
        Erased::Others,
        "DELETE FROM met_chat WHERE chat = $1 AND connector IN
           (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)",
    ),
];

/// Notes of the lanes that are claimed in the namespace `$2` (NULL: in all) that somebody was erased: what is remembered of their words where they
/// are handled is not kept.
pub(super) const MARK_CLAIMED: &str =
    "UPDATE lane SET erased = 1 WHERE owner IS NOT NULL AND $1 IS NOT NULL AND connector IN
       (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)";

/// What is left to do once rows are gone: decisions that ended are not waited for, and lanes in which nothing waits rest.
pub(super) const AFTERWARDS: [&str; 2] = [
    "UPDATE lane SET open_decisions = (SELECT count(*) FROM user_decision d WHERE d.lane = lane.id AND d.state = 0)
       WHERE open_decisions <> (SELECT count(*) FROM user_decision d WHERE d.lane = lane.id AND d.state = 0)",
    "UPDATE lane SET ready_at = NULL WHERE owner IS NULL AND ready_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.lane = lane.id)
       AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.lane = lane.id)",
];

/// A place in rows of others that may name a person.
pub(super) struct Mention {
    table: &'static str,
    /// The numbers that tell the row.
    pub(super) keys: &'static [&'static str],
    column: &'static str,
    scope: &'static str,
    blank: fn(&str, i64) -> Blanked,
}

/// What becomes of a text that may name a person.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Blanked {
    /// It does not name them.
    Kept,
    /// This stands in its place; `None`: nothing does.
    Changed(Option<String>),
}

/// Rows of the connectors, and those that belong to lanes, in the namespace `$2` (NULL: in all).
const IN_NAMESPACE: &str = "(CAST($2 AS TEXT) IS NULL OR namespace = $2)";
const OF_LANES: &str = "lane IN (SELECT l.id FROM lane l JOIN connector c ON c.id = l.connector WHERE CAST($2 AS TEXT) IS NULL OR c.namespace = $2)";

const fn mention(
    table: &'static str,
    keys: &'static [&'static str],
    column: &'static str,
    scope: &'static str,
    blank: fn(&str, i64) -> Blanked,
) -> Mention {
    Mention {
        table,
        keys,
        column,
        scope,
        blank,
    }
}

/// Every place that may name a person whose row it is not.
pub(super) const MENTIONS: [Mention; 12] = [
    mention("inbox", &["id"], "body", OF_LANES, blank_json),
    mention("sign_in_message", &["id"], "body", OF_LANES, blank_json),
    mention("dead_letter", &["id"], "body", IN_NAMESPACE, blank_json),
    mention("denied", &["id"], "message", IN_NAMESPACE, blank_json),
    mention(
        "outgoing_message",
        &["id"],
        "body",
        IN_NAMESPACE,
        blank_words,
    ),
    mention(
        "access_grant",
        &["id"],
        "granted_by",
        IN_NAMESPACE,
        blank_name,
    ),
    mention(
        "access_request",
        &["id"],
        "decided_by",
        IN_NAMESPACE,
        blank_name,
    ),
    mention(
        "outbox",
        &["lane", "reply", "number"],
        "part",
        OF_LANES,
        blank_json,
    ),
    mention(
        "read_along",
        &["lane", "message"],
        "body",
        OF_LANES,
        blank_json,
    ),
    mention(
        "session",
        &["lane", "number"],
        "state",
        OF_LANES,
        blank_state,
    ),
    mention(
        "exchange",
        &["lane", "session", "number"],
        "asked",
        OF_LANES,
        blank_words,
    ),
    mention(
        "exchange",
        &["lane", "session", "number"],
        "answered",
        OF_LANES,
        blank_words,
    ),
];

impl Mention {
    /// Finds the rows in which `$1` stands: their keys and the text.
    pub(super) fn find(&self) -> String {
        let Self {
            table,
            keys,
            column,
            scope,
            ..
        } = self;
        let keys = keys.join(", ");
        format!(
            "SELECT {keys}, {column} FROM {table} WHERE {column} LIKE '%' || CAST($1 AS TEXT) || '%' AND {scope}"
        )
    }

    /// Stores the text `$1` in the row whose keys are `$2` and so on.
    pub(super) fn store(&self) -> String {
        let keys = (2..).zip(self.keys).map(|(n, key)| format!("{key} = ${n}"));
        let keys = keys.collect::<Vec<_>>().join(" AND ");
        format!(
            "UPDATE {} SET {} = $1 WHERE {keys}",
            self.table, self.column
        )
    }

    /// What becomes of a text that was found.
    pub(super) fn blank(&self, text: &str, user: i64) -> Blanked {
        (self.blank)(text, user)
    }
}

/// Finds the decisions in which `$1` stands, in the namespace `$2` (NULL: in all): their ids, and all that they say.
pub(super) const FIND_DECISIONS: &str = "SELECT id, follow_up || ' ' || details || ' ' || coalesce(taken, '') FROM user_decision
     WHERE follow_up || ' ' || details || ' ' || coalesce(taken, '') LIKE '%' || CAST($1 AS TEXT) || '%'
       AND connector IN (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)";

/// Ends the decision `$1`.
pub(super) const END_DECISION: &str = "DELETE FROM user_decision WHERE id = $1";

/// Whether this number stands in a text: not as a part of another one.
pub(super) fn has_number(text: &str, number: i64) -> bool {
    let number = number.to_string();
    text.match_indices(&number).any(|(at, _)| {
        let before = text[..at].bytes().next_back();
        let after = text[at + number.len()..].bytes().next();
        let is_part = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_digit());
        !is_part(before) && !is_part(after) && before != Some(b'-')
    })
}

/// An assistant's state cannot be read: its session begins anew rather than know the person.
fn blank_state(state: &str, user: i64) -> Blanked {
    if has_number(state, user) {
        Blanked::Changed(None)
    } else {
        Blanked::Kept
    }
}

/// Who did something: nobody, if it was the person.
fn blank_name(name: &str, user: i64) -> Blanked {
    if has_number(name, user) {
        Blanked::Changed(Some(String::new()))
    } else {
        Blanked::Kept
    }
}

/// Words: a link to the person leads nowhere. A number that happens to be the same is no link.
fn blank_words(words: &str, user: i64) -> Blanked {
    let blanked = without_links(words, user);
    if blanked == words {
        Blanked::Kept
    } else {
        Blanked::Changed(Some(blanked))
    }
}

/// Without the id in links to the person (`tg://user?id=5001`).
fn without_links(words: &str, user: i64) -> String {
    const LINK: &str = "user?id=";
    let user = user.to_string();
    let mut out = String::with_capacity(words.len());
    let mut rest = words;
    while let Some(at) = rest.find(LINK) {
        let (before, after) = rest.split_at(at + LINK.len());
        out.push_str(before);
        rest = after;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if rest[..digits] == user {
            out.push('0');
            rest = &rest[digits..];
        }
    }
    out.push_str(rest);
    out
}

/// A message or a part of a reply: the person in it is nobody, and what is quoted of theirs is gone. Of what `serde_json` cannot read as a whole (half a
/// surrogate pair) nothing is kept.
fn blank_json(text: &str, user: i64) -> Blanked {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return if has_number(text, user) {
            Blanked::Changed(Some("{}".to_owned()))
        } else {
            Blanked::Kept
        };
    };
    if !blank_value(&mut value, user) {
        return Blanked::Kept;
    }
    let blanked = serde_json::to_string(&value).expect("JSON values always serialize");
    Blanked::Changed(Some(blanked))
}

/// Whether anything changed.
fn blank_value(value: &mut Value, user: i64) -> bool {
    match value {
        Value::Number(number) if number.as_i64() == Some(user) => {
            *value = json!(0);
            true
        }
        Value::String(text) => match blank_words(text, user) {
            Blanked::Changed(Some(blanked)) => {
                *text = blanked;
                true
            }
            _ => false,
        },
        Value::Array(values) => values
            .iter_mut()
            .fold(false, |changed, value| blank_value(value, user) | changed),
        Value::Object(fields) => blank_object(fields, user),
        _ => false,
    }
}

fn blank_object(fields: &mut Map<String, Value>, user: i64) -> bool {
    let is_user = |object: Option<&Value>| {
        object
            .and_then(|object| object.get("id"))
            .and_then(Value::as_i64)
            == Some(user)
    };
    let before = fields.len();
    // What somebody answers or pins, as far as it is the person's.
    fields.retain(|_, child| !is_user(child.get("from")));
    let mut changed = fields.len() != before;
    for child in fields.values_mut() {
        if is_user(Some(child)) {
            *child = json!({"id": 0, "is_bot": false, "first_name": ""});
            changed = true;
        } else {
            changed |= blank_value(child, user);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(value: &Value) -> Value {
        match blank_json(&value.to_string(), 5001) {
            Blanked::Changed(Some(text)) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn person_in_anothers_message_is_nobody() {
        let message = json!({"update_id": 1, "message": {
            "from": {"id": 7, "first_name": "Bob"}, "text": "5001 is not Ann", "date": 5,
            "reply_to_message": {"from": {"id": 5001, "first_name": "Ann"}, "text": "mine"},
            "forward_origin": {"sender_user": {"id": 5001, "first_name": "Ann"}},
            "entities": [{"type": "text_mention", "user": {"id": 5001, "first_name": "Ann"}}],
        }});
        let nobody = json!({"id": 0, "is_bot": false, "first_name": ""});
        assert_eq!(
            blanked(&message),
            json!({"update_id": 1, "message": {
                "from": {"id": 7, "first_name": "Bob"}, "text": "5001 is not Ann", "date": 5,
                "forward_origin": {"sender_user": nobody},
                "entities": [{"type": "text_mention", "user": nobody}],
            }})
        );
    }

    #[test]
    fn links_lead_nowhere_and_other_numbers_stay() {
        let words = "tg://user?id=5001 tg://user?id=50012 costs 5001";
        let expected = "tg://user?id=0 tg://user?id=50012 costs 5001";
        let changed = Blanked::Changed(Some(expected.to_owned()));
        assert_eq!(blank_words(words, 5001), changed);
        assert_eq!(blank_words("costs 5001", 5001), Blanked::Kept);
    }

    #[test]
    fn number_is_found_by_itself_only() {
        for text in ["5001", "a5001,", "\"id\":5001}"] {
            assert!(has_number(text, 5001), "{text}");
        }
        for text in ["15001", "50010", "-5001", ""] {
            assert!(!has_number(text, 5001), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_whole_is_not_kept() {
        let changed = Blanked::Changed(Some("{}".to_owned()));
        assert_eq!(blank_json(r#"{"t":"\ud800","id":5001}"#, 5001), changed);
        assert_eq!(
            blank_json(r#"{"t":"\ud800","id":50011}"#, 5001),
            Blanked::Kept
        );
    }
}
