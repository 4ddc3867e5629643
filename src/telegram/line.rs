//! HTTP/1.1 to one server, a request at a time over connections that are kept.
//!
//! A thousand bots are a thousand long polls, and each holds a connection that waits nearly all of its life. Clients made for everything
//! hold some 27 kB for it: a task, a channel, and buffers of 8 kB each way. Here a request and its connection are one future,
//! and what waits is a socket and one small buffer. What the Bot API does not need is not here: pipelining, upgrades, trailers.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::coop::unconstrained;

use super::dial::{Dial, Stream, because};
use super::response::{Answer, Broken, Head, Length, head};

/// An idle connection is given up before a server or a NAT on the way drops it (commonly 60 s), so that no send meets a dead one
/// and has to be called ambiguous.
const IDLE: Duration = Duration::from_secs(20);
/// Connections that are kept for the next request; what a rush needed beyond it is closed.
const KEPT: usize = 256;
/// What an answer is read into at first: most fit in it.
const FIRST_READ: usize = 2048;
/// What is read at once of an answer that does not.
const NEXT_READ: usize = 16 << 10;

/// Connections to one server.
pub(super) struct Lines {
    dial: Dial,
    /// The latest last.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    stream: Box<dyn Stream>,
    since: Instant,
}

impl Lines {
    pub(super) fn new(dial: Dial) -> Self {
        Self {
            dial,
            idle: Mutex::default(),
        }
    }

    /// Sends a request, which is whole (`Content-Length`), and reads the whole answer, whose body may have `max_bytes`. Dropped before its
    /// end, it closes the connection.
    ///
    /// # Errors
    /// See [`Broken`]. A kept connection that took nothing of the request is replaced without a word.
    pub(super) async fn exchange(
        &self,
        request: Vec<u8>,
        max_bytes: usize,
    ) -> Result<Answer, Broken> {
        let mut stream = self.write(request).await?;
        let (answer, reusable) = read(&mut *stream, max_bytes).await?;
        if reusable {
            self.keep(stream);
        }
        Ok(answer)
    }

    /// Writes the request to a connection that takes it.
    async fn write(&self, request: Vec<u8>) -> Result<Box<dyn Stream>, Broken> {
        loop {
            let kept = self.take();
            let is_new = kept.is_none();
            let mut stream = match kept {
                Some(stream) => stream,
                // Boxed: it is rare and large, and would be a part of every poll that waits.
                None => Box::pin(self.dial.connect())
                    .await
                    .map_err(Broken::NotSent)?,
            };
            let first = match stream.write(&request).await {
                Ok(written @ 1..) => written,
                Ok(0) | Err(_) if !is_new => continue,
                Ok(_) => return Err(Broken::NotSent("the connection takes nothing".into())),
                Err(error) => return Err(Broken::NotSent(because(error))),
            };
            let rest = async {
                stream.write_all(&request[first..]).await?;
                stream.flush().await
            };
            rest.await.map_err(|error| Broken::Lost(because(error)))?;
            return Ok(stream);
        }
    }

    /// The connection that was used last, if it still works.
    fn take(&self) -> Option<Box<dyn Stream>> {
        loop {
            let Idle { mut stream, since } = self.lock().pop()?;
            if since.elapsed() < IDLE && is_silent(&mut *stream) {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection for the next request, and drops those that nobody has used for long.
    fn keep(&self, stream: Box<dyn Stream>) {
        let since = Instant::now();
        let mut idle = self.lock();
        let old = idle.partition_point(|idle| since - idle.since >= IDLE);
        let old: Vec<Idle> = idle.drain(..old).collect();
        if idle.len() < KEPT {
            idle.push(Idle { stream, since });
        }
        // Closing takes a moment: not while the others wait.
        drop(idle);
        drop(old);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection has nothing to say: neither its end nor an answer that nobody asked for.
fn is_silent(stream: &mut dyn Stream) -> bool {
    // Unconstrained: a task that has used up its turn must not make a closed one look silent.
    let byte = &mut [0; 1];
    unconstrained(stream.read(byte)).now_or_never().is_none()
}

/// Reads an answer to its end; and whether the connection can take another request.
async fn read(stream: &mut dyn Stream, max_bytes: usize) -> Result<(Answer, bool), Broken> {
    let mut buffer = BytesMut::with_capacity(FIRST_READ);
    let Head {
        status,
        retry_after,
        length,
        keeps,
    } = loop {
        if let Some((head, size)) = head(&buffer)? {
            let _ = buffer.split_to(size);
            // Of 100 and 103 the answer follows.
            if head.status >= 200 {
                break head;
            }
            continue;
        }
        if more(stream, &mut buffer).await? == 0 {
            return Err(Broken::Lost("closed before the answer".into()));
        }
    };
    let (body, reusable) = match length {
        Length::Known(length) if length > max_bytes => return Err(Broken::TooLong),
        Length::Known(length) => {
            buffer.reserve(length.saturating_sub(buffer.len()));
            while buffer.len() < length {
                if more(stream, &mut buffer).await? == 0 {
                    return Err(cut_off());
                }
            }
            let body = buffer.split_to(length).freeze();
            (body, buffer.is_empty())
        }
        Length::Chunked => {
            let body = chunks(stream, &mut buffer, max_bytes).await?;
            (body, buffer.is_empty())
        }
        Length::UntilClosed => {
            while more(stream, &mut buffer).await? > 0 {
                if buffer.len() > max_bytes {
                    return Err(Broken::TooLong);
                }
            }
            (buffer.freeze(), false)
        }
    };
    let answer = Answer {
        status,
        retry_after,
        body,
    };
    Ok((answer, reusable && keeps))
}

/// Reads a body in chunks (RFC 9112, 7.1), its trailers passed over.
async fn chunks(
    stream: &mut dyn Stream,
    buffer: &mut BytesMut,
    max_bytes: usize,
) -> Result<Bytes, Broken> {
    let mut body = BytesMut::new();
    loop {
        let size = loop {
            match httparse::parse_chunk_size(buffer) {
                Ok(httparse::Status::Complete((head, size))) => {
                    let _ = buffer.split_to(head);
                    break usize::try_from(size).unwrap_or(usize::MAX);
                }
                // A size and its extensions are short.
                Ok(httparse::Status::Partial) if buffer.len() <= NEXT_READ => {}
                Ok(httparse::Status::Partial) | Err(_) => {
                    return Err(Broken::Nonsense("a chunk without a size".into()));
                }
            }
            if more(stream, buffer).await? == 0 {
                return Err(cut_off());
            }
        };
        if size == 0 {
            break;
        }
        if size > max_bytes - body.len() {
            return Err(Broken::TooLong);
        }
        // With the line's end behind it.
        while buffer.len() < size + 2 {
            if more(stream, buffer).await? == 0 {
                return Err(cut_off());
            }
        }
        body.extend_from_slice(&buffer.split_to(size));
        if *buffer.split_to(2) != *b"\r\n" {
            return Err(Broken::Nonsense(
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
            None if buffer.len() > NEXT_READ => {
                return Err(Broken::Nonsense("trailers without an end".into()));
            }
            None => {
                if more(stream, buffer).await? == 0 {
                    return Err(cut_off());
                }
            }
        }
    }
}

/// Reads some more; 0 at the end.
async fn more(stream: &mut dyn Stream, buffer: &mut BytesMut) -> Result<usize, Broken> {
    if buffer.len() == buffer.capacity() {
        buffer.reserve(NEXT_READ);
    }
    let read = stream.read_buf(buffer).await;
    read.map_err(|error| Broken::Lost(because(error)))
}

fn cut_off() -> Broken {
    Broken::Lost("closed in the middle of the answer".into())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// Gives what it has in pieces, and then its end; takes everything.
    struct Pieces {
        left: Vec<u8>,
        /// How long each piece is, again and again.
        sizes: Vec<usize>,
        given: usize,
    }

    impl AsyncRead for Pieces {
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

    impl AsyncWrite for Pieces {
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

    const LIMIT: usize = 100_000;

    fn reading(bytes: &[u8], sizes: &[usize]) -> Result<(Answer, bool), Broken> {
        let mut stream = Pieces {
            left: bytes.to_vec(),
            sizes: sizes.to_vec(),
            given: 0,
        };
        let read = read(&mut stream, LIMIT).now_or_never();
        read.expect("what gives at once is read at once")
    }

    fn by_length(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
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
        fn an_answer_is_read_whole_in_whatever_pieces_it_comes(
            body in prop::collection::vec(any::<u8>(), 0..20_000),
            chunk in 1..9000_usize,
            sizes in sizes(),
        ) {
            for answer in [by_length(&body), in_chunks(&body, chunk)] {
                let (read, reusable) = reading(&answer, &sizes).expect("an answer");
                prop_assert_eq!((read.status, &read.body[..], reusable), (200, &body[..], true));
            }
            let until_closed = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
            let (read, reusable) = reading(&until_closed, &sizes).expect("an answer");
            prop_assert_eq!((&read.body[..], reusable), (&body[..], false));
        }

        #[test]
        fn an_answer_that_is_cut_off_is_no_answer(
            body in prop::collection::vec(any::<u8>(), 0..3000),
            chunk in 1..900_usize,
            at in any::<prop::sample::Index>(),
            sizes in sizes(),
        ) {
            for answer in [by_length(&body), in_chunks(&body, chunk)] {
                let cut = &answer[..at.index(answer.len())];
                prop_assert!(matches!(reading(cut, &sizes), Err(Broken::Lost(_))));
            }
        }

        #[test]
        fn any_bytes_are_an_answer_or_none_and_nothing_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            sizes in sizes(),
        ) {
            let chunked = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat();
            for answer in [bytes, chunked] {
                if let Ok((answer, _)) = reading(&answer, &sizes) {
                    prop_assert!(answer.body.len() <= LIMIT);
                }
            }
        }
    }

    #[test]
    fn more_than_may_be_is_not_read() {
        let body = vec![b'x'; LIMIT + 1];
        let until_closed = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
        for answer in [by_length(&body), in_chunks(&body, 60_000), until_closed] {
            assert_eq!(reading(&answer, &[5000]), Err(Broken::TooLong));
        }
    }

    #[test]
    fn what_follows_an_answer_unasked_ends_the_connection() {
        let answer = [by_length(b"{}"), by_length(b"{}")].concat();
        assert!(matches!(reading(&answer, &[5000]), Ok((_, false))));
    }

    #[test]
    fn an_answer_that_is_announced_first_is_waited_for() {
        let answer = [b"HTTP/1.1 100 Continue\r\n\r\n", &by_length(b"{}")[..]].concat();
        let (answer, _) = reading(&answer, &[7]).expect("an answer");
        assert_eq!(&answer.body[..], b"{}");
    }
}
