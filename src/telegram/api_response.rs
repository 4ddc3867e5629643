//! Parses the JSON of a Bot API response into its result or a [`TelegramError`], whose variant decides what the caller does.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use super::error::TelegramError;
use super::http_response::TransportError;

/// The wait after a 429 that names none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The outer object of every response (Bot API, "Making requests").
#[derive(Deserialize)]
struct ApiResponse<'a, R> {
    ok: bool,
    #[serde(default = "no_result")]
    result: Option<R>,
    error_code: Option<u16>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    parameters: Option<ResponseParameters>,
}

fn no_result<R>() -> Option<R> {
    None
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseParameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

/// Parses a response. `status` is the HTTP status; `retry_after` is the header of that name in seconds, which proxies set. The texts in
/// the error are unredacted: the caller redacts them.
///
/// # Errors
/// By the table in TELEGRAM.md ("Errors"). 401, 403 and 400 are believed only in a Bot API response: from a proxy they say nothing
/// about the token or the chat.
pub(super) fn parse_response<'a, R: Deserialize<'a>>(
    status: u16,
    retry_after: Option<u64>,
    body: &'a [u8],
) -> Result<R, TelegramError> {
    match serde_json::from_slice::<ApiResponse<'a, R>>(body) {
        Ok(ApiResponse {
            ok: true,
            result: Some(result),
            ..
        }) => Ok(result),
        Ok(ApiResponse { ok: true, .. }) => {
            Err(TelegramError::Malformed("ok, but without a result".into()))
        }
        Ok(failed) => Err(classify_error(
            failed.error_code.unwrap_or(status),
            &failed.description.unwrap_or_default(),
            &failed.parameters.unwrap_or_default(),
            retry_after,
        )),
        Err(e) => Err(match status {
            // The text of a parse error can quote the response; its category and position cannot.
            200..=299 => TelegramError::Malformed(format!(
                "{:?} error at line {} column {} of the answer",
                e.classify(),
                e.line(),
                e.column()
            )),
            404 => TelegramError::NotFound,
            429 => TelegramError::RateLimited(
                retry_after.map_or(DEFAULT_RETRY_AFTER, Duration::from_secs),
            ),
            500..=599 => TelegramError::Server(status),
            _ => TelegramError::Malformed(format!(
                "HTTP {status}, and no Bot API answer: something between here and Telegram said it"
            )),
        }),
    }
}

fn classify_error(
    code: u16,
    description: &str,
    parameters: &ResponseParameters,
    retry_after: Option<u64>,
) -> TelegramError {
    if let Some(id) = parameters.migrate_to_chat_id {
        return TelegramError::MigratedTo(id);
    }
    let text = description.to_ascii_lowercase();
    let says = |what: &str| text.contains(what);
    match code {
        401 => TelegramError::Unauthorized,
        // A self-hosted server of an older version lacks newer methods; that says nothing about the token.
        404 if says("method not found") => refused(code, description),
        404 => TelegramError::NotFound,
        409 if says("webhook is active") => TelegramError::WebhookActive,
        409 => TelegramError::Conflict(description.to_owned()),
        429 => TelegramError::RateLimited(
            parameters
                .retry_after
                .or(retry_after)
                .map_or(DEFAULT_RETRY_AFTER, Duration::from_secs),
        ),
        403 => TelegramError::Forbidden(description.to_owned()),
        400 if says("chat not found") => TelegramError::ChatNotFound,
        400 if says("message thread not found") || says("topic_deleted") => {
            TelegramError::ThreadNotFound
        }
        400 if says("topic_closed") => TelegramError::TopicClosed,
        // Too many entities are cured by having none, too.
        400 if says("can't parse entities") || says("entities_too_long") => {
            TelegramError::CantParseEntities(description.to_owned())
        }
        400 if says("message is not modified") => TelegramError::NotModified,
        400 if says("query is too old") => TelegramError::QueryExpired,
        400 if says("file is too big") => TelegramError::FileTooBig,
        400..=499 => refused(code, description),
        500..=599 => TelegramError::Server(code),
        _ => TelegramError::Malformed(format!("error_code {code}: {description}")),
    }
}

fn refused(code: u16, description: &str) -> TelegramError {
    TelegramError::Refused {
        code,
        description: description.to_owned(),
    }
}

/// Classifies a request that got no complete response. The caller redacts the text.
pub(super) fn from_transport_error(error: TransportError) -> TelegramError {
    match error {
        TransportError::NotSent(why) => TelegramError::Unreachable(why),
        TransportError::ConnectionLost(why) => TelegramError::Ambiguous(why),
        TransportError::InvalidResponse(what) => TelegramError::Malformed(what),
        TransportError::BodyTooLong => TelegramError::FileTooBig,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::value::RawValue;

    use super::*;

    fn failed(code: u16, description: &str, parameters: &str) -> TelegramError {
        let body = format!(
            r#"{{"ok":false,"error_code":{code},"description":"{description}","parameters":{parameters}}}"#
        );
        parse_response::<bool>(code, None, body.as_bytes()).expect_err("it failed")
    }

    #[rstest]
    #[case(401, "Unauthorized", TelegramError::Unauthorized)]
    #[case(404, "Not Found", TelegramError::NotFound)]
    #[case(
        409,
        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
        TelegramError::WebhookActive
    )]
    #[case(
        400,
        "Bad Request: message is not modified: specified new message content",
        TelegramError::NotModified
    )]
    #[case(400, "Bad Request: chat not found", TelegramError::ChatNotFound)]
    #[case(
        400,
        "Bad Request: query is too old and response timeout expired or query ID is invalid",
        TelegramError::QueryExpired
    )]
    #[case(
        400,
        "Bad Request: message thread not found",
        TelegramError::ThreadNotFound
    )]
    #[case(400, "Bad Request: TOPIC_DELETED", TelegramError::ThreadNotFound)]
    #[case(400, "Bad Request: TOPIC_CLOSED", TelegramError::TopicClosed)]
    #[case(400, "Bad Request: file is too big", TelegramError::FileTooBig)]
    #[case(500, "Internal Server Error", TelegramError::Server(500))]
    #[case(502, "Bad Gateway", TelegramError::Server(502))]
    fn each_error_has_its_class(
        #[case] code: u16,
        #[case] description: &str,
        #[case] expected: TelegramError,
    ) {
        assert_eq!(failed(code, description, "{}"), expected);
    }

    #[test]
    fn errors_with_a_text_keep_it() {
        let conflict = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
        assert_eq!(
            failed(409, conflict, "{}"),
            TelegramError::Conflict(conflict.into())
        );
        let blocked = "Forbidden: bot was blocked by the user";
        assert_eq!(
            failed(403, blocked, "{}"),
            TelegramError::Forbidden(blocked.into())
        );
        let parse = "Bad Request: can't parse entities: Unexpected end tag at byte offset 3";
        assert_eq!(
            failed(400, parse, "{}"),
            TelegramError::CantParseEntities(parse.into())
        );
        let other = "Bad Request: message text is empty";
        assert_eq!(
            failed(400, other, "{}"),
            TelegramError::Refused {
                code: 400,
                description: other.into()
            }
        );
        assert!(matches!(
            failed(404, "Not Found: method not found", "{}"),
            TelegramError::Refused { code: 404, .. }
        ));
    }

    #[test]
    fn parameters_are_obeyed() {
        assert_eq!(
            failed(
                429,
                "Too Many Requests: retry after 17",
                r#"{"retry_after":17}"#
            ),
            TelegramError::RateLimited(Duration::from_secs(17))
        );
        assert_eq!(
            failed(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                r#"{"migrate_to_chat_id":-1001}"#
            ),
            TelegramError::MigratedTo(-1001)
        );
    }

    #[rstest]
    #[case(502, TelegramError::Server(502))]
    #[case(404, TelegramError::NotFound)]
    #[case(429, TelegramError::RateLimited(Duration::from_secs(3)))]
    fn a_proxy_may_say_what_a_proxy_can_know(#[case] status: u16, #[case] expected: TelegramError) {
        assert_eq!(
            parse_response::<bool>(status, Some(3), b"<html>"),
            Err(expected)
        );
    }

    #[rstest]
    #[case(401)]
    #[case(403)]
    #[case(400)]
    #[case(200)]
    #[case(302)]
    fn a_proxy_decides_nothing_about_token_or_chat(#[case] status: u16) {
        let error = parse_response::<bool>(status, None, b"<html>secret words</html>");
        assert!(
            matches!(&error, Err(TelegramError::Malformed(text)) if !text.contains("secret")),
            "{error:?}"
        );
    }

    #[test]
    fn results_are_read_and_unknown_fields_ignored() {
        let body = br#"{"ok":true,"result":[{"a":1}, 2],"hologram":{}}"#;
        let raw: Vec<&RawValue> = parse_response(200, None, body).expect("a result");
        assert_eq!(raw[0].get(), r#"{"a":1}"#);
        assert!(matches!(
            parse_response::<bool>(200, None, br#"{"ok":true}"#),
            Err(TelegramError::Malformed(_))
        ));
    }
}
