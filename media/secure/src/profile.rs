//! The protection profiles of SRTP that we speak.

/// A profile: cipher, authentication and their lengths (RFC 3711 8.2, RFC 4568 6.2, RFC 7714 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// AEAD_AES_256_GCM.
    Gcm256,
    /// AEAD_AES_128_GCM.
    Gcm128,
    /// AES_CM_128_HMAC_SHA1_80.
    AesCm80,
    /// AES_CM_128_HMAC_SHA1_32: the same with a short tag on RTP.
    AesCm32,
}

impl Profile {
    pub const ALL: [Profile; 4] = [Profile::Gcm256, Profile::Gcm128, Profile::AesCm80, Profile::AesCm32];

    /// The name in `a=crypto` and in the IANA registry.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Gcm256 => "AEAD_AES_256_GCM",
            Profile::Gcm128 => "AEAD_AES_128_GCM",
            Profile::AesCm80 => "AES_CM_128_HMAC_SHA1_80",
            Profile::AesCm32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    pub fn of_name(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key.
    pub fn key_len(self) -> usize {
        if self == Profile::Gcm256 { 32 } else { 16 }
    }

    /// Bytes of the master salt.
    pub fn salt_len(self) -> usize {
        if self.is_gcm() { 12 } else { 14 }
    }

    pub fn is_gcm(self) -> bool {
        matches!(self, Profile::Gcm256 | Profile::Gcm128)
    }

    /// The number of `use_srtp` (RFC 5764 4.1.2, RFC 7714 14.2); no other is agreed on by DTLS.
    pub fn of_dtls(number: u16) -> Option<Profile> {
        Some(match number {
            0x0001 => Profile::AesCm80,
            0x0007 => Profile::Gcm128,
            0x0008 => Profile::Gcm256,
            _ => return None,
        })
    }
}
