//! One running operator: puts the rooms together, and takes them down in the right order.
