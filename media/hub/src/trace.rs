//! The causal trace of a session: why is there a picture, or why not.

use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::fault::Fault;

/// The steps of a live session in their order. A step that failed, or that waits while a later one cannot happen, names the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Somebody wants to see it.
    Wanted,
    /// The invitation left us.
    Invited,
    /// The device accepted.
    Answered,
    /// The media connection stands (TCP) or the port is open (UDP).
    Connected,
    /// The first packet came.
    FirstPacket,
    /// The synchronisation source is the agreed one, or was learned.
    Ssrc,
    /// The media came from the expected address, or another one was learned.
    SourceAddress,
    /// The container gave a first frame.
    Demuxed,
    /// The decoder's parameter sets are known.
    ParameterSets,
    /// The first key frame is whole.
    FirstKeyFrame,
    /// Frames flow into the hub.
    Live,
    /// A viewer's transport stands.
    ViewerConnected,
    /// A viewer told us that it decoded a picture.
    ViewerDecoded,
}

impl Step {
    /// What the step says in the console.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Step::Wanted => ("有人要看", "Somebody wants to watch"),
            Step::Invited => ("已向设备发起点播", "The device was invited"),
            Step::Answered => ("设备已应答", "The device answered"),
            Step::Connected => ("媒体通道已建立", "The media connection stands"),
            Step::FirstPacket => ("收到第一个媒体包", "The first media packet came"),
            Step::Ssrc => ("SSRC 核对", "The SSRC was checked"),
            Step::SourceAddress => ("媒体来源地址核对", "The source address was checked"),
            Step::Demuxed => ("封装解析成功", "The container was read"),
            Step::ParameterSets => ("收到视频参数集", "The parameter sets came"),
            Step::FirstKeyFrame => ("收到第一个关键帧", "The first key frame came"),
            Step::Live => ("画面进入网关", "Pictures flow into the gateway"),
            Step::ViewerConnected => ("观看端已连接", "A viewer is connected"),
            Step::ViewerDecoded => ("观看端已解码出画面", "A viewer decoded a picture"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Waiting,
    Failed,
}

/// One line of the trace.
#[derive(Debug, Clone)]
pub struct TraceStep {
    pub step: Step,
    pub at: Instant,
    pub wall: SystemTime,
    pub outcome: Outcome,
    /// Facts for the engineer: addresses, SSRC values, codes. One short line in English.
    pub detail: String,
}

/// The trace of one session; at most one line for each step, so it is bounded by construction.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The signalling's own name of the session, such as a SIP Call-ID.
    pub session: String,
    pub steps: Vec<TraceStep>,
    pub fault: Option<Fault>,
}

impl Trace {
    /// Forgets the last session and begins a new one.
    pub fn restart(&mut self, session: &str) {
        let viewers: Vec<TraceStep> =
            self.steps.drain(..).filter(|s| matches!(s.step, Step::Wanted | Step::ViewerConnected)).collect();
        self.steps = viewers;
        self.session = session.to_owned();
        self.fault = None;
    }

    /// Notes a step; a later note of the same step replaces the earlier one but keeps its first time when both are good.
    pub fn note(&mut self, step: Step, outcome: Outcome, detail: impl Into<String>) {
        let detail: String = detail.into().chars().take(300).collect();
        let line = TraceStep { step, at: Instant::now(), wall: SystemTime::now(), outcome, detail };
        match self.steps.iter_mut().find(|s| s.step == step) {
            Some(old) if old.outcome == Outcome::Ok && outcome == Outcome::Ok => old.detail = line.detail,
            Some(old) => *old = line,
            None => {
                self.steps.push(line);
                self.steps.sort_by_key(|s| s.step);
            }
        }
    }

    pub fn reached(&self, step: Step) -> bool {
        self.steps.iter().any(|s| s.step == step && s.outcome == Outcome::Ok)
    }
}
