//! Secrets of devices and phones, held in memory so that signalling never waits for the database.

use std::sync::Arc;

use bridge_core::{AccountKind, Credentials, Forwards, Secret};
use dashmap::DashMap;
use md5::{Digest, Md5};

use crate::store::{SecretRow, Store, StoreError};

/// Cheap to clone.
#[derive(Clone)]
pub struct SecretTable {
    store: Store,
    rows: Arc<DashMap<(String, String), SecretRow>>,
    forwards: Arc<DashMap<String, Forwards>>,
    device_realm: String,
    phone_realm: String,
}

fn kind_word(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Gb28181Device => "device",
        AccountKind::Phone => "phone",
    }
}

impl SecretTable {
    pub async fn load(store: Store, device_realm: String, phone_realm: String) -> Result<Self, StoreError> {
        let rows = store.secrets().await?.into_iter().map(|r| ((r.kind.clone(), r.name.clone()), r)).collect();
        let forwards = Arc::new(store.forwards().await?.into_iter().collect());
        Ok(SecretTable { store, rows: Arc::new(rows), forwards, device_realm, phone_realm })
    }

    /// Stores H(A1) of the password, never the password.
    pub async fn set(&self, kind: AccountKind, user: &str, display: &str, password: &str) -> Result<(), StoreError> {
        let realm = match kind {
            AccountKind::Gb28181Device => &self.device_realm,
            AccountKind::Phone => &self.phone_realm,
        };
        let ha1 = hex::encode(Md5::digest(format!("{user}:{realm}:{password}").as_bytes()));
        let kind = kind_word(kind).to_owned();
        let row = SecretRow { kind: kind.clone(), name: user.to_owned(), display: display.to_owned(), ha1 };
        self.store.put_secret(&row).await?;
        self.rows.insert((kind, user.to_owned()), row);
        Ok(())
    }

    /// Sets where the calls of a phone account go.
    pub async fn set_forwards(&self, user: &str, forwards: Forwards) -> Result<(), StoreError> {
        self.store.put_forwards(user, &forwards).await?;
        self.forwards.insert(user.to_owned(), forwards);
        Ok(())
    }

    pub async fn remove(&self, kind: AccountKind, user: &str) -> Result<bool, StoreError> {
        if kind == AccountKind::Phone {
            self.forwards.remove(user);
            self.store.delete_forwards(user).await?;
        }
        let kind = kind_word(kind);
        self.rows.remove(&(kind.to_owned(), user.to_owned()));
        self.store.delete_secret(kind, user).await
    }

    /// Users of a kind with their shown names, ordered.
    pub fn users(&self, kind: AccountKind) -> Vec<(String, String)> {
        let mut users: Vec<(String, String)> = self
            .rows
            .iter()
            .filter(|r| r.kind == kind_word(kind))
            .map(|r| (r.name.clone(), r.display.clone()))
            .collect();
        users.sort();
        users
    }
}

impl Credentials for SecretTable {
    fn secret(&self, kind: AccountKind, user: &str) -> Option<Secret> {
        self.rows.get(&(kind_word(kind).to_owned(), user.to_owned())).map(|r| Secret::Ha1(r.ha1.clone()))
    }

    fn display_name(&self, kind: AccountKind, user: &str) -> Option<String> {
        self.rows.get(&(kind_word(kind).to_owned(), user.to_owned())).map(|r| r.display.clone())
    }

    fn forwards(&self, user: &str) -> Forwards {
        self.forwards.get(user).map(|f| f.clone()).unwrap_or_default()
    }
}
