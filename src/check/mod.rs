//! `check FILES`: manifests against the CRDs' schema and CEL rules, offline, with file and line.
