//! What the hall keeps for the control of cameras: who goes first, and names of presets.

use std::collections::HashMap;

use sqlx::Row;

use super::{Store, StoreError};

impl Store {
    /// Priorities of accounts that have one.
    pub async fn priorities(&self) -> Result<HashMap<String, u8>, StoreError> {
        let rows = sqlx::query("SELECT account, priority FROM control_priorities").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|r| Ok((r.try_get("account")?, u8::try_from(r.try_get::<i64, _>("priority")?).unwrap_or(0))))
            .collect()
    }

    /// 0 takes it away.
    pub async fn set_priority(&self, account: &str, priority: u8) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM control_priorities WHERE account = $1").bind(account).execute(&self.pool).await?;
        if priority > 0 {
            sqlx::query("INSERT INTO control_priorities (account, priority) VALUES ($1, $2)")
                .bind(account)
                .bind(i64::from(priority))
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    pub async fn preset_names(&self, channel: &str) -> Result<Vec<(u8, String)>, StoreError> {
        let rows = sqlx::query("SELECT preset, name FROM preset_names WHERE channel = $1 ORDER BY preset")
            .bind(channel)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|r| Ok((u8::try_from(r.try_get::<i64, _>("preset")?).unwrap_or(0), r.try_get("name")?)))
            .collect()
    }

    /// None forgets it.
    pub async fn set_preset_name(&self, channel: &str, preset: u8, name: Option<&str>) -> Result<(), StoreError> {
        let Some(name) = name else {
            sqlx::query("DELETE FROM preset_names WHERE channel = $1 AND preset = $2")
                .bind(channel)
                .bind(i64::from(preset))
                .execute(&self.pool)
                .await?;
            return Ok(());
        };
        sqlx::query(
            "INSERT INTO preset_names (channel, preset, name) VALUES ($1, $2, $3)
             ON CONFLICT (channel, preset) DO UPDATE SET name = excluded.name",
        )
        .bind(channel)
        .bind(i64::from(preset))
        .bind(name)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_priorities_are_kept() {
        let dir = crate::testing::TempDir::new();
        let store = Store::open(&dir.path().join("t.db")).await.unwrap();
        store.set_preset_name("c", 3, Some("大门")).await.unwrap();
        store.set_preset_name("c", 3, Some("北门")).await.unwrap();
        store.set_preset_name("c", 4, Some("x")).await.unwrap();
        store.set_preset_name("c", 4, None).await.unwrap();
        assert_eq!(store.preset_names("c").await.unwrap(), [(3, "北门".to_owned())]);
        store.set_priority("a", 7).await.unwrap();
        store.set_priority("b", 1).await.unwrap();
        store.set_priority("b", 0).await.unwrap();
        assert_eq!(store.priorities().await.unwrap(), HashMap::from([("a".to_owned(), 7)]));
    }
}
