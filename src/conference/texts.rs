//! Who of a conference may be written to, and who may write.

use super::lobby::LobbyMode;
use super::member::MemberKind;
use super::rooms::Conferences;

/// The number of a phone as it was dialled: `8001`, `phone:8001`, `phone:8001/0`.
fn number(dial: &str) -> Option<&str> {
    let dial = dial.strip_prefix("phone:").unwrap_or(dial);
    let dial = dial.split('/').next().unwrap_or(dial);
    (!dial.is_empty() && !dial.contains(':')).then_some(dial)
}

impl Conferences {
    /// The phones of a conference: number and name. None: there is no such conference.
    pub fn phones(&self, id: &str) -> Option<Vec<(String, String)>> {
        let rooms = self.lock();
        let phones = rooms.get(id)?.members.values().filter(|m| m.kind == MemberKind::Phone);
        Some(phones.filter_map(|m| Some((number(m.dial.as_deref()?)?.to_owned(), m.name.clone()))).collect())
    }

    /// The numbers behind the phones of a conference, as (member, number). None: there is no such conference.
    pub fn dials(&self, id: &str) -> Option<Vec<(String, String)>> {
        let rooms = self.lock();
        let phones = rooms.get(id)?.members.values().filter(|m| m.kind == MemberKind::Phone);
        Some(
            phones
                .filter_map(|m| {
                    let dial = m.dial.as_deref()?;
                    let dial = if dial.starts_with("radio:") { dial } else { number(dial)? };
                    Some((m.id.0.clone(), dial.to_owned()))
                })
                .collect(),
        )
    }

    /// The conference of a number, and whether the far end `from` (`phone:8001`) may write into it: members always, others where
    /// neither PIN nor lock nor lobby keeps them out. None: there is none.
    pub fn door(&self, dialled: &str, from: &str) -> Option<(String, bool)> {
        let rooms = self.lock();
        let (id, room) = rooms.iter().find(|(_, r)| r.row.number == dialled)?;
        let open = room.row.pin.is_empty() && !room.row.locked && room.row.lobby != LobbyMode::All;
        let sender = from.strip_prefix("phone:");
        let member = room.members.values().any(|m| {
            let own = m.dial.as_deref().filter(|_| m.kind == MemberKind::Phone).and_then(number);
            own.is_some() && own == sender
        });
        Some((id.clone(), open || member))
    }
}
