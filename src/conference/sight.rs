//! What a member with a screen of its own (a SIP meeting terminal) is shown: the conference's main picture, or, where none is
//! chosen or it is the member's own, the picture of who talks.

use std::time::{Duration, Instant};

use bridge_core::PictureState;
use media_core::MediaKind;
use media_hub::{Fault, Hub, StreamId};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::member::{Member, MemberKind, MemberState};
use super::room::Room;
use super::rooms::Conferences;

/// How long a picture that follows the talk stands at least.
const STANDS: Duration = Duration::from_secs(3);

/// The screen of a member.
#[derive(Debug)]
pub struct Screen {
    look: watch::Sender<Option<StreamId>>,
    since: Instant,
    pub state: PictureState,
    pub fault: Option<Fault>,
}

impl Screen {
    /// With the end that the leg looks at.
    pub fn new() -> (Screen, watch::Receiver<Option<StreamId>>) {
        let (look, its) = watch::channel(None);
        (Screen { look, since: Instant::now(), state: PictureState::None, fault: None }, its)
    }

    /// None while the member has nothing to do with pictures.
    pub fn view(&self) -> Option<PictureOfMember> {
        let none = self.state == PictureState::None && self.fault.is_none();
        (!none).then(|| PictureOfMember {
            state: self.state,
            sees: self.look.borrow().as_ref().map(ToString::to_string),
            fault: self.fault.clone(),
        })
    }
}

/// The picture of a SIP meeting terminal as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PictureOfMember {
    /// Its own: none, waiting, live, muted (its camera is off, or it is on hold), frozen.
    #[schema(value_type = String)]
    pub state: PictureState,
    /// The stream that it is shown.
    pub sees: Option<String>,
    /// Why its picture was refused, or why it cannot be shown what was chosen.
    #[schema(value_type = Option<Object>)]
    pub fault: Option<Fault>,
}

/// A picture that could be shown.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    stream: StreamId,
    /// Loudness of who talks.
    talks: Option<f32>,
}

/// What a member sees. `asked`: the conference's main picture. `shown`: what it sees now, and for how long.
fn choose(
    own: Option<&StreamId>,
    asked: Option<&StreamId>,
    others: &[Candidate],
    shown: Option<(&StreamId, Duration)>,
) -> Option<StreamId> {
    if let Some(asked) = asked.filter(|a| Some(*a) != own) {
        return Some(asked.clone());
    }
    let kept = shown.filter(|(s, _)| others.iter().any(|c| c.stream == **s));
    if let Some((shown, _)) = kept.filter(|(_, time)| *time < STANDS) {
        return Some(shown.clone());
    }
    let loudest = others.iter().filter_map(|c| Some((c, c.talks?))).max_by(|a, b| a.1.total_cmp(&b.1));
    let next = loudest.map(|(c, _)| &c.stream).or(kept.map(|k| k.0)).or(others.first().map(|c| &c.stream));
    // Its own picture only where it was asked for and there is no other.
    next.or(asked).cloned()
}

impl Room {
    /// Whether a member has a picture to show. Cameras that nobody has opened yet are believed to have one.
    fn has_picture(hub: &Hub, member: &Member) -> bool {
        let Some(stream) = &member.stream else { return false };
        let tracks = hub.get(stream).map(|s| s.tracks());
        let unknown = member.kind == MemberKind::Channel;
        tracks.map_or(unknown, |t| t.iter().any(|t| t.kind() == MediaKind::Video) || unknown && t.is_empty())
    }

    /// Chooses anew for all members with a screen. Gives those whose picture changed.
    fn look_again(&mut self, hub: &Hub) -> Vec<bridge_core::MemberId> {
        if self.members.values().all(|m| m.screen.as_ref().is_none_or(|s| s.state == PictureState::None)) {
            return Vec::new();
        }
        let asked = self.row.picture.as_deref().map(StreamId::new);
        // People first: a camera in the room talks by chance only.
        let mut pictures: Vec<_> = self
            .members
            .values()
            .filter(|m| m.state == MemberState::Connected && Self::has_picture(hub, m))
            .filter_map(|m| {
                let level = self.levels.get(&m.id.0).filter(|l| l.1 && m.muted.is_none()).map(|l| l.0);
                let talks = level.filter(|_| m.kind != MemberKind::Channel);
                Some((m.kind == MemberKind::Channel, m.id.clone(), Candidate { stream: m.stream.clone()?, talks }))
            })
            .collect();
        pictures.sort_by_key(|p| p.0);
        let mut changed = Vec::new();
        for member in self.members.values_mut() {
            let Some(screen) = &mut member.screen else { continue };
            let others: Vec<Candidate> = pictures.iter().filter(|p| p.1 != member.id).map(|p| p.2.clone()).collect();
            let shown = screen.look.borrow().clone();
            let shown_for = shown.as_ref().map(|s| (s, screen.since.elapsed()));
            let next = choose(member.stream.as_ref(), asked.as_ref(), &others, shown_for);
            if next != shown {
                screen.look.send_replace(next);
                screen.since = Instant::now();
                changed.push(member.id.clone());
            }
        }
        changed
    }
}

impl Conferences {
    /// Looks at what members with screens are to see; called several times a second, and when the main picture changes.
    pub(super) fn look_again(&self, id: &str) {
        let told = self.with(id, |room, hub| {
            let changed = room.look_again(hub);
            Ok(changed.iter().filter_map(|m| Some(room.member_view(hub, room.members.get(m)?))).collect::<Vec<_>>())
        });
        told.unwrap_or_default().iter().for_each(|view| self.tell_member(id, view));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn candidates(list: &[(&str, Option<f32>)]) -> Vec<Candidate> {
        list.iter().map(|(s, talks)| Candidate { stream: StreamId::new(s), talks: *talks }).collect()
    }

    #[test]
    fn the_main_picture_then_who_talks_and_oneself_last() {
        let (own, main, b, c) = (StreamId::new("phone:a"), StreamId::new("gb:1"), "browser:b", "phone:c");
        let see = |asked: Option<&StreamId>, others: &[Candidate], shown: Option<(&str, u64)>| {
            let shown = shown.map(|(s, t)| (StreamId::new(s), Duration::from_secs(t)));
            let chosen = choose(Some(&own), asked, others, shown.as_ref().map(|(s, t)| (s, *t)));
            chosen.map(|s| s.to_string())
        };
        let is = |s: &str| Some(s.to_owned());
        let quiet = candidates(&[(b, None), (c, None)]);
        assert_eq!(see(Some(&main), &quiet, None), is("gb:1"));
        assert_eq!(see(Some(&own), &quiet, None), is(b), "not itself while there is another");
        assert_eq!(see(Some(&own), &[], None), is("phone:a"));
        assert_eq!(see(None, &[], None), None);
        assert_eq!(see(None, &quiet, Some((c, 60))), is(c), "nobody talks: it stands");
        let talk = candidates(&[(b, Some(-30.0)), (c, Some(-12.0))]);
        assert_eq!(see(None, &talk, Some((b, 2))), is(b), "not for each word");
        assert_eq!(see(None, &talk, Some((b, 4))), is(c));
        assert_eq!(see(None, &talk, Some(("phone:gone", 1))), is(c));
    }
}
