//! Reads, as `SQLite` says them.

use sqlx::Sqlite;

use crate::store::reading::Dialect;

impl Dialect for Sqlite {
    const EXCHANGES: &'static str = "(SELECT json_group_array(json_array(asked, answered)) FROM
             (SELECT asked, answered FROM exchange e WHERE e.lane = s.lane AND e.session = s.number ORDER BY e.number DESC))";
    const NEWEST_OF_LANES: &'static str = "FROM json_each($1) j CROSS JOIN inbox i ON i.id IN
           (SELECT id FROM inbox WHERE lane = j.value ORDER BY date DESC, update_id DESC LIMIT $2)";
    const SHARED: bool = false;
    const JOIN_IN_ORDER: &'static str = "CROSS JOIN";
    const NO_INDEX: &'static str = "+";
    const COMPLETE_TO: &'static str = "number";
}
