//! Lists. One is written page by page of the storage while the client reads, so that 100,000 objects cost no more memory than 500.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;

use crate::continue_token::{ContinueToken, fingerprint};
use crate::encoding;
use crate::error::ApiError;
use crate::negotiation::Representation;
use crate::request::Parameters;
use crate::resource::{ListQuery, ObjectPage};
use crate::response::{self, ApiResponse, BoxError};
use crate::selector::Selector;
use crate::served::Served;
use crate::status::StatusError;

/// How many objects the storage is asked for at once.
pub(crate) const PAGE_SIZE: usize = 500;

/// Which objects a request is about.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Absent: all namespaces.
    pub namespace: Option<String>,
    pub selector: Selector,
}

/// The pages of the storage that a request is about, with only what the selectors match.
pub(crate) struct Pages {
    pub served: Arc<Served>,
    pub scope: Scope,
    after: Option<String>,
    is_over: bool,
    timeout: Duration,
}

impl Pages {
    /// From `after` on, or from the beginning. A page may take `timeout`.
    pub(crate) fn new(
        served: Arc<Served>,
        scope: Scope,
        after: Option<String>,
        timeout: Duration,
    ) -> Self {
        Self {
            served,
            scope,
            after,
            is_over: false,
            timeout,
        }
    }

    /// The next page of at most `limit` objects; `None` after the last one.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Option<ObjectPage>, ApiError> {
        if self.is_over {
            return Ok(None);
        }
        let query = ListQuery {
            namespace: self.scope.namespace.clone(),
            fields: self.scope.selector.equal_fields(),
            after: self.after.clone(),
            limit: limit.clamp(1, PAGE_SIZE),
        };
        let listed = tokio::time::timeout(self.timeout, self.served.resource.list(&query)).await;
        let mut page =
            listed.map_err(|_| ApiError::unavailable("the storage takes too long"))??;
        // Whatever the storage answers: nothing of another namespace leaves.
        page.objects.retain(|object| {
            let here = self.scope.namespace.as_ref();
            here.is_none_or(|namespace| *namespace == object.namespace)
                && self.scope.selector.matches(object)
        });
        self.is_over = page.next.is_none();
        self.after.clone_from(&page.next);
        Ok(Some(page))
    }
}

/// A list while it is written.
struct ListWriter {
    pages: Pages,
    representation: Representation,
    /// How many objects may follow; absent for all.
    left: Option<usize>,
    /// The revision of the whole list.
    revision: i64,
    query: u64,
    is_first: bool,
    is_done: bool,
    /// A page that has been read already.
    ready: Option<ObjectPage>,
    now: Timestamp,
}

/// Answers a list.
pub(crate) async fn respond(
    served: &Arc<Served>,
    scope: Scope,
    parameters: &Parameters,
    representation: Representation,
    timeout: Duration,
) -> Result<ApiResponse, StatusError> {
    let query = fingerprint(&[
        &served.description().plural,
        scope.namespace.as_deref().unwrap_or_default(),
        parameters.text("labelSelector"),
        parameters.text("fieldSelector"),
    ]);
    parameters.resource_version()?;
    let token = match parameters.text("continue") {
        "" => None,
        text => Some(ContinueToken::decode(text, query)?),
    };
    let left = match parameters.number("limit")? {
        None | Some(0) => None,
        Some(limit) => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
    };
    if let Some(token) = &token {
        check_age(served, &scope, token).await?;
    }
    let after = token.as_ref().map(|token| token.position.clone());
    let mut pages = Pages::new(served.clone(), scope, after, timeout);
    // The first page is read before anything is answered: a storage that is away is then a plain 503.
    let first = pages
        .next(left.unwrap_or(PAGE_SIZE))
        .await
        .map_err(|error| served.error(error, ""))?
        .unwrap_or_default();
    let writer = ListWriter {
        pages,
        representation,
        left,
        revision: token.map_or(first.revision, |token| token.revision),
        query,
        is_first: true,
        is_done: false,
        ready: Some(first),
        now: Timestamp::now(),
    };
    let body = StreamBody::new(
        stream::unfold(writer, ListWriter::step).map(|chunk| chunk.map(Frame::data)),
    );
    Ok(response::with_body(
        StatusCode::OK,
        "application/json",
        body.boxed_unsync(),
    ))
}

/// Refuses a token of a list that no watch could follow any more.
async fn check_age(
    served: &Served,
    scope: &Scope,
    token: &ContinueToken,
) -> Result<(), StatusError> {
    let changes = served
        .resource
        .changes(scope.namespace.as_deref(), token.revision, 1)
        .await
        .map_err(|error| served.error(error, ""))?;
    if changes.oldest > token.revision || changes.complete_to < token.revision {
        return Err(StatusError::expired(
            "The provided continue parameter is too old to display a consistent list result. You must start a new list without the \
             continue parameter.",
        ));
    }
    Ok(())
}

impl ListWriter {
    async fn step(mut self) -> Option<(Result<Bytes, BoxError>, Self)> {
        if self.is_done {
            return None;
        }
        match self.chunk().await {
            Ok(chunk) => Some((Ok(chunk), self)),
            // In the middle of a list there is no status to send: the connection breaks, and the client asks again.
            Err(error) => {
                tracing::warn!(resource = self.pages.served.description().plural, %error, "a list broke off");
                self.is_done = true;
                Some((Err(error.into()), self))
            }
        }
    }

    /// The next part of the list: a page of objects, with what comes before and after them.
    async fn chunk(&mut self) -> Result<Bytes, ApiError> {
        let limit = self.left.unwrap_or(PAGE_SIZE);
        let page = match self.ready.take() {
            Some(page) => Some(page),
            None => self.pages.next(limit).await?,
        };
        let page = page.unwrap_or_default();
        let served = self.pages.served.clone();
        let mut text = String::new();
        if self.is_first {
            text = encoding::list_start(&served, self.representation);
        }
        let count = page.objects.len();
        for (index, object) in page.objects.iter().enumerate() {
            if index > 0 || !self.is_first {
                text.push(',');
            }
            let item = encoding::item(&served, object, self.representation, self.now);
            text.push_str(&item.to_string());
        }
        self.is_first &= count == 0;
        if count == 0 && self.is_first && page.next.is_some() && self.left != Some(0) {
            // Nothing on this page; the beginning is written with the first object.
            text.clear();
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count);
        }
        let is_full = self.left == Some(0);
        if page.next.is_none() || is_full {
            let token = page
                .next
                .map(|position| ContinueToken::new(self.revision, position, self.query).encode());
            text.push_str(&encoding::list_end(self.revision, token.as_deref()));
            self.is_done = true;
        }
        Ok(text.into())
    }
}
