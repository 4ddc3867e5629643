//! Who claims: a random name per process, and a row in the database with a lease as the fence. Whoever takes over a dead process's
//! lanes deletes its row, and its late writes fail.

use sqlx::Row;
use sqlx::postgres::PgConnection;

/// This process as a claimant.
#[derive(Default)]
pub(super) struct Claimant {
    registered: Option<(i64, String)>,
}

impl Claimant {
    /// The number claims are made under, if there is one.
    pub(super) fn id(&self) -> Option<i64> {
        self.registered.as_ref().map(|(id, _)| *id)
    }

    /// Whether claims made under this number still hold; they go on holding until the transaction ends.
    pub(super) async fn holds(
        &self,
        db: &mut PgConnection,
        owner: i64,
    ) -> Result<bool, sqlx::Error> {
        let Some((id, name)) = self.registered.as_ref().filter(|(id, _)| *id == owner) else {
            return Ok(false);
        };
        let row = sqlx::query("SELECT 1 FROM claimant WHERE id = $1 AND name = $2 FOR SHARE")
            .bind(id)
            .bind(name)
            .fetch_optional(db)
            .await?;
        Ok(row.is_some())
    }

    /// Ends the registration; its lanes must have been given back.
    pub(super) async fn deregister(&mut self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        if let Some((id, name)) = self.registered.take() {
            sqlx::query("DELETE FROM claimant WHERE id = $1 AND name = $2")
                .bind(id)
                .bind(name)
                .execute(db)
                .await?;
        }
        Ok(())
    }

    /// Registers, or prolongs the registration, for `lease` milliseconds by the database's clock, which all replicas share.
    pub(super) async fn register(
        &mut self,
        db: &mut PgConnection,
        lease: i64,
    ) -> Result<i64, sqlx::Error> {
        if let Some((id, name)) = &self.registered {
            let prolonged =
                sqlx::query(
                    "UPDATE claimant SET expires_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3 WHERE id = $1 AND name = $2",
                )
                    .bind(id)
                    .bind(name)
                    .bind(lease)
                    .execute(&mut *db)
                    .await?;
            if prolonged.rows_affected() == 1 {
                return Ok(*id);
            }
            self.registered = None;
        }
        let name = format!("{:032x}", rand::random::<u128>());
        let id =
            sqlx::query("INSERT INTO claimant (name, expires_at) VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2) RETURNING id")
                .bind(&name)
                .bind(lease)
                .fetch_one(db)
                .await?
                .get(0);
        self.registered = Some((id, name));
        Ok(id)
    }

    /// The other claimants whose lease ran out; no other process judges them at the same time.
    pub(super) async fn dead_claimants(
        &self,
        db: &mut PgConnection,
        lease: i64,
    ) -> Result<Vec<i64>, sqlx::Error> {
        // A lease that ends later than any that is given now was given before the clock stepped back.
        sqlx::query(
            "UPDATE claimant SET expires_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $1 WHERE expires_at > (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 2 * $1",
        )
        .bind(lease)
        .execute(&mut *db)
        .await?;
        sqlx::query_scalar(
            "SELECT id FROM claimant WHERE id IS DISTINCT FROM $1 AND expires_at < (extract(epoch FROM clock_timestamp()) * 1000)::bigint FOR UPDATE SKIP LOCKED",
        )
        .bind(self.id())
        .fetch_all(db)
        .await
    }
}
