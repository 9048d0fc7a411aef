#![doc = include_str!("../README.md")]

mod address;
mod apply;
mod call;
mod compare;
mod diff;
mod error;
mod found;
mod network;
mod observed;
mod plan;
mod resource;
mod role;
mod spec;
mod tagging;
mod users;

pub use address::{AddressPlan, ZoneRanges};
pub use apply::{apply, destroy};
pub use diff::{diff, teardown};
pub use error::Error;
pub use found::Found;
pub use network::{Network, SubnetId};
pub use observed::{Observed, observe};
pub use plan::NetworkPlan;
pub use resource::endpoint::EndpointState;
pub use resource::gateway::GatewayState;
pub use resource::nat::{AddressState, NatState};
pub use resource::routes::RoutesState;
pub use resource::security_group::{GroupState, InboundRule};
pub use resource::subnet::SubnetState;
pub use resource::vpc::VpcState;
pub use role::{Member, Role, Tier, UnknownRole};
pub use spec::{Desired, Nat, NetworkSpec, desired};
pub use users::users;
