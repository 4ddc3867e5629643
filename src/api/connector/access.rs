//! `spec.access`: who may write to the bot.

use kube::KubeSchema;
use kube::core::Reason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access_requests::{AccessRequestsSpec, has_no_grants};
use super::oidc::OidcSpec;
use crate::api::user_list::UserEntry;

/// Which list decides who may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AccessLevel {
    /// Anyone who can reach the bot.
    Open,
    /// Members of the organization: `companyUsers`.
    Company,
    /// Users explicitly enabled for the agent: `agentUsers`.
    AgentEnabled,
    /// A custom list: `specificUsers`.
    Specific,
}

impl AccessLevel {
    /// The level as manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Company => "Company",
            Self::AgentEnabled => "AgentEnabled",
            Self::Specific => "Specific",
        }
    }

    /// The field of `spec.access` that decides; `Open` needs none.
    pub fn list_field(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Company => Some("companyUsers"),
            Self::AgentEnabled => Some("agentUsers"),
            Self::Specific => Some("specificUsers"),
        }
    }
}

/// Who may write to the bot. The level names the one list that decides; the others stay written, so that a level can be switched
/// without retyping them.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = company_needs_its_list(),
    validation = needs_its_list("AgentEnabled", "agentUsers"),
    validation = needs_its_list("Specific", "specificUsers"),
    validation = requests_need_a_list(),
    validation = requests_need_grants("AgentEnabled", "agentUsers"),
    validation = requests_need_grants("Specific", "specificUsers")
)]
pub struct AccessSpec {
    /// Which list decides. Open: anyone who can reach the bot. Company: companyUsers, the members of the organization.
    /// AgentEnabled: agentUsers, the users explicitly enabled for the agent. Specific: specificUsers, a custom list.
    pub level: AccessLevel,
    /// The list of level Company.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = has_no_grants("companyUsers, which needs no such entry: at level Company they count wherever there are requests"))]
    pub company_users: Option<CompanySelection>,
    /// The list of level AgentEnabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_users: Option<UserSelection>,
    /// The list of level Specific.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specific_users: Option<UserSelection>,
    /// True stores what denied users write, with who they are, until its retention ends. Default false: denials are only counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_denied_conversations: Option<bool>,
    /// What a denied user is told, at most once an hour per chat, at most 4096 characters. "" says nothing; absent: a default text
    /// with the user's own id, so that they can ask to be enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub denied_reply: Option<String>,
    /// A denied user may ask for access with a button. Absent: they pass their id on to whoever keeps the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<AccessRequestsSpec>,
}

impl AccessSpec {
    /// The one list that decides. `None` for level `Open`, and also where the level's list is not written: the level tells the two
    /// apart, and the second is a denial.
    pub fn deciding_list(&self) -> Option<&UserSelection> {
        match self.level {
            AccessLevel::Open => None,
            AccessLevel::Company => self
                .company_users
                .as_ref()
                .map(|company| &company.selection),
            AccessLevel::AgentEnabled => self.agent_users.as_ref(),
            AccessLevel::Specific => self.specific_users.as_ref(),
        }
    }

    /// The identity provider whose members are let in; only where its list decides.
    pub fn deciding_provider(&self) -> Option<&OidcSpec> {
        let company = self.company_users.as_ref();
        let company = company.filter(|_| self.level == AccessLevel::Company);
        company.and_then(|company| company.oidc.as_ref())
    }

    /// Whether grants let in at the level: the level still names the one list that decides, and a grant is an entry of it.
    pub fn takes_grants(&self) -> bool {
        match self.level {
            AccessLevel::Open => false,
            AccessLevel::Company => self.requests.is_some() || self.deciding_provider().is_some(),
            AccessLevel::AgentEnabled | AccessLevel::Specific => {
                let list = self.deciding_list();
                list.is_some_and(|list| list.grants.unwrap_or(false))
            }
        }
    }

    /// Whether denied messages are stored.
    pub fn saves_denied_conversations(&self) -> bool {
        self.save_denied_conversations.unwrap_or(false)
    }
}

/// A level without its list would lock everybody out: that is never what somebody means.
fn needs_its_list(level: &str, field: &str) -> kube::core::Rule {
    let some = |list| format!("(has(self.{field}.{list}) && size(self.{field}.{list}) > 0)");
    let rule = format!(
        "self.level != '{level}' || (has(self.{field}) && ({} || {}))",
        some("users"),
        some("listRefs")
    );
    let message =
        format!("level {level} needs {field} with at least one entry in users or listRefs");
    kube::core::Rule::new(rule)
        .message(message.as_str())
        .reason(Reason::FieldValueRequired)
        .field_path(format!(".{field}"))
}

/// At level Open nobody has to ask.
fn requests_need_a_list() -> kube::core::Rule {
    kube::core::Rule::new("self.level != 'Open' || !has(self.requests)")
        .message("at level Open everybody may write: remove requests, or choose another level")
        .reason(Reason::FieldValueForbidden)
        .field_path(".requests")
}

/// Whoever is allowed would still be denied.
fn requests_need_grants(level: &str, field: &str) -> kube::core::Rule {
    let rule = format!(
        "self.level != '{level}' || !has(self.requests) || (has(self.{field}) && has(self.{field}.grants) && self.{field}.grants)"
    );
    let message = format!(
        "requests at level {level} need {field}.grants: true, without which nobody gets in whom the list does not name"
    );
    kube::core::Rule::new(rule)
        .message(message.as_str())
        .reason(Reason::FieldValueInvalid)
        .field_path(format!(".{field}"))
}

/// The same for level Company, which an identity provider may serve alone.
fn company_needs_its_list() -> kube::core::Rule {
    let some =
        |list| format!("(has(self.companyUsers.{list}) && size(self.companyUsers.{list}) > 0)");
    let rule = format!(
        "self.level != 'Company' || (has(self.companyUsers) && ({} || {} || has(self.companyUsers.oidc)))",
        some("users"),
        some("listRefs")
    );
    kube::core::Rule::new(rule)
        .message("level Company needs companyUsers with at least one entry in users or listRefs, or with oidc")
        .reason(Reason::FieldValueRequired)
        .field_path(".companyUsers")
}

/// Members of the organization: named here, in shared lists, or known to its identity provider. Any of the three lets in.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompanySelection {
    /// Users named here and in shared lists.
    #[serde(flatten)]
    pub selection: UserSelection,
    /// The organization's identity provider: who signs in there and has the required claims is let in. Absent: the lists alone decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcSpec>,
}

/// Users named here and in shared lists.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserSelection {
    /// Users named here, at most 1000, each with exactly one of id and username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = ids_differ())]
    pub users: Option<Vec<UserEntry>>,
    /// TelegramUserLists of the same namespace, and ClusterTelegramUserLists, at most 20. No name twice, whatever the kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub list_refs: Option<Vec<ListRef>>,
    /// In agentUsers and specificUsers: true lets in, beside the entries, whoever has a grant of this connector (by a request that was allowed, or made by an
    /// administrator). Default false. In companyUsers grants count wherever there are requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<bool>,
}

/// No id twice, for at most 1,000 entries.
///
/// The API server estimates a rule's cost from `maxItems` and refuses more than 10 million (a comparison of all pairs), and stops
/// one evaluation at 1 million. So the ids are split by remainder, and a list without repetition is recognized by the sum of its first
/// positions, for which the server charges least. A remainder that holds more than 900 of the ids would pass the second limit and is
/// left to `check`; that takes ids which nearly all agree modulo five.
fn ids_differ() -> kube::core::Rule {
    kube::core::Rule::new(
        "[0, 1, 2, 3, 4].all(r, [self.filter(u, has(u.id) && u.id % 5 == r).map(u, u.id)].all(ids, size(ids) > 900 || \
         ids.map(id, ids.indexOf(id)).sum() == size(ids) * (size(ids) - 1) / 2))",
    )
    .message(crate::api::user_list::IDS_DIFFER_MESSAGE)
}

/// TelegramUserList, in the same namespace, or ClusterTelegramUserList, in none. Absent: TelegramUserList.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[schemars(inline)]
pub enum ListKind {
    /// In the connector's namespace.
    #[default]
    TelegramUserList,
    /// In no namespace.
    ClusterTelegramUserList,
}

impl ListKind {
    /// The kind as manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TelegramUserList => "TelegramUserList",
            Self::ClusterTelegramUserList => "ClusterTelegramUserList",
        }
    }
}

/// A `TelegramUserList` of the same namespace, or a `ClusterTelegramUserList`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(inline)]
pub struct ListRef {
    /// TelegramUserList, in the same namespace, or ClusterTelegramUserList, in none. Absent: TelegramUserList.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ListKind>,
    /// The name of the list.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

impl ListRef {
    /// The kind of the list.
    pub fn kind(&self) -> ListKind {
        self.kind.unwrap_or_default()
    }
}

impl From<&str> for ListRef {
    /// A `TelegramUserList` of this name.
    fn from(name: &str) -> Self {
        Self {
            kind: None,
            name: name.to_owned(),
        }
    }
}

impl std::fmt::Display for ListRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} \"{}\"", self.kind().as_str(), self.name)
    }
}
