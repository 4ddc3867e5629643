//! The embedded control plane: as much of a Kubernetes API server as an operator, its tests and kubectl use.
