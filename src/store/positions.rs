//! Tracks: where things were.

use serde::Serialize;
use sqlx::Row;

use super::{Store, StoreError};

/// One point of a track.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PositionRow {
    #[serde(skip)]
    pub subject: String,
    /// When it was received.
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub at: i64,
    /// The device's own time.
    #[serde(serialize_with = "crate::api::time::rfc3339_optional")]
    #[schema(value_type = Option<String>)]
    pub device_at: Option<i64>,
    /// WGS-84, degrees.
    pub longitude: f64,
    pub latitude: f64,
    pub speed_kmh: Option<f64>,
    /// Degrees from north, clockwise.
    pub direction: Option<f64>,
    pub altitude_m: Option<f64>,
    pub height_m: Option<f64>,
}

impl From<&bridge_core::PositionReport> for PositionRow {
    fn from(r: &bridge_core::PositionReport) -> Self {
        PositionRow {
            subject: r.subject.0.clone(),
            at: r.received.0,
            device_at: r.device_time.map(|t| t.0),
            longitude: r.place.longitude,
            latitude: r.place.latitude,
            speed_kmh: r.speed_kmh,
            direction: r.direction,
            altitude_m: r.altitude,
            height_m: r.height,
        }
    }
}

fn row(r: &sqlx::sqlite::SqliteRow) -> Result<PositionRow, sqlx::Error> {
    Ok(PositionRow {
        subject: r.try_get("subject")?,
        at: r.try_get("at")?,
        device_at: r.try_get("device_at")?,
        longitude: r.try_get("longitude")?,
        latitude: r.try_get("latitude")?,
        speed_kmh: r.try_get("speed")?,
        direction: r.try_get("direction")?,
        altitude_m: r.try_get("altitude")?,
        height_m: r.try_get("height")?,
    })
}

impl Store {
    /// Writes points in one transaction; a second one of the same millisecond is left out.
    pub async fn save_positions(&self, rows: &[PositionRow]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for p in rows {
            sqlx::query(
                "INSERT INTO positions (subject, at, device_at, longitude, latitude, speed, direction, altitude, height)
                 VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9) ON CONFLICT DO NOTHING",
            )
            .bind(&p.subject)
            .bind(p.at)
            .bind(p.device_at)
            .bind(p.longitude)
            .bind(p.latitude)
            .bind(p.speed_kmh)
            .bind(p.direction)
            .bind(p.altitude_m)
            .bind(p.height_m)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The points of one subject in a range of time, oldest first; beyond `limit` the newest are given.
    pub async fn track(&self, subject: &str, from: i64, to: i64, limit: i64) -> Result<Vec<PositionRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM positions WHERE subject = $1 AND at >= $2 AND at <= $3 ORDER BY at DESC LIMIT $4",
        )
        .bind(subject)
        .bind(from)
        .bind(to)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let mut points: Vec<PositionRow> = rows.iter().map(row).collect::<Result<_, _>>()?;
        points.reverse();
        Ok(points)
    }

    /// Deletes up to 20,000 points from before an instant; gives how many.
    pub async fn forget_positions(&self, before: i64) -> Result<u64, StoreError> {
        let done =
            sqlx::query("DELETE FROM positions WHERE rowid IN (SELECT rowid FROM positions WHERE at < $1 LIMIT 20000)")
                .bind(before)
                .execute(&self.pool)
                .await?;
        Ok(done.rows_affected())
    }
}
