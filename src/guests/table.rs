//! Links and guests, without disk and clock: what may come in, and when it is over.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::GuestInfo;
use crate::conference::MemberRole;
use crate::store::{GuestLinkRow, GuestRow, StoreError};

/// Links at once, over all conferences.
const MOST_LINKS: usize = 1000;
/// Guests at once, over all links.
const MOST_GUESTS: usize = 2000;
/// Longest life of a link, minutes: 30 days.
const LONGEST: u32 = 30 * 24 * 60;
/// Most guests of one link.
const MOST_USES: u32 = 500;
/// How long a guest may come back without his link, milliseconds.
const SESSION_MS: i64 = 12 * 3_600_000;
/// How long links that are over are shown, milliseconds.
const SHOWN_MS: i64 = 24 * 3_600_000;
/// Open pages of one guest.
const MOST_PAGES: usize = 4;
/// Texts of one guest within a minute.
const MOST_TEXTS: usize = 20;

/// A link that is to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// Not sent: the conference of the path.
    #[serde(skip)]
    pub conference: String,
    /// What it is for: up to 64 characters.
    #[serde(default)]
    pub name: String,
    /// `speaker` or `listener`.
    #[serde(default)]
    pub role: MemberRole,
    /// Guests may show their camera.
    #[serde(default = "yes")]
    pub camera: bool,
    /// Nobody comes in by it after so many minutes, 1 to 43,200.
    #[serde(default = "a_day")]
    pub minutes: u32,
    /// Guests that may come in by it, 1 to 500; 0: 500.
    #[serde(default)]
    pub uses: u32,
}

fn yes() -> bool {
    true
}

fn a_day() -> u32 {
    1440
}

/// Where a guest is with his conference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuestState {
    /// In front of the door, or in the lobby.
    Outside,
    /// He may join, and come back.
    Admitted,
    /// An operator refused him.
    Refused,
    /// Nobody let him in for too long.
    Late,
    /// The lobby was full.
    Full,
    /// The conference was locked.
    Locked,
    /// He was sent out of the conference.
    Removed,
}

impl GuestState {
    fn as_str(self) -> &'static str {
        match self {
            GuestState::Outside => "outside",
            GuestState::Admitted => "admitted",
            GuestState::Refused => "refused",
            GuestState::Late => "late",
            GuestState::Full => "full",
            GuestState::Locked => "locked",
            GuestState::Removed => "removed",
        }
    }

    fn parse(text: &str) -> GuestState {
        match text {
            "admitted" => GuestState::Admitted,
            "outside" => GuestState::Outside,
            "late" => GuestState::Late,
            "full" => GuestState::Full,
            "locked" => GuestState::Locked,
            "removed" => GuestState::Removed,
            _ => GuestState::Refused,
        }
    }
}

/// Why a link was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum LinkRefused {
    #[error("this link does not exist")]
    Unknown,
    #[error("this link has expired")]
    Expired,
    #[error("this link was withdrawn")]
    Withdrawn,
    #[error("this link was used as often as it may be")]
    UsedUp,
    #[error("too many guests or links: {0} at most")]
    Full(usize),
    #[error("{0}")]
    Invalid(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A guest and his open pages.
pub(super) struct Guest {
    row: GuestRow,
    pages: usize,
    seen: Instant,
    texts: VecDeque<Instant>,
}

pub(super) struct Table {
    links: BTreeMap<String, GuestLinkRow>,
    guests: HashMap<String, Guest>,
}

fn role(word: &str) -> MemberRole {
    if word == "speaker" { MemberRole::Speaker } else { MemberRole::Listener }
}

/// A name as it may be shown; none is left of one that holds nothing.
fn clean(name: &str, most: usize) -> String {
    name.trim().chars().filter(|c| !c.is_control()).take(most).collect()
}

impl Table {
    pub fn new(links: Vec<GuestLinkRow>, guests: Vec<GuestRow>) -> Table {
        let guest = |row: GuestRow| Guest { row, pages: 0, seen: Instant::now(), texts: VecDeque::new() };
        Table {
            links: links.into_iter().map(|l| (l.id.clone(), l)).collect(),
            guests: guests.into_iter().map(|g| (g.hash.clone(), guest(g))).collect(),
        }
    }

    pub fn make_link(&mut self, wish: NewLink, by: &str, hash: String, now: i64) -> Result<GuestLinkRow, LinkRefused> {
        if self.links.len() >= MOST_LINKS {
            return Err(LinkRefused::Full(MOST_LINKS));
        }
        if wish.role == MemberRole::Chair {
            return Err(LinkRefused::Invalid("a guest is speaker or listener"));
        }
        if !(1..=LONGEST).contains(&wish.minutes) {
            return Err(LinkRefused::Invalid("minutes is from 1 to 43200"));
        }
        if wish.uses > MOST_USES {
            return Err(LinkRefused::Invalid("uses is at most 500"));
        }
        let row = GuestLinkRow {
            id: Uuid::now_v7().simple().to_string(),
            hash,
            conference: wish.conference,
            name: clean(&wish.name, 64),
            role: if wish.role == MemberRole::Speaker { "speaker" } else { "listener" }.to_owned(),
            camera: wish.camera,
            created_by: by.to_owned(),
            created_at: now,
            expires_at: now + i64::from(wish.minutes) * 60_000,
            uses: if wish.uses == 0 { MOST_USES } else { wish.uses },
            used: 0,
            withdrawn: false,
        };
        self.links.insert(row.id.clone(), row.clone());
        Ok(row)
    }

    pub fn links_of(&self, conference: &str) -> Vec<(GuestLinkRow, usize)> {
        let count = |id: &str| self.guests.values().filter(|g| g.row.link == id).count();
        self.links.values().filter(|l| l.conference == conference).map(|l| (l.clone(), count(&l.id))).collect()
    }

    pub fn open_link(&self, hash: &str, now: i64) -> Result<&GuestLinkRow, LinkRefused> {
        let link = self.links.values().find(|l| l.hash == hash).ok_or(LinkRefused::Unknown)?;
        if link.withdrawn {
            return Err(LinkRefused::Withdrawn);
        }
        if link.expires_at <= now {
            return Err(LinkRefused::Expired);
        }
        if link.used >= link.uses {
            return Err(LinkRefused::UsedUp);
        }
        Ok(link)
    }

    pub fn enter(
        &mut self,
        link: &str,
        session: String,
        name: &str,
        now: i64,
    ) -> Result<(GuestLinkRow, GuestRow), LinkRefused> {
        let id = self.open_link(link, now)?.id.clone();
        let name = clean(name, 40);
        if name.is_empty() {
            return Err(LinkRefused::Invalid("a guest gives a name of up to 40 characters"));
        }
        if self.guests.len() >= MOST_GUESTS {
            return Err(LinkRefused::Full(MOST_GUESTS));
        }
        let link = self.links.get_mut(&id).ok_or(LinkRefused::Unknown)?;
        link.used += 1;
        let state = GuestState::Outside.as_str().to_owned();
        let row = GuestRow { hash: session, link: id, name, state, created_at: now };
        let guest = Guest { row: row.clone(), pages: 0, seen: Instant::now(), texts: VecDeque::new() };
        self.guests.insert(row.hash.clone(), guest);
        Ok((link.clone(), row))
    }

    pub fn info(&self, hash: &str, now: i64) -> Option<GuestInfo> {
        let row = &self.guests.get(hash).filter(|g| now < g.row.created_at + SESSION_MS)?.row;
        let link = self.links.get(&row.link)?;
        Some(GuestInfo {
            hash: row.hash.clone(),
            name: row.name.clone(),
            state: GuestState::parse(&row.state),
            created_at: row.created_at,
            link: link.id.clone(),
            from: link.name.clone(),
            conference: link.conference.clone(),
            role: role(&link.role),
            camera: link.camera,
        })
    }

    pub fn set_state(&mut self, hash: &str, state: GuestState) -> Option<GuestRow> {
        let guest = self.guests.get_mut(hash)?;
        state.as_str().clone_into(&mut guest.row.state);
        Some(guest.row.clone())
    }

    pub fn withdraw(&mut self, conference: &str, id: &str, leave: bool) -> Option<(GuestLinkRow, Vec<GuestInfo>)> {
        let link = self.links.get_mut(id).filter(|l| l.conference == conference)?;
        link.withdrawn = true;
        let link = link.clone();
        let mut gone = Vec::new();
        if leave {
            let of: Vec<String> =
                self.guests.values().filter(|g| g.row.link == id).map(|g| g.row.hash.clone()).collect();
            // Those whose time is over are gone as well.
            gone.extend(of.iter().filter_map(|hash| self.info(hash, i64::MIN)));
            self.guests.retain(|_, g| g.row.link != id);
        }
        Some((link, gone))
    }

    pub fn forget_link(&mut self, id: &str) {
        self.links.remove(id);
        self.guests.retain(|_, g| g.row.link != id);
    }

    pub fn forget_guest(&mut self, hash: &str) {
        self.guests.remove(hash);
    }

    /// Gives the links.
    pub fn forget_conference(&mut self, conference: &str) -> Vec<String> {
        let ids: Vec<String> =
            self.links.values().filter(|l| l.conference == conference).map(|l| l.id.clone()).collect();
        ids.iter().for_each(|id| self.forget_link(id));
        ids
    }

    pub fn may_write(&mut self, hash: &str) -> bool {
        let Some(guest) = self.guests.get_mut(hash) else { return false };
        guest.texts.retain(|t| t.elapsed() < Duration::from_secs(60));
        let may = guest.texts.len() < MOST_TEXTS;
        if may {
            guest.texts.push_back(Instant::now());
        }
        may
    }

    pub fn arrived(&mut self, hash: &str) -> bool {
        let Some(guest) = self.guests.get_mut(hash).filter(|g| g.pages < MOST_PAGES) else { return false };
        guest.pages += 1;
        true
    }

    pub fn departed(&mut self, hash: &str) {
        if let Some(guest) = self.guests.get_mut(hash) {
            guest.pages = guest.pages.saturating_sub(1);
            guest.seen = Instant::now();
        }
    }

    /// Those in front of a door whose page has been gone for so long, with their conference.
    pub fn absent(&self, after: Duration) -> Vec<(String, String)> {
        let outside = GuestState::Outside.as_str();
        let gone = |g: &&Guest| g.pages == 0 && g.row.state == outside && g.seen.elapsed() >= after;
        let with = |g: &Guest| Some((self.links.get(&g.row.link)?.conference.clone(), g.row.hash.clone()));
        self.guests.values().filter(gone).filter_map(with).collect()
    }

    /// Guests whose time is over, and links that nobody needs to see any more.
    pub fn over(&self, now: i64) -> (Vec<String>, Vec<String>) {
        let late = |g: &&Guest| now >= g.row.created_at + SESSION_MS;
        let guests = self.guests.values().filter(late).map(|g| g.row.hash.clone()).collect();
        let used = |id: &str| self.guests.values().any(|g| g.row.link == id);
        let old = |l: &&GuestLinkRow| (l.withdrawn || l.expires_at + SHOWN_MS <= now) && !used(&l.id);
        (guests, self.links.values().filter(old).map(|l| l.id.clone()).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn wish() -> NewLink {
        let (conference, name, role) = ("c".into(), "press".into(), MemberRole::Listener);
        NewLink { conference, name, role, camera: false, minutes: 60, uses: 2 }
    }

    fn table() -> (Table, GuestLinkRow) {
        let mut t = Table::new(Vec::new(), Vec::new());
        let link = t.make_link(wish(), "op", "h".into(), 0).unwrap();
        (t, link)
    }

    #[test]
    fn a_link_ends_by_time_and_by_number() {
        let (mut t, _) = table();
        assert!(matches!(t.enter("other", "s0".into(), "A", 1), Err(LinkRefused::Unknown)));
        assert!(matches!(t.enter("h", "s0".into(), " \u{7} ", 1), Err(LinkRefused::Invalid(_))));
        t.enter("h", "s1".into(), "A", 1).unwrap();
        t.enter("h", "s2".into(), "B", 2).unwrap();
        assert!(matches!(t.enter("h", "s3".into(), "C", 3), Err(LinkRefused::UsedUp)));
        let (mut t, _) = table();
        assert!(t.enter("h", "s1".into(), "A", HOUR - 1).is_ok());
        assert!(matches!(t.enter("h", "s2".into(), "A", HOUR), Err(LinkRefused::Expired)));
        // Who is in stays when the link has expired, and not for ever.
        assert!(t.info("s1", 2 * HOUR).is_some());
        assert!(t.info("s1", 13 * HOUR).is_none());
        assert_eq!(t.over(13 * HOUR).0, ["s1"]);
    }

    #[test]
    fn withdrawn_with_its_guests_or_without() {
        for leave in [false, true] {
            let (mut t, link) = table();
            t.enter("h", "s1".into(), "A", 1).unwrap();
            assert!(t.withdraw("another", &link.id, leave).is_none(), "of another conference");
            let (_, gone) = t.withdraw("c", &link.id, leave).unwrap();
            assert!(matches!(t.enter("h", "s2".into(), "B", 2), Err(LinkRefused::Withdrawn)));
            assert_eq!((gone.len(), t.info("s1", 2).is_some()), (usize::from(leave), !leave));
        }
    }

    #[test]
    fn no_guest_is_a_chair_and_none_writes_without_end() {
        let (mut t, _) = table();
        let chair = NewLink { role: MemberRole::Chair, ..wish() };
        assert!(matches!(t.make_link(chair, "op", "x".into(), 0), Err(LinkRefused::Invalid(_))));
        t.enter("h", "s1".into(), "A", 1).unwrap();
        assert_eq!((0..50).filter(|_| t.may_write("s1")).count(), MOST_TEXTS);
        assert_eq!((0..50).filter(|_| t.arrived("s1")).count(), MOST_PAGES);
        assert!(!t.may_write("nobody") && !t.arrived("nobody"));
        let info = t.info("s1", 2).unwrap();
        assert_eq!((info.role, info.camera, info.state), (MemberRole::Listener, false, GuestState::Outside));
    }

    #[test]
    fn who_closed_the_page_leaves_the_lobby() {
        let (mut t, _) = table();
        t.enter("h", "s1".into(), "A", 1).unwrap();
        assert_eq!(t.absent(Duration::ZERO), [("c".to_owned(), "s1".to_owned())]);
        assert!(t.absent(Duration::from_secs(60)).is_empty());
        t.arrived("s1");
        assert!(t.absent(Duration::ZERO).is_empty());
        t.departed("s1");
        t.set_state("s1", GuestState::Admitted);
        assert!(t.absent(Duration::ZERO).is_empty(), "who is in the conference is not in its lobby");
    }
}
