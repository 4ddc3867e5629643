//! HTTP/1.1 to one server: one request at a time per connection, over connections that are kept open.
//!
//! A thousand bots are a thousand long polls, each of which holds a connection that waits nearly all the time. General HTTP clients use
//! about 27 kB for it: a task, a channel, and buffers of 8 kB in each direction. Here a request and its connection are one future,
//! and a waiting one costs a socket and a small buffer. Features that the Bot API does not need are left out: pipelining, upgrades, trailers.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::coop::unconstrained;

use super::connector::{Connection, Connector, error_chain};
use super::http_response::{BodyLength, HttpResponse, ResponseHead, TransportError, parse_head};

/// Idle connections are closed before a server or a NAT drops them (commonly after 60 s): a request on a dropped connection fails, and
/// its error would be ambiguous.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many idle connections are kept; more, after a burst of requests, are closed.
const MAX_IDLE_CONNECTIONS: usize = 256;
/// The initial size of the read buffer; most responses fit in it.
const INITIAL_READ_BYTES: usize = 2048;
/// The size of the read buffer while a long poll waits, which thousands do: enough to see that the response begins; the rest is read at once
/// then.
const LONG_POLL_READ_BYTES: usize = 64;
/// How much is read at once of a longer response.
const NEXT_READ_BYTES: usize = 16 << 10;

/// The connections to one server.
pub(super) struct ConnectionPool {
    connector: Connector,
    /// The most recently used last.
    idle: Mutex<Vec<IdleConnection>>,
}

struct IdleConnection {
    connection: Box<dyn Connection>,
    since: Instant,
}

impl ConnectionPool {
    pub(super) fn new(connector: Connector) -> Self {
        Self {
            connector,
            idle: Mutex::default(),
        }
    }

    /// Sends a complete request (with `Content-Length`) and reads the whole response, whose body may have `max_bytes`. Dropping the future
    /// closes the connection.
    ///
    /// `is_long_poll`: the response is waited for with as little memory as can be.
    ///
    /// # Errors
    /// See [`TransportError`]. An idle connection that fails before any byte is written is replaced silently.
    pub(super) async fn send(
        &self,
        request: Vec<u8>,
        max_bytes: usize,
        is_long_poll: bool,
    ) -> Result<HttpResponse, TransportError> {
        let mut stream = self.write_request(request).await?;
        let mut buffer = BytesMut::new();
        if is_long_poll {
            buffer.reserve(LONG_POLL_READ_BYTES);
            read_more(&mut *stream, &mut buffer).await?;
        }
        buffer.reserve(INITIAL_READ_BYTES);
        let (answer, reusable) = read_response(&mut *stream, buffer, max_bytes).await?;
        if reusable {
            self.return_idle(stream);
        }
        Ok(answer)
    }

    /// Writes the request to an idle connection or, if none works, to a new one.
    async fn write_request(&self, request: Vec<u8>) -> Result<Box<dyn Connection>, TransportError> {
        loop {
            let kept = self.take_idle();
            let is_new = kept.is_none();
            let mut stream = match kept {
                Some(stream) => stream,
                // Boxed: it is rare and large, and would otherwise be part of every waiting poll.
                None => Box::pin(self.connector.connect())
                    .await
                    .map_err(TransportError::NotSent)?,
            };
            let first = match stream.write(&request).await {
                Ok(written @ 1..) => written,
                Ok(0) | Err(_) if !is_new => continue,
                Ok(_) => {
                    return Err(TransportError::NotSent(
                        "the connection takes nothing".into(),
                    ));
                }
                Err(error) => return Err(TransportError::NotSent(error_chain(error))),
            };
            let rest = async {
                stream.write_all(&request[first..]).await?;
                stream.flush().await
            };
            rest.await
                .map_err(|error| TransportError::ConnectionLost(error_chain(error)))?;
            return Ok(stream);
        }
    }

    /// The most recently used idle connection that still works.
    fn take_idle(&self) -> Option<Box<dyn Connection>> {
        loop {
            let IdleConnection {
                mut connection,
                since,
            } = self.idle.lock().pop()?;
            if since.elapsed() < IDLE_TIMEOUT && has_nothing_to_read(&mut *connection) {
                return Some(connection);
            }
        }
    }

    /// Returns a connection to the idle ones, and closes those that were idle too long.
    fn return_idle(&self, connection: Box<dyn Connection>) {
        let since = Instant::now();
        let mut idle = self.idle.lock();
        let old = idle.partition_point(|idle| since - idle.since >= IDLE_TIMEOUT);
        let old: Vec<IdleConnection> = idle.drain(..old).collect();
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(IdleConnection { connection, since });
        }
        // Closing takes time, so it happens outside of the lock.
        drop(idle);
        drop(old);
    }
}

/// Whether nothing can be read from a connection: neither its end nor an unsolicited response.
fn has_nothing_to_read(stream: &mut dyn Connection) -> bool {
    // Unconstrained: a task without budget left would get "pending" for a closed connection.
    let byte = &mut [0; 1];
    unconstrained(stream.read(byte)).now_or_never().is_none()
}

/// Reads a response to its end, of which `buffer` holds the beginning; the flag says whether the connection can take another request.
async fn read_response(
    stream: &mut dyn Connection,
    mut buffer: BytesMut,
    max_bytes: usize,
) -> Result<(HttpResponse, bool), TransportError> {
    let ResponseHead {
        status,
        retry_after,
        length,
        keep_alive,
    } = loop {
        if let Some((head, size)) = parse_head(&buffer)? {
            let _ = buffer.split_to(size);
            // 100 and 103 are followed by the final response.
            if head.status >= 200 {
                break head;
            }
            continue;
        }
        if read_more(stream, &mut buffer).await? == 0 {
            return Err(TransportError::ConnectionLost(
                "closed before the answer".into(),
            ));
        }
    };
    let (body, reusable) = match length {
        BodyLength::Known(length) if length > max_bytes => return Err(TransportError::BodyTooLong),
        BodyLength::Known(length) => {
            buffer.reserve(length.saturating_sub(buffer.len()));
            while buffer.len() < length {
                if read_more(stream, &mut buffer).await? == 0 {
                    return Err(truncated_response());
                }
            }
            let body = buffer.split_to(length).freeze();
            (body, buffer.is_empty())
        }
        BodyLength::Chunked => {
            let body = read_chunked_body(stream, &mut buffer, max_bytes).await?;
            (body, buffer.is_empty())
        }
        BodyLength::UntilClosed => {
            while read_more(stream, &mut buffer).await? > 0 {
                if buffer.len() > max_bytes {
                    return Err(TransportError::BodyTooLong);
                }
            }
            (buffer.freeze(), false)
        }
    };
    let answer = HttpResponse {
        status,
        retry_after,
        body,
    };
    Ok((answer, reusable && keep_alive))
}

/// Reads a chunked body (RFC 9112, 7.1), and skips its trailers.
async fn read_chunked_body(
    stream: &mut dyn Connection,
    buffer: &mut BytesMut,
    max_bytes: usize,
) -> Result<Bytes, TransportError> {
    let mut body = BytesMut::new();
    loop {
        let size = loop {
            match httparse::parse_chunk_size(buffer) {
                Ok(httparse::Status::Complete((head, size))) => {
                    let _ = buffer.split_to(head);
                    break usize::try_from(size).unwrap_or(usize::MAX);
                }
                // A chunk's size with its extensions is short.
                Ok(httparse::Status::Partial) if buffer.len() <= NEXT_READ_BYTES => {}
                Ok(httparse::Status::Partial) | Err(_) => {
                    return Err(TransportError::InvalidResponse(
                        "a chunk without a size".into(),
                    ));
                }
            }
            if read_more(stream, buffer).await? == 0 {
                return Err(truncated_response());
            }
        };
        if size == 0 {
            break;
        }
        if size > max_bytes - body.len() {
            return Err(TransportError::BodyTooLong);
        }
        // Including the CRLF after the chunk.
        while buffer.len() < size + 2 {
            if read_more(stream, buffer).await? == 0 {
                return Err(truncated_response());
            }
        }
        body.extend_from_slice(&buffer.split_to(size));
        if *buffer.split_to(2) != *b"\r\n" {
            return Err(TransportError::InvalidResponse(
                "a chunk that is longer than it says".into(),
            ));
        }
    }
    loop {
        let line = buffer.windows(2).position(|two| two == b"\r\n");
        match line {
            Some(0) => {
                let _ = buffer.split_to(2);
                return Ok(body.freeze());
            }
            Some(end) => drop(buffer.split_to(end + 2)),
            None if buffer.len() > NEXT_READ_BYTES => {
                return Err(TransportError::InvalidResponse(
                    "trailers without an end".into(),
                ));
            }
            None => {
                if read_more(stream, buffer).await? == 0 {
                    return Err(truncated_response());
                }
            }
        }
    }
}

/// Reads more bytes into the buffer; 0 at the end of the stream.
async fn read_more(
    stream: &mut dyn Connection,
    buffer: &mut BytesMut,
) -> Result<usize, TransportError> {
    if buffer.len() == buffer.capacity() {
        buffer.reserve(NEXT_READ_BYTES);
    }
    let read = stream.read_buf(buffer).await;
    read.map_err(|error| TransportError::ConnectionLost(error_chain(error)))
}

fn truncated_response() -> TransportError {
    TransportError::ConnectionLost("closed in the middle of the answer".into())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// Gives what it has in pieces, and then its end; takes everything.
    struct ChunkedConnection {
        left: Vec<u8>,
        /// How long each piece is, again and again.
        sizes: Vec<usize>,
        given: usize,
    }

    impl AsyncRead for ChunkedConnection {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            let size = self.sizes[self.given % self.sizes.len()];
            self.given += 1;
            let size = size.min(self.left.len()).min(into.remaining());
            into.put_slice(&self.left.drain(..size).collect::<Vec<_>>());
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for ChunkedConnection {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    const MAX_BYTES: usize = 100_000;

    fn read_bytes(bytes: &[u8], sizes: &[usize]) -> Result<(HttpResponse, bool), TransportError> {
        let mut stream = ChunkedConnection {
            left: bytes.to_vec(),
            sizes: sizes.to_vec(),
            given: 0,
        };
        let read = read_response(&mut stream, BytesMut::new(), MAX_BYTES).now_or_never();
        read.expect("what gives at once is read at once")
    }

    fn with_content_length(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    fn with_chunked_encoding(body: &[u8], size: usize) -> Vec<u8> {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(size) {
            answer.extend(format!("{:X};a=b\r\n", chunk.len()).bytes());
            answer.extend(chunk);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\nX-Trailer: 1\r\n\r\n");
        answer
    }

    fn sizes() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(1..5000_usize, 1..5)
    }

    proptest! {
        #[test]
        fn response_is_read_whole_in_any_chunking(
            body in prop::collection::vec(any::<u8>(), 0..20_000),
            chunk in 1..9000_usize,
            sizes in sizes(),
        ) {
            for answer in [with_content_length(&body), with_chunked_encoding(&body, chunk)] {
                let (read, reusable) = read_bytes(&answer, &sizes).expect("an answer");
                prop_assert_eq!((read.status, &read.body[..], reusable), (200, &body[..], true));
            }
            let until_closed = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
            let (read, reusable) = read_bytes(&until_closed, &sizes).expect("an answer");
            prop_assert_eq!((&read.body[..], reusable), (&body[..], false));
        }

        #[test]
        fn truncated_response_is_an_error(
            body in prop::collection::vec(any::<u8>(), 0..3000),
            chunk in 1..900_usize,
            at in any::<prop::sample::Index>(),
            sizes in sizes(),
        ) {
            for answer in [with_content_length(&body), with_chunked_encoding(&body, chunk)] {
                let cut = &answer[..at.index(answer.len())];
                prop_assert!(matches!(read_bytes(cut, &sizes), Err(TransportError::ConnectionLost(_))));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            sizes in sizes(),
        ) {
            let chunked = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat();
            for answer in [bytes, chunked] {
                if let Ok((answer, _)) = read_bytes(&answer, &sizes) {
                    prop_assert!(answer.body.len() <= MAX_BYTES);
                }
            }
        }
    }

    #[test]
    fn body_over_the_limit_is_refused() {
        let body = vec![b'x'; MAX_BYTES + 1];
        let until_closed = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
        for answer in [
            with_content_length(&body),
            with_chunked_encoding(&body, 60_000),
            until_closed,
        ] {
            assert_eq!(
                read_bytes(&answer, &[5000]),
                Err(TransportError::BodyTooLong)
            );
        }
    }

    #[test]
    fn unsolicited_bytes_end_the_connection() {
        let answer = [with_content_length(b"{}"), with_content_length(b"{}")].concat();
        assert!(matches!(read_bytes(&answer, &[5000]), Ok((_, false))));
    }

    #[test]
    fn informational_response_is_skipped() {
        let answer = [
            b"HTTP/1.1 100 Continue\r\n\r\n",
            &with_content_length(b"{}")[..],
        ]
        .concat();
        let (answer, _) = read_bytes(&answer, &[7]).expect("an answer");
        assert_eq!(&answer.body[..], b"{}");
    }
}
