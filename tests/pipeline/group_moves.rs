//! A group that becomes a supergroup has another id, and is the same group.

use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::observation::Notice;
use telegram_connector_operator::registry::GroupPolicy;

use crate::postgres::Postgres;
use crate::test_env::{ANN, TIMEOUT, TestEnv};

async fn check_group_is_the_same_after_its_move(mut env: TestEnv, named: bool) {
    let support = env.connector("support");
    env.telegram.set_privacy(support.id, false);
    let group = env.telegram.add_group("group", "Team", &[support.id.0]);
    env.update_connector(&support, |c| {
        c.groups = Some(GroupPolicy {
            read_along: 0,
            respond_to: RespondTo::All,
            chats: named.then(|| [group].into()),
        });
    });
    env.telegram.send_group_message(group, ANN, "one");
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, group, 0, TIMEOUT)
        .await;
    assert!(sent[0].text.contains("This is the first message"));
    env.wait_until_drained().await;
    let supergroup = env.telegram.migrate(group);
    env.telegram.send_group_message(supergroup, ANN, "two");
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, supergroup, 0, TIMEOUT)
        .await;
    let answer = &sent[0].text;
    assert!(answer.contains("two"), "{answer}");
    assert!(!answer.contains("This is the first message"), "{answer}");
    env.wait_until_drained().await;
    let moved = Notice::GroupMoved {
        from: group,
        to: supergroup,
    };
    let notices = env.observations.take_notices(&support.uid);
    let moves = notices.iter().filter(|n| n.notice == moved).count();
    assert_eq!(moves, usize::from(named));
    let moved_groups = env.observations.facts(&support.uid).moved_groups;
    let known = moved_groups.iter().map(|group| (group.from, group.to));
    let expected = named.then_some((group, supergroup));
    assert_eq!(known.collect::<Vec<_>>(), Vec::from_iter(expected));
}

#[tokio::test]
async fn named_group_keeps_its_rule_and_its_session_when_it_moves() {
    check_group_is_the_same_after_its_move(TestEnv::new().await, true).await;
}

#[tokio::test]
async fn any_group_keeps_its_session_when_it_moves() {
    check_group_is_the_same_after_its_move(TestEnv::new().await, false).await;
}

#[tokio::test]
async fn named_group_keeps_its_rule_and_its_session_when_it_moves_on_postgres() {
    let Some(postgres) = Postgres::start_empty().await else {
        return;
    };
    let env = TestEnv::on(&postgres.address()).await;
    check_group_is_the_same_after_its_move(env, true).await;
}
