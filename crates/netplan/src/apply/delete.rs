//! The calls that remove. Gone already is as good as removed.

use aws_sdk_ec2::types::NatGatewayState;
use onspot_reconcile::{CallError, ServiceResultExt, Step};

use super::{Applier, LETTING_GO, NAT_CHANGING, RELEASING};
use crate::NetplanError;
use crate::diff::Resource;

impl Applier<'_> {
    pub(super) async fn delete(
        &self,
        resource: &Resource,
        id: &str,
        step: &Step<'_>,
    ) -> Result<(), NetplanError> {
        let ec2 = self.ec2;
        match resource {
            Resource::Vpc => {
                released(step, async || {
                    ec2.delete_vpc()
                        .vpc_id(id)
                        .send()
                        .await
                        .calling("DeleteVpc")
                })
                .await
            }
            Resource::Subnet => {
                released(step, async || {
                    ec2.delete_subnet()
                        .subnet_id(id)
                        .send()
                        .await
                        .calling("DeleteSubnet")
                })
                .await
            }
            Resource::Group => {
                released(step, async || {
                    let call = ec2.delete_security_group().group_id(id);
                    call.send().await.calling("DeleteSecurityGroup")
                })
                .await
            }
            Resource::Address => self.release_address(id, step).await,
            Resource::Endpoint => {
                released(step, async || {
                    let call = ec2.delete_vpc_endpoints().vpc_endpoint_ids(id);
                    call.send().await.calling("DeleteVpcEndpoints")
                })
                .await
            }
            Resource::Gateway { attached_to } => self.delete_gateway(id, attached_to, step).await,
            Resource::Nat => self.delete_nat(id, step).await,
            Resource::Routes { associations } => self.delete_routes(id, associations, step).await,
        }
    }

    /// Releases an address. A NAT gateway that is deleted already may hold it a little longer,
    /// and EC2 says `AuthFailure` for that.
    async fn release_address(&self, id: &str, step: &Step<'_>) -> Result<(), NetplanError> {
        let held = |error: &CallError| error.code() == Some("AuthFailure");
        LETTING_GO
            .retry(
                |error| matches!(error, NetplanError::Call(error) if held(error)),
                async || {
                    released(step, async || {
                        let call = self.ec2.release_address().allocation_id(id);
                        call.send().await.calling("ReleaseAddress")
                    })
                    .await
                },
            )
            .await
    }

    async fn delete_routes(
        &self,
        id: &str,
        associations: &[String],
        step: &Step<'_>,
    ) -> Result<(), NetplanError> {
        let ec2 = self.ec2;
        for association in associations {
            released(step, async || {
                let call = ec2.disassociate_route_table().association_id(association);
                call.send().await.calling("DisassociateRouteTable")
            })
            .await?;
        }
        released(step, async || {
            let call = ec2.delete_route_table().route_table_id(id);
            call.send().await.calling("DeleteRouteTable")
        })
        .await
    }

    async fn delete_gateway(
        &self,
        id: &str,
        attached_to: &[String],
        step: &Step<'_>,
    ) -> Result<(), NetplanError> {
        let ec2 = self.ec2;
        for vpc in attached_to {
            released(step, async || {
                let call = ec2
                    .detach_internet_gateway()
                    .internet_gateway_id(id)
                    .vpc_id(vpc);
                call.send().await.calling("DetachInternetGateway")
            })
            .await?;
        }
        released(step, async || {
            let call = ec2.delete_internet_gateway().internet_gateway_id(id);
            call.send().await.calling("DeleteInternetGateway")
        })
        .await
    }

    /// Deletes a NAT gateway and waits: until it is gone it holds its address and subnet.
    async fn delete_nat(&self, id: &str, step: &Step<'_>) -> Result<(), NetplanError> {
        let call = self.ec2.delete_nat_gateway().nat_gateway_id(id);
        match call.send().await.calling("DeleteNatGateway") {
            Err(error) if error.is_not_found() => return Ok(()),
            other => drop(other?),
        }
        step.waiting(format!("{id} to be gone"));
        let gone = NAT_CHANGING
            .until(async || match self.nat_state(id).await? {
                None | Some(NatGatewayState::Deleted) => Ok::<_, NetplanError>(Some(())),
                Some(_) => Ok(None),
            })
            .await?;
        gone.ok_or_else(|| NetplanError::TooSlow {
            what: format!("NAT gateway {id}"),
            state: "deleted",
            seconds: NAT_CHANGING.limit.as_secs(),
        })
    }

    /// The state of a NAT gateway; `None` if EC2 does not know it (any more, or yet).
    pub(super) async fn nat_state(
        &self,
        id: &str,
    ) -> Result<Option<NatGatewayState>, NetplanError> {
        let answer = self
            .ec2
            .describe_nat_gateways()
            .nat_gateway_ids(id)
            .send()
            .await;
        match answer.calling("DescribeNatGateways") {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
            Ok(answer) => {
                let gateways = answer.nat_gateways.unwrap_or_default();
                Ok(gateways.into_iter().next().and_then(|nat| nat.state))
            }
        }
    }

    /// Why a NAT gateway failed, in EC2's words.
    pub(super) async fn nat_failure(&self, id: &str) -> Result<String, NetplanError> {
        let answer = self
            .ec2
            .describe_nat_gateways()
            .nat_gateway_ids(id)
            .send()
            .await;
        let gateways = answer
            .calling("DescribeNatGateways")?
            .nat_gateways
            .unwrap_or_default();
        let message = gateways
            .into_iter()
            .next()
            .and_then(|nat| nat.failure_message);
        Ok(message.unwrap_or_else(|| "EC2 does not say why".to_owned()))
    }
}

/// Calls until nothing depends on the resource any more. A resource that is gone is fine.
async fn released<T, F>(step: &Step<'_>, mut call: impl FnMut() -> F) -> Result<(), NetplanError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut told = false;
    let retry = |error: &CallError| {
        if error.is_in_use() && !std::mem::replace(&mut told, true) {
            step.waiting("what still depends on it to go");
        }
        error.is_in_use()
    };
    match RELEASING.retry(retry, &mut call).await {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}
