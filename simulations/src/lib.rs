//! A whole Dunlin mesh in one process, under virtual time and seeded faults.
//!
//! # Goals
//! - The code that ships runs here: the state machine of a folder, its index, its disk table, its
//!   scans and its applying, the assembly and serving of blocks. Only what is below its traits is
//!   simulated: disks ([`dunlin_tree::fs::MemFs`]), databases, signatures, and the network.
//! - One seed is one run, bit for bit, on every machine.
//! - After all faults have ended, every run must come to rest, and then all that
//!   [`oracle`] and the checks of [`world`] demand must hold.
//!
//! # Non-goals
//! - The real network stack, real time, and threads: they are tested where they live.

pub mod database;
pub mod device;
pub mod keys;
pub mod model;
pub mod oracle;
pub mod packed;
pub mod random;
pub mod run;
pub mod scale;
pub mod scenario;
pub mod user;
pub mod world;
