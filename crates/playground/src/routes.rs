//! The paths of the page.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};

use crate::selection::SelectionQuery;
use crate::view::{self, Snapshot};
use crate::{Sources, actions, assets, live_updates, request_guard};

pub(crate) type Shared = State<Arc<Sources>>;

pub(crate) fn router(sources: Arc<Sources>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/live", get(live_updates::stream))
        .route("/messages", post(actions::send_message))
        .route("/taps", post(actions::tap))
        .route("/users", post(actions::add_user))
        .route("/groups", post(actions::add_group))
        .route("/topics", post(actions::add_topic))
        .route("/switches", post(actions::set_switch))
        .route("/assets/{name}", get(asset))
        .route("/pictures/{file_id}", get(picture))
        .route("/files/{file_id}", get(file))
        .layer(middleware::from_fn(request_guard::guard))
        .with_state(sources)
}

async fn page(State(sources): Shared, Query(query): Query<SelectionQuery>) -> Response {
    let snapshot = Snapshot::read(&sources, query).await;
    let html = view::page(&snapshot, &sources.addresses);
    ([(CACHE_CONTROL, "no-store")], Html(html.into_string())).into_response()
}

async fn asset(Path(name): Path<String>) -> Response {
    assets::serve(&name)
}

/// A photo that somebody sent, if it is a picture that browsers show; never as another type.
async fn picture(State(sources): Shared, Path(file_id): Path<String>) -> Response {
    let content = sources.simulator.file(&file_id);
    let shown = content.and_then(|bytes| Some((view::picture_type(&bytes)?, bytes)));
    match shown {
        Some((media_type, bytes)) => ([(CONTENT_TYPE, media_type)], bytes).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such picture").into_response(),
    }
}

/// A file that somebody sent: sound to be played, anything else to be saved. A browser must not open what may hold scripts.
async fn file(State(sources): Shared, Path(file_id): Path<String>) -> Response {
    let Some(bytes) = sources.simulator.file(&file_id) else {
        return (StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    match view::sound_type(&bytes) {
        Some(media_type) => ([(CONTENT_TYPE, media_type)], bytes).into_response(),
        None => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream"),
                (CONTENT_DISPOSITION, "attachment"),
            ];
            (headers, bytes).into_response()
        }
    }
}
