//! What a device sends back on a talk of 2016: its microphone, as a stream of the hub.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::jitter::{Ordered, Reorder};
use media_core::rtp::{RtpPacket, Stamp, TimestampExtender};
use media_core::{Codec, Frame, TrackId, TrackInfo};
use media_hub::{Publisher, StreamId};

const CLOCK: u32 = 8000;
const REORDER: usize = 3;
const REORDER_WAIT: Duration = Duration::from_millis(40);
/// Sound in one packet at most: 180 ms and a little more.
const LONGEST: usize = 1600;

pub(super) struct Returned {
    publisher: Publisher,
    reorder: Reorder<(u32, Bytes)>,
    stamps: TimestampExtender,
    zero: Option<i64>,
}

impl Returned {
    pub fn new(publisher: Publisher) -> Returned {
        publisher.set_tracks(&[TrackInfo::audio(Codec::G711A, CLOCK, 1)]);
        Returned {
            publisher,
            reorder: Reorder::new(REORDER, REORDER_WAIT),
            stamps: TimestampExtender::new(CLOCK),
            zero: None,
        }
    }

    pub fn stream(&self) -> StreamId {
        self.publisher.stream().id().clone()
    }

    /// One RTP packet; all but G.711 A-law is passed over.
    pub fn packet(&mut self, data: &[u8], now: Instant) {
        let Ok(packet) = RtpPacket::parse(data) else { return };
        if packet.payload_type != 8 || packet.payload.is_empty() || packet.payload.len() > LONGEST {
            return;
        }
        let item = (packet.timestamp, Bytes::copy_from_slice(packet.payload));
        self.reorder.push(packet.ssrc, packet.sequence, now, item);
    }

    /// Gives out what is in order.
    pub fn drain(&mut self, now: Instant) {
        while let Some(ordered) = self.reorder.poll(now) {
            match ordered {
                Ordered::Packet { item: (timestamp, payload), .. } => self.write(timestamp, payload, now),
                Ordered::Lost { .. } => {}
                Ordered::Reset => {
                    self.publisher.new_epoch();
                    self.stamps.reset();
                    self.zero = None;
                }
            }
        }
    }

    fn write(&mut self, timestamp: u32, payload: Bytes, now: Instant) {
        let ticks = match self.stamps.extend(timestamp) {
            Stamp::Continuous(ticks) => ticks,
            Stamp::Discontinuity { ticks, .. } => {
                self.publisher.new_epoch();
                ticks
            }
        };
        let zero = *self.zero.get_or_insert(ticks);
        let duration = payload.len() as u32;
        let frame = Frame::new(TrackId::AUDIO, Codec::G711A, ticks - zero, true, now, payload);
        self.publisher.write(frame.with_duration(duration));
    }
}
