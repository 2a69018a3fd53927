//! A broadcast as the API shows it.

use std::collections::BTreeMap;

use bridge_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::order::{Source, TargetName};
use super::target::{Target, TargetState};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BroadcastState {
    Running,
    /// Every target has its result.
    Done,
    /// By an operator; a live voice always ends so, or with its microphone.
    Stopped,
    /// The gateway stopped meanwhile. It is not begun anew by itself.
    Interrupted,
}

/// How many targets are how far.
pub type Counts = BTreeMap<TargetState, usize>;

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TargetView {
    /// Its place in the order, from 0.
    pub n: usize,
    pub to: String,
    pub name: String,
    pub state: TargetState,
    pub tries: u32,
    /// How often it heard it, at most in one try: 1.5 is once and a half. Of a live voice 0.
    pub heard: f32,
    /// The same of the present try.
    pub position: f32,
    /// Why not: the code of a fault.
    pub code: Option<String>,
    pub zh: String,
    pub en: String,
    pub next_zh: String,
    pub next_en: String,
    #[schema(value_type = String)]
    pub changed_at: Timestamp,
}

impl TargetView {
    pub(crate) fn new(n: usize, name: &TargetName) -> TargetView {
        TargetView {
            n,
            to: name.to.clone(),
            name: name.name.clone(),
            state: TargetState::Waiting,
            tries: 0,
            heard: 0.0,
            position: 0.0,
            code: None,
            zh: String::new(),
            en: String::new(),
            next_zh: String::new(),
            next_en: String::new(),
            changed_at: Timestamp::now(),
        }
    }

    pub(crate) fn take(&mut self, target: &Target) {
        (self.state, self.tries) = (target.state, target.tries);
        (self.heard, self.position) = (target.heard, target.position);
        self.code = target.fault.as_ref().map(|f| f.code.to_owned());
        let words = target.fault.as_ref().map(|f| [&f.zh, &f.en, &f.next_zh, &f.next_en].map(Clone::clone));
        [self.zh, self.en, self.next_zh, self.next_en] = words.unwrap_or_default();
        self.changed_at = Timestamp::now();
    }
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BroadcastView {
    pub id: String,
    pub name: String,
    /// The account that ordered it.
    pub by: String,
    /// Who stopped it.
    pub stopped_by: Option<String>,
    pub state: BroadcastState,
    pub source: Source,
    pub rounds: u32,
    pub pause: u32,
    pub chime: bool,
    /// Of one round, with its chime; 0 for a live voice.
    pub seconds: f32,
    #[schema(value_type = String)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
    /// Of a live voice: the operator's microphone has come.
    pub microphone: bool,
    #[schema(value_type = Object)]
    pub counts: Counts,
    /// Left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<TargetView>>,
}

pub(crate) fn counts<'a>(targets: impl IntoIterator<Item = &'a TargetView>) -> Counts {
    let mut counts = Counts::new();
    for target in targets {
        *counts.entry(target.state).or_default() += 1;
    }
    counts
}
