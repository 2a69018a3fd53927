//! MANSCDP: the XML of control, query, notification and response (GB/T 28181-2022 annex A; reference section 6).

use crate::text::{self, Charset};
use crate::xml::{self, Node, XmlError};

/// Media type of the bodies; compared without case.
pub const CONTENT_TYPE: &str = "Application/MANSCDP+xml";

/// Root element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    Control,
    Query,
    Notify,
    Response,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Manscdp {
    pub root: Root,
    /// As written; compare without case.
    pub command: String,
    /// 0 when missing or unreadable.
    pub sn: u32,
    /// `DeviceID`, possibly empty.
    pub device: String,
    pub tree: Node,
    /// What the bytes must have been; none for plain ASCII.
    pub charset: Option<Charset>,
}

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    #[error("{0}")]
    Xml(#[from] XmlError),
    #[error("root element {0} is none of Control, Query, Notify, Response")]
    Root(String),
    #[error("no CmdType")]
    NoCommand,
}

impl Manscdp {
    /// Reads a body with all the tolerance of reference sections 3, 6.2 and 19.
    pub fn parse(body: &[u8]) -> Result<Manscdp, BadBody> {
        let (raw, charset) = text::decode(body);
        let tree = xml::parse(&text::repair(&raw))?;
        let root = match () {
            () if tree.is("Control") => Root::Control,
            () if tree.is("Query") => Root::Query,
            () if tree.is("Notify") => Root::Notify,
            () if tree.is("Response") => Root::Response,
            () => return Err(BadBody::Root(tree.name.chars().take(40).collect())),
        };
        let command = tree.get("CmdType").ok_or(BadBody::NoCommand)?.to_owned();
        let sn = tree.number("SN").unwrap_or(0);
        let device = tree.get("DeviceID").unwrap_or("").to_owned();
        Ok(Manscdp { root, command, sn, device, tree, charset })
    }

    pub fn is(&self, root: Root, command: &str) -> bool {
        self.root == root && self.command.eq_ignore_ascii_case(command)
    }
}

fn document(charset: Charset, root: &str, command: &str, sn: u32, device: &str, inner: &str) -> Vec<u8> {
    charset.encode(&format!(
        "<?xml version=\"1.0\" encoding=\"{}\"?>\r\n<{root}>\r\n<CmdType>{command}</CmdType>\r\n<SN>{sn}</SN>\r\n\
         <DeviceID>{}</DeviceID>\r\n{inner}</{root}>\r\n",
        charset.prolog(),
        text::escape(device)
    ))
}

/// A `Query` body. `device` is the id asked about.
pub fn query(charset: Charset, command: &str, sn: u32, device: &str) -> Vec<u8> {
    document(charset, "Query", command, sn, device, "")
}

/// A `Query` body with further elements, as subscriptions carry it. `inner` is written as it is.
pub fn query_with(charset: Charset, command: &str, sn: u32, device: &str, inner: &str) -> Vec<u8> {
    document(charset, "Query", command, sn, device, inner)
}

/// A `Control` body of type DeviceControl or DeviceConfig; `inner` is XML.
pub fn ordered(charset: Charset, command: &str, sn: u32, device: &str, inner: &str) -> Vec<u8> {
    document(charset, "Control", command, sn, device, inner)
}

/// A `Control` body of type DeviceControl with one element.
pub fn control(charset: Charset, sn: u32, device: &str, element: &str, value: &str) -> Vec<u8> {
    let inner = format!("<{element}>{}</{element}>\r\n", text::escape(value));
    document(charset, "Control", "DeviceControl", sn, device, &inner)
}

/// A `Control` body of type DeviceConfig. `inner` is its block, ready-made XML.
pub fn config(charset: Charset, sn: u32, device: &str, inner: &str) -> Vec<u8> {
    document(charset, "Control", "DeviceConfig", sn, device, inner)
}

/// The business answer to a device's `Notify` (alarm): `Response` with the same SN.
pub fn response(charset: Charset, command: &str, sn: u32, device: &str, ok: bool) -> Vec<u8> {
    let inner = format!("<Result>{}</Result>\r\n", if ok { "OK" } else { "ERROR" });
    document(charset, "Response", command, sn, device, &inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let m = Manscdp::parse(&control(Charset::Gb18030, 118, "34020000001320000009", "PTZCmd", "A50F0101320000E8"))
            .unwrap();
        assert!(m.is(Root::Control, "devicecontrol"));
        assert_eq!(
            (m.sn, m.device.as_str(), m.tree.get("PTZCmd")),
            (118, "34020000001320000009", Some("A50F0101320000E8"))
        );
        let q = Manscdp::parse(&query(Charset::Utf8, "Catalog", 7, "34020000001320000009")).unwrap();
        assert!(q.is(Root::Query, "Catalog") && q.charset.is_none());
    }

    #[test]
    fn refusals() {
        assert!(matches!(Manscdp::parse(b"<html/>"), Err(BadBody::Root(_))));
        assert!(matches!(Manscdp::parse(b"<Notify><SN>1</SN></Notify>"), Err(BadBody::NoCommand)));
        assert!(Manscdp::parse(&[0xFF; 40]).is_err());
        assert!(Manscdp::parse(b"").is_err());
    }

    #[test]
    fn attributes_stand_for_elements() {
        let m =
            Manscdp::parse(b"<Notify CmdType=\"Keepalive\" SN='43'><DeviceID>34020000001320000001</DeviceID></Notify>")
                .unwrap();
        assert!(m.is(Root::Notify, "Keepalive") && m.sn == 43);
    }
}
