//! Fetches of devices' recordings, so that they go on after a restart.

use sqlx::Row;

use super::{Store, StoreError};

#[derive(Debug, Clone)]
pub struct FetchRow {
    pub id: String,
    pub channel: String,
    pub name: String,
    pub from_ms: i64,
    pub to_ms: i64,
    pub speed: u32,
    /// JSON: the stretches and which of them are in the archive.
    pub parts: String,
    /// `queued`, `done` or `failed`: whatever runs is queued anew by a restart.
    pub state: String,
    pub by: String,
    pub since_ms: i64,
}

impl Store {
    pub async fn fetches(&self) -> Result<Vec<FetchRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM device_fetches ORDER BY id").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|r| {
                Ok(FetchRow {
                    id: r.try_get("id")?,
                    channel: r.try_get("channel")?,
                    name: r.try_get("name")?,
                    from_ms: r.try_get("from_ms")?,
                    to_ms: r.try_get("to_ms")?,
                    speed: u32::try_from(r.try_get::<i64, _>("speed")?).unwrap_or(1),
                    parts: r.try_get("parts")?,
                    state: r.try_get("state")?,
                    by: r.try_get("ordered_by")?,
                    since_ms: r.try_get("since_ms")?,
                })
            })
            .collect()
    }

    pub async fn put_fetch(&self, row: &FetchRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO device_fetches (id, channel, name, from_ms, to_ms, speed, parts, state, ordered_by, since_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (id) DO UPDATE SET parts = excluded.parts, state = excluded.state",
        )
        .bind(&row.id)
        .bind(&row.channel)
        .bind(&row.name)
        .bind(row.from_ms)
        .bind(row.to_ms)
        .bind(i64::from(row.speed))
        .bind(&row.parts)
        .bind(&row.state)
        .bind(&row.by)
        .bind(row.since_ms)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn delete_fetch(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM device_fetches WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }
}
