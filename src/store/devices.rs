//! Devices as bridges know them, and the secrets of devices and phones.

use bridge_core::{BoxFuture, Device, DeviceId, DeviceStore};
use sqlx::Row;

use super::{Store, StoreError};

/// A secret of a SIP account: never the password itself, but H(A1) of digest authentication.
#[derive(Debug, Clone)]
pub struct SecretRow {
    /// `device` or `phone`.
    pub kind: String,
    pub name: String,
    pub display: String,
    pub ha1: String,
}

impl Store {
    /// All devices; one that cannot be read is left out and told, so that one bad row does not stop the hall.
    pub async fn devices(&self) -> Result<Vec<Device>, StoreError> {
        let rows = sqlx::query("SELECT id, body, private FROM devices").fetch_all(&self.pool).await?;
        let mut devices = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            let body: &str = row.try_get("body")?;
            match serde_json::from_str::<Device>(body) {
                Ok(mut device) => {
                    device.private = serde_json::from_str(row.try_get("private")?).unwrap_or_default();
                    devices.push(device);
                }
                Err(error) => tracing::error!(device = id, %error, "a stored device cannot be read and is left out"),
            }
        }
        Ok(devices)
    }

    async fn save_devices(&self, devices: &[Device]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for device in devices {
            let body = serde_json::to_string(device).map_err(|e| StoreError::Content(e.to_string()))?;
            sqlx::query(
                "INSERT INTO devices (id, body, private) VALUES ($1, $2, $3)
                 ON CONFLICT (id) DO UPDATE SET body = excluded.body, private = excluded.private",
            )
            .bind(&device.id.0)
            .bind(body)
            .bind(device.private.to_string())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub async fn secrets(&self) -> Result<Vec<SecretRow>, StoreError> {
        let rows = sqlx::query("SELECT kind, name, display, ha1 FROM device_secrets ORDER BY kind, name")
            .fetch_all(&self.pool)
            .await?;
        let rows: Result<Vec<SecretRow>, sqlx::Error> = rows
            .iter()
            .map(|r| {
                Ok(SecretRow {
                    kind: r.try_get("kind")?,
                    name: r.try_get("name")?,
                    display: r.try_get("display")?,
                    ha1: r.try_get("ha1")?,
                })
            })
            .collect();
        Ok(rows?)
    }

    pub async fn put_secret(&self, row: &SecretRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO device_secrets (kind, name, display, ha1) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, name) DO UPDATE SET display = excluded.display, ha1 = excluded.ha1",
        )
        .bind(&row.kind)
        .bind(&row.name)
        .bind(&row.display)
        .bind(&row.ha1)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn delete_secret(&self, kind: &str, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM device_secrets WHERE kind = $1 AND name = $2")
            .bind(kind)
            .bind(name)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

impl DeviceStore for Store {
    fn save<'a>(&'a self, devices: &'a [Device]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.save_devices(devices).await.map_err(|e| e.to_string()) })
    }

    fn delete<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let done = sqlx::query("DELETE FROM devices WHERE id = $1").bind(&id.0).execute(&self.pool).await;
            done.map(|_| ()).map_err(|e| e.to_string())
        })
    }
}
