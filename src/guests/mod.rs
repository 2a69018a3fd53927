//! Guests: people without an account who come into one conference by a link. What a guest may do is in `src/api/guest.rs`; no other
//! part of the API knows his session.

mod table;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use media_webrtc::LegId;
use tokio::sync::watch;

use crate::access::{hash_of, random_word};
use crate::api::Shared as AppShared;
use crate::conference::{GuestDoor, MemberRole};
use crate::store::{GuestLinkRow, Store, StoreError};

use table::Table;
pub use table::{GuestState, LinkRefused, NewLink};

/// A guest whose page is gone for so long leaves the lobby.
const ABSENT: Duration = Duration::from_secs(20);

struct Shared {
    store: Store,
    table: Mutex<Table>,
    changed: watch::Sender<u64>,
}

/// All guests and their links. Cheap to clone.
#[derive(Clone)]
pub struct Guests(Arc<Shared>);

/// A guest as handlers see him.
#[derive(Debug, Clone)]
pub struct GuestInfo {
    /// SHA-256 of the session's token in hex.
    pub hash: String,
    pub name: String,
    pub state: GuestState,
    pub created_at: i64,
    pub link: String,
    /// The name of the link.
    pub from: String,
    pub conference: String,
    pub role: MemberRole,
    pub camera: bool,
}

impl GuestInfo {
    /// By which a conference knows him when he comes back. No account's name holds a colon.
    pub fn who(&self) -> String {
        format!("guest:{}", self.hash)
    }

    /// Who wrote a text of his: names him among guests without telling the whole hash.
    pub fn sender(&self) -> String {
        format!("guest:{}", self.hash.get(..12).unwrap_or_default())
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Guests {
    /// Reads links and guests of before.
    pub async fn open(store: Store) -> Result<Self, StoreError> {
        let table = Table::new(store.guest_links().await?, store.guests().await?);
        Ok(Guests(Arc::new(Shared { store, table: Mutex::new(table), changed: watch::Sender::new(0) })))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Rises when something of a guest changed that the conference does not tell.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    fn tell(&self) {
        self.0.changed.send_modify(|n| *n += 1);
    }

    /// Makes a link. Gives its token, which is not kept.
    pub async fn make_link(&self, wish: NewLink, by: &str) -> Result<(GuestLinkRow, String), LinkRefused> {
        let token = random_word(32);
        let row = self.lock().make_link(wish, by, hash_of(&token), now())?;
        if let Err(error) = self.0.store.put_guest_link(&row).await {
            self.lock().forget_link(&row.id);
            return Err(LinkRefused::Store(error));
        }
        Ok((row, token))
    }

    /// The links of a conference, each with the number of its guests.
    pub fn links(&self, conference: &str) -> Vec<(GuestLinkRow, usize)> {
        self.lock().links_of(conference)
    }

    /// A link shuts. With `leave` its guests are gone too: gives them.
    pub async fn withdraw(&self, conference: &str, id: &str, leave: bool) -> Option<Vec<GuestInfo>> {
        let (row, gone) = self.lock().withdraw(conference, id, leave)?;
        self.tell();
        let mut done = self.0.store.put_guest_link(&row).await;
        for guest in &gone {
            done = done.and(self.0.store.delete_guest(&guest.hash).await);
        }
        if let Err(error) = done {
            tracing::error!(link = id, %error, "a withdrawn link could not be written down: a restart would open it again");
        }
        Some(gone)
    }

    /// Forgets all links and guests of a conference that has ended.
    pub async fn conference_ended(&self, conference: &str) {
        let gone = self.lock().forget_conference(conference);
        self.tell();
        for id in gone {
            if let Err(error) = self.0.store.delete_guest_link(&id).await {
                tracing::error!(link = id, %error, "the link of an ended conference could not be deleted");
            }
        }
    }

    /// The link behind a token, if it is open now.
    pub fn look(&self, token: &str) -> Result<GuestLinkRow, LinkRefused> {
        self.lock().open_link(&hash_of(token), now()).cloned()
    }

    /// A guest comes by a link. Gives the token of his session.
    pub async fn enter(&self, token: &str, name: &str) -> Result<(String, GuestInfo), LinkRefused> {
        let session = random_word(32);
        let (link, row) = self.lock().enter(&hash_of(token), hash_of(&session), name, now())?;
        let stored = self.0.store.put_guest_link(&link).await.and(self.0.store.put_guest(&row).await);
        if let Err(error) = stored {
            // A full disk must not keep anybody from the conference.
            tracing::error!(%error, "a guest's session is kept in memory only");
        }
        let info = self.find(&row.hash).ok_or(LinkRefused::Unknown)?;
        Ok((session, info))
    }

    /// The guest of a session's token.
    pub fn identify(&self, token: &str) -> Option<GuestInfo> {
        self.find(&hash_of(token))
    }

    pub fn find(&self, hash: &str) -> Option<GuestInfo> {
        self.lock().info(hash, now())
    }

    /// Whether a session stands.
    pub fn valid(&self, hash: &str) -> bool {
        self.find(hash).is_some()
    }

    pub async fn set_state(&self, hash: &str, state: GuestState) {
        let row = self.lock().set_state(hash, state);
        self.tell();
        if let Some(row) = row
            && let Err(error) = self.0.store.put_guest(&row).await
        {
            tracing::error!(%error, "the state of a guest could not be written");
        }
    }

    /// A guest leaves for good.
    pub async fn leave(&self, hash: &str) {
        self.lock().forget_guest(hash);
        self.tell();
        if let Err(error) = self.0.store.delete_guest(hash).await {
            tracing::error!(%error, "a guest who left could not be deleted");
        }
    }

    /// False: he writes too much.
    pub fn may_write(&self, hash: &str) -> bool {
        self.lock().may_write(hash)
    }

    /// The page of a guest is open until the returned value is dropped. None: too many pages of one guest.
    pub fn present(&self, hash: &str) -> Option<Presence> {
        self.lock().arrived(hash).then(|| Presence { guests: self.clone(), hash: hash.to_owned() })
    }
}

/// An open page of a guest.
pub struct Presence {
    guests: Guests,
    hash: String,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.guests.lock().departed(&self.hash);
    }
}

/// Takes a guest to the door of his conference: he is let in, waits, or finds it locked.
pub async fn to_the_door(app: &AppShared, guest: &GuestInfo) {
    if guest.state != GuestState::Outside {
        return;
    }
    match app.conferences.guest_door(&guest.conference, false) {
        Some(GuestDoor::Open) => app.guests.set_state(&guest.hash, GuestState::Admitted).await,
        Some(GuestDoor::Lobby) => {
            let waits = app.conferences.guest_waits(&guest.conference, &guest.hash, &guest.name, &guest.from);
            if let Err(error) = waits {
                tracing::warn!(%error, "a guest found no place in the lobby");
                app.guests.set_state(&guest.hash, GuestState::Full).await;
            }
        }
        Some(GuestDoor::Locked) => app.guests.set_state(&guest.hash, GuestState::Locked).await,
        None => {}
    }
}

/// Hangs up on guests who are no longer welcome.
pub fn close_legs(app: &AppShared, hash: &str) {
    for leg in app.legs.of_guest(hash) {
        app.endpoint.close(leg);
    }
}

/// Ends waits that are too long, and forgets guests whose time is over.
pub async fn run(app: AppShared) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seconds = 0u64;
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = second.tick() => {}
        }
        for (_, session) in app.conferences.end_long_waits() {
            app.guests.set_state(&session, GuestState::Late).await;
        }
        let absent: Vec<(String, String)> = app.guests.lock().absent(ABSENT);
        for (conference, hash) in absent {
            app.conferences.guest_gone(&conference, &hash);
        }
        seconds += 1;
        if seconds.is_multiple_of(60) {
            let (guests, links) = app.guests.lock().over(now());
            for hash in guests {
                close_legs(&app, &hash);
                app.guests.leave(&hash).await;
            }
            for link in links {
                app.guests.lock().forget_link(&link);
                if let Err(error) = app.store.delete_guest_link(&link).await {
                    tracing::error!(%error, "an old link could not be deleted");
                }
            }
        }
    }
}

/// The leg of a guest that carries his camera and microphone.
pub fn member_leg(app: &AppShared, guest: &GuestInfo) -> Option<LegId> {
    app.conferences
        .guest_member(&guest.who())
        .and_then(|(id, m)| app.conferences.leg_of(&id, &bridge_core::MemberId(m.id)))
}
