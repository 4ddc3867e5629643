//! Sign-in at identity providers that are not ours: the npm package oidc-provider, and Authlib's server (Python), started by `ci.sh`. These tests exist
//! only where that script compiles them (`--cfg foreign_peers`), and it fails if one of them did not run. They share the providers, one after the other.

#[cfg(foreign_peers)]
mod foreign;
