//! The check finds what is wrong.

use recorder::{Cause, Report};

use crate::support::*;

async fn report(bench: &Bench) -> Report {
    recorder::check(&bench.archive(), bench.pool.clone(), |_| {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_finds_damage() {
    let bench = Bench::new("check").await;
    let mut cam = Camera::new(&bench.hub, "cam", 25, Some(media_core::Codec::Opus));
    cam.size = 3000;
    for _ in 0..2 {
        let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
        wanted(&cam.publisher).await;
        cam.run(60);
        settle(&bench, &job).await;
        bench.recorder.stop(&job).await.unwrap();
    }
    let all = bench.finished().await;
    assert_eq!(all.len(), 2);
    let mut calls = Vec::new();
    let good = recorder::check(&bench.archive(), bench.pool.clone(), |p| calls.push((p.done, p.total))).await.unwrap();
    assert!(good.is_whole() && good.whole == 2 && good.files == 2, "{good:?}");
    assert_eq!(calls, [(0, 2), (1, 2), (2, 2)]);

    // Every byte of the structure: all heads and indexes, and all moofs.
    let path = bench.file(&all[0]);
    let bytes = std::fs::read(&path).unwrap();
    let mut structure = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        // Room that is empty is looked at in a few places only, to save time.
        let step = if &bytes[at + 4..at + 8] == b"free" { 911 } else { 1 };
        let end = if &bytes[at + 4..at + 8] == b"mdat" { at + 8 } else { at + size };
        structure.extend((at..end).step_by(step));
        at += size;
    }
    println!("{} bytes of structure flipped one by one", structure.len());
    for at in structure {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, bad).unwrap();
        let found = report(&bench).await;
        assert_eq!((found.damaged.len(), found.whole), (1, 1), "byte {at} of {}", bytes.len());
    }
    // Cut off anywhere.
    for len in [0, 5, 700, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let found = report(&bench).await;
        assert_eq!(found.damaged.len(), 1, "cut to {len}");
        assert!(found.damaged[0].offset as usize <= len);
    }
    // Gone, and one that nobody knows.
    std::fs::remove_file(&path).unwrap();
    let stranger = path.with_file_name("stranger.mp4");
    std::fs::write(&stranger, &bytes).unwrap();
    let found = report(&bench).await;
    assert_eq!(found.missing_files, [all[0].path.clone()]);
    assert_eq!(found.missing_rows.len(), 1);
    assert!(!found.is_whole());
    // A key frame that is none: the first picture's NAL unit type.
    std::fs::remove_file(&stranger).unwrap();
    let mut bad = bytes.clone();
    let data = bytes.windows(4).position(|w| w == b"mdat").unwrap();
    let find = |what: &[u8]| data + bytes[data..].windows(what.len()).position(|w| w == what).unwrap() + what.len() - 1;
    let (idr, sps) = (find(&[0, 0, 0x0B, 0xB8, 0x65]), find(&[0, 0, 0, 12, 0x67]));
    bad[idr] = 0x41;
    bad[sps] = 0x01;
    std::fs::write(&path, bad).unwrap();
    let found = report(&bench).await;
    assert!(found.damaged[0].why.contains("key frame"), "{found:?}");
    std::fs::write(&path, &bytes).unwrap();
    assert!(report(&bench).await.is_whole());
}
