//! Keys for what goes to the recorder (RFC 4568): in our description, one set for each section and dialog.

use std::sync::{Arc, Mutex};

use media_core::sdp::{Media, Sdp};
use media_secure::sdes::Crypto;
use media_secure::{Keys, Profile};

use super::super::relay::Guard;

/// As towards phones, best first.
const OFFERED: [Profile; 3] = [Profile::AesCm80, Profile::Gcm256, Profile::Gcm128];

/// What protects one section, and with which of our keys.
struct Taken {
    profile: Profile,
    guard: Arc<Mutex<Guard>>,
}

/// The keys of one dialog with a recorder.
pub(super) struct KeyRing {
    offered: [Vec<Crypto>; 2],
    taken: [Option<Taken>; 2],
}

impl KeyRing {
    pub fn new() -> KeyRing {
        let line = |(n, p): (usize, &Profile)| Some(Crypto { tag: n as u32 + 1, keys: Keys::random(*p)? });
        KeyRing { offered: [0, 1].map(|_| OFFERED.iter().enumerate().filter_map(line).collect()), taken: [None, None] }
    }

    /// Puts our keys into an offer.
    pub fn dress(&self, sdp: &mut Sdp) {
        for (m, lines) in sdp.media.iter_mut().zip(&self.offered) {
            "RTP/SAVP".clone_into(&mut m.proto);
            for line in lines {
                m.push('a', format!("crypto:{}", line.write()));
            }
        }
    }

    /// What protects this section, by the recorder's answer to our offer; none when it took no key of ours.
    pub fn answered(&mut self, section: usize, theirs: &Media) -> Option<Arc<Mutex<Guard>>> {
        let line = lines(theirs).next()?;
        let own =
            self.offered.get(section)?.iter().find(|c| c.tag == line.tag && c.keys.profile == line.keys.profile)?;
        let own = own.clone();
        self.guard(section, &own)
    }

    /// The same for an offer of the recorder, with the line for our answer: our key under its tag.
    pub fn offered(&mut self, section: usize, theirs: &Media) -> Option<(String, Arc<Mutex<Guard>>)> {
        let now = self.taken.get(section)?.as_ref().map(|t| t.profile);
        let ours = self.offered.get(section)?;
        let fits = |line: &Crypto| ours.iter().find(|c| c.keys.profile == line.keys.profile).cloned();
        // The suite that is in use, if it is still there: key and counters stay.
        let line = lines(theirs).filter(|l| fits(l).is_some()).max_by_key(|l| Some(l.keys.profile) == now)?;
        let own = fits(&line)?;
        let guard = self.guard(section, &own)?;
        Some((Crypto { tag: line.tag, keys: own.keys }.write(), guard))
    }

    fn guard(&mut self, section: usize, own: &Crypto) -> Option<Arc<Mutex<Guard>>> {
        let taken = self.taken.get_mut(section)?;
        let profile = own.keys.profile;
        if taken.as_ref().is_none_or(|t| t.profile != profile) {
            *taken = Some(Taken { profile, guard: Guard::new(&own.keys)? });
        }
        taken.as_ref().map(|t| t.guard.clone())
    }
}

/// The key lines of a section that is protected.
fn lines(m: &Media) -> impl Iterator<Item = Crypto> {
    let protected = m.proto.to_ascii_uppercase().starts_with("RTP/SAVP");
    m.attributes("crypto").take(8).filter(move |_| protected).filter_map(Crypto::parse)
}

/// An answer of ours says one key, or refuses the section.
pub(super) fn state(m: &mut Media, line: Option<&str>) {
    m.lines.retain(|l| !(l.kind == 'a' && l.value.starts_with("crypto:")));
    match line {
        Some(line) => {
            m.push('a', format!("crypto:{line}"));
        }
        None => {
            m.port = 0;
            m.lines.clear();
        }
    }
}
