//! Secrets of devices and phones, held in memory so that signalling never waits for the database.

use std::sync::Arc;

use bridge_core::{AccountKind, Credentials, Secret};
use dashmap::DashMap;
use md5::{Digest, Md5};

use crate::store::{SecretRow, Store, StoreError};

/// Cheap to clone.
#[derive(Clone)]
pub struct SecretTable {
    store: Store,
    rows: Arc<DashMap<(String, String), SecretRow>>,
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
        Ok(SecretTable { store, rows: Arc::new(rows), device_realm, phone_realm })
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

    pub async fn remove(&self, kind: AccountKind, user: &str) -> Result<bool, StoreError> {
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
}
