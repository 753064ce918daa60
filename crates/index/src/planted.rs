//! Faults that are planted in the code that ships, for the simulator to find.
//!
//! Without the feature `planted-faults`, which nothing but the simulator's feature of the same name
//! turns on, [`is_planted`] is always false, and the compiler leaves the faults out.

/// A fault that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The deletion of a directory takes all that is in it, without a look at whether its author
    /// had seen it.
    SkipVersion,
    /// What was deleted or replaced before it arrived is not remembered until it does.
    ForgetTombstone,
    /// What is on the disk is not compared with what is expected there before it is replaced.
    TrustTarget,
}

#[cfg(feature = "planted-faults")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in what this thread runs, or with none takes it out again.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Tells whether a fault is planted in what this thread runs.
#[inline]
pub fn is_planted(fault: Fault) -> bool {
    #[cfg(feature = "planted-faults")]
    return PLANTED.get() == Some(fault);
    #[cfg(not(feature = "planted-faults"))]
    {
        let _ = fault;
        false
    }
}
