//! SRTP and SRTCP (RFC 3711, RFC 7714), encrypting in place on aws-lc-rs. Roll-over counters and windows of RTP: `stream`.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{constant_time, hmac, iv::FixedLength};

use crate::profile::Profile;

const INDEX_MASK: u32 = 0x7FFF_FFFF;

/// Why a packet was not protected or not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    #[error("key material of the wrong length")]
    Keys,
    #[error("packet too short")]
    Short,
    #[error("authentication failed")]
    Auth,
    #[error("replayed")]
    Replay,
    #[error("too many packets under one key")]
    Exhausted,
    #[error("too many senders in one leg")]
    Streams,
}

/// AES in counter mode over `data` with a 16-byte counter block.
fn aes_ctr(key: &EncryptingKey, iv: [u8; 16], data: &mut [u8]) -> Result<(), SrtpError> {
    key.less_safe_encrypt(data, EncryptionContext::Iv128(FixedLength::from(iv))).map_err(|_| SrtpError::Keys)?;
    Ok(())
}

fn ctr_key(key: &[u8]) -> Result<EncryptingKey, SrtpError> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| SrtpError::Keys)?;
    EncryptingKey::ctr(key).map_err(|_| SrtpError::Keys)
}

/// RFC 3711 4.3 with key derivation rate 0 (RFC 6188 for 256 bit keys; RFC 7714 11: 12-byte salts are filled with zeros).
fn derive(master: &[u8], salt: &[u8], label: u8, out: &mut [u8]) -> Result<(), SrtpError> {
    let mut iv = [0u8; 16];
    iv.get_mut(..salt.len().min(14)).ok_or(SrtpError::Keys)?.copy_from_slice(&salt[..salt.len().min(14)]);
    iv[7] ^= label;
    out.fill(0);
    aes_ctr(&ctr_key(master)?, iv, out)
}

/// Session keys of one direction and one of RTP, RTCP.
// The large variant is the one that every browser gets: a box would cost the path of each packet.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Session {
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
    /// `tag`: bytes of the authentication tag of RTP; that of RTCP is always 10 (RFC 3711 5.2, RFC 4568 6.2.2).
    Cm {
        key: EncryptingKey,
        salt: [u8; 14],
        auth: hmac::Key,
        tag: usize,
    },
}

impl Session {
    pub(crate) fn new(profile: Profile, master: &[u8], salt: &[u8], rtcp: bool) -> Result<Self, SrtpError> {
        let base = if rtcp { 3 } else { 0 };
        if master.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(SrtpError::Keys);
        }
        if !profile.is_gcm() {
            let (mut key, mut s, mut auth) = ([0; 16], [0; 14], [0; 20]);
            derive(master, salt, base, &mut key)?;
            derive(master, salt, base + 1, &mut auth)?;
            derive(master, salt, base + 2, &mut s)?;
            return Self::cm(&key, s, &auth, if profile == Profile::AesCm32 { 4 } else { 10 });
        }
        let mut key = [0; 32];
        let key = key.get_mut(..master.len()).ok_or(SrtpError::Keys)?;
        let mut s = [0; 12];
        derive(master, salt, base, key)?;
        derive(master, salt, base + 2, &mut s)?;
        Self::gcm(key, s)
    }

    fn gcm(key: &[u8], salt: [u8; 12]) -> Result<Self, SrtpError> {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, key).map_err(|_| SrtpError::Keys)?;
        Ok(Session::Gcm { key: LessSafeKey::new(key), salt })
    }

    fn cm(key: &[u8], salt: [u8; 14], auth: &[u8], tag: usize) -> Result<Self, SrtpError> {
        let auth = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth);
        Ok(Session::Cm { key: ctr_key(key)?, salt, auth, tag })
    }

    /// Opens the RTP packet with a header of `header` bytes whose roll-over counter is `roc`; `mki` bytes between payload and
    /// tag are left out (RFC 3711 3.1; with GCM they stand behind the tag, RFC 7714 8.2). Gives the length of what is plain.
    pub(crate) fn open_rtp(&self, b: &mut [u8], header: usize, roc: u32, mki: usize) -> Result<usize, SrtpError> {
        if b.len() < header || header < 12 {
            return Err(SrtpError::Short);
        }
        let (ssrc, seq) = (four(b, 8)?, [b[2], b[3]]);
        let r = roc.to_be_bytes();
        match self {
            Session::Gcm { key, salt } => {
                let end = b.len().checked_sub(mki).filter(|e| *e >= header + 16).ok_or(SrtpError::Short)?;
                let nonce = gcm_nonce(salt, ssrc, [r[0], r[1], r[2], r[3], seq[0], seq[1]]);
                let (head, rest) = b.split_at_mut(header);
                let body = rest.get_mut(..end - header).ok_or(SrtpError::Short)?;
                let plain = key.open_in_place(nonce, Aad::from(&head[..]), body).map_err(|_| SrtpError::Auth)?.len();
                Ok(header + plain)
            }
            Session::Cm { key, salt, auth, tag } => {
                let tag_at = b.len().checked_sub(*tag).ok_or(SrtpError::Short)?;
                let end = tag_at.checked_sub(mki).filter(|e| *e >= header).ok_or(SrtpError::Short)?;
                let mut mac = hmac::Context::with_key(auth);
                mac.update(&b[..end]);
                mac.update(&r);
                constant_time::verify_slices_are_equal(&mac.sign().as_ref()[..*tag], &b[tag_at..])
                    .map_err(|_| SrtpError::Auth)?;
                let index = (u64::from(roc) << 16) | u64::from(u16::from_be_bytes(seq));
                aes_ctr(key, cm_iv(salt, ssrc, index), &mut b[header..end])?;
                Ok(end)
            }
        }
    }
}

/// IV of RFC 7714 8.1 and 9.1: `tail` is ROC and sequence number, or the SRTCP index.
fn gcm_nonce(salt: &[u8; 12], ssrc: [u8; 4], tail: [u8; 6]) -> Nonce {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc);
    iv[6..].copy_from_slice(&tail);
    for (a, b) in iv.iter_mut().zip(salt) {
        *a ^= b;
    }
    Nonce::assume_unique_for_key(iv)
}

/// IV of RFC 3711 4.1.1.
fn cm_iv(salt: &[u8; 14], ssrc: [u8; 4], index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    for (a, b) in iv[4..8].iter_mut().zip(ssrc) {
        *a ^= b;
    }
    for (a, b) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *a ^= b;
    }
    iv
}

fn four(b: &[u8], at: usize) -> Result<[u8; 4], SrtpError> {
    b.get(at..at + 4).and_then(|s| s.try_into().ok()).ok_or(SrtpError::Short)
}

/// Protects what we send.
pub struct SrtpSender {
    rtp: Session,
    rtcp: Session,
    rtcp_index: u32,
}

impl SrtpSender {
    /// From one direction's master key and salt.
    pub fn new(profile: Profile, master: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        Ok(SrtpSender {
            rtp: Session::new(profile, master, salt, false)?,
            rtcp: Session::new(profile, master, salt, true)?,
            rtcp_index: 0,
        })
    }

    /// Protects the RTP packet that begins at `start` and ends `buf`; `header` is its header length with extension,
    /// `roc` the roll-over counter of its sequence number. Appends the tag.
    pub fn protect_rtp(&self, buf: &mut Vec<u8>, start: usize, header: usize, roc: u32) -> Result<(), SrtpError> {
        let packet = buf.get_mut(start..).ok_or(SrtpError::Short)?;
        if packet.len() < header || header < 12 {
            return Err(SrtpError::Short);
        }
        let (head, body) = packet.split_at_mut(header);
        let ssrc = four(head, 8)?;
        match &self.rtp {
            Session::Gcm { key, salt } => {
                let r = roc.to_be_bytes();
                let nonce = gcm_nonce(salt, ssrc, [r[0], r[1], r[2], r[3], head[2], head[3]]);
                let tag =
                    key.seal_in_place_separate_tag(nonce, Aad::from(&head[..]), body).map_err(|_| SrtpError::Auth)?;
                buf.extend_from_slice(tag.as_ref());
            }
            Session::Cm { key, salt, auth, tag } => {
                let index = (u64::from(roc) << 16) | u64::from(u16::from_be_bytes([head[2], head[3]]));
                aes_ctr(key, cm_iv(salt, ssrc, index), body)?;
                let mut mac = hmac::Context::with_key(auth);
                mac.update(buf.get(start..).ok_or(SrtpError::Short)?);
                mac.update(&roc.to_be_bytes());
                buf.extend_from_slice(&mac.sign().as_ref()[..*tag]);
            }
        }
        Ok(())
    }

    /// Protects the RTCP compound that begins at `start` and ends `buf`.
    pub fn protect_rtcp(&mut self, buf: &mut Vec<u8>, start: usize) -> Result<(), SrtpError> {
        if self.rtcp_index >= INDEX_MASK {
            return Err(SrtpError::Exhausted);
        }
        self.rtcp_index += 1;
        let index = self.rtcp_index;
        let word = (index | 0x8000_0000).to_be_bytes();
        let packet = buf.get_mut(start..).ok_or(SrtpError::Short)?;
        if packet.len() < 8 {
            return Err(SrtpError::Short);
        }
        let (head, body) = packet.split_at_mut(8);
        let ssrc = four(head, 4)?;
        match &self.rtcp {
            Session::Gcm { key, salt } => {
                let i = index.to_be_bytes();
                let nonce = gcm_nonce(salt, ssrc, [0, 0, i[0], i[1], i[2], i[3]]);
                let mut aad = [0; 12];
                aad[..8].copy_from_slice(head);
                aad[8..].copy_from_slice(&word);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), body).map_err(|_| SrtpError::Auth)?;
                buf.extend_from_slice(tag.as_ref());
                buf.extend_from_slice(&word);
            }
            Session::Cm { key, salt, auth, .. } => {
                aes_ctr(key, cm_iv(salt, ssrc, u64::from(index)), body)?;
                buf.extend_from_slice(&word);
                let tag = hmac::sign(auth, buf.get(start..).ok_or(SrtpError::Short)?);
                buf.extend_from_slice(&tag.as_ref()[..10]);
            }
        }
        Ok(())
    }
}

/// Replay window of 128 indices of one sender (RFC 3711 3.3.2).
#[derive(Default)]
pub(crate) struct Window {
    pub(crate) highest: u64,
    seen: u128,
}

impl Window {
    pub(crate) fn replayed(&self, index: u64) -> bool {
        if index > self.highest {
            return false;
        }
        let back = self.highest - index;
        back >= 128 || self.seen & (1 << back) != 0
    }

    pub(crate) fn accept(&mut self, index: u64) {
        if index > self.highest {
            let by = index - self.highest;
            self.seen = if by >= 128 { 0 } else { self.seen << by };
            self.seen |= 1;
            self.highest = index;
        } else {
            self.seen |= 1 << (self.highest - index).min(127);
        }
    }
}

/// Senders with a window of their own, in one leg. A browser has one for each section.
const MAX_SENDERS: usize = 32;

/// Opens the RTCP that a viewer sends. Each SSRC counts its own SRTCP index (RFC 3711 3.2.1), so each has its own window.
pub struct SrtcpReceiver {
    rtcp: Session,
    windows: Vec<([u8; 4], Window)>,
    /// Bytes of the master key identifier in each packet, checked for length only: there is one key.
    mki: usize,
}

impl SrtcpReceiver {
    pub fn new(profile: Profile, master: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        Ok(SrtcpReceiver { rtcp: Session::new(profile, master, salt, true)?, windows: Vec::new(), mki: 0 })
    }

    /// The peer puts an identifier of this many bytes into each packet.
    pub fn with_mki(mut self, bytes: usize) -> Self {
        self.mki = bytes;
        self
    }

    fn replayed(&self, ssrc: [u8; 4], index: u32) -> bool {
        match self.windows.iter().find(|(s, _)| *s == ssrc) {
            Some((_, w)) => w.replayed(u64::from(index)),
            None => self.windows.len() >= MAX_SENDERS,
        }
    }

    /// Only after authentication.
    fn accept(&mut self, ssrc: [u8; 4], index: u32) {
        match self.windows.iter_mut().find(|(s, _)| *s == ssrc) {
            Some((_, w)) => w.accept(u64::from(index)),
            None => {
                let mut w = Window::default();
                w.accept(u64::from(index));
                self.windows.push((ssrc, w));
            }
        }
    }

    /// Opens one SRTCP datagram in place and gives the compound.
    pub fn unprotect<'a>(&mut self, b: &'a mut [u8]) -> Result<&'a [u8], SrtpError> {
        // The first packet has index 0 or 1, by implementation: index + 1 is counted so that both pass once.
        match &self.rtcp {
            Session::Gcm { key, salt } => {
                let at = b.len().checked_sub(4 + self.mki).filter(|at| *at >= 8 + 16).ok_or(SrtpError::Short)?;
                let word = four(b, at)?;
                let index = u32::from_be_bytes(word) & INDEX_MASK;
                let ssrc = four(b, 4)?;
                if self.replayed(ssrc, index + 1) {
                    return Err(SrtpError::Replay);
                }
                let i = index.to_be_bytes();
                let nonce = gcm_nonce(salt, ssrc, [0, 0, i[0], i[1], i[2], i[3]]);
                let len = if word[0] & 0x80 != 0 {
                    let mut aad = [0; 12];
                    aad[..8].copy_from_slice(&b[..8]);
                    aad[8..].copy_from_slice(&word);
                    let body = &mut b[8..at];
                    8 + key.open_in_place(nonce, Aad::from(aad), body).map_err(|_| SrtpError::Auth)?.len()
                } else {
                    let end = at - 16;
                    let mut aad = b[..end].to_vec();
                    aad.extend_from_slice(&word);
                    key.open_in_place(nonce, Aad::from(aad), &mut b[end..at]).map_err(|_| SrtpError::Auth)?;
                    end
                };
                self.accept(ssrc, index + 1);
                b.get(..len).ok_or(SrtpError::Short)
            }
            Session::Cm { key, salt, auth, .. } => {
                let tag_at = b.len().checked_sub(10).ok_or(SrtpError::Short)?;
                let at = tag_at.checked_sub(4 + self.mki).filter(|at| *at >= 8).ok_or(SrtpError::Short)?;
                let word = four(b, at)?;
                let index = u32::from_be_bytes(word) & INDEX_MASK;
                let ssrc = four(b, 4)?;
                if self.replayed(ssrc, index + 1) {
                    return Err(SrtpError::Replay);
                }
                let tag = hmac::sign(auth, &b[..at + 4]);
                constant_time::verify_slices_are_equal(&tag.as_ref()[..10], &b[tag_at..])
                    .map_err(|_| SrtpError::Auth)?;
                if word[0] & 0x80 != 0 {
                    aes_ctr(key, cm_iv(salt, ssrc, u64::from(index)), &mut b[8..at])?;
                }
                self.accept(ssrc, index + 1);
                b.get(..at).ok_or(SrtpError::Short)
            }
        }
    }
}

/// Both directions of a leg that is the DTLS server and receives RTCP only, from the exported material.
pub fn server_keys(material: &[u8], profile: Profile) -> Result<(SrtpSender, SrtcpReceiver), SrtpError> {
    let (client, server) = exported(material, profile)?;
    let sender = SrtpSender::new(profile, server.0, server.1)?;
    Ok((sender, SrtcpReceiver::new(profile, client.0, client.1)?))
}

type KeyAndSalt<'a> = (&'a [u8], &'a [u8]);

/// Cuts what DTLS exported into (key, salt) of the client and of the server (RFC 5764 4.2).
pub(crate) fn exported(material: &[u8], profile: Profile) -> Result<(KeyAndSalt<'_>, KeyAndSalt<'_>), SrtpError> {
    let (k, s) = (profile.key_len(), profile.salt_len());
    if material.len() < 2 * (k + s) {
        return Err(SrtpError::Keys);
    }
    let (client_key, rest) = material.split_at(k);
    let (server_key, rest) = rest.split_at(k);
    let (client_salt, rest) = rest.split_at(s);
    Ok(((client_key, client_salt), (server_key, &rest[..s])))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn hex(s: &str) -> Vec<u8> {
        let s: String = s.split_whitespace().collect();
        (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn rfc3711_b3_key_derivation() {
        let master = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let (mut key, mut s, mut auth) = ([0; 16], [0; 14], [0; 20]);
        derive(&master, &salt, 0, &mut key).unwrap();
        derive(&master, &salt, 1, &mut auth).unwrap();
        derive(&master, &salt, 2, &mut s).unwrap();
        assert_eq!(key.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(s.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(auth.to_vec(), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn rfc3711_b2_keystream() {
        let mut data = [0; 32];
        let salt: [u8; 14] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        aes_ctr(&ctr_key(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap(), cm_iv(&salt, [0; 4], 0), &mut data)
            .unwrap();
        assert_eq!(data.to_vec(), hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB"));
    }

    const KEY: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn raw(key: &str) -> SrtpSender {
        let salt: [u8; 12] = hex("517569642070726f2071756f").try_into().unwrap();
        SrtpSender {
            rtp: Session::gcm(&hex(key), salt).unwrap(),
            rtcp: Session::gcm(&hex(key), salt).unwrap(),
            rtcp_index: 0x5d3,
        }
    }

    #[test]
    fn rfc7714_16_rtp() {
        let plain = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573";
        let mut b = hex(plain);
        raw(KEY).protect_rtp(&mut b, 0, 12, 0).unwrap();
        assert_eq!(
            b[12..].to_vec(),
            hex(
                "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833 899d7f27 beb16a91 52cf765e e4390cce"
            )
        );
        let mut b = hex(plain);
        raw(KEY_256).protect_rtp(&mut b, 0, 12, 0).unwrap();
        assert_eq!(
            b[12..].to_vec(),
            hex(
                "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13"
            )
        );
    }

    #[test]
    fn rfc7714_17_rtcp() {
        let plain = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef";
        let mut b = hex(plain);
        raw(KEY).protect_rtcp(&mut b, 0).unwrap();
        assert_eq!(
            b[8..].to_vec(),
            hex(
                "63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4"
            )
        );
    }

    #[test]
    fn each_sender_counts_for_itself() {
        let profile = Profile::Gcm128;
        let (key, salt) = ([7; 16], [9; 12]);
        let mut rx = SrtcpReceiver::new(profile, &key, &salt).unwrap();
        for ssrc in ["00000001", "fa17fa17"] {
            // As libsrtp does: a count for each SSRC, from the same start.
            let mut tx = SrtpSender::new(profile, &key, &salt).unwrap();
            for _ in 0..3 {
                let mut b = hex(&format!("80c90001{ssrc}"));
                tx.protect_rtcp(&mut b, 0).unwrap();
                assert!(rx.unprotect(&mut b).is_ok());
            }
        }
    }

    #[test]
    fn round_trip_replay_and_tampering() {
        for profile in Profile::ALL {
            // The far end's receiver has our sending keys.
            let (k, s) = (profile.key_len(), profile.salt_len());
            let material: Vec<u8> = (0..2 * (k + s) as u8).collect();
            let (mut tx, _) = server_keys(&material, profile).unwrap();
            let mut rx = SrtcpReceiver::new(profile, &material[k..2 * k], &material[2 * k + s..]).unwrap();
            let plain = hex("80c90001 01020304");
            let mut sent = Vec::new();
            for _ in 0..200 {
                let mut b = plain.clone();
                b.extend_from_slice(&plain);
                tx.protect_rtcp(&mut b, 0).unwrap();
                sent.push(b);
            }
            let mut bad = sent[0].clone();
            bad[9] ^= 1;
            assert_eq!(rx.unprotect(&mut bad), Err(SrtpError::Auth));
            assert_eq!(rx.unprotect(&mut sent[0].clone()).unwrap()[..8], plain);
            assert_eq!(rx.unprotect(&mut sent[0].clone()), Err(SrtpError::Replay));
            assert!(rx.unprotect(&mut sent[5].clone()).is_ok());
            assert!(rx.unprotect(&mut sent[3].clone()).is_ok());
            assert_eq!(rx.unprotect(&mut sent[3].clone()), Err(SrtpError::Replay));
            assert!(rx.unprotect(&mut sent[199].clone()).is_ok());
            assert_eq!(rx.unprotect(&mut sent[4].clone()), Err(SrtpError::Replay));
            for cut in 0..sent[6].len() {
                assert!(rx.unprotect(&mut sent[6][..cut].to_vec()).is_err());
            }
        }
    }
}
