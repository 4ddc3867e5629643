//! The result of a method: success, or an error with Telegram's own description.

use std::time::Duration;

/// The `result` of a successful call, as JSON.
pub(super) type MethodResult = Result<MethodSuccess, MethodError>;

/// A successful call.
#[derive(Debug)]
pub(super) struct MethodSuccess {
    /// JSON of `result`.
    pub result: String,
    /// `description`, which some methods add ("Webhook was set").
    pub description: Option<&'static str>,
}

impl MethodSuccess {
    pub(super) fn json(value: &impl serde::Serialize) -> MethodResult {
        match serde_json::to_string(value) {
            Ok(result) => Ok(Self::raw(result)),
            Err(error) => Err(MethodError::new(
                500,
                format!("Internal Server Error: {error}"),
            )),
        }
    }

    pub(super) fn raw(result: String) -> Self {
        Self {
            result,
            description: None,
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "what a method returns")]
    pub(super) fn true_result() -> MethodResult {
        Ok(Self::raw("true".to_owned()))
    }

    #[allow(clippy::unnecessary_wraps, reason = "what a method returns")]
    pub(super) fn described(description: &'static str) -> MethodResult {
        Ok(Self {
            result: "true".to_owned(),
            description: Some(description),
        })
    }
}

/// An unsuccessful call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MethodError {
    pub code: u16,
    pub description: String,
    /// `parameters.retry_after` and the header `Retry-After`.
    pub retry_after: Option<u64>,
    /// `parameters.migrate_to_chat_id`.
    pub migrate_to: Option<i64>,
    /// Delay of the response.
    pub after: Option<Duration>,
}

impl MethodError {
    pub(super) fn new(code: u16, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
            retry_after: None,
            migrate_to: None,
            after: None,
        }
    }

    /// 400, with the first letter lowered as the Bot API server does it.
    pub(super) fn bad_request(reason: &str) -> Self {
        let mut letters = reason.chars();
        let second_is_capital = letters
            .clone()
            .nth(1)
            .is_some_and(|c| c == '_' || c.is_ascii_uppercase());
        let text = match letters.next() {
            Some(first) if !second_is_capital => {
                format!("Bad Request: {}{}", first.to_lowercase(), letters.as_str())
            }
            _ => format!("Bad Request: {reason}"),
        };
        Self::new(400, text)
    }

    pub(super) fn forbidden(reason: &str) -> Self {
        Self::new(403, format!("Forbidden: {reason}"))
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized")
    }

    pub(super) fn too_large() -> Self {
        Self::new(413, "Request Entity Too Large")
    }

    pub(super) fn too_many_requests(retry_after: u64) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(429, format!("Too Many Requests: retry after {retry_after}"))
        }
    }

    pub(super) fn migrated(to: i64) -> Self {
        Self {
            migrate_to: Some(to),
            ..Self::new(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
            )
        }
    }
}

/// Status code, body and `Retry-After` of a response.
pub(super) fn encode(answer: MethodResult) -> (u16, String, Option<u64>) {
    match answer {
        Ok(success) => {
            let mut body = String::with_capacity(success.result.len() + 48);
            body.push_str("{\"ok\":true,\"result\":");
            body.push_str(&success.result);
            if let Some(description) = success.description {
                body.push_str(",\"description\":\"");
                body.push_str(description);
                body.push('"');
            }
            body.push('}');
            (200, body, None)
        }
        Err(failure) => {
            let mut body = serde_json::json!({
                "ok": false,
                "error_code": failure.code,
                "description": failure.description,
            });
            if let Some(seconds) = failure.retry_after {
                body["parameters"] = serde_json::json!({"retry_after": seconds});
            } else if let Some(chat) = failure.migrate_to {
                body["parameters"] = serde_json::json!({"migrate_to_chat_id": chat});
            }
            (failure.code, body.to_string(), failure.retry_after)
        }
    }
}
