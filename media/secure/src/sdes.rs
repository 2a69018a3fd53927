//! Keys in the session description: `a=crypto` (RFC 4568).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::keys::Keys;
use crate::profile::Profile;

/// Longest attribute read.
const MOST: usize = 512;
/// Longest master key identifier taken (RFC 4568 6.1 allows 128).
const MOST_MKI: usize = 32;

/// Some phones leave the padding away.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One `a=crypto` that we understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// The answer repeats the tag of the line that it takes.
    pub tag: u32,
    /// The key with which the one who wrote the line sends.
    pub keys: Keys,
}

impl Crypto {
    /// Reads the value of the attribute. None for a suite or a session parameter that we do not know, or more than one key: such a line is
    /// passed over (RFC 4568 5.1.2, 6.3.7). A lifetime binds the one who stated it, and is read only to be skipped.
    pub fn parse(value: &str) -> Option<Crypto> {
        if value.len() > MOST {
            return None;
        }
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|t| t.len() <= 9)?.parse().ok()?;
        let profile = Profile::of_name(words.next()?)?;
        let inline = words.next()?.strip_prefix("inline:")?;
        // Session parameters change the protection, but for this one, which asks for a shorter replay window.
        if inline.contains(';') || words.any(|w| !w.to_ascii_uppercase().starts_with("WSH=")) {
            return None;
        }
        let mut parts = inline.split('|');
        let material = LENIENT.decode(parts.next()?).ok()?;
        let mut keys = Keys::new(profile, &material)?;
        for part in parts {
            // `1:4`: an identifier of four bytes in each packet. The rest is a lifetime: `2^20` or a number.
            if let Some((_, bytes)) = part.split_once(':') {
                keys = keys.with_mki(bytes.parse().ok().filter(|n| *n <= MOST_MKI)?);
            }
        }
        Some(Crypto { tag, keys })
    }

    /// The value of the attribute, for a description of ours.
    pub fn write(&self) -> String {
        format!("{} {} inline:{}", self.tag, self.keys.profile.name(), STANDARD.encode(self.keys.material()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn lines_of_phones() {
        // RFC 4568 6.1 and what snom, Cisco and baresip write.
        let c = Crypto::parse(
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 FEC_ORDER=FEC_SRTP",
        );
        assert!(c.is_none(), "an unknown session parameter");
        let c = Crypto::parse("1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4")
            .unwrap();
        assert_eq!((c.tag, c.keys.profile, c.keys.mki_len()), (1, Profile::AesCm80, 4));
        assert_eq!(c.write(), "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz");
        assert_eq!(format!("{:?}", c.keys), "Keys(AES_CM_128_HMAC_SHA1_80, hidden)");
        let c =
            Crypto::parse("2 AES_CM_128_HMAC_SHA1_32 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj WSH=64").unwrap();
        assert_eq!((c.tag, c.keys.profile), (2, Profile::AesCm32));
        for bad in [
            "",
            "1",
            "x AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
            "1 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNf",
            "1 AES_CM_128_HMAC_SHA1_80 WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|1:99999",
        ] {
            assert!(Crypto::parse(bad).is_none(), "{bad}");
        }
        let random = Crypto { tag: 3, keys: Keys::random(Profile::Gcm256).unwrap() };
        assert_eq!(Crypto::parse(&random.write()).unwrap(), random);
    }
}
