//! Devices that wait to be asked something: no task of its own for each of those that wait.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<String>,
    /// Tasks that ask.
    asking: usize,
}

impl Line {
    /// Puts a device in line, where at most `most` wait; beyond it, it is passed over. True: the caller shall start one more task,
    /// which takes from [`Line::next`] until that gives none.
    pub fn join(&self, id: &str, most: usize, tasks: usize) -> bool {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.waiting.len() >= most {
            return false;
        }
        line.waiting.push_back(id.to_owned());
        let more = line.asking < tasks.max(1);
        line.asking += usize::from(more);
        more
    }

    /// The next device. With none the task that asked is counted off, and must end.
    pub fn next(&self) -> Option<String> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = line.waiting.pop_front();
        if next.is_none() {
            line.asking = line.asking.saturating_sub(1);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_ask_and_so_many_wait() {
        let line = Line::default();
        let started = (0..5).filter(|n| line.join(&n.to_string(), 4, 2)).count();
        assert_eq!(started, 2);
        let got: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(got, ["0", "1", "2", "3"], "the fifth was passed over");
        assert_eq!(line.next(), None);
        assert!(line.join("6", 4, 1), "both have ended");
    }
}
