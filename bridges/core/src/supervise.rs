//! One retry rule for every session: `run` retries, `run_once` works.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use media_hub::{Fault, Hub, Publisher, Stream};
use tokio_util::sync::CancellationToken;

/// Waits that double from `first` to `most`, with a fifth of jitter so that many sessions do not return in step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
    salt: u64,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        // Each its own: one seed for all would bring them back in step. The generator must not start at 0.
        let salt = RandomState::new().build_hasher().finish() | 1;
        Backoff { first, most, next: first, salt }
    }

    /// The session worked for a while: begin anew.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.most);
        self.salt ^= self.salt << 13;
        self.salt ^= self.salt >> 7;
        self.salt ^= self.salt << 17;
        wait + wait.mul_f64((self.salt % 1000) as f64 / 5000.0)
    }
}

/// Drives a stream while somebody wants it: takes the publisher, runs `run_once` again and again with back-off while there is
/// demand, and ends it `grace` after the last viewer left.
///
/// `run_once` works until its session ends and gives the fault; it must end its session cleanly when its token is cancelled.
pub async fn drive_on_demand<F, Fut>(
    hub: Hub,
    stream: Arc<Stream>,
    grace: Duration,
    shutdown: CancellationToken,
    mut run_once: F,
) where
    F: FnMut(Publisher, CancellationToken) -> Fut,
    Fut: Future<Output = (Publisher, Result<(), Fault>)> + Send,
{
    let id = stream.id().clone();
    let Ok(mut publisher) = stream.publisher() else { return };
    drop(stream);
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let mut demand = publisher.stream().demand();
        let stop = shutdown.child_token();
        let started = tokio::time::Instant::now();
        let work = run_once(publisher, stop.clone());
        tokio::pin!(work);
        let (back, result, ending) = tokio::select! {
            (publisher, result) = &mut work => (publisher, result, false),
            () = unwanted(&mut demand, grace, &shutdown) => {
                stop.cancel();
                let (publisher, result) = work.await;
                (publisher, result, true)
            }
        };
        publisher = back;
        if ending || shutdown.is_cancelled() {
            break;
        }
        if let Err(fault) = result {
            tracing::info!(stream = %id, code = fault.code, fault = %fault.en, "session ended");
            publisher.fail(fault);
        }
        if started.elapsed() > Duration::from_secs(20) {
            backoff.reset();
        }
        let wait = backoff.wait();
        let mut demand = publisher.stream().demand();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = unwanted(&mut demand, Duration::ZERO, &shutdown) => break,
        }
    }
    drop(publisher);
    // Who still wants it would open it anew: not while the house closes.
    if !shutdown.is_cancelled() {
        hub.tidy(&id);
    }
}

/// Resolves when demand has been zero for `grace`, or on shutdown.
async fn unwanted(demand: &mut tokio::sync::watch::Receiver<usize>, grace: Duration, shutdown: &CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            gone = demand.wait_for(|n| *n == 0) => if gone.is_err() { return },
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(grace) => return,
            wanted = demand.wait_for(|n| *n > 0) => if wanted.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_sessions_do_not_return_in_step() {
        let waits = || {
            let mut b = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
            (0..8).map(|_| b.wait()).collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..20).map(|_| waits()).collect();
        for w in &all {
            for (wait, least) in w.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
                let least = Duration::from_secs(least);
                assert!((least..=least.mul_f64(1.2)).contains(wait), "{wait:?}");
            }
        }
        assert!(all.iter().any(|w| *w != all[0]));
    }
}
