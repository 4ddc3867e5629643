//! The `OpenAPI` documents of other servers. One that is away keeps nobody from the rest: what it said last stays.

use http::Method;
use serde_json::{Map, Value};

use super::{RemoteApi, connection};
use crate::server::ServerState;
use crate::server::caller::Caller;
use crate::server::object::value_at;

/// The entries of other servers in the index of `/openapi/v3`; their documents are theirs.
pub(in crate::server) async fn remote_index_entries(server: &ServerState) -> Map<String, Value> {
    let mut entries = Map::new();
    for api in super::remote_apis(server) {
        let index = document(server, &api, "/openapi/v3").await;
        let root = api.root();
        let root = root.trim_start_matches('/');
        if let Some(entry) = value_at(&index, &["paths"]).get(root) {
            entries.insert(root.to_owned(), entry.clone());
        }
    }
    entries
}

/// The paths and definitions of other servers in `/openapi/v2`.
pub(in crate::server) async fn remote_swagger(
    server: &ServerState,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for api in super::remote_apis(server) {
        let document = document(server, &api, "/openapi/v2").await;
        let root = format!("{}/", api.root());
        let part = |name: &str| value_at(&document, &[name]).as_object().cloned();
        let own = |(path, _): &(String, Value)| path.starts_with(&root);
        paths.extend(part("paths").unwrap_or_default().into_iter().filter(own));
        definitions.extend(part("definitions").unwrap_or_default());
    }
    (paths, definitions)
}

/// A document as it is now, or as it was last; `Null` if there never was one.
async fn document(server: &ServerState, api: &RemoteApi, path: &'static str) -> Value {
    let key = (api.name.clone(), path);
    if api.is_available {
        let caller = Caller::system("system:aggregator", &[]);
        let request = (Method::GET, path, "application/json");
        let answer = connection::call(server, api, &caller, request, &Value::Null).await;
        if let Ok(answer) = answer
            && answer.status.is_success()
            && answer.body.is_object()
        {
            let mut last = server.aggregation.last_openapi.lock();
            last.insert(key, answer.body.clone());
            return answer.body;
        }
    }
    let last = server.aggregation.last_openapi.lock();
    last.get(&key).cloned().unwrap_or_default()
}
