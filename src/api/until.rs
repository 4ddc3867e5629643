//! `until` of a list's entry: a date or a time, and the instant that it means.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// What the CRDs take: a date of the years 2000 to 2999 that the calendar has, and behind it, if anything, a time of RFC 3339.
/// Short, because a long list's budget of the API server's cost estimate is nearly used up by it.
pub(super) const PATTERN: &str = "^(2[0-9]{3}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)|\
2([0-9](0[48]|[2468][048]|[13579][26])|[048]00)-02-29)\
(T([01][0-9]|2[0-3])(:[0-5][0-9]){2}([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$";

/// What is said of anything else.
pub(super) const MESSAGE: &str = "until must be a date such as 2027-01-31, through the end of that day in UTC, or a time such as 2027-01-31T18:00:00Z";

/// The length of a date.
const DATE_LENGTH: usize = "2027-01-31".len();

/// The instant that `until` means: of a date the end of that day in UTC.
///
/// # Errors
/// [`MESSAGE`], where it is neither a date nor a time.
pub fn end_of(until: &str) -> Result<Timestamp, String> {
    let end = match until.get(DATE_LENGTH..) {
        Some("") => end_of_day(until),
        // Other forms that the parser takes are nobody's RFC 3339.
        Some(rest) if rest.starts_with(['T', 't']) && !until.contains('[') => until.parse().ok(),
        _ => None,
    };
    end.ok_or_else(|| MESSAGE.to_owned())
}

fn end_of_day(date: &str) -> Option<Timestamp> {
    let date: Date = date.parse().ok()?;
    let midnight = date.tomorrow().ok()?.to_datetime(Time::midnight());
    TimeZone::UTC.to_timestamp(midnight).ok()
}

#[cfg(test)]
mod tests {
    use embedded_control_plane::schema::KindValidator;
    use rstest::rstest;
    use serde_json::json;

    use super::end_of;

    #[rstest]
    #[case::date("2027-01-31", Some("2027-02-01T00:00:00Z"))]
    #[case::last_of_the_year("2027-12-31", Some("2028-01-01T00:00:00Z"))]
    #[case::leap_day("2028-02-29", Some("2028-03-01T00:00:00Z"))]
    #[case::leap_day_of_a_century("2400-02-29", Some("2400-03-01T00:00:00Z"))]
    #[case::time("2027-01-31T18:00:00Z", Some("2027-01-31T18:00:00Z"))]
    #[case::offset("2027-01-31T18:00:00+01:00", Some("2027-01-31T17:00:00Z"))]
    #[case::fraction("2027-01-31T18:00:00.25Z", Some("2027-01-31T18:00:00.25Z"))]
    #[case::no_leap_day("2027-02-29", None)]
    #[case::no_leap_day_of_a_century("2100-02-29", None)]
    #[case::no_such_day("2027-04-31", None)]
    #[case::no_such_month("2027-13-01", None)]
    #[case::no_zone("2027-01-31T18:00:00", None)]
    #[case::words("tomorrow", None)]
    #[case::empty("", None)]
    #[case::day_first("31.01.2027", None)]
    #[case::year_too_short("227-01-31", None)]
    #[case::space("2027-01-31 18:00:00Z", None)]
    #[case::zone_name("2027-01-31T18:00:00+01:00[Europe/Rome]", None)]
    fn until_is_a_date_or_a_time(#[case] until: &str, #[case] end: Option<&str>) {
        let expected = end.map(|end| end.parse().unwrap());
        assert_eq!(end_of(until).ok(), expected, "the operator");
        let list = json!({"spec": {"users": [{"id": 1, "until": until}]}});
        let crd = serde_json::to_value(&crate::api::crds::all()[1]).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let validator = KindValidator::compile(schema);
        let mut causes = validator.validate_structure(&list);
        causes.extend(validator.validate_rules(&list, None));
        assert_eq!(causes.is_empty(), end.is_some(), "the CRD: {causes:?}");
    }
}
