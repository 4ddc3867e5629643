//! The controller: watches, resolve, reconcile, finalize, status, events, leadership. The only room that calls the Kubernetes API.
