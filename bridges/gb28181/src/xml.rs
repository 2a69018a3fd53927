//! A bounded, tolerant XML reader (reference section 6.2): no DTD, no external entity, limits on depth and size, names without
//! regard to case, unknown elements kept out of the way, attributes as fallback for elements.

use quick_xml::events::{BytesStart, Event};

/// Deepest element.
pub const MAX_DEPTH: usize = 16;
/// Most elements of one document: a catalog piece of 10,000 items fits.
pub const MAX_NODES: usize = 400_000;
/// Largest document in bytes, as text.
pub const MAX_BYTES: usize = 8 << 20;
/// Longest text kept of one element.
const MAX_TEXT: usize = 8192;
const MAX_ATTRIBUTES: usize = 16;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("the document is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("elements are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("more than {MAX_NODES} elements")]
    TooMany,
    #[error("a document type definition is not accepted")]
    Dtd,
    #[error("no element at all")]
    Empty,
    #[error("not XML: {0}")]
    Broken(String),
}

/// One element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// Trimmed.
    pub text: String,
    pub children: Vec<Node>,
}

impl Node {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The last child of that name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().rev().find(|c| c.is(name))
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The text of a child, else the attribute of that name; none when empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let text = self.child(name).map(|c| c.text.as_str()).filter(|t| !t.is_empty());
        text.or_else(|| self.attribute(name).map(str::trim).filter(|t| !t.is_empty()))
    }

    /// As [`Node::get`], in a child `Info` too: the editions moved elements in and out of it.
    pub fn get_or_info(&self, name: &str) -> Option<&str> {
        self.get(name).or_else(|| self.children.iter().filter(|c| c.is("Info")).find_map(|info| info.get(name)))
    }

    /// A number; empty and unreadable ones are none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }
}

fn local(name: &[u8]) -> String {
    let name = name.rsplit(|b| *b == b':').next().unwrap_or(name);
    String::from_utf8_lossy(name).trim().to_owned()
}

fn open(tag: &BytesStart<'_>) -> Node {
    let attributes = tag
        .attributes()
        .with_checks(false)
        .take(MAX_ATTRIBUTES)
        .flatten()
        .map(|a| {
            let raw = String::from_utf8_lossy(a.value.as_ref().as_ref()).into_owned();
            let value = quick_xml::escape::unescape(&raw).map_or_else(|_| raw.clone(), |v| v.into_owned());
            (local(a.key.as_ref().as_ref()), value.chars().take(MAX_TEXT).collect())
        })
        .collect();
    Node { name: local(tag.name().as_ref().as_ref()), attributes, ..Node::default() }
}

/// Reads a document that [`crate::text::repair`] went over. Elements that are not closed are closed at the end; a closing tag
/// that closes nothing is left out.
pub fn parse(text: &str) -> Result<Node, XmlError> {
    if text.len() > MAX_BYTES {
        return Err(XmlError::TooLarge);
    }
    let mut reader = quick_xml::Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut stack: Vec<Node> = Vec::new();
    let mut root: Option<Node> = None;
    let mut count = 0;
    loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            // What came whole is kept: the tail of a cut datagram spoils only the last element.
            Err(_) if !stack.is_empty() || root.is_some() => break,
            Err(e) => return Err(XmlError::Broken(e.to_string())),
        };
        match event {
            Event::Eof => break,
            Event::DocType(_) => return Err(XmlError::Dtd),
            Event::Start(tag) => {
                count += 1;
                if count > MAX_NODES {
                    return Err(XmlError::TooMany);
                }
                if stack.len() >= MAX_DEPTH {
                    return Err(XmlError::TooDeep);
                }
                stack.push(open(&tag));
            }
            Event::Empty(tag) => {
                count += 1;
                if count > MAX_NODES {
                    return Err(XmlError::TooMany);
                }
                if stack.len() >= MAX_DEPTH {
                    return Err(XmlError::TooDeep);
                }
                place(open(&tag), &mut stack, &mut root);
            }
            Event::End(tag) => {
                let name = local(tag.name().as_ref().as_ref());
                if let Some(at) = stack.iter().rposition(|n| n.is(&name)) {
                    while stack.len() > at {
                        let Some(node) = stack.pop() else { break };
                        place(node, &mut stack, &mut root);
                    }
                }
            }
            Event::Text(t) => add(&mut stack, &t.into_inner()),
            Event::CData(t) => add(&mut stack, &t.into_inner()),
            Event::GeneralRef(r) => {
                let name = r.borrow().into_inner().into_owned();
                let c = match r.resolve_char_ref() {
                    Ok(Some(c)) => Some(c.to_string()),
                    _ => quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned),
                };
                add(&mut stack, c.as_deref().unwrap_or(""));
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    while let Some(node) = stack.pop() {
        place(node, &mut stack, &mut root);
    }
    root.ok_or(XmlError::Empty)
}

fn add(stack: &mut [Node], text: &str) {
    let Some(top) = stack.last_mut() else { return };
    let room = MAX_TEXT.saturating_sub(top.text.len());
    if room >= text.len() {
        top.text.push_str(text);
    } else {
        top.text.extend(text.chars().take(room / 4));
    }
}

fn place(mut node: Node, stack: &mut [Node], root: &mut Option<Node>) {
    let trimmed = node.text.trim();
    if trimmed.len() != node.text.len() {
        node.text = trimmed.to_owned();
    }
    match stack.last_mut() {
        Some(parent) => parent.children.push(node),
        // The first root wins: a second one behind it is rubbish.
        None => {
            root.get_or_insert(node);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn case_duplicates_attributes_and_spaces() {
        let n = parse("<?xml version=\"1.0\"?><QUERY SN=\"7\"><cmdtype> Catalog </cmdtype><Secrecy> 0 </Secrecy><a>1</a><A>2</a><Info><PTZType>1</PTZType></Info><e/></Query>").unwrap();
        assert!(n.is("Query"));
        assert_eq!(
            (n.get("CmdType"), n.get("sn"), n.get("A"), n.get("e")),
            (Some("Catalog"), Some("7"), Some("2"), None)
        );
        assert_eq!((n.get_or_info("PTZType"), n.number::<u8>("Secrecy")), (Some("1"), Some(0)));
    }

    #[test]
    fn entities_and_cdata() {
        let n = parse("<a><b>x &amp; &lt;y&gt; &#65;</b><c><![CDATA[1 < 2]]></c></a>").unwrap();
        assert_eq!((n.get("b"), n.get("c")), (Some("x & <y> A"), Some("1 < 2")));
    }

    #[test]
    fn limits() {
        assert_eq!(parse(&"<a>".repeat(40)), Err(XmlError::TooDeep));
        assert_eq!(parse("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"), Err(XmlError::Dtd));
        assert_eq!(parse("  "), Err(XmlError::Empty));
        assert!(parse("nothing").is_err());
        assert_eq!(parse(&format!("<a>{}</a>", "<b/>".repeat(MAX_NODES))), Err(XmlError::TooMany));
    }

    #[test]
    fn cut_short_keeps_what_came() {
        let n = parse("<Response><SN>5</SN><DeviceList><Item><DeviceID>1</DeviceID><Name>gat").unwrap();
        assert_eq!(n.get("SN"), Some("5"));
        assert_eq!(n.child("DeviceList").unwrap().child("Item").unwrap().get("DeviceID"), Some("1"));
    }
}
