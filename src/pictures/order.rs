//! The course of one order: the device first where it can, else a still of the live stream.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, Command, Device, SnapshotOrder};
use bytes::Bytes;
use media_hub::{Fault, StreamId, Text};
use tokio::sync::{mpsc, oneshot};

use super::keep::New;
use super::{NoOrder, Open, Pictures, SnapshotView, State, lock, no_address, no_still, not_uploaded, secret};
use crate::api::Shared;

/// Time for the device to take the order.
const ANSWER: Duration = Duration::from_secs(45);
/// Uploads that may follow the device's word that it is done: the word travels another way.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// Whose picture is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The device's where it can, else a still.
    Auto,
    Device,
    Stream,
}

/// Starts an order. `channel` must be known.
pub fn start(
    app: &Shared,
    device: &Device,
    channel: ChannelId,
    want: Want,
    count: u8,
    interval_s: u32,
    by: &str,
) -> Result<SnapshotView, NoOrder> {
    let first = if want == Want::Stream { "stream" } else { "device" };
    let order = app.pictures.begin(&channel, first, count, by)?;
    let (app, address, bridge) = (app.clone(), device.address.clone(), device.bridge().to_owned());
    let view = order.clone();
    tokio::spawn(async move {
        let course = Course { app, channel, bridge, address, id: order.id, count, interval_s, by: order.by };
        let ended = course.run(want).await;
        if let Some(order) = ended {
            let outcome = order.fault.as_ref().map_or("ok", |f| f.code);
            let detail = format!("{} of {} by {}", order.pictures.len(), order.count, order.source);
            course.app.audit.note(&course.by, "", "picture_taken", &order.channel, &detail, outcome);
        }
    });
    Ok(view)
}

struct Course {
    app: Shared,
    channel: ChannelId,
    bridge: String,
    /// Where the device signals from.
    address: String,
    id: String,
    count: u8,
    interval_s: u32,
    by: String,
}

impl Course {
    fn pictures(&self) -> &Pictures {
        &self.app.pictures
    }

    async fn run(&self, want: Want) -> Option<SnapshotView> {
        let fault = match want {
            Want::Stream => None,
            Want::Auto | Want::Device => match self.by_device().await {
                Ok(note) => return self.end(None, note),
                Err(fault) => Some(fault),
            },
        };
        match fault {
            Some(fault) if want == Want::Device => return self.end(Some(fault), None),
            Some(fault) => {
                let note = Text::new(
                    format!("取自实时画面（{}）", fault.zh),
                    format!("A still of the live picture ({})", fault.en),
                );
                self.pictures().change(&self.id, |o| {
                    o.source = "stream";
                    o.note = Some(note);
                });
            }
            None => {}
        }
        let fault = self.by_stream().await.err();
        self.end(fault, None)
    }

    fn end(&self, fault: Option<Fault>, note: Option<Text>) -> Option<SnapshotView> {
        self.pictures().change(&self.id, |o| {
            o.state = match o.pictures.len() {
                0 => State::Failed,
                n if n < usize::from(o.count) => State::Partial,
                _ => State::Done,
            };
            o.note = note.or(o.note.take());
            o.fault = fault;
        })
    }

    /// Orders the pictures and waits for them. Good as soon as one came; the note tells what is missing.
    async fn by_device(&self) -> Result<Option<Text>, Fault> {
        let settings = &self.pictures().0.settings;
        let base = upload_base(&self.app, &self.address).ok_or_else(no_address)?;
        let token = secret();
        let patience = Duration::from_secs(u64::from(settings.upload_seconds))
            + Duration::from_secs(u64::from(self.interval_s)) * u32::from(self.count.saturating_sub(1));
        let (stored, mut came) = mpsc::channel(usize::from(self.count).max(1));
        lock(&self.pictures().0.open).insert(
            token.clone(),
            Open {
                session: self.id.clone(),
                channel: self.channel.clone(),
                by: self.by.clone(),
                left: self.count,
                until: Instant::now() + ANSWER + patience + STRAGGLERS,
                stored,
            },
        );
        let _closed = CloseAtEnd { pictures: self.pictures(), token: &token };
        let (finished, mut word) = oneshot::channel();
        let order = SnapshotOrder {
            count: self.count,
            interval_s: self.interval_s,
            upload_url: format!("{base}/upload/{token}"),
            session: self.id.clone(),
            finished,
        };
        let command = Command::Snapshot { channel: self.channel.clone(), order };
        self.app.command(&self.bridge, command, ANSWER).await?;
        let mut got = 0;
        let mut told: Option<usize> = None;
        let mut until = tokio::time::Instant::now() + patience;
        while got < usize::from(self.count) && told.is_none_or(|n| got < n) {
            tokio::select! {
                row = came.recv() => match row {
                    Some(_) => got += 1,
                    None => break,
                },
                finished = &mut word, if told.is_none() => {
                    // A dropped word is none: the pictures may come all the same.
                    told = Some(finished.map_or(usize::from(self.count), |f| f.files.len()));
                    until = until.min(tokio::time::Instant::now() + STRAGGLERS);
                }
                () = tokio::time::sleep_until(until) => break,
            }
        }
        if got == 0 {
            return Err(not_uploaded(patience.as_secs()));
        }
        let missing = usize::from(self.count).saturating_sub(got);
        Ok((missing > 0).then(|| match told {
            Some(n) => Text::new(
                format!("设备只完成了 {got}/{} 张（设备自报 {n} 张）", self.count),
                format!("The device brought {got} of {} pictures and says that it took {n}", self.count),
            ),
            None => Text::new(
                format!("设备在规定时间内只上传了 {got}/{} 张", self.count),
                format!("The device brought {got} of {} pictures in time", self.count),
            ),
        }))
    }

    async fn by_stream(&self) -> Result<(), Fault> {
        let stream = StreamId::new(&self.channel.0);
        let mut last = Ok(());
        for n in 0..self.count {
            if n > 0 {
                tokio::time::sleep(Duration::from_secs(u64::from(self.interval_s))).await;
            }
            last = self.one_still(&stream).await;
            // One that fails is not tried again for the rest of a series: the live picture is gone.
            if last.is_err() {
                break;
            }
        }
        last
    }

    async fn one_still(&self, stream: &StreamId) -> Result<(), Fault> {
        let jpeg: Bytes = self.app.stills.whole(stream).await.map_err(|error| match error.fault() {
            Some(fault) => fault,
            None => {
                let en = error.to_string();
                no_still(&en, &en)
            }
        })?;
        let (_, width, height) = bridge_gb28181::upload::jpeg(&jpeg)
            .map_err(|e| no_still("图片不完整", &format!("the picture is not whole: {e}")))?;
        let new = New {
            channel: &self.channel,
            session: &self.id,
            source: "stream",
            by: &self.by,
            taken_at: None,
            name: "",
            width,
            height,
        };
        self.pictures().keep(new, &jpeg).await.map(|_| ()).map_err(|error| {
            tracing::error!(error, "a still could not be kept");
            no_still("无法保存", "it could not be kept")
        })
    }
}

/// The address ends with its order.
struct CloseAtEnd<'a> {
    pictures: &'a Pictures,
    token: &'a str,
}

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        lock(&self.pictures.0.open).remove(self.token);
    }
}

/// The address that a device is told, without the secret: the setting, else our own one towards the device.
fn upload_base(app: &Shared, device: &str) -> Option<String> {
    let (settings, http) = (&app.settings.pictures, &app.settings.http);
    if !settings.upload_address.is_empty() {
        return Some(settings.upload_address.trim_end_matches('/').to_owned());
    }
    let device: SocketAddr = device.parse().ok()?;
    let at = |scheme: &str, bound: &SocketAddr| {
        let ip = if bound.ip().is_unspecified() { towards(device)? } else { bound.ip() };
        Some(format!("{scheme}://{}", SocketAddr::new(ip, bound.port())))
    };
    if let Some(bound) = settings.listen.first() {
        return at("http", bound);
    }
    if device.ip().is_loopback()
        && let Some(bound) = http.local.first()
    {
        return at("http", bound);
    }
    at("https", http.listen.first()?)
}

/// Our own address on the way to a device; nothing is sent.
fn towards(device: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if device.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(device).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
