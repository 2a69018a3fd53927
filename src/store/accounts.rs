//! Accounts and their tokens. Passwords are argon2 hashes; of tokens only the SHA-256 is kept.

use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::{Store, StoreError};

/// What an account may do. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "viewer" => Ok(Role::Viewer),
            "operator" => Ok(Role::Operator),
            "admin" => Ok(Role::Admin),
            other => Err(StoreError::Content(format!("unknown role {other:?} in accounts"))),
        }
    }
}

#[derive(Debug, Clone)]
pub struct AccountRow {
    pub name: String,
    pub role: Role,
    pub password_hash: String,
    pub must_change: bool,
    pub created_at: i64,
}

#[derive(Debug, Clone)]
pub struct TokenRow {
    pub account: String,
    pub expires_at: i64,
}

fn account(row: &sqlx::sqlite::SqliteRow) -> Result<AccountRow, StoreError> {
    Ok(AccountRow {
        name: row.try_get("name")?,
        role: Role::parse(row.try_get::<&str, _>("role")?)?,
        password_hash: row.try_get("password_hash")?,
        must_change: row.try_get::<i64, _>("must_change")? != 0,
        created_at: row.try_get("created_at")?,
    })
}

impl Store {
    pub async fn accounts(&self) -> Result<Vec<AccountRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM accounts ORDER BY name").fetch_all(&self.pool).await?;
        rows.iter().map(account).collect()
    }

    pub async fn account(&self, name: &str) -> Result<Option<AccountRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM accounts WHERE name = $1").bind(name).fetch_optional(&self.pool).await?;
        row.as_ref().map(account).transpose()
    }

    /// False if the name is taken.
    pub async fn add_account(&self, row: &AccountRow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO accounts (name, role, password_hash, must_change, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(&row.name)
        .bind(row.role.as_str())
        .bind(&row.password_hash)
        .bind(i64::from(row.must_change))
        .bind(row.created_at)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    pub async fn set_password(&self, name: &str, hash: &str, must_change: bool) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE accounts SET password_hash = $2, must_change = $3 WHERE name = $1")
            .bind(name)
            .bind(hash)
            .bind(i64::from(must_change))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    pub async fn set_role(&self, name: &str, role: Role) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE accounts SET role = $2 WHERE name = $1")
            .bind(name)
            .bind(role.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    pub async fn delete_account(&self, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM accounts WHERE name = $1").bind(name).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    pub async fn add_token(&self, hash: &str, row: &TokenRow, now: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM tokens WHERE expires_at < $1").bind(now).execute(&self.pool).await?;
        sqlx::query("INSERT INTO tokens (hash, account, created_at, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(hash)
            .bind(&row.account)
            .bind(now)
            .bind(row.expires_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn token(&self, hash: &str) -> Result<Option<TokenRow>, StoreError> {
        let row = sqlx::query("SELECT account, expires_at FROM tokens WHERE hash = $1")
            .bind(hash)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|r| Ok(TokenRow { account: r.try_get("account")?, expires_at: r.try_get("expires_at")? })).transpose()
    }

    pub async fn extend_token(&self, hash: &str, expires_at: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE tokens SET expires_at = $2 WHERE hash = $1")
            .bind(hash)
            .bind(expires_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn delete_token(&self, hash: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM tokens WHERE hash = $1").bind(hash).execute(&self.pool).await?;
        Ok(())
    }

    /// Ends all tokens of an account but one.
    pub async fn delete_tokens_of(&self, account: &str, but: Option<&str>) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM tokens WHERE account = $1 AND hash <> $2")
            .bind(account)
            .bind(but.unwrap_or_default())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The phone account of each account that has one.
    pub async fn own_phones(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query("SELECT account, phone FROM account_phones").fetch_all(&self.pool).await?;
        let one = |r: &sqlx::sqlite::SqliteRow| Ok((r.try_get("account")?, r.try_get("phone")?));
        Ok(rows.iter().map(one).collect::<Result<_, sqlx::Error>>()?)
    }

    /// Binds an account to a phone account, or to none.
    pub async fn put_own_phone(&self, account: &str, phone: Option<&str>) -> Result<(), StoreError> {
        match phone {
            Some(phone) => {
                sqlx::query(
                    "INSERT INTO account_phones (account, phone) VALUES ($1, $2)
                     ON CONFLICT (account) DO UPDATE SET phone = excluded.phone",
                )
                .bind(account)
                .bind(phone)
                .execute(&self.pool)
                .await?
            }
            None => {
                sqlx::query("DELETE FROM account_phones WHERE account = $1").bind(account).execute(&self.pool).await?
            }
        };
        Ok(())
    }
}
