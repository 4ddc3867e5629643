//! Every field that a message may have in the Bot API, each held to what comes of it.

use super::canned_reply::CannedReply;
use super::classified_message::ClassifiedUpdate;
use super::decision::Decision;
use super::test_values::{ANN, connector, in_group, private};
use crate::api::connector::RespondTo;
use crate::pipeline::message::incoming_update::IncomingUpdate;
use crate::registry::GroupPolicy;

/// Kept with the tests, so that these need nothing outside of the repository.
const FIELDS: &str = include_str!("../../../tests/pipeline/message_fields.txt");

/// Name, outcome and value of each field.
fn fields() -> Vec<(&'static str, &'static str, &'static str)> {
    let lines = FIELDS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.splitn(3, ' ');
            let mut next = || {
                columns
                    .next()
                    .unwrap_or_else(|| panic!("three columns: {line}"))
            };
            (next(), next(), next())
        })
        .collect()
}

fn outcome(json: &str) -> &'static str {
    let incoming = IncomingUpdate::parse(json).expect("readable");
    let connector = connector(|c| {
        c.groups = Some(GroupPolicy {
            read_along: 0,
            respond_to: RespondTo::All,
            chats: None,
        });
    });
    match ClassifiedUpdate::new(&connector, incoming, jiff::Timestamp::UNIX_EPOCH).decision {
        Decision::AskAssistant(_) => "read",
        Decision::Reply(CannedReply::Unsupported | CannedReply::Unreadable(_)) => "sentence",
        Decision::Ignore => "silence",
        Decision::Deny => "denied",
        other => panic!("{other:?}: {json}"),
    }
}

#[test]
fn every_field_of_a_message_is_read_answered_or_ignored() {
    let mut wrong = Vec::new();
    for (name, expected, value) in fields() {
        let field = format!(r#""{name}":{value}"#);
        let beside_text = format!(r#""text":"hi",{field}"#);
        let (in_private, in_a_group) = match expected {
            "detail" => {
                let found = outcome(&private(ANN, &beside_text));
                if found != "read" {
                    wrong.push(format!("{name} beside a text: {found}"));
                }
                continue;
            }
            "denied" => {
                assert_eq!(outcome(&private(ANN, &beside_text)), "denied", "{name}");
                continue;
            }
            "private" => ("sentence", "silence"),
            other => (other, other),
        };
        for (json, expected) in [
            (private(ANN, &field), in_private),
            (in_group(ANN, &field), in_a_group),
        ] {
            let found = outcome(&json);
            if found != expected {
                wrong.push(format!("{json}: {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Beside the repository, where there is one: the Bot API as data, against which the list is held.
#[test]
fn list_of_fields_is_that_of_the_bot_api() {
    let names: Vec<&str> = fields().into_iter().map(|(name, ..)| name).collect();
    assert!(names.len() >= 109, "{} fields", names.len());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/botapi/api.json");
    let Ok(json) = std::fs::read_to_string(&path) else {
        println!("{} is not there: the list stands alone", path.display());
        return;
    };
    let api: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let fields = api["types"]["Message"]["fields"].as_array();
    let expected: Vec<&str> = fields
        .expect("the fields of Message")
        .iter()
        .filter_map(|field| field["name"].as_str())
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn an_unknown_kind_keeps_the_words_beside_it() {
    for (beside, text) in [
        (r#""caption":"what is this?""#, "in a caption"),
        (r#""text":"what is this?""#, "in a text"),
    ] {
        let fields = format!(r#""paid_media":{{"star_count":1}},{beside}"#);
        assert_eq!(outcome(&private(ANN, &fields)), "read", "{text}");
        assert_eq!(outcome(&in_group(ANN, &fields)), "read", "{text}");
    }
    assert_eq!(
        outcome(&in_group(ANN, r#""community_chat_added":{}"#)),
        "silence"
    );
    assert_eq!(outcome(&in_group(ANN, r#""hologram":{}"#)), "silence");
    assert_eq!(outcome(&private(ANN, r#""hologram":{}"#)), "sentence");
}
