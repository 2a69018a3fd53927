//! Links by which guests come into a conference, and the sessions that were made by them. Of tokens only hashes are stored.

use sqlx::Row;

use super::{Store, StoreError};

/// A link for guests. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLinkRow {
    pub id: String,
    /// SHA-256 of the token in hex.
    pub hash: String,
    pub conference: String,
    /// What it is for, as its maker named it.
    pub name: String,
    /// `speaker` or `listener`.
    pub role: String,
    pub camera: bool,
    pub created_by: String,
    pub created_at: i64,
    pub expires_at: i64,
    /// Guests that may come in by it; 0: no limit of its own.
    pub uses: u32,
    pub used: u32,
    pub withdrawn: bool,
}

/// A guest who came by a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRow {
    /// SHA-256 of the session's token in hex.
    pub hash: String,
    pub link: String,
    pub name: String,
    pub state: String,
    pub created_at: i64,
}

impl Store {
    pub async fn guest_links(&self) -> Result<Vec<GuestLinkRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM guest_links ORDER BY id").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|r| {
                Ok(GuestLinkRow {
                    id: r.try_get("id")?,
                    hash: r.try_get("hash")?,
                    conference: r.try_get("conference")?,
                    name: r.try_get("name")?,
                    role: r.try_get("role")?,
                    camera: r.try_get::<i64, _>("camera")? != 0,
                    created_by: r.try_get("created_by")?,
                    created_at: r.try_get("created_at")?,
                    expires_at: r.try_get("expires_at")?,
                    uses: r.try_get("uses")?,
                    used: r.try_get("used")?,
                    withdrawn: r.try_get::<i64, _>("withdrawn")? != 0,
                })
            })
            .collect()
    }

    pub async fn put_guest_link(&self, row: &GuestLinkRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO guest_links (id, hash, conference, name, role, camera, created_by, created_at, expires_at,
             uses, used, withdrawn) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (id) DO UPDATE SET used = excluded.used, withdrawn = excluded.withdrawn",
        )
        .bind(&row.id)
        .bind(&row.hash)
        .bind(&row.conference)
        .bind(&row.name)
        .bind(&row.role)
        .bind(i64::from(row.camera))
        .bind(&row.created_by)
        .bind(row.created_at)
        .bind(row.expires_at)
        .bind(row.uses)
        .bind(row.used)
        .bind(i64::from(row.withdrawn))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a link with its guests.
    pub async fn delete_guest_link(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM guests WHERE link = $1").bind(id).execute(&self.pool).await?;
        sqlx::query("DELETE FROM guest_links WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    pub async fn guests(&self) -> Result<Vec<GuestRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM guests ORDER BY created_at").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|r| {
                Ok(GuestRow {
                    hash: r.try_get("hash")?,
                    link: r.try_get("link")?,
                    name: r.try_get("name")?,
                    state: r.try_get("state")?,
                    created_at: r.try_get("created_at")?,
                })
            })
            .collect()
    }

    pub async fn put_guest(&self, row: &GuestRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO guests (hash, link, name, state, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (hash) DO UPDATE SET state = excluded.state",
        )
        .bind(&row.hash)
        .bind(&row.link)
        .bind(&row.name)
        .bind(&row.state)
        .bind(row.created_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn delete_guest(&self, hash: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM guests WHERE hash = $1").bind(hash).execute(&self.pool).await?;
        Ok(())
    }
}
