//! Sign-in with the organization's account: who writes is asked once, what was written waits, and is answered after.

use std::sync::Arc;
use std::time::Duration;

use telegram_connector_operator::api::connector::{AccessLevel, RespondTo};
use telegram_connector_operator::registry::{AccessPolicy, GroupPolicy, ResolvedConnector};
use telegram_connector_operator::store::{ListingQuery, ObjectKind, ObjectQuery};

use crate::identity_provider::{Entered, FakeProvider, LINK};
use crate::scripted_assistant::{ScriptedAssistant, text};
use crate::test_env::{ANN, Connector, EVE, TestEnv, specific_users, wait_until};

pub(crate) const DAY: Duration = Duration::from_hours(24);

/// The organization's people: Ann by her id, all others by their account.
pub(crate) fn company() -> AccessPolicy {
    AccessPolicy {
        level: AccessLevel::Company,
        takes_grants: true,
        ..specific_users(&[ANN])
    }
}

pub(crate) struct Company {
    pub(crate) env: TestEnv,
    pub(crate) provider: Arc<FakeProvider>,
    pub(crate) assistant: ScriptedAssistant,
    pub(crate) support: Connector,
}

impl Company {
    pub(crate) async fn new() -> Self {
        Self::with(FakeProvider::new(), DAY, Duration::ZERO).await
    }

    pub(crate) async fn with(
        provider: Arc<FakeProvider>,
        recheck: Duration,
        grace: Duration,
    ) -> Self {
        Self::on(TestEnv::new().await, provider, recheck, grace)
    }

    pub(crate) fn on(
        mut env: TestEnv,
        provider: Arc<FakeProvider>,
        recheck: Duration,
        grace: Duration,
    ) -> Self {
        let assistant = ScriptedAssistant::new(|question| text(format!("re {}", question.text)));
        let policy = provider.policy(recheck, grace);
        let support = env.connector_with("support", |c| {
            c.assistant = Some(assistant.shared());
            c.access = company();
            c.sign_in = Some(policy);
        });
        Self {
            env,
            provider,
            assistant,
            support,
        }
    }

    pub(crate) fn say(&self, user: i64, text: &str) {
        let telegram = &self.env.telegram;
        telegram.send_private_message(self.support.id, user, text);
    }

    /// What the bot has said to somebody.
    pub(crate) fn said_to(&self, user: i64) -> Vec<String> {
        let sent = self.env.telegram.sent_messages(self.support.id, user);
        sent.into_iter().map(|m| m.text).collect()
    }

    pub(crate) async fn wait_for_messages(&self, user: i64, count: usize) -> Vec<String> {
        wait_until("the bot has said so much", async || {
            self.said_to(user).len() >= count
        })
        .await;
        self.env.wait_until_handled(&self.support).await;
        let texts = self.said_to(user);
        assert_eq!(texts.len(), count, "{texts:?}");
        texts
    }

    /// The codes that somebody was sent.
    pub(crate) fn codes(&self, user: i64) -> Vec<String> {
        let texts = self.said_to(user);
        let words = texts.iter().flat_map(|text| text.split_whitespace());
        words
            .filter(|word| word.starts_with("CODE-"))
            .map(str::to_owned)
            .collect()
    }

    /// Somebody writes, and signs in with the code that they are sent: what they wrote is answered last.
    pub(crate) async fn sign_in(&self, user: i64, subject: &str) {
        let before = self.said_to(user).len();
        self.say(user, "let me in");
        self.wait_for_messages(user, before + 1).await;
        let code = self.codes(user).pop().unwrap();
        self.provider.enter(&code, Entered::As(subject.into()));
        let texts = self.wait_for_messages(user, before + 2).await;
        assert_eq!(texts.last().unwrap(), "re let me in");
    }

    pub(crate) async fn grants(&self) -> usize {
        let query = ObjectQuery::all(ObjectKind::AccessGrant);
        let page = self.env.store.list_objects(&query, None, 100).await;
        page.unwrap().objects.len()
    }

    async fn denied(&self) -> Vec<Option<String>> {
        let listing = ListingQuery {
            limit: 100,
            ..ListingQuery::default()
        };
        let denied = self.env.store.denied(&listing).await.unwrap();
        denied.rows.into_iter().map(|d| d.text).collect()
    }

    fn change(&self, edit: impl FnOnce(&mut ResolvedConnector)) {
        self.env.update_connector(&self.support, edit);
    }

    async fn wait_until_asked_to_sign_in(&self, user: i64, codes: usize) {
        wait_until("a code is sent", async || self.codes(user).len() == codes).await;
    }
}

#[tokio::test]
async fn who_writes_signs_in_once_and_is_answered_then() {
    let company = Company::new().await;
    for text in ["one", "two", "three"] {
        company.say(EVE, text);
    }
    let asked = company.wait_for_messages(EVE, 1).await;
    assert!(asked[0].contains(LINK) && asked[0].contains("CODE-1"));
    assert!(company.assistant.take_questions().is_empty());
    company
        .provider
        .enter("CODE-1", Entered::As("eve@corp".into()));
    let texts = company.wait_for_messages(EVE, 4).await;
    assert_eq!(texts[1..], ["re one", "re two", "re three"]);
    company.say(EVE, "four");
    let texts = company.wait_for_messages(EVE, 5).await;
    assert_eq!(texts[4], "re four");
    assert_eq!((company.provider.started(), company.grants().await), (1, 1));
    assert!(company.denied().await.is_empty());
    let metrics = company.env.metrics.encode();
    assert!(metrics.contains(r#"sign_ins_total{outcome="signed_in"} 1"#));
}

#[tokio::test]
async fn sign_in_that_fails_is_told_once_and_denies() {
    for (entered, words) in [
        (Entered::Refuses, "You have not been signed in."),
        (Entered::WithoutClaims, "your account has no access"),
    ] {
        let company = Company::new().await;
        company.say(EVE, "one");
        company.wait_for_messages(EVE, 1).await;
        company.provider.enter("CODE-1", entered);
        let texts = company.wait_for_messages(EVE, 2).await;
        assert!(texts[1].contains(words), "{texts:?}");
        assert_eq!(company.denied().await, [Some("one".to_owned())]);
        company.say(EVE, "two");
        company.wait_until_asked_to_sign_in(EVE, 2).await;
        assert!(company.assistant.take_questions().is_empty());
    }
}

#[tokio::test]
async fn code_that_is_over_ends_the_sign_in() {
    let provider = FakeProvider::with_codes_for(Duration::from_millis(300));
    let company = Company::with(provider, DAY, Duration::ZERO).await;
    company.say(EVE, "one");
    let texts = company.wait_for_messages(EVE, 2).await;
    assert!(
        texts[1].contains("You have not been signed in."),
        "{texts:?}"
    );
    assert_eq!(company.denied().await, [Some("one".to_owned())]);
}

#[tokio::test]
async fn nobody_is_sent_a_code_in_a_group() {
    let company = Company::new().await;
    let group = company
        .env
        .telegram
        .add_group("supergroup", "Team", &[company.support.id.0]);
    company.change(|c| {
        c.groups = Some(GroupPolicy {
            respond_to: RespondTo::All,
            chats: None,
            read_along: 0,
        });
    });
    company
        .env
        .telegram
        .send_group_message(group, EVE, "@support_bot hi");
    let texts = company.wait_for_messages(group, 1).await;
    assert!(texts[0].contains("private"), "{texts:?}");
    assert_eq!(company.provider.started(), 0);
}

#[tokio::test]
async fn provider_that_is_slow_delays_nobody_else() {
    let company = Company::new().await;
    company.provider.set_delay(Duration::from_secs(20));
    for user in 7000..7020 {
        company.say(user, "let me in");
    }
    wait_until("they wait", async || company.inbox_is_empty().await).await;
    let began = std::time::Instant::now();
    let answer = company.env.ask(&company.support, "hi").await;
    assert_eq!(answer.text, "re hi");
    assert!(began.elapsed() < Duration::from_secs(5));
}

impl Company {
    /// Everybody's message has left the inbox.
    async fn inbox_is_empty(&self) -> bool {
        let info = self.support.bot.get_webhook_info().await.unwrap();
        info.pending_update_count == 0 && self.env.waiting_messages().await == 0
    }
}

#[tokio::test]
async fn second_telegram_account_replaces_the_first() {
    let company = Company::new().await;
    company.sign_in(EVE, "eve@corp").await;
    company.sign_in(7001, "eve@corp").await;
    let texts = company.wait_for_messages(EVE, 3).await;
    assert!(texts[2].contains("another Telegram account"), "{texts:?}");
    assert_eq!(company.grants().await, 1);
    company.say(EVE, "and me?");
    company.wait_until_asked_to_sign_in(EVE, 2).await;
}

#[tokio::test]
async fn logout_ends_access_and_what_waits() {
    let company = Company::new().await;
    company.sign_in(EVE, "eve@corp").await;
    company.say(EVE, "/logout");
    let texts = company.wait_for_messages(EVE, 3).await;
    assert_eq!(
        (texts[2].as_str(), company.grants().await),
        ("You are signed out.", 0)
    );
    company.say(EVE, "again");
    company.wait_for_messages(EVE, 4).await;
    company.say(EVE, "/logout");
    company.wait_for_messages(EVE, 5).await;
    let code = company.codes(EVE).pop().unwrap();
    company
        .provider
        .enter(&code, Entered::As("eve@corp".into()));
    wait_until("what waited is denied", async || {
        company.denied().await == [Some("again".to_owned())]
    })
    .await;
    assert_eq!(company.grants().await, 0);
}

#[tokio::test]
async fn member_stays_one_while_the_provider_says_so() {
    let company = Company::with(
        FakeProvider::new(),
        Duration::from_millis(500),
        Duration::ZERO,
    )
    .await;
    company.sign_in(EVE, "eve@corp").await;
    wait_until("it was asked again", async || {
        company.provider.rechecks() >= 3
    })
    .await;
    company.say(EVE, "still here");
    let texts = company.wait_for_messages(EVE, 3).await;
    assert_eq!(texts[2], "re still here");
}

async fn ends_at_the_recheck(company: Company) {
    company.sign_in(EVE, "eve@corp").await;
    company.provider.revoke("nobody");
    wait_until("access has ended", async || company.grants().await == 0).await;
    company.say(EVE, "and now?");
    company.wait_until_asked_to_sign_in(EVE, 2).await;
    let asked = company.assistant.take_questions();
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[tokio::test]
async fn revoked_or_missing_claims_end_access_at_the_recheck() {
    for n in 0..4 {
        let provider = FakeProvider::new();
        let company = Company::with(provider, Duration::from_secs(2), Duration::ZERO).await;
        match n {
            0 => company.provider.revoke("eve@corp"),
            1 => company.provider.take_claims_from("eve@corp"),
            // There is nothing to ask with.
            2 => company.provider.give_no_tokens(),
            _ => {
                company.sign_in(ANN + 1, "ann@corp").await;
                company.provider.set_away(true);
                wait_until("access has ended", async || company.grants().await == 0).await;
                continue;
            }
        }
        ends_at_the_recheck(company).await;
    }
}

#[tokio::test]
async fn provider_that_is_away_within_grace_ends_nothing() {
    let provider = FakeProvider::new();
    let company = Company::with(provider, Duration::from_secs(1), Duration::from_hours(1)).await;
    company.sign_in(EVE, "eve@corp").await;
    company.provider.set_away(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    company.say(EVE, "still here");
    let texts = company.wait_for_messages(EVE, 3).await;
    assert_eq!(texts[2], "re still here");
}

#[tokio::test]
async fn connector_without_a_provider_any_more_denies_what_waits() {
    let company = Company::new().await;
    company.sign_in(EVE, "eve@corp").await;
    company.say(7001, "one");
    company.wait_for_messages(7001, 1).await;
    company.change(|c| c.sign_in = None);
    let texts = company.wait_for_messages(7001, 2).await;
    assert!(texts[1].contains("private"), "{texts:?}");
    assert_eq!(company.denied().await, [Some("one".to_owned())]);
    wait_until("members are none any more", async || {
        company.grants().await == 0
    })
    .await;
}

#[tokio::test]
async fn who_is_named_meanwhile_is_answered_without_signing_in() {
    let company = Company::new().await;
    company.say(EVE, "one");
    company.wait_for_messages(EVE, 1).await;
    company.change(|c| c.access.ids = Arc::new([ANN, EVE].into()));
    let texts = company.wait_for_messages(EVE, 2).await;
    assert_eq!(texts[1], "re one");
}

#[tokio::test]
async fn suspended_connector_keeps_what_waits_until_it_is_back() {
    let company = Company::new().await;
    company.say(EVE, "one");
    company.wait_for_messages(EVE, 1).await;
    let resolved = company.env.registry.get(&company.support.uid).unwrap();
    company.env.registry.withdraw(&company.support.uid);
    company
        .provider
        .enter("CODE-1", Entered::As("eve@corp".into()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(company.grants().await, 0);
    company.env.registry.publish(resolved);
    let texts = company.wait_for_messages(EVE, 2).await;
    assert_eq!(texts[1], "re one");
}

#[tokio::test]
async fn erased_person_leaves_no_sign_in_and_no_membership() {
    let company = Company::new().await;
    company.sign_in(EVE, "eve@corp").await;
    company.say(7001, "one");
    company.wait_for_messages(7001, 1).await;
    for user in [EVE, 7001] {
        company.env.store.erase(user, None).await.unwrap();
    }
    company
        .provider
        .enter("CODE-2", Entered::As("ben@corp".into()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let work = company
        .env
        .store
        .sign_in_work(jiff::Timestamp::MAX)
        .await
        .unwrap();
    assert_eq!(
        work,
        telegram_connector_operator::store::SignInWork::default()
    );
    assert_eq!(company.grants().await, 0);
    assert_eq!(company.assistant.take_questions().len(), 1);
    company
        .env
        .telegram
        .send_private_message(company.support.id, ANN, "hi");
    company.wait_for_messages(ANN, 1).await;
}

#[tokio::test]
async fn deleted_connector_leaves_no_sign_in_and_no_membership() {
    let company = Company::new().await;
    company.sign_in(EVE, "eve@corp").await;
    company.say(7001, "one");
    company.wait_for_messages(7001, 1).await;
    let store = &company.env.store;
    company.env.registry.withdraw(&company.support.uid);
    store
        .delete_connector_data(&company.support.uid)
        .await
        .unwrap();
    let work = store.sign_in_work(jiff::Timestamp::MAX).await.unwrap();
    assert_eq!(
        work,
        telegram_connector_operator::store::SignInWork::default()
    );
    assert!(store.membership_issuers().await.unwrap().is_empty());
}

#[tokio::test]
async fn provider_that_is_away_is_waited_for() {
    let company = Company::new().await;
    company.provider.set_away(true);
    company.say(EVE, "one");
    wait_until("it waits", async || company.inbox_is_empty().await).await;
    assert!(company.said_to(EVE).is_empty());
    company.provider.set_away(false);
    company.wait_for_messages(EVE, 1).await;
}
