//! Calls copied to an outside recorder: we are the session recording client of RFC 7866, with the metadata of RFC 7865.
//!
//! The recorder is called in a dialog of its own with two audio sections, one for each phone, and gets the phones' packets as
//! they came, undecoded, and opened where the phones protect them: in plain RTP, or under keys of the dialog's own. Whatever it does or does not do, the call between the
//! phones goes on.

mod config;
mod keys;
mod metadata;
mod offer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::{CallParty, Text, Timestamp};
use media_core::sdp::{Media, OriginVersion, Sdp};
use media_net::RtpPair;
use prometheus::IntGauge;
use sip::{Call, CallEvent, EndReason, Method, NameAddr, Request, Response, SipError, Target, TxId, Uri};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::config::SiprecConfig;
use self::keys::KeyRing;
use self::metadata::Metadata;
use self::offer::{Takes, taken};
use super::relay::{Copied, Ear, Guard};
use crate::call::sdp_body;
use crate::faults::Reason;
use crate::phone::Shared;
use crate::session_timer::{Due, SessionTimer};

/// How long the recorder may take to answer a call, or to show that it is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the name of the recorder may take to be resolved.
const LOCATE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_secs(1);
/// A recorder that holds a call for so many pauses between two tries works again: its next failure is news.
const STEADY: u32 = 3;

/// Whether the hall was told that the recorder does not record: once for all calls, until it does again.
#[derive(Default)]
pub(crate) struct Told(AtomicBool);

/// One phone of a call, for the recorder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Voice {
    pub party: CallParty,
    /// The formats in which it sends: those that the other phone stated.
    pub formats: Media,
}

/// The copy of a call. Dropping it hangs up on the recorder.
pub(crate) struct Recording {
    voices: watch::Sender<[Voice; 2]>,
    _stop: DropGuard,
}

impl Recording {
    /// Copies a call from now on, as soon as the recorder takes it.
    pub fn start(shared: &Arc<Shared>, id: &str, ear: Ear, voices: [Voice; 2]) -> Option<Recording> {
        let uri: Uri = shared.config.siprec.recorder.parse().ok()?;
        let stop = CancellationToken::new();
        let metadata = Metadata::new(Timestamp::now());
        let (voices, changes) = watch::channel(voices);
        let session = Session {
            shared: shared.clone(),
            id: id.to_owned(),
            uri,
            ear,
            voices: changes,
            metadata,
            origin: OriginVersion::new(u64::from(rand::random::<u32>() >> 1)),
            tries: 0,
            told: false,
        };
        shared.spawn(session.run(stop.clone()));
        Some(Recording { voices, _stop: stop.drop_guard() })
    }

    /// Who talks now, and how: the recorder is told if that is new.
    pub fn show(&self, voices: [Voice; 2]) {
        self.voices.send_if_modified(|old| {
            let new = *old != voices;
            if new {
                *old = voices;
            }
            new
        });
    }
}

/// Why a call is not recorded, or no longer.
enum Failed {
    /// We have no ports left.
    NoPort,
    /// It does not answer.
    Unreachable(String),
    Refused(String),
    /// It took the call and then hung up or died.
    Lost(String),
}

impl Failed {
    /// The label of the metric.
    fn outcome(&self) -> &'static str {
        match self {
            Failed::NoPort => "no_port",
            Failed::Unreachable(_) => "unreachable",
            Failed::Refused(_) => "refused",
            Failed::Lost(_) => "lost",
        }
    }

    fn why(&self) -> String {
        let text = match self {
            Failed::NoPort => "no media port is free",
            Failed::Unreachable(why) | Failed::Refused(why) | Failed::Lost(why) => why.as_str(),
        };
        text.chars().take(200).collect()
    }
}

/// Counts a call as one that is recorded, as long as it is there.
struct Counted(Option<IntGauge>);

impl Counted {
    fn new(shared: &Shared) -> Counted {
        let gauge = shared.metrics.as_ref().map(|m| m.recordings.clone());
        gauge.iter().for_each(IntGauge::inc);
        Counted(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.iter().for_each(IntGauge::dec);
    }
}

struct Session {
    shared: Arc<Shared>,
    id: String,
    uri: Uri,
    ear: Ear,
    voices: watch::Receiver<[Voice; 2]>,
    metadata: Metadata,
    origin: OriginVersion,
    /// Calls of the recorder so far: where its name leads to several servers, each has its turn.
    tries: usize,
    /// The hall has heard of this call's failure.
    told: bool,
}

/// The dialog with the recorder.
struct Dialog {
    call: Call,
    pairs: [Arc<RtpPair>; 2],
    /// How the recorder is reached: what our description calls us.
    target: Target,
    /// None: it gets plain RTP.
    keys: Option<KeyRing>,
    /// Our last description.
    sent: Sdp,
    timer: SessionTimer,
    /// What is to be told anew at the next occasion.
    untold: bool,
    /// Our 200 made an offer, and the ACK brings the answer.
    awaits_answer: bool,
    telling: Option<JoinHandle<Result<Response, SipError>>>,
    asking: Option<JoinHandle<Result<Response, SipError>>>,
    asked: Instant,
    began: Instant,
}

impl Session {
    async fn run(mut self, stop: CancellationToken) {
        let ear = self.ear.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            // What it drops at the end hangs up.
            () = self.work() => {}
        }
        ear.copy([None, None]);
    }

    async fn work(&mut self) {
        let retry = Duration::from_secs(u64::from(self.shared.config.siprec.retry));
        loop {
            let failed = self.once().await;
            self.ear.copy([None, None]);
            self.count(failed.outcome());
            let why = failed.why();
            if std::mem::replace(&mut self.told, true) {
                tracing::debug!(call = self.id, recorder = %self.uri, why, "the recorder still does not take a call");
            } else {
                tracing::warn!(call = self.id, recorder = %self.uri, why, "the recorder does not take a call; the call goes on");
                self.tell(&why);
            }
            tokio::time::sleep(retry).await;
        }
    }

    fn count(&self, outcome: &str) {
        if let Some(m) = &self.shared.metrics {
            m.recorder_tries.with_label_values(&[outcome]).inc();
        }
    }

    /// Tells the hall, unless it knows already.
    fn tell(&self, why: &str) {
        if !self.shared.recorder_told.0.swap(true, Ordering::Relaxed) {
            let fault = Reason::NotRecorded.fault();
            let words = Text::new(&fault.zh, &fault.en);
            let description = format!("{}: {why}", self.uri);
            crate::watch::alarm(&self.shared, "siprec", 2, "siprec.not_recorded", words, description);
        }
    }

    /// One dialog with the recorder, to its end.
    async fn once(&mut self) -> Failed {
        let ports = &self.shared.ctx.ports;
        let (Ok(first), Ok(second)) = (ports.dual(), ports.dual()) else { return Failed::NoPort };
        let pairs = [Arc::new(first), Arc::new(second)];
        let target = match self.locate().await {
            Ok(target) => target,
            Err(why) => return Failed::Unreachable(why),
        };
        let keys = self.shared.config.siprec.protects(&self.uri).then(KeyRing::new);
        let sdp = self.describe(&pairs, &target, keys.as_ref());
        let mut request = Request::new(Method::Invite, self.uri.clone());
        let own = self.shared.ctx.sip.local_address(&target).ip();
        request.headers.set("From", NameAddr::new(Uri::sip("skybridge", &own.to_string(), None)).to_string());
        request.headers.set("To", NameAddr::new(self.uri.clone()).to_string());
        let contact = self.shared.ctx.sip.local_contact(&target, "skybridge");
        // RFC 7866 6.1.1: who sends recordings says so.
        request.headers.set("Contact", format!("<{contact}>;+sip.src"));
        request.headers.set("Accept", "application/sdp, application/rs-metadata-request");
        let timer = SessionTimer::own(Instant::now());
        timer.request(&mut request.headers);
        self.fill(&mut request, &sdp);
        let sip = &self.shared.ctx.sip;
        let mut call = match sip.invite_within(target, request, None, PATIENCE).await {
            Ok(call) => call,
            Err(error) => return Failed::Unreachable(error.to_string()),
        };
        let answer = match tokio::time::timeout(PATIENCE, answered(&mut call)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failed)) => return failed,
            Err(_) => return Failed::Unreachable("it does not answer".to_owned()),
        };
        let now = Instant::now();
        let mut dialog = Dialog {
            call,
            pairs,
            target,
            keys,
            sent: sdp,
            timer: SessionTimer::of_response(&answer.headers, now).unwrap_or(timer),
            untold: false,
            awaits_answer: false,
            telling: None,
            asking: None,
            asked: now,
            began: now,
        };
        if let Err(why) = self.copy(&mut dialog, &answer.body) {
            return Failed::Refused(why);
        }
        let _counted = Counted::new(&self.shared);
        self.count("recorded");
        tracing::info!(call = self.id, recorder = %self.uri, "a call is copied to the recorder");
        Failed::Lost(self.stand(&mut dialog).await)
    }

    /// Where the recorder is; by its name, one server after the other.
    async fn locate(&mut self) -> Result<Target, String> {
        let sip = &self.shared.ctx.sip;
        let transport = config::transport(&self.uri).ok_or("its transport is unknown")?;
        let located = tokio::time::timeout(LOCATE, sip.locate(&self.uri.host, self.uri.port, transport)).await;
        let servers = match located {
            Ok(Ok(located)) => located.servers,
            Ok(Err(error)) => return Err(format!("its name leads nowhere: {error}")),
            Err(_) => return Err("its name is not resolved in time".to_owned()),
        };
        let turn = self.tries.checked_rem(servers.len()).unwrap_or(0);
        self.tries = self.tries.wrapping_add(1);
        let (transport, address) = *servers.get(turn).ok_or("its name leads nowhere")?;
        if transport == sip::Transport::Tls {
            sip.expect_tls_name(address, &self.uri.host);
        }
        Ok(Target::Address(transport, address))
    }

    /// Our description of what is sent now.
    fn describe(&mut self, pairs: &[Arc<RtpPair>; 2], target: &Target, keys: Option<&KeyRing>) -> Sdp {
        let address = crate::call::media_address(&self.shared, target);
        let voices = self.voices.borrow_and_update().clone();
        self.metadata.show(voices.each_ref().map(|v| &v.party), Timestamp::now());
        let ports = pairs.each_ref().map(|pair| pair.lease.port());
        let mut sdp = offer::offer(&voices.map(|v| v.formats), ports, address);
        if let Some(keys) = keys {
            keys.dress(&mut sdp);
        }
        self.origin.stamp(&mut sdp, "skybridge", address);
        sdp
    }

    /// Both bodies: what is sent, and who speaks.
    fn fill(&self, request: &mut Request, sdp: &Sdp) {
        request.headers.set("Require", "siprec");
        let boundary = format!("skybridge-{:016x}", rand::random::<u64>());
        let metadata = self.metadata.write(&self.shared.config.realm);
        let body = format!(
            "--{boundary}\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--{boundary}\r\nContent-Type: application/rs-metadata+xml\
             \r\nContent-Disposition: recording-session\r\n\r\n{metadata}\r\n--{boundary}--\r\n"
        );
        request.set_body(&format!("multipart/mixed;boundary={boundary}"), body);
    }

    /// Sends the copies where an answer wants them.
    fn copy(&self, dialog: &mut Dialog, answer: &[u8]) -> Result<(), String> {
        let answer = Sdp::parse(answer).map_err(|_| "its answer cannot be read")?;
        let mut takes = taken(&dialog.sent, &answer);
        let mut guards = [None, None];
        if let Some(keys) = &mut dialog.keys {
            for (n, (takes, guard)) in takes.iter_mut().zip(&mut guards).enumerate() {
                *guard = answer.media.get(n).and_then(|m| keys.answered(n, m));
                if guard.is_none() {
                    *takes = Takes::Nothing;
                }
            }
        }
        if takes.iter().all(|t| matches!(t, Takes::Nothing)) {
            let why = if dialog.keys.is_some() {
                "it takes none of the formats under our keys"
            } else {
                "it takes none of the formats"
            };
            return Err(why.to_owned());
        }
        self.send_to(dialog, takes, guards);
        Ok(())
    }

    fn send_to(&self, dialog: &Dialog, takes: [Takes; 2], guards: [Option<Arc<Mutex<Guard>>>; 2]) {
        let mut each = takes.into_iter().zip(guards);
        let copies = dialog.pairs.each_ref().map(|pair| match each.next() {
            Some((Takes::Sound { rtp, rtcp, numbers }, guard)) => {
                Some(Copied { pair: pair.clone(), rtp, rtcp, numbers: *numbers, guard })
            }
            _ => None,
        });
        self.ear.copy(copies);
    }

    /// Our answer to an offer of the recorder, which may move, or pause.
    fn answer(&mut self, dialog: &mut Dialog, theirs: &Sdp) -> Sdp {
        let mut takes = taken(&dialog.sent, theirs);
        let (mut guards, mut lines) = ([None, None], [None, None]);
        if let Some(keys) = &mut dialog.keys {
            for (n, takes) in takes.iter_mut().enumerate() {
                match theirs.media.get(n).and_then(|m| keys.offered(n, m)) {
                    Some((line, guard)) => (lines[n], guards[n]) = (Some(line), Some(guard)),
                    None => *takes = Takes::Nothing,
                }
            }
        }
        let mut answer = offer::answer(&dialog.sent, theirs, &takes);
        if dialog.keys.is_some() {
            answer.media.iter_mut().zip(&lines).for_each(|(m, line)| keys::state(m, line.as_deref()));
        }
        let address = crate::call::media_address(&self.shared, &dialog.target);
        self.origin.stamp(&mut answer, "skybridge", address);
        self.send_to(dialog, takes, guards);
        answer
    }

    /// Serves the dialog until it ends; says why it did.
    async fn stand(&mut self, dialog: &mut Dialog) -> String {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let over = tokio::select! {
                event = dialog.call.next() => self.on_event(dialog, event),
                changed = self.voices.changed() => match changed {
                    Ok(()) => {
                        dialog.untold = true;
                        self.tell_recorder(dialog);
                        None
                    }
                    // The call has ended, which is nobody's failure: whoever dropped it stops us.
                    Err(_) => std::future::pending().await,
                },
                answer = done(&mut dialog.telling) => self.on_told(dialog, answer),
                answer = done(&mut dialog.asking) => match answer {
                    // It does not know OPTIONS: it is there all the same.
                    Ok(answer) if !matches!(answer.code, 408 | 481) => None,
                    Ok(answer) => Some(format!("it has forgotten the call: {}", answer.code)),
                    Err(error) => Some(format!("it is gone: {error}")),
                },
                _ = tick.tick() => self.on_tick(dialog),
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    fn on_event(&mut self, dialog: &mut Dialog, event: Option<CallEvent>) -> Option<String> {
        match event {
            None => Some("its dialog is gone".to_owned()),
            Some(CallEvent::Ended(EndReason::Bye(_))) => Some("it hung up".to_owned()),
            Some(CallEvent::Ended(reason)) => Some(ended(&reason)),
            Some(CallEvent::Request { tx, request }) => self.on_request(dialog, tx, &request),
            Some(CallEvent::Confirmed(ack)) => {
                if std::mem::take(&mut dialog.awaits_answer) {
                    return self.copy(dialog, &ack.body).err();
                }
                None
            }
            Some(CallEvent::Progress(_) | CallEvent::Answered(_)) => None,
        }
    }

    fn on_request(&mut self, dialog: &mut Dialog, tx: TxId, request: &Request) -> Option<String> {
        let response = match &request.method {
            Method::Invite | Method::Update => {
                dialog.timer.refreshed(Instant::now());
                let kind = request.content_type().unwrap_or("").to_ascii_lowercase();
                if kind.starts_with("application/rs-metadata-request") {
                    // RFC 7866 9.2: it wants all metadata once more, in a request of ours.
                    dialog.untold = true;
                    request.respond(200)
                } else if request.body.is_empty() {
                    let mut response = request.respond(200);
                    if request.method == Method::Invite {
                        dialog.awaits_answer = true;
                        response.set_body("application/sdp", sdp_body(dialog.sent.to_string()));
                    }
                    response
                } else {
                    match Sdp::parse(&request.body) {
                        Ok(theirs) => {
                            let answer = self.answer(dialog, &theirs);
                            let mut response = request.respond(200);
                            response.set_body("application/sdp", sdp_body(answer.to_string()));
                            response
                        }
                        Err(_) => request.respond(488),
                    }
                }
            }
            Method::Options => crate::phone::capabilities(request),
            Method::Info => request.respond(200),
            _ => request.respond(405).with("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE"),
        };
        dialog.call.respond(tx, response);
        None
    }

    /// A re-INVITE with what is so now, unless one is under way.
    fn tell_recorder(&mut self, dialog: &mut Dialog) {
        if dialog.telling.is_some() || !dialog.untold {
            return;
        }
        dialog.untold = false;
        dialog.sent = self.describe(&dialog.pairs, &dialog.target, dialog.keys.as_ref());
        let mut request = Request::new(Method::Invite, Uri::default());
        dialog.timer.request(&mut request.headers);
        self.fill(&mut request, &dialog.sent);
        let handle = dialog.call.handle();
        dialog.telling = Some(tokio::spawn(async move { handle.send(request).await }));
    }

    fn on_told(&mut self, dialog: &mut Dialog, answer: Result<Response, SipError>) -> Option<String> {
        match answer {
            Ok(answer) if answer.is_success() => {
                dialog.timer.answered(&answer.headers, Instant::now());
                if let Err(why) = self.copy(dialog, &answer.body) {
                    return Some(why);
                }
                self.metadata.told();
                self.tell_recorder(dialog);
                None
            }
            // An offer of its own was under way: at a later tick.
            Ok(answer) if answer.code == 491 => {
                dialog.untold = true;
                None
            }
            Err(SipError::Pending) => {
                dialog.untold = true;
                None
            }
            // In a new dialog it hears all from the beginning.
            Ok(answer) => Some(format!("it refused a change: {}", answer.code)),
            Err(error) => Some(format!("it is gone: {error}")),
        }
    }

    fn on_tick(&mut self, dialog: &mut Dialog) -> Option<String> {
        let now = Instant::now();
        match dialog.timer.due(now) {
            Due::Nothing => {}
            Due::Refresh => dialog.untold = true,
            Due::Expired => return Some("its session was not refreshed".to_owned()),
        }
        self.tell_recorder(dialog);
        let retry = Duration::from_secs(u64::from(self.shared.config.siprec.retry));
        if now.saturating_duration_since(dialog.began) >= retry * STEADY {
            self.told = false;
            if self.shared.recorder_told.0.swap(false, Ordering::Relaxed) {
                tracing::warn!(recorder = %self.uri, "the recorder takes calls again");
            }
        }
        let every = Duration::from_secs(u64::from(self.shared.config.siprec.check));
        if !every.is_zero() && dialog.asking.is_none() && now.saturating_duration_since(dialog.asked) >= every {
            dialog.asked = now;
            let handle = dialog.call.handle();
            dialog.asking = Some(tokio::spawn(async move {
                let question = handle.send(Request::new(Method::Options, Uri::default()));
                tokio::time::timeout(PATIENCE, question).await.unwrap_or(Err(SipError::Timeout))
            }));
        }
        None
    }
}

/// The answer of a task that runs; never ends without one.
async fn done(task: &mut Option<JoinHandle<Result<Response, SipError>>>) -> Result<Response, SipError> {
    let answer = match task {
        Some(task) => task.await.unwrap_or(Err(SipError::Stopped)),
        None => std::future::pending().await,
    };
    *task = None;
    answer
}

fn ended(reason: &EndReason) -> String {
    match reason {
        EndReason::Bye(_) | EndReason::Cancelled | EndReason::LocalBye => "it hung up".to_owned(),
        EndReason::Timeout => "it does not answer".to_owned(),
        EndReason::FlowClosed => "the connection to it broke".to_owned(),
        EndReason::Rejected(response) => format!("it refused: {} {}", response.code, response.reason),
        EndReason::Error(error) => error.to_string(),
    }
}

/// Waits for the 200.
async fn answered(call: &mut Call) -> Result<Response, Failed> {
    loop {
        match call.next().await {
            Some(CallEvent::Answered(response)) => return Ok(response),
            Some(CallEvent::Ended(reason @ EndReason::Rejected(_))) => return Err(Failed::Refused(ended(&reason))),
            Some(CallEvent::Ended(reason)) => return Err(Failed::Unreachable(ended(&reason))),
            Some(CallEvent::Request { tx, request }) => call.respond(tx, super::ring::early(&request)),
            Some(_) => {}
            None => return Err(Failed::Unreachable("the dialog is gone".to_owned())),
        }
    }
}
