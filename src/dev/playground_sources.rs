//! What the page of `dev` shows of the operator: connectors and users from the embedded Kubernetes API, and rows of the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bot_api_simulator::User;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use playground::source::{
    ClusterView, Condition, Connector, DeadLetter, DeniedMessage, ReadError, Session, StoredData,
    StoredRows,
};
use serde_json::json;

use super::environment::users;
use crate::api::TelegramConnector;
use crate::api::conditions::Reason;
use crate::history::{ChatMessage, Role};
use crate::identity::{BotId, ConnectorRef};
use crate::kube_client::kubectl_table;
use crate::pipeline::incoming_update::Sender;
use crate::pipeline::{AccessDecision, decide_access};
use crate::registry::Registry;
use crate::store::{ListingQuery, ObjectContent, ObjectKind, ObjectQuery, Page, Store, StoreError};
use crate::telegram::BotToken;

/// Rows read at a time.
const PAGE: u32 = 500;
/// Rows of each kind on the page.
const SHOWN_ROWS: usize = 50;
/// How often the status is looked at for what it says of a token that was taken away.
const MISSING_TOKEN_LOOKS: u32 = 100;
/// The pause between two of these looks.
const MISSING_TOKEN_PAUSE: Duration = Duration::from_millis(50);

fn unreadable(what: &str, error: impl std::fmt::Display) -> ReadError {
    ReadError(format!("{what} cannot be read: {error}"))
}

/// The connectors of the embedded Kubernetes API, and who may write as the operator decides it.
pub(super) struct EmbeddedCluster {
    pub(super) client: Client,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Arc<dyn Store>,
}

#[async_trait]
impl ClusterView for EmbeddedCluster {
    async fn connectors(&self) -> Result<Vec<Connector>, ReadError> {
        let failed = |error: kube::Error| unreadable("the connectors", error);
        let api: Api<TelegramConnector> = Api::all(self.client.clone());
        let list = api.list(&ListParams::default()).await.map_err(failed)?;
        let path = "/apis/connectors.pupau.ai/v1alpha1/telegramconnectors";
        let rows = kubectl_table::rows(&self.client, path)
            .await
            .map_err(failed)?;
        let mut connectors = Vec::new();
        for (connector, columns) in list.items.into_iter().zip(rows) {
            let token_bot = self.bot_of_token(&connector).await;
            connectors.push(describe(&connector, columns, token_bot));
        }
        Ok(connectors)
    }

    async fn listed_users(&self) -> Result<Vec<User>, ReadError> {
        let listed = users::list_users(&self.client).await;
        let listed = listed.map_err(|error| unreadable("the users", error))?;
        Ok(listed.iter().map(User::from).collect())
    }

    async fn may_write(&self, bot: i64, user: &User) -> Option<bool> {
        let connector = self.registry.by_bot(BotId(bot))?;
        let now = jiff::Timestamp::now();
        let mut sender = Sender {
            id: user.id,
            is_bot: user.is_bot,
            username: user.username.clone(),
            name: user.first_name.clone(),
            language_code: user.language_code.clone(),
            is_granted: false,
        };
        let is_allowed = |sender: &Sender| {
            decide_access(&connector.access, Some(sender), now) == AccessDecision::Allowed
        };
        if is_allowed(&sender) {
            return Some(true);
        }
        sender.is_granted = connector.access.takes_grants
            && self.has_grant(&connector.connector_ref, user.id, now).await;
        Some(is_allowed(&sender))
    }

    async fn rewrite_token(&self, bot: i64) -> Result<(), ReadError> {
        let failed =
            |error: kube::Error| ReadError(format!("the Secret cannot be patched: {error}"));
        let api: Api<TelegramConnector> = Api::all(self.client.clone());
        for connector in api.list(&ListParams::default()).await.map_err(failed)? {
            let token = users::token_of(&self.client, &connector).await;
            let Some(token) = token.map_err(failed)?.filter(|t| bot_of(t) == Some(bot)) else {
                continue;
            };
            let reference = &connector.spec.bot_token_secret_ref;
            let key = reference.key.as_deref().unwrap_or("token");
            let namespace = connector.namespace().unwrap_or_default();
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
            let write = async |value: serde_json::Value| {
                let patch = Patch::Merge(json!({"data": {key: value}}));
                let params = PatchParams::default();
                secrets.patch(&reference.name, &params, &patch).await
            };
            write(json!(null)).await.map_err(failed)?;
            self.wait_for_missing_token(&connector).await;
            write(json!(ByteString(token.into_bytes())))
                .await
                .map_err(failed)?;
        }
        Ok(())
    }
}

impl EmbeddedCluster {
    /// Whether a user has a grant that is not over. What cannot be read lets nobody in, as in the operator.
    async fn has_grant(&self, connector: &ConnectorRef, user: i64, now: jiff::Timestamp) -> bool {
        let query = ObjectQuery {
            namespace: Some(connector.namespace.to_string()),
            connector: Some(connector.name.to_string()),
            user: Some(user),
            ..ObjectQuery::all(ObjectKind::AccessGrant)
        };
        let page = self.store.list_objects(&query, None, PAGE).await;
        let grants = page.map(|page| page.objects).unwrap_or_default();
        grants.iter().any(|object| match &object.content {
            ObjectContent::AccessGrant(grant) => grant.is_valid(now),
            _ => false,
        })
    }

    /// The bot of the token in a connector's Secret; `None` without a readable one.
    async fn bot_of_token(&self, connector: &TelegramConnector) -> Option<i64> {
        let token = users::token_of(&self.client, connector).await.ok()??;
        bot_of(&token)
    }

    /// Waits until the operator has seen that a connector has no token, for a moment at most: one that is suspended says nothing.
    async fn wait_for_missing_token(&self, connector: &TelegramConnector) {
        let namespace = connector.namespace().unwrap_or_default();
        let api: Api<TelegramConnector> = Api::namespaced(self.client.clone(), &namespace);
        let is_missing = |connector: &TelegramConnector| {
            let status = connector.status.as_ref();
            let mut conditions = status.iter().flat_map(|status| &status.conditions);
            conditions.any(|condition| condition.reason == Reason::SecretKeyMissing.as_str())
        };
        for _ in 0..MISSING_TOKEN_LOOKS {
            match api.get(&connector.name_any()).await {
                Ok(now) if !is_missing(&now) => tokio::time::sleep(MISSING_TOKEN_PAUSE).await,
                _ => return,
            }
        }
    }
}

/// The bot of a token; `None` for what is no token.
fn bot_of(token: &str) -> Option<i64> {
    Some(BotToken::parse(token).ok()?.bot_id().0)
}

fn describe(
    connector: &TelegramConnector,
    columns: Vec<(String, String)>,
    token_bot: Option<i64>,
) -> Connector {
    let status = connector.status.as_ref();
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    Connector {
        namespace: connector.namespace().unwrap_or_default(),
        name: connector.name_any(),
        bot: token_bot,
        columns: columns
            .into_iter()
            .filter(|(column, _)| column != "Name" && column != "Namespace")
            .collect(),
        conditions: conditions
            .iter()
            .map(|condition| Condition {
                kind: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
                since: condition.last_transition_time.0,
            })
            .collect(),
        answers_in_groups: connector.spec.groups.is_some(),
        suspended: connector.spec.suspend == Some(true),
    }
}

pub(super) struct OperatorStore(pub(super) Arc<dyn Store>);

#[async_trait]
impl StoredData for OperatorStore {
    async fn rows(&self, namespace: &str, name: &str) -> Result<StoredRows, ReadError> {
        let query = ListingQuery {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            texts: true,
            limit: PAGE,
            ..ListingQuery::default()
        };
        let failed = |error: StoreError| unreadable("the store", error);
        let store = &self.0;
        let sessions = newest(query.clone(), |query| async move {
            store.sessions(&query).await
        });
        let denied = newest(
            query.clone(),
            |query| async move { store.denied(&query).await },
        );
        let letters = newest(
            query,
            |query| async move { store.dead_letters(&query).await },
        );
        Ok(StoredRows {
            sessions: sessions
                .await
                .map_err(failed)?
                .into_iter()
                .map(session)
                .collect(),
            denied: denied
                .await
                .map_err(failed)?
                .into_iter()
                .map(denied_message)
                .collect(),
            dead_letters: letters
                .await
                .map_err(failed)?
                .into_iter()
                .map(dead_letter)
                .collect(),
        })
    }
}

/// The last rows of a listing, newest first.
async fn newest<T, F>(
    mut query: ListingQuery,
    page: impl Fn(ListingQuery) -> F,
) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = Result<Page<T>, StoreError>>,
{
    let mut newest = std::collections::VecDeque::new();
    loop {
        let read = page(query.clone()).await?;
        for row in read.rows {
            newest.push_front(row);
            newest.truncate(SHOWN_ROWS);
        }
        match read.next {
            Some(next) => query.after = next,
            None => return Ok(newest.into()),
        }
    }
}

fn session(row: crate::store::SessionSummary) -> Session {
    Session {
        id: row.session,
        chat: row.chat,
        topic: row.topic,
        began: row.began,
        exchanges: row.exchanges,
        tokens: (row.tokens.input, row.tokens.output),
        current: row.current,
        history: row
            .history
            .unwrap_or_default()
            .into_iter()
            .map(spoken)
            .collect(),
    }
}

fn spoken(message: ChatMessage) -> (String, String) {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    (role.to_owned(), message.text)
}

fn denied_message(row: crate::store::DeniedMessage) -> DeniedMessage {
    let id = row.user_id.map(|id| id.to_string());
    DeniedMessage {
        time: row.time,
        sender: row.user_name.or(row.username).or(id).unwrap_or_default(),
        chat: row.chat,
        level: row.level,
        text: row.text.unwrap_or_else(|| format!("[{}]", row.content)),
    }
}

fn dead_letter(row: crate::store::DeadLetter) -> DeadLetter {
    DeadLetter {
        id: row.id,
        time: row.time,
        chat: row.chat,
        kind: row.kind,
        attempts: row.attempts,
        reason: row.reason,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::clock::SystemClock;
    use crate::dev::environment::{Environment, EnvironmentOptions};
    use crate::store::{GrantSource, NewGrant};

    /// A connector that takes grants, and users that only a cluster list and approvers name.
    const MANIFESTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: acme}
---
apiVersion: v1
kind: Secret
metadata: {name: bot, namespace: acme}
stringData: {token: '7000001:quickstart-not-a-real-token'}
---
apiVersion: connectors.pupau.ai/v1alpha1
kind: ClusterTelegramUserList
metadata: {name: partners}
spec:
  allowedNamespaces: {names: [acme]}
  users: [{id: 2001, note: Pat}]
---
apiVersion: connectors.pupau.ai/v1alpha1
kind: TelegramConnector
metadata: {name: support, namespace: acme}
spec:
  botTokenSecretRef: {name: bot}
  assistant: {protocol: OpenAI, url: 'http://127.0.0.1:8081/v1', model: sample}
  access:
    level: Company
    companyUsers: {listRefs: [{kind: ClusterTelegramUserList, name: partners}]}
    requests: {notify: {chat: -1001}, approvers: {users: [{id: 3001, note: Boss}]}}
";

    #[tokio::test(flavor = "multi_thread")]
    async fn page_counts_cluster_lists_approvers_and_grants() {
        let folder = tempfile::tempdir().unwrap();
        let file: PathBuf = folder.path().join("manifests.yaml");
        std::fs::write(&file, MANIFESTS).unwrap();
        let options = EnvironmentOptions {
            manifests: vec![file],
            ..EnvironmentOptions::default()
        };
        let environment = Environment::start(options, Arc::new(SystemClock))
            .await
            .unwrap();
        environment.wait_until_ready().await.unwrap();
        let cluster = EmbeddedCluster {
            client: environment.client.clone(),
            registry: environment.operator.registry().clone(),
            store: environment.operator.store().clone(),
        };
        let listed = cluster.listed_users().await.unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|user| (user.id, &*user.first_name))
            .collect();
        assert_eq!(listed, [(2001, "Pat"), (3001, "Boss")]);
        let may_write = async |id| cluster.may_write(7_000_001, &User::new(id, "Ann")).await;
        assert_eq!(may_write(2001).await, Some(true));
        assert_eq!(may_write(4001).await, Some(false));
        let connector = cluster.registry.by_bot(BotId(7_000_001)).unwrap();
        let grant = |until: &str| NewGrant {
            connector: connector.connector_ref.clone(),
            user: 4001,
            name: "Ann".into(),
            username: None,
            source: GrantSource::Admin,
            by: "alice".into(),
            until: Some(until.parse().unwrap()),
        };
        cluster
            .store
            .grant(grant("2020-01-01T00:00:00Z"))
            .await
            .unwrap();
        assert_eq!(may_write(4001).await, Some(false), "it is over");
        cluster
            .store
            .grant(grant("2999-01-01T00:00:00Z"))
            .await
            .unwrap();
        assert_eq!(may_write(4001).await, Some(true));
        environment.shutdown().await;
    }
}
