use jiff::Timestamp;
use onspot_settings::Policy;
use proptest::prelude::*;

use super::*;

const OF_2017: &str = include_str!("../../../runnerconf/tests/files/2017.toml");
const AUTOSCALER: &str = include_str!("../../../runnerconf/tests/files/docker-autoscaler.toml");

/// A moment in each of a week's kinds of hours.
const TIMES: [&str; 4] = [
    "2026-07-03T10:00:00Z",
    "2026-07-03T02:00:00Z",
    "2026-07-04T10:00:00Z",
    "2026-12-31T23:59:59Z",
];

/// The file's policies, as they are and over the migrated stack's own `config.toml`.
async fn policies(text: &str) -> Vec<(Policy, Policy)> {
    let config = Config::parse(text, "config.toml").unwrap();
    let migration = migrate(text, "config.toml").unwrap();
    let spec = Spec::parse(&migration.text, "onspot.toml").unwrap();
    let rendered = crate::render(&spec, None).await.unwrap();
    let again = Config::parse(&rendered, "config.toml").unwrap();
    let runners = config.runners.iter().zip(&spec.runners).zip(&again.runners);
    let runners = runners.map(|((one, specified), other)| {
        // These two of both policies are the migrated stack's: compared with the file itself.
        let options = one
            .machine
            .as_ref()
            .map(|machine| machine.ec2_options().unwrap());
        let spot = options.is_none_or(|options| options.request_spot);
        assert_eq!(specified.workers.spot, spot);
        let slots = one.autoscaler.as_ref();
        let slots = slots.map_or(1, |autoscaler| autoscaler.capacity_per_instance.max(1));
        assert_eq!(specified.workers.slots, slots);
        let stack = crate::instances::settings::policy(&spec, specified);
        let (before, after) = (config.concurrent, again.concurrent);
        (one.policy(&stack, before), other.policy(&stack, after))
    });
    runners.collect()
}

/// Whether two policies keep the same workers at any number of busy ones.
fn assert_same(one: &Policy, other: &Policy) {
    for time in TIMES {
        let at: Timestamp = time.parse().unwrap();
        let (one, other) = (one.at(at), other.at(at));
        assert_eq!(one.idle_count, other.idle_count, "{time}");
        assert_eq!(one.idle_time, other.idle_time, "{time}");
        let factor = |policy: &Policy| match policy.idle_count {
            0 => 0.0,
            _ => policy.idle_scale_factor,
        };
        assert!((factor(&one) - factor(&other)).abs() < 1e-9, "{time}");
        if factor(&one) > 0.0 {
            let least = |policy: &Policy| policy.idle_count_min.min(policy.idle_count);
            // `config.toml` has no zero there: it means 1.
            assert_eq!(least(&one).max(1), least(&other).max(1), "{time}");
        }
    }
    assert_eq!(one.max_growth, other.max_growth);
    assert_eq!(one.max_uses, other.max_uses);
    assert_eq!(one.limit, other.limit);
}

#[tokio::test]
async fn the_files_scale_as_before() {
    for text in [OF_2017, AUTOSCALER] {
        for (one, other) in policies(text).await {
            assert_same(&one, &other);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_machine_scales_as_before(
        (limit, idle, least, growth, builds) in (0_u32..20, 0_u32..9, 0_u32..9, 0_u32..5, 0_u32..50),
        factor in prop_oneof![Just(0.0), 0.1_f64..4.0],
        (hours, off_peak, zone) in ((0_u8..12, 12_u8..24), any::<bool>(), any::<bool>()),
    ) {
        let zone = if zone { "Timezone = 'Europe/Berlin'" } else { "Timezone = 'UTC'" };
        let off_peak = if off_peak {
            "OffPeakPeriods = ['* * 0-9 * * sat,sun *']\nOffPeakIdleCount = 1\n\
             OffPeakTimezone = 'UTC'\nOffPeakIdleTime = 90\n"
        } else {
            ""
        };
        let text = format!(
            "concurrent = 7\n[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\n\
             token = 'env:T'\nexecutor = 'docker+machine'\nlimit = {limit}\n[runners.machine]\n\
             IdleCount = {idle}\nIdleCountMin = {least}\nIdleScaleFactor = {factor:?}\n\
             IdleTime = 1234\nMaxBuilds = {builds}\nMaxGrowthRate = {growth}\n\
             MachineDriver = 'amazonec2'\nMachineOptions = ['amazonec2-root-size=40']\n{off_peak}\
             [[runners.machine.autoscaling]]\nPeriods = ['* * {}-{} * * mon-fri *']\n{zone}\n\
             IdleCount = {least}\nIdleTime = 60\nIdleScaleFactor = {factor:?}\n",
            hours.0, hours.1
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (one, other) in runtime.block_on(policies(&text)) {
            assert_same(&one, &other);
        }
    }

    #[test]
    fn an_autoscaler_scales_as_before(
        (slots, most, uses, idle, limit) in (1_u32..5, 1_u32..5, 0_u32..9, 0_u32..9, 0_u32..30),
        factor in prop_oneof![Just(0.0), 0.1_f64..4.0],
        always in any::<bool>(),
    ) {
        let always = if always { "" } else { "periods = ['* 3-4 * * *']\ntimezone = 'UTC'\n" };
        let text = format!(
            "concurrent = 30\n[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\n\
             token = 'env:T'\nexecutor = 'docker-autoscaler'\n[runners.autoscaler]\n\
             capacity_per_instance = {slots}\nmax_use_count = {uses}\nmax_instances = {most}\n\
             [[runners.autoscaler.policy]]\n{always}idle_count = {idle}\nidle_time = '5m0s'\n\
             [[runners.autoscaler.policy]]\nperiods = ['* 8-18 * * mon-fri']\ntimezone = 'UTC'\n\
             idle_count = 2\nidle_time = '30m0s'\nscale_factor = {factor:?}\n\
             scale_factor_limit = {limit}\n"
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (one, other) in runtime.block_on(policies(&text)) {
            assert_same(&one, &other);
        }
    }
}

#[test]
fn names_that_a_stack_cannot_have_are_changed() {
    let runner = |name: &str, token: &str| {
        format!(
            "[[runners]]\nname = '{name}'\nurl = 'https://gitlab.example'\ntoken = '{token}'\n\
             executor = 'docker'\n"
        )
    };
    let text = [
        runner("manager", "glrt-one"),
        runner("a (b)", "glrt-two"),
        runner("a  b", "file:/etc/token"),
    ];
    let migration = migrate(&text.concat(), "config.toml").unwrap();
    assert_eq!(migration.runners, ["manager-2", "a -b-", "a  b-2"]);
    assert_eq!(
        migration.variables,
        ["RUNNER_TOKEN_MANAGER_2", "RUNNER_TOKEN_A_B"]
    );
    assert!(migration.text.contains("token = \"file:/etc/token\""));
    assert!(!migration.text.contains("glrt-"));
}

#[test]
fn what_cannot_be_a_stack_is_an_error() {
    let head = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n";
    let kube = format!("{head}executor = 'kubernetes'\n");
    assert!(matches!(
        migrate(&kube, "f"),
        Err(MigrateError::NoRunner { .. })
    ));
    let wrong = format!("{head}executor = 'docker'\nlimti = 3\n");
    assert!(matches!(migrate(&wrong, "f"), Err(MigrateError::Config(_))));
    let refused = format!("{head}executor = 'docker'\ntls-cert-file = '/etc/x.pem'\n");
    let text = migrate(&refused, "f").unwrap().text;
    assert!(
        text.contains("with these onspot can't work: tls-cert-file."),
        "{text}"
    );
}
