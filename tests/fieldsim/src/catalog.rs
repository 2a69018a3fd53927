//! The business answers of a device: Catalog, DeviceInfo, DeviceStatus, ConfigDownload and the results of controls.

use crate::options::CameraSpec;
use crate::xml::escape;

/// What the answers are made of.
pub struct About<'a> {
    pub spec: &'a CameraSpec,
    pub channels: &'a [(String, String)],
    pub server_id: &'a str,
    pub faults: &'a crate::faults::Faults,
    /// As it is named now, and its firmware: both can be changed.
    pub name: &'a str,
    pub firmware: &'a str,
}

fn wrap(root: &str, kind: &str, sn: &str, id: &str, inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"GB18030\"?>\r\n<{root}>\r\n<CmdType>{kind}</CmdType>\r\n<SN>{}</SN>\r\n\
         <DeviceID>{}</DeviceID>\r\n{inner}</{root}>\r\n",
        escape(sn),
        escape(id)
    )
}

pub fn response(kind: &str, sn: &str, id: &str, inner: &str) -> String {
    wrap("Response", kind, sn, id, inner)
}

pub fn notify(kind: &str, sn: u32, id: &str, inner: &str) -> String {
    wrap("Notify", kind, &sn.to_string(), id, inner)
}

pub fn keepalive(sn: u32, id: &str) -> String {
    wrap("Notify", "Keepalive", &sn.to_string(), id, "<Status>OK</Status>\r\n")
}

impl About<'_> {
    /// All answers to a query, in the order to be sent; empty when the command is unknown.
    pub fn answers(&self, kind: &str, sn: &str, id: &str, _query: &str) -> Vec<String> {
        let one = |inner: String| vec![response(kind, sn, id, &inner)];
        match kind.to_ascii_lowercase().as_str() {
            "catalog" => self.catalog(sn, id),
            "deviceinfo" => {
                let model = if self.channels.len() > 1 { "FS-NVR" } else { "FS-DOME" };
                one(format!(
                    "<Result>OK</Result>\r\n<DeviceName>{}</DeviceName>\r\n<Manufacturer>Fieldsim</Manufacturer>\r\n\
                     <Model>{model}</Model>\r\n<Firmware>{}</Firmware>\r\n<Channel>{}</Channel>\r\n",
                    escape(self.name),
                    escape(self.firmware),
                    self.channels.len()
                ))
            }
            _ => Vec::new(),
        }
    }

    /// The items in pieces, with what the faults ask for. Asked by a channel's id, only that channel.
    fn catalog(&self, sn: &str, id: &str) -> Vec<String> {
        let spec = self.spec;
        let whole = id == spec.id || id.len() < 20 || id == self.server_id;
        let mut items = if whole { crate::tree::above(spec) } else { Vec::new() };
        let asked = self.channels.iter().enumerate().filter(|(_, (channel, _))| whole || channel == id);
        items.extend(asked.map(|(n, (channel, name))| match spec.groups {
            0 => self.item(channel, name),
            _ => crate::tree::line(channel, name, &crate::tree::parent(spec, n)),
        }));
        let words = crate::speaker::Speaker::try_from(spec.speaker.clone()).unwrap_or_default();
        if words.listed {
            let asked = self.channels.iter().filter(|(channel, _)| whole || channel == id);
            items.extend(asked.map(|(channel, name)| crate::speaker::item(channel, name)));
        }
        let sum = items.len();
        items.truncate(sum.saturating_sub(self.faults.catalog_partial));
        let pieces = items.chunks(spec.catalog_piece.max(1)).map(|piece| {
            let inner = format!(
                "<SumNum>{sum}</SumNum>\r\n<DeviceList Num=\"{}\">\r\n{}</DeviceList>\r\n",
                piece.len(),
                piece.concat()
            );
            response("Catalog", sn, id, &inner)
        });
        let times = if self.faults.catalog_repeats { 2 } else { 1 };
        pieces.flat_map(|piece| std::iter::repeat_n(piece, times)).collect()
    }

    fn item(&self, channel: &str, name: &str) -> String {
        let spec = self.spec;
        // A camera whose only channel is itself hangs under the platform, not under itself.
        let parent = if channel == spec.id { self.server_id } else { &spec.id };
        let old = if spec.edition < 2022 { "<Owner>Owner</Owner>\r\n<SafetyWay>0</SafetyWay>\r\n" } else { "" };
        let mobile = if spec.moves { "<MobileDeviceType>2</MobileDeviceType>\r\n" } else { "" };
        let streams = if spec.sub.is_empty() { "0" } else { "0/1" };
        let info = if spec.edition < 2022 {
            format!("<Info>\r\n<PTZType>1</PTZType>\r\n{mobile}</Info>\r\n")
        } else {
            format!(
                "<Info>\r\n<PTZType>1</PTZType>\r\n<Resolution>{}</Resolution>\r\n<StreamNumberList>{streams}</StreamNumberList>\r\n{mobile}\
                 <GrassrootsCode>000000</GrassrootsCode>\r\n</Info>\r\n",
                spec.size
            )
        };
        format!(
            "<Item>\r\n<DeviceID>{channel}</DeviceID>\r\n<Name>{}</Name>\r\n<Manufacturer>Fieldsim</Manufacturer>\r\n\
             <Model>FS-CAM</Model>\r\n{old}<CivilCode>{}</CivilCode>\r\n<Address>simulated field</Address>\r\n\
             <Parental>0</Parental>\r\n<ParentID>{parent}</ParentID>\r\n<RegisterWay>1</RegisterWay>\r\n\
             <Secrecy>0</Secrecy>\r\n<Status>ON</Status>\r\n<Longitude>118.376451</Longitude>\r\n\
             <Latitude>31.326319</Latitude>\r\n{info}</Item>\r\n",
            escape(name),
            channel.get(..6).unwrap_or("340200")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::element;

    #[test]
    fn a_recorder_sends_one_item_per_message() {
        let spec = crate::cast::newcomer(None).remove(1);
        let channels = spec.channel_list();
        assert_eq!(channels[0].0, "34020000001310000021");
        let about = About {
            spec: &spec,
            channels: &channels,
            server_id: "34020000002000000001",
            name: "x",
            firmware: "y",
            faults: &Default::default(),
        };
        let list = about.answers("Catalog", "7", &spec.id, "");
        assert_eq!(list.len(), 2);
        assert_eq!(element(&list[1], "SumNum").as_deref(), Some("2"));
        assert_eq!(
            element(&list[1], "Item").and_then(|i| element(&i, "DeviceID")).as_deref(),
            Some("34020000001310000022")
        );
    }
}
