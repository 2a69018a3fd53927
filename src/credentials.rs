//! Secrets of devices and phones, held in memory so that signalling never waits for the database.

use std::sync::Arc;

use bridge_core::{AccountKind, Credentials, Forwards, QueueRule, Secret, TICKET};
use dashmap::DashMap;
use md5::{Digest, Md5};

use crate::access::Identity;
use crate::softphone::{Ticket, Tickets};
use crate::store::{DeskKind, SecretRow, Store, StoreError};

/// Cheap to clone.
#[derive(Clone)]
pub struct SecretTable {
    store: Store,
    rows: Arc<DashMap<(String, String), SecretRow>>,
    forwards: Arc<DashMap<String, Forwards>>,
    /// The phone account of accounts of the console, for the telephone in the browser.
    own_phones: Arc<DashMap<String, String>>,
    pub tickets: Tickets,
    queues: Arc<DashMap<String, QueueRule>>,
    /// Pick-up groups with their accounts.
    groups: Arc<DashMap<String, Vec<String>>>,
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
        let own_phones = Arc::new(store.own_phones().await?.into_iter().collect());
        let tickets = Tickets::default();
        let queues = Arc::new(store.desk_items(DeskKind::Queue).await?.into_iter().collect());
        let groups = Arc::new(store.desk_items(DeskKind::PickupGroup).await?.into_iter().collect());
        let rows = Arc::new(rows);
        Ok(SecretTable { store, rows, forwards, own_phones, tickets, queues, groups, device_realm, phone_realm })
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

    /// Makes or changes a queue.
    pub async fn set_queue(&self, rule: QueueRule) -> Result<(), StoreError> {
        self.store.put_desk_item(DeskKind::Queue, &rule.number, &rule).await?;
        self.queues.insert(rule.number.clone(), rule);
        Ok(())
    }

    pub async fn remove_queue(&self, number: &str) -> Result<bool, StoreError> {
        self.queues.remove(number);
        self.store.delete_desk_item(DeskKind::Queue, number).await
    }

    /// The pick-up groups, by name.
    pub fn pickup_groups(&self) -> Vec<(String, Vec<String>)> {
        let mut all: Vec<_> = self.groups.iter().map(|g| (g.key().clone(), g.value().clone())).collect();
        all.sort();
        all
    }

    pub async fn set_pickup_group(&self, name: &str, members: Vec<String>) -> Result<(), StoreError> {
        self.store.put_desk_item(DeskKind::PickupGroup, name, &members).await?;
        self.groups.insert(name.to_owned(), members);
        Ok(())
    }

    pub async fn remove_pickup_group(&self, name: &str) -> Result<bool, StoreError> {
        self.groups.remove(name);
        self.store.delete_desk_item(DeskKind::PickupGroup, name).await
    }

    pub async fn remove(&self, kind: AccountKind, user: &str) -> Result<bool, StoreError> {
        if kind == AccountKind::Phone {
            let bound: Vec<String> =
                self.own_phones.iter().filter(|p| p.value() == user).map(|p| p.key().clone()).collect();
            for account in bound {
                self.bind_phone(&account, None).await?;
            }
            self.tickets.end_phone(user);
            self.forwards.remove(user);
            self.store.delete_forwards(user).await?;
        }
        let kind = kind_word(kind);
        self.rows.remove(&(kind.to_owned(), user.to_owned()));
        self.store.delete_secret(kind, user).await
    }

    /// The phone account that an account of the console telephones as.
    pub fn own_phone(&self, account: &str) -> Option<String> {
        self.own_phones.get(account).map(|p| p.clone())
    }

    /// Binds an account of the console to a phone account, or to none; its soft phones end.
    pub async fn bind_phone(&self, account: &str, phone: Option<&str>) -> Result<(), StoreError> {
        self.store.put_own_phone(account, phone).await?;
        match phone {
            Some(phone) => self.own_phones.insert(account.to_owned(), phone.to_owned()),
            None => self.own_phones.remove(account).map(|(_, phone)| phone),
        };
        self.tickets.end(|i| i.account == account);
        Ok(())
    }

    /// A ticket for the browser of a sign-in; none where there are too many.
    pub fn ticket(&self, identity: &Identity, phone: &str) -> Option<Ticket> {
        self.tickets.issue(identity, phone, &self.phone_realm)
    }

    /// The realm of phone accounts.
    pub fn phone_realm(&self) -> &str {
        &self.phone_realm
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
        if kind == AccountKind::Phone && user.contains(TICKET) {
            return self.tickets.ha1(user).map(Secret::Ha1);
        }
        self.rows.get(&(kind_word(kind).to_owned(), user.to_owned())).map(|r| Secret::Ha1(r.ha1.clone()))
    }

    fn display_name(&self, kind: AccountKind, user: &str) -> Option<String> {
        self.rows.get(&(kind_word(kind).to_owned(), user.to_owned())).map(|r| r.display.clone())
    }

    fn queues(&self) -> Vec<QueueRule> {
        let mut all: Vec<QueueRule> = self.queues.iter().map(|q| q.value().clone()).collect();
        all.sort_by(|a, b| a.number.cmp(&b.number));
        all
    }

    fn queue(&self, number: &str) -> Option<QueueRule> {
        self.queues.get(number).map(|q| q.value().clone())
    }

    fn pick_up_together(&self, one: &str, other: &str) -> bool {
        let holds = |group: &Vec<String>, who: &str| group.iter().any(|m| m == who);
        self.groups.iter().any(|group| holds(&group, one) && holds(&group, other))
    }

    fn forwards(&self, user: &str) -> Forwards {
        self.forwards.get(user).map(|f| f.clone()).unwrap_or_default()
    }
}
