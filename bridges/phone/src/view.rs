//! What a terminal is shown: the picture that the conference chose for it, in a form that it takes.
//!
//! Between the chosen source and the terminal stands a [`Program`] of its own: a switch happens at the new source's key
//! frame, and the old picture stands until then. A source that the terminal does not take as it is comes through a
//! transcoder: `h264:SOURCE` for H.265, a [`Fit`] for what is too large, too fast or of a higher profile.

use std::time::{Duration, Instant};

use bridge_core::Fault;
use media_core::{Codec, MediaKind};
use media_hub::{Fit, Hub, Program, StreamId, StreamState, SubscribeOptions, Subscriber};

use crate::faults::Reason;
use crate::picture::{Picture, Unfit};

/// How often the choice is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The link was too small so many times within the time: the picture is made smaller.
const CROWDED: u64 = 2;
const CROWDED_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct View {
    hub: Hub,
    program: Program,
    pub shown: Subscriber,
    /// What the conference chose.
    source: Option<StreamId>,
    /// What the program was asked for: the source, or what is made of it.
    asked: Option<StreamId>,
    /// The source's pictures do not fit as they are; why, for people.
    unfit: Option<String>,
    /// What the terminal takes; another one is a new beginning.
    terms: Option<Fit>,
    crowded: (u64, Instant),
    next: Instant,
}

impl View {
    /// Opens the program `program:phone/ID`.
    pub fn open(hub: &Hub, id: &str, overflows: u64, now: Instant) -> Option<View> {
        let id = StreamId::new(format!("program:phone/{id}"));
        let program = Program::start(hub, id.clone(), "")
            .inspect_err(|error| tracing::warn!(%error, "no program for a terminal's picture"))
            .ok()?;
        let shown = hub.subscribe(&id, SubscribeOptions::default()).ok()?;
        Some(View {
            hub: hub.clone(),
            program,
            shown,
            source: None,
            asked: None,
            unfit: None,
            terms: None,
            crowded: (overflows, now),
            next: now,
        })
    }

    /// Looks at the choice of the conference and at how the pictures fit, and switches where needed.
    pub fn look(&mut self, chosen: Option<StreamId>, picture: &Picture, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + LOOK_EVERY;
        let Some(terms) = picture.sends().and_then(|m| m.terms.as_ref()) else { return };
        let fit = Fit::of(terms.format.max_fs, picture.limit(), terms.format.mode == 0);
        if self.source != chosen || self.terms != Some(fit) {
            self.source = chosen;
            self.terms = Some(fit);
            self.unfit = None;
            self.crowded = (picture.overflows(), now);
        }
        if self.unfit.is_none() {
            self.unfit = self.misfit(picture, now);
        }
        let asked = self.source.as_ref().map(|source| match (&self.unfit, self.codec(source)) {
            (Some(_), _) => fit.id(source),
            (None, Some(Codec::H265)) => StreamId::new(format!("h264:{source}")),
            (None, _) => source.clone(),
        });
        if self.asked != asked {
            if let (Some(why), Some(source)) = (&self.unfit, &self.source) {
                tracing::info!(%source, why, "a picture is made to fit a terminal");
            }
            // Without transcoders there is nobody who makes it: nothing is shown then, and the reason is told.
            self.program.switch(asked.clone().filter(|a| self.hub.knows(a)));
            self.asked = asked;
        }
    }

    /// Why what is shown now does not fit.
    fn misfit(&mut self, picture: &Picture, now: Instant) -> Option<String> {
        // Only of this source: one that was shown before says nothing of it.
        let live = self.program.state().borrow().live.clone();
        if live.is_none() || live != self.asked {
            return None;
        }
        if let Some(unfit) = picture.unfit() {
            // VP8 is made to nothing else here.
            return (*unfit != Unfit::Codec(Codec::Vp8)).then(|| unfit.to_string());
        }
        let (before, since) = self.crowded;
        if picture.overflows() >= before + CROWDED {
            return Some(format!("more than {} kbit/s", picture.limit()));
        }
        if now.saturating_duration_since(since) > CROWDED_WITHIN {
            self.crowded = (picture.overflows(), now);
        }
        None
    }

    fn codec(&self, source: &StreamId) -> Option<Codec> {
        let stream = self.hub.get(source)?;
        stream.tracks().iter().find(|t| t.kind() == MediaKind::Video).map(|t| t.codec)
    }

    /// Why the terminal is not shown what was chosen; none: it is, or nothing was chosen.
    pub fn fault(&self, picture: &Picture) -> Option<Fault> {
        let asked = self.asked.as_ref()?;
        let live = self.program.state().borrow().live.clone();
        if let Some(unfit) = picture.unfit().filter(|_| live.as_ref() == Some(asked)) {
            return Some(Reason::PictureUnfit.with(unfit));
        }
        if let Some(why) = self.unfit.as_ref().filter(|_| !self.hub.knows(asked)) {
            return Some(Reason::PictureUnfit.with(why));
        }
        let status = self.hub.get(asked)?.status();
        match (status.state, status.fault) {
            // The transcoder's own words speak of browsers; here the reason is why one is needed, too.
            (StreamState::Failed, Some(fault)) if Some(asked) != self.source.as_ref() => {
                let why = self.unfit.as_deref().unwrap_or("H.265");
                let busy = fault.code == "transcoders_busy";
                let what = if busy { "no transcoder is free" } else { fault.en.as_str() };
                Some(Reason::PictureUnfit.with(format_args!("{why}; {what}")))
            }
            (StreamState::Failed, fault) => fault,
            _ => None,
        }
    }

    /// Asks the shown source for a key frame.
    pub fn request_key_frame(&self) {
        self.shown.stream().request_key_frame();
    }
}
