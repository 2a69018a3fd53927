//! What runs inside a worker process.

use std::io::{Read, Write};
use std::process::ExitCode;

use gstreamer::prelude::*;

pub use crate::worker_live::{VideoForm, video};

/// Largest input that a worker reads, in bytes.
const MAX_INPUT: u64 = 16 << 20;

/// One key frame as Annex B on standard input, one JPEG on standard output: at most 480 pixels wide, or in its full size.
pub fn still(codec: &str, whole: bool) -> ExitCode {
    match make_still(codec, whole) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn make_still(codec: &str, whole: bool) -> Result<(), Box<dyn std::error::Error>> {
    let decoder = match codec {
        "h264" => "h264parse ! avdec_h264",
        "h265" => "h265parse ! avdec_h265",
        other => return Err(format!("no decoder for {other:?}").into()),
    };
    let mut picture = Vec::new();
    std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut picture)?;
    gstreamer::init()?;
    let (width, quality) = if whole { (8192, 90) } else { (480, 80) };
    let words = format!(
        "appsrc name=in caps=video/x-{codec},stream-format=byte-stream,alignment=au format=time ! {decoder} ! \
         videoconvert ! videoscale ! video/x-raw,width=[16,{width}],pixel-aspect-ratio=1/1 ! \
         jpegenc quality={quality} ! appsink name=out sync=false"
    );
    let pipeline = gstreamer::parse::launch(&words)?;
    let pipeline = pipeline.downcast::<gstreamer::Pipeline>().map_err(|_| "not a pipeline")?;
    let source = pipeline.by_name("in").and_then(|e| e.downcast::<gstreamer_app::AppSrc>().ok()).ok_or("no source")?;
    let sink = pipeline.by_name("out").and_then(|e| e.downcast::<gstreamer_app::AppSink>().ok()).ok_or("no sink")?;
    pipeline.set_state(gstreamer::State::Playing)?;
    let mut buffer = gstreamer::Buffer::from_mut_slice(picture);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gstreamer::ClockTime::ZERO);
    }
    source.push_buffer(buffer)?;
    source.end_of_stream()?;
    let sample = sink.try_pull_sample(gstreamer::ClockTime::from_seconds(4)).ok_or("the decoder gave no picture")?;
    let buffer = sample.buffer().ok_or("an empty sample")?;
    let map = buffer.map_readable()?;
    std::io::stdout().lock().write_all(&map)?;
    pipeline.set_state(gstreamer::State::Null)?;
    Ok(())
}
