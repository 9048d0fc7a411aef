#![doc = include_str!("../README.md")]

mod address;
mod apply;
mod diff;
mod error;
mod network;
mod observed;
mod role;
mod spec;

pub use address::{AddressPlan, ZoneRanges};
pub use apply::{apply, destroy, users};
pub use diff::{Desired, NetworkPlan, desired, diff, teardown};
pub use error::NetplanError;
pub use network::{Network, SubnetId};
pub use observed::{
    AddressState, EndpointState, Found, GatewayState, GroupState, InboundRule, NatState, Observed,
    RoutesState, SubnetState, VpcState, observe,
};
pub use role::{Member, Role, Tier, UnknownRole};
pub use spec::{Nat, NetworkSpec};
