//! `onspot-world`: controls the local world.

fn main() -> std::process::ExitCode {
    onspot_e2e::verbs::main()
}
