//! RTCP of a viewer: what it reports and asks for, and our sender reports (RFC 3550, 4585, 4588, 5104).

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use media_core::packetize;
use media_core::rtcp::{NackEntry, ReportBlock, Rtcp};
use media_core::time::{ntp_from_unix, ntp_middle};

use super::Viewer;
use super::send::{Extensions, Header, Track, write_packet};
use crate::outbox::Outbox;

/// Retransmissions may use up this much beyond the pace.
const RTX_DEBT: f64 = -100_000.0;
/// Key frame requests of one viewer are passed on at most this often.
const PLI_SPACING: Duration = Duration::from_millis(500);

fn ntp_now() -> u64 {
    ntp_from_unix(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

impl Viewer {
    /// One SRTCP datagram.
    pub(super) fn srtcp(&mut self, now: Instant, data: &mut [u8], out: &mut Outbox) {
        let Some(keys) = &mut self.keys else { return };
        // RFC 5761: anything else on this port is RTP, which a viewer does not send.
        if !data.get(1).is_some_and(|t| (192..=223).contains(t)) {
            return;
        }
        let plain = match keys.rx.unprotect(data) {
            Ok(plain) => plain,
            Err(error) => {
                self.env.counters.srtcp_refused.fetch_add(1, Relaxed);
                tracing::debug!(leg = %self.shared.id, %error, "SRTCP refused");
                return;
            }
        };
        let Ok(compound) = Rtcp::parse_compound(plain) else { return };
        for packet in compound {
            match packet {
                Rtcp::ReceiverReport { reports, .. } | Rtcp::SenderReport { reports, .. } => {
                    for block in &reports {
                        self.report_block(block, now);
                    }
                }
                Rtcp::Nack { media, entries, .. } if media == self.video.ssrc => self.resend(&entries, now, out),
                Rtcp::Pli { media, .. } if media == self.video.ssrc => self.key_wanted(now),
                Rtcp::Fir { entries, .. } if entries.iter().any(|(ssrc, _)| *ssrc == self.video.ssrc) => {
                    self.key_wanted(now)
                }
                Rtcp::Remb { bitrate, .. } => {
                    self.congestion.on_remb(bitrate, now);
                    self.shared.estimate.store(bitrate, Relaxed);
                }
                _ => {}
            }
        }
    }

    fn report_block(&mut self, block: &ReportBlock, now: Instant) {
        if block.ssrc == self.video.ssrc {
            self.congestion.on_report(block.fraction_lost, now);
            self.shared.lost.store(u64::try_from(block.total_lost).unwrap_or(0), Relaxed);
        } else if block.ssrc == self.audio.ssrc && self.plan.video.is_none() {
            self.shared.lost.store(u64::try_from(block.total_lost).unwrap_or(0), Relaxed);
        }
        if block.last_sr != 0 {
            let round = ntp_middle(ntp_now()).wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_sr);
            // 1/65536 s; a negative one wraps.
            if round < 65_536 * 30 {
                self.shared.rtt_ms.store(u64::from(round) * 1000 / 65_536, Relaxed);
            }
        }
    }

    fn key_wanted(&mut self, now: Instant) {
        self.shared.plis.fetch_add(1, Relaxed);
        self.env.counters.plis.fetch_add(1, Relaxed);
        // A burst brings its own key frame; a decoder that is behind it would ask again and again.
        let asked = self.key_asked.is_some_and(|at| now.saturating_duration_since(at) < PLI_SPACING);
        if self.replaying.is_none() && !self.backlogged() && !asked {
            self.ask_key_frame(now);
        }
    }

    /// Answers a NACK on the retransmission SSRC (RFC 4588).
    fn resend(&mut self, entries: &[NackEntry], now: Instant, out: &mut Outbox) {
        let (Some(keys), Some(to), Some((_, plan))) = (&self.keys, self.remote, &self.plan.video) else { return };
        let mut asked = 0;
        for seq in entries.iter().flat_map(|e| e.iter()) {
            asked += 1;
            if self.tokens < RTX_DEBT {
                continue;
            }
            let Some(sent) = self.store.take(seq, now) else { continue };
            let Some(cut) = sent.frame.cuts(packetize).get(usize::from(sent.cut)).copied() else { continue };
            let h = Header {
                marker: sent.marker,
                pt: sent.rtx_pt,
                seq: self.rtx_seq,
                timestamp: sent.timestamp,
                ssrc: plan.rtx_ssrc,
            };
            let ext = Extensions::new(plan.abs_send_time, None);
            // The original sequence number goes in front (RFC 4588 section 4).
            let parts = [&seq.to_be_bytes()[..], cut.header_bytes(), cut.body(&sent.frame.payload)];
            let bytes = write_packet(out, keys, to, &h, &ext, parts);
            self.rtx_seq += 1;
            self.tokens -= bytes as f64;
            self.shared.rtx.fetch_add(1, Relaxed);
            self.env.counters.rtx_packets.fetch_add(1, Relaxed);
        }
        self.shared.nacks.fetch_add(asked, Relaxed);
        self.env.counters.nacked_packets.fetch_add(asked, Relaxed);
    }

    fn send_rtcp(&mut self, packets: &[Rtcp], out: &mut Outbox) {
        let (Some(keys), Some(to)) = (&mut self.keys, self.remote) else { return };
        let start = out.buf.len();
        for p in packets {
            p.write(&mut out.buf);
        }
        if keys.tx.protect_rtcp(&mut out.buf, start).is_err() {
            out.buf.truncate(start);
            return;
        }
        out.commit(to, start);
    }

    /// SR and SDES of each track that sent something.
    pub(super) fn sender_reports(&mut self, now: Instant, out: &mut Outbox) {
        let Some((_, at, micros)) = self.anchor else { return };
        // The instant on the stream's time line that is now.
        let media = micros + now.saturating_duration_since(at).as_micros() as i64;
        let ntp = ntp_now();
        let report = |t: &Track| {
            let pts = (i128::from(media) * i128::from(t.stamper.rate()) / 1_000_000) as i64;
            let rtp = t.stamper.proper(pts)? as u32;
            (t.packets > 0).then(|| Rtcp::SenderReport {
                ssrc: t.ssrc,
                ntp,
                rtp,
                packets: t.packets,
                octets: t.octets,
                reports: Vec::new(),
            })
        };
        for (ssrc, sr) in [(self.video.ssrc, report(&self.video)), (self.audio.ssrc, report(&self.audio))] {
            if let Some(sr) = sr {
                let sdes = Rtcp::Sdes { ssrc, cname: self.cname.clone() };
                self.send_rtcp(&[sr, sdes], out);
            }
        }
    }

    pub(super) fn bye(&mut self, out: &mut Outbox) {
        let ssrcs: Vec<u32> =
            [&self.video, &self.audio].into_iter().filter(|t| t.packets > 0).map(|t| t.ssrc).collect();
        if let Some(first) = ssrcs.first().copied() {
            let rr = Rtcp::ReceiverReport { ssrc: first, reports: Vec::new() };
            self.send_rtcp(&[rr, Rtcp::Bye { ssrcs, reason: String::new() }], out);
        }
    }
}
