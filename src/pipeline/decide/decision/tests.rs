use rstest::rstest;

use super::*;
use crate::pipeline::decide::attachment_check::UnreadableAttachment;
use crate::pipeline::decide::classified_message::ClassifiedUpdate;
use crate::pipeline::decide::test_values::{ANN, GROUP, MALLORY, connector, in_group, private};
use crate::registry::{GroupPolicy, Transcription};

/// The decision in one word, with the reply where there is one.
fn decided(edit: impl FnOnce(&mut ResolvedConnector), json: &str) -> Decision {
    let incoming = IncomingUpdate::parse(json).expect("readable");
    ClassifiedUpdate::new(&connector(edit), incoming, Timestamp::UNIX_EPOCH).decision
}

fn edited(user: i64, fields: &str) -> String {
    private(user, fields).replace("\"message\":", "\"edited_message\":")
}

/// A tap under a message that looks like a command.
fn tap(user: i64, chat: &str) -> String {
    format!(
        r#"{{"update_id":1,"callback_query":{{"id":"9","from":{{"id":{user}}},"data":"yes",
            "message":{{"message_id":4,"date":100,"text":"/new","from":{{"id":8400000001}},"chat":{{{chat}}}}}}}}}"#
    )
}

const MENTION: &str =
    r#""text":"@support_bot hi","entities":[{"type":"mention","offset":0,"length":12}]"#;

#[rstest]
#[case::start(private(ANN, r#""text":"/start""#), CannedReply::Greeting)]
#[case::help(private(ANN, r#""text":"/help""#), CannedReply::Help)]
#[case::id(private(ANN, r#""text":"/id""#), CannedReply::Ids { user: Some(ANN), chat: ANN })]
#[case::id_in_a_group(in_group(ANN, r#""text":"/id@support_bot""#), CannedReply::Ids { user: Some(ANN), chat: GROUP })]
#[case::dice(
    private(ANN, r#""dice":{"emoji":"x","value":3}"#),
    CannedReply::Unsupported
)]
#[case::voice_without_transcription(
    private(ANN, r#""voice":{"file_id":"v"}"#),
    CannedReply::Unreadable(UnreadableAttachment::NoTranscription)
)]
#[case::no_text_file(
    private(ANN, r#""document":{"file_id":"d","mime_type":"application/pdf"}"#),
    CannedReply::Unreadable(UnreadableAttachment::NotText)
)]
#[case::text_file_too_big(
    private(
        ANN,
        r#""document":{"file_id":"d","mime_type":"text/plain","file_size":65537}"#
    ),
    CannedReply::Unreadable(UnreadableAttachment::TooBig)
)]
#[case::mention_alone(
    in_group(
        ANN,
        r#""text":"@support_bot","entities":[{"type":"mention","offset":0,"length":12}]"#
    ),
    CannedReply::Greeting
)]
fn bot_replies_by_itself(#[case] json: String, #[case] expected: CannedReply) {
    assert_eq!(decided(|_| {}, &json), Decision::Reply(expected));
}

#[rstest]
#[case::new(private(ANN, r#""text":"/new""#), Decision::StartSession)]
#[case::stop(private(ANN, r#""text":"/stop""#), Decision::Stop)]
#[case::denied(private(MALLORY, r#""text":"hi""#), Decision::Deny)]
#[case::id_of_a_denied_user(private(MALLORY, r#""text":"/id""#), Decision::DenyWithIds)]
#[case::denied_command(private(MALLORY, r#""text":"/new""#), Decision::Deny)]
#[case::denied_content(private(MALLORY, r#""sticker":{}"#), Decision::Deny)]
#[case::denied_in_a_group(in_group(MALLORY, MENTION), Decision::Deny)]
#[case::nobody(in_group(ANN, &format!(r#"{MENTION},"sender_chat":{{"id":-5}}"#)), Decision::Deny)]
#[case::not_addressed(in_group(ANN, r#""text":"hi""#), Decision::Ignore)]
#[case::denied_and_not_addressed(in_group(MALLORY, r#""text":"hi""#), Decision::Ignore)]
#[case::for_another_bot(in_group(ANN, r#""text":"/new@other_bot""#), Decision::Ignore)]
#[case::service_message(private(ANN, r#""pinned_message":{}"#), Decision::Ignore)]
#[case::unseen_edit(edited(ANN, r#""text":"hi""#), Decision::Ignore)]
#[case::edited_new(edited(ANN, r#""edit_date":101,"text":"/new""#), Decision::Ignore)]
#[case::edited_question_behind_new(
    edited(ANN, r#""edit_date":101,"text":"/new what?""#),
    Decision::Ignore
)]
#[case::edited_stop(edited(ANN, r#""edit_date":101,"text":"/stop""#), Decision::Ignore)]
#[case::edited_id_of_a_denied_user(
    edited(MALLORY, r#""edit_date":101,"text":"/id""#),
    Decision::Ignore
)]
#[case::tap(tap(ANN, r#""id":7,"type":"private""#), Decision::Tap)]
#[case::denied_tap(tap(MALLORY, r#""id":66,"type":"private""#), Decision::DenyTap)]
#[case::tap_in_a_group(tap(ANN, r#""id":-100123,"type":"supergroup""#), Decision::Tap)]
#[case::denied_tap_in_a_group(
    tap(MALLORY, r#""id":-100123,"type":"supergroup""#),
    Decision::DenyTap
)]
#[case::moving_location(
    edited(ANN, r#""edit_date":101,"location":{"latitude":1,"longitude":2}"#),
    Decision::Ignore
)]
fn message_is_decided(#[case] json: String, #[case] expected: Decision) {
    assert_eq!(decided(|_| {}, &json), expected);
}

#[test]
fn tap_in_a_group_is_ignored_where_the_bot_is_silent() {
    let json = tap(ANN, r#""id":-100123,"type":"supergroup""#);
    assert_eq!(decided(|c| c.groups = None, &json), Decision::Ignore);
}

#[rstest]
#[case::text(private(ANN, r#""text":"hi""#))]
#[case::command_of_somebody_else(private(ANN, r#""text":"/weather""#))]
#[case::photo(private(ANN, r#""photo":[{"file_id":"p"}]"#))]
#[case::text_file(private(ANN, r#""document":{"file_id":"d","mime_type":"text/plain"}"#))]
#[case::edit(edited(ANN, r#""edit_date":101,"text":"hi""#))]
#[case::mention(in_group(ANN, MENTION))]
fn assistant_is_asked(#[case] json: String) {
    let decision = decided(|_| {}, &json);
    assert!(
        matches!(decision, Decision::AskAssistant(_)),
        "{decision:?}"
    );
}

#[rstest]
#[case::text(private(ANN, r#""text":"/new what is 2+2?""#), "what is 2+2?", false)]
#[case::several_lines(
    private(ANN, r#""text":"/new\nwhat is\n2+2?""#),
    "what is\n2+2?",
    false
)]
#[case::caption(
    private(ANN, r#""photo":[{"file_id":"p"}],"caption":"/new what is this?""#),
    "what is this?",
    true
)]
#[case::caption_alone(
    private(ANN, r#""photo":[{"file_id":"p"}],"caption":"/new""#),
    "",
    true
)]
#[case::in_a_group(in_group(ANN, r#""text":"/new@support_bot what?""#), "what?", false)]
fn question_behind_new_begins_its_session(
    #[case] json: String,
    #[case] question: &str,
    #[case] pictured: bool,
) {
    let Decision::AskInNewSession(AssistantInput::Text { text, picture }) = decided(|_| {}, &json)
    else {
        panic!("{:?}", decided(|_| {}, &json));
    };
    assert_eq!((text.as_str(), picture.is_some()), (question, pictured));
    let stateless = |c: &mut ResolvedConnector| c.session.duration = SessionDuration::None;
    assert!(matches!(
        decided(stateless, &json),
        Decision::AskAssistant(_)
    ));
}

/// Kinds of updates that no connector asks for: another's talk, in a chat that has the id of one of ours.
#[rstest]
fn update_of_a_kind_not_asked_for_is_ignored(
    #[values(
        "business_message",
        "edited_business_message",
        "guest_message",
        "edited_channel_post"
    )]
    kind: &str,
    #[values("hello", "/new", "/stop", "/id")] text: &str,
) {
    let fields = format!(
        r#""text":"{text}","edit_date":101,"business_connection_id":"b","guest_query_id":"g""#
    );
    for user in [ANN, MALLORY] {
        let json = private(user, &fields).replace("\"message\":", &format!("\"{kind}\":"));
        assert_eq!(decided(|_| {}, &json), Decision::Ignore);
    }
}

#[test]
fn connector_settings_change_the_decision() {
    let greeting = |c: &mut ResolvedConnector| c.greeting = Some("Ciao".into());
    assert_eq!(
        decided(greeting, &private(ANN, r#""text":"/start""#)),
        Decision::Reply(CannedReply::CustomGreeting("Ciao".into()))
    );
    let stateless = |c: &mut ResolvedConnector| c.session.duration = SessionDuration::None;
    assert_eq!(
        decided(stateless, &private(ANN, r#""text":"/new""#)),
        Decision::Reply(CannedReply::NoSession)
    );
    let unlisted = |c: &mut ResolvedConnector| {
        c.groups = Some(GroupPolicy {
            read_along: 0,
            respond_to: crate::api::connector::RespondTo::All,
            chats: Some([-5].into()),
        });
    };
    assert_eq!(
        decided(unlisted, &in_group(ANN, MENTION)),
        Decision::LeaveChat
    );
    let silent = |c: &mut ResolvedConnector| c.groups = None;
    assert_eq!(decided(silent, &in_group(ANN, MENTION)), Decision::Ignore);
    let broken =
        |c: &mut ResolvedConnector| c.transcription = Transcription::Unavailable("no key".into());
    let voice = private(ANN, r#""voice":{"file_id":"v","file_size":20971521}"#);
    assert_eq!(
        decided(broken, &voice),
        Decision::Reply(CannedReply::Unreadable(UnreadableAttachment::TooBig))
    );
}

#[rstest]
#[case::payload("/start ref_7-A", true)]
#[case::words("/start what is this?", false)]
#[case::one_word_too_much("/start ref x", false)]
#[case::nothing("/start ", false)]
fn payload_of_a_link_begins_a_session(#[case] text: &str, #[case] begins: bool) {
    let json = private(ANN, &format!(r#""text":"{text}""#));
    match decided(|_| {}, &json) {
        Decision::AskInNewSession(AssistantInput::Text { text: asked, .. }) if begins => {
            assert_eq!(asked, text);
        }
        decision => {
            assert_eq!(decision, Decision::Reply(CannedReply::Greeting));
            assert!(!begins);
        }
    }
    let without_sessions = |c: &mut ResolvedConnector| c.session.duration = SessionDuration::None;
    let asked = decided(without_sessions, &json);
    assert_eq!(
        matches!(asked, Decision::AskAssistant(_)),
        begins,
        "{asked:?}"
    );
}

#[test]
fn payload_that_is_too_long_for_a_link_is_none() {
    let json = private(ANN, &format!(r#""text":"/start {}""#, "a".repeat(65)));
    assert_eq!(
        decided(|_| {}, &json),
        Decision::Reply(CannedReply::Greeting)
    );
}
