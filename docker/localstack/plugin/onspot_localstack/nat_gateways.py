"""A deleted NAT gateway lets go of its address, as on AWS, so that the next one can have it."""

from functools import wraps

from localstack.runtime import hooks


@hooks.on_infra_start()
def release_addresses() -> None:
    from moto.ec2.models.nat_gateways import NatGatewayBackend

    delete = NatGatewayBackend.delete_nat_gateway

    @wraps(delete)
    def delete_and_let_go(self, nat_gateway_id):
        gateway = delete(self, nat_gateway_id)
        held = [address for address in self.addresses if address.eni is gateway._eni]
        for address in held:
            self.disassociate_address(association_id=address.association_id)
        return gateway

    NatGatewayBackend.delete_nat_gateway = delete_and_let_go
