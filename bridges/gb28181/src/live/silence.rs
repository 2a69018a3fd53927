//! What the silence of a device means: it hears and does not answer, or nothing of ours reaches it any more.
//!
//! While an invitation waits without any answer, one question is put to the device (DeviceStatus, which both editions know). When
//! that is not even acknowledged while messages of the device still come in, its address has become a dead end: behind NAT the
//! binding has lapsed, and only the device can open it again. Messages that came before the silence began prove nothing, so the
//! beginning is kept until something of ours is answered.

use std::time::Duration;

use bridge_core::Timestamp;
use media_hub::Fault;

use crate::faults;
use crate::manscdp;
use crate::shared::{Shared, device_id};

pub(super) struct Silence;

impl Silence {
    /// Waits, asks, and waits for the answer, each for `third` of the invitation's time at most. Ok: the device hears us, or
    /// nothing is known of it; Err: nothing reaches it while it still speaks.
    pub async fn begin(shared: &Shared, device: &str, third: Duration) -> Result<(), Fault> {
        let began = Timestamp::now();
        let asked = shared.peer(device).map(|p| p.source);
        tokio::time::sleep(third).await;
        let sn = shared.next_sn();
        let heard = shared.message(device, |charset| manscdp::query(charset, "DeviceStatus", sn, device), third).await;
        if heard.is_ok() {
            return Ok(());
        }
        let since = shared.silent_since(device, began);
        // Its next message decides; it may come while the invitation still waits.
        let until = tokio::time::Instant::now() + third * 5 / 6;
        loop {
            let last = shared.ctx.registry.get(&device_id(device)).and_then(|d| d.last_seen_at);
            let now = shared.peer(device).map(|p| p.source);
            if last.is_some_and(|l| l > since) || now.is_some() && now != asked {
                let seconds = (Timestamp::now().0 - since.0).max(0) / 1000;
                let from = now.or(asked).map(|a| a.to_string()).unwrap_or_default();
                return Err(faults::nat_binding_lost(seconds.unsigned_abs(), &from));
            }
            if tokio::time::Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
