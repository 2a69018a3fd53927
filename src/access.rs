//! Who may do what: accounts, tokens, limited sign-in attempts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use dashmap::DashMap;
use sha2::{Digest, Sha256};

use crate::settings;
use crate::store::{AccountRow, Role, Store, StoreError, TokenRow};

/// Shortest password that is taken.
pub const MIN_PASSWORD: usize = 10;
/// Passwords of sign-ins that are checked at once: each takes 19 MiB and a processor.
const CHECKS_AT_ONCE: usize = 2;
/// Names and addresses whose failures are remembered at once.
const MAX_TRACKED: usize = 20_000;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Identity {
    pub account: String,
    pub role: Role,
    pub must_change_password: bool,
    pub expires_at: i64,
    /// SHA-256 of the token in hex: names the session without giving it away.
    pub token_hash: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("name or password is wrong")]
    Wrong,
    #[error("too many attempts; wait {0} s")]
    Locked(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("password check: {0}")]
    Hash(String),
}

#[derive(Default)]
struct Failures {
    recent: Vec<Instant>,
    locked_until: Option<Instant>,
}

struct Shared {
    store: Store,
    limits: settings::Access,
    failures: Mutex<HashMap<String, Failures>>,
    /// Tokens seen lately, so that the database is asked once in a while and not for each request.
    cache: DashMap<String, (Identity, Instant)>,
    /// Sessions that the database refused to take.
    unsaved: DashMap<String, Identity>,
    first_password: PathBuf,
    /// A hash that no password has, checked for unknown names so that they cost the same time.
    decoy: String,
    /// Who may have a password checked now.
    turns: tokio::sync::Semaphore,
}

/// The door keeper. Cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

/// How long a checked token is believed without asking the database again.
const CACHE_FOR: Duration = Duration::from_secs(10);

pub(crate) fn hash_of(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

pub(crate) fn random_word(bytes: usize) -> String {
    use base64::Engine;
    let raw: Vec<u8> = (0..bytes).map(|_| rand::random::<u8>()).collect();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(raw)
}

/// A password that a person can read aloud: four groups of four letters and digits without look-alikes (about 79 bits).
pub fn readable_password() -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let group = || -> String { (0..4).map(|_| LETTERS[rand::random_range(0..LETTERS.len())] as char).collect() };
    [group(), group(), group(), group()].join("-")
}

async fn hash_password(password: String) -> Result<String, SignInError> {
    let hashed = tokio::task::spawn_blocking(move || {
        Argon2::default().hash_password(password.as_bytes()).map(|h| h.to_string()).map_err(|e| e.to_string())
    })
    .await;
    hashed.map_err(|e| SignInError::Hash(e.to_string()))?.map_err(SignInError::Hash)
}

async fn verify(password: String, hash: String) -> bool {
    tokio::task::spawn_blocking(move || {
        PasswordHash::new(&hash).is_ok_and(|h| Argon2::default().verify_password(password.as_bytes(), &h).is_ok())
    })
    .await
    .unwrap_or(false)
}

impl Access {
    /// Opens the door keeper. When there is no account yet it makes `admin` with a one-time password, which is returned and
    /// kept in a file that only the owner can read until it was changed.
    pub async fn open(
        store: Store,
        limits: settings::Access,
        data: &std::path::Path,
    ) -> Result<(Self, Option<String>), SignInError> {
        let decoy = hash_password(random_word(18)).await?;
        let first_password = data.join("first-password");
        let access = Access(Arc::new(Shared {
            store,
            limits,
            failures: Mutex::default(),
            cache: DashMap::new(),
            unsaved: DashMap::new(),
            first_password,
            decoy,
            turns: tokio::sync::Semaphore::new(CHECKS_AT_ONCE),
        }));
        let first = access.first_account().await?;
        Ok((access, first))
    }

    async fn first_account(&self) -> Result<Option<String>, SignInError> {
        if !self.0.store.accounts().await?.is_empty() {
            // A restart before the first sign-in shows the same one-time password again.
            return Ok(std::fs::read_to_string(&self.0.first_password).ok().map(|p| p.trim().to_owned()));
        }
        let password = readable_password();
        self.add_account("admin", &password, Role::Admin, true).await?;
        if let Err(error) = write_private(&self.0.first_password, &password) {
            tracing::error!(path = %self.0.first_password.display(), %error, "cannot keep the first password");
        }
        Ok(Some(password))
    }

    /// False if the name is taken.
    pub async fn add_account(
        &self,
        name: &str,
        password: &str,
        role: Role,
        must_change: bool,
    ) -> Result<bool, SignInError> {
        let password_hash = hash_password(password.to_owned()).await?;
        let created_at = jiff::Timestamp::now().as_millisecond();
        let row = AccountRow { name: name.to_owned(), role, password_hash, must_change, created_at };
        Ok(self.0.store.add_account(&row).await?)
    }

    /// Gives a token for a name and password.
    pub async fn sign_in(&self, name: &str, password: &str, from: IpAddr) -> Result<(String, Identity), SignInError> {
        let keys = [format!("name {name}"), format!("address {from}")];
        let _turn = self.turn(&keys).await?;
        let account = self.0.store.account(name).await?;
        let hash = account.as_ref().map_or_else(|| self.0.decoy.clone(), |a| a.password_hash.clone());
        let right = verify(password.to_owned(), hash).await;
        let Some(account) = account.filter(|_| right) else {
            for key in keys {
                self.note_failure(key);
            }
            return Err(SignInError::Wrong);
        };
        let token = random_word(32);
        let now = jiff::Timestamp::now().as_millisecond();
        let expires_at = now + self.lifetime_ms();
        let token_hash = hash_of(&token);
        let row = TokenRow { account: account.name.clone(), expires_at };
        let saved = self.0.store.add_token(&token_hash, &row, now).await;
        let identity = Identity {
            account: account.name,
            role: account.role,
            must_change_password: account.must_change,
            expires_at,
            token_hash: token_hash.clone(),
        };
        if let Err(error) = saved {
            // A full disk must not keep people from the live pictures.
            tracing::error!(%error, "a session is kept in memory only");
            self.0.unsaved.retain(|_, session| session.expires_at > now);
            if self.0.unsaved.len() < 1000 {
                self.0.unsaved.insert(token_hash, identity.clone());
            }
        }
        Ok((token, identity))
    }

    /// Leave to check a password.
    async fn turn(&self, keys: &[String]) -> Result<tokio::sync::SemaphorePermit<'_>, SignInError> {
        let locked = || keys.iter().find_map(|key| self.locked(key)).map_or(Ok(()), |s| Err(SignInError::Locked(s)));
        locked()?;
        let turn = self.0.turns.acquire().await.map_err(|e| SignInError::Hash(e.to_string()))?;
        // Asked again behind the queue: a burst of attempts would pass otherwise.
        locked()?;
        Ok(turn)
    }

    /// Whether somebody at this address may try another token of a guest's link.
    pub fn may_guess(&self, from: IpAddr) -> Result<(), SignInError> {
        self.locked(&format!("guest {from}")).map_or(Ok(()), |s| Err(SignInError::Locked(s)))
    }

    /// Somebody at this address gave a token that no link has.
    pub fn guessed_wrong(&self, from: IpAddr) {
        self.note_failure(format!("guest {from}"));
    }

    fn locked(&self, key: &str) -> Option<u64> {
        let failures = self.0.failures.lock().unwrap_or_else(|p| p.into_inner());
        let until = failures.get(key)?.locked_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left.as_secs() + 1)
    }

    fn note_failure(&self, key: String) {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut failures = self.0.failures.lock().unwrap_or_else(|p| p.into_inner());
        if failures.len() >= MAX_TRACKED {
            failures.retain(|_, f| {
                f.locked_until.is_some_and(|u| u > now) || f.recent.iter().any(|t| now.duration_since(*t) < minute)
            });
        }
        let entry = failures.entry(key).or_default();
        entry.recent.retain(|t| now.duration_since(*t) < minute);
        entry.recent.push(now);
        if entry.recent.len() >= self.0.limits.attempts_per_minute as usize {
            entry.locked_until = Some(now + Duration::from_secs(u64::from(self.0.limits.lock_seconds)));
            entry.recent.clear();
        }
    }

    /// Who a token belongs to; none if it is unknown or has expired.
    pub async fn identify(&self, token: &str) -> Result<Option<Identity>, StoreError> {
        let hash = hash_of(token);
        let now = jiff::Timestamp::now().as_millisecond();
        if let Some(cached) = self.0.cache.get(&hash)
            && cached.1.elapsed() < CACHE_FOR
        {
            return Ok((cached.0.expires_at > now).then(|| cached.0.clone()));
        }
        if let Some(unsaved) = self.0.unsaved.get(&hash) {
            return Ok((unsaved.expires_at > now).then(|| unsaved.clone()));
        }
        let Some(row) = self.0.store.token(&hash).await? else {
            self.0.cache.remove(&hash);
            return Ok(None);
        };
        let Some(account) = self.0.store.account(&row.account).await? else { return Ok(None) };
        if row.expires_at <= now {
            return Ok(None);
        }
        let identity = Identity {
            account: account.name,
            role: account.role,
            must_change_password: account.must_change,
            expires_at: row.expires_at,
            token_hash: hash.clone(),
        };
        if self.0.cache.len() > MAX_TRACKED {
            self.0.cache.clear();
        }
        self.0.cache.insert(hash, (identity.clone(), Instant::now()));
        Ok(Some(identity))
    }

    /// Whether a session still stands: its token was not withdrawn and its time is not over.
    pub async fn still_valid(&self, identity: &Identity) -> bool {
        let now = jiff::Timestamp::now().as_millisecond();
        if let Some(unsaved) = self.0.unsaved.get(&identity.token_hash) {
            return unsaved.expires_at > now;
        }
        // A database that cannot be read is no reason to take the pictures away.
        self.0.store.token(&identity.token_hash).await.map_or(true, |row| row.is_some_and(|r| r.expires_at > now))
    }

    /// Like [`Self::still_valid`] for a session that is in use: its time begins anew, so that a screen that runs for months
    /// stays signed in while one that was left expires.
    pub async fn keep_alive(&self, identity: &Identity) -> bool {
        if !self.still_valid(identity).await {
            return false;
        }
        let expires_at = jiff::Timestamp::now().as_millisecond() + self.lifetime_ms();
        if let Some(mut unsaved) = self.0.unsaved.get_mut(&identity.token_hash) {
            unsaved.expires_at = expires_at;
            return true;
        }
        if let Err(error) = self.0.store.extend_token(&identity.token_hash, expires_at).await {
            tracing::warn!(account = identity.account, %error, "cannot extend a session");
        }
        true
    }

    fn lifetime_ms(&self) -> i64 {
        i64::from(self.0.limits.token_hours) * 3_600_000
    }

    pub async fn sign_out(&self, identity: &Identity) -> Result<(), StoreError> {
        self.0.cache.remove(&identity.token_hash);
        if self.0.unsaved.remove(&identity.token_hash).is_some() {
            return Ok(());
        }
        self.0.store.delete_token(&identity.token_hash).await
    }

    /// Changes the own password; all other tokens of the account end. False: the old password is wrong.
    pub async fn change_password(&self, identity: &Identity, old: &str, new: &str) -> Result<bool, SignInError> {
        let key = format!("name {}", identity.account);
        let _turn = self.turn(std::slice::from_ref(&key)).await?;
        let Some(account) = self.0.store.account(&identity.account).await? else { return Ok(false) };
        if !verify(old.to_owned(), account.password_hash).await {
            self.note_failure(key);
            return Ok(false);
        }
        let hash = hash_password(new.to_owned()).await?;
        self.0.store.set_password(&identity.account, &hash, false).await?;
        self.0.store.delete_tokens_of(&identity.account, Some(&identity.token_hash)).await?;
        self.forget(&identity.account);
        let _ = std::fs::remove_file(&self.0.first_password);
        Ok(true)
    }

    /// An administrator sets somebody's password; it must be changed at the next sign-in.
    pub async fn reset_password(&self, name: &str, new: &str) -> Result<bool, SignInError> {
        let hash = hash_password(new.to_owned()).await?;
        let known = self.0.store.set_password(name, &hash, true).await?;
        self.withdraw(name).await?;
        Ok(known)
    }

    /// Ends all sessions of an account, after its rights changed.
    pub async fn withdraw(&self, name: &str) -> Result<(), StoreError> {
        self.0.store.delete_tokens_of(name, None).await?;
        self.forget(name);
        Ok(())
    }

    fn forget(&self, account: &str) {
        self.0.cache.retain(|_, (identity, _)| identity.account != account);
        self.0.unsaved.retain(|_, identity| identity.account != account);
    }
}

fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn access(dir: &std::path::Path) -> (Access, Option<String>) {
        let store = Store::open(&dir.join("t.db")).await.unwrap();
        Access::open(store, settings::Access::default(), dir).await.unwrap()
    }

    fn from(n: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, n])
    }

    #[tokio::test]
    async fn the_first_password_works_once_it_is_changed() {
        let dir = crate::testing::TempDir::new();
        let (access, first) = access(dir.path()).await;
        let first = first.unwrap();
        let (token, identity) = access.sign_in("admin", &first, from(1)).await.unwrap();
        assert!(identity.must_change_password);
        assert!(access.change_password(&identity, &first, "a new long one").await.unwrap());
        let again = access.identify(&token).await.unwrap().unwrap();
        assert!(!again.must_change_password);
        assert!(!dir.path().join("first-password").exists());
    }

    #[tokio::test]
    async fn five_failures_lock_the_name() {
        let dir = crate::testing::TempDir::new();
        let (access, first) = access(dir.path()).await;
        for n in 0..5 {
            assert!(matches!(access.sign_in("admin", "wrong", from(n)).await, Err(SignInError::Wrong)));
        }
        let locked = access.sign_in("admin", &first.unwrap(), from(9)).await;
        assert!(matches!(locked, Err(SignInError::Locked(_))));
    }

    #[tokio::test]
    async fn a_session_that_the_disk_refused_lives_while_it_is_used_and_ends_when_it_is_told() {
        let dir = crate::testing::TempDir::new();
        let (access, _) = access(dir.path()).await;
        let identity = Identity {
            account: "admin".into(),
            role: Role::Admin,
            must_change_password: false,
            expires_at: jiff::Timestamp::now().as_millisecond() + 60_000,
            token_hash: hash_of("t"),
        };
        access.0.unsaved.insert(hash_of("t"), identity.clone());
        access.0.store.close().await;
        assert!(access.keep_alive(&identity).await);
        assert!(access.identify("t").await.unwrap().unwrap().expires_at > identity.expires_at);
        assert!(access.sign_out(&identity).await.is_ok());
        assert!(access.0.unsaved.is_empty());
    }

    #[tokio::test]
    async fn a_withdrawn_token_ends_at_once() {
        let dir = crate::testing::TempDir::new();
        let (access, first) = access(dir.path()).await;
        let (token, _) = access.sign_in("admin", &first.unwrap(), from(1)).await.unwrap();
        assert!(access.identify(&token).await.unwrap().is_some());
        access.withdraw("admin").await.unwrap();
        assert!(access.identify(&token).await.unwrap().is_none());
    }
}
