//! The index of single pictures; the files lie in the data directory.

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError};

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PictureRow {
    pub id: String,
    pub channel: String,
    pub device: String,
    /// When it was taken: by the device's own clock where its file name says so, else when it came.
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub taken_at: i64,
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub received_at: i64,
    /// The order that it belongs to.
    pub session: String,
    /// `device`: taken by the device; `stream`: a still of the live picture.
    pub source: String,
    pub ordered_by: String,
    /// Below the pictures' directory. Not shown.
    #[serde(skip)]
    pub file: String,
    /// The device's own name of the file, if it gave one.
    pub name: String,
    pub bytes: i64,
    pub width: i64,
    pub height: i64,
}

#[derive(Debug, Clone, Default)]
pub struct PictureFilter {
    pub channel: Option<String>,
    pub device: Option<String>,
    pub session: Option<String>,
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub offset: i64,
    pub limit: i64,
}

fn read(r: &SqliteRow) -> Result<PictureRow, sqlx::Error> {
    Ok(PictureRow {
        id: r.try_get("id")?,
        channel: r.try_get("channel")?,
        device: r.try_get("device")?,
        taken_at: r.try_get("taken_at")?,
        received_at: r.try_get("received_at")?,
        session: r.try_get("session")?,
        source: r.try_get("source")?,
        ordered_by: r.try_get("ordered_by")?,
        file: r.try_get("file")?,
        name: r.try_get("name")?,
        bytes: r.try_get("bytes")?,
        width: r.try_get("width")?,
        height: r.try_get("height")?,
    })
}

const WHERE: &str = "($1 = '' OR channel = $1) AND ($2 = '' OR device = $2) AND ($3 = '' OR session = $3)
     AND taken_at >= $4 AND taken_at <= $5";

impl Store {
    pub async fn add_picture(&self, p: &PictureRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO pictures (id, channel, device, taken_at, received_at, session, source, ordered_by, file, name,
             bytes, width, height) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(&p.id)
        .bind(&p.channel)
        .bind(&p.device)
        .bind(p.taken_at)
        .bind(p.received_at)
        .bind(&p.session)
        .bind(&p.source)
        .bind(&p.ordered_by)
        .bind(&p.file)
        .bind(&p.name)
        .bind(p.bytes)
        .bind(p.width)
        .bind(p.height)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn picture(&self, id: &str) -> Result<Option<PictureRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM pictures WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// (all that match, one page, newest first).
    pub async fn pictures(&self, f: &PictureFilter) -> Result<(i64, Vec<PictureRow>), StoreError> {
        let text = |v: &Option<String>| v.clone().unwrap_or_default();
        let (from, to) = (f.from.unwrap_or(i64::MIN), f.to.unwrap_or(i64::MAX));
        let total: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM pictures WHERE {WHERE}")))
                .bind(text(&f.channel))
                .bind(text(&f.device))
                .bind(text(&f.session))
                .bind(from)
                .bind(to)
                .fetch_one(&self.pool)
                .await?;
        let page = format!("SELECT * FROM pictures WHERE {WHERE} ORDER BY taken_at DESC, id DESC LIMIT $6 OFFSET $7");
        let rows = sqlx::query(sqlx::AssertSqlSafe(page))
            .bind(text(&f.channel))
            .bind(text(&f.device))
            .bind(text(&f.session))
            .bind(from)
            .bind(to)
            .bind(f.limit)
            .bind(f.offset)
            .fetch_all(&self.pool)
            .await?;
        let rows: Result<Vec<PictureRow>, sqlx::Error> = rows.iter().map(read).collect();
        Ok((total, rows?))
    }

    pub async fn delete_picture(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM pictures WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    /// The oldest pictures that must go: those received before an instant, and those beyond a sum of bytes (0: no bound).
    pub async fn pictures_to_forget(&self, before: i64, most_bytes: i64) -> Result<Vec<PictureRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM pictures WHERE received_at < $1 ORDER BY received_at LIMIT 500")
            .bind(before)
            .fetch_all(&self.pool)
            .await?;
        let old: Result<Vec<PictureRow>, sqlx::Error> = rows.iter().map(read).collect();
        let mut out = old?;
        if out.is_empty() && most_bytes > 0 {
            let held: i64 =
                sqlx::query_scalar("SELECT COALESCE(SUM(bytes), 0) FROM pictures").fetch_one(&self.pool).await?;
            let mut beyond = held - most_bytes;
            if beyond > 0 {
                let rows =
                    sqlx::query("SELECT * FROM pictures ORDER BY received_at LIMIT 500").fetch_all(&self.pool).await?;
                for row in &rows {
                    if beyond <= 0 {
                        break;
                    }
                    let picture = read(row)?;
                    beyond -= picture.bytes;
                    out.push(picture);
                }
            }
        }
        Ok(out)
    }
}
