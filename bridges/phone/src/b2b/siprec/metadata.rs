//! Who speaks in which stream, as RFC 7865 writes it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_core::{CallParty, Timestamp};
use sip::Uri;

/// Participants that left and are still told of.
const MOST_GONE: usize = 8;

/// A UUID of random bits, in base64 (RFC 7865 6.10).
fn id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    STANDARD.encode(bytes)
}

#[derive(Debug)]
struct Participant {
    id: String,
    party: CallParty,
    side: usize,
    came: Timestamp,
    left: Option<Timestamp>,
}

/// The metadata of a call, from its beginning to its end: always written whole.
#[derive(Debug)]
pub(super) struct Metadata {
    session: String,
    streams: [String; 2],
    began: Timestamp,
    people: Vec<Participant>,
}

impl Metadata {
    pub fn new(began: Timestamp) -> Metadata {
        Metadata { session: id(), streams: [id(), id()], began, people: Vec::new() }
    }

    /// These two talk now.
    pub fn show(&mut self, parties: [&CallParty; 2], now: Timestamp) {
        for (side, party) in parties.into_iter().enumerate() {
            let here = self.people.iter_mut().find(|p| p.side == side && p.left.is_none());
            match here {
                Some(known) if known.party.number == party.number => known.party.name.clone_from(&party.name),
                other => {
                    if let Some(known) = other {
                        known.left = Some(now);
                    }
                    self.people.push(Participant { id: id(), party: party.clone(), side, came: now, left: None });
                }
            }
        }
        while self.people.iter().filter(|p| p.left.is_some()).count() > MOST_GONE {
            let Some(at) = self.people.iter().position(|p| p.left.is_some()) else { return };
            self.people.remove(at);
        }
    }

    /// The recorder knows it all: who left is not told of again.
    pub fn told(&mut self) {
        self.people.retain(|p| p.left.is_none());
    }

    /// The document; numbers become addresses of this realm.
    pub fn write(&self, realm: &str) -> String {
        let Metadata { session, streams, began, people } = self;
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\r\n\
             <datamode>complete</datamode>\r\n<session session_id=\"{session}\"><start-time>{began}</start-time></session>\r\n"
        );
        for p in people {
            let aor = xml(&Uri::sip(&p.party.number, realm, None).to_string());
            out.push_str(&format!(
                "<participant participant_id=\"{}\"><nameID aor=\"{aor}\"><name>{}</name></nameID></participant>\r\n",
                p.id,
                xml(&p.party.name)
            ));
        }
        for (n, stream) in streams.iter().enumerate() {
            out.push_str(&format!(
                "<stream stream_id=\"{stream}\" session_id=\"{session}\"><label>{}</label></stream>\r\n",
                n + 1
            ));
        }
        out.push_str(&format!(
            "<sessionrecordingassoc session_id=\"{session}\"><associate-time>{began}</associate-time></sessionrecordingassoc>\r\n"
        ));
        for p in people {
            let left = p.left.map_or_else(String::new, |t| format!("<disassociate-time>{t}</disassociate-time>"));
            let times = format!("<associate-time>{}</associate-time>{left}", p.came);
            let [sends, hears] = if p.side == 0 { [0, 1] } else { [1, 0] }.map(|n: usize| streams[n].as_str());
            out.push_str(&format!(
                "<participantsessionassoc participant_id=\"{0}\" session_id=\"{session}\">{times}</participantsessionassoc>\r\n\
                 <participantstreamassoc participant_id=\"{0}\"><send>{sends}</send><recv>{hears}</recv>{times}\
                 </participantstreamassoc>\r\n",
                p.id
            ));
        }
        out.push_str("</recording>");
        out
    }
}

/// Text within XML 1.0: its five signs are written out, what it does not allow is left out.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{FFFE}' | '\u{FFFF}' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn who_left_is_told_of_once() {
        let [a, b, c] = ["8001", "8002", "8003"].map(|n| CallParty::new(n, format!("<话机&{n}>")));
        let mut all = Metadata::new(Timestamp(0));
        all.show([&a, &b], Timestamp(0));
        all.show([&a, &b], Timestamp(500));
        let text = all.write("hall.example");
        assert!(text.contains("<nameID aor=\"sip:8001@hall.example\"><name>&lt;话机&amp;8001&gt;</name>"), "{text}");
        assert_eq!(text.matches("<participant ").count(), 2);
        assert!(!text.contains("disassociate"), "{text}");
        // Each sends one stream and hears the other.
        let [one, two] = &all.streams;
        assert!(text.contains(&format!("<send>{one}</send><recv>{two}</recv>")));
        assert!(text.contains(&format!("<send>{two}</send><recv>{one}</recv>")));
        all.show([&a, &c], Timestamp(60_000));
        let text = all.write("hall.example");
        assert_eq!(text.matches("<participant ").count(), 3);
        assert!(text.contains("<disassociate-time>1970-01-01T00:01:00"), "{text}");
        all.told();
        let text = all.write("hall.example");
        assert!(!text.contains("8002") && text.contains("8003") && !text.contains("disassociate"), "{text}");
    }

    #[test]
    fn xml_is_written_out() {
        assert_eq!(xml("<A & \"B\">\u{1}'"), "&lt;A &amp; &quot;B&quot;&gt;&apos;");
    }
}
