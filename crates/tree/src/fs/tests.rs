//! One conformance suite for both file systems, and what each must withstand.

mod conformance;
mod hostile;
mod races;
