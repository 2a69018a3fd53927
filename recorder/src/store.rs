//! The index: own tables in the gateway's database. SQL that SQLite and PostgreSQL both understand.

use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use crate::mp4::finish::Summary;
use crate::mp4::init::Meta;
use crate::plan::{Plan, Window};
use crate::types::{Cause, RecorderError, Recording, RecordingId, RecordingState, rfc3339};

/// Each is run once, in order; the table `recorder_schema` says how far.
const MIGRATIONS: &[&[&str]] = &[&[
    "CREATE TABLE recordings (
        id TEXT PRIMARY KEY,
        stream TEXT NOT NULL,
        name TEXT NOT NULL,
        cause TEXT NOT NULL,
        plan TEXT NOT NULL,
        keep_days BIGINT NOT NULL,
        path TEXT NOT NULL,
        started_ms BIGINT NOT NULL,
        ended_ms BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        frames BIGINT NOT NULL,
        has_video BIGINT NOT NULL,
        has_audio BIGINT NOT NULL,
        state TEXT NOT NULL,
        crc BIGINT NOT NULL
    )",
    "CREATE INDEX recordings_stream ON recordings (stream, started_ms)",
    "CREATE INDEX recordings_started ON recordings (started_ms)",
    "CREATE INDEX recordings_state ON recordings (state)",
    "CREATE TABLE recording_plans (
        id TEXT PRIMARY KEY,
        stream TEXT NOT NULL,
        name TEXT NOT NULL,
        enabled BIGINT NOT NULL,
        always BIGINT NOT NULL,
        windows TEXT NOT NULL,
        keep_days BIGINT NOT NULL
    )",
    "CREATE TABLE recording_jobs (
        id TEXT PRIMARY KEY,
        stream TEXT NOT NULL,
        name TEXT NOT NULL,
        since_ms BIGINT NOT NULL
    )",
]];

/// A row of `recordings`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub id: String,
    pub stream: String,
    pub name: String,
    pub cause: String,
    pub plan: String,
    pub keep_days: u32,
    pub path: String,
    pub started_ms: i64,
    pub ended_ms: i64,
    pub bytes: u64,
    pub frames: u64,
    pub has_video: bool,
    pub has_audio: bool,
    pub state: RecordingState,
    pub crc: u32,
}

impl Row {
    pub fn of(meta: &Meta, path: &str, summary: &Summary, state: RecordingState) -> Row {
        Row {
            id: meta.id.simple().to_string(),
            stream: meta.stream.clone(),
            name: meta.name.clone(),
            cause: meta.cause.clone(),
            plan: meta.plan.clone(),
            keep_days: meta.keep_days,
            path: path.to_owned(),
            started_ms: meta.started_ms,
            ended_ms: meta.started_ms + summary.duration_ms as i64,
            bytes: summary.bytes,
            frames: summary.frames,
            has_video: summary.has_video,
            has_audio: summary.has_audio,
            state,
            crc: summary.crc,
        }
    }

    pub fn recording(&self) -> Recording {
        Recording {
            id: RecordingId(self.id.clone()),
            stream: self.stream.clone(),
            name: self.name.clone(),
            from: rfc3339(self.started_ms),
            to: rfc3339(self.ended_ms),
            duration_s: (self.ended_ms - self.started_ms) as f64 / 1000.0,
            bytes: self.bytes,
            has_video: self.has_video,
            has_audio: self.has_audio,
            state: self.state,
            cause: Cause::parse(&self.cause),
            frames: self.frames,
            from_ms: self.started_ms,
            to_ms: self.ended_ms,
            path: self.path.clone(),
        }
    }

    fn read(row: &SqliteRow) -> Result<Row, sqlx::Error> {
        Ok(Row {
            id: row.try_get(0)?,
            stream: row.try_get(1)?,
            name: row.try_get(2)?,
            cause: row.try_get(3)?,
            plan: row.try_get(4)?,
            keep_days: row.try_get::<i64, _>(5)? as u32,
            path: row.try_get(6)?,
            started_ms: row.try_get(7)?,
            ended_ms: row.try_get(8)?,
            bytes: row.try_get::<i64, _>(9)? as u64,
            frames: row.try_get::<i64, _>(10)? as u64,
            has_video: row.try_get::<i64, _>(11)? != 0,
            has_audio: row.try_get::<i64, _>(12)? != 0,
            state: RecordingState::parse(row.try_get::<&str, _>(13)?),
            crc: row.try_get::<i64, _>(14)? as u32,
        })
    }
}

macro_rules! rows {
    ($rest:literal) => {
        concat!(
            "SELECT id, stream, name, cause, plan, keep_days, path, started_ms, ended_ms, bytes, frames, has_video, ",
            "has_audio, state, crc FROM recordings ",
            $rest
        )
    };
}

/// Which recordings a list shall hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub stream: Option<String>,
    /// Those that end after this, milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Those that begin before this.
    pub to_ms: Option<i64>,
    pub offset: u32,
    /// At most 1000; 0 counts as 100.
    pub limit: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub pool: SqlitePool,
}

impl Store {
    pub async fn open(pool: SqlitePool) -> Result<Store, RecorderError> {
        sqlx::query("CREATE TABLE IF NOT EXISTS recorder_schema (version BIGINT NOT NULL)").execute(&pool).await?;
        let done: Option<i64> =
            sqlx::query("SELECT MAX(version) FROM recorder_schema").fetch_one(&pool).await?.try_get(0)?;
        let done = done.unwrap_or(0) as usize;
        if done > MIGRATIONS.len() {
            return Err(RecorderError::Invalid(format!("the recording index is of a newer version ({done})")));
        }
        for (n, steps) in MIGRATIONS.iter().enumerate().skip(done) {
            let mut tx = pool.begin().await?;
            for step in *steps {
                sqlx::query(*step).execute(&mut *tx).await?;
            }
            sqlx::query("INSERT INTO recorder_schema (version) VALUES ($1)")
                .bind(n as i64 + 1)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(Store { pool })
    }

    pub async fn put(&self, r: &Row) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO recordings (id, stream, name, cause, plan, keep_days, path, started_ms, ended_ms, bytes, frames, has_video, \
             has_audio, state, crc) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             ON CONFLICT (id) DO UPDATE SET path = excluded.path, ended_ms = excluded.ended_ms, bytes = excluded.bytes, \
             frames = excluded.frames, has_video = excluded.has_video, has_audio = excluded.has_audio, \
             state = excluded.state, crc = excluded.crc",
        )
        .bind(&r.id)
        .bind(&r.stream)
        .bind(&r.name)
        .bind(&r.cause)
        .bind(&r.plan)
        .bind(i64::from(r.keep_days))
        .bind(&r.path)
        .bind(r.started_ms)
        .bind(r.ended_ms)
        .bind(r.bytes as i64)
        .bind(r.frames as i64)
        .bind(i64::from(r.has_video))
        .bind(i64::from(r.has_audio))
        .bind(r.state.as_str())
        .bind(i64::from(r.crc))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn get(&self, id: &str) -> Result<Option<Row>, sqlx::Error> {
        let row = sqlx::query(rows!("WHERE id = $1")).bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(Row::read).transpose()
    }

    pub async fn list(&self, f: &Filter) -> Result<(u64, Vec<Row>), sqlx::Error> {
        let limit = if f.limit == 0 { 100 } else { f.limit.min(1000) };
        let stream = f.stream.as_deref().unwrap_or("");
        let (from, to) = (f.from_ms.unwrap_or(i64::MIN), f.to_ms.unwrap_or(i64::MAX));
        // What grows still has its end in memory only: it counts as ending later than anything.
        let total = sqlx::query(
            "SELECT COUNT(*) FROM recordings WHERE ($1 = '' OR stream = $1) AND (ended_ms > $2 OR state = 'recording') AND started_ms < $3",
        )
        .bind(stream)
        .bind(from)
        .bind(to)
        .fetch_one(&self.pool)
        .await?;
        let rows = sqlx::query(rows!(
            "WHERE ($1 = '' OR stream = $1) AND (ended_ms > $2 OR state = 'recording') AND started_ms < $3 \
             ORDER BY started_ms DESC, id LIMIT $4 OFFSET $5"
        ))
        .bind(stream)
        .bind(from)
        .bind(to)
        .bind(i64::from(limit))
        .bind(i64::from(f.offset))
        .fetch_all(&self.pool)
        .await?;
        Ok((total.try_get::<i64, _>(0)? as u64, rows.iter().map(Row::read).collect::<Result<_, _>>()?))
    }

    /// A page of all rows in the order of their ids, behind `after`.
    pub async fn page(&self, after: &str, limit: u32) -> Result<Vec<Row>, sqlx::Error> {
        let rows = sqlx::query(rows!("WHERE id > $1 ORDER BY id LIMIT $2"))
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(Row::read).collect()
    }

    /// (start, end) of each recording of a stream that touches the span.
    pub async fn spans(&self, stream: &str, from: i64, to: i64) -> Result<Vec<(i64, i64)>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT started_ms, ended_ms FROM recordings WHERE ($1 = '' OR stream = $1) AND started_ms < $3 AND ended_ms >= $2",
        )
        .bind(stream)
        .bind(from)
        .bind(to)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect()
    }

    pub async fn unfinished(&self) -> Result<Vec<Row>, sqlx::Error> {
        let rows = sqlx::query(rows!("WHERE state = 'recording'")).fetch_all(&self.pool).await?;
        rows.iter().map(Row::read).collect()
    }

    /// What an import has written.
    pub async fn of_import(&self, source: &str) -> Result<Vec<Row>, sqlx::Error> {
        let rows =
            sqlx::query(rows!("WHERE cause = 'device' AND plan = $1")).bind(source).fetch_all(&self.pool).await?;
        rows.iter().map(Row::read).collect()
    }

    pub async fn delete(&self, id: &str) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM recordings WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Finished recordings that are older than their keep.
    pub async fn expired(&self, now_ms: i64, hand_keep_days: u32) -> Result<Vec<Row>, sqlx::Error> {
        let rows = sqlx::query(rows!(
            "WHERE state <> 'recording' AND ((cause = 'plan' AND keep_days > 0 AND ended_ms < $1 - keep_days * 86400000) \
             OR (cause = 'hand' AND $2 > 0 AND ended_ms < $1 - $2 * 86400000) \
             OR (cause = 'device' AND $2 > 0 AND id < $3)) ORDER BY started_ms LIMIT 500"
        ))
        .bind(now_ms)
        .bind(i64::from(hand_keep_days))
        // A copy is kept from the day on which it was fetched, which its id tells (UUID version 7): it may be of last month.
        .bind(format!("{:012x}", (now_ms - i64::from(hand_keep_days) * 86_400_000).max(0)))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Row::read).collect()
    }

    pub async fn total_bytes(&self) -> Result<u64, sqlx::Error> {
        let row =
            sqlx::query("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM recordings").fetch_one(&self.pool).await?;
        Ok(row.try_get::<i64, _>(0)? as u64)
    }

    pub async fn oldest_of_plans(&self, limit: u32) -> Result<Vec<Row>, sqlx::Error> {
        let rows = sqlx::query(rows!("WHERE state <> 'recording' AND cause = 'plan' ORDER BY started_ms LIMIT $1"))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(Row::read).collect()
    }

    pub async fn plans(&self) -> Result<Vec<Plan>, RecorderError> {
        let rows = sqlx::query(
            "SELECT id, stream, name, enabled, always, windows, keep_days FROM recording_plans ORDER BY id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|r| {
                let windows: Vec<Window> = serde_json::from_str(r.try_get(5)?)
                    .map_err(|e| RecorderError::Invalid(format!("the index holds a plan that cannot be read: {e}")))?;
                Ok(Plan {
                    id: r.try_get(0)?,
                    stream: r.try_get(1)?,
                    name: r.try_get(2)?,
                    enabled: r.try_get::<i64, _>(3)? != 0,
                    always: r.try_get::<i64, _>(4)? != 0,
                    windows,
                    keep_days: r.try_get::<i64, _>(6)? as u32,
                })
            })
            .collect()
    }

    /// Stores a plan; its recordings take its keep.
    pub async fn put_plan(&self, p: &Plan) -> Result<(), RecorderError> {
        let windows = serde_json::to_string(&p.windows).map_err(|e| RecorderError::Invalid(e.to_string()))?;
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO recording_plans (id, stream, name, enabled, always, windows, keep_days) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (id) DO UPDATE SET stream = excluded.stream, name = excluded.name, enabled = excluded.enabled, \
             always = excluded.always, windows = excluded.windows, keep_days = excluded.keep_days",
        )
        .bind(&p.id)
        .bind(&p.stream)
        .bind(&p.name)
        .bind(i64::from(p.enabled))
        .bind(i64::from(p.always))
        .bind(windows)
        .bind(i64::from(p.keep_days))
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE recordings SET keep_days = $2 WHERE plan = $1")
            .bind(&p.id)
            .bind(i64::from(p.keep_days))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    pub async fn delete_plan(&self, id: &str) -> Result<bool, sqlx::Error> {
        let done = sqlx::query("DELETE FROM recording_plans WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }

    pub async fn put_job(&self, id: &str, stream: &str, name: &str, since_ms: i64) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO recording_jobs (id, stream, name, since_ms) VALUES ($1, $2, $3, $4)")
            .bind(id)
            .bind(stream)
            .bind(name)
            .bind(since_ms)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn delete_job(&self, id: &str) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM recording_jobs WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// (id, stream, name, since) of the jobs by hand.
    pub async fn jobs(&self) -> Result<Vec<(String, String, String, i64)>, sqlx::Error> {
        let rows = sqlx::query("SELECT id, stream, name, since_ms FROM recording_jobs ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?, r.try_get(2)?, r.try_get(3)?))).collect()
    }
}
