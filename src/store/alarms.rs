//! Alarms: written in batches behind the back of signalling, listed by pages, acknowledged by people.

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Store, StoreError};

/// One alarm, with what people did about it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct AlarmRow {
    pub id: String,
    /// When it was received.
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub at: i64,
    /// When it was last repeated.
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub last_at: i64,
    /// How often it came within a short time: 1 for once.
    pub count: i64,
    /// The device's own time.
    #[serde(serialize_with = "crate::api::time::rfc3339_optional")]
    #[schema(value_type = Option<String>)]
    pub device_at: Option<i64>,
    pub device: String,
    /// The camera to look at.
    pub channel: Option<String>,
    /// The part that raised it, in the device's own words.
    pub source: String,
    /// Name of the channel, else of the device.
    pub name: String,
    /// 1 (gravest) to 4.
    pub severity: i64,
    /// A stable word such as `video.motion`.
    pub kind: String,
    pub zh: String,
    pub en: String,
    pub description: String,
    pub longitude: Option<f64>,
    pub latitude: Option<f64>,
    /// The device sends no further one until it is reset.
    pub wants_reset: bool,
    #[serde(serialize_with = "crate::api::time::rfc3339_optional")]
    #[schema(value_type = Option<String>)]
    pub acknowledged_at: Option<i64>,
    pub acknowledged_by: Option<String>,
    pub note: Option<String>,
    #[serde(serialize_with = "crate::api::time::rfc3339_optional")]
    #[schema(value_type = Option<String>)]
    pub reset_at: Option<i64>,
    pub reset_by: Option<String>,
}

/// Which alarms are asked for.
#[derive(Debug, Clone, Default)]
pub struct AlarmFilter {
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub device: Option<String>,
    /// At least as grave: 1 to 4.
    pub severity: Option<i64>,
    /// The beginning of a kind: `video` or `video.motion`.
    pub kind: Option<String>,
    /// True: only those that nobody has acknowledged.
    pub open: bool,
    pub offset: i64,
    pub limit: i64,
}

fn row(r: &SqliteRow) -> Result<AlarmRow, sqlx::Error> {
    Ok(AlarmRow {
        id: r.try_get("id")?,
        at: r.try_get("at")?,
        last_at: r.try_get("last_at")?,
        count: r.try_get("count")?,
        device_at: r.try_get("device_at")?,
        device: r.try_get("device")?,
        channel: r.try_get("channel")?,
        source: r.try_get("source")?,
        name: r.try_get("name")?,
        severity: r.try_get("severity")?,
        kind: r.try_get("kind")?,
        zh: r.try_get("zh")?,
        en: r.try_get("en")?,
        description: r.try_get("description")?,
        longitude: r.try_get("longitude")?,
        latitude: r.try_get("latitude")?,
        wants_reset: r.try_get::<i64, _>("wants_reset")? != 0,
        acknowledged_at: r.try_get("acknowledged_at")?,
        acknowledged_by: r.try_get("acknowledged_by")?,
        note: r.try_get("note")?,
        reset_at: r.try_get("reset_at")?,
        reset_by: r.try_get("reset_by")?,
    })
}

fn conditions(query: &mut QueryBuilder<Sqlite>, filter: &AlarmFilter) {
    query.push(" WHERE at >= ").push_bind(filter.from.unwrap_or(i64::MIN));
    query.push(" AND at <= ").push_bind(filter.to.unwrap_or(i64::MAX));
    if let Some(device) = &filter.device {
        query.push(" AND device = ").push_bind(device.clone());
    }
    if let Some(severity) = filter.severity {
        query.push(" AND severity <= ").push_bind(severity);
    }
    if let Some(kind) = &filter.kind {
        query.push(" AND (kind = ").push_bind(kind.clone());
        query.push(" OR substr(kind, 1, ").push_bind(kind.len() as i64 + 1).push(") = ").push_bind(format!("{kind}."));
        query.push(")");
    }
    if filter.open {
        query.push(" AND acknowledged_at IS NULL");
    }
}

impl Store {
    /// Writes alarms in one transaction; one that is there already has its repeats brought up to date.
    pub async fn save_alarms(&self, rows: &[AlarmRow]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for a in rows {
            sqlx::query(
                "INSERT INTO alarms (id, at, last_at, count, device_at, device, channel, source, name, severity, kind, zh, en,
                   description, longitude, latitude, wants_reset)
                 VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)
                 ON CONFLICT (id) DO UPDATE SET last_at = excluded.last_at, count = excluded.count",
            )
            .bind(&a.id)
            .bind(a.at)
            .bind(a.last_at)
            .bind(a.count)
            .bind(a.device_at)
            .bind(&a.device)
            .bind(&a.channel)
            .bind(&a.source)
            .bind(&a.name)
            .bind(a.severity)
            .bind(&a.kind)
            .bind(&a.zh)
            .bind(&a.en)
            .bind(&a.description)
            .bind(a.longitude)
            .bind(a.latitude)
            .bind(i64::from(a.wants_reset))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub async fn alarm(&self, id: &str) -> Result<Option<AlarmRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM alarms WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        Ok(found.as_ref().map(row).transpose()?)
    }

    /// (all that match, one page, newest first).
    pub async fn alarms(&self, filter: &AlarmFilter) -> Result<(i64, Vec<AlarmRow>), StoreError> {
        let mut count = QueryBuilder::new("SELECT COUNT(*) FROM alarms");
        conditions(&mut count, filter);
        let total: i64 = count.build_query_scalar().fetch_one(&self.pool).await?;
        let mut page = QueryBuilder::new("SELECT * FROM alarms");
        conditions(&mut page, filter);
        page.push(" ORDER BY at DESC, id DESC LIMIT ")
            .push_bind(filter.limit)
            .push(" OFFSET ")
            .push_bind(filter.offset);
        let rows = page.build().fetch_all(&self.pool).await?;
        Ok((total, rows.iter().map(row).collect::<Result<_, _>>()?))
    }

    /// False when it is not there or was acknowledged before.
    pub async fn acknowledge_alarm(&self, id: &str, at: i64, by: &str, note: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE alarms SET acknowledged_at = $2, acknowledged_by = $3, note = $4 WHERE id = $1 AND acknowledged_at IS NULL",
        )
        .bind(id)
        .bind(at)
        .bind(by)
        .bind(note)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes that the device was told to reset: this alarm and all earlier ones of the same part.
    pub async fn note_reset(&self, row: &AlarmRow, at: i64, by: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE alarms SET reset_at = $1, reset_by = $2 WHERE device = $3 AND source = $4 AND at <= $5 AND reset_at IS NULL",
        )
        .bind(at)
        .bind(by)
        .bind(&row.device)
        .bind(&row.source)
        .bind(row.at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes up to 5,000 alarms from before an instant; gives how many. Asked again until there are none, so that no one
    /// transaction holds the database for long.
    pub async fn forget_alarms(&self, before: i64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM alarms WHERE id IN (SELECT id FROM alarms WHERE at < $1 LIMIT 5000)")
            .bind(before)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}
