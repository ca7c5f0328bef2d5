//! A cluster's nodes and the tags that lead to them.

use crate::settings::{ReadFrom, Settings};
use crate::setup::{ServerConfig, Setup};
use crate::template::Tag;
use crate::transport::Endpoint;

const SLOTS: usize = 16_384;

/// A node that gets load.
pub struct Node {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub endpoint: Endpoint,
    pub is_replica: bool,
    /// Texts whose slots it (or the primary it replicates) serves.
    pub tags: Vec<Tag>,
    pub config: ServerConfig,
}

/// A line of CLUSTER NODES.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    name: String,
    host: String,
    port: u16,
    /// The primary's name.
    replicates: Option<String>,
    is_down: bool,
    slots: Vec<u16>,
}

/// Asks a node for all that get load by the options, primaries first as the node lists them.
pub fn discover(endpoint: &Endpoint, settings: &Settings) -> Result<Vec<Node>, String> {
    let failed = |why: String| format!("{why}\nFailed to fetch cluster configuration from {endpoint}");
    let mut setup = Setup::connect(endpoint, settings).map_err(failed)?;
    let reply = setup.command(&["CLUSTER", "NODES"]).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned();
    if reply.is_error() {
        return Err(failed(format!("Cluster node {endpoint} replied with error:\n{text}")));
    }
    let lines: Vec<Line> = text.lines().filter_map(|line| parse_line(line, &settings.host)).collect();
    let tags = tags();
    let mut nodes = Vec::new();
    for line in lines.iter().filter(|line| !line.is_down) {
        let primary = match &line.replicates {
            None => line,
            Some(name) => match lines.iter().find(|other| other.name == *name) {
                Some(primary) => primary,
                None => continue,
            },
        };
        let wanted = match settings.read_from {
            ReadFrom::Primaries => line.replicates.is_none(),
            ReadFrom::Replicas => line.replicates.is_some(),
            ReadFrom::All => true,
        };
        // A primary without slots cannot be asked for anything.
        if !wanted || primary.slots.is_empty() {
            continue;
        }
        let endpoint = endpoint.node(&line.host, line.port)?;
        nodes.push(Node {
            name: line.name.clone(),
            host: line.host.clone(),
            port: line.port,
            is_replica: line.replicates.is_some(),
            tags: primary.slots.iter().map(|&slot| tags[usize::from(slot)]).collect(),
            config: Setup::connect(&endpoint, settings)
                .ok()
                .and_then(|mut setup| setup.config().ok())
                .unwrap_or_default(),
            endpoint,
        });
    }
    if nodes.is_empty() {
        return Err(failed("There is no node to send to.".to_owned()));
    }
    nodes.sort_by_key(|node| node.is_replica);
    Ok(nodes)
}

/// `<id> <host>:<port>@<bus port>[,<name>] <flags> <primary> <ping> <pong> <epoch> <link> <slot or range>…`
fn parse_line(line: &str, asked_host: &str) -> Option<Line> {
    let mut fields = line.split(' ');
    let name = fields.next()?.to_owned();
    let address = fields.next()?.split('@').next()?;
    let (host, port) = address.rsplit_once(':')?;
    let flags: Vec<&str> = fields.next()?.split(',').collect();
    let primary = fields.next()?;
    let slots = fields
        .skip(4)
        // Slots on their way to another node stand in brackets, and are served here until then.
        .filter(|field| !field.starts_with('['))
        .filter_map(|field| {
            let (first, last) = field.split_once('-').unwrap_or((field, field));
            Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
        })
        .flatten()
        .filter(|&slot| usize::from(slot) < SLOTS)
        .collect();
    Some(Line {
        name,
        // A node that was never told its own address leaves it out.
        host: if host.is_empty() { asked_host.to_owned() } else { host.to_owned() },
        port: port.parse().ok()?,
        replicates: (primary != "-").then(|| primary.to_owned()),
        is_down: flags.iter().any(|flag| matches!(*flag, "fail" | "noaddr" | "handshake")),
        slots,
    })
}

/// For each slot a text that hashes to it. Three characters are enough: of the 238,328 texts tried, fourteen fall on a slot.
fn tags() -> Vec<Tag> {
    const CHARACTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut tags: Vec<Option<Tag>> = vec![None; SLOTS];
    let mut missing = SLOTS;
    for &a in CHARACTERS {
        for &b in CHARACTERS {
            for &c in CHARACTERS {
                let tag = [a, b, c];
                let slot = &mut tags[usize::from(crc16(&tag)) % SLOTS];
                if slot.is_none() {
                    *slot = Some(tag);
                    missing -= 1;
                }
            }
            if missing == 0 {
                break;
            }
        }
    }
    tags.into_iter().map(|tag| tag.expect("every slot has one, see the test")).collect()
}

/// CRC-16/XMODEM, as the cluster specification has it: polynomial 0x1021, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(
            crc ^ (u16::from(byte) << 8),
            |crc, _| {
                if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_tag_that_hashes_to_it() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (slot, tag) in tags().iter().enumerate() {
            assert_eq!(usize::from(crc16(tag)) % SLOTS, slot);
        }
    }

    #[test]
    fn lines_of_cluster_nodes() {
        let line = "2082 127.0.0.1:7822@17822,host myself,master - 0 0 1 connected 0-2 9 [10->-67ed]";
        let line = parse_line(line, "asked").expect("valid");
        assert_eq!((line.host.as_str(), line.port, line.slots), ("127.0.0.1", 7822, vec![0, 1, 2, 9]));
        let line = parse_line("67ed :7003@17003 slave,fail 2082 0 0 2 connected", "asked").expect("valid");
        assert_eq!((line.host.as_str(), line.replicates.as_deref(), line.is_down), ("asked", Some("2082"), true));
        assert_eq!(parse_line("", "asked"), None);
    }
}
