//! The recorder from the hub to the file and back, judged by ffprobe and ffmpeg.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate skybridge_recorder as recorder;

mod archive;
mod crash;
mod disk;
mod jobs;
mod media;
mod play;
mod record;
mod support;
