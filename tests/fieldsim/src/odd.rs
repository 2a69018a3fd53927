//! What devices do beside the standard, and what breaks on the way: faults of one row each of the tables of quirks and causes.

use serde::Deserialize;

/// Set by `--fault NAME` or `NAME=VALUE`, as all faults.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Odd {
    /// The first answer to Catalog comes this many seconds late.
    pub slow_catalog: Option<f64>,
    /// Another `y=` than asked for, and RTP carries it.
    pub other_y: bool,
    /// `c=` stands behind `m=` only; the session's `o=` says 0.0.0.0.
    pub media_level_c: bool,
    /// All channels send with the SSRC 1.
    pub same_ssrc: bool,
    /// Stops at a BYE, but answers it with 481.
    pub bye_481: bool,
    /// 486 while an older call for the channel is being sent.
    pub busy_while_sending: bool,
    /// Answers CANCEL with 200 and INVITE with 200 all the same.
    pub ignore_cancel: bool,
    /// The final answer to INVITE comes this many seconds late.
    pub slow_answer: Option<f64>,
    /// This many seconds after its registration it registers again from another port with another Call-ID; UDP only.
    pub moves_port: Option<f64>,
    /// Refreshes repeat the credentials of the first registration: same nonce, same count.
    pub stale_nonce: bool,
    /// To of its messages is itself, and the domain is wrong.
    pub own_to: bool,
    /// Signalling over TCP in pieces of 100 bytes, each message behind an empty line.
    pub tcp_pieces: bool,
    /// No Content-Length; UDP only.
    pub no_content_length: bool,
    /// Header lines end with LF only.
    pub lf_only: bool,
    /// Contact is 192.168.1.64, Via is 0.0.0.0.
    pub private_contact: bool,
    /// The answer repeats the platform's `a=setup`.
    pub echo_setup: bool,
    /// The answer's encoding name is this, and so is the content: random bytes.
    pub private_encoding: Option<String>,
    /// Packets are held back and sent all at once, every so many seconds.
    pub bursts: Option<f64>,
    /// This many seconds after the first packet another SSRC and other sequence numbers.
    pub changes_ssrc: Option<f64>,
    /// The media connection is closed this many seconds after the first packet, without BYE; TCP only.
    pub tcp_closes: Option<f64>,
    /// This many seconds after the first packet the lengths of the connection are nonsense; TCP only.
    pub bad_framing: Option<f64>,
    /// Pictures without SPS and PPS.
    pub no_sps: bool,
    /// The program stream map calls the pictures SVAC.
    pub svac: bool,
    /// Requests of the platform no longer arrive this many seconds after the registration; keepalives go on.
    pub deaf: Option<f64>,
    /// The way carries so many kbit/s: over UDP the rest is lost, over TCP pictures are left out.
    pub low_rate: Option<f64>,
}

pub const NAMES: &str = "slow-catalog=S, other-y, media-level-c, same-ssrc, bye-481, busy-while-sending, ignore-cancel, \
slow-answer=S, moves-port=S, stale-nonce, own-to, tcp-pieces, no-content-length, lf-only, private-contact, echo-setup, \
private-encoding[=NAME], bursts=S, changes-ssrc=S, tcp-closes=S, bad-framing[=S], no-sps, svac, deaf=S, low-rate=KBITPS";

impl Odd {
    /// Takes a fault; false when it is none of these.
    pub fn add(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let number = |default: Option<f64>| match (value, default) {
            ("", Some(default)) => Ok(Some(default)),
            _ => value
                .parse::<f64>()
                .ok()
                .filter(|n| *n >= 0.0)
                .map(Some)
                .ok_or(format!("fault {name} wants a number: {name}=N")),
        };
        match name {
            "slow-catalog" => self.slow_catalog = number(None)?,
            "other-y" => self.other_y = true,
            "media-level-c" => self.media_level_c = true,
            "same-ssrc" => self.same_ssrc = true,
            "bye-481" => self.bye_481 = true,
            "busy-while-sending" => self.busy_while_sending = true,
            "ignore-cancel" => self.ignore_cancel = true,
            "slow-answer" => self.slow_answer = number(None)?,
            "moves-port" => self.moves_port = number(None)?,
            "stale-nonce" => self.stale_nonce = true,
            "own-to" => self.own_to = true,
            "tcp-pieces" => self.tcp_pieces = true,
            "no-content-length" => self.no_content_length = true,
            "lf-only" => self.lf_only = true,
            "private-contact" => self.private_contact = true,
            "echo-setup" => self.echo_setup = true,
            "private-encoding" => {
                self.private_encoding = Some(if value.is_empty() { "HIKVISION".into() } else { value.into() });
            }
            "bursts" => self.bursts = number(None)?,
            "changes-ssrc" => self.changes_ssrc = number(None)?,
            "tcp-closes" => self.tcp_closes = number(None)?,
            "bad-framing" => self.bad_framing = number(Some(0.0))?,
            "no-sps" => self.no_sps = true,
            "svac" => self.svac = true,
            "deaf" => self.deaf = number(None)?,
            "low-rate" => self.low_rate = number(None)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A message as the device's firmware writes it.
pub fn written(bytes: Vec<u8>, odd: &Odd, tcp: bool) -> Vec<u8> {
    if !(odd.lf_only || odd.no_content_length && !tcp) {
        return bytes;
    }
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let (head, body) = bytes.split_at(end);
    let mut head = String::from_utf8_lossy(head).into_owned();
    if odd.no_content_length && !tcp {
        head = head.split_inclusive("\r\n").filter(|l| !l.starts_with("Content-Length")).collect();
    }
    if odd.lf_only {
        head = head.replace("\r\n", "\n");
    }
    let mut out = head.into_bytes();
    out.extend_from_slice(body);
    out
}

/// An access unit without its parameter sets (NAL types 7 and 8 behind start codes).
pub fn without_sets(annexb: &[u8]) -> Vec<u8> {
    units(annexb, |kind| !matches!(kind, 7 | 8))
}

/// Its parameter sets alone.
pub fn only_sets(annexb: &[u8]) -> Vec<u8> {
    units(annexb, |kind| matches!(kind, 7 | 8))
}

fn units(annexb: &[u8], keep: impl Fn(u8) -> bool) -> Vec<u8> {
    let last = annexb.len().saturating_sub(3);
    let starts: Vec<usize> = (0..last).filter(|i| annexb.get(*i..i + 3) == Some(&[0, 0, 1])).collect();
    let mut out = Vec::with_capacity(annexb.len());
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(annexb.len());
        let unit = annexb.get(start + 3..end).unwrap_or(&[]);
        if unit.first().is_some_and(|b| keep(b & 31)) {
            out.extend_from_slice(&[0, 0, 0, 1]);
            // A four-byte start code leaves its first zero at the end of the unit before.
            let unit = if n + 1 < starts.len() { unit.strip_suffix(&[0]).unwrap_or(unit) } else { unit };
            out.extend_from_slice(unit);
        }
    }
    out
}

/// How much the way carries.
pub struct Bucket {
    /// Bytes a second.
    rate: f64,
    level: f64,
    at: std::time::Instant,
}

impl Bucket {
    pub fn new(kbit: f64) -> Bucket {
        Bucket { rate: kbit * 125.0, level: 3000.0, at: std::time::Instant::now() }
    }

    fn fill(&mut self) {
        let now = std::time::Instant::now();
        self.level = (self.level + (now - self.at).as_secs_f64() * self.rate).min(self.rate.max(3000.0) * 0.2);
        self.at = now;
    }

    /// Whether a packet still goes through.
    pub fn takes(&mut self, bytes: usize) -> bool {
        self.fill();
        let fits = self.level >= bytes as f64;
        if fits {
            self.level -= bytes as f64;
        }
        fits
    }

    /// How long the way needs for so many bytes.
    pub fn time(&self, bytes: usize) -> std::time::Duration {
        std::time::Duration::from_secs_f64(bytes as f64 / self.rate.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_writes_as_it_likes() {
        let odd = Odd { lf_only: true, no_content_length: true, ..Odd::default() };
        let bytes = b"MESSAGE a SIP/2.0\r\nTo: b\r\nContent-Length: 4\r\n\r\nx\r\ny".to_vec();
        assert_eq!(written(bytes.clone(), &odd, false), b"MESSAGE a SIP/2.0\nTo: b\n\nx\r\ny");
        assert_eq!(written(bytes.clone(), &odd, true), b"MESSAGE a SIP/2.0\nTo: b\nContent-Length: 4\n\nx\r\ny");
        assert_eq!(written(bytes.clone(), &Odd::default(), false), bytes);
    }

    #[test]
    fn parameter_sets_are_left_out() {
        let unit = [0, 0, 0, 1, 0x67, 9, 9, 0, 0, 0, 1, 0x68, 8, 0, 0, 0, 1, 0x65, 1, 2];
        assert_eq!(without_sets(&unit), [0, 0, 0, 1, 0x65, 1, 2]);
        assert_eq!(only_sets(&unit), [0, 0, 0, 1, 0x67, 9, 9, 0, 0, 0, 1, 0x68, 8]);
    }

    #[test]
    fn names() {
        let mut odd = Odd::default();
        assert_eq!(odd.add("bad-framing", ""), Ok(true));
        assert_eq!(odd.add("deaf", "3"), Ok(true));
        assert_eq!((odd.bad_framing, odd.deaf), (Some(0.0), Some(3.0)));
        assert!(odd.add("low-rate", "").is_err() && odd.add("nothing", "") == Ok(false));
        for name in NAMES.split(", ").map(|n| n.split(['=', '[']).next().unwrap_or(n)) {
            assert_eq!(Odd::default().add(name, "1"), Ok(true), "{name}");
        }
    }
}
