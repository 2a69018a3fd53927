//! A platform's catalog with regions, business groups, virtual organisations and recorders beneath (reference section 8.1).

use crate::options::CameraSpec;
use crate::xml::escape;

/// Organisations in each group.
const PER_GROUP: u32 = 4;
/// Every tenth channel hangs under a recorder.
const RECORDED: usize = 10;

fn code(spec: &CameraSpec, kind: u32, number: u32) -> String {
    format!("{}{kind}0{number:06}", spec.id.get(..10).unwrap_or("3402000000"))
}

/// Items that are no channels: regions, groups, organisations, one recorder in each organisation.
pub fn above(spec: &CameraSpec) -> Vec<String> {
    let mut items = Vec::new();
    if spec.groups == 0 {
        return items;
    }
    for (region, name) in [("34", "安徽省 Province"), ("3402", "芜湖市 City"), ("340200", "市辖区 District")] {
        items.push(format!("<Item>\r\n<DeviceID>{region}</DeviceID>\r\n<Name>{name}</Name>\r\n</Item>\r\n"));
    }
    for group in 0..spec.groups {
        let id = code(spec, 215, group + 1);
        items.push(format!(
            "<Item>\r\n<DeviceID>{id}</DeviceID>\r\n<Name>业务分组 {n} Group {n}</Name>\r\n<CivilCode>340200</CivilCode>\r\n\
             <ParentID>{}</ParentID>\r\n</Item>\r\n",
            spec.id,
            n = group + 1
        ));
        for place in 0..PER_GROUP {
            let number = group * PER_GROUP + place + 1;
            let own = code(spec, 216, number);
            // The second hangs under the first: organisations nest.
            let parent = if place == 1 {
                format!("<ParentID>{}</ParentID>\r\n", code(spec, 216, number - 1))
            } else {
                String::new()
            };
            items.push(format!(
                "<Item>\r\n<DeviceID>{own}</DeviceID>\r\n<Name>组织 {number} Organisation {number}</Name>\r\n{parent}\
                 <BusinessGroupID>{id}</BusinessGroupID>\r\n</Item>\r\n"
            ));
            items.push(format!(
                "<Item>\r\n<DeviceID>{}</DeviceID>\r\n<Name>录像机 {number} Recorder {number}</Name>\r\n<Manufacturer>Fieldsim</Manufacturer>\r\n\
                 <CivilCode>340200</CivilCode>\r\n<Parental>1</Parental>\r\n<ParentID>{own}</ParentID>\r\n<Status>ON</Status>\r\n</Item>\r\n",
                code(spec, 118, number)
            ));
        }
    }
    items
}

/// What stands in `ParentID` of the n-th channel.
pub fn parent(spec: &CameraSpec, n: usize) -> String {
    let places = (spec.groups * PER_GROUP).max(1) as usize;
    let number = (n % places) as u32 + 1;
    let kind = if n % RECORDED == RECORDED - 1 { 118 } else { 216 };
    // Both parents, as cascaded platforms write them.
    format!("{}/{}", spec.id, code(spec, kind, number))
}

/// A channel that is nothing but a line in the catalog.
pub fn line(id: &str, name: &str, parent: &str) -> String {
    format!(
        "<Item>\r\n<DeviceID>{id}</DeviceID>\r\n<Name>{}</Name>\r\n<Manufacturer>Fieldsim</Manufacturer>\r\n<Model>FS-CAM</Model>\r\n\
         <CivilCode>340200</CivilCode>\r\n<Address>field</Address>\r\n<Parental>0</Parental>\r\n<ParentID>{parent}</ParentID>\r\n\
         <RegisterWay>1</RegisterWay>\r\n<Secrecy>0</Secrecy>\r\n<Status>ON</Status>\r\n</Item>\r\n",
        escape(name)
    )
}
