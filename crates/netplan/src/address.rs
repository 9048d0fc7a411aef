//! The address plan: which subnet gets which range. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{Error, Tier};

/// How many zones a plan reserves room for, used or not, so that adding one moves no subnet.
const SLOTS: u32 = 8;
/// The biggest VPC that AWS allows, as a prefix length.
const BIGGEST: u8 = 16;
/// The smallest VPC whose smallest subnet is still one that AWS allows (/28).
const SMALLEST: u8 = 23;
/// Docker's default bridge on every instance: containers could not reach a VPC in this range.
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
    ///
    /// # Errors
    ///
    /// [`Error::TooSmall`], [`Error::TooBig`], [`Error::HostBits`] or
    /// [`Error::Reserved`] for a range that cannot be used; [`Error::NoZone`],
    /// [`Error::UnknownZone`] or [`Error::ZonesCollide`] for zones that cannot.
    pub fn new<Z: AsRef<str>>(cidr: Ipv4Net, zones: &[Z]) -> Result<Self, Error> {
        check_range(cidr)?;
        if zones.is_empty() {
            return Err(Error::NoZone);
        }
        let mut taken: BTreeMap<u32, &str> = BTreeMap::new();
        let mut ranges = BTreeMap::new();
        for zone in zones {
            let zone = zone.as_ref();
            let slot = slot(zone)?;
            if let Some(other) = taken.insert(slot, zone) {
                let (zone, other) = (zone.to_owned(), other.to_owned());
                return Err(Error::ZonesCollide { zone, other });
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

/// Refuses ranges that AWS would refuse, and those that break Docker on the instances.
fn check_range(cidr: Ipv4Net) -> Result<(), Error> {
    if cidr.trunc() != cidr {
        return Err(Error::HostBits {
            cidr,
            network: cidr.trunc(),
        });
    }
    if cidr.prefix_len() > SMALLEST {
        return Err(Error::TooSmall {
            cidr,
            needed: SMALLEST,
        });
    }
    if cidr.prefix_len() < BIGGEST {
        return Err(Error::TooBig {
            cidr,
            allowed: BIGGEST,
        });
    }
    let addresses = cidr.network();
    if DOCKER.contains(&addresses) {
        return Err(Error::Reserved {
            cidr,
            by: "Docker's own network on the instances",
        });
    }
    if addresses.is_loopback()
        || addresses.is_link_local()
        || addresses.octets()[0] >= 224
        || addresses.octets()[0] == 0
    {
        return Err(Error::Reserved {
            cidr,
            by: "the internet protocol itself",
        });
    }
    Ok(())
}

/// The zone's slot, from the letter at the end of its name.
fn slot(zone: &str) -> Result<u32, Error> {
    let letter = zone.bytes().last().filter(u8::is_ascii_lowercase);
    let place = letter.map(|letter| u32::from(letter - b'a'));
    place
        .filter(|place| *place < SLOTS)
        .ok_or_else(|| Error::UnknownZone {
            zone: zone.to_owned(),
        })
}

/// The ranges of one slot.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;

    const LETTERS: [&str; 8] = [
        "eu-west-1a",
        "eu-west-1b",
        "eu-west-1c",
        "eu-west-1d",
        "eu-west-1e",
        "eu-west-1f",
        "eu-west-1g",
        "eu-west-1h",
    ];

    /// Ranges that are allowed: in 10.0.0.0/8, /16 to /24.
    fn cidr() -> impl Strategy<Value = Ipv4Net> {
        (0_u32..1 << 24, BIGGEST..=SMALLEST).prop_map(|(offset, prefix)| {
            let address = Ipv4Addr::from((10 << 24) | offset);
            Ipv4Net::new_assert(address, prefix).trunc()
        })
    }

    fn zones() -> impl Strategy<Value = Vec<&'static str>> {
        subsequence(LETTERS.to_vec(), 1..=8).prop_shuffle()
    }

    fn ranges(plan: &AddressPlan) -> Vec<Ipv4Net> {
        plan.zones
            .values()
            .flat_map(|zone| [zone.public, zone.private])
            .collect()
    }

    proptest! {
        #[test]
        fn subnets_are_disjoint(cidr in cidr(), zones in zones()) {
            let plan = AddressPlan::new(cidr, &zones).unwrap();
            let ranges = ranges(&plan);
            prop_assert_eq!(ranges.len(), 2 * zones.len());
            for (n, one) in ranges.iter().enumerate() {
                for other in &ranges[n + 1..] {
                    prop_assert!(!one.contains(other) && !other.contains(one));
                }
            }
        }

        #[test]
        fn subnets_are_in_the_vpc_and_big_enough_for_aws(cidr in cidr(), zones in zones()) {
            let plan = AddressPlan::new(cidr, &zones).unwrap();
            for range in ranges(&plan) {
                prop_assert!(cidr.contains(&range) && range.trunc() == range);
                prop_assert!((16..=28).contains(&range.prefix_len()));
            }
        }

        #[test]
        fn zones_that_come_go_or_move_shift_nothing(
            cidr in cidr(), some in zones(), others in zones()
        ) {
            let (one, two) = (AddressPlan::new(cidr, &some).unwrap(),
                AddressPlan::new(cidr, &others).unwrap());
            for (zone, ranges) in &one.zones {
                if let Some(same) = two.zones.get(zone) {
                    prop_assert_eq!(ranges, same);
                }
            }
        }

        #[test]
        fn a_range_that_is_too_small_says_how_big_it_must_be(
            address in any::<u32>(), prefix in SMALLEST + 1..=32
        ) {
            let cidr = Ipv4Net::new_assert(Ipv4Addr::from(address), prefix).trunc();
            let error = AddressPlan::new(cidr, &LETTERS[..1]).unwrap_err();
            prop_assert!(error.to_string().ends_with("it must be at least a /23"), "{}", error);
            prop_assert!(error.hint().unwrap().contains("/23"));
        }
    }

    #[test]
    fn the_default_leaves_four_thousand_addresses_a_zone() {
        let plan = AddressPlan::new("10.0.0.0/16".parse().unwrap(), &LETTERS[..2]).unwrap();
        let text = |tier, zone| plan.range(tier, zone).unwrap().to_string();
        assert_eq!(text(Tier::Private, "eu-west-1a"), "10.0.0.0/20");
        assert_eq!(text(Tier::Private, "eu-west-1b"), "10.0.16.0/20");
        assert_eq!(text(Tier::Public, "eu-west-1a"), "10.0.128.0/21");
        assert_eq!(text(Tier::Public, "eu-west-1b"), "10.0.136.0/21");
    }

    #[test]
    fn unusable_ranges_and_zones_are_refused_with_a_way_out() {
        let refused = |cidr: &str, zones: &[&str]| {
            let error = AddressPlan::new(cidr.parse().unwrap(), zones).unwrap_err();
            format!("{error}; {}", error.hint().unwrap())
        };
        insta::assert_snapshot!(
            [
                refused("10.0.0.0/8", &["eu-west-1a"]),
                refused("10.0.0.1/16", &["eu-west-1a"]),
                refused("172.17.0.0/18", &["eu-west-1a"]),
                refused("224.0.0.0/16", &["eu-west-1a"]),
                refused("10.0.0.0/16", &[]),
                refused("10.0.0.0/16", &["eu-west-1"]),
                refused("10.0.0.0/16", &["us-west-2a", "us-west-2-lax-1a"]),
            ]
            .join("\n")
        );
    }
}
