//! Reads, as `PostgreSQL` says them.

use sqlx::Postgres;

use crate::store::reading::Dialect;

impl Dialect for Postgres {
    const EXCHANGES: &'static str = "(SELECT json_agg(json_build_array(asked, answered))::text FROM
             (SELECT asked, answered FROM exchange e WHERE e.lane = s.lane AND e.session = s.number ORDER BY e.number DESC) newest)";
    const NEWEST_OF_LANES: &'static str = "FROM json_array_elements_text($1::json) j(value) CROSS JOIN LATERAL
           (SELECT * FROM inbox WHERE lane = j.value::bigint ORDER BY date DESC, update_id DESC LIMIT $2) i";
    const SHARED: bool = true;
    const JOIN_IN_ORDER: &'static str = "JOIN";
    const NO_INDEX: &'static str = "";
    const COMPLETE_TO: &'static str = "txid_snapshot_xmin(txid_current_snapshot()) - 1";
}
