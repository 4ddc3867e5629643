//! The API as a tower service: what `kube::Client` uses directly, and what the HTTP server serves.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tower::Service;

use super::World;
use super::failure::Failure;
use super::faults::{Asked, Verdict};
use super::kinds::Kind;
use super::reply::{self, BoxError, Reply};
use super::request::{Place, Query, Shape, Verb};
use super::write::Writing;
use super::{delete, discovery, openapi, read, requests, watch};

/// The Kubernetes API of one control plane. Clones are cheap and see the same objects.
#[derive(Debug, Clone)]
pub struct ApiService {
    pub(super) world: Arc<World>,
}

impl<B> Service<Request<B>> for ApiService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Reply;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let world = Arc::clone(&self.world);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            answer(world, parts, body).await
        })
    }
}

async fn answer(
    world: Arc<World>,
    parts: http::request::Parts,
    body: Bytes,
) -> Result<Reply, BoxError> {
    if world.faults.is_down() {
        return Err(refused());
    }
    let path = parts.uri.path();
    if let Some(reply) = discovery::answer(&world, path, &parts.headers)
        .or_else(|| openapi::answer(&world, path, &parts))
    {
        return Ok(reply);
    }
    let found = Place::parse(path).and_then(|place| {
        let kind = world
            .kinds()
            .find(&place.group, &place.version, &place.plural)
            .cloned()?;
        Some((place, kind))
    });
    let Some((place, kind)) = found else {
        return Ok(reply::typed(
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "404 page not found\n",
        ));
    };
    resource(world, kind, place, parts, body).await
}

async fn resource(
    world: Arc<World>,
    kind: Arc<Kind>,
    place: Place,
    parts: http::request::Parts,
    body: Bytes,
) -> Result<Reply, BoxError> {
    let query = match Query::parse(&parts.uri) {
        Ok(query) => query,
        Err(failure) => return Ok(reply::failure(&failure)),
    };
    let Some(verb) = Verb::of(&parts.method, &place, &query) else {
        return Ok(reply::failure(&Failure::method_not_allowed()));
    };
    let resource = kind.resource();
    let asked = Asked {
        verb,
        resource: &resource,
        subresource: &place.subresource,
        name: &place.name,
    };
    let verdict = world.faults.judge(&asked);
    let mut note = requests::Request {
        verb,
        resource: resource.clone(),
        subresource: place.subresource.clone(),
        namespace: place.namespace.clone(),
        name: place.name.clone(),
        status: 0,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        user_agent: header_text(&parts, &header::USER_AGENT),
    };
    let call = Call {
        world: &world,
        kind: &kind,
        place: &place,
        query: &query,
        verb,
        parts: &parts,
        body: &body,
    };
    let reply = call.judged(verdict).await;
    note.status = reply.as_ref().map_or(0, |reply| reply.status().as_u16());
    world.requests.note(note);
    reply
}

/// A request for a resource, taken apart.
struct Call<'a> {
    world: &'a Arc<World>,
    kind: &'a Arc<Kind>,
    place: &'a Place,
    query: &'a Query,
    verb: Verb,
    parts: &'a http::request::Parts,
    body: &'a [u8],
}

impl Call<'_> {
    /// What comes of it, faults included.
    async fn judged(&self, verdict: Verdict) -> Result<Reply, BoxError> {
        if !verdict.delay.is_zero() {
            tokio::time::sleep(verdict.delay).await;
        }
        if verdict.refuse || self.world.faults.is_down() {
            return Err(refused());
        }
        if let Some(failure) = verdict.error {
            return Ok(reply::failure(&failure));
        }
        let done = self.act();
        if verdict.lose_answer {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the answer was lost (injected fault)",
            )
            .into());
        }
        Ok(done.unwrap_or_else(|failure| reply::failure(&failure)))
    }

    fn act(&self) -> Result<Reply, Failure> {
        let Self {
            world,
            kind,
            place,
            query,
            parts,
            body,
            verb,
        } = *self;
        check_place(kind, place, &parts.method)?;
        let shape = Shape::parse(&parts.headers)?;
        let writing = Writing {
            world,
            kind,
            place,
            query,
            shape,
            headers: &parts.headers,
            body,
        };
        match verb {
            Verb::Get => read::get(world, kind, place, query, shape),
            Verb::List => read::list(world, kind, place, query, shape),
            Verb::Watch => watch::begin(world, kind, place, query, shape),
            Verb::Create => writing.create(),
            Verb::Update => writing.replace(),
            Verb::Patch => writing.patch(),
            Verb::Delete => delete::one(world, kind, place, query, body),
            Verb::DeleteCollection => delete::collection(world, kind, place, query, body),
        }
    }
}

/// A subresource that the kind has, with a method that it takes.
fn check_place(kind: &Kind, place: &Place, method: &Method) -> Result<(), Failure> {
    let known = match place.subresource.as_str() {
        "" => true,
        "status" => kind.status && *method != Method::DELETE,
        "finalize" => kind.nature == super::kinds::Nature::Namespace && *method == Method::PUT,
        _ => false,
    };
    if !known {
        return Err(Failure::not_found(kind, &place.name));
    }
    if kind.namespaced
        && place.namespace.is_empty()
        && !(place.name.is_empty() && *method == Method::GET)
    {
        return Err(Failure::no_such_path());
    }
    if !kind.namespaced && !place.namespace.is_empty() {
        return Err(Failure::no_such_path());
    }
    Ok(())
}

fn refused() -> BoxError {
    io::Error::new(
        io::ErrorKind::ConnectionRefused,
        "connection refused (injected fault: the API server is down)",
    )
    .into()
}

fn header_text(parts: &http::request::Parts, name: &header::HeaderName) -> String {
    parts
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}
