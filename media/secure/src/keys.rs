//! A master key of one direction.

use std::fmt;

use crate::profile::Profile;

/// Longest master key with its salt: AES-256 and 12 bytes, AES-128 and 14.
const MOST: usize = 44;

/// Master key and salt of one direction (RFC 3711 3.2.1). Never shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub profile: Profile,
    material: Vec<u8>,
    mki: usize,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, hidden)", self.profile.name())
    }
}

impl Keys {
    /// None when the length is not that of key and salt.
    pub fn new(profile: Profile, material: &[u8]) -> Option<Keys> {
        let fits = material.len() == profile.key_len() + profile.salt_len();
        fits.then(|| Keys { profile, material: material.to_vec(), mki: 0 })
    }

    /// Random ones; none when the system gives no random numbers.
    pub fn random(profile: Profile) -> Option<Keys> {
        let mut material = [0; MOST];
        aws_lc_rs::rand::fill(&mut material).ok()?;
        Keys::new(profile, material.get(..profile.key_len() + profile.salt_len())?)
    }

    pub(crate) fn with_mki(mut self, bytes: usize) -> Keys {
        self.mki = bytes;
        self
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.material.get(..self.profile.key_len()).unwrap_or_default()
    }

    pub(crate) fn salt(&self) -> &[u8] {
        self.material.get(self.profile.key_len()..).unwrap_or_default()
    }

    pub(crate) fn material(&self) -> &[u8] {
        &self.material
    }

    /// Bytes of the master key identifier in each packet.
    pub(crate) fn mki_len(&self) -> usize {
        self.mki
    }
}
