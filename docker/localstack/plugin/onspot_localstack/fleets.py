"""A fleet whose instances are all gone can be deleted, as on AWS.

moto then asks itself to terminate no instances, and refuses.
"""

from functools import wraps

from localstack.runtime import hooks


@hooks.on_infra_start()
def delete_empty_fleets() -> None:
    from moto.ec2.models.fleets import Fleet

    terminate = Fleet.terminate_instances

    @wraps(terminate)
    def terminate_those_that_live(self):
        launched = [request.instance for request in self.spot_requests]
        launched += [item["instance"] for item in self.on_demand_instances]
        if any(instance.state != "terminated" for instance in launched):
            terminate(self)

    Fleet.terminate_instances = terminate_those_that_live
