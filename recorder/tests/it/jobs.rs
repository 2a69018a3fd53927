//! Jobs, plans, retention.

use std::time::Duration;

use recorder::{Cause, JobState, Plan, RecorderError, RecorderEvent};

use crate::support::*;

fn always(stream: &str) -> Plan {
    Plan {
        id: String::new(),
        stream: stream.into(),
        name: "p".into(),
        enabled: true,
        always: true,
        windows: vec![],
        keep_days: 3,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_job_by_hand_for_a_stream() {
    let bench = Bench::with("jobs", |s| s.max_jobs = 2).await;
    let mut events = bench.recorder.events();
    let a = bench.recorder.start("cam".into(), Cause::Hand, "n").await.unwrap();
    assert_eq!(bench.recorder.start("cam".into(), Cause::Hand, "n").await.unwrap(), a);
    bench.recorder.start("b".into(), Cause::Hand, "").await.unwrap();
    assert!(matches!(bench.recorder.start("c".into(), Cause::Hand, "").await, Err(RecorderError::TooManyJobs(2))));
    let mut cam = Camera::new(&bench.hub, "cam", 25, None);
    wanted(&cam.publisher).await;
    cam.run(30);
    settle(&bench, &a).await;
    let growing = bench.recordings().await.remove(0);
    assert_eq!(growing.state.as_str(), "recording");
    assert!(growing.frames == 30 && growing.bytes > 10_000 && growing.duration_s > 1.0, "{growing:?}");
    assert!(matches!(bench.recorder.delete(&growing.id).await, Err(RecorderError::Growing)));
    bench.recorder.stop(&a).await.unwrap();
    assert!(matches!(bench.recorder.stop(&a).await, Err(RecorderError::NotFound)));
    let r = bench.finished().await.remove(0);
    bench.recorder.delete(&r.id).await.unwrap();
    assert!(!bench.file(&r).exists() && bench.recordings().await.is_empty());
    let mut seen = Vec::new();
    while let Ok(e) = events.try_recv() {
        seen.push(match e {
            RecorderEvent::JobChanged(j) => format!("job {:?}", j.state),
            RecorderEvent::JobEnded(_) => "ended".into(),
            RecorderEvent::RecordingChanged(r) => r.state.as_str().to_owned(),
            RecorderEvent::RecordingRemoved(_) => "removed".into(),
        });
    }
    for want in ["job Waiting", "job Recording", "recording", "ended", "whole", "removed"] {
        assert!(seen.iter().any(|s| s == want), "{want} is not in {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_start_and_end_their_jobs() {
    let bench = Bench::new("plans").await;
    bench.recorder.resume().await.unwrap();
    let mut cam = Camera::new(&bench.hub, "cam", 25, None);
    let mut plan = bench.recorder.put_plan(always("cam")).await.unwrap();
    assert!(!plan.id.is_empty());
    until("the plan's job runs", || bench.recorder.jobs().len() == 1).await;
    cam.run(30);
    let job = bench.recorder.jobs()[0].clone();
    assert_eq!((job.cause, job.plan.as_ref()), (Cause::Plan, Some(&plan.id)));
    until("it records", || bench.recorder.jobs()[0].state == JobState::Recording).await;
    // Ended by hand: it stays ended until the plan is changed.
    bench.recorder.stop(&job.id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(bench.recorder.jobs().is_empty());
    plan.keep_days = 9;
    bench.recorder.put_plan(plan.clone()).await.unwrap();
    until("it runs again", || bench.recorder.jobs().len() == 1).await;
    plan.enabled = false;
    bench.recorder.put_plan(plan.clone()).await.unwrap();
    until("it ends", || bench.recorder.jobs().is_empty()).await;
    assert_eq!(bench.recorder.plans().await.unwrap(), [plan.clone()]);
    bench.recorder.delete_plan(&plan.id).await.unwrap();
    assert!(bench.recorder.plans().await.unwrap().is_empty());
    assert!(matches!(bench.recorder.put_plan(plan).await, Err(RecorderError::NotFound)));
    assert!(bench.finished().await.iter().all(|r| r.cause == Cause::Plan));
}

async fn aged(bench: &Bench, id: &str, days: i64) {
    let ms = days * 86_400_000;
    sqlx::query("UPDATE recordings SET started_ms = started_ms - $2, ended_ms = ended_ms - $2 WHERE id = $1")
        .bind(id)
        .bind(ms)
        .execute(&bench.pool)
        .await
        .unwrap();
}

/// Keep of plans and of hand; then the size of the archive, which takes recordings of plans only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention() {
    for (max, hand_days, left) in [(0u64, 0u32, 4usize), (0, 5, 3), (1, 0, 2)] {
        let bench = Bench::with("keep", |s| {
            s.max_bytes = max;
            s.hand_keep_days = hand_days;
        })
        .await;
        bench.recorder.resume().await.unwrap();
        let mut cam = Camera::new(&bench.hub, "cam", 25, None);
        for n in 0..5 {
            let job = if n < 3 {
                let plan = bench.recorder.put_plan(always("cam")).await.unwrap();
                until("it runs", || bench.recorder.jobs().len() == 1).await;
                let job = bench.recorder.jobs()[0].id.clone();
                (job, Some(plan))
            } else {
                (bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap(), None)
            };
            wanted(&cam.publisher).await;
            cam.run(30);
            settle(&bench, &job.0).await;
            match job.1 {
                Some(plan) => bench.recorder.delete_plan(&plan.id).await.unwrap(),
                None => bench.recorder.stop(&job.0).await.unwrap(),
            }
        }
        let all = bench.finished().await;
        assert_eq!(all.len(), 5);
        // A plan's recording older than its 3 days, and one by hand just as old but for 6 days.
        let plan = all.iter().find(|r| r.cause == Cause::Plan).unwrap();
        let hand = all.iter().find(|r| r.cause == Cause::Hand).unwrap();
        aged(&bench, &plan.id.0, 4).await;
        aged(&bench, &hand.id.0, 6).await;
        bench.recorder.retain(jiff::Timestamp::now().as_millisecond()).await.unwrap();
        let rest = bench.recordings().await;
        assert_eq!(rest.len(), left, "max {max} hand {hand_days}: {rest:#?}");
        assert!(!rest.iter().any(|r| r.id == plan.id) && !bench.file(plan).exists());
        assert_eq!(rest.iter().any(|r| r.id == hand.id), hand_days == 0);
        let report = recorder::check(&bench.archive(), bench.pool.clone(), |_| {}).await.unwrap();
        assert!(report.missing_files.is_empty() && report.missing_rows.is_empty(), "{report:?}");
    }
}

/// Many streams at once, by two writer threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams() {
    let bench = Bench::new("many").await;
    let mut cams: Vec<Camera> = (0..100).map(|n| Camera::new(&bench.hub, &format!("cam:{n}"), 50, None)).collect();
    let mut jobs = Vec::new();
    for cam in &cams {
        jobs.push(bench.recorder.start(cam.publisher.stream().id().clone(), Cause::Hand, "").await.unwrap());
    }
    let begun = std::time::Instant::now();
    for cam in &mut cams {
        cam.size = 5000;
        cam.run(250);
    }
    let bytes = || bench.recorder.jobs().iter().map(|j| j.bytes).sum::<u64>();
    until("all is written", || bytes() > 100 * 230 * 5000).await;
    let took = begun.elapsed();
    assert_eq!(jobs.len(), 100);
    bench.recorder.shutdown().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (total, all) = bench.recorder.list(&recorder::Filter { limit: 1000, ..Default::default() }).await.unwrap();
    assert_eq!(total, 100);
    assert!(all.iter().all(|r| r.frames == 250), "{:?}", all.iter().map(|r| r.frames).collect::<Vec<_>>());
    println!("100 streams of 10 s each in {took:?}");
    bench.assert_whole().await;
}
