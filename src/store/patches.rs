//! Conferences that are joined, so that they are joined again after a restart.

use sqlx::Row;

use super::{Store, StoreError};

/// A patch between two conferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchRow {
    pub id: String,
    pub a: String,
    pub b: String,
    /// What `a` says is heard in `b`.
    pub a_to_b: bool,
    pub b_to_a: bool,
    /// Milliseconds since 1970 at which it ends; none: by hand.
    pub until: Option<i64>,
}

impl Store {
    pub async fn patches(&self) -> Result<Vec<PatchRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM patches ORDER BY id").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|r| {
                Ok(PatchRow {
                    id: r.try_get("id")?,
                    a: r.try_get("a")?,
                    b: r.try_get("b")?,
                    a_to_b: r.try_get::<i64, _>("a_to_b")? != 0,
                    b_to_a: r.try_get::<i64, _>("b_to_a")? != 0,
                    until: r.try_get("until_ms")?,
                })
            })
            .collect()
    }

    pub async fn put_patch(&self, row: &PatchRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO patches (id, a, b, a_to_b, b_to_a, until_ms) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (id) DO UPDATE SET a_to_b = excluded.a_to_b, b_to_a = excluded.b_to_a,
             until_ms = excluded.until_ms",
        )
        .bind(&row.id)
        .bind(&row.a)
        .bind(&row.b)
        .bind(i64::from(row.a_to_b))
        .bind(i64::from(row.b_to_a))
        .bind(row.until)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn delete_patch(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM patches WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }
}
