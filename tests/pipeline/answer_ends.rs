//! Answers that are not whole, or empty: what is shown, what the history keeps, whether they are asked for again, and what is observed.

use rstest::rstest;
use telegram_connector_operator::assistant::{
    AnswerPart, AssistantError, AssistantFault, FailureKind, QuestionProgress, Truncation,
};
use telegram_connector_operator::observation::AssistantFact;

use crate::postgres::Postgres;
use crate::scripted_assistant::{Script, ScriptedAssistant, failure, text};
use crate::test_env::{TIMEOUT, TestEnv};

const HALF: &str = "You owe nothing";

/// Half an answer to "half", and then this.
fn ending_with(end: Result<AnswerPart, AssistantError>) -> ScriptedAssistant {
    ScriptedAssistant::new(move |question| {
        if question.text == "half" {
            Ok(vec![Ok(AnswerPart::Text(HALF.into())), end.clone()])
        } else {
            text("whole")
        }
    })
}

fn broken() -> Result<AnswerPart, AssistantError> {
    Err(failure(
        FailureKind::Unreachable,
        QuestionProgress::Uncertain,
    ))
}

/// The mark under half an answer, as shown and as the next question's history has it.
async fn check_that_the_history_holds_the_mark(
    mut env: TestEnv,
    end: Result<AnswerPart, AssistantError>,
    mark: &str,
) {
    let model = ending_with(end);
    let support = env.connector_with("support", |c| c.assistant = Some(model.shared()));
    let expected = format!("{HALF}\n\n{mark}");
    assert_eq!(env.ask(&support, "half").await.text, expected);
    // As the store has it, not as this process remembers it.
    env.restart(TIMEOUT).await;
    env.ask(&support, "and?").await;
    let asked = model.take_questions();
    assert_eq!(asked.len(), 2, "asked once each");
    let history: Vec<_> = asked[1].history.iter().map(|m| m.text.as_str()).collect();
    assert_eq!(history, ["half", expected.as_str()]);
    env.stop(TIMEOUT).await;
}

#[rstest]
#[case::broken(broken(), "(The answer broke off here.)")]
#[case::time_is_up(
    Err(failure(FailureKind::TimedOut, QuestionProgress::Uncertain)),
    "(The answer broke off here.)"
)]
#[case::length(
    Ok(AnswerPart::Truncated(Truncation::Length)),
    "(The assistant reached its length limit here. Ask it to go on.)"
)]
#[case::filter(
    Ok(AnswerPart::Truncated(Truncation::Filter)),
    "(The assistant's content filter ended the answer here.)"
)]
#[tokio::test]
async fn answer_that_is_not_whole_is_marked_in_the_history(
    #[case] end: Result<AnswerPart, AssistantError>,
    #[case] mark: &str,
) {
    check_that_the_history_holds_the_mark(TestEnv::new().await, end, mark).await;
}

#[tokio::test]
async fn broken_answer_is_marked_in_the_history_on_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let env = TestEnv::on(&postgres.address()).await;
    check_that_the_history_holds_the_mark(env, broken(), "(The answer broke off here.)").await;
}

#[rstest]
#[case(Truncation::Filter, "The assistant's content filter refused this.")]
#[case(Truncation::Length, "That was too large, or its answer was.")]
#[tokio::test]
async fn truncated_answer_without_text_says_why_and_is_not_kept(
    #[case] truncation: Truncation,
    #[case] expected: &str,
) {
    let mut env = TestEnv::new().await;
    let model = ScriptedAssistant::new(move |_| Ok(vec![Ok(AnswerPart::Truncated(truncation))]));
    let support = env.connector_with("support", |c| c.assistant = Some(model.shared()));
    for _ in 0..2 {
        let answer = env.ask(&support, "hello").await;
        assert!(answer.text.starts_with(expected), "{}", answer.text);
    }
    assert_eq!(model.take_exchanges(), [0, 0]);
    let metrics = env.metrics.encode();
    assert!(metrics.contains("result=\"truncated_"), "{metrics}");
}

#[tokio::test]
async fn question_that_was_begun_is_not_asked_again_by_itself() {
    let mut env = TestEnv::new().await;
    let agent =
        ScriptedAssistant::new(|_| Err(failure(FailureKind::Unreachable, QuestionProgress::Begun)));
    let support = env.connector_with("support", |c| c.assistant = Some(agent.shared()));
    let sorry = env.ask(&support, "book it").await;
    assert_eq!(
        sorry.text,
        "I lost the assistant while it was working on this, and it may have finished. Please check before you ask again."
    );
    assert_eq!(agent.take_questions().len(), 1);
    assert_eq!(env.dead_letters().await.len(), 1);
}

#[rstest]
#[case::refused(QuestionProgress::NotTaken, 3)]
#[case::perhaps_arrived(QuestionProgress::Uncertain, 2)]
#[tokio::test]
async fn progress_decides_how_often_a_question_is_asked(
    #[case] progress: QuestionProgress,
    #[case] asked: usize,
) {
    // The tests' limit for a question that never arrived is three.
    let mut env = TestEnv::new().await;
    let agent = ScriptedAssistant::new(move |_| Err(failure(FailureKind::Unreachable, progress)));
    let support = env.connector_with("support", |c| c.assistant = Some(agent.shared()));
    let sorry = env.ask(&support, "book it").await;
    assert!(sorry.text.starts_with("I cannot answer"), "{}", sorry.text);
    assert_eq!(agent.take_questions().len(), asked);
}

#[tokio::test]
async fn three_empty_answers_in_a_row_are_a_fault() {
    let nothing: fn() -> Script = || Ok(vec![]);
    let mut env = TestEnv::new().await;
    let model = ScriptedAssistant::new(move |_| nothing());
    let support = env.connector_with("support", |c| c.assistant = Some(model.shared()));
    for n in 1..=3 {
        let fact = env.observations.facts(&support.uid).assistant;
        assert_eq!(fact, AssistantFact::Unknown, "{n}");
        let answer = env.ask(&support, "say nothing").await;
        assert!(
            answer.text.starts_with("I have no answer"),
            "{}",
            answer.text
        );
    }
    let fact = env.observations.facts(&support.uid).assistant;
    let expected = AssistantFact::Failing {
        fault: AssistantFault::Failing,
        detail: "the answer was empty; look into the assistant's log".into(),
    };
    assert_eq!(fact, expected);
    let metrics = env.metrics.encode();
    let counted = "assistant_seconds_count{protocol=\"OpenAI\",result=\"empty\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
    // None of them is a part of the conversation.
    let histories = model.take_exchanges();
    assert_eq!(histories, [0, 0, 0]);
}

#[rstest]
#[case(FailureKind::Overloaded, "Please try again in a minute.")]
#[case(FailureKind::QuotaExhausted, "until its administrator has renewed it.")]
#[case(FailureKind::Filtered, "Please put it another way.")]
#[case(FailureKind::PicturesRefused, "describe in words what yours shows.")]
#[case(FailureKind::FilesRefused, "send the words instead.")]
#[case(FailureKind::TaskFailed, "It may help to put it another way.")]
#[case(FailureKind::TooLarge, "Please ask for less at a time.")]
#[case(FailureKind::Forbidden, "please tell its administrator.")]
#[case(FailureKind::Misconfigured, "please tell its administrator.")]
#[case(FailureKind::ServerFault, "Please try again in a few minutes.")]
#[tokio::test]
async fn user_is_told_what_failed_and_what_helps(#[case] kind: FailureKind, #[case] advice: &str) {
    let mut env = TestEnv::new().await;
    let model = ScriptedAssistant::new(move |_| Err(failure(kind, QuestionProgress::NotTaken)));
    let support = env.connector_with("support", |c| c.assistant = Some(model.shared()));
    let sorry = env.ask(&support, "hello").await;
    assert!(sorry.text.ends_with(advice), "{}", sorry.text);
    let dead = env.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert!(dead[0].reason.contains("scripted"), "{}", dead[0].reason);
    let metrics = env.metrics.encode();
    let label = format!("result=\"{}\"", kind.label());
    assert!(metrics.contains(&label), "{metrics}");
}
