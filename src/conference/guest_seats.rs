//! Seats of guests who came by a link.

use bridge_core::{Link, MemberId};
use media_core::Codec;
use media_hub::StreamId;
use media_webrtc::LegId;

use super::member::{MemberKind, MemberView};
use super::rooms::{ConferenceError, Conferences};
use super::steer::MemberRole;

/// The seat of a guest: his leg is made with it.
#[derive(Debug)]
pub struct GuestSeat {
    pub member: MemberId,
    /// What his leg is published as.
    pub stream: StreamId,
    pub hears: StreamId,
    /// A leg of his that was there before, which the caller closes.
    pub before: Option<LegId>,
}

impl Conferences {
    /// A guest takes a seat. `who` is `guest:` and his session.
    pub fn seat_guest(&self, id: &str, who: &str, name: &str, role: MemberRole) -> Result<GuestSeat, ConferenceError> {
        let before = self.guest_member(who).and_then(|(at, m)| {
            let member = MemberId(m.id);
            let leg = self.leg_of(&at, &member);
            self.forget(&at, &member, &bridge_core::Text::new("已重新加入", "joined again"));
            leg
        });
        self.with(id, |room, _| {
            let member = self.seat(room, MemberKind::Browser, name, Link::Lan)?;
            if let Some(entry) = room.members.get_mut(&member) {
                (entry.guest, entry.admitted, entry.role) = (true, true, role);
            }
            room.take_place(&member, who);
            // The mix is published before the leg looks for it.
            room.mixer.add(&member.0, None, Some(Codec::Opus));
            let (stream, hears) = (StreamId::new(format!("browser:{member}")), room.mix_for(&member));
            Ok(GuestSeat { member, stream, hears, before })
        })
    }

    /// Where the guest is, wherever he was moved.
    pub fn guest_member(&self, who: &str) -> Option<(String, MemberView)> {
        let rooms = self.lock();
        rooms.iter().find_map(|(id, room)| {
            let member = room.members.values().find(|m| m.guest && m.who.as_deref() == Some(who))?;
            Some((id.clone(), room.member_view(&self.0.hub, member)))
        })
    }

    /// The session of a guest who is this member.
    pub fn guest_of(&self, id: &str, member: &MemberId) -> Option<String> {
        let rooms = self.lock();
        let who = rooms.get(id)?.members.get(member).filter(|m| m.guest)?.who.clone()?;
        who.strip_prefix("guest:").map(str::to_owned)
    }
}
