//! The files beside the page, all in the binary.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, media type and content.
const FILES: [(&str, &str, &str); 5] = [
    (
        "playground.css",
        "text/css; charset=utf-8",
        include_str!("../assets/playground.css"),
    ),
    (
        "playground.js",
        JAVASCRIPT,
        include_str!("../assets/playground.js"),
    ),
    (
        "htmx.min.js",
        JAVASCRIPT,
        include_str!("../assets/vendor/htmx.min.js"),
    ),
    (
        "hx-sse.min.js",
        JAVASCRIPT,
        include_str!("../assets/vendor/hx-sse.min.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../assets/icon.svg"),
    ),
];

/// A file by its name.
pub(crate) fn serve(name: &str) -> Response {
    let found = FILES.iter().find(|(known, ..)| *known == name);
    match found {
        // Not kept: another version of `dev` may serve the same port next.
        Some((_, media_type, content)) => (
            [(CONTENT_TYPE, *media_type), (CACHE_CONTROL, "no-cache")],
            *content,
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
    }
}
