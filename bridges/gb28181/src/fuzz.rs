//! Entry points for the fuzzers: bytes of a stranger go in, nothing may panic or grow without bound.

use bridge_core::{Answer, Query, SettingKind};

use crate::answers::Collect;
use crate::catalog;
use crate::manscdp::Manscdp;
use crate::notify;
use crate::ptz::PtzCommand;
use crate::upload;

/// A MESSAGE body.
pub fn manscdp(data: &[u8]) {
    if let Ok(message) = Manscdp::parse(data) {
        let piece = catalog::piece(&message.tree);
        let device = bridge_core::DeviceId::new("gb28181", "34020000001180000001");
        let _ = catalog::channels(&device, &piece.items, &[131, 132]);
        let _ = catalog::facts(&message.tree);
        if let Some(time) = message.tree.get("DeviceTime").and_then(crate::clock::read) {
            let _ = crate::clock::offset_s(time, 0);
        }
        for mut item in piece.items {
            item.place_in(crate::datum::Datum::Gcj02);
        }
        answers(&message.tree);
    }
}

/// Every reader of answers on one tree, twice, as if the answer came in two messages.
fn answers(tree: &crate::xml::Node) {
    let wanted = SettingKind::ALL;
    let queries = [
        Query::Info {},
        Query::Status {},
        Query::Presets {},
        Query::Cruises {},
        Query::Cruise { number: 1 },
        Query::Home {},
        Query::Position {},
        Query::Cards {},
        Query::Settings { kinds: Vec::new() },
    ];
    for query in queries {
        let mut collect = Collect::new(&query, &wanted);
        collect.add(tree);
        collect.add(tree);
        if let Some(Answer::Settings { items, .. }) = collect.finish() {
            for item in items {
                // What was read can be written, and is no order before it was checked.
                let _ = (item.problem(), crate::blocks::write(&item));
            }
        }
    }
}

/// What a device tells: every reader of notifications on the same body, and the changes put over a table.
pub fn notify(data: &[u8]) {
    let Ok(message) = Manscdp::parse(data) else { return };
    let tree = &message.tree;
    let alarm = notify::alarm(tree);
    let _ = crate::alarm_words::words(alarm.method, alarm.kind);
    for fix in notify::positions(tree).fixes {
        let place = crate::datum::Datum::Gcj02.to_wgs84(fix.place);
        assert!(place.longitude.is_finite() && place.latitude.is_finite());
    }
    let _ = (notify::look(tree), notify::wish(tree));
    let device = bridge_core::DeviceId::new("gb28181", "34020000002000000009");
    let changes = notify::changes(tree).changes;
    let mut channels = Vec::new();
    crate::changes::apply(&device, &mut channels, &changes, &[131, 132], 1_000);
    assert!(channels.len() <= 1_000 && channels.windows(2).all(|w| w[0].id < w[1].id));
    if let Some(words) = tree.get("SubscriptionState") {
        let _ = crate::subscribe::SubState::parse(words);
    }
}

/// The answer to an order inside a playback.
pub fn mansrtsp(data: &[u8]) {
    let _ = crate::history::mansrtsp::read(data);
}

/// A list of recordings, gathered.
pub fn record_info(data: &[u8]) {
    use crate::gather::Limits;
    use crate::history::records::{Gather, piece};
    use std::time::{Duration, Instant};
    if let Ok(message) = Manscdp::parse(data) {
        let second = Duration::from_secs(1);
        let now = Instant::now();
        let mut gather = Gather::new(now, Limits { first: second, idle: second, total: second, items: 100 });
        gather.add(now, piece(&message.tree));
        let (items, _) = gather.finish();
        debug_assert!(items.len() <= 100);
    }
}

/// A SIP message on its way into a capture: its secrets are covered, nothing moves, and the file stays whole.
pub fn capture(data: &[u8]) {
    use bridge_core::capture::{Proto, mask, pcapng};
    let mut message = data.to_vec();
    mask::mask(&mut message);
    debug_assert_eq!(message.len(), data.len());
    let again = message.clone();
    mask::mask(&mut message);
    debug_assert_eq!(message, again);
    let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let (mut writer, mut out) = (pcapng::Writer::default(), Vec::new());
    for proto in [Proto::Udp, Proto::Tcp] {
        let line = pcapng::Line { proto, sent: data.len().is_multiple_of(2), local: at(5060), peer: at(5061) };
        writer.packet(std::time::UNIX_EPOCH, line, &message, "", &mut out);
    }
    debug_assert!(out.len() % 4 == 0 && out.len() <= 2 * data.len() + 4096);
}

/// A PTZCmd text; what is read must be written the same, but for the address.
pub fn ptz(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(command) = PtzCommand::parse(text)
    {
        debug_assert_eq!(PtzCommand::parse(&command.hex()), Some(command));
    }
}

/// What a device brings to an upload address: first line the content type and a file name, then the body.
pub fn upload(data: &[u8]) {
    let (head, body) = data.split_at(data.iter().position(|b| *b == b'\n').map_or(0, |n| n + 1));
    let head = String::from_utf8_lossy(head);
    let _ = upload::file_name(head.trim());
    for kind in [head.trim(), "image/jpeg", "multipart/form-data; boundary=XX"] {
        if let Ok(found) = upload::picture(kind, body) {
            debug_assert!(found.jpeg.len() <= body.len() && found.width > 0 && found.height > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    /// A seeded walk: damaged fixtures and pure noise. The real fuzzers go further.
    #[test]
    fn damaged_bodies_do_no_harm() {
        let fixtures: [&[u8]; 9] = [
            include_bytes!("../testdata/generic_record_info.xml"),
            include_bytes!("../testdata/generic_playback_answer.rtsp"),
            include_bytes!("../testdata/generic_alarm_with_parameters.xml"),
            include_bytes!("../testdata/generic_positions_2022.xml"),
            include_bytes!("../testdata/generic_catalog_news.xml"),
            include_bytes!("../testdata/answers_all_blocks.xml"),
            include_bytes!("../testdata/hikvision_stray_signs.xml"),
            include_bytes!("../testdata/dahua_lower_case_status.xml"),
            include_bytes!("../testdata/uniview_gb18030_called_utf8.xml"),
        ];
        let mut rng = rand::rngs::StdRng::seed_from_u64(28_181);
        for round in 0..3000 {
            let mut data = fixtures.get(round % fixtures.len()).map(|f| f.to_vec()).unwrap_or_default();
            for _ in 0..rng.random_range(1..20) {
                let at = rng.random_range(0..data.len());
                match rng.random_range(0..3) {
                    0 => data.truncate(at.max(1)),
                    1 => data.insert(at, rng.random()),
                    _ => data.iter_mut().skip(at).take(1).for_each(|b| *b = b"<>&/\"!\0;"[rng.random_range(0..8)]),
                }
            }
            super::manscdp(&data);
            super::notify(&data);
            super::upload(&data);
            super::capture(&data);
            super::mansrtsp(&data);
            super::record_info(&data);
            let noise: [u8; 16] = rng.random();
            super::ptz(&noise);
            super::ptz(noise.map(|b| b"0123456789ABCDEF"[usize::from(b & 15)]).as_slice());
        }
    }
}
