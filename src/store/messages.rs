//! Messages: texts and files of conferences and of far ends, with what became of each.

use bridge_core::{TextState, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError};

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct MessageRow {
    pub id: String,
    /// When the hall took it.
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub at: i64,
    /// The sender's own time, where it told one.
    #[serde(serialize_with = "crate::api::time::rfc3339_optional")]
    #[schema(value_type = Option<String>)]
    pub device_at: Option<i64>,
    /// `conference:ID`, or a far end: `phone:8001`, `radio:GATEWAY/1234`, `satphone:TERMINAL/123456`.
    pub thread: String,
    /// The thread's name when the message was taken.
    pub thread_name: String,
    /// `account:NAME` of the console, or a far end.
    pub sender: String,
    pub name: String,
    /// What it came by: `console`, `lan`, `radio` and so on.
    pub link: String,
    pub text: String,
    /// The attachment, if there is one.
    pub file: Option<MessageFile>,
    /// To whom it was sent besides the consoles, and what became of it.
    pub deliveries: Vec<Delivery>,
}

/// A file that came with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MessageFile {
    /// Below the messages' directory. Not shown.
    #[serde(skip)]
    pub file: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub bytes: i64,
}

/// What became of a message at one far end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Delivery {
    pub to: String,
    pub name: String,
    /// `sent`: on its way; `delivered`; `failed`.
    #[schema(value_type = String)]
    pub state: TextState,
    /// Of the state.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// When it leaves, about, where it waits for its turn.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub leaves_at: Option<Timestamp>,
    /// Why it failed, as every fault of the API.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub fault: Option<serde_json::Value>,
}

/// A thread and its newest message.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ThreadRow {
    pub thread: String,
    pub name: String,
    /// Messages in it.
    pub count: i64,
    pub last: MessageRow,
}

/// Which messages are asked for.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    pub thread: Option<String>,
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Older than this message: its id.
    pub before: Option<String>,
    pub limit: i64,
}

fn row(r: &SqliteRow) -> Result<MessageRow, StoreError> {
    let file: String = r.try_get("file")?;
    let file = match file.is_empty() {
        true => None,
        false => Some(MessageFile {
            file,
            name: r.try_get("file_name")?,
            kind: r.try_get("file_type")?,
            bytes: r.try_get("bytes")?,
        }),
    };
    let deliveries: String = r.try_get("deliveries")?;
    Ok(MessageRow {
        id: r.try_get("id")?,
        at: r.try_get("at")?,
        device_at: r.try_get("device_at")?,
        thread: r.try_get("thread")?,
        thread_name: r.try_get("thread_name")?,
        sender: r.try_get("sender")?,
        name: r.try_get("name")?,
        link: r.try_get("link")?,
        text: r.try_get("text")?,
        file,
        deliveries: serde_json::from_str(&deliveries).map_err(|e| StoreError::Content(e.to_string()))?,
    })
}

fn written(deliveries: &[Delivery]) -> Result<(String, i64), StoreError> {
    let text = serde_json::to_string(deliveries).map_err(|e| StoreError::Content(e.to_string()))?;
    Ok((text, i64::from(deliveries.iter().any(|d| d.state == TextState::Sent))))
}

const WHERE: &str = "($1 = '' OR thread = $1) AND at >= $2 AND at <= $3";

impl Store {
    pub async fn add_message(&self, m: &MessageRow) -> Result<(), StoreError> {
        let (deliveries, pending) = written(&m.deliveries)?;
        let file = m.file.as_ref();
        sqlx::query(
            "INSERT INTO messages (id, at, device_at, thread, thread_name, sender, name, link, text, file, file_name, file_type,
             bytes, deliveries, pending) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)",
        )
        .bind(&m.id)
        .bind(m.at)
        .bind(m.device_at)
        .bind(&m.thread)
        .bind(&m.thread_name)
        .bind(&m.sender)
        .bind(&m.name)
        .bind(&m.link)
        .bind(&m.text)
        .bind(file.map_or("", |f| &f.file))
        .bind(file.map_or("", |f| &f.name))
        .bind(file.map_or("", |f| &f.kind))
        .bind(file.map_or(0, |f| f.bytes))
        .bind(deliveries)
        .bind(pending)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn message(&self, id: &str) -> Result<Option<MessageRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM messages WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        found.as_ref().map(row).transpose()
    }

    /// Writes what became of a message.
    pub async fn save_deliveries(&self, id: &str, deliveries: &[Delivery]) -> Result<(), StoreError> {
        let (text, pending) = written(deliveries)?;
        sqlx::query("UPDATE messages SET deliveries = $2, pending = $3 WHERE id = $1")
            .bind(id)
            .bind(text)
            .bind(pending)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Messages of which something was still on its way, at most 1,000.
    pub async fn pending_messages(&self) -> Result<Vec<MessageRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM messages WHERE pending = 1 LIMIT 1000").fetch_all(&self.pool).await?;
        rows.iter().map(row).collect()
    }

    /// (all that match, one page, newest first).
    pub async fn messages(&self, f: &MessageFilter) -> Result<(i64, Vec<MessageRow>), StoreError> {
        let (from, to) = (f.from.unwrap_or(i64::MIN), f.to.unwrap_or(i64::MAX));
        let thread = f.thread.clone().unwrap_or_default();
        let total: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM messages WHERE {WHERE}")))
                .bind(&thread)
                .bind(from)
                .bind(to)
                .fetch_one(&self.pool)
                .await?;
        // Ids are made in the order of time, so the id alone tells what is older, also of one millisecond.
        let page = format!("SELECT * FROM messages WHERE {WHERE} AND ($4 = '' OR id < $4) ORDER BY id DESC LIMIT $5");
        let rows = sqlx::query(sqlx::AssertSqlSafe(page))
            .bind(&thread)
            .bind(from)
            .bind(to)
            .bind(f.before.clone().unwrap_or_default())
            .bind(f.limit)
            .fetch_all(&self.pool)
            .await?;
        let rows: Result<Vec<MessageRow>, StoreError> = rows.iter().map(row).collect();
        Ok((total, rows?))
    }

    /// Threads, the one with the newest message first.
    pub async fn threads(&self, limit: i64) -> Result<Vec<ThreadRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT m.*, t.count AS thread_count FROM messages m
             JOIN (SELECT MAX(id) AS last, COUNT(*) AS count FROM messages GROUP BY thread) t ON m.id = t.last
             ORDER BY m.id DESC LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let thread = |r: &SqliteRow| {
            let last = row(r)?;
            Ok(ThreadRow {
                thread: last.thread.clone(),
                name: last.thread_name.clone(),
                count: r.try_get("thread_count")?,
                last,
            })
        };
        rows.iter().map(thread).collect()
    }

    pub async fn delete_message(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM messages WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Messages, and bytes of their files.
    pub async fn messages_held(&self) -> Result<(i64, i64), StoreError> {
        let r = sqlx::query("SELECT COUNT(*) AS n, COALESCE(SUM(bytes), 0) AS bytes FROM messages")
            .fetch_one(&self.pool)
            .await?;
        Ok((r.try_get("n")?, r.try_get("bytes")?))
    }

    /// The oldest messages that must go: those from before an instant, else those with files beyond a sum of bytes (0: no bound),
    /// else those beyond a number.
    pub async fn messages_to_forget(
        &self,
        before: i64,
        most_bytes: i64,
        most_rows: i64,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let oldest = |condition: &str, limit: i64| {
            let text = format!("SELECT * FROM messages WHERE {condition} ORDER BY id LIMIT {limit}");
            sqlx::query(sqlx::AssertSqlSafe(text))
        };
        let rows = oldest("at < $1", 500).bind(before).fetch_all(&self.pool).await?;
        if !rows.is_empty() {
            return rows.iter().map(row).collect();
        }
        let (count, held) = self.messages_held().await?;
        let mut out = Vec::new();
        if most_bytes > 0 && held > most_bytes {
            let mut beyond = held - most_bytes;
            for r in &oldest("bytes > 0", 500).fetch_all(&self.pool).await? {
                if beyond <= 0 {
                    break;
                }
                let message = row(r)?;
                beyond -= message.file.as_ref().map_or(0, |f| f.bytes);
                out.push(message);
            }
        }
        if out.is_empty() && count > most_rows {
            let rows = oldest("1 = 1", (count - most_rows).min(500)).fetch_all(&self.pool).await?;
            out = rows.iter().map(row).collect::<Result<_, _>>()?;
        }
        Ok(out)
    }
}
