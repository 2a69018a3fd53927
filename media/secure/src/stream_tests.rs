#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::profile::Profile;

fn packet(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0x80, 8];
    b.extend_from_slice(&sequence.to_be_bytes());
    b.extend_from_slice(&1234u32.to_be_bytes());
    b.extend_from_slice(&ssrc.to_be_bytes());
    b.extend_from_slice(payload);
    b
}

fn pair(profile: Profile) -> (Outgoing, Incoming) {
    let keys = Keys::random(profile).unwrap();
    (Outgoing::new(&keys).unwrap(), Incoming::new(&keys).unwrap())
}

fn protect(out: &mut Outgoing, plain: &[u8]) -> Vec<u8> {
    // Something before it, as in a send buffer.
    let mut buf = vec![0xEE; 5];
    buf.extend_from_slice(plain);
    out.protect(&mut buf, 5).unwrap();
    buf.split_off(5)
}

#[test]
fn the_counter_rolls_over_and_losses_and_reordering_are_borne() {
    for profile in Profile::ALL {
        let (mut out, mut inc) = pair(profile);
        let mut held: Option<Vec<u8>> = None;
        for n in 65_400u32..(65_536 * 2 + 300) {
            let plain = packet(7, n as u16, &n.to_be_bytes());
            let mut wire = protect(&mut out, &plain);
            assert_ne!(wire[12..16], plain[12..16]);
            assert_eq!(
                wire.len() - plain.len(),
                if profile.is_gcm() {
                    16
                } else if profile == Profile::AesCm32 {
                    4
                } else {
                    10
                }
            );
            match n % 10 {
                3 => continue,
                5 => held = Some(wire),
                _ => {
                    let len = inc.open(&mut wire).unwrap();
                    assert_eq!(wire[..len], plain);
                    if let Some(mut late) = held.take() {
                        assert!(inc.open(&mut late).is_ok(), "late by one at {n}");
                        assert_eq!(inc.open(&mut protect_again(&late)), Err(SrtpError::Replay));
                    }
                }
            }
        }
    }
}

/// Any packet with the same number: the window speaks before the tag.
fn protect_again(plain: &[u8]) -> Vec<u8> {
    plain.to_vec()
}

#[test]
fn what_was_changed_is_refused_and_changes_nothing() {
    for profile in Profile::ALL {
        let (mut out, mut inc) = pair(profile);
        let plain = packet(9, 100, b"sound of a phone");
        let wire = protect(&mut out, &plain);
        for at in 0..wire.len() {
            let mut bad = wire.clone();
            bad[at] ^= 0x40;
            assert!(inc.open(&mut bad).is_err(), "{profile:?}: byte {at}");
        }
        for cut in 0..wire.len() {
            assert!(inc.open(&mut wire[..cut].to_vec()).is_err());
        }
        // A forged number far ahead has not moved the window.
        let mut far = wire.clone();
        far[2] = 0x70;
        assert_eq!(inc.open(&mut far), Err(SrtpError::Auth));
        let mut good = wire.clone();
        let len = inc.open(&mut good).unwrap();
        assert_eq!(good[..len], plain);
        assert_eq!(inc.open(&mut wire.clone()), Err(SrtpError::Replay));
        // Another key.
        assert_eq!(pair(profile).1.open(&mut wire.clone()), Err(SrtpError::Auth));
    }
}

#[test]
fn no_index_is_used_twice() {
    let (mut out, _) = pair(Profile::Gcm128);
    protect(&mut out, &packet(1, 10, b"first"));
    let mut again = packet(1, 10, b"other");
    assert_eq!(out.protect(&mut again, 0), Err(SrtpError::Replay));
    assert!(again.is_empty(), "nothing of it is left to send");
    protect(&mut out, &packet(2, 10, b"another stream"));
    for ssrc in 3..=MAX_STREAMS as u32 {
        protect(&mut out, &packet(ssrc, 1, b"x"));
    }
    assert_eq!(out.protect(&mut packet(9999, 1, b"x"), 0), Err(SrtpError::Streams));
}

#[test]
fn headers_with_contributors_and_extension_stay_readable() {
    for profile in Profile::ALL {
        let (mut out, mut inc) = pair(profile);
        let mut plain = vec![0x92, 0x88, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 1, 1, 1, 2, 2, 2, 2];
        plain.extend_from_slice(&[0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
        let head = plain.len();
        plain.extend_from_slice(b"voice");
        let mut wire = protect(&mut out, &plain);
        assert_eq!(wire[..head], plain[..head]);
        let len = inc.open(&mut wire).unwrap();
        assert_eq!(wire[..len], plain);
    }
}

#[test]
fn a_key_identifier_in_each_packet_is_passed_over() {
    let keys = Keys::random(Profile::AesCm80).unwrap();
    let (mut out, mut inc) = (Outgoing::new(&keys).unwrap(), Incoming::new(&keys.clone().with_mki(4)).unwrap());
    let plain = packet(9, 100, b"sound");
    let wire = protect(&mut out, &plain);
    let at = wire.len() - 10;
    let mut with = wire[..at].to_vec();
    with.extend_from_slice(&[0, 0, 0, 1]);
    with.extend_from_slice(&wire[at..]);
    let len = inc.open(&mut with).unwrap();
    assert_eq!(with[..len], plain);
    // And in a report.
    let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
    let wire = protect(&mut out, &report);
    let at = wire.len() - 10;
    let mut with = wire[..at].to_vec();
    with.extend_from_slice(&[0, 0, 0, 1]);
    with.extend_from_slice(&wire[at..]);
    let len = inc.open(&mut with).unwrap();
    assert_eq!(with[..len], report);
}
