//! The network: address plan, VPC with public and private subnets, or an existing VPC.
