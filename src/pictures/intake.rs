//! The upload address: what a device may bring, how much, how often, how long.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bridge_core::Timestamp;
use bridge_gb28181::upload::{self, BadUpload, FileName};

use super::keep::New;
use super::{Pictures, lock};

/// Time for the whole body.
const WITHIN: Duration = Duration::from_secs(30);

/// Why an upload was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no order has this address, or its time is over")]
    Unknown,
    #[error("all ordered pictures are here already")]
    Enough,
    #[error("too many uploads at once")]
    Busy,
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("the body did not come in time")]
    TooSlow,
    #[error("{0}")]
    Bad(#[from] BadUpload),
    #[error("the picture could not be kept")]
    NotKept,
}

impl Refused {
    pub fn status(self) -> StatusCode {
        match self {
            Refused::Unknown => StatusCode::NOT_FOUND,
            Refused::Enough => StatusCode::CONFLICT,
            Refused::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refused::Bad(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::NotKept => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// Gives a place of an order back unless a picture took it.
struct Place<'a> {
    pictures: &'a Pictures,
    token: &'a str,
    taken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.taken
            && let Some(open) = lock(&self.pictures.0.open).get_mut(self.token)
        {
            open.left = open.left.saturating_add(1);
        }
    }
}

/// Takes one upload. `tail` is what the device appended to the address.
pub async fn take_upload(
    pictures: &Pictures,
    token: &str,
    tail: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), Refused> {
    let (session, channel, by, stored) = {
        let mut open = lock(&pictures.0.open);
        let order = open.get_mut(token).filter(|o| Instant::now() < o.until).ok_or(Refused::Unknown)?;
        order.left = order.left.checked_sub(1).ok_or(Refused::Enough)?;
        (order.session.clone(), order.channel.clone(), order.by.clone(), order.stored.clone())
    };
    let mut place = Place { pictures, token, taken: false };
    let _permit = pictures.0.uploads.try_acquire().map_err(|_| Refused::Busy)?;
    let most = (pictures.0.settings.max_upload_megabytes as usize) << 20;
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if text(header::CONTENT_LENGTH).parse::<u64>().is_ok_and(|n| n > most as u64) {
        return Err(Refused::TooLarge);
    }
    let body = tokio::time::timeout(WITHIN, axum::body::to_bytes(body, most)).await.map_err(|_| Refused::TooSlow)?;
    let body = body.map_err(|_| Refused::TooLarge)?;
    let found = upload::picture(text(header::CONTENT_TYPE), &body)?;
    let given = found.name.clone().or_else(|| upload::parameter(text(header::CONTENT_DISPOSITION), "filename"));
    let name = given.unwrap_or_else(|| tail.rsplit('/').next().unwrap_or_default().to_owned());
    let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
    let read = upload::file_name(&name);
    let new = New {
        channel: &channel,
        session: &session,
        source: "device",
        by: &by,
        taken_at: read.as_ref().and_then(taken_at),
        name: &name,
        width: found.width,
        height: found.height,
    };
    let row = pictures.keep(new, found.jpeg).await.map_err(|error| {
        tracing::error!(error, "a device's picture could not be kept");
        Refused::NotKept
    })?;
    place.taken = true;
    // The order may have ended meanwhile; the picture is kept all the same.
    let _ = stored.try_send(row);
    Ok(())
}

/// The instant that a file name tells; none when the device's clock is off by more than a day, which would hide the picture.
fn taken_at(name: &FileName) -> Option<Timestamp> {
    const DAY: i64 = 86_400_000;
    let [year, month, day, hour, minute, second, ms] = name.time;
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+08:00");
    let at = Timestamp(text.parse::<jiff::Timestamp>().ok()?.as_millisecond());
    ((at.0 - Timestamp::now().0).abs() < DAY).then_some(at)
}
