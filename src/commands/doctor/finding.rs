//! What a check found: one line of the output.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Not checked, and why.
    Skipped,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Failure,
}

impl Level {
    /// The word at the beginning of a line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skip",
            Self::Warning => "WARN",
            Self::Failure => "FAIL",
        }
    }
}

/// The outcome of one check of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check's id, which stays the same from version to version.
    pub(super) check: &'static str,
    /// What was checked, such as `acme/support`; empty where there is one only.
    pub(super) object: String,
    /// How bad it is.
    pub(super) level: Level,
    /// What was found. Holds no secret.
    pub(super) message: String,
    /// What to type, or to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    fn new(
        level: Level,
        check: &'static str,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            check,
            object: object.into(),
            level,
            message: message.into(),
            fix: None,
        }
    }

    /// As it should be.
    pub(super) fn ok(
        check: &'static str,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Level::Ok, check, object, message)
    }

    /// `why` continues "not checked: ".
    pub(super) fn skipped(
        check: &'static str,
        object: impl Into<String>,
        why: impl std::fmt::Display,
    ) -> Self {
        Self::new(Level::Skipped, check, object, format!("not checked: {why}"))
    }

    /// It works, and somebody should look at it.
    pub(super) fn warning(
        check: &'static str,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Level::Warning, check, object, message)
    }

    /// It does not work.
    pub(super) fn failure(
        check: &'static str,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Level::Failure, check, object, message)
    }

    /// The same, with what to type.
    pub(super) fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}
