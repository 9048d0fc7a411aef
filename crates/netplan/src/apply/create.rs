//! The calls that make and mend.

use aws_sdk_ec2::types::{
    AttributeBooleanValue, DomainType, IpPermission, IpRange, NatGatewayState, ResourceType, Tag,
    TagSpecification, UserIdGroupPair, VpcEndpointType,
};
use ipnet::Ipv4Net;
use onspot_reconcile::{CallError, ServiceResultExt, Step};

use super::{Applier, LETTING_GO, NAT_CHANGING, required, settled};
use crate::observed::ANYWHERE;
use crate::{Member, NetplanError, Role, Tier};

impl Applier<'_> {
    pub(super) async fn create_vpc(&self, range: Ipv4Net) -> Result<String, NetplanError> {
        let call = self.ec2.create_vpc().cidr_block(range.to_string());
        let call = call.tag_specifications(self.tags(ResourceType::Vpc, &Role::Vpc)?);
        let vpc = call.send().await.calling("CreateVpc")?.vpc;
        required(vpc.and_then(|vpc| vpc.vpc_id), "CreateVpc", "the VPC's id")
    }

    /// EC2 takes one attribute a call.
    pub(super) async fn enable_dns(&self) -> Result<(), NetplanError> {
        let vpc = self.id(&Role::Vpc)?;
        let on = || AttributeBooleanValue::builder().value(true).build();
        let call = || self.ec2.modify_vpc_attribute().vpc_id(vpc);
        settled(async || {
            call()
                .enable_dns_support(on())
                .send()
                .await
                .calling("ModifyVpcAttribute")
        })
        .await?;
        settled(async || {
            call()
                .enable_dns_hostnames(on())
                .send()
                .await
                .calling("ModifyVpcAttribute")
        })
        .await?;
        Ok(())
    }

    pub(super) async fn create_gateway(&self) -> Result<String, NetplanError> {
        let tags = self.tags(ResourceType::InternetGateway, &Role::InternetGateway)?;
        let call = self.ec2.create_internet_gateway().tag_specifications(tags);
        let gateway = call
            .send()
            .await
            .calling("CreateInternetGateway")?
            .internet_gateway;
        let id = gateway.and_then(|gateway| gateway.internet_gateway_id);
        required(id, "CreateInternetGateway", "the gateway's id")
    }

    pub(super) async fn attach_gateway(&self) -> Result<(), NetplanError> {
        let (vpc, gateway) = (self.id(&Role::Vpc)?, self.id(&Role::InternetGateway)?);
        let attached = settled(async || {
            let call = self
                .ec2
                .attach_internet_gateway()
                .vpc_id(vpc)
                .internet_gateway_id(gateway);
            call.send().await.calling("AttachInternetGateway")
        })
        .await;
        already_there_is_fine(attached.map(drop))
    }

    pub(super) async fn create_subnet(
        &self,
        role: &Role,
        zone: &str,
        range: Ipv4Net,
    ) -> Result<String, NetplanError> {
        let vpc = self.id(&Role::Vpc)?;
        let tags = self.tags(ResourceType::Subnet, role)?;
        let answer = settled(async || {
            let call = self.ec2.create_subnet().vpc_id(vpc).availability_zone(zone);
            let call = call
                .cidr_block(range.to_string())
                .tag_specifications(tags.clone());
            call.send().await.calling("CreateSubnet")
        })
        .await?;
        let id = answer.subnet.and_then(|subnet| subnet.subnet_id);
        required(id, "CreateSubnet", "the subnet's id")
    }

    pub(super) async fn give_public_addresses(&self, zone: &str) -> Result<(), NetplanError> {
        let subnet = self.id(&Role::Subnet(Tier::Public, zone.to_owned()))?;
        let on = || AttributeBooleanValue::builder().value(true).build();
        settled(async || {
            let call = self.ec2.modify_subnet_attribute().subnet_id(subnet);
            call.map_public_ip_on_launch(on())
                .send()
                .await
                .calling("ModifySubnetAttribute")
        })
        .await?;
        Ok(())
    }

    pub(super) async fn allocate_address(&self) -> Result<String, NetplanError> {
        let tags = self.tags(ResourceType::ElasticIp, &Role::NatAddress)?;
        let call = self
            .ec2
            .allocate_address()
            .domain(DomainType::Vpc)
            .tag_specifications(tags);
        let answer = call.send().await.calling("AllocateAddress")?;
        required(
            answer.allocation_id,
            "AllocateAddress",
            "the allocation's id",
        )
    }

    pub(super) async fn create_nat(&self, zone: &str) -> Result<String, NetplanError> {
        let subnet = self.id(&Role::Subnet(Tier::Public, zone.to_owned()))?;
        let address = self.id(&Role::NatAddress)?;
        let tags = self.tags(ResourceType::Natgateway, &Role::NatGateway)?;
        let token = token();
        // A gateway that was replaced may hold the address a little longer.
        let held = |error: &CallError| error.code() == Some("Resource.AlreadyAssociated");
        let created = LETTING_GO.retry(
            |error| held(error) || error.is_not_found(),
            async || {
                let call = self
                    .ec2
                    .create_nat_gateway()
                    .subnet_id(subnet)
                    .allocation_id(address);
                call.tag_specifications(tags.clone())
                    .client_token(&token)
                    .send()
                    .await
                    .calling("CreateNatGateway")
            },
        );
        let answer = created.await?;
        let id = answer.nat_gateway.and_then(|nat| nat.nat_gateway_id);
        required(id, "CreateNatGateway", "the gateway's id")
    }

    pub(super) async fn await_nat(&self, step: &Step<'_>) -> Result<(), NetplanError> {
        let nat = self.id(&Role::NatGateway)?;
        step.waiting(format!("{nat} to be available"));
        let available = NAT_CHANGING
            .until(async || match self.nat_state(nat).await? {
                Some(NatGatewayState::Available) => Ok(Some(())),
                Some(NatGatewayState::Failed) => Err(NetplanError::NatFailed {
                    id: nat.to_owned(),
                    why: self.nat_failure(nat).await?,
                }),
                _ => Ok(None),
            })
            .await?;
        available.ok_or_else(|| NetplanError::TooSlow {
            what: format!("NAT gateway {nat}"),
            state: "available",
            seconds: NAT_CHANGING.limit.as_secs(),
        })
    }

    pub(super) async fn create_routes(&self, tier: Tier) -> Result<String, NetplanError> {
        let vpc = self.id(&Role::Vpc)?;
        let tags = self.tags(ResourceType::RouteTable, &Role::Routes(tier))?;
        let token = token();
        let answer = settled(async || {
            let call = self
                .ec2
                .create_route_table()
                .vpc_id(vpc)
                .tag_specifications(tags.clone())
                .client_token(&token);
            call.send().await.calling("CreateRouteTable")
        })
        .await?;
        let id = answer.route_table.and_then(|table| table.route_table_id);
        required(id, "CreateRouteTable", "the table's id")
    }

    pub(super) async fn set_default_route(
        &self,
        tier: Tier,
        via: &Role,
        replace: bool,
    ) -> Result<(), NetplanError> {
        let (table, target) = (self.id(&Role::Routes(tier))?, self.id(via)?);
        let (nat, gateway) = match via {
            Role::NatGateway => (Some(target.to_owned()), None),
            _ => (None, Some(target.to_owned())),
        };
        if replace {
            let call = self.ec2.replace_route().route_table_id(table);
            let call = call.set_nat_gateway_id(nat).set_gateway_id(gateway);
            call.destination_cidr_block(ANYWHERE)
                .send()
                .await
                .calling("ReplaceRoute")?;
            return Ok(());
        }
        let made = settled(async || {
            let call = self.ec2.create_route().route_table_id(table);
            let call = call
                .set_nat_gateway_id(nat.clone())
                .set_gateway_id(gateway.clone());
            call.destination_cidr_block(ANYWHERE)
                .send()
                .await
                .calling("CreateRoute")
        })
        .await;
        already_there_is_fine(made.map(drop))
    }

    pub(super) async fn remove_default_route(&self, tier: Tier) -> Result<(), NetplanError> {
        let table = self.id(&Role::Routes(tier))?;
        let call = self
            .ec2
            .delete_route()
            .route_table_id(table)
            .destination_cidr_block(ANYWHERE);
        match call.send().await.calling("DeleteRoute") {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn use_routes(&self, tier: Tier, zone: &str) -> Result<(), NetplanError> {
        let table = self.id(&Role::Routes(tier))?;
        let subnet = self.id(&Role::Subnet(tier, zone.to_owned()))?;
        let associated = settled(async || {
            let call = self
                .ec2
                .associate_route_table()
                .route_table_id(table)
                .subnet_id(subnet);
            call.send().await.calling("AssociateRouteTable")
        })
        .await;
        already_there_is_fine(associated.map(drop))
    }

    pub(super) async fn create_endpoint(&self) -> Result<String, NetplanError> {
        let vpc = self.id(&Role::Vpc)?;
        let service = format!("com.amazonaws.{}.s3", self.desired()?.spec.region);
        let tables = self.route_tables(&[Tier::Public, Tier::Private])?;
        let tags = self.tags(ResourceType::VpcEndpoint, &Role::S3Endpoint)?;
        let token = token();
        let answer = settled(async || {
            let call = self
                .ec2
                .create_vpc_endpoint()
                .vpc_id(vpc)
                .service_name(&service);
            let call = call.vpc_endpoint_type(VpcEndpointType::Gateway);
            let call = call.set_route_table_ids(Some(tables.clone()));
            call.tag_specifications(tags.clone())
                .client_token(&token)
                .send()
                .await
                .calling("CreateVpcEndpoint")
        })
        .await?;
        let id = answer
            .vpc_endpoint
            .and_then(|endpoint| endpoint.vpc_endpoint_id);
        required(id, "CreateVpcEndpoint", "the endpoint's id")
    }

    pub(super) async fn link_endpoint(&self, tiers: &[Tier]) -> Result<(), NetplanError> {
        let endpoint = self.id(&Role::S3Endpoint)?;
        let tables = self.route_tables(tiers)?;
        let call = self.ec2.modify_vpc_endpoint().vpc_endpoint_id(endpoint);
        let call = call.set_add_route_table_ids(Some(tables));
        call.send().await.calling("ModifyVpcEndpoint")?;
        Ok(())
    }

    /// A new group lets everything out and nothing in, which is just what is wanted.
    pub(super) async fn create_group(&self, member: Member) -> Result<String, NetplanError> {
        let vpc = self.id(&Role::Vpc)?;
        let desired = self.desired()?;
        let role = Role::SecurityGroup(member);
        let name = role.name(&desired.spec.stack);
        let tags = self.tags(ResourceType::SecurityGroup, &role)?;
        let answer = settled(async || {
            let call = self
                .ec2
                .create_security_group()
                .vpc_id(vpc)
                .group_name(&name);
            let call = call.description(format!(
                "onspot {member}s: nothing in from outside, everything out"
            ));
            call.tag_specifications(tags.clone())
                .send()
                .await
                .calling("CreateSecurityGroup")
        })
        .await?;
        required(answer.group_id, "CreateSecurityGroup", "the group's id")
    }

    pub(super) async fn close_inbound(&self, member: Member) -> Result<(), NetplanError> {
        let group = self.id(&Role::SecurityGroup(member))?;
        let answer = self
            .ec2
            .describe_security_groups()
            .group_ids(group)
            .send()
            .await;
        let groups = answer
            .calling("DescribeSecurityGroups")?
            .security_groups
            .unwrap_or_default();
        let rules: Vec<IpPermission> = groups
            .into_iter()
            .flat_map(|group| group.ip_permissions.unwrap_or_default())
            .collect();
        if !rules.is_empty() {
            let call = self.ec2.revoke_security_group_ingress().group_id(group);
            let call = call.set_ip_permissions(Some(rules));
            call.send().await.calling("RevokeSecurityGroupIngress")?;
        }
        Ok(())
    }

    pub(super) async fn open_outbound(&self, member: Member) -> Result<(), NetplanError> {
        let group = self.id(&Role::SecurityGroup(member))?;
        let anywhere = IpRange::builder().cidr_ip(ANYWHERE).build();
        let all = IpPermission::builder()
            .ip_protocol("-1")
            .ip_ranges(anywhere)
            .build();
        let call = self
            .ec2
            .authorize_security_group_egress()
            .group_id(group)
            .ip_permissions(all);
        let opened = call.send().await.calling("AuthorizeSecurityGroupEgress");
        already_there_is_fine(opened.map(drop).map_err(NetplanError::from))
    }

    /// Lets workers, and nobody else, in at a port of the managers.
    pub(super) async fn open_port(&self, port: u16) -> Result<(), NetplanError> {
        let managers = self.id(&Role::SecurityGroup(Member::Manager))?;
        let workers = self.id(&Role::SecurityGroup(Member::Worker))?;
        let from = UserIdGroupPair::builder()
            .group_id(workers)
            .description("onspot workers")
            .build();
        let rule = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(port.into())
            .to_port(port.into())
            .user_id_group_pairs(from)
            .build();
        let opened = settled(async || {
            let call = self.ec2.authorize_security_group_ingress();
            let call = call.group_id(managers).ip_permissions(rule.clone());
            call.send().await.calling("AuthorizeSecurityGroupIngress")
        })
        .await;
        already_there_is_fine(opened.map(drop))
    }

    fn route_tables(&self, tiers: &[Tier]) -> Result<Vec<String>, NetplanError> {
        tiers
            .iter()
            .map(|tier| self.id(&Role::Routes(*tier)).map(str::to_owned))
            .collect()
    }

    /// The tags of a part, for the call that creates it.
    fn tags(&self, kind: ResourceType, role: &Role) -> Result<TagSpecification, NetplanError> {
        let tags = self.desired()?.tags(role);
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags = tags.collect();
        Ok(TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(tags))
            .build())
    }
}

/// What tells EC2 that a repeated request is the same one, where EC2 takes such a thing: one whose
/// answer was lost makes nothing twice. Chosen anew for each decision, as EC2 answers with what the
/// first one made, also when that has been deleted since.
fn token() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A repeated call finds its work done.
fn already_there_is_fine(result: Result<(), NetplanError>) -> Result<(), NetplanError> {
    match result {
        Err(NetplanError::Call(error)) if CallError::is_already_there(&error) => Ok(()),
        other => other,
    }
}
