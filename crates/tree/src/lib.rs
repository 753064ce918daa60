//! The file system side of Dunlin: the only crate that touches a user's files.

pub mod disk;
pub mod fs;
pub mod ignore;
pub mod marker;
pub mod scan;
pub mod settle;
pub mod versions;
pub mod watch;
