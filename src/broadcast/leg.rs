//! The leg to one target: a phone or radio group that is called, or the loudspeaker of a channel.

use bridge_core::{ChannelId, MemberId, Seat, SeatCommand, SeatReport};
use media_core::Codec;
use media_hub::{Fault, StreamId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::Shared;
use crate::talk::{self, VoiceState, VoiceStatus};

/// What a leg tells.
#[derive(Debug)]
pub(super) enum News {
    Ringing,
    /// It hears from now on, or in another codec than before.
    OnAir(Codec),
    /// It wants another mode of its codec.
    Mode(u8),
    Held(bool),
    Failed(Fault),
    Left,
}

/// As whom the target is called.
pub(super) struct Caller<'a> {
    /// The broadcast's id.
    pub room: &'a str,
    pub number: &'a str,
    pub name: &'a str,
}

/// Dropping it hangs up.
pub(super) struct TargetLeg {
    news: mpsc::Receiver<News>,
    commands: Option<mpsc::Sender<SeatCommand>>,
    stop: CancellationToken,
}

impl Drop for TargetLeg {
    fn drop(&mut self) {
        if let Some(commands) = &self.commands {
            // A full queue means that it does not work any more.
            let _ = commands.try_send(SeatCommand::HangUp);
        }
        self.stop.cancel();
    }
}

/// The channel whose loudspeaker is meant; none: a number, or a group of radios, which are called.
pub(super) fn channel(to: &str) -> Option<ChannelId> {
    let called = ["phone:", "radio:", "sip:"].iter().any(|p| to.starts_with(p));
    (to.contains(':') && !called).then(|| ChannelId(to.to_owned()))
}

impl TargetLeg {
    /// Calls `to`, which is to hear `listen`.
    pub fn start(app: &Shared, to: &str, seat: &MemberId, listen: StreamId, caller: &Caller<'_>) -> TargetLeg {
        let (tell, news) = mpsc::channel(64);
        let stop = CancellationToken::new();
        match channel(to) {
            Some(channel) => {
                tokio::spawn(speaker(
                    app.clone(),
                    caller.room.to_owned(),
                    seat.clone(),
                    channel,
                    listen,
                    stop.clone(),
                    tell,
                ));
                TargetLeg { news, commands: None, stop }
            }
            None => {
                let (commands, orders) = mpsc::channel(8);
                let (reports, told) = mpsc::channel(64);
                let Caller { room, number, name } = caller;
                let text = |s: &str| s.to_owned();
                let seat = Seat::new(seat.clone(), text(room), text(number), text(name), listen, orders, reports);
                tokio::spawn(phone(app.clone(), to.to_owned(), seat.announcing(), told, tell));
                TargetLeg { news, commands: Some(commands), stop }
            }
        }
    }

    /// Cancel-safe. After the last word `Left` again and again.
    pub async fn next(&mut self) -> News {
        self.news.recv().await.unwrap_or(News::Left)
    }
}

async fn phone(
    app: Shared,
    to: String,
    seat: Seat,
    mut told: mpsc::Receiver<(MemberId, SeatReport)>,
    tell: mpsc::Sender<News>,
) {
    if let Err(fault) = app.dial(&to, seat).await {
        let _ = tell.send(News::Failed(fault)).await;
        return;
    }
    while let Some((_, report)) = told.recv().await {
        let news = match report {
            SeatReport::Ringing => News::Ringing,
            SeatReport::Connected { hears, .. } => News::OnAir(hears),
            SeatReport::Mode(mode) => News::Mode(mode),
            SeatReport::Held(held) => News::Held(held),
            SeatReport::Failed(fault) => News::Failed(fault),
            SeatReport::Left(_) => News::Left,
            _ => continue,
        };
        let last = matches!(news, News::Failed(_) | News::Left);
        if tell.send(news).await.is_err() || last {
            return;
        }
    }
}

async fn speaker(
    app: Shared,
    room: String,
    seat: MemberId,
    channel: ChannelId,
    listen: StreamId,
    stop: CancellationToken,
    tell: mpsc::Sender<News>,
) {
    let on_air = std::sync::atomic::AtomicBool::new(false);
    let give = |status: VoiceStatus| {
        let news = match status.state {
            VoiceState::OnAir if !on_air.swap(true, std::sync::atomic::Ordering::Relaxed) => News::OnAir(Codec::G711A),
            VoiceState::Failed => match status.fault {
                Some(fault) => News::Failed(fault),
                None => News::Left,
            },
            VoiceState::Ended => News::Left,
            _ => return,
        };
        // At most three words of one leg: there is room.
        let _ = tell.try_send(news);
    };
    talk::drive(&app, &room, &seat, &channel, listen, stop, give).await;
}

#[cfg(test)]
mod tests {
    use super::channel;

    #[test]
    fn what_is_called_and_what_is_a_channel() {
        for to in ["8001", "phone:8001", "radio:gw/1", "sip:1@2"] {
            assert!(channel(to).is_none(), "{to}");
        }
        assert!(channel("gb28181:34020000001320000041/34020000001370000001").is_some());
    }
}
