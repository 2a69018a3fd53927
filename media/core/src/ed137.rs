//! PTT and squelch in the RTP header extension of ED-137 (EUROCAE: voice over IP for radio). RoIP boxes carry their contacts in it, also
//! where nothing else of ED-137 is spoken.

use crate::error::ParseError;

/// The extension's profile: ED-137 of 2009, one word of 32 bits.
pub const PROFILE_2009: u16 = 0x0067;
/// ED-137A, B and C: 16 bits, then features.
pub const PROFILE: u16 = 0x0167;

/// The key, as it is told in every packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Ptt {
    #[default]
    Off,
    Normal,
    Coupling,
    Priority,
    Emergency,
    /// Of ED-137B and later.
    Test,
}

impl Ptt {
    fn number(self) -> u8 {
        self as u8
    }

    /// 6 and 7 are reserved: the radio is keyed, and nobody knows how.
    fn of(number: u8) -> Ptt {
        match number {
            0 => Ptt::Off,
            2 => Ptt::Coupling,
            3 => Ptt::Priority,
            4 => Ptt::Emergency,
            5 => Ptt::Test,
            _ => Ptt::Normal,
        }
    }

    /// Somebody keys the transmitter.
    pub fn pressed(self) -> bool {
        self != Ptt::Off
    }
}

/// What the extension says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Radio {
    pub ptt: Ptt,
    /// The receiver hears a carrier.
    pub squelch: bool,
    /// Which of several users keys, as the transmitter numbers them; 0 to 15, in the later profile 0 to 63.
    pub ptt_id: u8,
    /// Two or more transmit at the same time.
    pub simultaneous: bool,
}

impl Radio {
    /// Reads the extension; none when the profile is another one. Features behind the bits are passed over.
    pub fn parse(profile: u16, data: &[u8]) -> Result<Option<Radio>, ParseError> {
        let [high, low, ..] = data else {
            return match profile {
                PROFILE | PROFILE_2009 => Err(ParseError::new("ED-137 extension cut short", 0)),
                _ => Ok(None),
            };
        };
        let (ptt, squelch) = (Ptt::of(high >> 5), high & 0x10 != 0);
        Ok(match profile {
            PROFILE_2009 => Some(Radio { ptt, squelch, ptt_id: high & 0x0F, simultaneous: low & 0x80 != 0 }),
            PROFILE => {
                let ptt_id = (high & 0x0F) << 2 | low >> 6;
                Some(Radio { ptt, squelch, ptt_id, simultaneous: low & 0x08 != 0 })
            }
            _ => None,
        })
    }

    /// The extension's only word, without features. A number too great for the profile is cut to its low bits.
    pub fn word(self, profile: u16) -> [u8; 4] {
        let high = self.ptt.number() << 5 | u8::from(self.squelch) << 4;
        match profile {
            PROFILE_2009 => [high | self.ptt_id & 0x0F, u8::from(self.simultaneous) << 7, 0, 0],
            _ => {
                let id = self.ptt_id & 0x3F;
                [high | id >> 2, id << 6 | u8::from(self.simultaneous) << 3, 0, 0]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bits_stand_where_the_masks_say() {
        // PTT priority (3), squelch, PTT-id 5: masks E0000000, 10000000, 0F000000; SCT 00800000.
        let said = Radio { ptt: Ptt::Priority, squelch: true, ptt_id: 5, simultaneous: true };
        assert_eq!(said.word(PROFILE_2009), 0x7580_0000u32.to_be_bytes());
        // The later one: E000, 1000, 0FC0, 0008 in the first 16 bits.
        assert_eq!(said.word(PROFILE), 0x7148_0000u32.to_be_bytes());
        let off = Radio::default();
        assert_eq!((off.word(PROFILE), off.ptt.pressed()), ([0; 4], false));
    }

    #[test]
    fn all_words_come_back() {
        for (profile, ids) in [(PROFILE_2009, 16), (PROFILE, 64)] {
            for ptt in [Ptt::Off, Ptt::Normal, Ptt::Coupling, Ptt::Priority, Ptt::Emergency, Ptt::Test] {
                for bits in 0..4 {
                    for ptt_id in 0..ids {
                        let said = Radio { ptt, squelch: bits & 1 != 0, ptt_id, simultaneous: bits & 2 != 0 };
                        assert_eq!(Radio::parse(profile, &said.word(profile)).unwrap(), Some(said));
                    }
                }
            }
        }
    }

    #[test]
    fn other_profiles_and_broken_words() {
        assert_eq!(Radio::parse(0xBEDE, &[0xFF; 4]).unwrap(), None);
        assert_eq!(Radio::parse(0xBEDE, &[]).unwrap(), None);
        assert!(Radio::parse(PROFILE, &[0x20]).is_err());
        // A reserved type keys all the same; features behind it make no difference.
        let said = Radio::parse(PROFILE, &[0xE0, 0x01, 0x11, 0xFF, 9, 9, 9, 9]).unwrap().unwrap();
        assert!(said.ptt.pressed() && !said.squelch);
    }
}
