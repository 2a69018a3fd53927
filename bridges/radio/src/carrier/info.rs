//! The key as SIP INFO (RFC 6086) inside the call. Every vendor has bodies of its own: what is sent is a template, what comes is read by
//! patterns.

use std::time::Instant;

use bridge_core::{FloorNotice, FloorTerms};
use regex_lite::Regex;

use super::{Carrier, Event, Grants, Input, Out, Outbox, Press, Said};
use crate::config::{GatewayConfig, Group, InfoConfig, InfoForm, InfoGrant};
use crate::text::Reader;

/// Longest body that is read.
const MOST_BODY: usize = 8192;

pub(super) struct Info {
    config: InfoConfig,
    content_type: String,
    group: String,
    press_is: Option<Regex>,
    release_is: Option<Regex>,
    granted_is: Option<Regex>,
    denied_is: Option<Regex>,
    revoked_is: Option<Regex>,
    reader: Reader,
    seq: u32,
    /// We asked, and wait.
    asked: bool,
    /// We hold the key.
    held: bool,
    radio: bool,
    out: Outbox,
}

fn pattern(text: &str) -> Option<Regex> {
    // The configuration was checked; an empty one matches nothing.
    if text.is_empty() { None } else { Regex::new(text).ok() }
}

/// The form's own bodies, by the operation.
fn usual(form: InfoForm, op: &str) -> &'static str {
    match (form, op) {
        (InfoForm::Signal, "request") => "Signal=*\r\nDuration=100\r\n",
        (InfoForm::Signal, "released") => "Signal=#\r\nDuration=100\r\n",
        // A telephone's key has no other words.
        (InfoForm::Signal, _) => "-",
        (InfoForm::Xml, _) => {
            "<?xml version=\"1.0\"?>\r\n<ptt><op>{op}</op><group>{group}</group><user>{user}</user><name>{name}</name>\
             <priority>{priority}</priority><emergency>{emergency}</emergency><cause>{cause}</cause><seq>{seq}</seq></ptt>\r\n"
        }
        (InfoForm::Json, _) => {
            "{\"op\":\"{op}\",\"group\":\"{group}\",\"user\":\"{user}\",\"name\":\"{name}\",\"priority\":{priority},\
             \"emergency\":{emergency},\"cause\":{cause},\"seq\":{seq}}"
        }
    }
}

impl Info {
    pub fn new(gateway: &GatewayConfig, group: &Group) -> Info {
        let config = gateway.info.clone();
        let usual_type = match config.form {
            InfoForm::Signal => "application/dtmf-relay",
            InfoForm::Xml => "application/ptt+xml",
            InfoForm::Json => "application/ptt+json",
        };
        let content_type = if config.content_type.is_empty() { usual_type } else { &config.content_type }.to_owned();
        Info {
            content_type,
            group: group.number.clone(),
            press_is: pattern(&config.press_is),
            release_is: pattern(&config.release_is),
            granted_is: pattern(&config.granted_is),
            denied_is: pattern(&config.denied_is),
            revoked_is: pattern(&config.revoked_is),
            config,
            reader: Reader::new(&gateway.text),
            seq: 0,
            asked: false,
            held: false,
            radio: false,
            out: Outbox::default(),
        }
    }

    fn say(&mut self, op: &str, template: &str, press: &Press, cause: u16) {
        let template = if template.is_empty() { usual(self.config.form, op) } else { template };
        if template == "-" {
            return;
        }
        self.seq = self.seq.wrapping_add(1);
        let clean = |text: &str| self.escaped(text);
        let body = template
            .replace("{op}", op)
            .replace("{group}", &self.group)
            .replace("{priority}", &press.priority.to_string())
            .replace("{emergency}", if press.emergency { "true" } else { "false" })
            .replace("{cause}", &cause.to_string())
            .replace("{seq}", &self.seq.to_string())
            .replace("{user}", &clean(&press.user))
            .replace("{name}", &clean(&press.name));
        let asks = op == "request";
        self.out.send(Said::Info { content_type: self.content_type.clone(), body, asks });
    }

    /// A name must not end the element or text that it stands in.
    fn escaped(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars().filter(|c| !c.is_control() && !"{}".contains(*c)).take(64) {
            match (self.config.form, c) {
                (InfoForm::Xml, '<') => out.push_str("&lt;"),
                (InfoForm::Xml, '&') => out.push_str("&amp;"),
                (InfoForm::Xml, '>') => out.push_str("&gt;"),
                (InfoForm::Json, '"' | '\\') => out.extend(['\\', c]),
                _ => out.push(c),
            }
        }
        out
    }
}

impl Carrier for Info {
    fn terms(&self) -> FloorTerms {
        let says = |own: &str| own != "-" && (!own.is_empty() || self.config.form != InfoForm::Signal);
        FloorTerms { receive_only: false, queues: says(&self.config.queued), revocable: says(&self.config.revoked) }
    }

    fn grants(&self) -> Grants {
        if self.config.grant == InfoGrant::None { Grants::No } else { Grants::Usually }
    }

    fn press(&mut self, press: &Press, _: Instant) {
        (self.asked, self.held) = (true, true);
        let template = self.config.press.clone();
        self.say("request", &template, press, 0);
    }

    fn release(&mut self, _: Instant) {
        if std::mem::replace(&mut self.held, false) {
            self.asked = false;
            let template = self.config.release.clone();
            self.say("released", &template, &Press::default(), 0);
        }
    }

    fn answer(&mut self, notice: &FloorNotice, _: Instant) {
        let c = self.config.clone();
        let nobody = Press::default();
        match notice {
            FloorNotice::Granted { .. } => self.say("granted", &c.granted, &nobody, 0),
            FloorNotice::Denied { cause } => self.say("denied", &c.denied, &nobody, *cause),
            FloorNotice::Revoked { cause } => self.say("revoked", &c.revoked, &nobody, *cause),
            FloorNotice::Cut => self.say("denied", &c.denied, &nobody, 1),
            FloorNotice::Queued { place, .. } => self.say("queued", &c.queued, &nobody, *place),
            FloorNotice::Taken { by, priority, emergency, .. } => {
                let by = Press {
                    user: by.number.clone(),
                    name: by.name.clone(),
                    priority: *priority,
                    emergency: *emergency,
                };
                self.say("taken", &c.taken, &by, 0);
            }
            FloorNotice::Idle { .. } => self.say("idle", &c.idle, &nobody, 0),
        }
    }

    fn input(&mut self, input: Input<'_>, _: Instant) {
        let body = match input {
            Input::Info(body) => body,
            Input::InfoAnswered(taken) if self.asked => {
                if !taken {
                    (self.asked, self.held) = (false, false);
                    self.out.heard(Event::Denied(255));
                } else if self.config.grant == InfoGrant::Ok {
                    self.asked = false;
                    self.out.heard(Event::Granted);
                }
                return;
            }
            _ => return,
        };
        let text = String::from_utf8_lossy(body.get(..body.len().min(MOST_BODY)).unwrap_or_default());
        let is = |p: &Option<Regex>| p.as_ref().is_some_and(|p| p.is_match(&text));
        if is(&self.granted_is) && self.held {
            self.asked = false;
            self.out.heard(Event::Granted);
        } else if is(&self.denied_is) && self.held {
            (self.asked, self.held) = (false, false);
            self.out.heard(Event::Denied(1));
        } else if is(&self.revoked_is) && self.held {
            self.held = false;
            self.out.heard(Event::Revoked(4));
        } else if is(&self.press_is) {
            let by = self.reader.who(&text);
            if self.radio && by.is_some() && !self.reader.emergency(&text) {
                self.out.heard(Event::Named(by.unwrap_or_default()));
                return;
            }
            self.radio = true;
            (self.asked, self.held) = (false, false);
            self.out.heard(Event::Pressed { by, priority: None, emergency: self.reader.emergency(&text) });
        } else if is(&self.release_is) {
            if std::mem::replace(&mut self.radio, false) {
                self.out.heard(Event::Released);
            }
        } else if let Some(who) = self.reader.who(&text).filter(|_| self.radio) {
            self.out.heard(Event::Named(who));
        }
    }

    fn tick(&mut self, _: Instant) {}

    fn forget(&mut self) -> bool {
        std::mem::replace(&mut self.radio, false)
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll(&mut self) -> Option<Out> {
        self.out.0.pop_front()
    }

    fn says_no(&self) -> bool {
        self.config.denied != "-" && (!self.config.denied.is_empty() || self.config.form != InfoForm::Signal)
    }
}
