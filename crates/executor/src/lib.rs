//! Runs one job on this host, in Docker or in a shell.
