"""EC2 Auto Scaling: every operation goes to moto's implementation."""

from localstack.aws.skeleton import Skeleton
from localstack.aws.spec import load_service
from localstack.services.plugins import Service, aws_provider


@aws_provider(api="autoscaling")
def autoscaling() -> Service:
    from localstack.services.moto import call_moto

    model = load_service("autoscaling")
    table = {name: lambda context, request: call_moto(context) for name in model.operation_names}
    return Service(name="autoscaling", skeleton=Skeleton(model, table))
