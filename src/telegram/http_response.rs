//! The head of an HTTP/1.1 response, and the length of its body (RFC 9112, 6.3).

use bytes::Bytes;

/// The longest head that is accepted.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// The most header fields that are accepted.
const MAX_HEADERS: usize = 64;

/// Why there is no complete response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TransportError {
    /// The request was certainly not sent.
    NotSent(String),
    /// It was sent, or may have been.
    ConnectionLost(String),
    /// The response is not HTTP.
    InvalidResponse(String),
    /// The body is longer than the caller's limit.
    BodyTooLong,
}

/// A response with its whole body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpResponse {
    pub(super) status: u16,
    /// `Retry-After`, in seconds.
    pub(super) retry_after: Option<u64>,
    pub(super) body: Bytes,
}

/// The part of a head that the operator uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    pub(super) length: BodyLength,
    /// Whether the connection can be used again after the response.
    pub(super) keep_alive: bool,
}

/// How the end of a body is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    Known(usize),
    Chunked,
    UntilClosed,
}

/// Parses a head; also returns its size in bytes. `None`: it is incomplete.
///
/// # Errors
/// [`TransportError::InvalidResponse`], which quotes nothing from the response.
pub(super) fn parse_head(bytes: &[u8]) -> Result<Option<(ResponseHead, usize)>, TransportError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut fields);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(invalid_response("a head without an end")),
        Err(error) => return Err(invalid_response(&error.to_string())),
    };
    let status = response.code.unwrap_or(0);
    let mut head = ResponseHead {
        status,
        retry_after: None,
        length: BodyLength::UntilClosed,
        keep_alive: response.version == Some(1),
    };
    let mut content_length = None;
    let mut has_transfer_encoding = false;
    for field in response.headers {
        let value = std::str::from_utf8(field.value).unwrap_or_default().trim();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let length = value.parse::<usize>();
            let length = length.map_err(|_| invalid_response("a length that is no number"))?;
            if content_length.is_some_and(|other| other != length) {
                return Err(invalid_response("two lengths"));
            }
            content_length = Some(length);
        } else if is("transfer-encoding") {
            has_transfer_encoding = true;
            // The last coding decides (RFC 9112, 6.3).
            let last = value.rsplit(',').next().unwrap_or_default().trim();
            if last.eq_ignore_ascii_case("chunked") {
                head.length = BodyLength::Chunked;
            }
        } else if is("connection") {
            let mut options = value.split(',').map(str::trim);
            head.keep_alive &= !options.any(|option| option.eq_ignore_ascii_case("close"));
        } else if is("retry-after") {
            head.retry_after = value.parse().ok();
        }
    }
    if status < 200 || status == 204 || status == 304 {
        head.length = BodyLength::Known(0);
    } else if let Some(length) = content_length.filter(|_| !has_transfer_encoding) {
        head.length = BodyLength::Known(length);
    }
    Ok(Some((head, size)))
}

fn invalid_response(what: &str) -> TransportError {
    TransportError::InvalidResponse(format!("no HTTP answer: {what}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(text: &str) -> ResponseHead {
        let (head, size) = parse_head(text.as_bytes())
            .expect("HTTP")
            .expect("a whole head");
        assert_eq!(size, text.len());
        head
    }

    #[rstest]
    #[case(
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
        BodyLength::Known(7),
        true
    )]
    #[case(
        "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: gzip, Chunked\r\n\r\n",
        BodyLength::Chunked,
        true
    )]
    #[case(
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        BodyLength::Chunked,
        true
    )]
    #[case(
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: Close\r\n\r\n",
        BodyLength::Known(7),
        false
    )]
    #[case(
        "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n",
        BodyLength::Known(7),
        false
    )]
    #[case("HTTP/1.1 200 OK\r\n\r\n", BodyLength::UntilClosed, true)]
    #[case(
        "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n",
        BodyLength::Known(0),
        true
    )]
    #[case("HTTP/1.1 100 Continue\r\n\r\n", BodyLength::Known(0), true)]
    fn body_length_follows_the_head(
        #[case] text: &str,
        #[case] length: BodyLength,
        #[case] keep_alive: bool,
    ) {
        let head = parse(text);
        assert_eq!(
            (head.length, head.keep_alive),
            (length, keep_alive),
            "{text}"
        );
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_not_as_a_date() {
        let wait =
            |value| parse(&format!("HTTP/1.1 429 X\r\nretry-after: {value}\r\n\r\n")).retry_after;
        assert_eq!(wait("17"), Some(17));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[rstest]
    #[case("SSH-2.0-OpenSSH_9.2\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n")]
    fn invalid_http_is_reported(#[case] text: &str) {
        assert!(
            matches!(
                parse_head(text.as_bytes()),
                Err(TransportError::InvalidResponse(_))
            ),
            "{text}"
        );
    }

    #[test]
    fn partial_head_is_awaited_up_to_the_limit() {
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nContent-Le"), Ok(None));
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        assert!(matches!(
            parse_head(endless.as_bytes()),
            Err(TransportError::InvalidResponse(_))
        ));
    }
}
