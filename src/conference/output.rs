//! What a conference gives as one stream: its main picture with its mix, for those who only watch and for the recorder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::drive_on_demand;
use bytes::Bytes;
use media_core::{Codec, Frame, MediaKind, TrackId, TrackInfo};
use media_hub::{Fault, Hub, Item, Opener, Publisher, Pulled, Stream, StreamId, SubscribeOptions, Subscriber, Whose};
use tokio_util::sync::CancellationToken;

/// Gives the name of a conference.
pub type Names = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Opens `conference:ID` when somebody wants it.
pub struct OutputOpener {
    pub hub: Hub,
    pub name: Names,
    pub shutdown: CancellationToken,
}

fn conference(id: &StreamId) -> Option<&str> {
    id.as_str().strip_prefix("conference:")
}

impl Opener for OutputOpener {
    fn name(&self, id: &StreamId) -> Option<String> {
        (self.name)(conference(id)?)
    }

    fn open(&self, stream: Arc<Stream>) {
        let Some(id) = conference(stream.id()).map(str::to_owned) else { return };
        let hub = self.hub.clone();
        let drive = drive_on_demand(
            self.hub.clone(),
            stream,
            Duration::from_secs(2),
            self.shutdown.clone(),
            move |publisher, stop| join(hub.clone(), id.clone(), publisher, stop),
        );
        tokio::spawn(drive);
    }
}

async fn join(hub: Hub, id: String, publisher: Publisher, stop: CancellationToken) -> (Publisher, Result<(), Fault>) {
    let picture = hub.subscribe(&StreamId::new(format!("program:conference/{id}")), SubscribeOptions::default());
    let sound = hub.subscribe(&StreamId::new(format!("mix:{id}")), SubscribeOptions::default());
    let (Ok(picture), Ok(sound)) = (picture, sound) else {
        let fault = Fault::new("conference_over", Whose::You, false, "会议已结束", "The conference is over");
        return (publisher, Err(fault));
    };
    let mut output =
        Output { publisher, picture, sound, lines: [TimeLine::default(), TimeLine::default()], zero: Instant::now() };
    output.run(stop).await;
    (output.publisher, Ok(()))
}

struct Output {
    publisher: Publisher,
    picture: Subscriber,
    sound: Subscriber,
    /// Of picture and sound.
    lines: [TimeLine; 2],
    zero: Instant,
}

impl Output {
    async fn run(&mut self, stop: CancellationToken) {
        let mut tracks: [Option<TrackInfo>; 2] = [None, Some(mix_track())];
        self.announce(&tracks);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.publisher.key_frame_requested() => self.picture.stream().request_key_frame(),
                pulled = self.picture.next() => match pulled {
                    Pulled::Tracks(now) => {
                        tracks[0] = now.iter().find(|t| t.kind() == MediaKind::Video).cloned();
                        self.announce(&tracks);
                    }
                    Pulled::Item(item) if item.frame.kind() == MediaKind::Video => self.pass(0, &item, 90_000),
                    _ => {}
                },
                pulled = self.sound.next() => if let Pulled::Item(item) = pulled {
                    self.pass(1, &item, 48_000);
                },
            }
        }
    }

    fn announce(&self, tracks: &[Option<TrackInfo>; 2]) {
        let all: Vec<TrackInfo> = tracks.iter().flatten().cloned().collect();
        self.publisher.set_tracks(&all);
    }

    fn pass(&mut self, line: usize, item: &Item, rate: u32) {
        let pts = self.lines[line].place(item, rate, self.zero);
        let old = &item.frame;
        let payload: Bytes = old.payload.clone();
        let frame = Frame::new(old.track, old.codec, pts, old.key, old.received, payload).with_duration(old.duration);
        self.publisher.write(frame);
    }
}

fn mix_track() -> TrackInfo {
    TrackInfo { id: TrackId::AUDIO, ..TrackInfo::audio(Codec::Opus, 48_000, 1) }
}

/// Puts frames of changing sources on one time line: each epoch is laid at its first frame's receive instant, then keeps the
/// source's own spacing.
#[derive(Default)]
struct TimeLine {
    epoch: Option<u32>,
    offset: i64,
    last: Option<i64>,
}

impl TimeLine {
    fn place(&mut self, item: &Item, rate: u32, zero: Instant) -> i64 {
        if self.epoch != Some(item.epoch) {
            self.epoch = Some(item.epoch);
            let since = item.frame.received.saturating_duration_since(zero);
            let now = (since.as_secs_f64() * f64::from(rate)) as i64;
            self.offset = now - item.frame.pts;
        }
        let mut pts = item.frame.pts + self.offset;
        if let Some(last) = self.last
            && pts <= last
        {
            pts = last + 1;
        }
        self.last = Some(pts);
        pts
    }
}
