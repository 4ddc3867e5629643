//! Who and what the manifests name: the users of the lists, to chat as, and the bots of the connectors, to register with the
//! simulator.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::api::{ClusterTelegramUserList, TelegramConnector, TelegramUserList};
use crate::telegram::BotToken;
use bot_api_simulator::Simulator;

/// Ids of users that are listed by username only, counted up from here.
const FIRST_INVENTED_ID: i64 = 5_000_001;

/// A user of the simulated Telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedUser {
    /// Telegram's numeric user id.
    pub id: i64,
    /// The note of the list entry; without a note the username, without both the id.
    pub name: String,
    /// Without the leading `@`.
    pub username: Option<String>,
}

impl From<&SimulatedUser> for bot_api_simulator::User {
    fn from(user: &SimulatedUser) -> Self {
        let simulated = Self::new(user.id, &user.name).language("en");
        match &user.username {
            Some(username) => simulated.username(username),
            None => simulated,
        }
    }
}

/// The users that user lists, those of the cluster too, and connectors name, approvers among them. An entry without an id gets an invented one.
pub(in crate::dev) async fn list_users(client: &Client) -> Result<Vec<SimulatedUser>> {
    let lists: Api<TelegramUserList> = Api::all(client.clone());
    let cluster_lists: Api<ClusterTelegramUserList> = Api::all(client.clone());
    let connectors: Api<TelegramConnector> = Api::all(client.clone());
    let all = ListParams::default();
    let of_namespaces = lists.list(&all).await?.items.into_iter();
    let of_cluster = cluster_lists.list(&all).await?.items.into_iter();
    let listed = of_namespaces
        .flat_map(|list| list.spec.users)
        .chain(of_cluster.flat_map(|list| list.spec.users));
    let inline = connectors
        .list(&all)
        .await?
        .items
        .into_iter()
        .flat_map(|connector| {
            let approvals = connector.spec.approvals;
            let access = connector.spec.access;
            [
                access.company_users.map(|company| company.selection),
                access.agent_users,
                access.specific_users,
                access.requests.map(|requests| requests.approvers),
                approvals.and_then(|approvals| approvals.approvers),
            ]
            .into_iter()
            .flatten()
            .flat_map(|selection| selection.users.unwrap_or_default())
        });
    let mut users: Vec<SimulatedUser> = Vec::new();
    for entry in listed.chain(inline) {
        let username = entry.username.map(|u| u.trim_start_matches('@').to_owned());
        let invented_id = FIRST_INVENTED_ID + i64::try_from(users.len()).unwrap_or(0);
        let id = entry.id.unwrap_or(invented_id);
        let name = entry
            .note
            .or_else(|| username.clone())
            .unwrap_or_else(|| id.to_string());
        if !users.iter().any(|user| user.id == id) {
            users.push(SimulatedUser { id, name, username });
        }
    }
    Ok(users)
}

/// Registers the bots of all connectors with the simulator. A username is made of the connector's namespace and name.
///
/// A connector whose Secret is missing or holds no token is skipped: the operator reports it in the status.
pub(super) async fn register_bots(client: &Client, simulator: &Simulator) -> Result<()> {
    let connectors: Api<TelegramConnector> = Api::all(client.clone());
    for connector in connectors.list(&ListParams::default()).await? {
        let namespace = connector.namespace().unwrap_or_default();
        let token = token_of(client, &connector).await?;
        if let Some(token) = token.filter(|t| BotToken::parse(t).is_ok()) {
            let username =
                format!("{namespace}_{}_bot", connector.name_any()).replace(['-', '.'], "_");
            let name = connector
                .spec
                .display_name
                .clone()
                .unwrap_or_else(|| connector.name_any());
            simulator.add_bot(token.trim(), &username, &name);
        }
    }
    Ok(())
}

/// The text that a connector's Secret has as its bot token; `None` without the Secret or its key.
pub(in crate::dev) async fn token_of(
    client: &Client,
    connector: &TelegramConnector,
) -> Result<Option<String>, kube::Error> {
    let namespace = connector.namespace().unwrap_or_default();
    let reference = &connector.spec.bot_token_secret_ref;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secret = secrets.get_opt(&reference.name).await?;
    let key = reference.key.as_deref().unwrap_or("token");
    Ok(secret
        .and_then(|secret| secret.data)
        .and_then(|mut data| data.remove(key))
        .and_then(|value| String::from_utf8(value.0).ok()))
}
