//! What a crash leaves.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use recorder::{Cause, Recorder, RecordingState};

use crate::media;
use crate::support::*;

/// A file cut at every byte of its last fragment gives all fragments before it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_is_cut_at_every_byte() {
    let bench = Bench::new("torn").await;
    let mut cam = Camera::new(&bench.hub, "cam", 25, None);
    cam.size = 60;
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    wanted(&cam.publisher).await;
    cam.run(60);
    settle(&bench, &job).await;
    // As a crash leaves it: neither finished nor in the index as finished.
    let row = bench.recordings().await.remove(0);
    assert_eq!(row.state, RecordingState::Recording);
    let torn = std::fs::read(bench.file(&row)).unwrap();
    let last = torn.windows(4).rposition(|w| w == b"moof").unwrap() - 4;
    let before = torn.windows(4).filter(|w| *w == b"moof").count() - 1;
    assert!(before >= 3 && torn.len() - last > 100);
    bench.recorder.stop(&job).await.unwrap();

    let dir = Folder::new("torn2");
    let pool = database(&dir.0).await;
    let recorder = Recorder::open(bench.hub.clone(), pool.clone(), settings(&dir.0)).await.unwrap();
    let file = dir.0.join("archive").join(&row.path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut frames = None;
    for cut in last..torn.len() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &torn[..cut]).unwrap();
        let found = recorder.recover().await.unwrap();
        assert_eq!((found.repaired, found.cut_bytes), (1, (cut - last) as u64), "cut at {cut}: {found:?}");
        let id = recorder::RecordingId(row.id.0.clone());
        let got = recorder.get(&id).await.unwrap();
        assert_eq!(got.state, RecordingState::Repaired);
        assert_eq!(*frames.get_or_insert(got.frames), got.frames);
        if cut % 50 == 0 {
            let report = recorder::check(&dir.0.join("archive"), pool.clone(), |_| {}).await.unwrap();
            assert!(report.is_whole() && report.repaired == 1, "{report:?}");
        }
        std::fs::remove_file(&file).unwrap();
        recorder.delete(&id).await.unwrap();
    }
    assert!(frames.unwrap() >= 43, "{frames:?}");
    // Cut inside the first fragment or the head: nothing was recorded, nothing stays.
    let first = torn.windows(4).position(|w| w == b"moof").unwrap() - 4;
    for cut in [0, 3, 7, 100, 600, first - 1, first, first + 3, first + 9, first + 40] {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &torn[..cut]).unwrap();
        let found = recorder.recover().await.unwrap();
        assert_eq!((found.empty, found.repaired), (1, 0), "cut at {cut}: {found:?}");
        assert!(!file.exists());
    }
    println!("recovered after {} cuts, one at each byte of the last fragment", torn.len() - last);
}

/// The child of the test below: records in real time and says how many pictures it has published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_records() {
    let Ok(dir) = std::env::var("SKYBRIDGE_REC_CHILD") else { return };
    let dir = std::path::PathBuf::from(dir);
    let pool = database(&dir).await;
    let hub = media_hub::Hub::new(media_hub::HubLimits::default());
    let recorder = Recorder::open(hub.clone(), pool, settings(&dir)).await.unwrap();
    let mut cam = Camera::new(&hub, "cam", 100, None);
    recorder.start("cam".into(), Cause::Hand, "a job that goes on").await.unwrap();
    loop {
        tokio::time::sleep_until(cam.at().into()).await;
        cam.step();
        eprintln!("published {}", cam.n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_costs_less_than_a_second() {
    let mut worst = 0;
    for (round, ms) in [2350u64, 2900, 3450, 4000].into_iter().enumerate() {
        let dir = Folder::new("kill");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_records", "--nocapture"])
            .env("SKYBRIDGE_REC_CHILD", &dir.0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let begun = Instant::now();
        let reader = std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .filter_map(|l| l.strip_prefix("published ")?.parse::<u64>().ok())
                .last()
                .unwrap_or(0)
        });
        tokio::time::sleep(Duration::from_millis(ms).saturating_sub(begun.elapsed())).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let published = reader.join().unwrap();

        let pool = database(&dir.0).await;
        let hub = media_hub::Hub::new(media_hub::HubLimits::default());
        let recorder = Recorder::open(hub.clone(), pool.clone(), settings(&dir.0)).await.unwrap();
        let found = recorder.recover().await.unwrap();
        assert_eq!(found.repaired, 1, "{found:?}");
        let (_, all) = recorder.list(&recorder::Filter::default()).await.unwrap();
        let lost = published - all[0].frames;
        worst = worst.max(lost);
        assert!(lost <= 25, "{lost} of {published} pictures lost");
        assert!(published > 30);
        let report = recorder::check(&dir.0.join("archive"), pool, |_| {}).await.unwrap();
        assert!(report.is_whole() && report.repaired == 1, "{report:?}");
        if media::ffmpeg() {
            assert_eq!(media::packets(&dir.0.join("archive").join(&all[0].path), "v").len() as u64, all[0].frames);
        }
        if round == 0 {
            // The job by hand goes on.
            recorder.resume().await.unwrap();
            assert_eq!(recorder.jobs()[0].name, "a job that goes on");
            let mut cam = Camera::new(&hub, "cam", 25, None);
            cam.run(30);
            let job = recorder.jobs()[0].id.clone();
            until("it records again", || recorder.job(&job).unwrap().bytes > 0).await;
            recorder.shutdown().await;
            assert_eq!(recorder.list(&recorder::Filter::default()).await.unwrap().0, 2);
        }
    }
    println!("kill -9: at most {worst} pictures of 25 a second were lost");
}
