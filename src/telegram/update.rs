//! One update as Telegram sent it: kept whole, whatever kind it is, and known by its `update_id` alone.

use serde_json::value::RawValue;

use super::json::JsonObject;
use super::update_route::UpdateRoute;

/// One update as Telegram sent it: the JSON is kept whole, whatever kind it is.
#[derive(Debug, Clone)]
pub struct RawUpdate {
    /// `update_id`: 0 up to, not including, `i64::MAX`.
    pub update_id: i64,
    /// Where it belongs.
    pub route: UpdateRoute,
    /// The whole update object.
    pub json: Box<RawValue>,
}

/// Why something that came as an update cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpdate {
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
    /// [`InvalidUpdate`]. Never panics, whatever the body is.
    pub fn from_body(body: &[u8]) -> Result<Self, InvalidUpdate> {
        let json: &RawValue =
            serde_json::from_slice(body).map_err(|_| InvalidUpdate::NotAnObject)?;
        Self::from_json(json)
    }

    /// Takes one element of `getUpdates`' result for an update.
    pub(super) fn from_json(json: &RawValue) -> Result<Self, InvalidUpdate> {
        let object = JsonObject::parse(json.get()).ok_or(InvalidUpdate::NotAnObject)?;
        Ok(Self {
            update_id: update_id(&object).ok_or(InvalidUpdate::NoUpdateId)?,
            route: UpdateRoute::of(&object),
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
    fn update_json_is_kept_unchanged() {
        let json = r#"{ "telepathy" : {"x":"\ud800"}, "update_id":7 }"#;
        let update = RawUpdate::from_body(json.as_bytes()).expect("an update");
        assert_eq!((update.update_id, update.json.get()), (7, json));
    }

    #[rstest]
    #[case(b"", InvalidUpdate::NotAnObject)]
    #[case(b"[]", InvalidUpdate::NotAnObject)]
    #[case(b"\xff\xfe", InvalidUpdate::NotAnObject)]
    #[case(br#"{"update_id":1}{}"#, InvalidUpdate::NotAnObject)]
    #[case(br#"{"update_id":null}"#, InvalidUpdate::NoUpdateId)]
    #[case(br#"{"update_id":-9223372036854775808}"#, InvalidUpdate::NoUpdateId)]
    #[case(br#"{"update_id":9223372036854775807}"#, InvalidUpdate::NoUpdateId)]
    #[case(br#"{"update_id":1e3}"#, InvalidUpdate::NoUpdateId)]
    fn invalid_update_has_a_reason(#[case] body: &[u8], #[case] why: InvalidUpdate) {
        assert_eq!(RawUpdate::from_body(body).err(), Some(why));
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RawUpdate::from_body(&body);
        }
    }
}
