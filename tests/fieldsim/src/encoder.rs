//! H.264 by openh264: baseline, no B-frames, parameter sets before each IDR, IDR on request.

use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, QpRange,
    RateControlMode,
};
use openh264::formats::YUVSource;

pub struct H264 {
    encoder: Encoder,
    since_key: u32,
    gop: u32,
}

impl H264 {
    /// `fps` pictures a second, a key frame at least every `gop` pictures, `bitrate` bit/s at most on average.
    pub fn new(fps: f32, gop: u32, bitrate: u32) -> Result<Self, String> {
        let config = EncoderConfig::new()
            .max_frame_rate(FrameRate::from_hz(fps))
            .bitrate(BitRate::from_bps(bitrate))
            .rate_control_mode(RateControlMode::Bitrate)
            .skip_frames(false)
            .profile(Profile::Baseline)
            .complexity(Complexity::Low)
            .qp(QpRange::new(18, 44))
            .scene_change_detect(false)
            .background_detection(false)
            .adaptive_quantization(false)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .num_threads(1);
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config).map_err(|e| e.to_string())?;
        Ok(Self { encoder, since_key: 0, gop: gop.max(1) })
    }

    /// Encodes one picture; true when it became an IDR.
    pub fn encode<T: YUVSource>(&mut self, picture: &T, want_key: bool, out: &mut Vec<u8>) -> Result<bool, String> {
        if want_key || self.since_key >= self.gop {
            self.encoder.force_intra_frame();
        }
        let stream = self.encoder.encode(picture).map_err(|e| e.to_string())?;
        let key = stream.frame_type() == FrameType::IDR;
        stream.write_vec(out);
        self.since_key = if key { 1 } else { self.since_key + 1 };
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::painter::Painter;
    use crate::scenery::Scenery;
    use crate::{code_strip, dome::Dome};
    use openh264::decoder::Decoder;

    #[test]
    fn frame_codes_survive_the_codec() {
        let (width, height) = (640, 360);
        let mut painter = Painter::new(Scenery::shared(width, height, 3), width, height, 3, "TEST");
        let mut encoder = H264::new(25.0, 10, 400_000).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut dome = Dome::new();
        let mut keys = Vec::new();
        for frame in 70_000..70_040u32 {
            painter.paint(frame, "12:34:56.789", dome.look(std::time::Instant::now()));
            let mut bytes = Vec::new();
            if encoder.encode(&painter.picture, frame == 70_013, &mut bytes).unwrap() {
                keys.push(frame - 70_000);
                assert_eq!(bytes[4] & 31, 7, "SPS first");
            }
            let shown = decoder.decode(&bytes).unwrap().unwrap();
            assert_eq!(code_strip::read(shown.y(), shown.strides().0, width, height), Some((frame, 3)));
        }
        assert_eq!(keys, [0, 10, 13, 23, 33]);
    }
}
