//! One update as Telegram sent it: kept whole, whatever kind it is, and known by its `update_id` alone.

use serde_json::value::RawValue;

use super::json::JsonObject;

/// One update as Telegram sent it: the JSON is kept whole, whatever kind it is.
#[derive(Debug, Clone)]
pub struct RawUpdate {
    /// `update_id`: 0 up to, not including, `i64::MAX`.
    pub update_id: i64,
    /// The whole update object.
    pub json: Box<RawValue>,
}

/// Why something that came as an update cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnUpdate {
    /// Not one JSON object.
    #[error("the update is not a JSON object")]
    NotAnObject,
    /// `update_id` is missing, no integer, negative or too big: it could be neither told apart nor confirmed.
    #[error("the update has no usable update_id")]
    NoUpdateId,
}

impl RawUpdate {
    /// Takes the body of a webhook request for an update.
    ///
    /// # Errors
    /// [`NotAnUpdate`]. Never panics, whatever the body is.
    pub fn from_body(body: &[u8]) -> Result<Self, NotAnUpdate> {
        let json: &RawValue = serde_json::from_slice(body).map_err(|_| NotAnUpdate::NotAnObject)?;
        Self::from_json(json)
    }

    /// Takes one element of `getUpdates`' result for an update.
    pub(super) fn from_json(json: &RawValue) -> Result<Self, NotAnUpdate> {
        let object = JsonObject::parse(json.get()).ok_or(NotAnUpdate::NotAnObject)?;
        Ok(Self {
            update_id: update_id(&object).ok_or(NotAnUpdate::NoUpdateId)?,
            json: json.to_owned(),
        })
    }
}

/// An `update_id` by which an update can be identified and confirmed: not negative (a negative offset would forget updates) and
/// below `i64::MAX` (the next offset must exist).
pub(crate) fn update_id(update: &JsonObject<'_>) -> Option<i64> {
    update
        .integer("update_id")
        .filter(|id| (0..i64::MAX).contains(id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn an_update_is_kept_as_it_came() {
        let json = r#"{ "telepathy" : {"x":"\ud800"}, "update_id":7 }"#;
        let update = RawUpdate::from_body(json.as_bytes()).expect("an update");
        assert_eq!((update.update_id, update.json.get()), (7, json));
    }

    #[rstest]
    #[case(b"", NotAnUpdate::NotAnObject)]
    #[case(b"[]", NotAnUpdate::NotAnObject)]
    #[case(b"\xff\xfe", NotAnUpdate::NotAnObject)]
    #[case(br#"{"update_id":1}{}"#, NotAnUpdate::NotAnObject)]
    #[case(br#"{"update_id":null}"#, NotAnUpdate::NoUpdateId)]
    #[case(br#"{"update_id":-9223372036854775808}"#, NotAnUpdate::NoUpdateId)]
    #[case(br#"{"update_id":9223372036854775807}"#, NotAnUpdate::NoUpdateId)]
    #[case(br#"{"update_id":1e3}"#, NotAnUpdate::NoUpdateId)]
    fn what_is_no_update_says_why(#[case] body: &[u8], #[case] why: NotAnUpdate) {
        assert_eq!(RawUpdate::from_body(body).err(), Some(why));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RawUpdate::from_body(&body);
        }
    }
}
