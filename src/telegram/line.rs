//! HTTP/1.1 to one server, over connections that are driven by whoever uses them.
//!
//! The usual clients give each connection a task of its own, which costs memory per connection and, per request, a channel and a wake
//! from thread to thread. Here a request and its connection are one future: nothing runs for a connection that nobody uses, and a
//! thousand long polls are a thousand connections and nothing else.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::dial::{Dial, Stream, because};

/// An idle connection is given up before a server or a NAT on the way drops it (commonly 60 s), so that no send meets a dead one
/// and has to be called ambiguous.
const IDLE: Duration = Duration::from_secs(20);
/// Connections that are kept for the next request; what a rush needed beyond it is closed.
const KEPT: usize = 256;

/// Why there is no whole answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The request was certainly not sent.
    NotSent(String),
    /// It was, or may have been.
    Lost(String),
    /// The answer is longer than it may be.
    TooLong,
}

/// Connections to one server.
pub(super) struct Lines {
    dial: Dial,
    /// The latest last.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    line: Box<Line>,
    since: Instant,
}

/// One connection.
struct Line {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// What reads and writes; `None` once it has ended.
struct Driver(Option<http1::Connection<Box<dyn Stream>, Full<Bytes>>>);

impl Driver {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && connection.poll_unpin(context).is_ready()
        {
            // Dropped, it tells whoever waits for it. An error has been told already.
            self.0 = None;
        }
    }

    /// Does `step` while the connection does its part.
    async fn along<T>(&mut self, step: impl Future<Output = T>) -> T {
        let mut step = pin!(step);
        std::future::poll_fn(|context| {
            // Twice: what the first look at one of them brought about is for the other to see.
            for _ in 0..2 {
                self.poll(context);
                if let Poll::Ready(done) = step.as_mut().poll(context) {
                    return Poll::Ready(done);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Line {
    /// Whether it takes a request now. A line that the server has closed does not.
    fn is_ready(&mut self) -> bool {
        let ready = self.driver.along(self.sender.ready());
        matches!(ready.now_or_never(), Some(Ok(())))
    }
}

impl Lines {
    pub(super) fn new(dial: Dial) -> Self {
        Self {
            dial,
            idle: Mutex::default(),
        }
    }

    /// How requests must look.
    pub(super) fn dial(&self) -> &Dial {
        &self.dial
    }

    /// Sends a request and reads the whole answer, of at most `max_bytes`. Dropped before its end, it closes the connection.
    ///
    /// # Errors
    /// See [`Broken`]. A kept connection that took nothing of the request is replaced without a word.
    pub(super) async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, Broken> {
        loop {
            let kept = self.take();
            let is_new = kept.is_none();
            let mut line = match kept {
                Some(line) => line,
                None => self.connect().await?,
            };
            let sending = line.sender.try_send_request(request);
            match line.driver.along(sending).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = line.driver.along(whole(body, max_bytes)).await?;
                    self.keep(line);
                    return Ok(Response::from_parts(head, body));
                }
                Err(mut unsent) => match unsent.take_message() {
                    Some(again) if !is_new => request = again,
                    Some(_) => return Err(Broken::NotSent(because(unsent.into_error()))),
                    None => return Err(Broken::Lost(because(unsent.into_error()))),
                },
            }
        }
    }

    async fn connect(&self) -> Result<Box<Line>, Broken> {
        let stream = self.dial.connect().await.map_err(Broken::NotSent)?;
        let (sender, connection) = http1::handshake(stream)
            .await
            .map_err(|error| Broken::NotSent(because(error)))?;
        let driver = Driver(Some(connection));
        Ok(Box::new(Line { sender, driver }))
    }

    /// The connection that was used last, if it still works.
    fn take(&self) -> Option<Box<Line>> {
        loop {
            let Idle { mut line, since } = self.lock().pop()?;
            if since.elapsed() < IDLE && line.is_ready() {
                return Some(line);
            }
        }
    }

    /// Keeps a connection for the next request, and drops those that nobody has used for long.
    fn keep(&self, mut line: Box<Line>) {
        if !line.is_ready() {
            return;
        }
        let since = Instant::now();
        let mut idle = self.lock();
        let old = idle.partition_point(|idle| since - idle.since >= IDLE);
        let old: Vec<Idle> = idle.drain(..old).collect();
        if idle.len() < KEPT {
            idle.push(Idle { line, since });
        }
        drop(idle);
        drop(old);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a body to its end.
async fn whole(mut body: Incoming, max_bytes: usize) -> Result<Bytes, Broken> {
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |length| length > max_bytes) {
        return Err(Broken::TooLong);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Broken::Lost(because(error)))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > max_bytes {
            return Err(Broken::TooLong);
        }
        if first.is_empty() && rest.is_empty() {
            // Most answers come in one piece, which is then not copied.
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(usize::try_from(announced).unwrap_or(0).max(2 * first.len()));
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
