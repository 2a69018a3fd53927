//! What devices want beside the standard, from the table to the wire, and what a catalog says of streams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use media_hub::{StreamId, SubscribeOptions};
use skybridge_bridge_gb28181::Config;
use support::*;

const SHIFTED: &str = "34020000001320000001";
const SPARED: &str = "34020000001320000002";
const MAIN_ONLY: &str = "34020000001320000003";
const WITH_SUB: &str = "34020000001320000004";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_reach_the_wire_and_a_sub_stream_is_asked_for_where_there_is_one() {
    if fieldsim().is_none() {
        return;
    }
    // By what DeviceInfo says, and by the device's own setting.
    let text = format!(
        "[[quirks]]\nname = 'field_domes'\nmanufacturer = 'fieldsim'\nmodel = 'FS-D*'\nquirks = ['gcj02']\n\
         [devices.{SPARED}]\nquirks = ['no_subscribe']\nwithout = ['gcj02']"
    );
    let own: Config = toml::from_str(&text).unwrap();
    let config = Config { quirks: own.quirks, devices: own.devices, ..config() };
    assert_eq!(config.problems(), Vec::<String>::new());
    let hall = Hall::start(30_620, 30_630, config, &[], &Arc::default()).await;
    let mut shifted = Camera::start(hall.sip, &["--id", SHIFTED, "--move-every", "0.5"]);
    let spared = Camera::start(hall.sip, &["--id", SPARED, "--move-every", "0.5", "--moves"]);
    let mut main_only = Camera::start(hall.sip, &["--id", MAIN_ONLY, "--edition", "2022"]);
    let mut with_sub = Camera::start(hall.sip, &["--id", WITH_SUB, "--edition", "2022", "--sub", "320x180"]);
    for id in [SHIFTED, SPARED, MAIN_ONLY, WITH_SUB] {
        hall.until(id, "catalogued", 15, |d| !d.channels.is_empty()).await;
    }

    // What a shifted map says is some 500 m too far east here; the walk is 100 m.
    let east = |longitude: f64| 118.376451 - longitude;
    let place = |id: &str| hall.device(id).unwrap().channels[0].longitude.unwrap();
    assert!((0.002..0.01).contains(&east(place(SHIFTED))), "of the catalog: {}", place(SHIFTED));
    hall.position(SHIFTED, SHIFTED, 10, |p| (0.002..0.01).contains(&east(p.place.longitude))).await;
    assert!(east(place(SPARED)).abs() < 1e-9, "{}", place(SPARED));
    hall.position(SPARED, SPARED, 10, |p| east(p.place.longitude).abs() < 0.002).await;

    shifted.event("subscribed", 0, 15).await;
    // It moves, and so it would be asked for its positions; the other was asked long ago.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(spared.all("subscribed"), Vec::<serde_json::Value>::new());

    let sub = |id: &str| StreamId::new(format!("{}~sub", stream(id, id).as_str()));
    assert!(hall.hub.knows(&sub(WITH_SUB)) && !hall.hub.knows(&sub(MAIN_ONLY)));
    let mut watched = hall.hub.subscribe(&sub(WITH_SUB), SubscribeOptions::default()).unwrap();
    assert_eq!(watch_for(&mut watched, 10, 15).await.size, (320, 180));
    assert_eq!(with_sub.event("invite", 0, 5).await["sub"], true);
    assert!(main_only.all("invite").is_empty());
    watch_for(&mut hall.watch(MAIN_ONLY, MAIN_ONLY), 10, 15).await;
    main_only.event("invite", 0, 5).await;
    hall.end().await;
}
