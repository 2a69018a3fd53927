//! Conferences joined in pairs (a patch): each is a member of the other, whose sound is the other's mix without its own.
//!
//! Where one talks at a time, the member that stands for the other conference asks for the floor in its talkers' names, so that a
//! name stays what it is over any number of patches. Patches form a tree: one that would close a ring is refused, since what is
//! said would come round again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use bridge_core::{Key, Link, MemberId, TalkerIdentity, Text, Timestamp};
use media_core::Codec;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::member::{MemberKind, MemberState, MutedBy};
use super::rooms::{ConferenceError, Conferences};
use crate::events::Severity;
use crate::store::PatchRow;

/// Patches at once.
const MOST: usize = 256;
/// Longest time limit, minutes: a week.
const LONGEST: u32 = 7 * 24 * 60;
/// Where all may talk at once, a pause of this length ends a turn in the other conference.
const HANG: Duration = Duration::from_millis(800);

/// Who was refused the floor of the other conference, because nobody was there to hear it, asks again so often.
const AGAIN: Duration = Duration::from_millis(500);

/// Two conferences to be joined.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPatch {
    /// Ids of conferences.
    pub a: String,
    pub b: String,
    /// What `a` says is heard in `b`.
    #[serde(default = "yes")]
    pub a_to_b: bool,
    #[serde(default = "yes")]
    pub b_to_a: bool,
    /// Ends by itself after so many minutes, 1 to 10,080; none: by hand.
    pub minutes: Option<u32>,
}

fn yes() -> bool {
    true
}

/// What is to change; what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchChange {
    pub a_to_b: Option<bool>,
    pub b_to_a: Option<bool>,
    /// From now on; 0: no limit.
    pub minutes: Option<u32>,
}

/// A patch as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PatchView {
    pub id: String,
    pub a: String,
    pub b: String,
    pub a_to_b: bool,
    pub b_to_a: bool,
    #[schema(value_type = Option<String>)]
    pub until: Option<Timestamp>,
}

/// One way through a patch: what `from` says comes to `to` by the member there.
#[derive(Debug, Clone)]
struct Way {
    from: String,
    to: String,
    /// Stands in `from` for the other conference, and in `to`.
    there: MemberId,
    here: MemberId,
    open: bool,
    asked: Option<Asked>,
}

/// In whose name the floor of `to` was asked for, when that was, and when a voice was last heard.
#[derive(Debug, Clone)]
struct Asked {
    by: TalkerIdentity,
    at: Instant,
    heard: Instant,
}

#[derive(Debug)]
pub(super) struct Patch {
    row: PatchRow,
    /// From a to b, and from b to a.
    ways: [Way; 2],
}

impl Patch {
    fn view(&self) -> PatchView {
        let PatchRow { id, a, b, a_to_b, b_to_a, until } = self.row.clone();
        let until = until.map(Timestamp);
        PatchView { id, a, b, a_to_b, b_to_a, until }
    }
}

pub(super) type Patches = BTreeMap<String, Patch>;

/// Whether `a` and `b` are joined, over however many conferences.
fn joined(patches: &Patches, a: &str, b: &str) -> bool {
    let mut seen = BTreeSet::from([a]);
    let mut next = vec![a];
    while let Some(at) = next.pop() {
        if at == b {
            return true;
        }
        for row in patches.values().map(|p| &p.row) {
            for (from, to) in [(&row.a, &row.b), (&row.b, &row.a)] {
                if from == at && seen.insert(to) {
                    next.push(to);
                }
            }
        }
    }
    false
}

fn until(minutes: Option<u32>) -> Result<Option<i64>, ConferenceError> {
    match minutes {
        None | Some(0) => Ok(None),
        Some(m) if m <= LONGEST => Ok(Some(jiff::Timestamp::now().as_millisecond() + i64::from(m) * 60_000)),
        Some(_) => Err(ConferenceError::Invalid(format!("minutes must be at most {LONGEST}"))),
    }
}

/// What is to be done with a key in another conference.
type Press = (String, MemberId, Key);

impl Conferences {
    fn patches(&self) -> MutexGuard<'_, Patches> {
        self.0.patches.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub fn all_patches(&self) -> Vec<PatchView> {
        self.patches().values().map(Patch::view).collect()
    }

    fn tell_patches(&self) {
        self.0.events.tell("patches", serde_json::json!({ "patches": self.all_patches() }));
    }

    /// Joins the stored patches again.
    pub(super) async fn open_patches(&self) -> Result<(), ConferenceError> {
        for row in self.0.store.patches().await? {
            let id = row.id.clone();
            if let Err(error) = self.join(row) {
                tracing::warn!(patch = id, %error, "a stored patch could not be joined again");
                let _ = self.0.store.delete_patch(&id).await;
            }
        }
        Ok(())
    }

    pub async fn patch(&self, wish: NewPatch) -> Result<PatchView, ConferenceError> {
        let NewPatch { a, b, a_to_b, b_to_a, minutes } = wish;
        let row = PatchRow { id: Uuid::now_v7().simple().to_string(), a, b, a_to_b, b_to_a, until: until(minutes)? };
        self.join(row.clone())?;
        self.save_patch(&row).await;
        let view = self.patches().get(&row.id).map(Patch::view);
        view.ok_or(ConferenceError::NoPatch(row.id))
    }

    fn join(&self, row: PatchRow) -> Result<(), ConferenceError> {
        if row.a == row.b {
            return Err(ConferenceError::Invalid("a conference cannot be joined to itself".into()));
        }
        let ways = {
            let mut patches = self.patches();
            if patches.len() >= MOST {
                return Err(ConferenceError::Invalid(format!("at most {MOST} patches")));
            }
            if joined(&patches, &row.a, &row.b) {
                return Err(ConferenceError::PatchRing);
            }
            let mut rooms = self.lock();
            let name = |id: &str| rooms.get(id).map(|r| r.row.name.clone());
            let missing = |id: &str| ConferenceError::NoConference(id.to_owned());
            let a_name = name(&row.a).ok_or_else(|| missing(&row.a))?;
            let b_name = name(&row.b).ok_or_else(|| missing(&row.b))?;
            let mut seats = Vec::with_capacity(2);
            for (at, other) in [(&row.a, &b_name), (&row.b, &a_name)] {
                let room = rooms.get_mut(at).ok_or_else(|| missing(at))?;
                match self.seat(room, MemberKind::Patch, other, Link::Lan) {
                    Ok(member) => seats.push(member),
                    Err(full) => {
                        if let (Some(first), Some(room)) = (seats.first(), rooms.get_mut(&row.a)) {
                            room.members.remove(first);
                        }
                        return Err(full);
                    }
                }
            }
            let [in_a, in_b] = [seats[0].clone(), seats[1].clone()];
            for (at, here, from, there) in [(&row.a, &in_a, &row.b, &in_b), (&row.b, &in_b, &row.a, &in_a)] {
                let source = rooms.get(from).map(|r| r.mix_for(there));
                let Some(room) = rooms.get_mut(at) else { continue };
                room.mixer.add(&here.0, source.clone(), Some(Codec::Opus));
                if let Some(entry) = room.members.get_mut(here) {
                    entry.state = MemberState::Connected;
                    entry.stream = source;
                    entry.hears = Some(Codec::Opus);
                    entry.connected_at = Some(Instant::now());
                    let open = if at == &row.a { row.b_to_a } else { row.a_to_b };
                    entry.muted = (!open).then_some(MutedBy::Operator);
                }
                room.apply_gain(here);
            }
            let way = |from: &String, to: &String, there: &MemberId, here: &MemberId, open| Way {
                from: from.clone(),
                to: to.clone(),
                there: there.clone(),
                here: here.clone(),
                open,
                asked: None,
            };
            let ways = [way(&row.a, &row.b, &in_a, &in_b, row.a_to_b), way(&row.b, &row.a, &in_b, &in_a, row.b_to_a)];
            patches.insert(row.id.clone(), Patch { row, ways: ways.clone() });
            ways
        };
        for way in &ways {
            self.show(&way.to, &way.here);
        }
        self.tell_patches();
        Ok(())
    }

    /// Shows the member that stands for another conference.
    fn show(&self, id: &str, member: &MemberId) {
        let view = self.with(id, |room, hub| Ok(room.members.get(member).map(|m| room.member_view(hub, m))));
        if let Ok(Some(view)) = view {
            self.tell_member(id, &view);
        }
    }

    pub async fn change_patch(&self, id: &str, change: PatchChange) -> Result<PatchView, ConferenceError> {
        let limit = until(change.minutes)?;
        let (row, ways) = {
            let mut patches = self.patches();
            let patch = patches.get_mut(id).ok_or_else(|| ConferenceError::NoPatch(id.to_owned()))?;
            patch.row.a_to_b = change.a_to_b.unwrap_or(patch.row.a_to_b);
            patch.row.b_to_a = change.b_to_a.unwrap_or(patch.row.b_to_a);
            if change.minutes.is_some() {
                patch.row.until = limit;
            }
            (patch.ways[0].open, patch.ways[1].open) = (patch.row.a_to_b, patch.row.b_to_a);
            (patch.row.clone(), patch.ways.clone())
        };
        for way in &ways {
            let _ = self.with(&way.to, |room, _| {
                if let Some(entry) = room.members.get_mut(&way.here) {
                    entry.muted = (!way.open).then_some(MutedBy::Operator);
                }
                room.apply_gain(&way.here);
                Ok(())
            });
            self.show(&way.to, &way.here);
        }
        self.tell_patches();
        self.save_patch(&row).await;
        self.patches().get(id).map(Patch::view).ok_or_else(|| ConferenceError::NoPatch(id.to_owned()))
    }

    pub async fn unpatch(&self, id: &str) -> Result<(), ConferenceError> {
        let patch = self.patches().remove(id).ok_or_else(|| ConferenceError::NoPatch(id.to_owned()))?;
        for way in &patch.ways {
            self.forget(&way.to, &way.here, &Text::new("互联已断开", "the patch was taken away"));
        }
        self.tell_patches();
        if let Err(error) = self.0.store.delete_patch(id).await {
            self.patch_not_saved(id, &error);
        }
        Ok(())
    }

    /// The patch that this member stands for.
    pub(super) fn patch_of(&self, member: &MemberId) -> Option<String> {
        let patches = self.patches();
        patches.iter().find(|(_, p)| p.ways.iter().any(|w| &w.here == member)).map(|(id, _)| id.clone())
    }

    /// Takes away all patches of a conference that ends.
    pub(super) async fn unpatch_all(&self, conference: &str) {
        let of = |p: &&Patch| p.row.a == conference || p.row.b == conference;
        let ids: Vec<String> = self.patches().values().filter(of).map(|p| p.row.id.clone()).collect();
        for id in ids {
            let _ = self.unpatch(&id).await;
        }
    }

    async fn save_patch(&self, row: &PatchRow) {
        if let Err(error) = self.0.store.put_patch(row).await {
            self.patch_not_saved(&row.id, &error);
        }
    }

    fn patch_not_saved(&self, id: &str, error: &crate::store::StoreError) {
        tracing::error!(patch = id, %error, "a change of a patch could not be saved");
        self.0.events.notice(
            Severity::Alarm,
            "会商互联的更改已生效，但未能保存：请检查网关的磁盘",
            "The change of a patch holds but could not be saved: check the gateway's disk",
            id,
        );
    }

    /// Who talks in `conference` talks in those joined to it too. Called when its floor changes, and several times a second.
    pub(super) fn pass_on(&self, conference: &str) {
        let now = Instant::now();
        let mut presses: Vec<Press> = Vec::new();
        {
            let mut patches = self.patches();
            if patches.is_empty() {
                return;
            }
            let rooms = self.lock();
            let Some(room) = rooms.get(conference) else { return };
            let ways = patches.values_mut().flat_map(|p| p.ways.iter_mut());
            for way in ways.filter(|w| w.from == conference) {
                let half = rooms.get(&way.to).is_some_and(|r| r.row.half_duplex);
                let talker = room.talker_beside(&way.there).filter(|_| half && way.open);
                let press = |by: &TalkerIdentity, priority, emergency| {
                    let key = Key::Pressed { by: Some(by.clone()), priority, emergency };
                    (way.to.clone(), way.here.clone(), key)
                };
                match (talker, &mut way.asked) {
                    (Some((by, priority, emergency)), None) => {
                        presses.push(press(&by, priority, emergency));
                        way.asked = Some(Asked { by, at: now, heard: now });
                    }
                    (Some((by, priority, emergency)), Some(asked)) => {
                        asked.heard = now;
                        let refused = rooms.get(&way.to).is_some_and(|r| r.floor_is_free())
                            && now.saturating_duration_since(asked.at) >= AGAIN;
                        if asked.by != by || refused {
                            presses.push((way.to.clone(), way.here.clone(), Key::Released));
                            presses.push(press(&by, priority, emergency));
                            (asked.by, asked.at) = (by, now);
                        }
                    }
                    (None, Some(asked)) => {
                        // With a floor the end is told; a voice may pause.
                        if room.row.half_duplex || now.saturating_duration_since(asked.heard) >= HANG || !half {
                            presses.push((way.to.clone(), way.here.clone(), Key::Released));
                            way.asked = None;
                        }
                    }
                    (None, None) => {}
                }
            }
        }
        for (to, member, key) in presses {
            let asks = matches!(key, Key::Pressed { .. });
            if self.key(&to, &member, key).is_err() && asks {
                // It is not in that floor yet: asked again the next time.
                let mut patches = self.patches();
                let way = patches.values_mut().flat_map(|p| p.ways.iter_mut()).find(|w| w.here == member);
                if let Some(way) = way {
                    way.asked = None;
                }
            }
        }
    }

    /// Ends patches whose time is over.
    pub(super) async fn end_late_patches(&self) {
        let now = jiff::Timestamp::now().as_millisecond();
        let late: Vec<PatchRow> =
            self.patches().values().map(|p| &p.row).filter(|r| r.until.is_some_and(|at| at <= now)).cloned().collect();
        for row in late {
            let name = |id: &str| self.name(id).unwrap_or_default();
            let (a, b) = (name(&row.a), name(&row.b));
            if self.unpatch(&row.id).await.is_ok() {
                self.0.events.notice(
                    Severity::Warning,
                    &format!("“{a}”与“{b}”的互联已到时间，已断开"),
                    &format!("The patch of {a} and {b} ended: its time is over"),
                    &row.id,
                );
            }
        }
    }
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
