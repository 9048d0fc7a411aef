# onspot: `just` lists the recipes; `./justw` does the same where `just` is not installed.

set shell := ["bash", "-euo", "pipefail", "-c"]

export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", justfile_directory() / "target")

world := CARGO_TARGET_DIR / "debug/onspot-world"

# What the world's guests (Debian 12) have; a build against something newer does not run there.
guest_glibc := "2.36"

_default:
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# The main job: a local world, a stack in it, the cowsay pipeline, the ghost
up: engine build
    {{ quote(world) }} up

# The stack in the running world: its manager, workers and jobs
status: build
    @{{ quote(CARGO_TARGET_DIR / "debug/onspot") }} status --config .onspot/onspot.toml

# Remove the stack, then the local world
down: engine build
    {{ quote(world) }} down

# Push a folder with a .gitlab-ci.yml into the running world and follow its jobs
push dir *args: build
    @{{ quote(world) }} push {{ quote(dir) }} {{ args }}

# The mock GitLab alone, for any runner to register with
gitlab port="8929": build
    @{{ quote(world) }} gitlab {{ port }}

# Everything: format, lints, unit, doc and end-to-end tests
test: lint unit e2e

# Format and lints
lint:
    cargo fmt --all --check
    cargo clippy --quiet --workspace --all-targets -- --deny warnings
    @if cargo deny --version >/dev/null 2>&1; then cargo deny --log-level error check bans licenses sources; \
      else echo "lint: cargo-deny is not installed, its checks were left out (cargo install cargo-deny)"; fi

# Unit, property, wire and doc tests, and those against one Docker engine
unit: engine images
    cargo test --workspace -- --skip proof_

# The end-to-end proofs, each in a world of its own
e2e: engine images
    cargo test --workspace --test world -- --test-threads=1 --nocapture

# Build the container images of the world (only what changed)
images: engine build
    {{ quote(world) }} images

# Time from push to script, warm and cold, split into steps; a job's overhead over its script
bench: engine build
    {{ quote(world) }} bench

# The documentation of all crates
doc:
    cargo doc --workspace --no-deps --document-private-items

# A binary for the instances: against glibc 2.28, whatever this machine has
dist:
    @command -v python3 >/dev/null || { echo "dist: python3 with venv is needed (for the zig linker)"; exit 1; }
    test -x .tools/zig/bin/cargo-zigbuild || { python3 -m venv .tools/zig && .tools/zig/bin/pip install --quiet cargo-zigbuild==0.24.0 ziglang==0.15.2; }
    PATH="{{ justfile_directory() }}/.tools/zig/bin:$PATH" cargo zigbuild --workspace --bin onspot --profile dist --target x86_64-unknown-linux-gnu.2.28
    mkdir -p {{ quote(CARGO_TARGET_DIR / "dist") }}
    cp {{ quote(CARGO_TARGET_DIR / "x86_64-unknown-linux-gnu/dist/onspot") }} {{ quote(CARGO_TARGET_DIR / "dist/onspot") }}
    @echo "dist: {{ CARGO_TARGET_DIR }}/dist/onspot"

[private]
build:
    cargo build --workspace

# A Docker engine that answers; installed and started where we are root on Debian or Ubuntu
[private]
engine:
    @docker/engine
