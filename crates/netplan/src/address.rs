//! The address plan: which subnet gets which range. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{NetplanError, Tier};

/// Zones that a plan has room for, used or not: what makes it stable.
const SLOTS: u32 = 8;
/// The biggest VPC that AWS allows, as a prefix length.
const BIGGEST: u8 = 16;
/// The smallest VPC whose smallest subnet is still one that AWS allows (/28).
const SMALLEST: u8 = 24;
/// Docker's default bridge on every instance: a VPC there would be out of its reach.
const DOCKER: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 17, 0, 0), 16);

/// The ranges of a zone's two subnets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ZoneRanges {
    /// The subnet with a route to the internet gateway.
    pub public: Ipv4Net,
    /// The subnet behind NAT; twice as big, as the workers are there.
    pub private: Ipv4Net,
}

/// Which subnet gets which part of a VPC's range.
///
/// The lower half of the range holds eight private subnets, the third quarter eight public
/// ones, the last quarter is kept free. A zone's place in both follows from the letter at
/// the end of its name, so that adding, removing or reordering zones moves no subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPlan {
    /// The VPC's range.
    pub cidr: Ipv4Net,
    /// The ranges by zone.
    pub zones: BTreeMap<String, ZoneRanges>,
}

impl AddressPlan {
    /// Lays out `cidr` over `zones`.
    pub fn new<Z: AsRef<str>>(cidr: Ipv4Net, zones: &[Z]) -> Result<Self, NetplanError> {
        check_range(cidr)?;
        if zones.is_empty() {
            return Err(NetplanError::NoZone);
        }
        let mut taken: BTreeMap<u32, &str> = BTreeMap::new();
        let mut ranges = BTreeMap::new();
        for zone in zones {
            let zone = zone.as_ref();
            let slot = slot(zone)?;
            if let Some(other) = taken.insert(slot, zone) {
                let (zone, other) = (zone.to_owned(), other.to_owned());
                return Err(NetplanError::ZonesCollide { zone, other });
            }
            ranges.insert(zone.to_owned(), ranges_of(cidr, slot));
        }
        Ok(Self {
            cidr,
            zones: ranges,
        })
    }

    /// The range of the subnet of this tier in this zone.
    pub fn range(&self, tier: Tier, zone: &str) -> Option<Ipv4Net> {
        let ranges = self.zones.get(zone)?;
        Some(match tier {
            Tier::Public => ranges.public,
            Tier::Private => ranges.private,
        })
    }
}

/// Refuses ranges that AWS would, and those that break Docker on the instances.
fn check_range(cidr: Ipv4Net) -> Result<(), NetplanError> {
    if cidr.trunc() != cidr {
        return Err(NetplanError::HostBits {
            cidr,
            network: cidr.trunc(),
        });
    }
    if cidr.prefix_len() > SMALLEST {
        return Err(NetplanError::TooSmall {
            cidr,
            needed: SMALLEST,
        });
    }
    if cidr.prefix_len() < BIGGEST {
        return Err(NetplanError::TooBig {
            cidr,
            allowed: BIGGEST,
        });
    }
    let addresses = cidr.network();
    if DOCKER.contains(&addresses) {
        return Err(NetplanError::Reserved {
            cidr,
            by: "Docker's own network on the instances",
        });
    }
    if addresses.is_loopback()
        || addresses.is_link_local()
        || addresses.octets()[0] >= 224
        || addresses.octets()[0] == 0
    {
        return Err(NetplanError::Reserved {
            cidr,
            by: "the internet protocol itself",
        });
    }
    Ok(())
}

/// The zone's place, from the letter at the end of its name.
fn slot(zone: &str) -> Result<u32, NetplanError> {
    let letter = zone.bytes().last().filter(u8::is_ascii_lowercase);
    let place = letter.map(|letter| u32::from(letter - b'a'));
    place
        .filter(|place| *place < SLOTS)
        .ok_or_else(|| NetplanError::UnknownZone {
            zone: zone.to_owned(),
        })
}

/// The ranges at one place.
fn ranges_of(cidr: Ipv4Net, slot: u32) -> ZoneRanges {
    let start = u32::from(cidr.network());
    let size = 1_u32 << (32 - cidr.prefix_len());
    let private_size = size / 2 / SLOTS;
    let public_size = size / 4 / SLOTS;
    let net = |at: u32, prefix: u8| Ipv4Net::new_assert(Ipv4Addr::from(at), prefix);
    ZoneRanges {
        private: net(start + slot * private_size, cidr.prefix_len() + 4),
        public: net(start + size / 2 + slot * public_size, cidr.prefix_len() + 5),
    }
}
