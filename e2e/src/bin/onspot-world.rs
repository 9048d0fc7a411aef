//! `onspot-world`: the local world by hand.

fn main() -> std::process::ExitCode {
    onspot_e2e::verbs::main()
}
