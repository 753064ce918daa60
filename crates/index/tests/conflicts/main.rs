//! The table in `docs/conflicts.md`: every pair of operations that two devices can make without
//! knowing of each other, and what everybody then sees. Each row is a test of its name.
//!
//! `DUNLIN_WRITE_DOCS=1 cargo test -p dunlin-index --test conflicts` writes the table anew.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod directories;
mod files;
mod names;
mod parents;
mod table;

/// Declares rows: for each a test and a line of the table.
#[macro_export]
macro_rules! rows {
    ($($name:ident: $before:literal; $one:literal | $other:literal => [$($shown:literal),*];
       $why:literal;)*) => {
        pub(crate) const ROWS: &[$crate::table::Row] = &[$($crate::table::Row {
            name: stringify!($name),
            before: $before,
            one: $one,
            other: $other,
            shown: &[$($shown),*],
            why: $why,
        }),*];
        $(
            #[test]
            fn $name() {
                $crate::table::check(stringify!($name), ROWS);
            }
        )*
    };
}
