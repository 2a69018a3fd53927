//! What each wall shows, so that it shows the same after a restart.

use sqlx::Row;

use super::{Store, StoreError};

#[derive(Debug, Clone)]
pub struct WallRow {
    pub id: String,
    pub layout: u8,
    pub tiles: Vec<Option<String>>,
    pub changed_by: String,
}

impl Store {
    pub async fn walls(&self) -> Result<Vec<WallRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM walls ORDER BY id").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|r| {
                let tiles: &str = r.try_get("tiles")?;
                Ok(WallRow {
                    id: r.try_get("id")?,
                    layout: u8::try_from(r.try_get::<i64, _>("layout")?).unwrap_or(4),
                    tiles: serde_json::from_str(tiles).map_err(|e| StoreError::Content(e.to_string()))?,
                    changed_by: r.try_get("changed_by")?,
                })
            })
            .collect()
    }

    pub async fn put_wall(&self, row: &WallRow) -> Result<(), StoreError> {
        let tiles = serde_json::to_string(&row.tiles).map_err(|e| StoreError::Content(e.to_string()))?;
        sqlx::query(
            "INSERT INTO walls (id, layout, tiles, changed_by) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE SET layout = excluded.layout, tiles = excluded.tiles,
             changed_by = excluded.changed_by",
        )
        .bind(&row.id)
        .bind(i64::from(row.layout))
        .bind(tiles)
        .bind(&row.changed_by)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
