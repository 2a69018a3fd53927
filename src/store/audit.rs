//! The audit log: a row for each order and each view.

use serde::Serialize;
use sqlx::Row;

use super::{Store, StoreError};

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AuditRow {
    /// Milliseconds since 1970 UTC.
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub at: i64,
    pub account: String,
    pub address: String,
    pub verb: String,
    pub object: String,
    pub detail: String,
    pub outcome: String,
}

#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub account: Option<String>,
    pub offset: i64,
    pub limit: i64,
}

impl Store {
    /// Appends rows in one transaction.
    pub async fn add_audit(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for row in rows {
            sqlx::query(
                "INSERT INTO audit (at, account, address, verb, object, detail, outcome)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(row.at)
            .bind(&row.account)
            .bind(&row.address)
            .bind(&row.verb)
            .bind(&row.object)
            .bind(&row.detail)
            .bind(&row.outcome)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Deletes rows from before an instant; gives how many.
    pub async fn forget_audit(&self, before: i64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM audit WHERE at < $1").bind(before).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }

    /// (all that match, one page, newest first).
    pub async fn audit(&self, filter: &AuditFilter) -> Result<(i64, Vec<AuditRow>), StoreError> {
        let from = filter.from.unwrap_or(i64::MIN);
        let to = filter.to.unwrap_or(i64::MAX);
        let account = filter.account.clone().unwrap_or_default();
        let total: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM audit WHERE at >= $1 AND at <= $2 AND ($3 = '' OR account = $3)")
                .bind(from)
                .bind(to)
                .bind(&account)
                .fetch_one(&self.pool)
                .await?;
        let rows = sqlx::query(
            "SELECT at, account, address, verb, object, detail, outcome FROM audit
             WHERE at >= $1 AND at <= $2 AND ($3 = '' OR account = $3) ORDER BY seq DESC LIMIT $4 OFFSET $5",
        )
        .bind(from)
        .bind(to)
        .bind(&account)
        .bind(filter.limit)
        .bind(filter.offset)
        .fetch_all(&self.pool)
        .await?;
        let rows: Result<Vec<AuditRow>, sqlx::Error> = rows
            .iter()
            .map(|r| {
                Ok(AuditRow {
                    at: r.try_get("at")?,
                    account: r.try_get("account")?,
                    address: r.try_get("address")?,
                    verb: r.try_get("verb")?,
                    object: r.try_get("object")?,
                    detail: r.try_get("detail")?,
                    outcome: r.try_get("outcome")?,
                })
            })
            .collect();
        Ok((total, rows?))
    }
}
