//! Durable state on SQLite: accounts, devices, secrets, conferences, walls, audit. Media and signalling never wait for it.

mod accounts;
mod alarms;
mod audit;
mod broadcasts;
mod calls;
mod conferences;
mod control;
mod desk;
mod devices;
mod fetches;
mod guests;
mod messages;
mod patches;
mod pictures;
mod positions;
mod walls;

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub use accounts::{AccountRow, Role, TokenRow};
pub use alarms::{AlarmFilter, AlarmRow};
pub use audit::{AuditFilter, AuditRow};
pub use broadcasts::{BroadcastRow, BroadcastTargetRow};
pub use calls::{CallFilter, CallRow};
pub use conferences::ConferenceRow;
pub use desk::DeskKind;
pub use devices::SecretRow;
pub use fetches::FetchRow;
pub use guests::{GuestLinkRow, GuestRow};
pub use messages::{Delivery, MessageFile, MessageFilter, MessageRow, ThreadRow};
pub use patches::PatchRow;
pub use pictures::{PictureFilter, PictureRow};
pub use positions::PositionRow;
pub use walls::WallRow;

/// The version of the schema that this program writes.
const VERSION: i64 = 1;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    #[error(
        "the database has schema version {found}, this program knows up to {VERSION}: it was written by a newer version"
    )]
    TooNew { found: i64 },
    #[error("database content: {0}")]
    Content(String),
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the database, makes it when it is missing, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(10))
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        let store = Store { pool };
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        sqlx::raw_sql(include_str!("schema.sql")).execute(&self.pool).await?;
        let found: Option<i64> =
            sqlx::query_scalar("SELECT MAX(version) FROM schema_version").fetch_one(&self.pool).await?;
        match found {
            None => {
                sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
                    .bind(VERSION)
                    .execute(&self.pool)
                    .await?;
                Ok(())
            }
            Some(found) if found > VERSION => Err(StoreError::TooNew { found }),
            Some(_) => Ok(()),
        }
    }

    /// For the recorder, which keeps its own tables in the same database.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Whether the database answers.
    pub async fn healthy(&self) -> bool {
        sqlx::query_scalar::<_, i64>("SELECT 1").fetch_one(&self.pool).await.is_ok()
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}
