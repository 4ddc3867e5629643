//! The tests of a store, on one that replicas share.

use std::sync::Arc;

use telegram_connector_operator::store::{self, Store};

use crate::postgres_server::Postgres;

/// Two processes' stores of one database.
pub(crate) async fn replicas(postgres: &Postgres) -> [Arc<dyn Store>; 2] {
    let address = postgres.address();
    [
        store::open(&address).await.unwrap(),
        store::open(&address).await.unwrap(),
    ]
}

/// A test for each of a module's checks, on `PostgreSQL`.
macro_rules! on_postgres {
    ($module:ident: $($name:ident => $check:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let Some(postgres) = Postgres::start().await else {
                return;
            };
            let [store, _] = $crate::replicas::replicas(&postgres).await;
            $module::$check(&*store).await;
        }
    )*};
}

pub(crate) use on_postgres;
