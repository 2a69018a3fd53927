//! What runs inside a long-running worker: messages of [`crate::pipe`] on standard input, the same on standard output.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc};

use crate::pipe::{HEADER, Header, KEY, PASS};

type Failure = Box<dyn std::error::Error>;

/// What `worker video` is to make.
#[derive(Debug, Clone, Copy)]
pub struct VideoForm {
    /// Larger pictures are scaled down to this height, in pixels.
    pub max_height: u32,
    /// kbit/s.
    pub kbps: u32,
    /// For a link that is no wider than this: key frames are kept small, so that they cross it in about half a second.
    pub thin: bool,
    /// No slice is larger than a packet.
    pub small_slices: bool,
}

/// The clock of the stamps.
const RATE: u64 = 90_000;
/// Largest slice where slices must fit a packet, in bytes.
const SLICE: u32 = 1100;

/// H.264 or H.265 pictures in Annex B in, H.264 in Annex B out. The stamps are 90 kHz.
pub fn video(codec: &str, encoder: &str, form: VideoForm) -> ExitCode {
    ended(video_pipeline(codec, encoder, form).and_then(|words| run(&words)))
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn video_pipeline(codec: &str, encoder: &str, form: VideoForm) -> Result<String, Failure> {
    gstreamer::init()?;
    let decoder = match codec {
        // One thread: frame threads would each hold a picture back.
        "h265" => "h265parse ! avdec_h265 max-threads=1",
        "h264" => "h264parse ! avdec_h264 max-threads=1",
        other => return Err(format!("no decoder for {other:?}").into()),
    };
    let has = |name: &str| gstreamer::ElementFactory::find(name).is_some();
    let x264 = match encoder {
        "x264" => true,
        "openh264" => false,
        _ => has("x264enc"),
    };
    let (height, rate) = (form.max_height.clamp(96, 2160), form.kbps.clamp(48, 20_000));
    let (mut x264_more, mut openh264_more) = (String::new(), String::new());
    if form.thin {
        x264_more += "vbv-buf-capacity=500 ";
    }
    if form.small_slices {
        x264_more += &format!("option-string=slice-max-size={SLICE} ");
        openh264_more += &format!("slice-mode=dyn max-slice-size={SLICE} ");
    }
    let encode = if x264 {
        format!(
            "x264enc name=enc tune=zerolatency speed-preset=superfast bitrate={rate} key-int-max=100 bframes=0 \
             {x264_more}byte-stream=true ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au"
        )
    } else {
        format!(
            "openh264enc name=enc usage-type=camera complexity=low rate-control=bitrate gop-size=100 {openh264_more}bitrate={} ! h264parse \
             config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au",
            rate * 1000
        )
    };
    // Down to the height, never up; the width follows the picture's own shape.
    Ok(format!(
        "appsrc name=in format=time caps=video/x-{codec},stream-format=byte-stream,alignment=au ! {decoder} ! \
         videoconvert ! videoscale name=scale ! video/x-raw,format=I420,height=[16,{height}],pixel-aspect-ratio=1/1 ! \
         {encode} ! appsink name=out sync=false max-buffers=64"
    ))
}

fn clock_time(stamp: i64, rate: u64) -> gstreamer::ClockTime {
    let ticks = u64::try_from(stamp).unwrap_or(0);
    gstreamer::ClockTime::from_nseconds((u128::from(ticks) * 1_000_000_000 / u128::from(rate)) as u64)
}

fn ticks(time: gstreamer::ClockTime, rate: u64) -> i64 {
    // Rounded: the way there cut the fraction off.
    ((u128::from(time.nseconds()) * u128::from(rate) + 500_000_000) / 1_000_000_000) as i64
}

/// Reads until the input ends, or the pipeline fails.
fn run(words: &str) -> Result<(), Failure> {
    let pipeline = gstreamer::parse::launch(words)?.downcast::<gstreamer::Pipeline>().map_err(|_| "not a pipeline")?;
    let part = |name: &str| pipeline.by_name(name).ok_or(format!("no element {name}"));
    let source = part("in")?.downcast::<AppSrc>().map_err(|_| "no source")?;
    let sink = part("out")?.downcast::<AppSink>().map_err(|_| "no sink")?;
    let encoder = part("enc")?;
    // Pictures before this are decoded and not encoded.
    let from = Arc::new(AtomicI64::new(-1));
    if let Some(pad) = encoder.static_pad("sink") {
        let from = from.clone();
        pad.add_probe(gstreamer::PadProbeType::BUFFER, move |_, info| {
            let old = info.buffer().and_then(|b| b.pts()).is_some_and(|t| ticks(t, RATE) < from.load(Relaxed));
            if old { gstreamer::PadProbeReturn::Drop } else { gstreamer::PadProbeReturn::Ok }
        });
    }
    sink.set_callbacks(
        AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gstreamer::FlowError::Eos)?;
                let Some(buffer) = sample.buffer() else { return Ok(gstreamer::FlowSuccess::Ok) };
                let key = !buffer.flags().contains(gstreamer::BufferFlags::DELTA_UNIT);
                // x264enc moves its stamps by 1000 hours and its segment with them: the running time is what went in.
                let segment = sample.segment().and_then(|s| s.downcast_ref::<gstreamer::ClockTime>());
                let time = buffer.pts().and_then(|t| segment.map_or(Some(t), |s| s.to_running_time(t)));
                let stamp = time.map_or(0, |t| ticks(t, RATE));
                let map = buffer.map_readable().map_err(|_| gstreamer::FlowError::Error)?;
                let header = Header::frame(if key { KEY } else { 0 }, map.len(), stamp);
                let mut out = std::io::stdout().lock();
                let sent = out.write_all(&header.write()).and_then(|()| out.write_all(&map)).and_then(|()| out.flush());
                sent.map(|()| gstreamer::FlowSuccess::Ok).map_err(|_| gstreamer::FlowError::Eos)
            })
            .build(),
    );
    pipeline.set_state(gstreamer::State::Playing)?;
    let bus = pipeline.bus().ok_or("no bus")?;
    let mut input = std::io::stdin().lock();
    let mut head = [0; HEADER];
    while input.read_exact(&mut head).is_ok() {
        let header = Header::read(&head).ok_or("the input is no frame")?;
        let mut body = vec![0; header.length];
        input.read_exact(&mut body)?;
        if let Some(message) = bus.pop_filtered(&[gstreamer::MessageType::Error])
            && let gstreamer::MessageView::Error(error) = message.view()
        {
            return Err(format!("{} ({:?})", error.error(), error.debug()).into());
        }
        if header.kind == b'K' {
            let wanted = gstreamer::Structure::builder("GstForceKeyUnit").field("all-headers", true).build();
            encoder.send_event(gstreamer::event::CustomUpstream::new(wanted));
            continue;
        }
        if header.flags & PASS != 0 {
            from.fetch_max(header.stamp + 1, Relaxed);
        }
        let mut buffer = gstreamer::Buffer::from_mut_slice(body);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(clock_time(header.stamp, RATE));
            if header.flags & KEY == 0 {
                buffer.set_flags(gstreamer::BufferFlags::DELTA_UNIT);
            }
        }
        source.push_buffer(buffer)?;
    }
    pipeline.set_state(gstreamer::State::Null)?;
    Ok(())
}
