//! Requests for access: who may ask, what the approvers are shown, and what a tap of theirs does. Pure.
//!
//! The button under a denial brings back `ask`; it needs nothing that cannot be guessed, since whoever taps it asks for themselves. `callback_data` of the
//! approvers' buttons is `a:`, the request's token, which nobody can guess, and the button's number.

use jiff::{SignedDuration, Timestamp};

use crate::api::connector::DEFAULT_GRANT_DAYS;
use crate::assistant::visible;
use crate::pipeline::decide::access::{self, AccessDecision};
use crate::pipeline::decide::{buttons, user_decision};
use crate::pipeline::message::cut::cut;
use crate::pipeline::message::incoming_update::{IncomingUpdate, Sender};
use crate::registry::{RequestPolicy, ResolvedConnector};
use crate::store::{
    AccessRequest, AccessVerdict, AskReplies, NewAccessRequest, PartContent, ReplyPart,
    RequestPhase, ShownElsewhere,
};
use crate::telegram::markdown::escape_text;
use crate::telegram::{Button, Keyboard};
use crate::texts::{AccessTexts, AskingUser, texts_for};

/// `callback_data` of the button under a denial.
pub(crate) const ASK_DATA: &str = "ask";
/// A request that nobody decides ends after so long.
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So much of a name is shown, in characters.
const MAX_NAME_CHARS: usize = 130;
/// So much of whoever decided stands under the notice, in characters.
const MAX_LINE_CHARS: usize = 100;

/// Who asks for access with a message or a tap; `None` where nobody can: there are no requests, it is not the private chat of its sender, or it is a bot.
pub(crate) fn asker<'a>(
    connector: &'a ResolvedConnector,
    incoming: &'a IncomingUpdate,
    now: Timestamp,
) -> Option<(&'a RequestPolicy, &'a Sender)> {
    let policy = connector.requests.as_ref()?;
    let sender = incoming.sender.as_ref()?;
    let may_ask = connector.access.takes_grants
        && incoming.is_private()
        && incoming.chat.id == sender.id
        && !sender.is_bot
        && access::decide(&connector.access, Some(sender), now) == AccessDecision::Denied;
    may_ask.then_some((policy, sender))
}

/// The button under a denial.
pub(crate) fn ask_keyboard(texts: &AccessTexts) -> Keyboard {
    Keyboard {
        rows: vec![vec![Button {
            text: texts.ask.clone(),
            data: ASK_DATA.to_owned(),
        }]],
    }
}

/// What the approvers answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As the connector says: for `grantDays`, or without end.
    Allow,
    /// For `grantDays`, or 30 days.
    AllowDays,
    /// Not this time.
    Refuse,
    /// Never, and the approvers are asked no more.
    Mute,
}

impl Answer {
    const ALL: [Self; 4] = [Self::Allow, Self::AllowDays, Self::Refuse, Self::Mute];

    /// The number in `callback_data`.
    fn number(self) -> usize {
        Self::ALL
            .iter()
            .position(|answer| *answer == self)
            .unwrap_or_default()
    }

    /// Reads [`number`](Self::number).
    pub(crate) fn from_number(number: usize) -> Option<Self> {
        Self::ALL.get(number).copied()
    }

    /// What it says, by the connector as it is now.
    pub(crate) fn verdict(self, policy: &RequestPolicy, now: Timestamp) -> AccessVerdict {
        let days = match self {
            Self::Allow => policy.grant_days,
            Self::AllowDays => Some(days_of(policy)),
            Self::Refuse => return AccessVerdict::Refuse,
            Self::Mute => return AccessVerdict::Mute,
        };
        let until = days.map(|days| {
            let lasts = SignedDuration::from_hours(24 * i64::from(days));
            now.checked_add(lasts).unwrap_or(Timestamp::MAX)
        });
        AccessVerdict::Allow { until }
    }
}

/// For how many days the button that names them grants access.
fn days_of(policy: &RequestPolicy) -> u32 {
    policy.grant_days.unwrap_or(DEFAULT_GRANT_DAYS)
}

/// The approvers' buttons. Where `grantDays` is set, Allow alone would do what the button with the days does: it is left out.
fn answer_rows(policy: &RequestPolicy, texts: &AccessTexts) -> Vec<Vec<(Answer, String)>> {
    let mut allow = vec![(Answer::AllowDays, texts.allow_days(days_of(policy)))];
    if policy.grant_days.is_none() {
        allow.insert(0, (Answer::Allow, texts.allow.clone()));
    }
    let refuse = vec![
        (Answer::Refuse, texts.refuse.clone()),
        (Answer::Mute, texts.mute.clone()),
    ];
    vec![allow, refuse]
}

/// The approvers' buttons, as [`answer_rows`] has them.
fn answer_keyboard(token: &str, policy: &RequestPolicy, texts: &AccessTexts) -> Keyboard {
    let button = |(answer, text): (Answer, String)| Button {
        text,
        data: format!("{PREFIX}{token}:{}", answer.number()),
    };
    let rows = answer_rows(policy, texts).into_iter();
    Keyboard {
        rows: rows
            .map(|row| row.into_iter().map(button).collect())
            .collect(),
    }
}

/// Who asks, as it is shown.
struct Asking<'a> {
    user: i64,
    name: &'a str,
    username: Option<&'a str>,
    level: &'a str,
}

/// Who asks, in HTML and plain, in the language of whoever asks.
fn notice_text(
    asking: &Asking<'_>,
    connector: &ResolvedConnector,
    language: Option<&str>,
) -> (String, String) {
    let texts = &texts_for(language).access;
    let name = visible(&cut(asking.name.trim(), MAX_NAME_CHARS));
    let username = asking
        .username
        .map_or_else(|| "-".to_owned(), |name| format!("@{name}"));
    let user = AskingUser {
        name: &name,
        username: &visible(&cut(&username, MAX_LINE_CHARS)),
        id: asking.user,
        level: asking.level,
        connector: &connector.connector_ref.to_string(),
    };
    // As code nothing in a name becomes a link or a mention.
    let html = texts.notice(user, |value| format!("<code>{}</code>", escape_text(value)));
    (html, texts.notice(user, str::to_owned))
}

/// What a tap of somebody on a button of a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerMeaning {
    /// Nothing: it is decided, its time is over, or the button is not where the approvers were asked.
    Closed,
    /// Nothing: others are asked.
    NotAsked,
    /// The request is decided.
    Decides,
}

/// What a tap in a chat, under a message, on a button of a request does. It is decided by the connector as it is now, and fails closed.
pub(crate) fn answer_meaning(
    connector: &ResolvedConnector,
    request: &AccessRequest,
    incoming: &IncomingUpdate,
    now: Timestamp,
) -> AnswerMeaning {
    let Some(policy) = &connector.requests else {
        return AnswerMeaning::Closed;
    };
    // Of a notice that came twice the later one is known, as of a decision.
    let is_elsewhere = request.notice_chat != incoming.chat.id
        || request
            .notice_message
            .is_some_and(|id| incoming.message_id.is_none_or(|tapped| tapped > id));
    if is_elsewhere {
        return AnswerMeaning::Closed;
    }
    if access::decide(&policy.approvers, incoming.sender.as_ref(), now) == AccessDecision::Denied {
        return AnswerMeaning::NotAsked;
    }
    if request.phase != RequestPhase::Waiting || request.expires_at <= now {
        return AnswerMeaning::Closed;
    }
    AnswerMeaning::Decides
}

/// Whoever decides, as it is recorded and shown: `@username (id)`, or the name in the place of a username.
pub(crate) fn approver(sender: &Sender) -> String {
    match &sender.username {
        Some(username) => format!("@{username} ({})", sender.id),
        None => format!("{} ({})", cut(&sender.name, MAX_NAME_CHARS), sender.id),
    }
}

/// The notice once it is decided, in HTML: with what came of it, and who decided.
pub(crate) fn decided_notice(request: &AccessRequest, connector: &ResolvedConnector) -> String {
    let asking = Asking {
        user: request.user,
        name: &request.name,
        username: request.username.as_deref(),
        level: &request.level,
    };
    let language = request.language.as_deref();
    let html = notice_text(&asking, connector, language).0;
    let texts = &texts_for(language).access;
    let (mark, outcome) = match request.phase {
        RequestPhase::Waiting => return html,
        RequestPhase::Allowed => ('✓', texts.decided_allowed(request.until)),
        RequestPhase::Refused => ('✗', texts.decided_refused.clone()),
        RequestPhase::Muted => ('✗', texts.decided_muted.clone()),
        RequestPhase::Expired => ('⌛', texts.expired.clone()),
    };
    let by = request
        .decided_by
        .as_deref()
        .filter(|_| request.phase != RequestPhase::Expired);
    let line = match by {
        Some(by) => format!("{mark} {}: {outcome}", visible(&cut(by, MAX_LINE_CHARS))),
        None => format!("{mark} {outcome}"),
    };
    format!("{html}\n\n{}", escape_text(&line))
}

/// What the asker is told; `None`: nothing.
pub(crate) fn outcome_text(request: &AccessRequest) -> Option<String> {
    let texts = &texts_for(request.language.as_deref()).access;
    match request.phase {
        RequestPhase::Waiting | RequestPhase::Expired => None,
        RequestPhase::Allowed => Some(texts.allowed(request.until)),
        RequestPhase::Refused | RequestPhase::Muted => Some(texts.refused.clone()),
    }
}

/// What came of a request: a metric label.
pub(crate) fn outcome_label(phase: RequestPhase) -> &'static str {
    match phase {
        RequestPhase::Waiting => "asked",
        RequestPhase::Allowed => "allowed",
        RequestPhase::Refused => "refused",
        RequestPhase::Muted => "muted",
        RequestPhase::Expired => "expired",
    }
}

/// What stands before the request's token in `callback_data`.
const PREFIX: &str = "a:";

/// The token of the request and the number of the button that `callback_data` names; `None`: it is none of a request's.
pub(crate) fn parse_data(data: &str) -> Option<(&str, usize)> {
    buttons::parse_data_of(PREFIX, data)
}

/// The request that somebody makes with the message numbered `message`.
pub(crate) fn new_request(
    connector: &ResolvedConnector,
    (policy, sender): (&RequestPolicy, &Sender),
    (message, incoming): (i64, &IncomingUpdate),
    now: Timestamp,
) -> NewAccessRequest {
    let token = buttons::new_id();
    let language = sender.language_code.as_deref();
    let texts = &texts_for(language).access;
    let level = connector.access.level.as_str();
    let name = cut(&sender.name, MAX_NAME_CHARS);
    let asking = Asking {
        user: sender.id,
        name: &name,
        username: sender.username.as_deref(),
        level,
    };
    let (html, plain) = notice_text(&asking, connector, language);
    let mut part = ReplyPart::text(Some(html), plain, None);
    if let PartContent::Text { keyboard, .. } = &mut part.content {
        *keyboard = Some(answer_keyboard(&token, policy, texts));
    }
    NewAccessRequest {
        follow_up: user_decision::own_update("access_request", &token, incoming),
        token,
        user: sender.id,
        name: name.clone(),
        username: sender.username.clone(),
        level: level.to_owned(),
        language: language.map(str::to_owned),
        expires_at: now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX),
        per_user_per_day: policy.per_user_per_day,
        message,
        notice: ShownElsewhere {
            chat: policy.notify.id,
            topic: policy.notify.topic,
            parts: vec![part],
        },
        // What else becomes of it is shown to who taps, for a moment.
        replies: AskReplies {
            asked: vec![ReplyPart::text(None, texts.asked.clone(), None)],
            ..AskReplies::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::pipeline::decide::test_values::{ANN, GROUP, MALLORY, connector, in_group, private};
    use crate::registry::{AccessPolicy, ApprovalChat};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn with_requests(edit: impl FnOnce(&mut RequestPolicy)) -> ResolvedConnector {
        connector(|c| {
            c.access.takes_grants = true;
            let mut policy = RequestPolicy {
                notify: ApprovalChat {
                    id: GROUP,
                    topic: 0,
                },
                approvers: AccessPolicy {
                    takes_grants: false,
                    ..c.access.clone()
                },
                grant_days: None,
                per_user_per_day: 1,
            };
            edit(&mut policy);
            c.requests = Some(policy);
        })
    }

    fn read(json: &str) -> IncomingUpdate {
        IncomingUpdate::parse(json).expect("readable")
    }

    #[test]
    fn every_outcome_is_counted_from_the_start() {
        let metrics = crate::telemetry::Metrics::new().encode();
        let phases = [
            RequestPhase::Waiting,
            RequestPhase::Allowed,
            RequestPhase::Refused,
            RequestPhase::Muted,
            RequestPhase::Expired,
        ];
        for label in phases.map(outcome_label) {
            let counter = format!("access_requests_total{{outcome=\"{label}\"}} 0");
            assert!(metrics.contains(&counter), "{label}");
        }
    }

    #[rstest]
    #[case::denied(private(MALLORY, r#""text":"hi""#), true)]
    #[case::may_write(private(ANN, r#""text":"hi""#), false)]
    #[case::in_a_group(in_group(MALLORY, r#""text":"hi""#), false)]
    #[case::in_anothers_chat(
        private(MALLORY, r#""text":"hi""#).replace(r#"{"id":66,"type""#, r#"{"id":67,"type""#),
        false
    )]
    #[case::bot(
        private(MALLORY, r#""text":"hi""#).replace(r#"{"id":66}"#, r#"{"id":66,"is_bot":true}"#),
        false
    )]
    fn only_denied_people_ask_and_in_their_own_chat(#[case] json: String, #[case] asks: bool) {
        let asked = read(&json);
        assert_eq!(asker(&with_requests(|_| {}), &asked, NOW).is_some(), asks);
        assert!(
            asker(&connector(|_| {}), &asked, NOW).is_none(),
            "no requests"
        );
    }

    #[rstest]
    #[case::without_end(None, 0, None)]
    #[case::for_a_month(None, 1, Some(30))]
    #[case::as_the_connector_says(Some(90), 0, Some(90))]
    #[case::the_same_by_days(Some(90), 1, Some(90))]
    fn button_grants_access_for_its_days(
        #[case] grant_days: Option<u32>,
        #[case] number: usize,
        #[case] days: Option<i64>,
    ) {
        let connector = with_requests(|policy| policy.grant_days = grant_days);
        let policy = connector.requests.as_ref().expect("a policy");
        let answer = Answer::from_number(number).expect("a button");
        let verdict = answer.verdict(policy, NOW);
        let until = days.map(|days| Timestamp::from_second(days * 24 * 3600).expect("a time"));
        assert_eq!(verdict, AccessVerdict::Allow { until });
    }

    #[test]
    fn request_is_shown_as_it_is_and_names_nobody_else() {
        let connector = with_requests(|policy| policy.grant_days = Some(7));
        let json = private(MALLORY, r#""text":"hi""#).replace(
            r#""from":{"id":66}"#,
            r#""from":{"id":66,"first_name":"<b>@ann_example</b> {id}","username":"mallory"}"#,
        );
        let incoming = read(&json);
        let (policy, sender) = asker(&connector, &incoming, NOW).expect("asks");
        let new = new_request(&connector, (policy, sender), (5, &incoming), NOW);
        let PartContent::Text {
            html,
            keyboard: Some(keyboard),
            ..
        } = &new.notice.parts[0].content
        else {
            panic!("{new:?}");
        };
        let html = html.as_deref().expect("HTML");
        assert!(
            html.contains("<code>&lt;b&gt;@ann_example&lt;/b&gt; {id}</code>"),
            "{html}"
        );
        assert!(html.contains("<code>@mallory</code>") && html.contains("<code>66</code>"));
        let buttons: Vec<_> = keyboard.rows.iter().flatten().collect();
        let answers = buttons.iter().map(|button| {
            let (token, number) = parse_data(&button.data).expect("ours");
            assert_eq!(token, new.token);
            Answer::from_number(number).expect("an answer")
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers, [Answer::AllowDays, Answer::Refuse, Answer::Mute]);
        assert_eq!(buttons[0].text, "Allow for 7 days");
        let follow_up = read(&new.follow_up);
        assert_eq!(follow_up.access_request.as_ref(), Some(&new.token));
        assert_eq!(
            (follow_up.chat, follow_up.sender),
            (incoming.chat, incoming.sender)
        );
    }

    #[test]
    fn approver_without_a_username_is_named() {
        let incoming = read(&private(ANN, r#""text":"hi""#));
        let mut sender = incoming.sender.expect("a sender");
        sender.name = "Ann".into();
        assert_eq!(approver(&sender), "Ann (7)");
        sender.username = Some("ann_example".into());
        assert_eq!(approver(&sender), "@ann_example (7)");
    }
}
