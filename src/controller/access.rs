//! Who may write: the deciding list, resolved from inline users and referenced lists. Fails closed.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::user_set::UserSet;
use crate::api::conditions::Reason;
use crate::api::connector::{
    AccessLevel, AccessRequestsSpec, AccessSpec, ApprovalsSpec, ListKind, ListRef,
    TelegramConnectorSpec, UserSelection,
};
use crate::bounded_text::bounded_text;
use crate::registry::{AccessPolicy, ApprovalChat, ApprovalPolicy, RequestPolicy};

/// How much of a list's complaint a message holds.
const MAX_CAUSE_BYTES: usize = 200;

/// What is unresolved in the deciding list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessProblem {
    /// A referenced list does not exist.
    ListNotFound(ListRef),
    /// A referenced list cannot be read, or has entries that name nobody.
    ListInvalid(ListRef, String),
    /// A referenced list does not allow the connector's namespace.
    ListNotAllowed(ListRef),
    /// The level has no list at all.
    SelectionMissing(&'static str),
    /// Nobody can sign in with the company account.
    SignIn(Reason, String),
}

impl AccessProblem {
    /// The reason of `AccessResolved`.
    pub fn reason(&self) -> Reason {
        match self {
            Self::ListNotFound(_) => Reason::UserListNotFound,
            Self::ListInvalid(..) | Self::SelectionMissing(_) => Reason::UserListInvalid,
            Self::SignIn(reason, _) => *reason,
            Self::ListNotAllowed(_) => Reason::UserListNotAllowed,
        }
    }

    /// What is wrong and what to do.
    pub fn message(&self) -> String {
        match self {
            Self::ListNotFound(list) => {
                let place = match list.kind() {
                    ListKind::TelegramUserList => " in this namespace",
                    ListKind::ClusterTelegramUserList => "",
                };
                format!("{list} does not exist{place}; create it, or take it out of listRefs")
            }
            Self::ListInvalid(list, why) => {
                // The reader's complaint may quote the value, which has any length.
                let why = bounded_text(why.clone(), MAX_CAUSE_BYTES);
                format!("{list} cannot be read: {why}")
            }
            Self::ListNotAllowed(list) => format!(
                "{list} may not be used in this namespace; have its spec.allowedNamespaces allow it, or take it out of listRefs"
            ),
            Self::SelectionMissing(field) => {
                format!("the level needs spec.access.{field}, which is missing")
            }
            Self::SignIn(_, why) => format!("nobody can sign in: {why}"),
        }
    }
}

/// What came of the deciding list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessState {
    /// Users that it resolves to, without those that have ended; `None` for level `Open`.
    pub users: Option<usize>,
    /// How many of these are named by username.
    pub by_username: usize,
    /// How many users' entries have ended.
    pub ended: usize,
    /// When the next one ends, which changes the numbers.
    pub next_end: Option<Timestamp>,
    /// The issuer whose members are let in, too.
    pub issuer: Option<String>,
    /// Nobody has looked yet whether the identity provider can be used.
    pub sign_in_unknown: bool,
    /// What is unresolved. The rest of the list holds.
    pub problems: Vec<AccessProblem>,
}

/// What a look at a referenced list gives.
pub enum UserListLookup {
    /// Its users.
    Found(Arc<UserSet>),
    /// There is none.
    NotFound,
    /// It does not allow the connector's namespace.
    NotAllowed,
    /// It is there, but not readable, for this reason.
    Invalid(String),
}

/// The selection that the level names, with its field's name; `None` for `Open`.
pub(crate) fn deciding_selection(
    access: &AccessSpec,
) -> Option<(&'static str, Option<&UserSelection>)> {
    match access.level {
        AccessLevel::Open => None,
        AccessLevel::Company => Some(("companyUsers", access.deciding_list())),
        AccessLevel::AgentEnabled => Some(("agentUsers", access.agent_users.as_ref())),
        AccessLevel::Specific => Some(("specificUsers", access.specific_users.as_ref())),
    }
}

/// All lists that a connector refers to, whether they decide or not: who deletes one should see that it is used.
pub(crate) fn referenced_lists(spec: &TelegramConnectorSpec) -> HashSet<&ListRef> {
    let access = &spec.access;
    let approvals = spec.approvals.as_ref();
    [
        access
            .company_users
            .as_ref()
            .map(|company| &company.selection),
        access.agent_users.as_ref(),
        access.specific_users.as_ref(),
        approvals.and_then(|approvals| approvals.approvers.as_ref()),
        access.requests.as_ref().map(|requests| &requests.approvers),
    ]
    .into_iter()
    .flatten()
    .flat_map(|s| s.list_refs.iter().flatten())
    .collect()
}

/// Resolves the deciding list, and counts as of `now`. What is unresolved denies; what is resolved holds.
pub(crate) fn resolve_access(
    access: &AccessSpec,
    now: Timestamp,
    mut look_up_user_list: impl FnMut(&ListRef) -> UserListLookup,
) -> (AccessPolicy, AccessState) {
    let Some((field, selection)) = deciding_selection(access) else {
        let policy = policy(access.level, &Arc::default(), false);
        return (policy, AccessState::default());
    };
    let (users, problems) = match selection {
        None => (Arc::default(), vec![AccessProblem::SelectionMissing(field)]),
        Some(selection) => resolve_selection(selection, &mut look_up_user_list),
    };
    let ended = users.count_ended(now);
    let state = AccessState {
        users: Some(users.len() - ended),
        by_username: users.count_usernames(now),
        ended,
        next_end: users.next_end(now),
        issuer: access.deciding_provider().map(|oidc| oidc.issuer.clone()),
        sign_in_unknown: false,
        problems,
    };
    let takes_grants = access.takes_grants();
    (policy(access.level, &users, takes_grants), state)
}

/// The users of a selection, and what is unresolved in it.
fn resolve_selection(
    selection: &UserSelection,
    mut look_up_user_list: impl FnMut(&ListRef) -> UserListLookup,
) -> (Arc<UserSet>, Vec<AccessProblem>) {
    let mut problems = Vec::new();
    let mut resolved: Vec<Arc<UserSet>> = Vec::new();
    if let Some(inline) = selection.users.as_deref().filter(|u| !u.is_empty()) {
        resolved.push(Arc::new(UserSet::from_entries(inline)));
    }
    for reference in selection.list_refs.iter().flatten() {
        let named = || reference.clone();
        match look_up_user_list(reference) {
            UserListLookup::Found(users) => {
                if users.invalid > 0 {
                    let why = format!("{} entries name nobody", users.invalid);
                    problems.push(AccessProblem::ListInvalid(named(), why));
                }
                resolved.push(users);
            }
            UserListLookup::NotFound => problems.push(AccessProblem::ListNotFound(named())),
            UserListLookup::NotAllowed => {
                problems.push(AccessProblem::ListNotAllowed(named()));
            }
            UserListLookup::Invalid(why) => {
                problems.push(AccessProblem::ListInvalid(named(), why));
            }
        }
    }
    let users = match <[Arc<UserSet>; 1]>::try_from(resolved) {
        Ok([only]) => only,
        Err(several) => Arc::new(UserSet::union(&several)),
    };
    (users, problems)
}

/// Resolves who approves, as access lists are resolved, and says what is unresolved, which names nobody.
pub(crate) fn resolve_approvals(
    approvals: &ApprovalsSpec,
    look_up_user_list: impl FnMut(&ListRef) -> UserListLookup,
) -> (ApprovalPolicy, Vec<AccessProblem>) {
    let selection = approvals.approvers.as_ref();
    let resolved = selection.map(|selection| resolve_selection(selection, look_up_user_list));
    let (users, problems) = resolved.unzip();
    let policy = ApprovalPolicy {
        approvers: users.map(|users| policy(AccessLevel::Specific, &users, false)),
        timeout: approvals.timeout(),
        chat: approvals.chat.as_ref().map(|chat| ApprovalChat {
            id: chat.id,
            topic: chat.topic.unwrap_or(0),
        }),
    };
    (policy, problems.unwrap_or_default())
}

/// Resolves how denied users ask for access; who decides as in [`resolve_approvals`].
pub(crate) fn resolve_requests(
    requests: &AccessRequestsSpec,
    look_up_user_list: impl FnMut(&ListRef) -> UserListLookup,
) -> (RequestPolicy, Vec<AccessProblem>) {
    let (users, problems) = resolve_selection(&requests.approvers, look_up_user_list);
    let policy = RequestPolicy {
        notify: ApprovalChat {
            id: requests.notify.chat,
            topic: requests.notify.topic.unwrap_or(0),
        },
        approvers: policy(AccessLevel::Specific, &users, false),
        grant_days: requests.days(),
        per_user_per_day: requests.per_day(),
    };
    (policy, problems)
}

fn policy(level: AccessLevel, users: &Arc<UserSet>, takes_grants: bool) -> AccessPolicy {
    AccessPolicy {
        level,
        ids: users.ids.clone(),
        usernames: users.usernames.clone(),
        ends: users.ends.clone(),
        takes_grants,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::api::connector::{CompanySelection, ListRef, NotifySpec};
    use crate::api::user_list::UserEntry;
    use crate::registry::AccessEnds;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn until(user: UserEntry, until: &str) -> UserEntry {
        UserEntry {
            until: Some(until.into()),
            ..user
        }
    }

    fn id(id: i64) -> UserEntry {
        UserEntry {
            id: Some(id),
            username: None,
            until: None,
            note: None,
        }
    }

    fn named(name: &str) -> UserEntry {
        UserEntry {
            id: None,
            username: Some(name.into()),
            until: None,
            note: None,
        }
    }

    fn company(users: Vec<UserEntry>, lists: &[&str]) -> AccessSpec {
        AccessSpec {
            level: AccessLevel::Company,
            company_users: Some(CompanySelection {
                selection: UserSelection {
                    users: Some(users),
                    list_refs: Some(lists.iter().map(|list| ListRef::from(*list)).collect()),
                    grants: None,
                },
                oidc: None,
            }),
            agent_users: None,
            specific_users: None,
            save_denied_conversations: None,
            denied_reply: None,
            requests: None,
        }
    }

    #[test]
    fn users_of_other_lists_keep_access_while_one_is_missing() {
        let spec = company(vec![id(1)], &["there", "gone", "broken"]);
        let (policy, state) = resolve_access(&spec, NOW, |list| match list.name.as_str() {
            "there" => {
                UserListLookup::Found(Arc::new(UserSet::from_entries(&[id(2), named("@Ann")])))
            }
            "gone" => UserListLookup::NotFound,
            _ => UserListLookup::Invalid("spec.users: not a list".into()),
        });
        assert_eq!(*policy.ids, HashSet::from([1, 2]));
        assert_eq!(*policy.usernames, HashSet::from(["ann".to_owned()]));
        assert_eq!(state.users, Some(3));
        assert_eq!(state.by_username, 1);
        let reasons: Vec<_> = state.problems.iter().map(AccessProblem::reason).collect();
        assert_eq!(reasons, [Reason::UserListNotFound, Reason::UserListInvalid]);
    }

    #[test]
    fn level_without_its_selection_admits_nobody_and_reports_it() {
        let mut spec = company(vec![id(1)], &[]);
        spec.level = AccessLevel::Specific;
        let (policy, state) = resolve_access(&spec, NOW, |_| UserListLookup::NotFound);
        assert!(policy.ids.is_empty() && policy.usernames.is_empty());
        assert_eq!(
            state.problems,
            [AccessProblem::SelectionMissing("specificUsers")]
        );
        assert_eq!(state.users, Some(0));
    }

    #[test]
    fn level_takes_grants_where_its_list_says_so() {
        let takes = |edit: &dyn Fn(&mut AccessSpec)| {
            let mut spec = company(vec![id(1)], &[]);
            spec.agent_users = Some(UserSelection {
                users: Some(vec![id(1)]),
                ..UserSelection::default()
            });
            edit(&mut spec);
            resolve_access(&spec, NOW, |_| UserListLookup::NotFound)
                .0
                .takes_grants
        };
        let requests = || AccessRequestsSpec {
            notify: NotifySpec {
                chat: -5,
                topic: None,
            },
            approvers: UserSelection::default(),
            grant_days: None,
            per_user_per_day: None,
        };
        let with_grants = |spec: &mut AccessSpec| {
            spec.agent_users = Some(UserSelection {
                grants: Some(true),
                ..UserSelection::default()
            });
        };
        assert!(!takes(&|_| {}));
        assert!(takes(&|spec| spec.requests = Some(requests())));
        assert!(!takes(&|spec| {
            spec.requests = Some(requests());
            spec.level = AccessLevel::AgentEnabled;
        }));
        assert!(takes(&|spec| {
            with_grants(spec);
            spec.level = AccessLevel::AgentEnabled;
        }));
        // The list of another level says nothing.
        assert!(!takes(&with_grants));
        assert!(!takes(&|spec| {
            spec.requests = Some(requests());
            spec.level = AccessLevel::Open;
        }));
    }

    #[test]
    fn approvers_of_requests_fail_closed() {
        let requests = AccessRequestsSpec {
            notify: NotifySpec {
                chat: -5,
                topic: Some(7),
            },
            approvers: UserSelection {
                users: Some(vec![id(1)]),
                list_refs: Some(vec![ListRef::from("gone")]),
                grants: Some(true),
            },
            grant_days: Some(0),
            per_user_per_day: Some(99),
        };
        let (policy, problems) = resolve_requests(&requests, |_| UserListLookup::NotFound);
        assert_eq!(*policy.approvers.ids, HashSet::from([1]));
        assert!(!policy.approvers.takes_grants);
        assert_eq!((policy.grant_days, policy.per_user_per_day), (Some(1), 10));
        assert_eq!(
            problems,
            [AccessProblem::ListNotFound(ListRef::from("gone"))]
        );
    }

    #[test]
    fn invalid_entry_admits_nobody() {
        let both = UserEntry {
            id: Some(7),
            username: Some("seven_seven".into()),
            until: None,
            note: None,
        };
        let users = UserSet::from_entries(&[
            both,
            named("@"),
            UserEntry {
                id: None,
                username: None,
                until: None,
                note: None,
            },
        ]);
        assert_eq!((users.len(), users.invalid), (0, 3));
    }

    #[test]
    fn later_end_of_a_user_who_is_named_twice_holds() {
        let here = [
            until(id(1), "2027-01-31"),
            until(id(1), "2027-03-31"),
            until(id(2), "2027-01-31"),
            until(named("@Ann_Example"), "2027-01-31"),
            id(4),
            until(id(4), "2027-01-31"),
        ];
        let spec = company(here.to_vec(), &["there"]);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let state = |now: &str| {
            let look_up = |_: &ListRef| {
                let there = [id(2), until(named("ann_example"), "2027-02-01T12:00:00Z")];
                UserListLookup::Found(Arc::new(UserSet::from_entries(&there)))
            };
            let (policy, state) = resolve_access(&spec, at(now), look_up);
            let usernames = HashMap::from([("ann_example".into(), at("2027-02-01T12:00:00Z"))]);
            let ids = HashMap::from([(1, at("2027-04-01T00:00:00Z"))]);
            assert_eq!(*policy.ends, AccessEnds { ids, usernames });
            (state.users, state.by_username, state.ended, state.next_end)
        };
        let (ann, first) = (at("2027-02-01T12:00:00Z"), at("2027-04-01T00:00:00Z"));
        assert_eq!(state("2027-01-01T00:00:00Z"), (Some(4), 1, 0, Some(ann)));
        assert_eq!(state("2027-02-01T12:00:00Z"), (Some(3), 0, 1, Some(first)));
        assert_eq!(state("2027-04-01T00:00:00Z"), (Some(2), 0, 2, None));
    }

    #[test]
    fn entry_whose_end_cannot_be_read_admits_nobody() {
        let users = UserSet::from_entries(&[until(id(7), "soon"), id(8)]);
        assert_eq!((users.len(), users.invalid), (1, 1));
    }
}
