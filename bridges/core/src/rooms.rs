//! How a leg of a foreign world takes a seat in a conference.

use std::fmt;

use media_core::Codec;
use media_hub::{Fault, StreamId, Text};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::calls::CallParty;
use crate::floor::{FloorNotice, FloorTerms, Key};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberId(pub String);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a leg runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    #[default]
    Lan,
    Cellular,
    Vsat,
    Tiantong,
    Radio,
}

/// What the hall orders the leg in a seat to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeatCommand {
    /// End the leg: an operator removed the member, or the conference ended.
    HangUp,
    /// Send another stream to the far end from now on: a loudspeaker that is lent to an operator, or given back. Legs that
    /// are no loudspeakers pass it over.
    Hear(StreamId),
    /// The floor of a half-duplex group. Legs whose far end has no key pass it over.
    Floor(FloorNotice),
}

/// What a leg tells of itself.
#[derive(Debug, Clone)]
pub enum SeatReport {
    Ringing,
    /// Somebody else is at the far end from now on: the seat was handed on.
    Person(CallParty),
    /// The leg stands: `stream` is what it sends, `hears` the codec in which it wants the mix.
    Connected {
        stream: StreamId,
        hears: Codec,
    },
    /// The far end wants the mix in another mode of its codec from now on (AMR: RFC 4867 3.3).
    Mode(u8),
    Quality {
        loss_percent: f32,
        jitter_ms: f32,
    },
    Held(bool),
    /// Its far end has a key and can do so much with it.
    Floor(FloorTerms),
    /// Its far end pressed the key, or let it go.
    Key(Key),
    /// A loudspeaker takes sound from now on.
    OnAir(OnAir),
    /// What really left towards a loudspeaker: loudness of the last fifth of a second in dB below overload (-127 is
    /// silence), and packets since it was on air.
    Sounding {
        dbov: f32,
        packets: u64,
    },
    /// How the far end's picture is, and why it is not sent or not shown as it should be; none: nothing is wrong.
    Picture(PictureState, Option<Fault>),
    Failed(Fault),
    Left(Text),
}

/// How the picture of a far end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum PictureState {
    /// The far end has no video, or it was refused.
    #[default]
    None,
    /// Agreed on, and no picture has come yet.
    Waiting,
    Live,
    /// The far end switched its camera off, or is on hold.
    Muted,
    /// It came and stopped: nothing for 3 s.
    Frozen,
}

/// How a loudspeaker was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnAir {
    /// What the device sends back on the same session, if it does.
    pub returns: Option<StreamId>,
    /// None: the device hears and speaks at once without an echo. Else for how many milliseconds after the last word its
    /// own sound may still hold what its loudspeaker said.
    pub echo_ms: Option<u32>,
    /// For people: `PCMA over UDP to 10.0.0.9:17040`.
    pub way: String,
}

/// A member's seat as its leg sees it. Dropping it leaves the conference.
pub struct Seat {
    pub member: MemberId,
    pub conference: String,
    /// Number and name of the conference, to show to a called party.
    pub number: String,
    pub name: String,
    /// The mix for this member, without its own voice; it is published after `Connected` was reported.
    pub listen: StreamId,
    /// Its far end is only spoken to: it is asked to answer by itself where it can, and need not send anything.
    pub announces: bool,
    commands: mpsc::Receiver<SeatCommand>,
    reports: mpsc::Sender<(MemberId, SeatReport)>,
    look: Option<watch::Receiver<Option<StreamId>>>,
}

impl Seat {
    pub fn new(
        member: MemberId,
        conference: String,
        number: String,
        name: String,
        listen: StreamId,
        commands: mpsc::Receiver<SeatCommand>,
        reports: mpsc::Sender<(MemberId, SeatReport)>,
    ) -> Self {
        Seat { member, conference, number, name, listen, announces: false, commands, reports, look: None }
    }

    /// With the picture that the conference chooses for this member.
    #[must_use]
    pub fn with_look(mut self, look: watch::Receiver<Option<StreamId>>) -> Self {
        self.look = Some(look);
        self
    }

    /// For a far end that is only spoken to.
    #[must_use]
    pub fn announcing(mut self) -> Self {
        self.announces = true;
        self
    }

    /// The stream that a member with a screen is to be shown now; none: nothing.
    pub fn look(&self) -> Option<StreamId> {
        self.look.as_ref().and_then(|l| l.borrow().clone())
    }

    /// The next order; none when the conference is gone.
    pub async fn command(&mut self) -> Option<SeatCommand> {
        self.commands.recv().await
    }

    /// Tells the conference. A report of quality or loudness may be lost when the conference is busy; all others wait for room.
    pub async fn report(&self, report: SeatReport) {
        if matches!(report, SeatReport::Quality { .. } | SeatReport::Sounding { .. }) {
            let _ = self.reports.try_send((self.member.clone(), report));
        } else {
            let _ = self.reports.send((self.member.clone(), report)).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The last word, if none was said: the receiver ignores it for a member that is already gone.
        let gone = SeatReport::Left(Text::new("连接断开", "the leg ended"));
        let _ = self.reports.try_send((self.member.clone(), gone));
    }
}

/// The conferences, as bridges see them. The hall implements it.
pub trait Rooms: Send + Sync {
    /// Whether a conference answers to this number. Tells nothing else, so that a scanner learns nothing of PINs.
    fn exists(&self, number: &str) -> bool;
    /// Takes a seat. `caller` is the phone account or device; wrong PINs are limited by caller and counted.
    fn enter<'a>(
        &'a self,
        number: &'a str,
        pin: Option<&'a str>,
        caller: &'a str,
        name: &'a str,
        link: Link,
    ) -> crate::BoxFuture<'a, Result<Seat, Fault>>;
    /// Whether this conference asks for a PIN.
    fn wants_pin(&self, number: &str) -> bool;
}
