//! Disks that are full, slow or broken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use recorder::{Cause, JobState, RecordingState};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_little_room_stops_cleanly_and_goes_on() {
    let free = Arc::new(AtomicU64::new(10_000));
    let told = free.clone();
    let bench = Bench::with("full", |s| {
        s.min_free_bytes = 1000;
        s.free_space = Arc::new(move |_| Ok(told.load(Ordering::Relaxed)));
    })
    .await;
    let mut cam = Camera::new(&bench.hub, "cam", 25, None);
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    wanted(&cam.publisher).await;
    cam.run(60);
    settle(&bench, &job).await;
    free.store(999, Ordering::Relaxed);
    until("the job says that the disk is full", || {
        let j = bench.recorder.job(&job).unwrap();
        j.state == JobState::Failed
            && j.fault.as_ref().is_some_and(|f| f.code == "disk_full" && f.whose == media_hub::Whose::Us)
    })
    .await;
    let all = bench.finished().await;
    assert_eq!((all.len(), all[0].frames, all[0].state), (1, 60, RecordingState::Whole));
    cam.run(50);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.recordings().await.len(), 1);
    free.store(2000, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(600)).await;
    cam.run(50);
    until("it records again", || bench.recorder.job(&job).unwrap().state == JobState::Recording).await;
    bench.recorder.stop(&job).await.unwrap();
    let all = bench.finished().await;
    assert_eq!(all.len(), 2);
    assert!(all[1].frames >= 25);
    bench.assert_whole().await;
}

/// The disk refuses a write in the middle of a file: what is there is finished, and a new file begins when it takes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_write_ends_the_file_only() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        let broken = Arc::new(AtomicBool::new(false));
        let hook = broken.clone();
        let bench = Bench::with("refused", |s| {
            s.write_hook =
                Some(Arc::new(move |_| if hook.load(Ordering::Relaxed) { Err(io::Error::from(kind)) } else { Ok(()) }));
        })
        .await;
        let mut cam = Camera::new(&bench.hub, "cam", 25, None);
        let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
        wanted(&cam.publisher).await;
        cam.run(60);
        settle(&bench, &job).await;
        broken.store(true, Ordering::Relaxed);
        cam.run(60);
        let code = if kind == io::ErrorKind::StorageFull { "disk_full" } else { "disk_failed" };
        until("the job says it", || bench.recorder.job(&job).unwrap().fault.is_some_and(|f| f.code == code)).await;
        assert_eq!(bench.finished().await.len(), 1);
        assert!(bench.recorder.job(&job).unwrap().dropped_frames > 0);
        broken.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(3100)).await;
        cam.run(50);
        until("it records again", || bench.recorder.job(&job).unwrap().state == JobState::Recording).await;
        bench.recorder.stop(&job).await.unwrap();
        assert_eq!(bench.finished().await.len(), 2);
        bench.assert_whole().await;
    }
}

/// A slow disk never stops the job's task: whole groups of pictures go, are counted, and the file stays right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_costs_groups_of_pictures() {
    let slow = Arc::new(AtomicBool::new(true));
    let hook = slow.clone();
    let bench = Bench::with("slow", |s| {
        s.queue_bytes = 60_000;
        s.write_hook = Some(Arc::new(move |_| {
            if hook.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(30));
            }
            Ok(())
        }));
    })
    .await;
    let mut cam = Camera::new(&bench.hub, "cam", 10, None);
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    wanted(&cam.publisher).await;
    for _ in 0..100 {
        cam.run(20);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    slow.store(false, Ordering::Relaxed);
    settle(&bench, &job).await;
    cam.run(50);
    settle(&bench, &job).await;
    let dropped = bench.recorder.job(&job).unwrap().dropped_frames;
    bench.recorder.stop(&job).await.unwrap();
    let all = bench.finished().await;
    let kept: u64 = all.iter().map(|r| r.frames).sum();
    assert!(dropped > 0 && dropped % 10 == 0, "{dropped}");
    assert_eq!(kept + dropped, 2050, "each picture is either in a file or counted");
    // Time is kept: the holes are holes.
    assert_eq!(all.len(), 1);
    assert!((all[0].duration_s - 82.0).abs() < 0.1, "{}", all[0].duration_s);
    bench.assert_whole().await;
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A real full disk, where the test may mount one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_full_disk() {
    let dir = Folder::new("tmpfs");
    let archive = dir.0.join("archive");
    std::fs::create_dir_all(&archive).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", archive.to_str().unwrap()])
        .output();
    if !mount.is_ok_and(|o| o.status.success()) {
        println!("skipped, may not mount");
        return;
    }
    let _mounted = Mounted(archive.clone());
    let result = async {
        let pool = database(&dir.0).await;
        // Faster than real time: nothing may leave the ring before the job has read it.
        let hub =
            media_hub::Hub::new(media_hub::HubLimits { ring_age: Duration::from_secs(3600), ..Default::default() });
        let recorder = recorder::Recorder::open(hub.clone(), pool.clone(), settings(&dir.0)).await.unwrap();
        let mut cam = Camera::new(&hub, "cam", 25, None);
        cam.size = 20_000;
        let job = recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
        wanted(&cam.publisher).await;
        cam.run(100);
        until("the disk is full", || recorder.job(&job).unwrap().fault.is_some_and(|f| f.code == "disk_full")).await;
        recorder.stop(&job).await.unwrap();
        recorder.shutdown().await;
        let report = recorder::check(&dir.0.join("archive"), pool, |_| {}).await.unwrap();
        let (_, all) = recorder.list(&recorder::Filter::default()).await.unwrap();
        (report, all)
    };
    let (report, all) = result.await;
    assert!(report.is_whole(), "{report:?}");
    assert!(all[0].frames > 25, "{all:?}");
}
