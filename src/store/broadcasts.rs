//! Emergency broadcasts: who ordered what and when, and who heard it.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError};

/// A broadcast.
#[derive(Debug, Clone, PartialEq)]
pub struct BroadcastRow {
    pub id: String,
    pub name: String,
    /// JSON: what was said and how often.
    pub body: String,
    pub by: String,
    pub stopped_by: Option<String>,
    /// `running`, `done`, `stopped` or `interrupted`.
    pub state: String,
    pub seconds: f64,
    /// Milliseconds since 1970.
    pub started_at: i64,
    pub ended_at: Option<i64>,
}

/// What became of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct BroadcastTargetRow {
    pub n: i64,
    pub to: String,
    pub name: String,
    pub state: String,
    pub tries: i64,
    pub heard: f64,
    pub code: Option<String>,
    /// JSON: the sentences of the fault.
    pub words: String,
    pub changed_at: i64,
}

fn broadcast(r: &SqliteRow) -> Result<BroadcastRow, StoreError> {
    Ok(BroadcastRow {
        id: r.try_get("id")?,
        name: r.try_get("name")?,
        body: r.try_get("body")?,
        by: r.try_get("ordered_by")?,
        stopped_by: r.try_get("stopped_by")?,
        state: r.try_get("state")?,
        seconds: r.try_get("seconds")?,
        started_at: r.try_get("started_at")?,
        ended_at: r.try_get("ended_at")?,
    })
}

fn target(r: &SqliteRow) -> Result<BroadcastTargetRow, StoreError> {
    Ok(BroadcastTargetRow {
        n: r.try_get("n")?,
        to: r.try_get("target")?,
        name: r.try_get("name")?,
        state: r.try_get("state")?,
        tries: r.try_get("tries")?,
        heard: r.try_get("heard")?,
        code: r.try_get("code")?,
        words: r.try_get("words")?,
        changed_at: r.try_get("changed_at")?,
    })
}

impl Store {
    /// Writes a broadcast and those of its targets that changed, all or nothing.
    pub async fn put_broadcast(&self, row: &BroadcastRow, targets: &[BroadcastTargetRow]) -> Result<(), StoreError> {
        let mut work = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO broadcasts (id, name, body, ordered_by, stopped_by, state, seconds, started_at, ended_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (id) DO UPDATE SET stopped_by = excluded.stopped_by, state = excluded.state,
             ended_at = excluded.ended_at",
        )
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.body)
        .bind(&row.by)
        .bind(&row.stopped_by)
        .bind(&row.state)
        .bind(row.seconds)
        .bind(row.started_at)
        .bind(row.ended_at)
        .execute(&mut *work)
        .await?;
        for t in targets {
            sqlx::query(
                "INSERT INTO broadcast_targets (broadcast, n, target, name, state, tries, heard, code, words, changed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                 ON CONFLICT (broadcast, n) DO UPDATE SET state = excluded.state, tries = excluded.tries,
                 heard = excluded.heard, code = excluded.code, words = excluded.words, changed_at = excluded.changed_at",
            )
            .bind(&row.id)
            .bind(t.n)
            .bind(&t.to)
            .bind(&t.name)
            .bind(&t.state)
            .bind(t.tries)
            .bind(t.heard)
            .bind(&t.code)
            .bind(&t.words)
            .bind(t.changed_at)
            .execute(&mut *work)
            .await?;
        }
        work.commit().await?;
        Ok(())
    }

    pub async fn broadcast(&self, id: &str) -> Result<Option<BroadcastRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM broadcasts WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(broadcast).transpose()
    }

    /// The last ones that were ordered before `before`, the newest first.
    pub async fn broadcasts(&self, before: i64, limit: i64) -> Result<Vec<BroadcastRow>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM broadcasts WHERE started_at < $1 ORDER BY started_at DESC, id DESC LIMIT $2")
                .bind(before)
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(broadcast).collect()
    }

    pub async fn broadcast_targets(&self, id: &str) -> Result<Vec<BroadcastTargetRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM broadcast_targets WHERE broadcast = $1 ORDER BY n")
            .bind(id)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(target).collect()
    }

    /// Ends those that a stop of the gateway left running; `words` as in a target's row. Gives their ids and names.
    pub async fn interrupt_broadcasts(
        &self,
        now: i64,
        code: &str,
        words: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let mut work = self.pool.begin().await?;
        let rows = sqlx::query("SELECT id, name FROM broadcasts WHERE state = 'running'").fetch_all(&mut *work).await?;
        let found: Vec<(String, String)> =
            rows.iter().map(|r| Ok((r.try_get("id")?, r.try_get("name")?))).collect::<Result<_, StoreError>>()?;
        for (id, _) in &found {
            sqlx::query(
                "UPDATE broadcast_targets SET state = 'interrupted', code = $2, words = $3, changed_at = $4
                 WHERE broadcast = $1 AND state IN ('waiting', 'calling', 'ringing', 'speaking')",
            )
            .bind(id)
            .bind(code)
            .bind(words)
            .bind(now)
            .execute(&mut *work)
            .await?;
        }
        sqlx::query("UPDATE broadcasts SET state = 'interrupted', ended_at = $1 WHERE state = 'running'")
            .bind(now)
            .execute(&mut *work)
            .await?;
        work.commit().await?;
        Ok(found)
    }

    /// Deletes those that ended before `before`. Gives how many.
    pub async fn forget_broadcasts(&self, before: i64) -> Result<u64, StoreError> {
        let mut work = self.pool.begin().await?;
        sqlx::query(
            "DELETE FROM broadcast_targets WHERE broadcast IN
             (SELECT id FROM broadcasts WHERE ended_at IS NOT NULL AND ended_at < $1)",
        )
        .bind(before)
        .execute(&mut *work)
        .await?;
        let done = sqlx::query("DELETE FROM broadcasts WHERE ended_at IS NOT NULL AND ended_at < $1")
            .bind(before)
            .execute(&mut *work)
            .await?;
        work.commit().await?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_stop_left_running_is_interrupted_and_keeps_its_results() {
        let dir = crate::testing::TempDir::new();
        let store = Store::open(&dir.path().join("t.db")).await.unwrap();
        let row = BroadcastRow {
            id: "b".into(),
            name: "flood".into(),
            body: "{}".into(),
            by: "duty".into(),
            stopped_by: None,
            state: "running".into(),
            seconds: 3.5,
            started_at: 10,
            ended_at: None,
        };
        let target = |n: i64, state: &str| BroadcastTargetRow {
            n,
            to: n.to_string(),
            name: String::new(),
            state: state.into(),
            tries: 1,
            heard: 1.0,
            code: None,
            words: "[]".into(),
            changed_at: 11,
        };
        let all = [target(0, "said"), target(1, "speaking"), target(2, "waiting")];
        store.put_broadcast(&row, &all).await.unwrap();
        let found = store.interrupt_broadcasts(20, "code", "w").await.unwrap();
        assert_eq!(found, [("b".to_owned(), "flood".to_owned())]);
        let states: Vec<_> =
            store.broadcast_targets("b").await.unwrap().into_iter().map(|t| (t.state, t.code)).collect();
        let cut = ("interrupted".to_owned(), Some("code".to_owned()));
        assert_eq!(states, [("said".to_owned(), None), cut.clone(), cut]);
        let now = store.broadcast("b").await.unwrap().unwrap();
        assert_eq!((now.state.as_str(), now.ended_at), ("interrupted", Some(20)));
        assert!(store.interrupt_broadcasts(30, "", "").await.unwrap().is_empty());
        assert_eq!(store.broadcasts(11, 5).await.unwrap().len(), 1);
        assert!(store.broadcasts(10, 5).await.unwrap().is_empty());
        assert_eq!(store.forget_broadcasts(21).await.unwrap(), 1);
        assert!(store.broadcast_targets("b").await.unwrap().is_empty());
    }
}
