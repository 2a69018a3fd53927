//! One loudspeaker leg, as the hall sees it.

use bridge_core::{ChannelId, Command, MemberId, Seat, SeatCommand, SeatReport, Timestamp};
use media_hub::{Fault, StreamId};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use utoipa::ToSchema;

use crate::api::Shared;

/// How far a loudspeaker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoiceState {
    /// The device is not on line, or it is tried again in a moment.
    Waiting,
    Calling,
    /// The device has confirmed: what is said is sent.
    OnAir,
    Failed,
    Ended,
}

/// What is known of one.
#[derive(Debug, Clone, PartialEq)]
pub struct VoiceStatus {
    pub state: VoiceState,
    pub fault: Option<Fault>,
    /// Loudness of what was really sent in the last fifth of a second.
    pub level_dbov: f32,
    pub packets: u64,
    /// `PCMA over UDP to ...`.
    pub way: String,
    /// None: full duplex.
    pub echo_ms: Option<u32>,
    /// What the device sends back on the same session.
    pub returns: Option<StreamId>,
    pub on_air_at: Option<Timestamp>,
}

impl VoiceStatus {
    pub fn new(state: VoiceState) -> VoiceStatus {
        VoiceStatus {
            state,
            fault: None,
            level_dbov: -127.0,
            packets: 0,
            way: String::new(),
            echo_ms: None,
            returns: None,
            on_air_at: None,
        }
    }

    pub fn over(&self) -> bool {
        matches!(self.state, VoiceState::Failed | VoiceState::Ended)
    }

    pub fn failed(fault: Fault) -> VoiceStatus {
        VoiceStatus { fault: Some(fault), ..VoiceStatus::new(VoiceState::Failed) }
    }

    fn take(&mut self, report: SeatReport) {
        match report {
            SeatReport::OnAir(on_air) => {
                self.state = VoiceState::OnAir;
                self.way = on_air.way;
                self.echo_ms = on_air.echo_ms;
                self.returns = on_air.returns;
                self.on_air_at = Some(Timestamp::now());
            }
            SeatReport::Sounding { dbov, packets } => {
                self.level_dbov = dbov;
                self.packets = packets;
            }
            SeatReport::Failed(fault) => {
                self.state = VoiceState::Failed;
                self.level_dbov = -127.0;
                self.fault = Some(fault);
            }
            SeatReport::Left(_) => {
                self.state = VoiceState::Ended;
                self.level_dbov = -127.0;
            }
            _ => {}
        }
    }
}

/// Dropping it ends the leg.
pub struct VoiceLeg {
    pub commands: mpsc::Sender<SeatCommand>,
    pub status: watch::Receiver<VoiceStatus>,
}

impl Drop for VoiceLeg {
    fn drop(&mut self) {
        // Said aloud: whoever was lent the leg still holds the other end. A full queue means that it does not work any more.
        let _ = self.commands.try_send(SeatCommand::HangUp);
    }
}

impl VoiceLeg {
    /// Orders the bridge to send `listen` to the loudspeaker of a channel.
    pub fn start(app: &Shared, channel: &ChannelId, member: &MemberId, listen: StreamId, room: &str) -> VoiceLeg {
        let (commands, orders) = mpsc::channel(8);
        let (reports, mut told) = mpsc::channel(64);
        let (status, seen) = watch::channel(VoiceStatus::new(VoiceState::Calling));
        let seat = Seat::new(member.clone(), room.to_owned(), String::new(), room.to_owned(), listen, orders, reports);
        let (app, channel) = (app.clone(), channel.clone());
        tokio::spawn(async move {
            let bridge = channel.device().bridge().to_owned();
            if let Err(fault) = app.command_now(&bridge, Command::Talk { channel, seat }).await {
                status.send_replace(VoiceStatus::failed(fault));
                return;
            }
            while let Some((_, report)) = told.recv().await {
                status.send_modify(|s| {
                    // The last word was said.
                    if !s.over() {
                        s.take(report);
                    }
                });
            }
        });
        VoiceLeg { commands, status: seen }
    }
}
