use super::*;

fn incoming(fields: &str) -> IncomingUpdate {
    IncomingUpdate::parse(&format!(
        r#"{{"update_id":1,"message":{{"message_id":5,"date":100,"from":{{"id":7}},"chat":{{"id":7,"type":"private"}},{fields}}}}}"#
    ))
    .expect("readable")
}

#[test]
fn albums_and_cut_pastes_are_one_batch() {
    let long = "word ".repeat(800);
    let first = incoming(&format!(r#""text":"{long}""#));
    let at = |date: i64, mut m: IncomingUpdate| {
        m.date = jiff::Timestamp::from_second(date).expect("in range");
        m
    };
    let rest = incoming(r#""text":"the rest""#);
    let relation = |a: &IncomingUpdate, b: &IncomingUpdate| message_relation(a, b, Duration::ZERO);
    assert_eq!(
        relation(&first, &at(101, rest.clone())),
        MessageRelation::Paste
    );
    assert_eq!(
        relation(&first, &at(103, rest.clone())),
        MessageRelation::None,
        "too late"
    );
    assert_eq!(
        relation(&rest, &first),
        MessageRelation::None,
        "the first was not cut"
    );
    assert_eq!(
        relation(&first, &incoming(r#""text":"/new""#)),
        MessageRelation::None,
        "a command"
    );
    let reply = incoming(r#""text":"x","reply_to_message":{"message_id":1}"#);
    assert_eq!(relation(&first, &reply), MessageRelation::None, "a reply");
    let mut other = rest.clone();
    other.sender.as_mut().expect("a sender").id = 8;
    assert_eq!(
        relation(&first, &other),
        MessageRelation::None,
        "somebody else"
    );

    let picture = |id: &str| {
        incoming(&format!(
            r#""photo":[{{"file_id":"{id}"}}],"media_group_id":"g""#
        ))
    };
    assert_eq!(
        relation(&picture("a"), &picture("b")),
        MessageRelation::Album
    );
    assert_eq!(relation(&picture("a"), &rest), MessageRelation::None);
}

#[test]
fn texts_of_a_batch_are_joined_in_order() {
    assert_eq!(
        join_texts(&[
            (MessageRelation::None, "a"),
            (MessageRelation::Paste, "b"),
            (MessageRelation::Album, ""),
            (MessageRelation::Album, "c")
        ]),
        "a\nb\n\nc"
    );
}
