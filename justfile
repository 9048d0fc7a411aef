# onspot: `just` lists the recipes; `./justw` does the same where `just` is not installed.

set shell := ["bash", "-euo", "pipefail", "-c"]

export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", justfile_directory() / "target")

just := quote(just_executable()) + " --justfile " + quote(justfile())
world := quote(CARGO_TARGET_DIR / "debug/onspot-world")

# The world's guests are Debian 12. A binary built on a machine with a newer glibc does not run
# there; then they get the one from `just dist`.
guest_glibc := "2.36"
newest_glibc := `{ echo 2.36; getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2 || true; } | sort -V | tail -n 1`
export ONSPOT_GUEST_BIN := env("ONSPOT_GUEST_BIN", if newest_glibc == guest_glibc { "" } else { CARGO_TARGET_DIR / "dist/onspot" })

_default:
    @{{ just }} --list --unsorted

# Start a local world with a stack in it, run the cowsay pipeline and show the ghost
up: engine guests
    {{ world }} up

# Show the running world and its stack: manager, workers and jobs
status: build
    @{{ world }} status

# Remove the stack, then the local world
down: build
    {{ world }} down

# Push a folder with a .gitlab-ci.yml into the running world and follow its jobs
push dir *args: build
    @{{ world }} push {{ quote(join(invocation_directory(), dir)) }} {{ args }}

# Start only the mock GitLab, for any runner to register with
gitlab port="8929" *args: build
    @{{ world }} gitlab {{ port }} {{ args }}

# Everything: format, lints, unit, doc and end-to-end tests
test: lint unit e2e

# Format and lints
lint: deny
    cargo fmt --all --check
    cargo clippy --quiet --workspace --all-targets -- --deny warnings
    PATH={{ quote(CARGO_TARGET_DIR / "tools/bin") }}:"$PATH" cargo deny --log-level error check bans licenses sources

# Unit, property, wire and doc tests, and those against one Docker engine
unit: engine images
    NO_PROXY='*' no_proxy='*' cargo test --workspace -- --skip proof_

# The end-to-end proofs, each in its own world
e2e: engine images guests
    NO_PROXY='*' no_proxy='*' cargo test --workspace --test world -- --test-threads=1 --nocapture

# Build the container images of the world (only what changed)
images: engine build
    {{ world }} images

# Measure the steps from push to script, warm and cold, and a job's overhead beyond its script
bench: engine guests
    {{ world }} bench

# The documentation of all crates
doc:
    cargo doc --workspace --no-deps --document-private-items

# Build a binary for the instances: against glibc 2.28, whatever this machine has
dist:
    @command -v python3 >/dev/null || { echo "dist: python3 with venv is needed (for the zig linker)"; exit 1; }
    test -x .tools/zig/bin/cargo-zigbuild || { python3 -m venv .tools/zig && .tools/zig/bin/pip install --quiet cargo-zigbuild==0.24.0 ziglang==0.15.2; }
    PATH="{{ justfile_directory() }}/.tools/zig/bin:$PATH" cargo zigbuild --workspace --bin onspot --profile dist --target x86_64-unknown-linux-gnu.2.28
    mkdir -p {{ quote(CARGO_TARGET_DIR / "dist") }}
    cp {{ quote(CARGO_TARGET_DIR / "x86_64-unknown-linux-gnu/dist/onspot") }} {{ quote(CARGO_TARGET_DIR / "dist/onspot") }}
    @echo "dist: {{ CARGO_TARGET_DIR }}/dist/onspot"

# cargo-deny, built once into the target folder where this machine has none
[private]
deny:
    @if ! command -v cargo-deny >/dev/null && [ ! -x {{ quote(CARGO_TARGET_DIR / "tools/bin/cargo-deny") }} ]; then \
      echo "lint: installing cargo-deny into the target folder (some minutes)"; \
      cargo install --quiet --debug --locked --root {{ quote(CARGO_TARGET_DIR / "tools") }} --version 0.20.2 cargo-deny; fi

[private]
build:
    cargo build --workspace

# A binary that runs on the guests
[private]
guests: build
    @if [ -n "$ONSPOT_GUEST_BIN" ] && [ "$ONSPOT_GUEST_BIN" = {{ quote(CARGO_TARGET_DIR / "dist/onspot") }} ]; then {{ just }} dist; fi

# Make sure that a Docker engine answers; as root on Debian or Ubuntu, install and start it
[private]
engine:
    @docker/engine
