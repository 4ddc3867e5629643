use rstest::rstest;

use super::*;
use crate::api::connector::RespondTo;
use crate::pipeline::decide::test_values::{ANN, BEN, MALLORY, connector, private, waiting};

const FOLLOW_UP: Duration = Duration::from_secs(2);

/// A message, its attempts so far.
type Waiting = (String, u32);

fn say(user: i64, message_id: i64, date: i64, text: &str) -> Waiting {
    let fields = format!(r#""date":{date},"text":"{text}""#);
    let json =
        private(user, &fields).replace("\"message_id\":5", &format!("\"message_id\":{message_id}"));
    (json, 0)
}

fn edit(user: i64, message_id: i64, text: &str) -> Waiting {
    let (json, _) = say(
        user,
        message_id,
        100,
        &format!("{text}\",\"edit_date\":\"x"),
    );
    let json = json.replace("\"edit_date\":\"x\"", "\"edit_date\":105");
    (json.replace("\"message\":", "\"edited_message\":"), 0)
}

fn picture(fields: &str) -> Waiting {
    let fields = format!(r#""photo":[{{"file_id":"p"}}],"media_group_id":"g"{fields}"#);
    (private(ANN, &fields), 0)
}

fn again((json, _): Waiting, attempts: u32) -> Waiting {
    (json, attempts)
}

/// A group's chat holds everybody's messages; in private the same rules hold for the one who writes.
fn of_group(messages: Vec<Waiting>) -> Vec<Waiting> {
    let chat = |json: String| {
        json.replace(
            r#""chat":{"id":7,"type":"private"}"#,
            r#""chat":{"id":-9,"type":"group"}"#,
        )
        .replace(
            r#""chat":{"id":8,"type":"private"}"#,
            r#""chat":{"id":-9,"type":"group"}"#,
        )
    };
    messages
        .into_iter()
        .map(|(json, n)| (chat(json), n))
        .collect()
}

fn batch_of(messages: &[Waiting], now: i64, room: bool) -> Option<MessageBatch> {
    batch_where(RespondTo::All, messages, now, room)
}

fn batch_where(
    respond_to: RespondTo,
    messages: &[Waiting],
    now: i64,
    room: bool,
) -> Option<MessageBatch> {
    let connector = connector(|c| {
        if let Some(groups) = &mut c.groups {
            groups.respond_to = respond_to;
        }
    });
    let context = BatchContext {
        connector: &connector,
        now: Timestamp::from_millisecond(now).expect("in range"),
        follow_up: FOLLOW_UP,
    };
    let messages: Vec<(&str, u32)> = messages
        .iter()
        .map(|(json, n)| (json.as_str(), *n))
        .collect();
    next_batch(&context, &waiting(&connector, &messages), |_| room)
}

/// Late enough that nothing is waited for.
const LATER: i64 = 10_000;

#[rstest]
#[case::one(vec![say(ANN, 1, 100, "a")], &[0], 1)]
#[case::quick_follow_up(vec![say(ANN, 1, 100, "a"), say(ANN, 2, 102, "b")], &[0, 1], 2)]
#[case::slow_follow_up(vec![say(ANN, 1, 100, "a"), say(ANN, 2, 103, "b")], &[0], 1)]
#[case::dates_that_step_back(vec![say(ANN, 1, 100, "a"), say(ANN, 2, 90, "b")], &[0], 1)]
#[case::somebody_else(of_group(vec![say(ANN, 1, 100, "a"), say(BEN, 2, 100, "b")]), &[0], 1)]
#[case::behind_somebody_else(of_group(vec![say(ANN, 1, 100, "a"), say(BEN, 2, 100, "b"), say(ANN, 3, 101, "c")]), &[0], 1)]
#[case::follow_up_that_is_a_command(vec![say(ANN, 1, 100, "a"), say(ANN, 2, 100, "/help")], &[0], 1)]
#[case::command_is_alone(vec![say(ANN, 1, 100, "/help"), say(ANN, 2, 100, "a")], &[0], 1)]
#[case::tried_before(vec![again(say(ANN, 1, 100, "a"), 1), say(ANN, 2, 100, "b")], &[0], 1)]
#[case::tried_together(vec![again(say(ANN, 1, 100, "a"), 1), again(say(ANN, 2, 100, "b"), 1)], &[0, 1], 2)]
#[case::edited_while_it_waits(vec![say(ANN, 1, 100, "a"), edit(ANN, 1, "b")], &[0, 1], 1)]
#[case::follow_up_edited(vec![say(ANN, 1, 100, "a"), say(ANN, 2, 101, "b"), edit(ANN, 2, "c")], &[0, 1, 2], 2)]
#[case::edit_of_an_answered_one(vec![edit(ANN, 1, "b"), say(ANN, 2, 106, "c")], &[0], 1)]
#[case::album(vec![picture(""), picture(""), picture(r#","caption":"what?""#)], &[0, 1, 2], 3)]
#[case::unreadable_behind(vec![say(ANN, 1, 100, "a"), ("[]".into(), 0), say(ANN, 3, 100, "b")], &[0], 1)]
#[case::denied_album(vec![(private(MALLORY, r#""photo":[{"file_id":"p"}],"media_group_id":"g""#), 0), (private(MALLORY, r#""photo":[{"file_id":"q"}],"media_group_id":"g""#), 0)], &[0], 1)]
fn messages_that_belong_together_are_one_turn(
    #[case] messages: Vec<Waiting>,
    #[case] settled: &[usize],
    #[case] members: usize,
) {
    let batch = batch_of(&messages, LATER, true).expect("a turn");
    assert_eq!(batch.settled_indices, settled);
    assert_eq!(
        (batch.members.len(), batch.ready_in, batch.stop),
        (members, None, None)
    );
}

#[test]
fn follow_up_beyond_the_limit_is_a_turn_of_its_own() {
    let messages = [say(ANN, 1, 100, "a"), say(ANN, 2, 100, "b")];
    assert_eq!(
        batch_of(&messages, LATER, false)
            .expect("a turn")
            .settled_indices,
        [0]
    );
}

#[rstest]
#[case::stop_at_once(vec![say(ANN, 1, 100, "a"), say(ANN, 2, 105, "/stop")], &[0, 1])]
#[case::stop_behind_another_question(vec![say(ANN, 1, 100, "a"), say(ANN, 2, 105, "b"), say(ANN, 3, 110, "/stop")], &[0, 1, 2])]
#[case::only_the_own_questions(of_group(vec![say(ANN, 1, 100, "a"), say(BEN, 2, 105, "b"), say(ANN, 3, 110, "/stop")]), &[0, 2])]
#[case::begun_by_anybody(of_group(vec![again(say(ANN, 1, 100, "a"), 1), say(BEN, 2, 110, "/stop")]), &[0, 1])]
fn stop_behind_a_turn_ends_it(#[case] messages: Vec<Waiting>, #[case] settled: &[usize]) {
    let batch = batch_of(&messages, LATER, true).expect("a turn");
    assert!(batch.stop.is_some());
    let mut found = batch.settled_indices;
    found.sort_unstable();
    assert_eq!(found, settled);
}

#[rstest]
#[case::of_somebody_else(of_group(vec![say(ANN, 1, 100, "a"), say(BEN, 2, 105, "/stop")]))]
#[case::of_nobody_named(of_group(vec![say(ANN, 1, 100, "a"), say(MALLORY, 2, 105, "/stop")]))]
#[case::new_session(vec![say(ANN, 1, 100, "a"), say(ANN, 2, 105, "/new")])]
fn turn_that_has_not_begun_goes_on(#[case] messages: Vec<Waiting>) {
    let batch = batch_of(&messages, LATER, true).expect("a turn");
    assert!(batch.stop.is_none());
    assert!(matches!(batch.decision, Decision::AskAssistant(_)));
}

#[test]
fn new_session_ends_a_turn_that_had_begun() {
    let messages = [again(say(ANN, 1, 100, "a"), 1), say(ANN, 2, 105, "/new")];
    let batch = batch_of(&messages, LATER, true).expect("a turn");
    assert_eq!(
        (batch.decision, batch.settled_indices),
        (Decision::Ignore, vec![0])
    );
}

#[rstest]
#[case::album_just_begun(vec![picture("")], 200, Some(500))]
#[case::album_waited_for(vec![picture("")], 700, None)]
#[case::album_tried_before(vec![again(picture(""), 1)], 200, None)]
#[case::album_with_a_message_behind(vec![picture(""), say(ANN, 9, 200, "b")], 200, None)]
#[case::paste(vec![say(ANN, 1, 100, &"word ".repeat(800))], 200, Some(500))]
#[case::clock_stepped_back(vec![picture("")], -86_400_000, None)]
#[case::short_text(vec![say(ANN, 1, 100, "a")], 0, None)]
fn next_piece_is_waited_for(
    #[case] messages: Vec<Waiting>,
    #[case] now: i64,
    #[case] ready_in: Option<u64>,
) {
    let batch = batch_of(&messages, now, true).expect("a turn");
    assert_eq!(batch.ready_in, ready_in.map(Duration::from_millis));
}

/// The caption that mentions the bot may be on any piece.
#[rstest]
#[case::just_begun(vec![picture("")], 200, Some(500))]
#[case::waited_for(vec![picture("")], 700, None)]
#[case::with_a_message_behind(vec![picture(""), say(ANN, 9, 200, "b")], 200, None)]
#[case::no_album(vec![say(ANN, 1, 100, "a")], 200, None)]
fn album_waits_for_the_piece_that_mentions_the_bot(
    #[case] messages: Vec<Waiting>,
    #[case] now: i64,
    #[case] ready_in: Option<u64>,
) {
    let batch = batch_where(RespondTo::Mention, &of_group(messages), now, true).expect("a turn");
    assert_eq!(batch.decision, Decision::Ignore);
    assert_eq!(batch.ready_in, ready_in.map(Duration::from_millis));
}

#[test]
fn album_speaks_by_its_caption() {
    let messages = [picture(""), picture(r#","caption":"what?""#), picture("")];
    let batch = batch_of(&messages, LATER, true).expect("a turn");
    assert_eq!(
        (batch.lead, batch.lead().text.as_deref()),
        (1, Some("what?"))
    );
}

#[test]
fn unreadable_message_is_no_turn() {
    assert!(batch_of(&[("[]".into(), 0)], LATER, true).is_none());
    assert!(batch_of(&[], LATER, true).is_none());
}

#[test]
fn edit_decides_what_is_asked() {
    let messages = [
        say(ANN, 1, 100, "a"),
        edit(ANN, 1, "b"),
        edit(ANN, 1, "/help"),
    ];
    let batch = batch_of(&messages, LATER, true).expect("a turn");
    assert!(
        matches!(batch.decision, Decision::Reply(_)),
        "{:?}",
        batch.decision
    );
}
