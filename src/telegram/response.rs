//! The head of an HTTP/1.1 answer, and how long its body is (RFC 9112, 6.3).

use bytes::Bytes;

/// No head is this long.
const HEAD_LIMIT: usize = 64 << 10;
/// Nor has it so many fields.
const FIELDS: usize = 64;

/// Why there is no whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The request was certainly not sent.
    NotSent(String),
    /// It was, or may have been.
    Lost(String),
    /// What came is no HTTP.
    Nonsense(String),
    /// The answer is longer than it may be.
    TooLong,
}

/// An answer with all of its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Retry-After`, in seconds.
    pub(super) retry_after: Option<u64>,
    pub(super) body: Bytes,
}

/// What of a head is of use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    pub(super) length: Length,
    /// Whether the connection stays open after the answer.
    pub(super) keeps: bool,
}

/// Where a body ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Length {
    Known(usize),
    Chunked,
    UntilClosed,
}

/// Reads a head and how many bytes it takes; `None`: it is not all there yet.
///
/// # Errors
/// [`Broken::Nonsense`]. No word of the head is in it.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Broken> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_LIMIT => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(nonsense("a head without an end")),
        Err(error) => return Err(nonsense(&error.to_string())),
    };
    let status = response.code.unwrap_or(0);
    let mut head = Head {
        status,
        retry_after: None,
        length: Length::UntilClosed,
        keeps: response.version == Some(1),
    };
    let mut announced = None;
    let mut coded = false;
    for field in response.headers {
        let value = std::str::from_utf8(field.value).unwrap_or_default().trim();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let length = value.parse::<usize>();
            let length = length.map_err(|_| nonsense("a length that is no number"))?;
            if announced.is_some_and(|other| other != length) {
                return Err(nonsense("two lengths"));
            }
            announced = Some(length);
        } else if is("transfer-encoding") {
            coded = true;
            // The last coding decides.
            let last = value.rsplit(',').next().unwrap_or_default().trim();
            if last.eq_ignore_ascii_case("chunked") {
                head.length = Length::Chunked;
            }
        } else if is("connection") {
            let mut options = value.split(',').map(str::trim);
            head.keeps &= !options.any(|option| option.eq_ignore_ascii_case("close"));
        } else if is("retry-after") {
            head.retry_after = value.parse().ok();
        }
    }
    if status < 200 || status == 204 || status == 304 {
        head.length = Length::Known(0);
    } else if let Some(length) = announced.filter(|_| !coded) {
        head.length = Length::Known(length);
    }
    Ok(Some((head, size)))
}

fn nonsense(what: &str) -> Broken {
    Broken::Nonsense(format!("no HTTP answer: {what}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(text: &str) -> Head {
        let (head, size) = head(text.as_bytes()).expect("HTTP").expect("a whole head");
        assert_eq!(size, text.len());
        head
    }

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", Length::Known(7), true)]
    #[case(
        "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: gzip, Chunked\r\n\r\n",
        Length::Chunked,
        true
    )]
    #[case(
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        Length::Chunked,
        true
    )]
    #[case(
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: Close\r\n\r\n",
        Length::Known(7),
        false
    )]
    #[case(
        "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n",
        Length::Known(7),
        false
    )]
    #[case("HTTP/1.1 200 OK\r\n\r\n", Length::UntilClosed, true)]
    #[case(
        "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n",
        Length::Known(0),
        true
    )]
    #[case("HTTP/1.1 100 Continue\r\n\r\n", Length::Known(0), true)]
    fn a_body_ends_where_the_head_says(
        #[case] text: &str,
        #[case] length: Length,
        #[case] keeps: bool,
    ) {
        let head = read(text);
        assert_eq!((head.length, head.keeps), (length, keeps), "{text}");
    }

    #[test]
    fn a_wait_in_seconds_is_understood_and_a_date_is_not_taken_for_one() {
        let wait =
            |value| read(&format!("HTTP/1.1 429 X\r\nretry-after: {value}\r\n\r\n")).retry_after;
        assert_eq!(wait("17"), Some(17));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[rstest]
    #[case("SSH-2.0-OpenSSH_9.2\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n")]
    fn what_is_no_http_is_said_to_be_none(#[case] text: &str) {
        assert!(
            matches!(head(text.as_bytes()), Err(Broken::Nonsense(_))),
            "{text}"
        );
    }

    #[test]
    fn a_head_that_is_not_all_there_is_waited_for_but_not_for_ever() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nContent-Le"), Ok(None));
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_LIMIT));
        assert!(matches!(head(endless.as_bytes()), Err(Broken::Nonsense(_))));
    }
}
