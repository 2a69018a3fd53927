//! What a duty desk keeps: queues, pick-up groups, lists of calls and of broadcasts, names of sounds, templates and times of
//! conferences. Each is a JSON body under its kind and id.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;

use super::{Store, StoreError};

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeskKind {
    Queue,
    PickupGroup,
    CallList,
    BroadcastList,
    BroadcastSound,
    Template,
    Schedule,
}

impl DeskKind {
    fn as_str(self) -> &'static str {
        match self {
            DeskKind::Queue => "queue",
            DeskKind::PickupGroup => "pickup_group",
            DeskKind::CallList => "call_list",
            DeskKind::BroadcastList => "broadcast_list",
            DeskKind::BroadcastSound => "broadcast_sound",
            DeskKind::Template => "template",
            DeskKind::Schedule => "schedule",
        }
    }
}

impl Store {
    /// All of a kind, by id. A body that cannot be read is an error: nobody silently loses his desk.
    pub async fn desk_items<T: DeserializeOwned>(&self, kind: DeskKind) -> Result<Vec<(String, T)>, StoreError> {
        let rows = sqlx::query("SELECT id, body FROM desk_items WHERE kind = $1 ORDER BY id")
            .bind(kind.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|r| {
                let body: &str = r.try_get("body")?;
                let item = serde_json::from_str(body)
                    .map_err(|e| StoreError::Content(format!("{} of a desk: {e}", kind.as_str())))?;
                Ok((r.try_get("id")?, item))
            })
            .collect()
    }

    pub async fn put_desk_item<T: Serialize>(&self, kind: DeskKind, id: &str, item: &T) -> Result<(), StoreError> {
        let body = serde_json::to_string(item).map_err(|e| StoreError::Content(e.to_string()))?;
        sqlx::query(
            "INSERT INTO desk_items (kind, id, body) VALUES ($1, $2, $3)
             ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
        )
        .bind(kind.as_str())
        .bind(id)
        .bind(body)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn delete_desk_item(&self, kind: DeskKind, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM desk_items WHERE kind = $1 AND id = $2")
            .bind(kind.as_str())
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
