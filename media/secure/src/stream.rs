//! One direction of a protected leg: SRTP and SRTCP of all its SSRCs, with roll-over counters and replay windows
//! (RFC 3711 3.2.1, 3.3.1, 3.3.2).

use media_core::rtp::is_rtcp;

use crate::keys::Keys;
use crate::srtp::{Session, SrtcpReceiver, SrtpError, SrtpSender, Window};

/// SSRCs with a state of their own in one direction; more are refused.
const MAX_STREAMS: usize = 256;
/// Packets under one master key (RFC 3711 9.2).
const MOST_PACKETS: u64 = 1 << 48;

/// Length of the RTP header with contributors and extension (RFC 3550 5.1), and the SSRC.
fn header(b: &[u8]) -> Result<(usize, u32), SrtpError> {
    let fixed = b.get(..12).filter(|h| h[0] >> 6 == 2).ok_or(SrtpError::Short)?;
    let mut len = 12 + 4 * usize::from(fixed[0] & 0x0F);
    if fixed[0] & 0x10 != 0 {
        let ext = b.get(len..len + 4).ok_or(SrtpError::Short)?;
        len += 4 + 4 * usize::from(u16::from_be_bytes([ext[2], ext[3]]));
    }
    if b.len() < len {
        return Err(SrtpError::Short);
    }
    Ok((len, u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])))
}

struct Stream {
    ssrc: u32,
    window: Window,
}

/// The streams of one direction, by SSRC.
#[derive(Default)]
struct Streams(Vec<Stream>);

impl Streams {
    /// The 48-bit index of a sequence number, plus one so that zero means nothing seen (RFC 3711 3.3.1 and appendix A).
    fn index(&self, ssrc: u32, sequence: u16) -> Result<u64, SrtpError> {
        let Some(stream) = self.0.iter().find(|s| s.ssrc == ssrc) else {
            return if self.0.len() < MAX_STREAMS { Ok(u64::from(sequence) + 1) } else { Err(SrtpError::Streams) };
        };
        let highest = stream.window.highest - 1;
        let (roc, last) = (highest >> 16, i64::from(highest as u16));
        let step = i64::from(sequence) - last;
        let roc = match step {
            s if s > 0x8000 => roc.checked_sub(1).ok_or(SrtpError::Replay)?,
            s if s < -0x8000 => roc + 1,
            _ => roc,
        };
        let index = ((roc << 16) | u64::from(sequence)) + 1;
        match stream.window.replayed(index) {
            true => Err(SrtpError::Replay),
            false => Ok(index),
        }
    }

    fn accept(&mut self, ssrc: u32, index: u64) {
        match self.0.iter_mut().find(|s| s.ssrc == ssrc) {
            Some(stream) => stream.window.accept(index),
            None => {
                let mut window = Window::default();
                window.accept(index);
                self.0.push(Stream { ssrc, window });
            }
        }
    }
}

/// Protects what one leg sends.
pub struct Outgoing {
    sender: SrtpSender,
    streams: Streams,
    packets: u64,
}

impl Outgoing {
    pub fn new(keys: &Keys) -> Result<Self, SrtpError> {
        let sender = SrtpSender::new(keys.profile, keys.key(), keys.salt())?;
        Ok(Outgoing { sender, streams: Streams::default(), packets: 0 })
    }

    /// Protects the RTP or RTCP packet that begins at `start` and ends `buf`; on an error `buf` ends at `start`.
    ///
    /// An index that was used is refused, as the key stream would be used twice (RFC 3711 9.1): so is a sender that
    /// restarts its numbers under the same SSRC. See [`SrtpError::Replay`].
    pub fn protect(&mut self, buf: &mut Vec<u8>, start: usize) -> Result<(), SrtpError> {
        let done = self.try_protect(buf, start);
        if done.is_err() {
            buf.truncate(start);
        }
        done
    }

    fn try_protect(&mut self, buf: &mut Vec<u8>, start: usize) -> Result<(), SrtpError> {
        let packet = buf.get(start..).ok_or(SrtpError::Short)?;
        if is_rtcp(packet) {
            return self.sender.protect_rtcp(buf, start);
        }
        let (header, ssrc) = header(packet)?;
        let index = self.streams.index(ssrc, u16::from_be_bytes([packet[2], packet[3]]))?;
        if self.packets >= MOST_PACKETS {
            return Err(SrtpError::Exhausted);
        }
        self.packets += 1;
        self.sender.protect_rtp(buf, start, header, ((index - 1) >> 16) as u32)?;
        self.streams.accept(ssrc, index);
        Ok(())
    }
}

/// Opens what one leg receives.
pub struct Incoming {
    rtp: Session,
    rtcp: SrtcpReceiver,
    streams: Streams,
    mki: usize,
}

impl Incoming {
    pub fn new(keys: &Keys) -> Result<Self, SrtpError> {
        Ok(Incoming {
            rtp: Session::new(keys.profile, keys.key(), keys.salt(), false)?,
            rtcp: SrtcpReceiver::new(keys.profile, keys.key(), keys.salt())?.with_mki(keys.mki_len()),
            streams: Streams::default(),
            mki: keys.mki_len(),
        })
    }

    /// Opens one datagram of SRTP or SRTCP in place; gives the length of the plain packet. Only what is authentic changes
    /// any state.
    pub fn open(&mut self, b: &mut [u8]) -> Result<usize, SrtpError> {
        if is_rtcp(b) {
            return Ok(self.rtcp.unprotect(b)?.len());
        }
        let (header, ssrc) = header(b)?;
        let index = self.streams.index(ssrc, u16::from_be_bytes([b[2], b[3]]))?;
        let len = self.rtp.open_rtp(b, header, ((index - 1) >> 16) as u32, self.mki)?;
        self.streams.accept(ssrc, index);
        Ok(len)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
