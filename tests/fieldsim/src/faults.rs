//! Faults a camera may be given (`--fault NAME` or `NAME=VALUE`, several allowed).

use serde::Deserialize;

use crate::odd::Odd;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Faults {
    /// Answers 200 and never sends a packet.
    pub silent: bool,
    /// RTP carries another SSRC than `y=`.
    pub wrong_ssrc: bool,
    /// The answer has no `y=` line.
    pub no_y: bool,
    /// TCP media: never connects, and never listens.
    pub tcp_never_connects: bool,
    /// RTP packets with random bytes inside.
    pub garbage: bool,
    /// Random datagrams, no RTP at all.
    pub garbage_rtp: bool,
    /// Refuses INVITE with this code (`busy` is 486).
    pub reject: Option<u16>,
    /// Never answers an INVITE.
    pub no_answer: bool,
    /// Never sends an IDR.
    pub no_keyframe: bool,
    /// Never sends a program stream map.
    pub no_psm: bool,
    /// The first packet comes this many seconds after the ACK.
    pub slow_first: Option<f64>,
    /// Falls silent this many seconds after the first packet, without BYE.
    pub stop_after: Option<f64>,
    /// Percent of packets lost, at random.
    pub loss: f64,
    /// Neither answers BYE nor stops.
    pub ignore_bye: bool,
    /// UDP media comes from another address (127.0.0.2 on the loopback net, else another port).
    pub other_address: bool,
    /// Sends no keepalive.
    pub drop_keepalive: bool,
    /// Refuses SUBSCRIBE with this code.
    pub subscribe_reject: Option<u16>,
    /// Knows no subscription at its refresh: 481.
    pub subscribe_lost: bool,
    /// Ends each subscription after so many seconds.
    pub subscribe_terminate: Option<f64>,
    /// Sends every NOTIFY in a dialog of its own.
    pub notify_out_of_dialog: bool,
    /// Every second position is empty, the others carry an E.
    pub odd_positions: bool,
    /// Sends every piece of the catalog twice.
    pub catalog_repeats: bool,
    /// Leaves out so many items at the end of the catalog.
    pub catalog_partial: usize,
    /// Refuses every INFO with 405.
    pub info_refused: bool,
    /// Refuses to seek within a playback (457).
    pub seek_refused: bool,
    /// Refuses other speeds (451).
    pub speed_refused: bool,
    /// Says where a seek lands (RTP-Info).
    pub rtp_info: bool,
    /// No MediaStatus at the end of a recording.
    pub no_121: bool,
    /// MediaStatus outside of the dialog.
    pub outside_121: bool,
    /// The same under an id that is nobody's.
    pub other_id_121: bool,
    /// Ends each download after so many seconds of media, with BYE.
    pub drop_download: Option<f64>,
    /// No `a=filesize` in the answer to a download.
    pub no_filesize: bool,
    /// Stamps of playbacks run with the clock on the wall, whatever the speed.
    pub wall_stamps: bool,
    /// Stamps of playbacks and downloads begin at 0 in each session.
    pub stamps_from_zero: bool,
    /// The bytes of a recording differ from session to session.
    pub reencodes: bool,
    /// Habits of makers, and what breaks on the way.
    pub odd: Odd,
    /// Snapshots: uploads half of what was ordered.
    pub snap_partial: bool,
    /// Uploads to another secret, and ends another session.
    pub snap_wrong_session: bool,
    /// Uploads 80 MiB.
    pub snap_too_large: bool,
    /// Uploads nothing.
    pub snap_none: bool,
    /// Uploads something that is no picture.
    pub snap_not_jpeg: bool,
    /// Answers the order with ERROR.
    pub snap_refuse: bool,
    /// Says neither that it took the order nor that it is done.
    pub snap_no_word: bool,
    /// Takes orders that owe a business answer, and gives none.
    pub no_business_answer: bool,
    /// Answers ERROR to orders, and does not carry them out.
    pub refuse_orders: bool,
    /// Lists come with one item in each message.
    pub split_answers: bool,
    /// Media in odd shapes that can be played all the same.
    pub shape: crate::shape::Shape,
}

pub const NAMES: &str = "silent, wrong-ssrc, no-y, tcp-never-connects, garbage, garbage-rtp, busy, reject=CODE, no-answer, \
no-keyframe, no-psm, slow-first[=S], stop-after=S, loss=PERCENT, ignore-bye, other-address, drop-keepalive, \
subscribe-reject=CODE, subscribe-lost, subscribe-terminate=S, notify-out-of-dialog, odd-positions, catalog-repeats, catalog-partial=N, \
snap-partial, snap-wrong-session, snap-too-large, snap-none, snap-not-jpeg, snap-refuse, snap-no-word, \
info-refused, seek-refused, speed-refused, rtp-info, no-121, 121-outside, 121-other-id, \
drop-download=S, no-filesize, wall-stamps, stamps-from-zero, reencodes, \
no-business-answer, refuse-orders, split-answers";

impl TryFrom<Vec<String>> for Faults {
    type Error = String;

    fn try_from(list: Vec<String>) -> Result<Self, String> {
        let mut out = Faults::default();
        for text in &list {
            out.add(text)?;
        }
        Ok(out)
    }
}

impl Faults {
    fn add(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let number =
            || value.parse::<f64>().ok().filter(|n| *n >= 0.0).ok_or(format!("fault {name} wants a number: {name}=N"));
        match name {
            "none" => {}
            "silent" => self.silent = true,
            "wrong-ssrc" => self.wrong_ssrc = true,
            "no-y" => self.no_y = true,
            "tcp-never-connects" => self.tcp_never_connects = true,
            "garbage" => self.garbage = true,
            "garbage-rtp" => self.garbage_rtp = true,
            "busy" => self.reject = Some(486),
            "reject" => self.reject = Some(number().map(|n| n as u16)?),
            "no-answer" => self.no_answer = true,
            "no-keyframe" => self.no_keyframe = true,
            "no-psm" => self.no_psm = true,
            "slow-first" => self.slow_first = Some(if value.is_empty() { 5.0 } else { number()? }),
            "stop-after" => self.stop_after = Some(number()?),
            "loss" => self.loss = number()?,
            "ignore-bye" => self.ignore_bye = true,
            "other-address" | "rtp-from-other-address" => self.other_address = true,
            "drop-keepalive" | "drops-keepalive" => self.drop_keepalive = true,
            "subscribe-reject" => self.subscribe_reject = Some(number().map(|n| n as u16)?),
            "subscribe-lost" => self.subscribe_lost = true,
            "subscribe-terminate" => self.subscribe_terminate = Some(number()?),
            "notify-out-of-dialog" => self.notify_out_of_dialog = true,
            "odd-positions" => self.odd_positions = true,
            "catalog-repeats" => self.catalog_repeats = true,
            "catalog-partial" => self.catalog_partial = number()? as usize,
            "snap-partial" => self.snap_partial = true,
            "snap-wrong-session" => self.snap_wrong_session = true,
            "snap-too-large" => self.snap_too_large = true,
            "snap-none" => self.snap_none = true,
            "snap-not-jpeg" => self.snap_not_jpeg = true,
            "snap-refuse" => self.snap_refuse = true,
            "snap-no-word" => self.snap_no_word = true,
            "info-refused" => self.info_refused = true,
            "seek-refused" => self.seek_refused = true,
            "speed-refused" => self.speed_refused = true,
            "rtp-info" => self.rtp_info = true,
            "no-121" => self.no_121 = true,
            "121-outside" => self.outside_121 = true,
            "121-other-id" => self.other_id_121 = true,
            "drop-download" => self.drop_download = Some(number()?),
            "no-filesize" => self.no_filesize = true,
            "wall-stamps" => self.wall_stamps = true,
            "stamps-from-zero" => self.stamps_from_zero = true,
            "reencodes" => self.reencodes = true,
            "no-business-answer" => self.no_business_answer = true,
            "refuse-orders" => self.refuse_orders = true,
            "split-answers" => self.split_answers = true,
            other if self.shape.add(other, value)? => {}
            other if self.odd.add(other, value)? => {}
            other => {
                return Err(format!(
                    "unknown fault {other}; known are {NAMES}, {}, {}",
                    crate::odd::NAMES,
                    crate::shape::NAMES
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        let list = ["busy", "loss=2.5", "slow-first", "stop-after=3"].map(String::from).to_vec();
        let f = Faults::try_from(list).unwrap();
        assert_eq!((f.reject, f.loss, f.slow_first, f.stop_after), (Some(486), 2.5, Some(5.0), Some(3.0)));
        assert!(Faults::try_from(vec!["sillent".into()]).unwrap_err().contains("no-answer"));
        assert!(Faults::try_from(vec!["stop-after".into()]).is_err());
    }
}
