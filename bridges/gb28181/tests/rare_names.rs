//! Names with characters that GB 18030 writes in four bytes, from a device's catalog to the hall and back out in an order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use skybridge_bridge_gb28181::text::Charset;
use support::*;

const ONE: &str = "34020000001320000071";
/// Extension B and A, a character that GB 2312 lacks, a private smiley of UTF-8 days, and plain ones.
const NAME: &str = "𠀀㐀镕🚒 江堤 Nº7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_four_bytes_arrive_whole() {
    if fieldsim().is_none() {
        return;
    }
    let store = Arc::default();
    let hall = Hall::start(29_300, 29_310, config(), &[], &store).await;
    let mut camera = Camera::start(hall.sip, &["--id", ONE, "--name", NAME]);
    camera.event("registered", 0, 10).await;
    let d = hall.until(ONE, "catalogued", 15, |d| !d.channels.is_empty()).await;
    assert_eq!((d.name.as_str(), d.channels[0].name.as_str()), (NAME, NAME));
    hall.end().await;
    // The same bytes go out again: nothing is lost on the way back to the device.
    let bytes = Charset::Gb18030.encode(NAME);
    assert!(
        bytes.windows(4).any(|w| w == [0x95, 0x32, 0x82, 0x36]),
        "U+20000 is 95 32 82 36 in GB 18030: {bytes:02x?}"
    );
    let (back, charset) = skybridge_bridge_gb28181::text::decode(&bytes);
    assert_eq!((back.as_ref(), charset), (NAME, Some(Charset::Gb18030)));
}
