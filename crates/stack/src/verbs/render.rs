//! A stack as a `config.toml`, for people to read.

use crate::instances::config::{self, Places};
use crate::names::Names;
use crate::spec::Spec;
use crate::{Clients, Error};

/// The account in the bucket's name if AWS is not asked.
const UNKNOWN_ACCOUNT: &str = "000000000000";
/// The region if none is named.
const UNKNOWN_REGION: &str = "us-east-1";

/// Renders `config.toml` in the format of 2017. With `clients` it contains the ids of the running
/// stack; without, it leaves out what only AWS knows.
///
/// # Errors
///
/// [`Error::Name`] if the spec's name is not allowed for a stack; with `clients` also AWS's
/// refusals.
pub async fn render(spec: &Spec, clients: Option<&Clients>) -> Result<String, Error> {
    let region = clients
        .map(Clients::region)
        .or(spec.region.as_deref())
        .unwrap_or(UNKNOWN_REGION);
    let names = Names::new(&spec.name, region)?;
    let network = match clients {
        Some(clients) => onspot_netplan::observe(&clients.ec2, names.stack())
            .await?
            .network(),
        None => None,
    };
    let places = Places {
        names: &names,
        bucket: names.bucket(clients.map_or(UNKNOWN_ACCOUNT, Clients::account)),
        endpoint: spec.aws.endpoint_url.as_ref(),
        network: network.as_ref(),
    };
    Ok(onspot_runnerconf::render(&config::of_stack(spec, &places)))
}

#[cfg(test)]
mod tests {
    use onspot_runnerconf::Config;

    use super::*;

    #[tokio::test]
    async fn the_shape_of_2017_says_what_it_can() {
        let text = "[[runners]]\nname = 'a'\nurl = 'https://gitlab.com'\ntoken = 'env:T'\n\
                    request_concurrency = 4\n[runners.workers]\nidle_count = 6\n\
                    idle_count_min = 2\nscale_factor = 0.5\ngrowth = 3\n\
                    on_demand_after = 'never'\n[[runners.workers.periods]]\n\
                    when = ['* 8-17 * * mon-fri']\ntimezone = 'Europe/Berlin'\nidle_count = 9\n";
        let spec = Spec::parse(text, "onspot.toml").unwrap();
        let rendered = render(&spec, None).await.unwrap();
        for line in [
            "request_concurrency = 4",
            "IdleScaleFactor = 0.5",
            "IdleCountMin = 2",
            "MaxGrowthRate = 3",
            "Periods = [\"* * 8-17 * * mon-fri *\"]",
            "Timezone = \"Europe/Berlin\"",
        ] {
            assert!(rendered.contains(line), "{line} in\n{rendered}");
        }
        // Read back and combined with what only the stack knows, the file gives the same settings.
        let config = Config::parse(&rendered, "config.toml").unwrap();
        let policy = crate::instances::settings::policy(&spec, &spec.runners[0]);
        let again = config.runners[0].policy(&policy, config.concurrent);
        for time in ["2026-07-03T10:00:00Z", "2026-07-04T10:00:00Z"] {
            let at = time.parse().unwrap();
            let (one, other) = (policy.at(at), again.at(at));
            assert_eq!(one.idle_count, other.idle_count, "{time}");
            assert_eq!(one.idle_time, other.idle_time, "{time}");
            assert_eq!(one.max_growth, other.max_growth, "{time}");
            assert_eq!(one.on_demand_after, other.on_demand_after, "{time}");
            assert_eq!(one.limit, other.limit, "{time}");
        }
    }
}
